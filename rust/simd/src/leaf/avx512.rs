// SPDX-License-Identifier: GPL-2.0

//! AVX-512 (F and BW), and AVX-512 VNNI, which adds one instruction to it.

use core::arch::x86_64::*;

use super::vector::{Finish, Isa, Scale};

/// AVX-512 F and BW.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// AVX-512 F, BW and VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Vnni;

/// Unsigned bytes as 16-bit numbers: those at even places and those at odd ones.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    even: __m512i,
    odd: __m512i,
}

/// Lanes with odd numbers.
const ODD: __mmask16 = 0b1010_1010_1010_1010;

/// The first `len` bytes, at most 64.
#[inline(always)]
unsafe fn write64(y: *mut u8, len: usize, codes: __m512i) {
    // SAFETY: the caller may write `len` bytes; what the mask leaves out is not written.
    unsafe {
        if len >= 64 {
            _mm512_storeu_si512(y.cast(), codes);
        } else {
            let mask = (1u64 << (len & 63)).wrapping_sub(1);
            _mm512_mask_storeu_epi8(y.cast(), mask, codes);
        }
    }
}

/// The odd lanes in the even ones. After a shift to the right, which would do it as well, the compiler
/// takes what follows for a product of 64 bits, and makes it of three.
#[inline(always)]
pub(super) unsafe fn odd_lanes(x: __m512i) -> __m512i {
    // SAFETY: as the caller promises.
    unsafe { _mm512_shuffle_epi32::<0b11_11_01_01>(x) }
}

#[inline(always)]
unsafe fn scale(mult: *const u8, shift: *const u8) -> Scale<__m512i> {
    // SAFETY: as the caller promises.
    unsafe {
        let mult = _mm512_loadu_si512(mult.cast());
        let shift = _mm512_loadu_si512(shift.cast());
        // A count below 0 is a great one and leaves nothing.
        let half = _mm512_add_epi32(shift, _mm512_set1_epi32(-1));
        Scale {
            mult,
            odd: odd_lanes(mult),
            right: _mm512_max_epi32(shift, _mm512_setzero_si512()),
            half: _mm512_sllv_epi32(_mm512_set1_epi32(1), half),
        }
    }
}

#[inline(always)]
unsafe fn goes_left<const NV: usize>(shift: *const u8, step: usize) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let mut signs = _mm512_setzero_si512();
        each!(J in NV, {
            let shift = _mm512_loadu_si512(shift.add(J * step).cast());
            signs = _mm512_or_si512(signs, shift);
        });
        _mm512_cmplt_epi32_mask(signs, _mm512_setzero_si512()) != 0
    }
}

#[inline(always)]
unsafe fn left(acc: __m512i, shift: *const u8) -> __m512i {
    // SAFETY: as the caller promises.
    unsafe {
        let zero = _mm512_setzero_si512();
        let shift = _mm512_sub_epi32(zero, _mm512_loadu_si512(shift.cast()));
        _mm512_sllv_epi32(acc, _mm512_max_epi32(shift, zero))
    }
}

/// The products of even and odd lanes are 64 bits wide and rounded to their upper half, ties
/// upwards; then shifted to the right, ties away from zero, which is done without the sign.
#[inline(always)]
unsafe fn multiply(acc: __m512i, scale: &Scale<__m512i>) -> __m512i {
    // SAFETY: as the caller promises.
    unsafe {
        let zero = _mm512_setzero_si512();
        let negative = _mm512_cmplt_epi32_mask(acc, zero);
        let round = _mm512_set1_epi64(1 << 30);
        let even = _mm512_add_epi64(_mm512_mul_epi32(acc, scale.mult), round);
        let odd = _mm512_mul_epi32(odd_lanes(acc), scale.odd);
        let odd = _mm512_add_epi64(odd, round);
        let high = _mm512_mask_blend_epi32(
            ODD,
            _mm512_srli_epi64::<31>(even),
            _mm512_slli_epi64::<1>(odd),
        );
        let size = _mm512_add_epi32(_mm512_abs_epi32(high), scale.half);
        let size = _mm512_srlv_epi32(size, scale.right);
        _mm512_mask_sub_epi32(size, negative, zero, size)
    }
}

/// The greatest bias of plain rows.
const SMALL: i32 = 1 << 29;

#[inline(always)]
unsafe fn plain(shift: *const u8, bias: *const u8) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let shift = _mm512_loadu_si512(shift.cast());
        let bias = _mm512_abs_epi32(_mm512_loadu_si512(bias.cast()));
        let left = _mm512_cmplt_epi32_mask(shift, _mm512_set1_epi32(1));
        let large = _mm512_cmpgt_epu32_mask(bias, _mm512_set1_epi32(SMALL));
        left | large == 0
    }
}

