// SPDX-License-Identifier: GPL-2.0

//! AVX2, and AVX-VNNI, which adds one instruction to it.

use core::arch::x86_64::*;

use super::vector::{Finish, Isa, Scale};

/// AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// AVX2 and AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnni;

/// AVX2 and the 256-bit form of AVX-512 VNNI: runs the code of [`AvxVnni`] where that is lacking.
#[cfg(test)]
#[derive(Clone, Copy)]
pub(crate) struct AvxVnniStandIn;

/// Unsigned bytes as 16-bit numbers: those at even places and those at odd ones.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    even: __m256i,
    odd: __m256i,
}

/// The first `len` bytes, at most 16.
#[inline(always)]
pub(super) unsafe fn write16(mut y: *mut u8, len: usize, v: __m128i) {
    let mut v = v;
    // SAFETY: the caller may write `len` bytes, and no more are written.
    unsafe {
        if len >= 16 {
            _mm_storeu_si128(y.cast(), v);
            return;
        }
        if len & 8 != 0 {
            _mm_storel_epi64(y.cast(), v);
            v = _mm_srli_si128::<8>(v);
            y = y.add(8);
        }
        if len & 4 != 0 {
            y.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(v));
            v = _mm_srli_si128::<4>(v);
            y = y.add(4);
        }
        let low = _mm_cvtsi128_si32(v).to_le_bytes();
        if len & 2 != 0 {
            y.write(low[0]);
            y.add(1).write(low[1]);
            y = y.add(2);
        }
        if len & 1 != 0 {
            y.write(if len & 2 != 0 { low[2] } else { low[0] });
        }
    }
}

/// The odd lanes in the even ones. After a shift to the right, which would do it as well, the compiler
/// takes what follows for a product of 64 bits, and makes it of three.
#[inline(always)]
pub(super) unsafe fn odd_lanes(x: __m256i) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe { _mm256_shuffle_epi32::<0b11_11_01_01>(x) }
}

#[inline(always)]
unsafe fn scale(mult: *const u8, shift: *const u8) -> Scale<__m256i> {
    // SAFETY: as the caller promises.
    unsafe {
        let mult = _mm256_loadu_si256(mult.cast());
        let shift = _mm256_loadu_si256(shift.cast());
        // A count below 0 is a great one and leaves nothing.
        let half = _mm256_add_epi32(shift, _mm256_set1_epi32(-1));
        Scale {
            mult,
            odd: odd_lanes(mult),
            right: _mm256_max_epi32(shift, _mm256_setzero_si256()),
            half: _mm256_sllv_epi32(_mm256_set1_epi32(1), half),
        }
    }
}

#[inline(always)]
unsafe fn goes_left<const NV: usize>(shift: *const u8, step: usize) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let mut signs = _mm256_setzero_ps();
        each!(J in NV, {
            signs = _mm256_or_ps(signs, _mm256_loadu_ps(shift.add(J * step).cast()));
        });
        _mm256_movemask_ps(signs) != 0
    }
}

#[inline(always)]
unsafe fn left(acc: __m256i, shift: *const u8) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe {
        let zero = _mm256_setzero_si256();
        let shift = _mm256_sub_epi32(zero, _mm256_loadu_si256(shift.cast()));
        _mm256_sllv_epi32(acc, _mm256_max_epi32(shift, zero))
    }
}

/// The products of even and odd lanes are 64 bits wide and rounded to their upper half, ties
/// upwards; then shifted to the right, ties away from zero, which is done without the sign.
#[inline(always)]
unsafe fn multiply(acc: __m256i, scale: &Scale<__m256i>) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe {
        let round = _mm256_set1_epi64x(1 << 30);
        let even = _mm256_add_epi64(_mm256_mul_epi32(acc, scale.mult), round);
        let odd = _mm256_mul_epi32(odd_lanes(acc), scale.odd);
        let odd = _mm256_add_epi64(odd, round);
        let high = _mm256_blend_epi32::<0b1010_1010>(
            _mm256_srli_epi64::<31>(even),
            _mm256_slli_epi64::<1>(odd),
        );
        let size = _mm256_add_epi32(_mm256_abs_epi32(high), scale.half);
        _mm256_sign_epi32(_mm256_srlv_epi32(size, scale.right), high)
    }
}

/// The greatest bias of plain rows.
const SMALL: i32 = 1 << 29;

