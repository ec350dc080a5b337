// SPDX-License-Identifier: GPL-2.0

//! The matrix product with packed weights, against sums in f64.

mod f32_common;

use f32_common::{act, function, near, sets, words, Buf, Random, EPS};
use neural_core::float::{self, Function, Gemm};
use neural_simd::Set;

#[derive(Clone, Copy, Debug)]
struct Shape {
    outer: usize,
    m: usize,
    n: usize,
    segments: usize,
    k: usize,
    /// Elements between segments, positions and lines.
    gap: usize,
    function: Function,
}

/// Weights as the plan packs them.
fn pack(w: &[f32], n: usize, segments: usize, k: usize) -> Vec<f32> {
    let bytes: Vec<u8> = w.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut packed = vec![0; float::packed_gemm_bytes(n, segments, k).unwrap()];
    float::pack_gemm(&bytes, n, segments * k, &mut packed);
    packed
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

fn compare(set: &Set, random: &mut Random, shape: Shape) {
    let Shape {
        outer,
        m,
        n,
        segments,
        k,
        gap,
        function: code,
    } = shape;
    let offsets: Vec<usize> = (0..segments).map(|s| s * (k + gap)).collect();
    let patch = segments * (k + gap) - gap;
    // Neighbouring patches overlap, as those of a convolution do.
    let x_row = random.range(0, patch);
    let (y_row, x_outer) = (n + gap, m * x_row + gap);
    let y_outer = m * y_row + gap;
    let x = random.units((outer - 1) * x_outer + (m - 1) * x_row + patch);
    let w = random.units(n * segments * k);
    let bias = random.units(n.next_multiple_of(16));
    let shift = random.range(0, 3);
    let before = random.units((outer - 1) * y_outer + (m - 1) * y_row + n);
    let slope = 0.125f32;

    let bx = Buf::new(&x, shift);
    let bw = Buf::new(&pack(&w, n, segments, k), shift);
    let bb = Buf::new(&bias, shift);
    let mut by = Buf::new(&before, shift * 17);
    let bytes: Vec<usize> = offsets.iter().map(|o| o * 4).collect();
    assert!(
        set.gemm_f32(&mut Gemm {
            x: bx.bytes(),
            x_row: x_row * 4,
            x_outer: x_outer * 4,
            y: by.bytes_mut(),
            y_row: y_row * 4,
            y_outer: y_outer * 4,
            m,
            outer,
            n,
            k,
            offsets: &words(&bytes),
            w: bw.bytes(),
            by_row: float::by_row(n, segments * k),
            bias: bb.bytes(),
            act: act(code, slope),
        }),
        "{shape:?}"
    );
    let mut y = by.get();
    for a in 0..outer {
        for b in 0..m {
            for r in 0..n {
                let (mut sum, mut size) = (f64::from(bias[r]), f64::from(bias[r]).abs());
                for (s, offset) in offsets.iter().enumerate() {
                    for i in 0..k {
                        let x = f64::from(x[a * x_outer + b * x_row + offset + i]);
                        let p = x * f64::from(w[(r * segments + s) * k + i]);
                        sum += p;
                        size += p.abs();
                    }
                }
                let expected = function(code, slope.into(), sum);
                let terms = (segments * k + 2) as f64;
                // Activations stretch differences by at most 1.2, and have errors of their own.
                let bound = 1.2 * terms * EPS * size + 1e-6 * expected.abs() + 1e-7;
                let place = a * y_outer + b * y_row + r;
                near(y[place], expected, bound, &(set.isa(), shape, a, b, r));
                y[place] = before[place];
            }
        }
    }
    assert_eq!(y, before, "{:?} {shape:?}: written between rows", set.isa());
}

#[test]
fn random_shapes() {
    let mut random = Random::new(2);
    for set in sets() {
        for i in 0..600 {
            let shape = Shape {
                outer: if i % 3 == 0 { random.range(1, 5) } else { 1 },
                m: random.range(1, 20),
                n: random.range(1, 70),
                segments: if i % 2 == 0 { random.range(1, 4) } else { 1 },
                k: random.range(1, 70),
                gap: random.range(0, 3),
                function: Function::ALL[i % 10],
            };
            compare(&set, &mut random, shape);
        }
    }
}

#[test]
fn every_width_for_one_and_several_positions() {
    let mut random = Random::new(3);
    for set in sets() {
        for n in (1..=200).chain([255, 256, 257, 300]) {
            for m in [1, 2, 7, 9] {
                let shape = Shape {
                    outer: 1,
                    m,
                    n,
                    segments: 1,
                    k: 1 + n % 19,
                    gap: 0,
                    function: Function::None,
                };
                compare(&set, &mut random, shape);
            }
        }
    }
}

#[test]
fn every_depth_and_height() {
    let mut random = Random::new(4);
    for set in sets() {
        for k in 1..=70 {
            for n in [1, 2, 4, 8, 33, 64, 128] {
                for m in [1, 1 + k % 70] {
                    let shape = Shape {
                        outer: 1,
                        m,
                        n,
                        segments: 1 + k % 2,
                        k,
                        gap: 1,
                        function: Function::Relu,
                    };
                    compare(&set, &mut random, shape);
                }
            }
        }
    }
}

#[test]
fn one_of_no_number_spoils_its_outputs_only() {
    for set in sets() {
        for m in [1, 3] {
            let (n, k) = (20, 5);
            let mut x = vec![1.0f32; m * k];
            x[2] = f32::NAN;
            let w = vec![1.0f32; 32 * k];
            let x = Buf::new(&x, 0);
            let w = Buf::new(&w, 0);
            let bias = Buf::new(&[0.0; 32], 0);
            let mut y = Buf::new(&vec![0.0; m * n], 0);
            assert!(set.gemm_f32(&mut Gemm {
                x: x.bytes(),
                x_row: k * 4,
                x_outer: 0,
                y: y.bytes_mut(),
                y_row: n * 4,
                y_outer: 0,
                m,
                outer: 1,
                n,
                k,
                offsets: &[0; 4],
                w: w.bytes(),
                by_row: false,
                bias: bias.bytes(),
                act: act(Function::Relu6, 0.0),
            }));
            let y = y.get();
            assert!(y[..n].iter().all(|y| y.is_nan()), "{:?}: {y:?}", set.isa());
            assert!(y[n..].iter().all(|&y| y == 5.0), "{:?}: {y:?}", set.isa());
        }
    }
}

#[test]
fn what_misses_a_slice_is_refused() {
    let (m, n, k) = (2, 17, 3);
    for set in sets() {
        // Which of the buffers is how many bytes short.
        for (short, by) in [(0, 1), (1, 1), (2, 1), (3, 1), (4, 4), (5, 0)] {
            let less =
                |which: usize, len: usize| vec![0u8; len - if short == which { by } else { 0 }];
            let mut y = less(1, m * n * 4);
            let done = set.gemm_f32(&mut Gemm {
                x: &less(0, m * k * 4),
                x_row: k * 4,
                x_outer: 0,
                y: &mut y,
                y_row: n * 4,
                y_outer: 0,
                m,
                outer: 1,
                n,
                k: if short == 4 { k + 1 } else { k },
                offsets: &[0; 4],
                w: &less(2, 32 * k * 4),
                by_row: false,
                bias: &less(3, 32 * 4),
                act: act(Function::None, 0.0),
            });
            assert_eq!(done, short == 5, "buffer {short}");
        }
    }
}
