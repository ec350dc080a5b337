// SPDX-License-Identifier: GPL-2.0

//! Layers of `f32` that are done in parts give the bits of the whole, and long rows of codes what scalar
//! code gives.

#[path = "../../core/tests/common/codes.rs"]
mod codes;
#[path = "../../core/tests/common/mod.rs"]
mod common;
mod f32_common;

use common::{Loaded, Rng};
use f32_common::{sets, Buf, Random};
use neural_core::float::{
    Allocation, Link, Matmul, Mean, Pool, Rows, RowsMut, Softmax, SoftmaxPart, SoftmaxState, Usage,
};
use neural_core::nnm::OpKind;
use neural_core::plan::{run, Kernels, Scalar};
use neural_simd::{Features, Isa, NoSection, Set, Simd};

fn bits(values: Vec<f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

/// Starts and ends of parts of `n`, which end at multiples of `step`.
fn cuts(random: &mut Random, n: usize, step: usize) -> Vec<(usize, usize)> {
    let mut ends: Vec<usize> = (0..2).map(|_| random.range(0, n / step) * step).collect();
    ends.extend([0, n]);
    ends.sort_unstable();
    ends.dedup();
    ends.windows(2).map(|ends| (ends[0], ends[1])).collect()
}

#[test]
fn means() {
    let mut random = Random::new(71);
    for set in sets() {
        for n in 1..60 {
            let rows = random.range(1, 30);
            let x = random.units(rows * n);
            let all = Buf::new(&x, 3);
            let mean = |parts: &[(usize, usize)], columns: &[(usize, usize)]| {
                let mut y = Buf::new(&vec![7.0; n], 1);
                for &(left, right) in columns {
                    for &(from, to) in parts {
                        assert!(set.mean_f32(&mut Mean {
                            x: &all.bytes()[4 * (from * n + left)..],
                            row: 4 * n,
                            y: &mut y.bytes_mut()[4 * left..4 * right],
                            rows: to - from,
                            n: right - left,
                            more: from > 0,
                            count: if to == rows { rows } else { 0 },
                        }));
                    }
                }
                bits(y.get())
            };
            let whole = mean(&[(0, rows)], &[(0, n)]);
            let parts = cuts(&mut random, rows, 1);
            let columns = cuts(&mut random, n, 16);
            assert_eq!(mean(&parts, &columns), whole, "{:?} {n}", set.isa());
        }
    }
}

#[test]
fn softmax() {
    let mut random = Random::new(72);
    for set in sets() {
        for n in (1..200).chain([1000]) {
            for log in [false, true] {
                let mut x = random.units(n);
                if n % 7 == 0 {
                    x[n / 2] = f32::NEG_INFINITY;
                }
                let (x, mut y) = (Buf::new(&x, 3), Buf::new(&x, 1));
                assert!(set.softmax_f32(&mut Softmax {
                    x: x.bytes(),
                    y: y.bytes_mut(),
                    n,
                    log,
                    part: None,
                }));
                let whole = bits(y.get());
                let parts = cuts(&mut random, n, 16);
                let mut state = SoftmaxState::new();
                for part in [SoftmaxPart::Top, SoftmaxPart::Sum, SoftmaxPart::Share] {
                    for &(from, to) in &parts {
                        assert!(set.softmax_f32(&mut Softmax {
                            x: &x.bytes()[4 * from..4 * to],
                            y: &mut y.bytes_mut()[4 * from..4 * to],
                            n: to - from,
                            log,
                            part: Some((part, &mut state)),
                        }));
                    }
                }
                assert_eq!(bits(y.get()), whole, "{:?} {n} {log}", set.isa());
            }
        }
    }
}

#[test]
fn products() {
    let mut random = Random::new(73);
    for set in sets() {
        for k in 1..70 {
            let n = random.range(1, 80);
            let (x, b) = (random.units(k), random.units(k * n));
            let (x, b) = (Buf::new(&x, 3), Buf::new(&b, 1));
            let product = |parts: &[(usize, usize)]| {
                let mut y = Buf::new(&vec![7.0; n], 1);
                for &(from, to) in parts {
                    assert!(set.matmul_f32(&mut Matmul {
                        x: Rows {
                            bytes: &x.bytes()[4 * from..],
                            row: 4 * k,
                        },
                        b: Rows {
                            bytes: &b.bytes()[4 * from * n..],
                            row: 4 * n,
                        },
                        y: RowsMut {
                            bytes: y.bytes_mut(),
                            row: 4 * n,
                        },
                        m: 1,
                        n,
                        k: to - from,
                        scale: 1f32.to_bits(),
                        transposed: false,
                        more: from > 0,
                    }));
                }
                bits(y.get())
            };
            let whole = product(&[(0, k)]);
            let parts = cuts(&mut random, k, 1);
            assert_eq!(product(&parts), whole, "{:?} {k} {n}", set.isa());
        }
    }
}

#[test]
fn pools() {
    let mut random = Random::new(74);
    for set in sets() {
        for i in 0..300 {
            let channels = random.range(1, 70);
            let [height, width] = [random.range(1, 6), random.range(2, 9)];
            let window = [random.range(1, height), random.range(1, width)];
            let stride = [1, random.range(1, 3)];
            let pad = [
                random.range(0, window[0] - 1),
                random.range(0, window[1] - 1),
            ];
            let out = [1, (width + pad[1] - window[1]) / stride[1] + 1];
            let x = Buf::new(&random.units(height * width * channels), 3);
            let pool = |columns: &[(usize, usize)], parts: &[(usize, usize)]| {
                let mut y = Buf::new(&vec![7.0; out[1] * channels], 1);
                for &(first, end) in columns {
                    for &(from, to) in parts {
                        assert!(set.pool_f32(&mut Pool {
                            x: &x.bytes()[4 * from..],
                            y: &mut y.bytes_mut()[4 * (first * channels + from)..],
                            image: [height, width, channels],
                            channels: to - from,
                            first,
                            out: [1, end - first],
                            window,
                            stride,
                            pad,
                            greatest: i % 2 == 0,
                        }));
                    }
                }
                bits(y.get())
            };
            let whole = pool(&[(0, out[1])], &[(0, channels)]);
            let columns = cuts(&mut random, out[1], 1);
            let parts = cuts(&mut random, channels, 1);
            assert_eq!(pool(&columns, &parts), whole, "{:?} {i}", set.isa());
        }
    }
}

#[test]
fn memories() {
    let mut random = Random::new(75);
    for set in sets() {
        for n in 1..60 {
            let heads = random.range(0, 3);
            let [u, w, p] = [0; 3].map(|_| Buf::new(&random.positive(n), 3));
            let read = Buf::new(&random.positive(heads * n), 1);
            let (free, links) = (random.positive(heads), random.positive(n * n));
            let free = Buf::new(&free, 1);
            let copy = |buf: &Buf| buf.bytes().to_vec();
            let step = |parts: &[(usize, usize)]| {
                let (mut usage, mut precedence) = (copy(&u), copy(&p));
                let mut links = Buf::new(&links, 3);
                let mut y = Buf::new(&vec![7.0; n], 1);
                for &(from, to) in parts {
                    assert!(set.usage_f32(&mut Usage {
                        u: &mut usage[4 * from..],
                        w: &w.bytes()[4 * from..],
                        read: read.bytes().get(4 * from..).unwrap_or_default(),
                        read_row: 4 * n,
                        free: free.bytes(),
                        heads,
                        n: to - from,
                    }));
                }
                for &(from, to) in parts {
                    assert!(set.allocation_f32(&mut Allocation {
                        u: &usage,
                        first: from,
                        y: &mut y.bytes_mut()[4 * from..4 * to],
                        n,
                    }));
                    assert!(set.link_f32(&mut Link {
                        l: &mut links.bytes_mut()[4 * from * n..],
                        first: from,
                        rows: to - from,
                        p: &mut precedence,
                        w: w.bytes(),
                        n,
                    }));
                }
                (usage, bits(y.get()), bits(links.get()), precedence)
            };
            let whole = step(&[(0, n)]);
            let parts = cuts(&mut random, n, 1);
            assert_eq!(step(&parts), whole, "{:?} {n}", set.isa());
        }
    }
}

/// Rows that are packed by few, and rows that are too long for vector code.
#[test]
fn long_rows_of_codes() {
    let mut rng = Rng::new();
    for (k, n, m) in [
        (5200, 70, 1),
        (5101, 64, 3),
        (5097, 130, 2),
        (20_500, 37, 1),
    ] {
        let mut net = codes::Codes::new(&[m, k], 3);
        let w: Vec<u8> = (0..n * k).map(|_| rng.u64() as u8).collect();
        let w = net.codes(&[n, k], w);
        let b = net.words(&[n], &(0..n as i32).map(|i| i * 100).collect::<Vec<_>>());
        let factors = [vec![1 << 30; n as usize], vec![12; n as usize]].concat();
        let r = net.words(&[2, n], &factors);
        let y = net.activation(&[m, n], -5);
        net.op(OpKind::Dense, &[0, w, b, r], &[-128, 127], y);
        let loaded = Loaded::new(&net.file());
        let input: Vec<u8> = (0..m * k).map(|_| rng.u64() as u8).collect();
        let predict = |kernels: &dyn Kernels| {
            let mut scratch = vec![0x99; loaded.plan.scratch_bytes];
            let mut output = vec![0x55; loaded.plan.output_bytes];
            let (plan, steps) = (&loaded.plan, &loaded.steps);
            let weights = &loaded.weights;
            run(
                kernels,
                plan,
                steps,
                weights,
                1,
                &mut scratch,
                &input,
                &mut output,
            )
            .unwrap();
            output
        };
        let want = predict(&Scalar);
        let x: Vec<i8> = input.iter().map(|&x| x as i8).collect();
        let result = &net.compute(&x)[net.output as usize];
        assert!(
            want.iter().zip(result).all(|(&y, &want)| y as i8 == want),
            "{k} {n}"
        );
        let sets = Isa::ALL.map(|isa| Set::select(&Features::detect(), Some(isa)));
        for set in sets.into_iter().flatten() {
            assert_eq!(
                predict(&Simd::new(Some(set), NoSection)),
                want,
                "{set:?} {k}"
            );
        }
    }
}