#[inline(always)]
unsafe fn plain(shift: *const u8, bias: *const u8) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let shift = _mm256_loadu_si256(shift.cast());
        let bias = _mm256_abs_epi32(_mm256_loadu_si256(bias.cast()));
        let left = _mm256_cmpgt_epi32(_mm256_set1_epi32(1), shift);
        // As a number with a sign, 2^31 is less than 0.
        let large = _mm256_or_si256(_mm256_cmpgt_epi32(bias, _mm256_set1_epi32(SMALL)), bias);
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_or_si256(left, large))) == 0
    }
}

/// As [`multiply`] does it, with the sign: what is negative is one less before the last shift, so that
/// ties go away from zero. Products are below 2^61, so that nothing overflows.
#[inline(always)]
unsafe fn multiply_plain(acc: __m256i, scale: &Scale<__m256i>) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe {
        let round = _mm256_set1_epi64x(1 << 30);
        let even = _mm256_add_epi64(_mm256_mul_epi32(acc, scale.mult), round);
        let odd = _mm256_mul_epi32(odd_lanes(acc), scale.odd);
        let odd = _mm256_add_epi64(odd, round);
        let high = _mm256_blend_epi32::<0b1010_1010>(
            _mm256_srli_epi64::<31>(even),
            _mm256_slli_epi64::<1>(odd),
        );
        let half = _mm256_add_epi32(scale.half, _mm256_srai_epi32::<31>(acc));
        _mm256_srav_epi32(_mm256_add_epi32(high, half), scale.right)
    }
}

#[inline(always)]
unsafe fn finish(zero: u8, min: u8, max: u8) -> Finish<__m256i> {
    // SAFETY: as the caller promises.
    unsafe {
        Finish {
            zero: _mm256_set1_epi16(i16::from(zero)),
            min: _mm256_set1_epi8(min.cast_signed_byte()),
            max: _mm256_set1_epi8(max.cast_signed_byte()),
        }
    }
}

/// `u8::cast_signed` is newer than the compiler.
trait SignedByte {
    fn cast_signed_byte(self) -> i8;
}

impl SignedByte for u8 {
    #[inline(always)]
    fn cast_signed_byte(self) -> i8 {
        i8::from_ne_bytes([self])
    }
}

/// Two vectors of codes as 16 bytes.
#[inline(always)]
unsafe fn narrow(a: __m256i, b: __m256i, finish: &Finish<__m256i>) -> __m128i {
    // SAFETY: as the caller promises.
    unsafe {
        let wide = _mm256_adds_epi16(_mm256_packs_epi32(a, b), finish.zero);
        let codes = _mm256_packus_epi16(wide, wide);
        let codes = _mm256_min_epu8(_mm256_max_epu8(codes, finish.min), finish.max);
        _mm_unpacklo_epi32(
            _mm256_castsi256_si128(codes),
            _mm256_extracti128_si256::<1>(codes),
        )
    }
}

#[inline(always)]
unsafe fn write<const NV: usize>(
    y: *mut u8,
    len: usize,
    values: &[__m256i; NV],
    finish: &Finish<__m256i>,
) {
    each!(J in NV / 2, {
        // SAFETY: as the caller promises; sixteen codes come from each two vectors.
        unsafe {
            let codes = narrow(values[2 * J], values[2 * J + 1], finish);
            write16(y.add(16 * J), len.wrapping_sub(16 * J), codes);
        }
    });
}

/// The first `len` of sixteen numbers, limited to 16 bits.
#[inline(always)]
pub(super) unsafe fn write_words16(y: *mut u8, len: usize, a: __m256i, b: __m256i) {
    // SAFETY: the caller may write `len` numbers.
    unsafe {
        let words = _mm256_packs_epi32(a, b);
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
        write16(y, 2 * len.min(8), _mm256_castsi256_si128(words));
        if len > 8 {
            let high = _mm256_extracti128_si256::<1>(words);
            write16(y.add(16), 2 * (len.min(16) - 8), high);
        }
    }
}

#[inline(always)]
unsafe fn write_words<const NV: usize>(y: *mut u8, len: usize, values: &[__m256i; NV]) {
    each!(J in NV / 2, {
        // SAFETY: as the caller promises.
        unsafe {
            if len > 16 * J {
                write_words16(y.add(32 * J), len - 16 * J, values[2 * J], values[2 * J + 1]);
            }
        }
    });
}

