// SPDX-License-Identifier: GPL-2.0

//! Forests, embeddings and parts of tensors, for elements of 32 bits; those of codes are among the random
//! networks of `int8_plan.rs`.

#[path = "common/codes.rs"]
mod codes;
mod common;

use codes::trees::Trees;
use codes::Codes;
use common::{bytes, numbers, Loaded, Rng};
use neural_core::nnm::{DType, OpKind, Tensor, TensorKind};
use neural_core::plan::{run, Scalar};

/// A network whose input has this type and these sizes.
fn input(dtype: DType, dims: &[u32]) -> Codes {
    let mut net = Codes::new(&[1], 0);
    net.tensors[0] = Tensor::new(dtype, TensorKind::Activation, dims);
    net
}

fn activation(net: &mut Codes, dtype: DType, dims: &[u32]) -> u32 {
    net.add(Tensor::new(dtype, TensorKind::Activation, dims), vec![])
}

/// A forest behind `x`, whose result has `rows` before the results of a leaf.
fn forest(net: &mut Codes, dtype: DType, rows: &[u32], trees: &Trees, params: &[i32]) {
    let n = trees.n as u32;
    let nodes = net.words(&[trees.nodes.len() as u32, 4], &trees.words());
    let roots = net.words(&[trees.roots.len() as u32], &trees.roots);
    let leaves = net.words(&[trees.leaves.len() as u32 / n, n], &trees.leaves);
    let y = activation(net, dtype, &[rows, &[n]].concat());
    net.op(OpKind::Forest, &[0, nodes, roots, leaves], params, y);
}

/// What a network gives for some samples, one behind the other.
fn outputs(net: &Codes, samples: usize, x: &[i32]) -> Vec<i32> {
    let Loaded {
        plan,
        steps,
        weights,
    } = Loaded::new(&net.file());
    let mut scratch = vec![0x55; plan.scratch_bytes * samples];
    let mut y = vec![0x55; plan.output_bytes * samples];
    let x = bytes(x);
    run(
        &Scalar,
        &plan,
        &steps,
        &weights,
        samples,
        &mut scratch,
        &x,
        &mut y,
    )
    .unwrap();
    numbers(&y)
}

#[test]
fn forests_of_q16() {
    let mut rng = Rng::new();
    for i in 0..300 {
        let (features, n) = (1 + rng.below(9) as u32, 1 + rng.below(4) as usize);
        let small = i % 2 == 0;
        let threshold = |word: u32| match small {
            true => word as i32 % 3,
            false => word as i32,
        };
        let size = (1 + rng.below(40), rng.below(7) as u32);
        let trees = Trees::random(
            &mut |most| rng.below(most),
            (features, n),
            size,
            &threshold,
            &|word| word as i32,
        );
        let mean = rng.below(2) as i32;
        let rows = 1 + rng.below(3) as u32;
        let mut net = input(DType::Q16, &[rows, features]);
        forest(&mut net, DType::Q16, &[rows], &trees, &[mean]);
        let x: Vec<i32> = (0..2 * rows * features)
            .map(|_| match small {
                true => rng.i32() % 3,
                false => rng.wild(),
            })
            .collect();
        let want: Vec<i32> = x
            .chunks(features as usize)
            .flat_map(|x| trees.sums(&|i, threshold| x[i] <= threshold))
            .map(|sum| {
                let by = if mean == 1 {
                    trees.roots.len() as i128
                } else {
                    1
                };
                let nearest = (2 * sum + by).div_euclid(2 * by);
                nearest.clamp(i32::MIN.into(), i32::MAX.into()) as i32
            })
            .collect();
        assert_eq!(outputs(&net, 2, &x), want);
    }
}

/// Whether an `f32` is next to `sum / divisor`, and even if two are.
fn is_nearest(y: f32, sum: i128, divisor: i128) -> bool {
    if sum == 0 {
        return y.to_bits() == 0;
    }
    // No bit is lost: 24 bits of y, 17 of the divisor, 48 of the sum.
    let off = |y: f32| (f64::from(y) * divisor as f64 - sum as f64).abs();
    let next = [1, u32::MAX].map(|step| f32::from_bits(y.to_bits().wrapping_add(step)));
    let even = y.to_bits() % 2 == 0;
    next.iter()
        .all(|&next| off(y) < off(next) || (off(y) == off(next) && even))
}

