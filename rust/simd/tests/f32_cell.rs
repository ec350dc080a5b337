// SPDX-License-Identifier: GPL-2.0

//! Recurrent cells against the equations of their papers in f64: Hochreiter and Schmidhuber's LSTM
//! with forget gates, Cho's GRU in the form of PyTorch (reset after the product).

mod f32_common;

use f32_common::{near, sets, sigmoid, wide, Buf, Random};
use neural_simd::f32::{Gru, Lstm, Rows, RowsMut};

#[test]
fn lstm_cells_of_all_sizes() {
    let mut random = Random::new(20);
    for set in sets() {
        for n in 0..=512 {
            let (rows, place) = (1 + n % 3, [0, 1, 3, 66][n % 4]);
            let gates: Vec<f32> = random.units(rows * 4 * n).iter().map(|x| x * 6.0).collect();
            let c = random.units(rows * n);
            let bg = Buf::new(&gates, place);
            let (mut bc, mut bh) = (Buf::new(&c, place), Buf::new(&c, place));
            assert!(set.lstm_f32(&mut Lstm {
                gates: Rows {
                    bytes: bg.bytes(),
                    row: 16 * n,
                },
                c: RowsMut {
                    bytes: bc.bytes_mut(),
                    row: 4 * n,
                },
                h: RowsMut {
                    bytes: bh.bytes_mut(),
                    row: 4 * n,
                },
                rows,
                n,
            }));
            let (cells, hidden) = (bc.get(), bh.get());
            let gates = wide(&gates);
            for r in 0..rows {
                for u in 0..n {
                    let gate = |g: usize| gates[(r * 4 + g) * n + u];
                    let c = sigmoid(gate(1)) * f64::from(c[r * n + u])
                        + sigmoid(gate(0)) * gate(2).tanh();
                    let h = sigmoid(gate(3)) * c.tanh();
                    let what = (set.isa(), n, r, u);
                    near(cells[r * n + u], c, 6e-7, &what);
                    near(hidden[r * n + u], h, 9e-7, &what);
                }
            }
        }
    }
}

#[test]
fn gru_cells_of_all_sizes() {
    let mut random = Random::new(21);
    for set in sets() {
        for n in 0..=512 {
            let (rows, place) = (1 + n % 3, [0, 1, 3, 66][n % 4]);
            let x: Vec<f32> = random.units(rows * 3 * n).iter().map(|x| x * 4.0).collect();
            let s: Vec<f32> = random.units(rows * 3 * n).iter().map(|x| x * 4.0).collect();
            let old = random.units(rows * n);
            let mut h = Buf::new(&old, place);
            assert!(set.gru_f32(&mut Gru {
                x: Rows {
                    bytes: Buf::new(&x, place).bytes(),
                    row: 12 * n,
                },
                s: Rows {
                    bytes: Buf::new(&s, place).bytes(),
                    row: 12 * n,
                },
                h: RowsMut {
                    bytes: h.bytes_mut(),
                    row: 4 * n,
                },
                rows,
                n,
            }));
            let h = h.get();
            let (x, s) = (wide(&x), wide(&s));
            for r in 0..rows {
                for u in 0..n {
                    let at = |g: usize| (r * 3 + g) * n + u;
                    let reset = sigmoid(x[at(0)] + s[at(0)]);
                    let z = sigmoid(x[at(1)] + s[at(1)]);
                    let new = (x[at(2)] + reset * s[at(2)]).tanh();
                    let expected = (1.0 - z) * new + z * f64::from(old[r * n + u]);
                    near(h[r * n + u], expected, 2e-6, &(set.isa(), n, r, u));
                }
            }
        }
    }
}

#[test]
fn saturated_gates_neither_overflow_nor_vanish() {
    for set in sets() {
        let gates = [1e30, 1e30, -1e30, 1e30f32];
        let mut c = Buf::new(&[0.5], 0);
        let mut h = Buf::new(&[0.0], 0);
        assert!(set.lstm_f32(&mut Lstm {
            gates: Rows {
                bytes: Buf::new(&gates, 0).bytes(),
                row: 16,
            },
            c: RowsMut {
                bytes: c.bytes_mut(),
                row: 4,
            },
            h: RowsMut {
                bytes: h.bytes_mut(),
                row: 4,
            },
            rows: 1,
            n: 1,
        }));
        assert_eq!(c.get(), [-0.5], "{:?}", set.isa());
        near(h.get()[0], (-0.5f64).tanh(), 1e-7, &set.isa());
    }
}
