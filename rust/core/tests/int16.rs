// SPDX-License-Identifier: GPL-2.0

//! Layers of 16-bit codes against their definitions in wide integers, and against numbers.

#[path = "common/codes.rs"]
mod codes;
mod common;

use codes::trees::Trees;
use codes::{pair, Codes};
use common::{bytes, check, numbers, Loaded, Rng};
use neural_core::act::Activation;
use neural_core::error::MAX_LINE;
use neural_core::nnm::{DType, Op, OpKind, Tensor, TensorKind, NONE};
use neural_core::plan::{run, DenseArgs, Kernels, Scalar};

/// A network of 16-bit codes.
fn input(dims: &[u32]) -> Codes {
    let mut net = Codes::new(&[1], 0);
    net.tensors[0] = short(dims);
    net
}

fn short(dims: &[u32]) -> Tensor {
    let tensor = Tensor::new(DType::I16, TensorKind::Activation, dims);
    tensor.with_scale(0, 0.5f32.to_bits())
}

fn activation(net: &mut Codes, dims: &[u32]) -> u32 {
    net.add(short(dims), vec![])
}

fn constant(net: &mut Codes, dims: &[u32], data: &[i16]) -> u32 {
    let data = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    net.add(Tensor::new(DType::I16, TensorKind::Constant, dims), data)
}

fn shorts(bytes: &[u8]) -> Vec<i16> {
    let short = |b: &[u8]| i16::from_le_bytes(b.try_into().unwrap());
    bytes.chunks_exact(2).map(short).collect()
}

/// Scalar kernels with tiles of any size.
struct Tiles(u64);

impl Kernels for Tiles {
    fn dense_q16(&self, args: DenseArgs<'_>) {
        Scalar.dense_q16(args);
    }

    fn tile_macs(&self) -> u64 {
        self.0
    }
}

/// What a network gives for some samples, one behind the other.
fn outputs(net: &Codes, samples: usize, x: &[i16], tile: u64) -> Vec<i16> {
    let Loaded {
        plan,
        steps,
        weights,
    } = Loaded::new(&net.file());
    let mut scratch = vec![0x55; plan.scratch_bytes * samples];
    let mut y = vec![0x55; plan.output_bytes * samples];
    let x: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    let kernels = Tiles(tile);
    run(
        &kernels,
        &plan,
        &steps,
        &weights,
        samples,
        &mut scratch,
        &x,
        &mut y,
    )
    .unwrap();
    shorts(&y)
}

/// `value * mult / 2^shift`, to the nearest, halves upwards.
fn scaled(value: i128, mult: i32, shift: i32) -> i128 {
    let twice = 2 * value * i128::from(mult);
    let unit = 1i128 << shift;
    (twice + unit).div_euclid(2 * unit)
}

