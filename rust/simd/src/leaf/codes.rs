// SPDX-License-Identifier: GPL-2.0

//! Codes by vectors, for layers whose results depend on few codes each: sixteen codes as numbers of
//! 32 bits, or as many bytes as a register holds.
//!
//! The arithmetic is that of `int8::requant` in the specification, with the same names.

use core::arch::x86_64::*;

use crate::args::Factor;

use super::{
    avx2::{self, write16},
    avx512,
};

/// Codes in a vector of numbers.
pub(crate) const CODES: usize = 16;

/// Operations on codes, one interface for AVX2 and AVX-512.
///
/// Who calls a method promises: the CPU has the instruction set, it may be used here, and `len` bytes, no more
/// than the vector has, may be read or written through a pointer; pointers need no alignment.
pub(crate) trait Codes: Copy {
    /// Sixteen numbers of 32 bits.
    type V: Copy;
    /// [`BYTES`](Codes::BYTES) bytes.
    type B: Copy;
    /// 256 numbers of 16 bits without sign.
    type Table: Copy;

    /// Bytes in a register.
    const BYTES: usize;

    /// The same number in all lanes.
    unsafe fn splat(x: i32) -> Self::V;
    /// `len` codes, 0 behind them.
    unsafe fn load(p: *const u8, len: usize) -> Self::V;
    /// `len` codes from numbers, limited to 0..=255.
    unsafe fn store(x: Self::V, y: *mut u8, len: usize);
    /// `len` numbers of 16 bits, 0 behind them.
    unsafe fn load_words(p: *const u8, len: usize) -> Self::V;
    /// `len` numbers, limited to 16 bits.
    unsafe fn store_words(x: Self::V, y: *mut u8, len: usize);
    /// `a + b`, modulo 2^32.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`, modulo 2^32.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a b`, modulo 2^32.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller number.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The greater number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The bits that both have.
    unsafe fn and(a: Self::V, b: Self::V) -> Self::V;
    /// The distance from 0; 2^31 for the least number.
    unsafe fn abs(x: Self::V) -> Self::V;
    /// `x` for positive `by`, `-x` for negative; where `by` is 0, `x` is 0.
    unsafe fn sign(x: Self::V, by: Self::V) -> Self::V;
    /// `x << n`; `n` is 0..=31.
    unsafe fn left(x: Self::V, n: Self::V) -> Self::V;
    /// `x >> n` without the sign; `n` is 0..=31.
    unsafe fn right(x: Self::V, n: Self::V) -> Self::V;
    /// `x >> n` with the sign; `n` is 0..=31.
    unsafe fn right_signed(x: Self::V, n: Self::V) -> Self::V;
    /// `yes` where `a < b`, elsewhere `no`.
    unsafe fn if_less(a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// `round(a b / 2^31)`, halves upwards; not for two factors of -2^31.
    unsafe fn high_product(a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`, rounded down; `0 <= a <= 2^24`, `1 <= b <= 2^16`, and the result is at most 128.
    unsafe fn divide(a: Self::V, b: Self::V) -> Self::V;
    /// 256 numbers, which may be read as long as the table is used.
    unsafe fn table(p: *const u8) -> Self::Table;
    /// Entry `i` in the lower half, entry `i + 1` in the upper one; `i` is 0..=254.
    unsafe fn neighbours(table: Self::Table, i: Self::V) -> Self::V;
    /// The first `len` lanes, 0 in the others.
    unsafe fn head(x: Self::V, len: usize) -> Self::V;
    /// The sum of all lanes, modulo 2^32.
    unsafe fn sum(x: Self::V) -> u32;

    /// The same byte everywhere.
    unsafe fn bytes(x: u8) -> Self::B;
    /// `len` bytes, 0 behind them.
    unsafe fn load_bytes(p: *const u8, len: usize) -> Self::B;
    /// `len` bytes.
    unsafe fn store_bytes(x: Self::B, y: *mut u8, len: usize);
    /// Sixteen bytes, repeated.
    unsafe fn repeat(p: *const u8) -> Self::B;
    /// The bits in which `a` and `b` differ.
    unsafe fn xor(a: Self::B, b: Self::B) -> Self::B;
    /// `a - b` of signed bytes, at least -128.
    unsafe fn sub_bytes(a: Self::B, b: Self::B) -> Self::B;
    /// The smaller byte.
    unsafe fn min_bytes(a: Self::B, b: Self::B) -> Self::B;
    /// The greater byte.
    unsafe fn max_bytes(a: Self::B, b: Self::B) -> Self::B;
    /// The greatest of all bytes.
    unsafe fn top(x: Self::B) -> u8;
    /// Entry `x % 16` of a repeated table where `x < 128`, elsewhere 0.
    unsafe fn look_up(table: Self::B, x: Self::B) -> Self::B;
}

/// `rounding_shift` by the same number of bits in all lanes.
#[derive(Clone, Copy)]
pub(crate) struct Shift<V> {
    bits: V,
    half: V,
}

impl<V: Copy> Shift<V> {
    /// By 0..=31 bits.
    #[inline(always)]
    pub(crate) unsafe fn new<C: Codes<V = V>>(bits: u32) -> Self {
        let half = (1u32 << (bits & 31)) >> 1;
        // SAFETY: as the caller promises.
        // CAST: below 2^31.
        unsafe {
            Self {
                bits: C::splat(bits as i32),
                half: C::splat(half as i32),
            }
        }
    }

    /// `round(x / 2^bits)`, halves away from zero.
    #[inline(always)]
    pub(crate) unsafe fn apply<C: Codes<V = V>>(&self, x: V) -> V {
        // SAFETY: as the caller promises; without the sign nothing overflows.
        unsafe {
            let size = C::add(C::abs(x), self.half);
            C::sign(C::right(size, self.bits), x)
        }
    }
}

/// `multiply` by the same factor in all lanes.
#[derive(Clone, Copy)]
pub(crate) struct Product<V> {
    left: V,
    mult: V,
    shift: Shift<V>,
}

impl<V: Copy> Product<V> {
    /// By a factor, the multiplier of which is not -2^31, and the shift -31..=31.
    #[inline(always)]
    pub(crate) unsafe fn new<C: Codes<V = V>>(factor: Factor) -> Self {
        // SAFETY: as the caller promises.
        unsafe {
            Self {
                left: C::splat(-factor.shift.min(0)),
                mult: C::splat(factor.mult),
                shift: Shift::new::<C>(factor.shift.max(0).unsigned_abs()),
            }
        }
    }

    /// The rounded product.
    #[inline(always)]
    pub(crate) unsafe fn apply<C: Codes<V = V>>(&self, x: V) -> V {
        // SAFETY: as the caller promises.
        unsafe {
            let x = C::high_product(C::left(x, self.left), self.mult);
            self.shift.apply::<C>(x)
        }
    }
}

/// From numbers to codes.
#[derive(Clone, Copy)]
pub(crate) struct Code<V> {
    product: Product<V>,
    zero: V,
    least: V,
    most: V,
    limit: V,
}

impl<V: Copy> Code<V> {
    /// With a factor as for [`Product`].
    #[inline(always)]
    pub(crate) unsafe fn new<C: Codes<V = V>>(
        factor: Factor,
        zero: u8,
        least: u8,
        most: u8,
    ) -> Self {
        // SAFETY: as the caller promises.
        unsafe {
            Self {
                product: Product::new::<C>(factor),
                zero: C::splat(zero.into()),
                least: C::splat(least.into()),
                most: C::splat(most.into()),
                limit: C::splat(255),
            }
        }
    }

    /// The code of a sum.
    #[inline(always)]
    pub(crate) unsafe fn apply<C: Codes<V = V>>(&self, x: V) -> V {
        // SAFETY: as the caller promises. A zero point is not negative: what exceeds 255 before it
        // is added does so afterwards.
        unsafe {
            let x = C::min(self.product.apply::<C>(x), self.limit);
            C::max(C::min(C::add(x, self.zero), self.most), self.least)
        }
    }
}

/// AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Narrow;

/// AVX-512 F and BW.
#[derive(Clone, Copy)]
pub(crate) struct Wide;

/// Methods that are one expression.
macro_rules! simple {
    ($(fn $name:ident($($arg:ident: $t:ty),*) -> $r:ty = $e:expr;)*) => {
        $(
            #[inline(always)]
            unsafe fn $name($($arg: $t),*) -> $r {
                // SAFETY: as the caller promises.
                unsafe { $e }
            }
        )*
    };
}

/// The same of both halves.
macro_rules! halves {
    ($($op:ident)::+ $(::<$n:literal>)?; $($a:expr),+) => {
        [
            $($op)::+$(::<$n>)?($($a[0]),+),
            $($op)::+$(::<$n>)?($($a[1]),+),
        ]
    };
}

/// `len` bytes, at most 16, 0 behind them.
#[inline(always)]
unsafe fn read16(p: *const u8, len: usize) -> __m128i {
    // SAFETY: the caller may read `len` bytes; the parts that are read lie in them, and overlap.
    unsafe {
        if len >= 16 {
            return _mm_loadu_si128(p.cast());
        }
        let (mut low, mut high) = (0, 0);
        if len >= 8 {
            low = p.cast::<u64>().read_unaligned();
            if len > 8 {
                high = p.add(len - 8).cast::<u64>().read_unaligned() >> (8 * (16 - len));
            }
        } else if len >= 4 {
            let last = p.add(len - 4).cast::<u32>().read_unaligned();
            low = u64::from(p.cast::<u32>().read_unaligned());
            low |= u64::from(last) << (8 * (len - 4));
        } else if len > 0 {
            low = u64::from(*p);
            low |= u64::from(*p.add(len / 2)) << (8 * (len / 2));
            low |= u64::from(*p.add(len - 1)) << (8 * (len - 1));
        }
        _mm_set_epi64x(
            i64::from_ne_bytes(high.to_ne_bytes()),
            i64::from_ne_bytes(low.to_ne_bytes()),
        )
    }
}

/// The greatest of sixteen bytes.
#[inline(always)]
unsafe fn top16(x: __m128i) -> u8 {
    // SAFETY: as the caller promises.
    unsafe {
        // The instruction finds the least of eight numbers of 16 bits.
        let x = _mm_xor_si128(x, _mm_set1_epi8(-1));
        let x = _mm_min_epu8(x, _mm_srli_epi16::<8>(x));
        let least = _mm_cvtsi128_si32(_mm_minpos_epu16(x));
        // CAST: the upper half is a place.
        !(least as u8)
    }
}

#[inline(always)]
unsafe fn sum8(x: __m256i) -> u32 {
    // SAFETY: as the caller promises.
    unsafe {
        let x = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
        let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0b01_00_11_10>(x));
        let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0b10_11_00_01>(x));
        u32::from_ne_bytes(_mm_cvtsi128_si32(x).to_ne_bytes())
    }
}

#[inline(always)]
unsafe fn high_product8(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe {
        let round = _mm256_set1_epi64x(1 << 30);
        let even = _mm256_add_epi64(_mm256_mul_epi32(a, b), round);
        let odd = _mm256_mul_epi32(avx2::odd_lanes(a), avx2::odd_lanes(b));
        let odd = _mm256_add_epi64(odd, round);
        _mm256_blend_epi32::<0b1010_1010>(
            _mm256_srli_epi64::<31>(even),
            _mm256_slli_epi64::<1>(odd),
        )
    }
}

/// In single precision `a` and `b` are exact. Below 128 neighbouring numbers are at most 2^-17 apart,
/// and a quotient that is no integer differs from the next one by 2^-16 at least: so no rounding,
/// whatever its direction, makes an integer of it.
#[inline(always)]
unsafe fn divide8(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe { _mm256_cvttps_epi32(_mm256_div_ps(_mm256_cvtepi32_ps(a), _mm256_cvtepi32_ps(b))) }
}

#[inline(always)]
unsafe fn if_less8(a: __m256i, b: __m256i, yes: __m256i, no: __m256i) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe { _mm256_blendv_epi8(no, yes, _mm256_cmpgt_epi32(b, a)) }
}

impl Codes for Narrow {
    type V = [__m256i; 2];
    type B = __m256i;
    type Table = *const u8;

    const BYTES: usize = 32;

    simple! {
        fn splat(x: i32) -> Self::V = [_mm256_set1_epi32(x); 2];
        fn add(a: Self::V, b: Self::V) -> Self::V = halves!(_mm256_add_epi32; a, b);
        fn sub(a: Self::V, b: Self::V) -> Self::V = halves!(_mm256_sub_epi32; a, b);
        fn mul(a: Self::V, b: Self::V) -> Self::V = halves!(_mm256_mullo_epi32; a, b);
        fn min(a: Self::V, b: Self::V) -> Self::V = halves!(_mm256_min_epi32; a, b);
        fn max(a: Self::V, b: Self::V) -> Self::V = halves!(_mm256_max_epi32; a, b);
        fn and(a: Self::V, b: Self::V) -> Self::V = halves!(_mm256_and_si256; a, b);
        fn abs(x: Self::V) -> Self::V = halves!(_mm256_abs_epi32; x);
        fn sign(x: Self::V, by: Self::V) -> Self::V = halves!(_mm256_sign_epi32; x, by);
        fn left(x: Self::V, n: Self::V) -> Self::V = halves!(_mm256_sllv_epi32; x, n);
        fn right(x: Self::V, n: Self::V) -> Self::V = halves!(_mm256_srlv_epi32; x, n);
        fn right_signed(x: Self::V, n: Self::V) -> Self::V = halves!(_mm256_srav_epi32; x, n);
        fn table(p: *const u8) -> *const u8 = p;
        fn neighbours(table: *const u8, i: Self::V) -> Self::V = [
            _mm256_i32gather_epi32::<2>(table.cast(), i[0]),
            _mm256_i32gather_epi32::<2>(table.cast(), i[1]),
        ];
        fn high_product(a: Self::V, b: Self::V) -> Self::V = halves!(high_product8; a, b);
        fn divide(a: Self::V, b: Self::V) -> Self::V = halves!(divide8; a, b);
        fn if_less(a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V =
            halves!(if_less8; a, b, yes, no);
        fn head(x: Self::V, len: usize) -> Self::V = {
            // CAST: more than 16 are as good as 16.
            let len = _mm256_set1_epi32(len.min(CODES) as i32);
            let low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
            [
                _mm256_and_si256(x[0], _mm256_cmpgt_epi32(len, low)),
                _mm256_and_si256(x[1], _mm256_cmpgt_epi32(len, high)),
            ]
        };
        fn sum(x: Self::V) -> u32 = sum8(_mm256_add_epi32(x[0], x[1]));

        fn bytes(x: u8) -> __m256i = _mm256_set1_epi8(i8::from_ne_bytes([x]));
        fn repeat(p: *const u8) -> __m256i =
            _mm256_broadcastsi128_si256(_mm_loadu_si128(p.cast()));
        fn xor(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        fn sub_bytes(a: __m256i, b: __m256i) -> __m256i = _mm256_subs_epi8(a, b);
        fn min_bytes(a: __m256i, b: __m256i) -> __m256i = _mm256_min_epu8(a, b);
        fn max_bytes(a: __m256i, b: __m256i) -> __m256i = _mm256_max_epu8(a, b);
        fn look_up(table: __m256i, x: __m256i) -> __m256i = _mm256_shuffle_epi8(table, x);
        fn top(x: __m256i) -> u8 = {
            let high = _mm256_extracti128_si256::<1>(x);
            top16(_mm_max_epu8(_mm256_castsi256_si128(x), high))
        };
    }

    #[inline(always)]
    unsafe fn load(p: *const u8, len: usize) -> Self::V {
        // SAFETY: as the caller promises.
        unsafe {
            let x = read16(p, len);
            [
                _mm256_cvtepu8_epi32(x),
                _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(x, x)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(x: Self::V, y: *mut u8, len: usize) {
        // SAFETY: as the caller promises.
        unsafe {
            let wide = _mm256_packs_epi32(x[0], x[1]);
            let wide = _mm256_permute4x64_epi64::<0b11_01_10_00>(wide);
            let (low, high) = (
                _mm256_castsi256_si128(wide),
                _mm256_extracti128_si256::<1>(wide),
            );
            write16(y, len, _mm_packus_epi16(low, high));
        }
    }

    #[inline(always)]
    unsafe fn load_words(p: *const u8, len: usize) -> Self::V {
        // SAFETY: as the caller promises.
        unsafe {
            let low = read16(p, 2 * len.min(8));
            let high = match len {
                0..=8 => _mm_setzero_si128(),
                _ => read16(p.add(16), 2 * (len.min(CODES) - 8)),
            };
            [_mm256_cvtepi16_epi32(low), _mm256_cvtepi16_epi32(high)]
        }
    }

    #[inline(always)]
    unsafe fn store_words(x: Self::V, y: *mut u8, len: usize) {
        // SAFETY: as the caller promises.
        unsafe { avx2::write_words16(y, len, x[0], x[1]) }
    }

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8, len: usize) -> __m256i {
        // SAFETY: as the caller promises.
        unsafe {
            if len >= 32 {
                return _mm256_loadu_si256(p.cast());
            }
            if len <= 16 {
                return _mm256_zextsi128_si256(read16(p, len));
            }
            let high = read16(p.add(16), len - 16);
            _mm256_set_m128i(high, _mm_loadu_si128(p.cast()))
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(x: __m256i, y: *mut u8, len: usize) {
        // SAFETY: as the caller promises.
        unsafe {
            if len >= 32 {
                _mm256_storeu_si256(y.cast(), x);
                return;
            }
            write16(y, len, _mm256_castsi256_si128(x));
            if len > 16 {
                write16(y.add(16), len - 16, _mm256_extracti128_si256::<1>(x));
            }
        }
    }
}

/// Lanes with odd numbers.
const ODD: __mmask16 = 0b1010_1010_1010_1010;

/// The first `len` bits, at most 64.
#[inline(always)]
fn head(len: usize) -> u64 {
    if len >= 64 {
        u64::MAX
    } else {
        (1 << len) - 1
    }
}

impl Codes for Wide {
    type V = __m512i;
    type B = __m512i;
    type Table = [__m512i; 8];

    const BYTES: usize = 64;

    simple! {
        fn splat(x: i32) -> __m512i = _mm512_set1_epi32(x);
        fn load(p: *const u8, len: usize) -> __m512i = {
            let x = _mm512_maskz_loadu_epi8(head(len.min(CODES)), p.cast());
            _mm512_cvtepu8_epi32(_mm512_castsi512_si128(x))
        };
        fn store(x: __m512i, y: *mut u8, len: usize) -> () = {
            let x = _mm512_max_epi32(x, _mm512_setzero_si512());
            let codes = _mm512_castsi128_si512(_mm512_cvtusepi32_epi8(x));
            _mm512_mask_storeu_epi8(y.cast(), head(len.min(CODES)), codes);
        };
        fn load_words(p: *const u8, len: usize) -> __m512i = {
            // CAST: sixteen bits.
            let mask = head(len.min(CODES)) as __mmask32;
            let x = _mm512_maskz_loadu_epi16(mask, p.cast());
            _mm512_cvtepi16_epi32(_mm512_castsi512_si256(x))
        };
        fn store_words(x: __m512i, y: *mut u8, len: usize) -> () =
            avx512::write_words16(y, len, x);
        fn add(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        fn sub(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        fn mul(a: __m512i, b: __m512i) -> __m512i = _mm512_mullo_epi32(a, b);
        fn min(a: __m512i, b: __m512i) -> __m512i = _mm512_min_epi32(a, b);
        fn max(a: __m512i, b: __m512i) -> __m512i = _mm512_max_epi32(a, b);
        fn and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        fn abs(x: __m512i) -> __m512i = _mm512_abs_epi32(x);
        fn left(x: __m512i, n: __m512i) -> __m512i = _mm512_sllv_epi32(x, n);
        fn right(x: __m512i, n: __m512i) -> __m512i = _mm512_srlv_epi32(x, n);
        fn right_signed(x: __m512i, n: __m512i) -> __m512i = _mm512_srav_epi32(x, n);
        fn table(p: *const u8) -> Self::Table = {
            let part = |i: usize| _mm512_loadu_si512(p.add(64 * i).cast());
            [part(0), part(1), part(2), part(3), part(4), part(5), part(6), part(7)]
        };
        fn neighbours(table: Self::Table, i: __m512i) -> __m512i = {
            let next = _mm512_add_epi32(i, _mm512_set1_epi32(1));
            let i = _mm512_or_si512(i, _mm512_slli_epi32::<16>(next));
            // An instruction looks up in a quarter of the table.
            let [a, b, c, d, e, f, g, h] = table;
            let (first, second) = (
                _mm512_permutex2var_epi16(a, i, b),
                _mm512_permutex2var_epi16(c, i, d),
            );
            let (third, fourth) = (
                _mm512_permutex2var_epi16(e, i, f),
                _mm512_permutex2var_epi16(g, i, h),
            );
            let odd = _mm512_test_epi16_mask(i, _mm512_set1_epi16(64));
            let upper = _mm512_test_epi16_mask(i, _mm512_set1_epi16(128));
            _mm512_mask_blend_epi16(
                upper,
                _mm512_mask_blend_epi16(odd, first, second),
                _mm512_mask_blend_epi16(odd, third, fourth),
            )
        };
        fn sign(x: __m512i, by: __m512i) -> __m512i = {
            let zero = _mm512_setzero_si512();
            let x = _mm512_maskz_mov_epi32(_mm512_test_epi32_mask(by, by), x);
            _mm512_mask_sub_epi32(x, _mm512_cmplt_epi32_mask(by, zero), zero, x)
        };
        fn if_less(a: __m512i, b: __m512i, yes: __m512i, no: __m512i) -> __m512i =
            _mm512_mask_mov_epi32(no, _mm512_cmplt_epi32_mask(a, b), yes);
        fn high_product(a: __m512i, b: __m512i) -> __m512i = {
            let round = _mm512_set1_epi64(1 << 30);
            let even = _mm512_add_epi64(_mm512_mul_epi32(a, b), round);
            let odd = _mm512_mul_epi32(avx512::odd_lanes(a), avx512::odd_lanes(b));
            let odd = _mm512_add_epi64(odd, round);
            _mm512_mask_blend_epi32(
                ODD,
                _mm512_srli_epi64::<31>(even),
                _mm512_slli_epi64::<1>(odd),
            )
        };
        fn divide(a: __m512i, b: __m512i) -> __m512i =
            // As `divide8` does.
            _mm512_cvttps_epi32(_mm512_div_ps(_mm512_cvtepi32_ps(a), _mm512_cvtepi32_ps(b)));
        fn head(x: __m512i, len: usize) -> __m512i =
            // CAST: sixteen bits.
            _mm512_maskz_mov_epi32(head(len.min(CODES)) as __mmask16, x);
        fn sum(x: __m512i) -> u32 = {
            let high = _mm512_extracti64x4_epi64::<1>(x);
            sum8(_mm256_add_epi32(_mm512_castsi512_si256(x), high))
        };

        fn bytes(x: u8) -> __m512i = _mm512_set1_epi8(i8::from_ne_bytes([x]));
        fn load_bytes(p: *const u8, len: usize) -> __m512i =
            _mm512_maskz_loadu_epi8(head(len), p.cast());
        fn store_bytes(x: __m512i, y: *mut u8, len: usize) -> () = {
            if len >= 64 {
                _mm512_storeu_si512(y.cast(), x);
            } else {
                _mm512_mask_storeu_epi8(y.cast(), head(len), x);
            }
        };
        fn repeat(p: *const u8) -> __m512i = _mm512_broadcast_i32x4(_mm_loadu_si128(p.cast()));
        fn xor(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        fn sub_bytes(a: __m512i, b: __m512i) -> __m512i = _mm512_subs_epi8(a, b);
        fn min_bytes(a: __m512i, b: __m512i) -> __m512i = _mm512_min_epu8(a, b);
        fn max_bytes(a: __m512i, b: __m512i) -> __m512i = _mm512_max_epu8(a, b);
        fn look_up(table: __m512i, x: __m512i) -> __m512i = _mm512_shuffle_epi8(table, x);
        fn top(x: __m512i) -> u8 = {
            let high = _mm512_extracti64x4_epi64::<1>(x);
            Narrow::top(_mm256_max_epu8(_mm512_castsi512_si256(x), high))
        };
    }
}

/// An exported function for each of the two, with one body.
macro_rules! entries {
    ($(#[$doc:meta])* $body:ident($args:ty) = $narrow:ident, $wide:ident) => {
        entries!(@ $(#[$doc])* $body($args) = $narrow, super::codes::Narrow, "avx2");
        entries!(@ $(#[$doc])* $body($args) = $wide, super::codes::Wide, "avx2,avx512f,avx512bw");
    };
    (@ $(#[$doc:meta])* $body:ident($args:ty) = $name:ident, $codes:ty, $features:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// The CPU has the features, vector registers may be used, and every access that the arguments
        /// describe lies inside a buffer.
        #[no_mangle]
        #[target_feature(enable = $features)]
        pub(crate) unsafe extern "C" fn $name(args: *const $args) {
            // SAFETY: as the caller promises.
            unsafe { $body::<$codes>(&*args) }
        }
    };
}