/// Four vectors of bytes, interleaved twice.
#[inline(always)]
unsafe fn interleave([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    // SAFETY: as the caller promises.
    unsafe {
        let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
        let (high_ab, high_cd) = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
        [
            _mm256_unpacklo_epi16(ab, cd),
            _mm256_unpackhi_epi16(ab, cd),
            _mm256_unpacklo_epi16(high_ab, high_cd),
            _mm256_unpackhi_epi16(high_ab, high_cd),
        ]
    }
}

/// The way back: narrowing twice brings bytes in the order they had.
#[inline(always)]
unsafe fn write_interleaved(
    y: *mut u8,
    len: usize,
    &[a, b, c, d]: &[__m256i; 4],
    finish: &Finish<__m256i>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let ab = _mm256_adds_epi16(_mm256_packs_epi32(a, b), finish.zero);
        let cd = _mm256_adds_epi16(_mm256_packs_epi32(c, d), finish.zero);
        let codes = _mm256_packus_epi16(ab, cd);
        let codes = _mm256_min_epu8(_mm256_max_epu8(codes, finish.min), finish.max);
        write16(y, len, _mm256_castsi256_si128(codes));
        if len > 16 {
            write16(y.add(16), len - 16, _mm256_extracti128_si256::<1>(codes));
        }
    }
}

macro_rules! common {
    () => {
        const LANES: usize = 8;
        const WIDE: bool = false;

        #[inline(always)]
        unsafe fn zero() -> __m256i {
            // SAFETY: as the caller promises.
            unsafe { _mm256_setzero_si256() }
        }

        #[inline(always)]
        unsafe fn load(p: *const u8) -> __m256i {
            // SAFETY: as the caller promises.
            unsafe { _mm256_loadu_si256(p.cast()) }
        }

        #[inline(always)]
        unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: as the caller promises.
            unsafe { _mm256_add_epi32(a, b) }
        }

        #[inline(always)]
        unsafe fn scale(mult: *const u8, shift: *const u8) -> Scale<__m256i> {
            // SAFETY: as the caller promises.
            unsafe { scale(mult, shift) }
        }

        #[inline(always)]
        unsafe fn plain(shift: *const u8, bias: *const u8) -> bool {
            // SAFETY: as the caller promises.
            unsafe { plain(shift, bias) }
        }

        #[inline(always)]
        unsafe fn scale_of(mult: *const u8, shift: *const u8, half: __m256i) -> Scale<__m256i> {
            // SAFETY: as the caller promises.
            unsafe {
                let mult = _mm256_loadu_si256(mult.cast());
                Scale {
                    mult,
                    odd: odd_lanes(mult),
                    right: _mm256_loadu_si256(shift.cast()),
                    half,
                }
            }
        }

        #[inline(always)]
        unsafe fn multiply_plain(acc: __m256i, scale: &Scale<__m256i>) -> __m256i {
            // SAFETY: as the caller promises.
            unsafe { multiply_plain(acc, scale) }
        }

        #[inline(always)]
        unsafe fn goes_left<const NV: usize>(shift: *const u8, step: usize) -> bool {
            // SAFETY: as the caller promises.
            unsafe { goes_left::<NV>(shift, step) }
        }

        #[inline(always)]
        unsafe fn left(acc: __m256i, shift: *const u8) -> __m256i {
            // SAFETY: as the caller promises.
            unsafe { left(acc, shift) }
        }

        #[inline(always)]
        unsafe fn write_interleaved(
            y: *mut u8,
            len: usize,
            values: &[__m256i; 4],
            finish: &Finish<__m256i>,
        ) {
            // SAFETY: as the caller promises.
            unsafe { write_interleaved(y, len, values, finish) }
        }

        #[inline(always)]
        unsafe fn multiply(acc: __m256i, scale: &Scale<__m256i>) -> __m256i {
            // SAFETY: as the caller promises.
            unsafe { multiply(acc, scale) }
        }

        #[inline(always)]
        unsafe fn finish(zero: u8, min: u8, max: u8) -> Finish<__m256i> {
            // SAFETY: as the caller promises.
            unsafe { finish(zero, min, max) }
        }

        #[inline(always)]
        unsafe fn write<const NV: usize>(
            y: *mut u8,
            len: usize,
            values: &[__m256i; NV],
            finish: &Finish<__m256i>,
        ) {
            // SAFETY: as the caller promises.
            unsafe { write::<NV>(y, len, values, finish) }
        }

        #[inline(always)]
        unsafe fn write_words<const NV: usize>(y: *mut u8, len: usize, values: &[__m256i; NV]) {
            // SAFETY: as the caller promises.
            unsafe { write_words::<NV>(y, len, values) }
        }
    };
}

