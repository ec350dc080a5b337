// SPDX-License-Identifier: GPL-2.0

//! Chains of dense layers of 8-bit integers and of functions of their results, for one sample.

use crate::args::{ChainI8, ChainLayer, GemmI8, Positions, Requant};

use super::{
    avx2::{Avx2, AvxVnni},
    avx512::{Avx512, Avx512Vnni},
    codes::{Codes, Narrow, Wide},
    elements, gemm,
    vector::Isa,
};

#[cfg(test)]
use super::avx2::AvxVnniStandIn;

/// The bit by which codes and biased codes differ.
const FLIP: u8 = 0x80;

/// So many codes are looked up at once.
const FEW: usize = 16;

/// No table.
const NONE: u32 = u32::MAX;

/// `y[i] = x[i] ^ bits`. If `whole`, `y` is written in whole vectors, also behind its end.
#[inline(always)]
unsafe fn copy<C: Codes>(x: *const u8, y: *mut u8, n: usize, bits: u8, whole: bool) {
    let mut i = 0;
    // SAFETY: the caller may read and write `n` bytes, and a vector behind `y` if he says so.
    unsafe {
        let bits = C::bytes(bits);
        while i < n {
            let len = (n - i).min(C::BYTES);
            let codes = C::xor(C::load_bytes(x.add(i), len), bits);
            C::store_bytes(codes, y.add(i), if whole { C::BYTES } else { len });
            i += C::BYTES;
        }
    }
}

/// Input to a buffer, from buffer to buffer, and the last buffer to the output. Buffers are written in
/// whole vectors, which can be read at once, unlike those that consist of several writes.
#[inline(always)]
unsafe fn chain<I: Isa, C: Codes>(a: &ChainI8) {
    let zero = 0u32;
    // SAFETY: who fills the arguments has checked that buffers have a vector more than the layers say,
    // and that the constants of the layers lie in the weights.
    unsafe {
        let layer = |i: usize| a.layers.cast::<ChainLayer>().add(i).read_unaligned();
        copy::<C>(a.x, a.buffers[0], layer(0).k as usize, FLIP, true);
        let mut i = 0;
        let mut n = 0;
        while i < a.count {
            let this = layer(i);
            n = this.n as usize;
            let y = a.buffers[(i + 1) & 1];
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
                n,
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
            if this.table != NONE && n <= FEW {
                elements::look_up16(constant(this.table), y, y);
            } else if this.table != NONE {
                let whole = n.div_ceil(C::BYTES) * C::BYTES;
                elements::look_up::<C>(constant(this.table), y, y, whole);
            }
            i += 1;
        }
        let bits = if a.flip == 0 { 0 } else { FLIP };
        copy::<C>(a.buffers[i & 1], a.y, n, bits, false);
    }
}

macro_rules! entry {
    ($name:ident, $isa:ty, $codes:ty, $features:literal) => {
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
            unsafe { chain::<$isa, $codes>(&*args) }
        }
    };
}

entry!(neural_chain_i8_avx2, Avx2, Narrow, "avx2");
entry!(neural_chain_i8_avxvnni, AvxVnni, Narrow, "avx2,avxvnni");
entry!(
    neural_chain_i8_avx512,
    Avx512,
    Wide,
    "avx2,avx512f,avx512bw"
);
entry!(
    neural_chain_i8_avx512vnni,
    Avx512Vnni,
    Wide,
    "avx2,avx512f,avx512bw,avx512vnni"
);
#[cfg(test)]
entry!(
    neural_chain_i8_avxvnni_stand_in,
    AvxVnniStandIn,
    Narrow,
    "avx2,avx512f,avx512vl,avx512vnni"
);
