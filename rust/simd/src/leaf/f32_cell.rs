// SPDX-License-Identifier: GPL-2.0

//! Recurrent cells: from the sums of the gates to the next state.

use super::f32_math as math;
use super::f32_vector::Part;
use crate::f32_args::{GruF32, LstmF32};

leaf! {
    /// [`LstmF32`].
    fn lstm_f32(a: LstmF32) = neural_lstm_f32_avx2, neural_lstm_f32_avx512 {
        let gates: *const f32 = a.gates.cast();
        let c: *mut f32 = a.c.cast();
        let h: *mut f32 = a.h.cast();
        each_vector!(V, a.n, |u, part| {
            let i: V = part.load(gates.add(u));
            let f: V = part.load(gates.add(a.n + u));
            let g: V = part.load(gates.add(2 * a.n + u));
            let o: V = part.load(gates.add(3 * a.n + u));
            let old: V = part.load(c.add(u));
            let kept = math::sigmoid(f).mul(old);
            let new = math::sigmoid(i).fma(math::tanh(g), kept);
            part.store(new, c.add(u));
            part.store(math::sigmoid(o).mul(math::tanh(new)), h.add(u));
        });
    }
}

leaf! {
    /// [`GruF32`].
    fn gru_f32(a: GruF32) = neural_gru_f32_avx2, neural_gru_f32_avx512 {
        let x: *const f32 = a.x.cast();
        let s: *const f32 = a.s.cast();
        let h: *mut f32 = a.h.cast();
        each_vector!(V, a.n, |u, part| {
            let xr: V = part.load(x.add(u));
            let xz: V = part.load(x.add(a.n + u));
            let xn: V = part.load(x.add(2 * a.n + u));
            let hr: V = part.load(s.add(u));
            let hz: V = part.load(s.add(a.n + u));
            let hn: V = part.load(s.add(2 * a.n + u));
            let old: V = part.load(h.add(u));
            let reset = math::sigmoid(xr.add(hr));
            let z = math::sigmoid(xz.add(hz));
            let new = math::tanh(reset.fma(hn, xn));
            part.store(z.fma(old.sub(new), new), h.add(u));
        });
    }
}
