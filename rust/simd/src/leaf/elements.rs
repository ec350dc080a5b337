// SPDX-License-Identifier: GPL-2.0

//! Codes one by one: tables, sums and products of two tensors.

use core::arch::x86_64::*;

use crate::args::{Factor, FlipI8, MapI8, PairI8};

use super::codes::{Code, Codes, Product, CODES};

/// Bits by which the operands of a sum are shifted to the left, as in the specification.
const HEADROOM: i32 = 20;

/// Entries of a part of a table.
const PART: usize = 16;
/// Parts of half a table.
const PARTS: usize = 8;

#[inline(always)]
unsafe fn flip<C: Codes>(a: &FlipI8) {
    // SAFETY: all rows of both tensors have `n` bytes.
    unsafe {
        let bit = C::bytes(0x80);
        for row in 0..a.rows {
            let (x, y) = (a.x.add(row * a.x_row), a.y.add(row * a.y_row));
            let mut i = 0;
            while i < a.n {
                let len = (a.n - i).min(C::BYTES);
                let codes = C::load_bytes(x.add(i), len);
                C::store_bytes(C::xor(codes, bit), y.add(i), len);
                i += len;
            }
        }
    }
}

/// In each half of the table, eight look-ups in parts, each of which gives 0 unless `x` stands in this
/// part of the half or in a later one. A part is stored as what it differs by from the part before it,
/// so that the sum (the exclusive or) of the look-ups is what stands in the part of `x`.
///
/// # Safety
///
/// The caller may use the instruction set, read `n` codes and 256 entries, and write `n` codes, which may be
/// those that are read.
// `each` leaves out the part before the first one, which the lint does not see.
#[allow(clippy::out_of_bounds_indexing)]
#[inline(always)]
pub(super) unsafe fn look_up<C: Codes>(table: *const u8, x: *const u8, y: *mut u8, n: usize) {
    let mut i = 0;
    // SAFETY: as the caller promises.
    unsafe {
        let (mut low, mut high) = ([C::bytes(0); PARTS], [C::bytes(0); PARTS]);
        let part = |p: usize| C::repeat(table.add(p * PART));
        (low[0], high[0]) = (part(0), part(PARTS));
        each!(P in PARTS, {
            if P != 0 {
                low[P] = C::xor(part(P), part(P.wrapping_sub(1)));
                high[P] = C::xor(part(PARTS + P), part(PARTS + P - 1));
            }
        });
        let (bit, step) = (C::bytes(0x80), C::bytes(16));
        while i < n {
            let len = (n - i).min(C::BYTES);
            let mut x = C::load_bytes(x.add(i), len);
            let mut codes = C::look_up(low[0], x);
            let mut x_high = C::xor(x, bit);
            codes = C::xor(codes, C::look_up(high[0], x_high));
            each!(P in PARTS, {
                if P != 0 {
                    x = C::sub_bytes(x, step);
                    codes = C::xor(codes, C::look_up(low[P], x));
                    x_high = C::sub_bytes(x_high, step);
                    codes = C::xor(codes, C::look_up(high[P], x_high));
                }
            });
            C::store_bytes(codes, y.add(i), len);
            i += len;
        }
    }
}

/// As [`look_up`] does it, for sixteen codes, in registers that are no longer.
#[inline(always)]
pub(super) unsafe fn look_up16(table: *const u8, x: *const u8, y: *mut u8) {
    // SAFETY: as the caller promises, for sixteen codes.
    unsafe {
        let part = |p: usize| _mm_loadu_si128(table.add(p * PART).cast());
        let mut low = _mm_loadu_si128(x.cast());
        let mut high = _mm_xor_si128(low, _mm_set1_epi8(i8::MIN));
        let step = _mm_set1_epi8(16);
        let mut codes = [
            _mm_shuffle_epi8(part(0), low),
            _mm_shuffle_epi8(part(PARTS), high),
        ];
        each!(P in PARTS, {
            if P != 0 {
                (low, high) = (_mm_subs_epi8(low, step), _mm_subs_epi8(high, step));
                let differs = |p: usize| _mm_xor_si128(part(p), part(p - 1));
                codes = [
                    _mm_xor_si128(codes[0], _mm_shuffle_epi8(differs(P), low)),
                    _mm_xor_si128(codes[1], _mm_shuffle_epi8(differs(PARTS + P), high)),
                ];
            }
        });
        _mm_storeu_si128(y.cast(), _mm_xor_si128(codes[0], codes[1]));
    }
}

