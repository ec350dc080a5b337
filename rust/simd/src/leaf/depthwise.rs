// SPDX-License-Identifier: GPL-2.0

//! Depthwise convolutions of 8-bit integers.
//!
//! Vectors of channels at four taps are interleaved twice, so that the four bytes of a channel lie
//! beside each other: then a step is that of a matrix product. Packed weights have this order.

use crate::args::DepthwiseI8;

use super::{
    avx2::{Avx2, AvxVnni},
    avx512::{Avx512, Avx512Vnni},
    position::{offset, Cursor, WORD},
    vector::{Isa, PLAIN},
};

#[cfg(test)]
use super::avx2::AvxVnniStandIn;

/// Channels whose weights are packed together.
const CHUNK: usize = 64;
/// Vectors of sums that a vector of bytes becomes.
const VECTORS: usize = 4;
/// Taps that are packed together.
const TAPS: usize = 4;
/// Lanes of the widest vector.
const LANES: usize = 16;

/// Neighbouring channels, as many as bytes are in a vector.
#[derive(Clone, Copy)]
struct Part {
    /// Number of the first channel.
    channel: usize,
    /// Weights of the first four taps.
    w: *const u8,
    /// Where in the lists of words they stand, in bytes.
    list: usize,
}

/// All positions of a part.
// `each` leaves out the numbers behind the last one, which the lint does not see.
#[allow(clippy::out_of_bounds_indexing)]
#[inline(always)]
unsafe fn part<I: Isa>(a: &DepthwiseI8, mut at: Cursor, part: Part) {
    // SAFETY: positions, channels and taps are those of the arguments, whose caller has checked that
    // they lie inside the buffers; behind the last channel lies slack as long as a vector.
    unsafe {
        let finish = I::finish(a.requant.zero, a.requant.min, a.requant.max);
        let (mult, shift) = (
            a.requant.mult.add(part.list),
            a.requant.shift.add(part.list),
        );
        let mut scales = [I::scale(mult, shift); VECTORS];
        let mut plain = a.taps <= PLAIN;
        each!(Q in VECTORS, {
            let list = Q * LANES * WORD;
            scales[Q] = I::scale(mult.add(list), shift.add(list));
            plain &= I::plain(shift.add(list), a.bias.add(part.list + list));
        });
        let last = a.taps - 1;
        while at.left > 0 {
            let (x, y) = at.next(&a.positions);
            let x = x.add(part.channel);
            let mut sums = [I::zero(); VECTORS];
            each!(Q in VECTORS, {
                sums[Q] = I::load(a.bias.add(part.list + Q * LANES * WORD));
            });
            let mut w = part.w;
            let mut tap = 0;
            while tap <= last {
                // The weights of taps behind the last one are 0.
                let mut rows = [I::zero(); TAPS];
                each!(T in TAPS, {
                    rows[T] = I::load(x.add(offset(a.offsets, (tap + T).min(last))));
                });
                let rows = I::interleave(rows);
                each!(Q in VECTORS, {
                    let weights = I::weights(w.add(Q * LANES * TAPS));
                    sums[Q] = I::dot(sums[Q], rows[Q], weights);
                });
                w = w.wrapping_add(CHUNK * TAPS);
                tap += TAPS;
            }
            each!(Q in VECTORS, {
                sums[Q] = if plain {
                    I::multiply_plain(sums[Q], &scales[Q])
                } else {
                    let sum = I::left(sums[Q], shift.add(Q * LANES * WORD));
                    I::multiply(sum, &scales[Q])
                };
            });
            let len = a.channels - part.channel;
            I::write_interleaved(y.add(part.channel), len, &sums, &finish);
        }
    }
}

#[inline(always)]
unsafe fn depthwise<I: Isa>(a: &DepthwiseI8) {
    let Some(start) = Cursor::new(&a.positions) else {
        return;
    };
    let chunk_bytes = a.taps.div_ceil(TAPS) * TAPS * CHUNK;
    let mut channel = 0;
    while channel < a.channels {
        let (chunk, lane) = (channel / CHUNK, channel % CHUNK / VECTORS);
        // SAFETY: as in `part`; chunks follow each other.
        unsafe {
            let place = Part {
                channel,
                w: a.w.add(chunk * chunk_bytes + lane * TAPS),
                list: (chunk * CHUNK + lane) * WORD,
            };
            part::<I>(a, start, place);
        }
        channel += I::LANES * VECTORS;
    }
}

macro_rules! entry {
    ($name:ident, $isa:ty, $features:literal) => {
        /// Depthwise convolution.
        ///
        /// # Safety
        ///
        /// The CPU has the features, vector registers may be used, there is a tap, and every access
        /// that the arguments describe lies inside a buffer, with `SLACK` bytes to read behind `x`.
        #[no_mangle]
        #[target_feature(enable = $features)]
        pub(crate) unsafe extern "C" fn $name(args: *const DepthwiseI8) {
            // SAFETY: as the caller promises.
            unsafe { depthwise::<$isa>(&*args) }
        }
    };
}

entry!(neural_depthwise_i8_avx2, Avx2, "avx2");
entry!(neural_depthwise_i8_avxvnni, AvxVnni, "avx2,avxvnni");
entry!(neural_depthwise_i8_avx512, Avx512, "avx512f,avx512bw");
entry!(
    neural_depthwise_i8_avx512vnni,
    Avx512Vnni,
    "avx512f,avx512bw,avx512vnni"
);
#[cfg(test)]
entry!(
    neural_depthwise_i8_avxvnni_stand_in,
    AvxVnniStandIn,
    "avx2,avx512f,avx512vl,avx512vnni"
);