/// Bytes are multiplied as they are.
macro_rules! vnni {
    ($isa:ty, $dot:ident) => {
        impl Isa for $isa {
            type V = __m256i;
            type X = __m256i;
            type W = __m256i;

            const DOT: bool = true;

            common!();

            #[inline(always)]
            unsafe fn weights(p: *const u8) -> __m256i {
                // SAFETY: as the caller promises.
                unsafe { _mm256_loadu_si256(p.cast()) }
            }

            #[inline(always)]
            unsafe fn broadcast(p: *const u8) -> __m256i {
                // SAFETY: as the caller promises.
                unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
            }

            #[inline(always)]
            unsafe fn quad(p: *const u8) -> __m256i {
                // SAFETY: as the caller promises.
                unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(p.cast())) }
            }

            #[inline(always)]
            unsafe fn pick<const G: usize>(quad: __m256i) -> __m256i {
                // SAFETY: as the caller promises.
                unsafe {
                    match G {
                        0 => _mm256_shuffle_epi32::<0b00_00_00_00>(quad),
                        1 => _mm256_shuffle_epi32::<0b01_01_01_01>(quad),
                        2 => _mm256_shuffle_epi32::<0b10_10_10_10>(quad),
                        _ => _mm256_shuffle_epi32::<0b11_11_11_11>(quad),
                    }
                }
            }

            #[inline(always)]
            unsafe fn interleave(rows: [__m256i; 4]) -> [__m256i; 4] {
                // SAFETY: as the caller promises.
                unsafe { interleave(rows) }
            }

            #[inline(always)]
            unsafe fn dot(acc: __m256i, x: __m256i, w: __m256i) -> __m256i {
                // SAFETY: as the caller promises.
                unsafe { $dot(acc, x, w) }
            }
        }
    };
}

vnni!(AvxVnni, _mm256_dpbusd_avx_epi32);
#[cfg(test)]
vnni!(AvxVnniStandIn, _mm256_dpbusd_epi32);

/// Products of two bytes are summed up in pairs, and a pair can exceed what the byte instruction
/// (`vpmaddubsw`) holds: so they are multiplied as 16-bit numbers.
impl Isa for Avx2 {
    type V = __m256i;
    type X = Pair;
    type W = Pair;

    const DOT: bool = false;

    common!();

    #[inline(always)]
    unsafe fn weights(p: *const u8) -> Pair {
        // SAFETY: as the caller promises.
        unsafe {
            let w = _mm256_loadu_si256(p.cast());
            Pair {
                even: _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w)),
                odd: _mm256_srai_epi16::<8>(w),
            }
        }
    }

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> Pair {
        // SAFETY: as the caller promises.
        unsafe { split(_mm256_set1_epi32(p.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn quad(p: *const u8) -> Pair {
        // SAFETY: as the caller promises.
        unsafe { split(_mm256_broadcastsi128_si256(_mm_loadu_si128(p.cast()))) }
    }

    #[inline(always)]
    unsafe fn pick<const G: usize>(quad: Pair) -> Pair {
        // SAFETY: as the caller promises.
        unsafe {
            Pair {
                even: AvxVnni::pick::<G>(quad.even),
                odd: AvxVnni::pick::<G>(quad.odd),
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave(rows: [__m256i; 4]) -> [Pair; 4] {
        // SAFETY: as the caller promises.
        unsafe {
            let [a, b, c, d] = interleave(rows);
            [split(a), split(b), split(c), split(d)]
        }
    }

    #[inline(always)]
    unsafe fn dot(acc: __m256i, x: Pair, w: Pair) -> __m256i {
        // SAFETY: as the caller promises.
        unsafe {
            let even = _mm256_madd_epi16(x.even, w.even);
            let odd = _mm256_madd_epi16(x.odd, w.odd);
            _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
        }
    }
}

#[inline(always)]
unsafe fn split(x: __m256i) -> Pair {
    // SAFETY: as the caller promises.
    unsafe {
        Pair {
            even: _mm256_and_si256(x, _mm256_set1_epi16(255)),
            odd: _mm256_srli_epi16::<8>(x),
        }
    }
}