#[test]
fn forests_of_numbers() {
    let mut rng = Rng::new();
    for i in 0..300 {
        let (features, n) = (1 + rng.below(9) as u32, 1 + rng.below(4) as usize);
        let special = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::MIN_POSITIVE,
            -1e-44,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
        ];
        let number = |word: u32| match i % 2 {
            0 => special[word as usize % special.len()],
            _ => f32::from_bits(word),
        };
        let threshold = |word: u32| {
            let value = number(word);
            (if value.is_nan() { 0.5 } else { value }).to_bits() as i32
        };
        let size = (1 + rng.below(40), rng.below(7) as u32);
        let trees = Trees::random(
            &mut |most| rng.below(most),
            (features, n),
            size,
            &threshold,
            &|word| word as i32 >> (word % 31),
        );
        let (mean, shift) = (rng.below(2) as i32, rng.below(127) as i32 - 31);
        let mut net = input(DType::F32, &[features]);
        forest(&mut net, DType::F32, &[], &trees, &[mean, shift]);
        let x: Vec<f32> = (0..3 * features)
            .map(|_| match rng.below(9) {
                0 => [f32::NAN, -f32::NAN][rng.below(2) as usize],
                _ => number(rng.u64() as u32),
            })
            .collect();
        let bits: Vec<i32> = x.iter().map(|x| x.to_bits() as i32).collect();
        let y = outputs(&net, 3, &bits);
        let by = if mean == 1 {
            trees.roots.len() as i128
        } else {
            1
        };
        let mut y = y.into_iter();
        for x in x.chunks(features as usize) {
            // Comparisons with NaN are false.
            let sums = trees.sums(&|i, bits| x[i] <= f32::from_bits(bits as u32));
            for sum in sums {
                let y = f32::from_bits(y.next().unwrap() as u32);
                let whole = (f64::from(y) * f64::from(shift).exp2()) as f32;
                assert_eq!(f64::from(whole), f64::from(y) * f64::from(shift).exp2());
                assert!(
                    is_nearest(whole, sum, by),
                    "{y:e} of {sum} / {by} >> {shift}"
                );
            }
        }
    }
}

#[test]
fn sums_at_the_limits() {
    use neural_core::trees::{number, quotient};
    let bits = |x: f32| x.to_bits();
    for divisor in [1, 2, 3, 7, 65535, 65536] {
        assert_eq!(number(0, divisor, 5), 0);
        for sum in [
            1i64,
            2,
            3,
            (1 << 24) + 1,
            (1 << 25) + 3,
            (1 << 47) - 1,
            1 << 47,
        ] {
            let y = f32::from_bits(number(sum, divisor, 0));
            assert!(
                is_nearest(y, sum.into(), divisor.into()),
                "{sum} / {divisor}: {y}"
            );
            assert_eq!(number(-sum, divisor, 0), bits(-y));
        }
    }
    assert_eq!(number((1 << 24) + 1, 1, 0), bits(16777216.0));
    assert_eq!(number((1 << 24) + 3, 1, 0), bits(16777220.0));
    assert_eq!(number((1 << 25) - 1, 1, 25), bits(1.0));
    assert_eq!(number(1, 65536, 95), bits(2f32.powi(-111)));
    assert_eq!(number(1 << 47, 1, -31), bits(2f32.powi(78)));
    for (sum, divisor, want) in [
        (0, 3, 0),
        (1, 2, 1),
        (-1, 2, 0),
        (-3, 2, -1),
        (5, 3, 2),
        (-5, 3, -2),
        (1 << 40, 1, i32::MAX),
        (-(1 << 40), 7, i32::MIN),
    ] {
        assert_eq!(quotient(sum, divisor), want, "{sum} / {divisor}");
    }
}

#[test]
fn numbers_are_compared_in_their_order() {
    use neural_core::trees::ordered;
    let order = [
        f32::NEG_INFINITY,
        f32::MIN,
        -1.0,
        -f32::MIN_POSITIVE,
        -1e-45,
        -0.0,
        0.0,
        1e-45,
        1.0,
        f32::MAX,
        f32::INFINITY,
    ];
    let order = order.map(|x| ordered(x.to_bits() as i32));
    assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
    for nan in [
        0x7f80_0001,
        0x7fc0_0000,
        i32::MAX,
        -1,
        0xff80_0001u32 as i32,
    ] {
        assert_eq!(ordered(nan), i32::MAX);
    }
}

