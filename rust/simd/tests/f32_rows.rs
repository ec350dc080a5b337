// SPDX-License-Identifier: GPL-2.0

//! Operations on rows, against f64, all lengths.

mod f32_common;

use f32_common::{act, function, near, sets, wide, Buf, Random, EPS};
use neural_core::float::{Binary, Function, Mean, Norm, Normalise, Operator, Softmax};

const PLACES: [usize; 4] = [0, 1, 3, 66];

#[test]
fn binary_operations() {
    let mut random = Random::new(10);
    for set in sets() {
        for n in 0..=512 {
            let (rows, shift) = (1 + n % 3, PLACES[n % 4]);
            let a = random.units(rows * n);
            let b = random.units(n);
            let (ba, bb) = (Buf::new(&a, shift), Buf::new(&b, shift));
            for operator in [Operator::Add, Operator::Sub, Operator::Mul] {
                for code in [Function::None, Function::Relu, Function::Elu] {
                    let mut y = Buf::new(&a, shift);
                    let layer = &mut Binary {
                        operator,
                        a: ba.bytes(),
                        b: bb.bytes(),
                        y: y.bytes_mut(),
                        act: act(code, 0.5),
                    };
                    assert_eq!(set.binary_f32(layer), n > 0);
                    for (i, y) in y.get().into_iter().enumerate() {
                        let (a, b) = (a[i], b[i % n]);
                        let sum = match operator {
                            Operator::Add => a + b,
                            Operator::Sub => a - b,
                            Operator::Mul => a * b,
                        };
                        let expected = function(code, 0.5, sum.into());
                        let bound = if code == Function::Elu { 2e-7 } else { 0.0 };
                        near(y, expected, bound, &(set.isa(), operator, code, n, i));
                    }
                }
            }
        }
    }
}

#[test]
fn rows_that_are_cut_off_are_refused() {
    for set in sets() {
        for (a, b, y, done) in [
            (24, 12, 24, true),
            (24, 24, 24, true),
            (24, 16, 24, false),
            (20, 12, 24, false),
            (24, 0, 24, false),
            (24, 12, 23, false),
            (24, 3, 24, false),
        ] {
            let mut y = vec![0; y];
            let layer = &mut Binary {
                operator: Operator::Add,
                a: &vec![0; a],
                b: &vec![0; b],
                y: &mut y,
                act: act(Function::None, 0.0),
            };
            assert_eq!(set.binary_f32(layer), done, "{a} {b}");
        }
    }
}

/// The statistics of some samples, and what becomes of the last one of them.
fn statistics(samples: &[f64], range: bool, eps: f64) -> [f64; 3] {
    let (n, last) = (samples.len() as f64, samples[samples.len() - 1]);
    if range {
        let low = samples.iter().fold(f64::INFINITY, |a, &b| a.min(b));
        let high = samples.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        return [low, high, (last - low) / (high - low).max(eps)];
    }
    let mean = samples.iter().sum::<f64>() / n;
    let variance = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    [mean, variance, (last - mean) / (variance + eps).sqrt()]
}

#[test]
fn normalisation_by_all_samples_so_far() {
    let (mut random, eps) = (Random::new(11), 1e-3f32);
    for set in sets() {
        for n in 0..=512 {
            for range in [false, true] {
                let place = PLACES[n % 4];
                // What was there before the first sample does not count.
                let mut state = [vec![f32::NAN; n], vec![f32::NAN; n]];
                let mut seen = vec![Vec::new(); n];
                for samples in 1..=4 {
                    let x: Vec<f32> = random.units(n).iter().map(|x| 3.0 * x + 1.0).collect();
                    let empty = vec![0.0; n];
                    let mut made = [0; 3].map(|_| Buf::new(&empty, place));
                    let [y, first, second] = &mut made;
                    assert!(set.normalise_f32(&mut Normalise {
                        x: Buf::new(&x, place).bytes(),
                        first: Buf::new(&state[0], place).bytes(),
                        second: Buf::new(&state[1], place).bytes(),
                        y: y.bytes_mut(),
                        next_first: first.bytes_mut(),
                        next_second: second.bytes_mut(),
                        range,
                        samples: (samples as f32).to_bits(),
                        eps: eps.to_bits(),
                    }));
                    let [y, first, second] = made.each_mut().map(Buf::get);
                    for (i, seen) in seen.iter_mut().enumerate() {
                        seen.push(f64::from(x[i]));
                        let want = statistics(seen, range, f64::from(eps));
                        for (have, want) in [first[i], second[i], y[i]].into_iter().zip(want) {
                            near(have, want, 1e-4, &(set.isa(), n, range, samples, i));
                        }
                    }
                    state = [first, second];
                }
            }
        }
    }
}

