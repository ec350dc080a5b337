// SPDX-License-Identifier: GPL-2.0

//! Chains of dense layers of 8-bit integers, for one sample.

use crate::args::{ChainI8, ChainLayer, GemmI8, Positions, Requant};

use super::{
    avx2::{Avx2, AvxVnni},
    avx512::{Avx512, Avx512Vnni},
    gemm,
    vector::Isa,
};

#[cfg(test)]
use super::avx2::AvxVnniStandIn;

/// `y[i] = x[i] ^ 0x80`; `x` may be `y`.
#[inline(always)]
unsafe fn flip(x: *const u8, y: *mut u8, n: usize) {
    const FLIP: u64 = 0x8080_8080_8080_8080;
    let mut i = 0;
    // SAFETY: the caller may read and write `n` bytes.
    unsafe {
        while i + 8 <= n {
            let word = x.add(i).cast::<u64>().read_unaligned() ^ FLIP;
            y.add(i).cast::<u64>().write_unaligned(word);
            i += 8;
        }
        while i < n {
            *y.add(i) = *x.add(i) ^ 0x80;
            i += 1;
        }
    }
}

/// Input to a buffer, from buffer to buffer, and the last layer to the output.
#[inline(always)]
unsafe fn chain<I: Isa>(a: &ChainI8) {
    let zero = 0u32;
    // SAFETY: who fills the arguments has checked that buffers are as large as the layers say, and that
    // the constants of the layers lie in the weights.
    unsafe {
        let layer = |i: usize| a.layers.cast::<ChainLayer>().add(i).read_unaligned();
        flip(a.x, a.buffers[0], layer(0).k as usize);
        let mut i = 0;
        while i < a.count {
            let this = layer(i);
            let last = i + 1 == a.count;
            let y = if last { a.y } else { a.buffers[(i + 1) & 1] };
            let constant = |offset: u32| a.weights.add(offset as usize);
            let args = GemmI8 {
                positions: Positions {
                    x: a.buffers[i & 1],
                    x_row: 0,
                    x_outer: 0,
                    y,
                    y_row: 0,
                    y_outer: 0,
                    m: 1,
                    outer: 1,
                },
                n: this.n as usize,
                groups: (this.k as usize).div_ceil(4),
                segments: 1,
                offsets: core::ptr::from_ref(&zero).cast(),
                w: constant(this.w),
                bias: constant(this.bias),
                requant: Requant {
                    mult: constant(this.mult),
                    shift: constant(this.shift),
                    zero: this.zero as u8,
                    min: this.min as u8,
                    max: this.max as u8,
                },
            };
            gemm::position::<I>(&args);
            if last && a.flip != 0 {
                flip(y, y, args.n);
            }
            i += 1;
        }
    }
}

macro_rules! entry {
    ($name:ident, $isa:ty, $features:literal) => {
        /// Chain of dense layers.
        ///
        /// # Safety
        ///
        /// The CPU has the features, vector registers may be used, and every access that the
        /// arguments describe lies inside a buffer, with `SLACK` bytes to read behind the tensors in
        /// the buffers between layers.
        #[no_mangle]
        #[target_feature(enable = $features)]
        pub(crate) unsafe extern "C" fn $name(args: *const ChainI8) {
            // SAFETY: as the caller promises.
            unsafe { chain::<$isa>(&*args) }
        }
    };
}

entry!(neural_chain_i8_avx2, Avx2, "avx2");
entry!(neural_chain_i8_avxvnni, AvxVnni, "avx2,avxvnni");
entry!(neural_chain_i8_avx512, Avx512, "avx512f,avx512bw");
entry!(
    neural_chain_i8_avx512vnni,
    Avx512Vnni,
    "avx512f,avx512bw,avx512vnni"
);
#[cfg(test)]
entry!(
    neural_chain_i8_avxvnni_stand_in,
    AvxVnniStandIn,
    "avx2,avx512f,avx512vl,avx512vnni"
);
