// SPDX-License-Identifier: GPL-2.0

//! Chains of dense layers, for one sample.

use super::f32_gemm::{One, Sums};
use crate::f32_args::{ChainF32, ChainLayerF32};

/// Elements that a buffer has room for when it holds `n`.
const fn padded(n: usize) -> usize {
    (n + 15) & !15
}

// Input to a buffer, from buffer to buffer, and from the last one to the output. Buffers are written in
// whole vectors, which can be read at once, unlike those that consist of several writes or of a part of
// a vector.
leaf! {
    /// [`ChainF32`].
    fn chain_f32(a: ChainF32) = neural_chain_f32_avx2, neural_chain_f32_avx512 {
        let layer = |i: usize| a.layers.cast::<ChainLayerF32>().add(i).read_unaligned();
        // CAST: to wider types.
        let size = |n: u32| n as usize;
        let (x, buffer): (*const f32, *mut f32) = (a.x.cast(), a.buffers[0].cast());
        each_vector!(V, size(layer(0).k), |i, part| {
            let v: V = super::f32_vector::Part::<V>::load(part, x.add(i));
            v.store(buffer.add(i));
        });
        let offset = 0u32;
        for i in 0..a.count {
            let this = layer(i);
            let n = size(this.n);
            let last = i + 1 == a.count;
            let l = One {
                x: a.buffers[i & 1].cast(),
                y: if last { a.y.cast() } else { a.buffers[(i + 1) & 1].cast() },
                n,
                room: if last { n } else { padded(n) },
                w: a.weights.add(size(this.w)).cast(),
                bias: a.weights.add(size(this.bias)).cast(),
            };
            let g = Sums {
                k: size(this.k),
                segments: 1,
                offsets: core::ptr::from_ref(&offset),
                act: this.act,
                slope: this.slope,
            };
            if this.by_row == 1 {
                V::few(&l, &g);
            } else {
                V::one(&l, &g);
            }
        }
    }
}
