// SPDX-License-Identifier: GPL-2.0

//! Products of run-time operands, cosine similarity and attention, against f64.

mod f32_common;

use f32_common::{near, sets, wide, Buf, Random, EPS};
use neural_core::float::{attention_elements, Attention, Cosine};
use neural_core::float::{Matmul, Rows, RowsMut};
use neural_simd::f32::Transpose;
use neural_simd::Set;

fn product(set: &Set, random: &mut Random, (m, n, k): (usize, usize, usize), transposed: bool) {
    let (gap, place) = (random.range(0, 2), random.range(0, 3));
    let (rows, columns) = if transposed { (n, k) } else { (k, n) };
    // The last row ends at its last element.
    let size = |rows: usize, columns: usize| (rows * (columns + gap)).saturating_sub(gap);
    let x = random.units(size(m, k));
    let b = random.units(size(rows, columns));
    let before = random.units(size(m, n));
    let mut y = Buf::new(&before, place);
    assert!(set.matmul_f32(&mut Matmul {
        x: Rows {
            bytes: Buf::new(&x, place).bytes(),
            row: (k + gap) * 4,
        },
        b: Rows {
            bytes: Buf::new(&b, place).bytes(),
            row: (columns + gap) * 4,
        },
        y: RowsMut {
            bytes: y.bytes_mut(),
            row: (n + gap) * 4,
        },
        m,
        n,
        k,
        scale: 0.5f32.to_bits(),
        transposed,
        more: false,
    }));
    let mut y = y.get();
    for i in 0..m {
        for j in 0..n {
            let (mut sum, mut size) = (0.0, 0.0);
            for l in 0..k {
                let at = if transposed {
                    j * (k + gap) + l
                } else {
                    l * (n + gap) + j
                };
                let p = f64::from(x[i * (k + gap) + l]) * f64::from(b[at]);
                sum += p;
                size += p.abs();
            }
            let what = (set.isa(), (m, n, k), transposed, i, j);
            let at = i * (n + gap) + j;
            near(y[at], sum / 2.0, (k + 2) as f64 * EPS * size / 2.0, &what);
            y[at] = before[at];
        }
    }
    assert_eq!(
        y,
        before,
        "{:?} {:?}: written between rows",
        set.isa(),
        (m, n, k)
    );
}

#[test]
fn products_of_matrices() {
    let mut random = Random::new(30);
    for set in sets() {
        for transposed in [false, true] {
            for _ in 0..500 {
                let shape = (
                    random.range(1, 70),
                    random.range(1, 70),
                    random.range(1, 70),
                );
                product(&set, &mut random, shape, transposed);
            }
            for n in 0..=200 {
                product(&set, &mut random, (1 + n % 9, n, 7), transposed);
                product(&set, &mut random, (n % 4, 9, n), transposed);
            }
        }
    }
}

#[test]
fn transpositions() {
    let mut random = Random::new(31);
    for set in sets() {
        for rows in 0..=40 {
            for columns in 0..=40 {
                let place = (rows + columns) % 4;
                let x = random.units(rows * columns);
                let mut y = Buf::new(&x, place);
                assert!(set.transpose_f32(&mut Transpose {
                    x: Rows {
                        bytes: Buf::new(&x, place).bytes(),
                        row: columns * 4,
                    },
                    y: RowsMut {
                        bytes: y.bytes_mut(),
                        row: rows * 4,
                    },
                    rows,
                    columns,
                }));
                for (i, y) in y.get().into_iter().enumerate() {
                    let expected = x[i % rows * columns + i / rows];
                    assert_eq!(y, expected, "{:?} {rows} {columns} {i}", set.isa());
                }
            }
        }
    }
}

fn cosine(set: &Set, key: &[f32], x: &[f32], eps: f32, place: usize) -> Vec<f32> {
    let d = key.len();
    let mut y = Buf::new(&vec![0.0; x.len() / d], place);
    assert!(set.cosine_f32(&mut Cosine {
        x: Buf::new(key, place).bytes(),
        rows: Buf::new(x, place).bytes(),
        y: y.bytes_mut(),
        d,
        eps: eps.to_bits(),
    }));
    y.get()
}