/// As [`multiply`] does it, with the sign: what is negative is one less before the last shift, so that
/// ties go away from zero. Products are below 2^61, so that nothing overflows.
#[inline(always)]
unsafe fn multiply_plain(acc: __m512i, scale: &Scale<__m512i>) -> __m512i {
    // SAFETY: as the caller promises.
    unsafe {
        let round = _mm512_set1_epi64(1 << 30);
        let even = _mm512_add_epi64(_mm512_mul_epi32(acc, scale.mult), round);
        let odd = _mm512_mul_epi32(odd_lanes(acc), scale.odd);
        let odd = _mm512_add_epi64(odd, round);
        let high = _mm512_mask_blend_epi32(
            ODD,
            _mm512_srli_epi64::<31>(even),
            _mm512_slli_epi64::<1>(odd),
        );
        let half = _mm512_add_epi32(scale.half, _mm512_srai_epi32::<31>(acc));
        _mm512_srav_epi32(_mm512_add_epi32(high, half), scale.right)
    }
}

#[inline(always)]
unsafe fn finish(zero: u8, min: u8, max: u8) -> Finish<__m512i> {
    // SAFETY: as the caller promises.
    unsafe {
        Finish {
            zero: _mm512_set1_epi16(i16::from(zero)),
            min: _mm512_set1_epi8(i8::from_ne_bytes([min])),
            max: _mm512_set1_epi8(i8::from_ne_bytes([max])),
        }
    }
}

#[inline(always)]
unsafe fn write<const NV: usize>(
    y: *mut u8,
    len: usize,
    values: &[__m512i; NV],
    finish: &Finish<__m512i>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let a = values[0];
        let b = values[if NV > 1 { 1 } else { 0 }];
        let c = values[if NV > 2 { 2 } else { 0 }];
        let d = values[if NV > 3 { 3 } else { 0 }];
        let ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), finish.zero);
        let cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), finish.zero);
        let codes = _mm512_packus_epi16(ab, cd);
        // Four bytes of each of a, b, c and d in turn: bring those of one vector together.
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let codes = _mm512_permutexvar_epi32(order, codes);
        let codes = _mm512_min_epu8(_mm512_max_epu8(codes, finish.min), finish.max);
        write64(y, len, codes);
    }
}

/// The first `len` numbers, limited to 16 bits.
#[inline(always)]
pub(super) unsafe fn write_words16(y: *mut u8, len: usize, x: __m512i) {
    // SAFETY: the caller may write `len` numbers; what the mask leaves out is not written.
    unsafe {
        let words = _mm512_cvtsepi32_epi16(x);
        if len >= 16 {
            _mm256_storeu_si256(y.cast(), words);
        } else {
            let mask = (1u32 << len) - 1;
            _mm512_mask_storeu_epi16(y.cast(), mask, _mm512_castsi256_si512(words));
        }
    }
}

#[inline(always)]
unsafe fn write_words<const NV: usize>(y: *mut u8, len: usize, values: &[__m512i; NV]) {
    each!(J in NV, {
        // SAFETY: as the caller promises.
        unsafe {
            if len > 16 * J {
                write_words16(y.add(32 * J), len - 16 * J, values[J]);
            }
        }
    });
}

/// Four vectors of bytes, interleaved twice.
#[inline(always)]
unsafe fn interleave([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    // SAFETY: as the caller promises.
    unsafe {
        let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
        let (high_ab, high_cd) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
        [
            _mm512_unpacklo_epi16(ab, cd),
            _mm512_unpackhi_epi16(ab, cd),
            _mm512_unpacklo_epi16(high_ab, high_cd),
            _mm512_unpackhi_epi16(high_ab, high_cd),
        ]
    }
}

/// The way back: narrowing twice brings bytes in the order they had.
#[inline(always)]
unsafe fn write_interleaved(
    y: *mut u8,
    len: usize,
    &[a, b, c, d]: &[__m512i; 4],
    finish: &Finish<__m512i>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), finish.zero);
        let cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), finish.zero);
        let codes = _mm512_packus_epi16(ab, cd);
        let codes = _mm512_min_epu8(_mm512_max_epu8(codes, finish.min), finish.max);
        write64(y, len, codes);
    }
}