#[inline(always)]
unsafe fn lut<C: Codes>(a: &MapI8) {
    let mut i = 0;
    // SAFETY: both tensors have `n` bytes, the table has 256.
    unsafe {
        if a.n >= C::BYTES {
            look_up::<C>(a.table, a.x, a.y, a.n);
            return;
        }
        while i < a.n {
            *a.y.add(i) = *a.table.add(usize::from(*a.x.add(i)));
            i += 1;
        }
    }
}

/// Gives `$y` of each `$x` of `a` and `$z` of `b`.
macro_rules! pairs {
    ($codes:ty, $a:ident, |$x:ident, $z:ident| $y:expr) => {
        let (mut i, mut j) = (0, 0);
        // One code goes with all, and is not loaded again.
        let single = $a.repeat == 1;
        let same = <$codes>::splat((*$a.b).into());
        while i < $a.n {
            let mut len = ($a.n - i).min(CODES);
            let mut $z = same;
            if !single {
                len = len.min($a.repeat - j);
                $z = <$codes>::load($a.b.add(j), len);
                j += len;
                if j == $a.repeat {
                    j = 0;
                }
            }
            let $x = <$codes>::load($a.a.add(i), len);
            <$codes>::store($y, $a.y.add(i), len);
            i += len;
        }
    };
}

/// An operand of a sum.
#[derive(Clone, Copy)]
struct Operand<V> {
    zero: V,
    product: Product<V>,
}

impl<V: Copy> Operand<V> {
    #[inline(always)]
    unsafe fn new<C: Codes<V = V>>(zero: i32, factor: Factor) -> Self {
        // SAFETY: as the caller promises.
        unsafe {
            Self {
                zero: C::splat(zero),
                product: Product::new::<C>(factor),
            }
        }
    }

    /// On the common scale.
    #[inline(always)]
    unsafe fn apply<C: Codes<V = V>>(&self, x: V) -> V {
        // SAFETY: as the caller promises.
        unsafe {
            let x = C::left(C::sub(x, self.zero), C::splat(HEADROOM));
            self.product.apply::<C>(x)
        }
    }
}

#[inline(always)]
unsafe fn add<C: Codes>(a: &PairI8) {
    // SAFETY: `a` and `y` have `n` codes, `b` has `repeat`.
    unsafe {
        let left = Operand::new::<C>(a.a_zero, a.a_factor);
        let right = Operand::new::<C>(a.b_zero, a.b_factor);
        let sign = C::splat(if a.subtract == 0 { 1 } else { -1 });
        let code = Code::new::<C>(a.y_factor, a.zero, a.min, a.max);
        pairs!(C, a, |x, z| {
            let z = C::sign(right.apply::<C>(z), sign);
            code.apply::<C>(C::add(left.apply::<C>(x), z))
        });
    }
}

#[inline(always)]
unsafe fn mul<C: Codes>(a: &PairI8) {
    // SAFETY: as in `add`.
    unsafe {
        let (a_zero, b_zero) = (C::splat(a.a_zero), C::splat(a.b_zero));
        let code = Code::new::<C>(a.y_factor, a.zero, a.min, a.max);
        pairs!(C, a, |x, z| {
            code.apply::<C>(C::mul(C::sub(x, a_zero), C::sub(z, b_zero)))
        });
    }
}

entries! {
    /// From codes to biased codes and back.
    flip(FlipI8) = neural_flip_i8_avx2, neural_flip_i8_avx512
}
entries! {
    /// Looks up codes in a table.
    lut(MapI8) = neural_lut_i8_avx2, neural_lut_i8_avx512
}
entries! {
    /// Sum or difference.
    add(PairI8) = neural_add_i8_avx2, neural_add_i8_avx512
}
entries! {
    /// Product, element by element.
    mul(PairI8) = neural_mul_i8_avx2, neural_mul_i8_avx512
}
