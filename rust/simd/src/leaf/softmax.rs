// SPDX-License-Identifier: GPL-2.0

//! Softmax of 8-bit integers: the exponential function in fixed point, as `int8::exp` and
//! `int8::softmax` of the specification have it.

use crate::args::SoftmaxI8;

use super::codes::{Codes, Product, Shift, CODES};

/// Integer bits of the scaled differences to the maximum.
const INPUT_BITS: i32 = 5;
/// A quarter of 1 as such a difference: so many bits.
const QUARTER_BITS: u32 = 24;
/// Integer bits of the sum of the exponentials.
const SUM_BITS: u32 = 12;

/// `round(exp(-1/8) 2^31)`.
const EXP_EIGHTH: i32 = 1_895_147_668;
/// `round(2^31 / 3)`.
const THIRD: i32 = 715_827_883;
/// `round(exp(-2^j) 2^31)` for `j` from -2 to 4.
const POWERS: [i32; 7] = [
    1_672_461_947,
    1_302_514_674,
    790_015_084,
    290_630_308,
    39_332_535,
    720_401,
    242,
];
/// `round(48/17 2^29)` and `round(-32/17 2^29)`.
const START: i32 = 1_515_870_810;
const SLOPE: i32 = -1_010_580_540;

/// `round(a b / 2^31)`, halves upwards; not for two factors of -2^31.
#[inline(always)]
fn high_product(a: i32, b: i32) -> i32 {
    // CAST: less than 2^31.
    ((i64::from(a) * i64::from(b) + (1 << 30)) >> 31) as i32
}

/// `1 / (1 + x)` as Q0.31 for `x` as Q0.31 from 0 to 1.
#[inline(always)]
fn reciprocal(x: i32) -> i32 {
    // CAST: at most 2^31 - 1.
    let half = ((i64::from(x) + (1 << 31)) >> 1) as i32;
    let mut y = START + high_product(half, SLOPE);
    each!(_I in 3, {
        let error = (1 << 29) - high_product(half, y);
        // The error is at most 1/17, so nothing overflows.
        y += high_product(y, error) << 2;
    });
    y.saturating_mul(2)
}

/// `exp(x)` as Q0.31 for `x <= 0` as Q5.26; the greatest number for others.
#[inline(always)]
unsafe fn exp<C: Codes>(x: C::V, one: Shift<C::V>, two: Shift<C::V>) -> C::V {
    // SAFETY: as the caller promises.
    unsafe {
        let quarter = C::splat(1 << QUARTER_BITS);
        let rest = C::sub(C::and(x, C::splat((1 << QUARTER_BITS) - 1)), quarter);
        let t = C::add(C::left(rest, C::splat(INPUT_BITS)), C::splat(1 << 28));
        let t2 = C::high_product(t, t);
        let t3 = C::high_product(t2, t);
        let t4 = C::high_product(t2, t2);
        let cubic = C::add(two.apply::<C>(t4), t3);
        let tail = C::add(C::high_product(cubic, C::splat(THIRD)), t2);
        let tail = one.apply::<C>(tail);
        let eighth = C::splat(EXP_EIGHTH);
        let mut result = C::add(eighth, C::high_product(eighth, C::add(t, tail)));
        // A multiple of a quarter: a bit for each power.
        let quarters = C::sub(rest, x);
        let zero = C::splat(0);
        for (power, bit) in POWERS.into_iter().zip(QUARTER_BITS..) {
            let power = C::high_product(result, C::splat(power));
            let bit = C::and(quarters, C::splat(1 << bit));
            result = C::if_less(zero, bit, power, result);
        }
        C::if_less(x, zero, result, C::splat(i32::MAX))
    }
}

/// What the exponentials of a row need.
#[derive(Clone, Copy)]
struct Row<V> {
    x: *const u8,
    top: V,
    beta: Product<V>,
    diff_min: V,
    one: Shift<V>,
    two: Shift<V>,
}

impl<V: Copy> Row<V> {
    /// The exponentials from code `i` on, of which `len` are meant.
    #[inline(always)]
    unsafe fn power<C: Codes<V = V>>(&self, i: usize, len: usize) -> V {
        // SAFETY: as the caller promises.
        unsafe {
            let diff = C::sub(C::load(self.x.add(i), len), self.top);
            let e = exp::<C>(self.beta.apply::<C>(diff), self.one, self.two);
            C::if_less(diff, self.diff_min, C::splat(0), e)
        }
    }
}

/// The greatest of `n` codes.
#[inline(always)]
unsafe fn top<C: Codes>(x: *const u8, n: usize) -> i32 {
    let mut i = 0;
    // SAFETY: the caller may read `n` codes.
    unsafe {
        let mut top = C::bytes(0);
        while i < n {
            let len = (n - i).min(C::BYTES);
            top = C::max_bytes(top, C::load_bytes(x.add(i), len));
            i += len;
        }
        C::top(top).into()
    }
}

#[inline(always)]
unsafe fn softmax<C: Codes>(a: &SoftmaxI8) {
    // SAFETY: both tensors have `rows` rows of `n` codes.
    unsafe {
        let beta = Product::new::<C>(a.beta);
        let (one, two) = (Shift::new::<C>(1), Shift::new::<C>(2));
        let to_sum = Shift::new::<C>(SUM_BITS);
        let (most, diff_min) = (C::splat(255), C::splat(a.diff_min));
        for row in 0..a.rows {
            let (x, y) = (a.x.add(row * a.n), a.y.add(row * a.n));
            let row = Row {
                x,
                top: C::splat(top::<C>(x, a.n)),
                beta,
                diff_min,
                one,
                two,
            };
            let mut sum = C::splat(0);
            let mut i = 0;
            while i < a.n {
                let len = (a.n - i).min(CODES);
                let part = to_sum.apply::<C>(row.power::<C>(i, len));
                sum = C::add(sum, C::head(part, len));
                i += len;
            }

            // The greatest code alone gives 2^19.
            let sum = C::sum(sum);
            let zeros = sum.leading_zeros();
            // CAST: the fraction without its leading 1, which stands in the sign bit.
            let rest = (sum << (zeros & 31)) as i32 ^ i32::MIN;
            let bits = SUM_BITS + 31 - 8 - zeros;
            // Behind 31 bits every share is less than half a code.
            let scale = C::splat(if bits > 31 { 0 } else { reciprocal(rest) });
            let to_code = Shift::new::<C>(bits.min(31));
            let mut i = 0;
            while i < a.n {
                let len = (a.n - i).min(CODES);
                let share = C::high_product(scale, row.power::<C>(i, len));
                C::store(C::min(to_code.apply::<C>(share), most), y.add(i), len);
                i += len;
            }
        }
    }
}

entries! {
    /// Softmax.
    softmax(SoftmaxI8) = neural_softmax_i8_avx2, neural_softmax_i8_avx512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_what_their_formulas_say() {
        let q31 = |x: f64| (x * 2f64.powi(31)).round();
        assert_eq!(f64::from(EXP_EIGHTH), q31((-0.125f64).exp()));
        assert_eq!(f64::from(THIRD), q31(1.0 / 3.0));
        assert_eq!(f64::from(START), q31(48.0 / 17.0 / 4.0));
        assert_eq!(f64::from(SLOPE), q31(-32.0 / 17.0 / 4.0));
        for (j, power) in (-2..).zip(POWERS) {
            assert_eq!(f64::from(power), q31((-2f64.powi(j)).exp()), "{j}");
        }
    }
}