macro_rules! common {
    () => {
        const LANES: usize = 16;
        const WIDE: bool = true;

        #[inline(always)]
        unsafe fn zero() -> __m512i {
            // SAFETY: as the caller promises.
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        unsafe fn load(p: *const u8) -> __m512i {
            // SAFETY: as the caller promises.
            unsafe { _mm512_loadu_si512(p.cast()) }
        }

        #[inline(always)]
        unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
            // SAFETY: as the caller promises.
            unsafe { _mm512_add_epi32(a, b) }
        }

        #[inline(always)]
        unsafe fn scale(mult: *const u8, shift: *const u8) -> Scale<__m512i> {
            // SAFETY: as the caller promises.
            unsafe { scale(mult, shift) }
        }

        #[inline(always)]
        unsafe fn plain(shift: *const u8, bias: *const u8) -> bool {
            // SAFETY: as the caller promises.
            unsafe { plain(shift, bias) }
        }

        #[inline(always)]
        unsafe fn scale_of(mult: *const u8, shift: *const u8, half: __m512i) -> Scale<__m512i> {
            // SAFETY: as the caller promises.
            unsafe {
                let mult = _mm512_loadu_si512(mult.cast());
                Scale {
                    mult,
                    odd: odd_lanes(mult),
                    right: _mm512_loadu_si512(shift.cast()),
                    half,
                }
            }
        }

        #[inline(always)]
        unsafe fn multiply_plain(acc: __m512i, scale: &Scale<__m512i>) -> __m512i {
            // SAFETY: as the caller promises.
            unsafe { multiply_plain(acc, scale) }
        }

        #[inline(always)]
        unsafe fn goes_left<const NV: usize>(shift: *const u8, step: usize) -> bool {
            // SAFETY: as the caller promises.
            unsafe { goes_left::<NV>(shift, step) }
        }

        #[inline(always)]
        unsafe fn left(acc: __m512i, shift: *const u8) -> __m512i {
            // SAFETY: as the caller promises.
            unsafe { left(acc, shift) }
        }

        #[inline(always)]
        unsafe fn write_interleaved(
            y: *mut u8,
            len: usize,
            values: &[__m512i; 4],
            finish: &Finish<__m512i>,
        ) {
            // SAFETY: as the caller promises.
            unsafe { write_interleaved(y, len, values, finish) }
        }

        #[inline(always)]
        unsafe fn multiply(acc: __m512i, scale: &Scale<__m512i>) -> __m512i {
            // SAFETY: as the caller promises.
            unsafe { multiply(acc, scale) }
        }

        #[inline(always)]
        unsafe fn finish(zero: u8, min: u8, max: u8) -> Finish<__m512i> {
            // SAFETY: as the caller promises.
            unsafe { finish(zero, min, max) }
        }

        #[inline(always)]
        unsafe fn write<const NV: usize>(
            y: *mut u8,
            len: usize,
            values: &[__m512i; NV],
            finish: &Finish<__m512i>,
        ) {
            // SAFETY: as the caller promises.
            unsafe { write::<NV>(y, len, values, finish) }
        }

        #[inline(always)]
        unsafe fn write_words<const NV: usize>(y: *mut u8, len: usize, values: &[__m512i; NV]) {
            // SAFETY: as the caller promises.
            unsafe { write_words::<NV>(y, len, values) }
        }
    };
}

/// Bytes are multiplied as they are.
impl Isa for Avx512Vnni {
    type V = __m512i;
    type X = __m512i;
    type W = __m512i;

    const DOT: bool = true;

    common!();

    #[inline(always)]
    unsafe fn weights(p: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn quad(p: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(p.cast())) }
    }

    #[inline(always)]
    unsafe fn pick<const G: usize>(quad: __m512i) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe {
            match G {
                0 => _mm512_shuffle_epi32::<0b00_00_00_00>(quad),
                1 => _mm512_shuffle_epi32::<0b01_01_01_01>(quad),
                2 => _mm512_shuffle_epi32::<0b10_10_10_10>(quad),
                _ => _mm512_shuffle_epi32::<0b11_11_11_11>(quad),
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave(rows: [__m512i; 4]) -> [__m512i; 4] {
        // SAFETY: as the caller promises.
        unsafe { interleave(rows) }
    }

    #[inline(always)]
    unsafe fn dot(acc: __m512i, x: __m512i, w: __m512i) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { _mm512_dpbusd_epi32(acc, x, w) }
    }
}

/// As `Avx2` does it.
impl Isa for Avx512 {
    type V = __m512i;
    type X = Pair;
    type W = Pair;

    const DOT: bool = false;

    common!();

    #[inline(always)]
    unsafe fn weights(p: *const u8) -> Pair {
        // SAFETY: as the caller promises.
        unsafe {
            let w = _mm512_loadu_si512(p.cast());
            Pair {
                even: _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(w)),
                odd: _mm512_srai_epi16::<8>(w),
            }
        }
    }

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> Pair {
        // SAFETY: as the caller promises.
        unsafe { split(Avx512Vnni::broadcast(p)) }
    }

    #[inline(always)]
    unsafe fn quad(p: *const u8) -> Pair {
        // SAFETY: as the caller promises.
        unsafe { split(Avx512Vnni::quad(p)) }
    }

    #[inline(always)]
    unsafe fn pick<const G: usize>(quad: Pair) -> Pair {
        // SAFETY: as the caller promises.
        unsafe {
            Pair {
                even: Avx512Vnni::pick::<G>(quad.even),
                odd: Avx512Vnni::pick::<G>(quad.odd),
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave(rows: [__m512i; 4]) -> [Pair; 4] {
        // SAFETY: as the caller promises.
        unsafe {
            let [a, b, c, d] = interleave(rows);
            [split(a), split(b), split(c), split(d)]
        }
    }

    #[inline(always)]
    unsafe fn dot(acc: __m512i, x: Pair, w: Pair) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe {
            let even = _mm512_madd_epi16(x.even, w.even);
            let odd = _mm512_madd_epi16(x.odd, w.odd);
            _mm512_add_epi32(acc, _mm512_add_epi32(even, odd))
        }
    }
}

#[inline(always)]
unsafe fn split(x: __m512i) -> Pair {
    // SAFETY: as the caller promises.
    unsafe {
        Pair {
            even: _mm512_and_si512(x, _mm512_set1_epi16(255)),
            odd: _mm512_srli_epi16::<8>(x),
        }
    }
}