#[test]
fn cosine_similarities() {
    let mut random = Random::new(32);
    for set in sets() {
        for i in 0..=512 {
            let (n, rows) = if i % 2 == 0 {
                (1 + i, 3 + i % 15)
            } else {
                (1 + i % 70, i)
            };
            let key = random.units(n);
            let x = random.units(rows * n);
            let y = cosine(&set, &key, &x, 1e-8, i % 4);
            let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
            let key = wide(&key);
            for (r, row) in x.chunks(n).enumerate() {
                let row = wide(row);
                let dot: f64 = row.iter().zip(&key).map(|(a, b)| a * b).sum();
                let expected = dot / (norm(&row) * norm(&key)).max(1e-8);
                near(
                    y[r],
                    expected,
                    (n as f64 / 4.0 + 8.0) * EPS,
                    &(set.isa(), n, rows, r),
                );
            }
        }
        assert!(cosine(&set, &[0.0; 3], &[1.0; 6], 0.0, 0)[1].is_nan());
        assert_eq!(cosine(&set, &[0.0; 3], &[1.0; 6], 1e-8, 0), [0.0, 0.0]);
        let y = cosine(
            &set,
            &[1.0; 3],
            &[1.0, 1.0, f32::NAN, 1.0, 1.0, 1.0],
            1e-8,
            0,
        );
        assert!(y[0].is_nan() && (y[1] - 1.0).abs() < 1e-6, "{y:?}");
    }
}

#[test]
fn attention_with_heads_and_masks() {
    let mut random = Random::new(33);
    for set in sets() {
        for i in 0..200 {
            let causal = i % 2 == 1;
            let t = random.range(1, 20);
            let s = random.range(if causal { 1.max(t / 2) } else { 1 }, 40);
            let (d, heads) = (random.range(1, 40), random.range(1, 4));
            // Other heads beside these.
            let row = heads * d + random.range(0, 3);
            let size = |rows: usize| (rows - 1) * row + heads * d;
            let [q, k, v] = [t, s, s].map(|rows| random.units(size(rows)));
            let scale = 1.0 / (d as f32).sqrt();
            let before = random.units(size(t));
            let mut y = Buf::new(&before, i % 4);
            let mut temp = Buf::new(&vec![0.0; attention_elements(s, d).unwrap()], i % 4);
            assert!(set.attention_f32(&mut Attention {
                q: Buf::new(&q, i % 4).bytes(),
                k: Buf::new(&k, i % 4).bytes(),
                v: Buf::new(&v, i % 4).bytes(),
                y: y.bytes_mut(),
                row: row * 4,
                temp: temp.bytes_mut(),
                t,
                s,
                heads,
                d,
                causal,
                scale: scale.to_bits(),
            }));
            temp.get();
            let mut y = y.get();
            for head in 0..heads {
                for a in 0..t {
                    let seen = match causal {
                        true => (a + 1 + s).saturating_sub(t),
                        false => s,
                    };
                    let at = |v: &[f32], row_of: usize, l: usize| {
                        f64::from(v[row_of * row + head * d + l])
                    };
                    let score = |b: usize| {
                        let dot: f64 = (0..d).map(|l| at(&q, a, l) * at(&k, b, l)).sum();
                        (dot * f64::from(scale)).exp()
                    };
                    let scores: Vec<f64> = (0..seen).map(score).collect();
                    let sum: f64 = scores.iter().sum();
                    for j in 0..d {
                        let total: f64 = (0..seen).map(|b| scores[b] * at(&v, b, j)).sum();
                        let expected = if seen == 0 { 0.0 } else { total / sum };
                        let what = (set.isa(), i, head, a, j, seen);
                        let place = a * row + head * d + j;
                        near(y[place], expected, 3e-6, &what);
                        y[place] = before[place];
                    }
                }
            }
            assert_eq!(y, before, "{:?} {i}: written between rows", set.isa());
        }
    }
}

#[test]
fn attention_that_misses_a_slice_is_refused() {
    for set in sets() {
        for (s, temp, row, heads, done) in [
            (1, 7, 4, 1, true),
            (0, 7, 4, 1, false),
            (1, 6, 4, 1, false),
            (2, 14, 4, 1, false),
            (1, 7, 3, 1, false),
            (1, 7, 4, 2, false),
        ] {
            let (mut y, mut temp) = ([0; 4], vec![0; temp * 4]);
            let mut layer = Attention {
                q: &[0; 4],
                k: &[0; 4],
                v: &[0; 4],
                y: &mut y,
                row,
                temp: &mut temp,
                t: 1,
                s,
                heads,
                d: 1,
                causal: false,
                scale: 0,
            };
            assert_eq!(set.attention_f32(&mut layer), done);
        }
    }
}