fn saturated(x: i128) -> i16 {
    x.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

fn wild(rng: &mut Rng) -> i16 {
    match rng.below(8) {
        0 => rng.pick(&[i16::MIN, i16::MIN + 1, -1, 0, 1, i16::MAX]),
        _ => (rng.i32() >> 16 >> rng.below(16)) as i16,
    }
}

fn factor(rng: &mut Rng, shift: i32) -> (i32, i32) {
    let mult = match rng.below(10) {
        0 => 0,
        1 => 1 << 30,
        2 => i32::MAX,
        _ => (1 << 30) | (rng.i32() & i32::MAX),
    };
    (mult, (shift + rng.below(4) as i32 - 2).clamp(-31, 31))
}

/// Adds a dense layer.
fn dense(rng: &mut Rng, net: &mut Codes, x: u32, n: u32, act: Activation) -> u32 {
    let dims = net.dims(x).to_vec();
    let k = *dims.last().unwrap();
    let w: Vec<i16> = (0..n * k).map(|_| wild(rng).max(-i16::MAX)).collect();
    let w = constant(net, &[n, k], &w);
    let b: Vec<i32> = (0..n)
        .flat_map(|_| {
            let bias = (rng.u64() as i64) >> (18 + rng.below(45));
            [bias as i32, (bias >> 32) as i32]
        })
        .collect();
    let b = net.words(&[n, 2], &b);
    let bits = match act {
        Activation::Linear | Activation::Relu => 13,
        _ => 8,
    };
    let factors: Vec<_> = (0..n).map(|_| factor(rng, bits)).collect();
    let mut list: Vec<i32> = factors.iter().map(|f| f.0).collect();
    list.extend(factors.iter().map(|f| f.1));
    let r = net.words(&[2, n], &list);
    let mut to = dims.clone();
    *to.last_mut().unwrap() = n;
    let y = activation(net, &to);
    let slope = match act {
        Activation::LeakyRelu { slope } => slope,
        _ => 0,
    };
    let (mult, shift) = factor(rng, 2);
    let params = match act {
        Activation::Linear | Activation::Relu => vec![],
        _ => vec![slope, mult, shift],
    };
    net.op(OpKind::Dense, &[x, w, b, r], &params, y);
    net.ops.last_mut().unwrap().activation = act;
    y
}

fn sums(rng: &mut Rng, net: &mut Codes, kind: OpKind, x: u32) -> u32 {
    let dims = net.dims(x).to_vec();
    let b = match rng.below(2) {
        0 => x,
        _ => {
            let part = &dims[rng.below(dims.len() as u64) as usize..];
            let count = part.iter().product::<u32>();
            let data: Vec<i16> = (0..count).map(|_| wild(rng)).collect();
            constant(net, part, &data)
        }
    };
    let r = match kind {
        OpKind::Mul => {
            let (mult, shift) = factor(rng, 14);
            vec![mult, shift]
        }
        _ => vec![rng.wild(), rng.wild(), rng.below(63) as i32],
    };
    let r = net.words(&[r.len() as u32], &r);
    let y = activation(net, &dims);
    net.op(kind, &[x, b, r], &[], y)
}

/// The output, from the definitions.
fn compute(net: &Codes, x: &[i16]) -> Vec<i16> {
    let mut values: Vec<Vec<i16>> = net
        .data
        .iter()
        .map(|data| shorts(&data[..data.len() & !1]))
        .collect();
    values[0] = x.to_vec();
    for op in &net.ops {
        values[op.output as usize] = result(net, op, &values);
    }
    values.swap_remove(net.output as usize)
}

fn result(net: &Codes, op: &Op, values: &[Vec<i16>]) -> Vec<i16> {
    let [first, second, third, fourth] = op.inputs;
    let x = &values[first as usize];
    let list = |tensor: u32| numbers(&net.data[tensor as usize]);
    let last = *net.dims(first).last().unwrap() as usize;
    match op.kind {
        OpKind::Dense => {
            let (w, b, r) = (&values[second as usize], list(third), list(fourth));
            let n = r.len() / 2;
            let row = |x: &[i16]| {
                let sum = |i: usize| {
                    let w = &w[i * last..][..last];
                    let products = x
                        .iter()
                        .zip(w)
                        .map(|(&x, &w)| i128::from(x) * i128::from(w));
                    let bias = i64::from(b[2 * i + 1]) << 32 | i64::from(b[2 * i] as u32);
                    let sum = products.sum::<i128>() + i128::from(bias);
                    let sum = scaled(sum, r[i], 31 + r[n + i]);
                    sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32
                };
                let sums: Vec<i32> = (0..n).map(sum).collect();
                let [_, mult, shift, ..] = op.params;
                match op.activation {
                    Activation::Linear => sums.iter().map(|&y| saturated(y.into())).collect(),
                    Activation::Relu => sums.iter().map(|&y| saturated(y.max(0).into())).collect(),
                    act => {
                        let mut y = bytes(&sums);
                        act.apply(&mut y);
                        let y = numbers(&y).into_iter();
                        y.map(|y| saturated(scaled(y.into(), mult, 31 + shift)))
                            .collect::<Vec<_>>()
                    }
                }
            };
            x.chunks(last).flat_map(row).collect()
        }
        OpKind::Add | OpKind::Sub | OpKind::Mul => {
            let (b, r) = (&values[second as usize], list(third));
            let one = |(i, &a): (usize, &i16)| {
                let (a, b) = (i128::from(a), i128::from(b[i % b.len()]));
                let [p, q] = [r[0], r[1]].map(i128::from);
                saturated(match op.kind {
                    OpKind::Mul => scaled(a * b, r[0], 31 + r[1]),
                    OpKind::Add => scaled(a * p + b * q, 1, r[2]),
                    // The factor of what is subtracted has no opposite if it is the least.
                    _ => scaled(a * p + b * (-q).min(i32::MAX.into()), 1, r[2]),
                })
            };
            x.iter().enumerate().map(one).collect()
        }
        other => unreachable!("{}", other.name()),
    }
}

const ACTIVATIONS: [Activation; 6] = [
    Activation::Linear,
    Activation::Relu,
    Activation::LeakyRelu { slope: 6554 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Softmax,
];

#[test]
fn random_networks() {
    let mut rng = Rng::new();
    let mut various = 0;
    for i in 0..600 {
        let rows = rng.pick(&[1, 1, 3]);
        let k = 1 + rng.below(70) as u32;
        let dims = [rows, k];
        let mut net = input(if rows == 1 { &dims[1..] } else { &dims });
        let mut x = 0;
        for _ in 0..1 + rng.below(3) {
            x = match rng.below(3) {
                0 => {
                    let kind = rng.pick(&[OpKind::Add, OpKind::Sub, OpKind::Mul]);
                    sums(&mut rng, &mut net, kind, x)
                }
                _ => {
                    let n = 1 + rng.below(20) as u32;
                    dense(&mut rng, &mut net, x, n, ACTIVATIONS[i % 6])
                }
            };
        }
        let x: Vec<i16> = (0..3 * rows * k).map(|_| wild(&mut rng)).collect();
        let want: Vec<i16> = x
            .chunks(x.len() / 3)
            .flat_map(|x| compute(&net, x))
            .collect();
        for tile in [1, 300, u64::MAX] {
            assert_eq!(outputs(&net, 3, &x, tile), want);
        }
        various += u32::from(
            want.iter()
                .any(|&y| y != want[0] && y.unsigned_abs() < 32767),
        );
    }
    assert!(various > 300, "{various}");
}

#[test]
fn a_small_network_is_near_its_numbers() {
    let mut rng = Rng::seeded(3);
    // Inputs within 1, weights within 1, sums within 8, results of functions within 1.
    let (input_step, weight_step) = (2f64.powi(-15), 2f64.powi(-15));
    let unit = |rng: &mut Rng| f64::from(rng.i32()) / 2f64.powi(31);
    for act in ACTIVATIONS {
        let (k, n) = (16, 7);
        let w: Vec<f64> = (0..n * k).map(|_| unit(&mut rng)).collect();
        let b: Vec<f64> = (0..n).map(|_| unit(&mut rng)).collect();
        let mut net = input(&[k as u32]);
        let codes: Vec<i16> = w
            .iter()
            .map(|w| (w / weight_step).round().clamp(-32767.0, 32767.0) as i16)
            .collect();
        let tensor = constant(&mut net, &[n as u32, k as u32], &codes);
        let biases: Vec<i32> = b
            .iter()
            .flat_map(|b| {
                let bias = (b / (input_step * weight_step)).round() as i64;
                [bias as i32, (bias >> 32) as i32]
            })
            .collect();
        let bias = net.words(&[n as u32, 2], &biases);
        let plain = matches!(act, Activation::Linear | Activation::Relu);
        // Steps of 2^-12, or of Q16.16: from 2^-30 by 2^-18 or 2^-14, that is half of 2^-17 or 2^-13.
        let shift = if plain { 17 } else { 13 };
        let r: Vec<i32> = [vec![1 << 30; n], vec![shift; n]].concat();
        let r = net.words(&[2, n as u32], &r);
        let y = activation(&mut net, &[n as u32]);
        // From 2^-16 to 2^-12 for leaky ReLU, to 2^-15 for the others.
        let leaky = matches!(act, Activation::LeakyRelu { .. });
        let shift = if leaky { 3 } else { 0 };
        let slope = if leaky { 6554 } else { 0 };
        let params: &[i32] = if plain { &[] } else { &[slope, 1 << 30, shift] };
        net.op(OpKind::Dense, &[0, tensor, bias, r], params, y);
        net.ops[0].activation = act;
        let step = 2f64.powi(if plain || leaky { -12 } else { -15 });
        for _ in 0..100 {
            let x: Vec<i16> = (0..k).map(|_| rng.i32() as i16).collect();
            let sums: Vec<f64> = (0..n)
                .map(|i| {
                    let products = x.iter().zip(&w[i * k..]);
                    products
                        .map(|(&x, w)| f64::from(x) * input_step * w)
                        .sum::<f64>()
                        + b[i]
                })
                .collect();
            let total: f64 = sums.iter().map(|x| x.exp()).sum();
            let y = outputs(&net, 1, &x, u64::MAX);
            for (&y, &sum) in y.iter().zip(&sums) {
                let want = match act {
                    Activation::Linear => sum,
                    Activation::Relu => sum.max(0.0),
                    Activation::LeakyRelu { .. } => sum.max(0.1 * sum),
                    Activation::Sigmoid => 1.0 / (1.0 + (-sum).exp()),
                    Activation::Tanh => sum.tanh(),
                    Activation::Softmax => sum.exp() / total,
                };
                // Weights are off by half a step each, results by one.
                let off = (f64::from(y) * step - want).abs();
                assert!(off <= 1.1 * step + 3e-4, "{act:?}: {y} of {want}");
            }
        }
    }
}

#[test]
fn extremes_do_not_overflow() {
    let k = 65536;
    for (w, x) in [
        (i16::MAX, i16::MIN),
        (-i16::MAX, i16::MIN),
        (-i16::MAX, i16::MAX),
    ] {
        let mut net = input(&[k]);
        let w = constant(&mut net, &[1, k], &vec![w; k as usize]);
        let b = net.words(&[1, 2], &[-1, 0x3fff]);
        let r = net.words(&[2, 1], &[i32::MAX, 31]);
        let y = activation(&mut net, &[1]);
        net.op(OpKind::Dense, &[0, w, b, r], &[], y);
        let x = vec![x; k as usize];
        assert_eq!(outputs(&net, 1, &x, u64::MAX), compute(&net, &x));
    }
}

#[test]
fn codes_are_moved_and_looked_up() {
    let mut net = input(&[2, 3]);
    let turned = activation(&mut net, &[3, 2]);
    net.op(OpKind::Transpose, &[0], &[1, 0], turned);
    let wide = activation(&mut net, &[4, 3]);
    let value = -1234;
    let border = [pair([0, 1]), pair([1, 0]), 0, 0, value];
    net.op(OpKind::Pad, &[turned], &border, wide);
    let part = activation(&mut net, &[2, 2]);
    net.op(OpKind::Slice, &[wide], &[2, 0], part);
    let corner = activation(&mut net, &[2, 2]);
    net.op(OpKind::Slice, &[turned], &[], corner);
    let both = activation(&mut net, &[4, 2]);
    net.op(OpKind::Concat, &[part, corner], &[0], both);
    let x: Vec<i16> = vec![1, 2, 3, 4, 5, 6];
    let value = value as i16;
    let want = vec![value, 3, value, value, 1, 4, 2, 5];
    assert_eq!(outputs(&net, 1, &x, 1), want);

    let mut net = input(&[5]);
    let table = constant(&mut net, &[3, 2], &[10, 11, 20, 21, 30, 31]);
    let y = activation(&mut net, &[5, 2]);
    net.op(OpKind::Embedding, &[0, table], &[], y);
    let want = [10, 11, 10, 11, 20, 21, 30, 31, 30, 31];
    assert_eq!(outputs(&net, 1, &[i16::MIN, 0, 1, 2, i16::MAX], 1), want);
}

#[test]
fn forests() {
    let mut rng = Rng::new();
    for _ in 0..200 {
        let draw = &mut |most| rng.below(most);
        let trees = Trees::random(
            draw,
            (4, 2),
            (5, 4),
            &|word| i32::from(word as i16),
            &|word| word as i32,
        );
        let mut net = input(&[4]);
        let nodes = net.words(&[trees.nodes.len() as u32, 4], &trees.words());
        let roots = net.words(&[5], &trees.roots);
        let leaves = net.words(&[trees.leaves.len() as u32 / 2, 2], &trees.leaves);
        let y = activation(&mut net, &[2]);
        let (mult, shift) = factor(&mut rng, 17);
        net.op(
            OpKind::Forest,
            &[0, nodes, roots, leaves],
            &[0, mult, shift],
            y,
        );
        let x: Vec<i16> = (0..4).map(|_| wild(&mut rng)).collect();
        let sums = trees.sums(&|i, threshold| i32::from(x[i]) <= threshold);
        let want: Vec<i16> = sums
            .iter()
            .map(|&sum| saturated(scaled(sum, mult, 31 + shift)))
            .collect();
        assert_eq!(outputs(&net, 1, &x, 1), want);
    }
}

/// Expects a network, and that it is refused once it is changed.
#[track_caller]
fn refuse(net: &Codes, change: impl FnOnce(&mut Codes), line: &str) {
    assert_eq!(check(&net.file()), Ok(()));
    let mut net = net.clone();
    change(&mut net);
    let error = check(&net.file()).expect_err("accepted").to_string();
    let line = match line.starts_with("tensor") {
        true => format!("model: {line}"),
        false => format!("model: op 0: {line}"),
    };
    assert_eq!(error, line);
    assert!(error.len() <= MAX_LINE);
}

fn sizes(tensor: usize, dtype: DType, dims: &'static [u32]) -> impl FnOnce(&mut Codes) {
    move |net| {
        let kind = net.tensors[tensor].kind;
        net.tensors[tensor] = match (dtype, kind) {
            (DType::I16, TensorKind::Activation) => short(dims),
            _ => Tensor::new(dtype, kind, dims),
        };
        net.data[tensor] = vec![0; net.tensors[tensor].data_bytes as usize];
    }
}

fn param(i: usize, value: i32) -> impl FnOnce(&mut Codes) {
    move |net| net.ops[0].params[i] = value
}

#[test]
fn faults_of_dense_layers() {
    let mut rng = Rng::seeded(4);
    use DType::{F32, I16, I32, I8};
    for act in ACTIVATIONS {
        let mut net = input(&[2, 3]);
        dense(&mut rng, &mut net, 0, 4, act);
        for bits in [0, 0x7f80_0000] {
            let line = format!("tensor 0: scale {bits:#010x} is not a positive normal number");
            refuse(&net, |net| net.tensors[0].scale_bits = bits, &line);
        }
        let line = "tensor 0: zero_point is 1, allowed is 0..=0";
        refuse(&net, |net| net.tensors[0].zero_point = 1, line);
        let line = "input 1 (weights) has elements of i8, must have i16";
        refuse(&net, sizes(1, I8, &[4, 3]), line);
        let line = "weights: dimension 1 is 2, must be 3";
        refuse(&net, sizes(1, I16, &[4, 2]), line);
        let line = "input 2 (bias) has elements of f32, must have i32";
        refuse(&net, sizes(2, F32, &[4, 2]), line);
        refuse(
            &net,
            sizes(2, I32, &[4]),
            "bias has 1 dimensions, must have 2",
        );
        let line = "requantisation: dimension 1 is 3, must be 4";
        refuse(&net, sizes(3, I32, &[2, 3]), line);
        let line = "output: dimension 1 is 5, must be 4";
        refuse(&net, sizes(4, I16, &[2, 5]), line);
        let line = "output: dimension 0 is 1, must be 2";
        refuse(&net, sizes(4, I16, &[1, 4]), line);
        let least = |net: &mut Codes| net.data[1][..2].copy_from_slice(&i16::MIN.to_le_bytes());
        let line = "weights of row 0 are too large: an input could overflow the sum";
        refuse(&net, least, line);
        let bias =
            |net: &mut Codes| net.data[2][8..16].copy_from_slice(&(1i64 << 47).to_le_bytes());
        let line = "weights of row 1 are too large: an input could overflow the sum";
        refuse(&net, bias, line);
        let plain = matches!(act, Activation::Linear | Activation::Relu);
        let leaky = matches!(act, Activation::LeakyRelu { .. });
        for i in (if plain { 0 } else { 3 })..7 {
            // The slope is that of an activation without one.
            let line = format!("reserved byte {} is not 0", 28 + 4 * i);
            refuse(&net, param(i, 1), &line);
        }
        if !plain && !leaky {
            let line = "params[0] (not used here) is 1, allowed is 0..=0";
            refuse(&net, param(0, 1), line);
        }
        if !plain {
            let line = "multiplier is 1, allowed is 1073741824..=2147483647";
            refuse(&net, param(1, 1), line);
            let line = "params[2] (shift) is 32, allowed is -31..=31";
            refuse(&net, param(2, 32), line);
        }
    }
}

#[test]
fn faults_of_sums_and_products() {
    use DType::{I16, I32};
    for kind in [OpKind::Add, OpKind::Sub, OpKind::Mul] {
        let mut net = input(&[3, 4]);
        let b = constant(&mut net, &[4], &[1; 4]);
        let r: &[i32] = match kind {
            OpKind::Mul => &[1 << 30, 0],
            _ => &[1, 1, 0],
        };
        let r = net.words(&[r.len() as u32], r);
        let y = activation(&mut net, &[3, 4]);
        net.op(kind, &[0, b, r], &[], y);
        let line = "input 1 (b): dimension 0 is 3, must be 4";
        refuse(&net, sizes(1, I16, &[3]), line);
        let line = "input 1 (b) has elements of i32, must have i16";
        refuse(&net, sizes(1, I32, &[4]), line);
        let line = "output: dimension 1 is 5, must be 4";
        refuse(&net, sizes(3, I16, &[3, 5]), line);
        refuse(&net, param(0, 1), "reserved byte 28 is not 0");
        let line = format!("input 3 is 0, must be {NONE}");
        refuse(&net, |net| net.ops[0].inputs[3] = 0, &line);
        let last = |value: i32| {
            move |net: &mut Codes| {
                let at = net.data[2].len() - 4;
                net.data[2][at..].copy_from_slice(&value.to_le_bytes());
            }
        };
        let (value, line) = match kind {
            OpKind::Mul => (32, "shift is 32, allowed is -31..=31"),
            _ => (63, "shift is 63, allowed is 0..=62"),
        };
        refuse(&net, last(value), line);
    }
    // What 16-bit codes have not.
    let mut net = input(&[4]);
    let y = activation(&mut net, &[4]);
    net.op(OpKind::Softmax, &[0], &[], y);
    let error = check(&net.file()).expect_err("accepted").to_string();
    assert_eq!(error, "model: op 0: softmax of i16 is not supported");
}