#[test]
fn embeddings_clamp_and_round() {
    let rows = 5;
    let table: Vec<i32> = (0..rows * 3).map(|i| 1000 + i).collect();
    let row = |i: usize| table[i * 3..][..3].to_vec();
    let half = 1 << 15;
    let q16 = [
        (i32::MIN, 0),
        (-1, 0),
        (0, 0),
        (half - 1, 0),
        (half, 1),
        ((3 << 16) + half - 1, 3),
        ((3 << 16) + half, 4),
        (5 << 16, 4),
        (i32::MAX, 4),
    ];
    let number = |x: f32| x.to_bits() as i32;
    let f32 = [
        (number(f32::NEG_INFINITY), 0),
        (number(-0.0), 0),
        (number(-3.0), 0),
        (number(0.499_999_97), 0),
        (number(0.5), 1),
        (number(1.0), 1),
        (number(1.499_999_9), 1),
        (number(1.5), 2),
        (number(2.5), 3),
        (number(3.999), 4),
        (number(4.5), 4),
        (number(1e9), 4),
        (number(16777216.0), 4),
        (number(f32::MAX), 4),
        (number(f32::INFINITY), 4),
        (number(f32::NAN), 0),
        (number(-f32::NAN), 0),
    ];
    for (dtype, cases) in [(DType::Q16, &q16[..]), (DType::F32, &f32[..])] {
        let n = cases.len() as u32;
        let mut net = input(dtype, &[n]);
        let t = Tensor::new(dtype, TensorKind::Constant, &[rows as u32, 3]);
        let t = net.add(t, bytes(&table));
        let y = activation(&mut net, dtype, &[n, 3]);
        net.op(OpKind::Embedding, &[0, t], &[], y);
        let x: Vec<i32> = cases.iter().map(|case| case.0).collect();
        let want: Vec<i32> = cases.iter().flat_map(|case| row(case.1)).collect();
        assert_eq!(outputs(&net, 1, &x), want, "{dtype:?}");
    }
}

#[test]
fn moves_of_q16() {
    let mut rng = Rng::new();
    for _ in 0..200 {
        let dims: Vec<u32> = (0..1 + rng.below(4))
            .map(|_| 1 + rng.below(5) as u32)
            .collect();
        let to: Vec<u32> = dims
            .iter()
            .map(|&n| 1 + rng.below(n.into()) as u32)
            .collect();
        let room = dims.iter().zip(&to).map(|(n, size)| n - size + 1);
        let starts: Vec<i32> = room.map(|room| rng.below(room.into()) as i32).collect();
        let mut net = input(DType::Q16, &dims);
        let part = activation(&mut net, DType::Q16, &to);
        net.op(OpKind::Slice, &[0], &starts, part);
        let mut twice = to.clone();
        *twice.last_mut().unwrap() *= 2;
        let y = activation(&mut net, DType::Q16, &twice);
        let last = to.len() as i32 - 1;
        net.op(OpKind::Concat, &[part, part], &[last], y);
        let count: u32 = dims.iter().product();
        let x: Vec<i32> = (0..count).map(|_| rng.i32()).collect();
        let mut want = vec![];
        for i in 0..twice.iter().product::<u32>() {
            let (mut i, mut at, mut stride) = (i, 0, 1);
            for axis in (0..dims.len()).rev() {
                let place = i % twice[axis] % to[axis];
                i /= twice[axis];
                at += (place + starts[axis] as u32) * stride;
                stride *= dims[axis];
            }
            want.push(x[at as usize]);
        }
        assert_eq!(outputs(&net, 1, &x), want, "{dims:?} {to:?} {starts:?}");
    }
}

/// `tests/vectors/trees.py` makes and describes them.
const VECTORS: &str = include_str!("../../../tests/vectors/trees.txt");

#[test]
fn forests_of_scikit_learn() {
    for line in VECTORS.lines() {
        let text = |key: &str| {
            let mut words = line.split(' ').filter_map(|word| word.split_once('='));
            words.find(|word| word.0 == key).unwrap().1
        };
        let words =
            |key| -> Vec<i32> { text(key).split(',').map(|w| w.parse().unwrap()).collect() };
        let wide = |key| -> Vec<f64> { text(key).split(',').map(|w| w.parse().unwrap()).collect() };
        let nodes = words("nodes");
        let nodes = nodes.chunks(4).map(|node| node.try_into().unwrap());
        let trees = Trees {
            nodes: nodes.collect(),
            roots: words("roots"),
            leaves: words("leaves"),
            n: words("n")[0] as usize,
        };
        let features = words("features")[0] as u32;
        let x: Vec<i32> = wide("x")
            .iter()
            .map(|&x| (x as f32).to_bits() as i32)
            .collect();
        let (rows, shift) = (x.len() as u32 / features, words("shift")[0]);
        let mut net = input(DType::F32, &[rows, features]);
        forest(&mut net, DType::F32, &[rows], &trees, &[1, shift]);
        let (y, want) = (outputs(&net, 1, &x), wide("y"));
        assert_eq!(y.len(), want.len());
        // Leaves are rounded to a step, results to f32.
        let step = f64::from(-shift).exp2();
        for (y, want) in y.into_iter().zip(want) {
            let y = f64::from(f32::from_bits(y as u32));
            let bound = step + want.abs() * f64::from(f32::EPSILON) / 2.0;
            assert!((y - want).abs() <= bound, "{y} instead of {want}");
        }
    }
}
