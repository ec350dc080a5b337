// SPDX-License-Identifier: GPL-2.0

//! Products of run-time operands, cosine similarity and attention, against f64.

mod f32_common;

use f32_common::{near, sets, wide, Buf, Random, EPS};
use neural_simd::f32::{
    Attention,
    Cosine,
    Matmul,
    Rows,
    RowsMut,
    Transpose,
    ATTENTION_ROWS, //
};
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

fn cosine(set: &Set, key: &[f32], x: &[f32], eps: f32, scale: f32, place: usize) -> Vec<f32> {
    let n = key.len();
    let rows = x.len() / n.max(1);
    let mut y = Buf::new(&vec![0.0; rows], place);
    assert!(set.cosine_f32(&mut Cosine {
        key: Buf::new(key, place).bytes(),
        x: Rows {
            bytes: Buf::new(x, place).bytes(),
            row: n * 4,
        },
        y: y.bytes_mut(),
        rows,
        n,
        eps: eps.to_bits(),
        scale: scale.to_bits(),
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
            let y = cosine(&set, &key, &x, 1e-8, 1.5, i % 4);
            let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
            let key = wide(&key);
            for (r, row) in x.chunks(n).enumerate() {
                let row = wide(row);
                let dot: f64 = row.iter().zip(&key).map(|(a, b)| a * b).sum();
                let expected = 1.5 * dot / (norm(&row) * norm(&key)).max(1e-8);
                near(
                    y[r],
                    expected,
                    (n as f64 / 4.0 + 8.0) * EPS,
                    &(set.isa(), n, rows, r),
                );
            }
        }
        assert!(cosine(&set, &[0.0; 3], &[1.0; 6], 0.0, 1.0, 0)[1].is_nan());
        assert_eq!(cosine(&set, &[0.0; 3], &[1.0; 6], 1e-8, 1.0, 0), [0.0, 0.0]);
        let y = cosine(
            &set,
            &[1.0; 3],
            &[1.0, 1.0, f32::NAN, 1.0, 1.0, 1.0],
            1e-8,
            1.0,
            0,
        );
        assert!(y[0].is_nan() && (y[1] - 1.0).abs() < 1e-6, "{y:?}");
    }
}

#[test]
fn attention_with_heads_caches_and_masks() {
    let mut random = Random::new(33);
    for set in sets() {
        for i in 0..200 {
            let causal = i % 2 == 1;
            let queries = random.range(1, 20);
            let tokens = random.range(if causal { 1.max(queries / 2) } else { 1 }, 40);
            let (dim, v_dim) = (random.range(1, 40), random.range(1, 70));
            let group = random.range(1, 3);
            let shared = random.range(1, 3);
            let heads = group * shared;
            let q = random.units(queries * heads * dim);
            // A cache: heads apart, each with room for more tokens.
            let room = tokens + random.range(0, 3);
            let k = random.units(shared * room * dim);
            let v = random.units(shared * room * v_dim);
            let scale = 1.0 / (dim as f32).sqrt();
            let mut y = Buf::new(&vec![0.0; queries * heads * v_dim], i % 4);
            let mut scratch = Buf::new(&vec![0.0; tokens * (ATTENTION_ROWS + dim)], i % 4);
            assert!(set.attention_f32(&mut Attention {
                q: Rows {
                    bytes: Buf::new(&q, i % 4).bytes(),
                    row: heads * dim * 4,
                },
                q_head: dim * 4,
                k: Rows {
                    bytes: Buf::new(&k, i % 4).bytes(),
                    row: dim * 4,
                },
                k_head: room * dim * 4,
                v: Rows {
                    bytes: Buf::new(&v, i % 4).bytes(),
                    row: v_dim * 4,
                },
                v_head: room * v_dim * 4,
                y: RowsMut {
                    bytes: y.bytes_mut(),
                    row: heads * v_dim * 4,
                },
                y_head: v_dim * 4,
                queries,
                tokens,
                dim,
                v_dim,
                heads,
                group,
                scale: scale.to_bits(),
                causal,
                scratch: scratch.bytes_mut(),
            }));
            scratch.get();
            let y = y.get();
            for head in 0..heads {
                for a in 0..queries {
                    let seen = if causal {
                        (a + 1 + tokens).saturating_sub(queries)
                    } else {
                        tokens
                    };
                    let score = |t: usize| {
                        let dot: f64 = (0..dim)
                            .map(|l| {
                                f64::from(q[(a * heads + head) * dim + l])
                                    * f64::from(k[(head / group * room + t) * dim + l])
                            })
                            .sum();
                        (dot * f64::from(scale)).exp()
                    };
                    let scores: Vec<f64> = (0..seen).map(score).collect();
                    let sum: f64 = scores.iter().sum();
                    for j in 0..v_dim {
                        let value = |t: usize| f64::from(v[(head / group * room + t) * v_dim + j]);
                        let total: f64 = (0..seen).map(|t| scores[t] * value(t)).sum();
                        let expected = if seen == 0 { 0.0 } else { total / sum };
                        let what = (set.isa(), i, head, a, j, seen);
                        near(y[(a * heads + head) * v_dim + j], expected, 3e-6, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn attention_to_nothing_is_refused() {
    for set in sets() {
        for (tokens, scratch, group, done) in [
            (1, 7, 1, true),
            (0, 7, 1, false),
            (1, 6, 1, false),
            (1, 7, 0, false),
        ] {
            let mut y = [0; 4];
            let mut scratch = vec![0; scratch * 4];
            let rows = Rows {
                bytes: &[0; 4],
                row: 4,
            };
            let mut layer = Attention {
                q: rows,
                q_head: 4,
                k: rows,
                k_head: 4,
                v: rows,
                v_head: 4,
                y: RowsMut {
                    bytes: &mut y,
                    row: 4,
                },
                y_head: 4,
                queries: 1,
                tokens,
                dim: 1,
                v_dim: 1,
                heads: 1,
                group,
                scale: 0,
                causal: false,
                scratch: &mut scratch,
            };
            assert_eq!(set.attention_f32(&mut layer), done);
        }
    }
}