#[test]
fn softmax_of_all_lengths() {
    let mut random = Random::new(12);
    for set in sets() {
        for n in 1..=512 {
            let (rows, place) = (1 + n % 3, PLACES[n % 4]);
            let scale = [1.0, 10.0, 100.0][n % 3];
            let x: Vec<f32> = random.units(rows * n).iter().map(|x| x * scale).collect();
            let bx = Buf::new(&x, place);
            for log in [false, true] {
                let mut y = Buf::new(&x, place);
                assert!(set.softmax_f32(&mut Softmax {
                    x: bx.bytes(),
                    y: y.bytes_mut(),
                    n,
                    log,
                    part: None,
                }));
                let y = y.get();
                for (x, y) in x.chunks(n).zip(y.chunks(n)) {
                    let row = wide(x);
                    let top = row.iter().fold(f64::MIN, |a, &b| a.max(b));
                    let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
                    for i in 0..n {
                        let d = row[i] - top;
                        let what = (set.isa(), n, i, log);
                        if log {
                            let e = d - sum.ln();
                            near(y[i], e, 4.0 * EPS * (d.abs() + sum.ln()) + 1e-6, &what);
                        } else {
                            // The difference to the greatest one is rounded to its own size.
                            let e = d.exp() / sum;
                            near(
                                y[i],
                                e,
                                e * (10.0 + n as f64 / 8.0 + d.abs()) * EPS + 1e-37,
                                &what,
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn softmax_of_no_numbers() {
    let inf = f32::INFINITY;
    for set in sets() {
        for (x, nan) in [
            ([0.0, -inf, 0.0], false),
            ([-inf, -inf, -inf], true),
            ([0.0, inf, 0.0], true),
            ([0.0, f32::NAN, 0.0], true),
        ] {
            let mut y = Buf::new(&x, 0);
            assert!(set.softmax_f32(&mut Softmax {
                x: Buf::new(&x, 0).bytes(),
                y: y.bytes_mut(),
                n: 3,
                log: false,
                part: None,
            }));
            let y = y.get();
            if nan {
                assert!(y.iter().all(|y| y.is_nan()), "{:?} {x:?}: {y:?}", set.isa());
            } else {
                assert_eq!(y, [0.5, 0.0, 0.5], "{:?}", set.isa());
            }
        }
        let mut y = [0; 4];
        let mut none = Softmax {
            x: &[0; 4],
            y: &mut y,
            n: 0,
            log: false,
            part: None,
        };
        assert!(!set.softmax_f32(&mut none), "softmax of nothing");
    }
}

#[test]
fn norms() {
    let mut random = Random::new(13);
    for set in sets() {
        for n in 1..=512 {
            let (rows, place) = (1 + n % 3, PLACES[n % 4]);
            let x: Vec<f32> = random
                .units(rows * n)
                .iter()
                .map(|x| x * 3.0 + 1.0)
                .collect();
            let gamma = random.units(n);
            let beta = random.units(n);
            let (bg, bb) = (Buf::new(&gamma, place), Buf::new(&beta, place));
            let eps = 1e-5f32;
            for rms in [false, true] {
                let mut y = Buf::new(&x, place);
                assert!(set.norm_f32(&mut Norm {
                    x: Buf::new(&x, place).bytes(),
                    y: y.bytes_mut(),
                    n,
                    gamma: bg.bytes(),
                    beta: (!rms).then_some(bb.bytes()),
                    eps: eps.to_bits(),
                }));
                for (x, y) in x.chunks(n).zip(y.get().chunks(n)) {
                    let x = wide(x);
                    let mean = if rms {
                        0.0
                    } else {
                        x.iter().sum::<f64>() / n as f64
                    };
                    let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
                    let deviation = (square + f64::from(eps)).sqrt();
                    for i in 0..n {
                        let v = (x[i] - mean) / deviation;
                        let b = if rms { 0.0 } else { f64::from(beta[i]) };
                        let g = f64::from(gamma[i]);
                        // The mean is off by the rounding of sums of numbers up to 4.
                        let off = (8.0 + n as f64 / 16.0) * EPS * (4.0 / deviation + v.abs());
                        near(y[i], v * g + b, off + 4.0 * EPS, &(set.isa(), n, i, rms));
                    }
                }
            }
        }
    }
}

#[test]
fn mean_over_rows() {
    let mut random = Random::new(14);
    for set in sets() {
        for n in 0..=512 {
            let (rows, place) = (1 + n % 7, PLACES[n % 4]);
            let x = random.units(rows * n);
            let mut y = Buf::new(&vec![0.0; n], place);
            assert!(set.mean_f32(&mut Mean {
                x: Buf::new(&x, place).bytes(),
                row: 4 * n,
                y: y.bytes_mut(),
                rows,
                n,
                more: false,
                count: rows,
            }));
            for (i, y) in y.get().into_iter().enumerate() {
                let column = (0..rows).map(|r| f64::from(x[r * n + i]));
                let mean = column.sum::<f64>() / rows as f64;
                near(y, mean, 8.0 * EPS, &(set.isa(), n, i));
            }
        }
    }
}
