// SPDX-License-Identifier: GPL-2.0

//! Recurrent cells against the equations of their papers in f64: Hochreiter and Schmidhuber's LSTM
//! with forget gates, Cho's GRU in the form of PyTorch (reset after the product).

mod f32_common;

use f32_common::{near, sets, sigmoid, wide, Buf, Random};
use neural_core::float::{GruCell, LstmCell};

#[test]
fn lstm_cells_of_all_sizes() {
    let mut random = Random::new(20);
    for set in sets() {
        for n in 0..=512 {
            let place = [0, 1, 3, 66][n % 4];
            let gates: Vec<f32> = random.units(4 * n).iter().map(|x| x * 6.0).collect();
            let c = random.units(n);
            let bg = Buf::new(&gates, place);
            let (mut bc, mut bh) = (Buf::new(&c, place), Buf::new(&c, place));
            assert!(set.lstm_f32(&mut LstmCell {
                gates: bg.bytes(),
                c: bc.bytes_mut(),
                h: bh.bytes_mut(),
            }));
            let (cells, hidden) = (bc.get(), bh.get());
            let gates = wide(&gates);
            for u in 0..n {
                let gate = |g: usize| gates[g * n + u];
                let c = sigmoid(gate(1)) * f64::from(c[u]) + sigmoid(gate(0)) * gate(2).tanh();
                let h = sigmoid(gate(3)) * c.tanh();
                let what = (set.isa(), n, u);
                near(cells[u], c, 6e-7, &what);
                near(hidden[u], h, 9e-7, &what);
            }
        }
    }
}

#[test]
fn gru_cells_of_all_sizes() {
    let mut random = Random::new(21);
    for set in sets() {
        for n in 0..=512 {
            let place = [0, 1, 3, 66][n % 4];
            let x: Vec<f32> = random.units(3 * n).iter().map(|x| x * 4.0).collect();
            let s: Vec<f32> = random.units(3 * n).iter().map(|x| x * 4.0).collect();
            let old = random.units(n);
            let mut h = Buf::new(&old, place);
            assert!(set.gru_f32(&mut GruCell {
                x: Buf::new(&x, place).bytes(),
                r: Buf::new(&s, place).bytes(),
                h: h.bytes_mut(),
            }));
            let h = h.get();
            let (x, s) = (wide(&x), wide(&s));
            for u in 0..n {
                let at = |g: usize| g * n + u;
                let reset = sigmoid(x[at(0)] + s[at(0)]);
                let z = sigmoid(x[at(1)] + s[at(1)]);
                let new = (x[at(2)] + reset * s[at(2)]).tanh();
                let expected = (1.0 - z) * new + z * f64::from(old[u]);
                near(h[u], expected, 2e-6, &(set.isa(), n, u));
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
        assert!(set.lstm_f32(&mut LstmCell {
            gates: Buf::new(&gates, 0).bytes(),
            c: c.bytes_mut(),
            h: h.bytes_mut(),
        }));
        assert_eq!(c.get(), [-0.5], "{:?}", set.isa());
        near(h.get()[0], (-0.5f64).tanh(), 1e-7, &set.isa());
    }
}
