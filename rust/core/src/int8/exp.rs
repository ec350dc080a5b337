// SPDX-License-Identifier: GPL-2.0

//! The exponential function and what rests on it, in 32-bit fixed point.
//!
//! `Qa.b` has `a` integer bits, `b` fraction bits and a sign. Products are rounded at every step as
//! models expect it, so the order of operations is part of the specification, and the errors of each
//! step (up to 2^-21 of 1) are, too.

use super::requant::{high_product, rounding_shift};

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

/// `x 2^bits`, saturating.
const fn saturating_left(x: i32, bits: u32) -> i32 {
    // No overflow: bits is at most 6.
    crate::fixed::saturate((x as i64) << bits)
}

/// `exp(x)` as Q0.31 for `x <= 0`, which has `integer_bits` (up to 6) integer bits.
///
/// `x = -(n / 4 + r)` with a whole `n` and `0 < r <= 1/4`; `exp(-r)` is a polynomial of the fourth
/// degree about -1/8, and each bit of `n` gives a factor.
pub(super) fn exp(x: i32, integer_bits: u32) -> i32 {
    if x >= 0 {
        return i32::MAX;
    }
    let fraction_bits = 31u32.wrapping_sub(integer_bits);
    let quarter = 1i32.wrapping_shl(fraction_bits.wrapping_sub(2));
    let rest = (x & quarter.wrapping_sub(1)).wrapping_sub(quarter);
    let t = saturating_left(rest, integer_bits).wrapping_add(1 << 28);
    let t2 = high_product(t, t);
    let t3 = high_product(t2, t);
    let t4 = high_product(t2, t2);
    // t^2 / 2 + t^3 / 6 + t^4 / 24
    let cubic = rounding_shift(t4, 2).wrapping_add(t3);
    let tail = rounding_shift(high_product(cubic, THIRD).wrapping_add(t2), 1);
    let first = EXP_EIGHTH.wrapping_add(high_product(EXP_EIGHTH, t.wrapping_add(tail)));
    let quarters = rest
        .wrapping_sub(x)
        .wrapping_shr(fraction_bits.wrapping_sub(2));
    let mut result = first;
    for (bit, power) in (0..integer_bits.wrapping_add(2)).zip(POWERS) {
        if quarters.wrapping_shr(bit) & 1 == 1 {
            result = high_product(result, power);
        }
    }
    result
}

/// `1 / h` as Q2.29 for `h = (1 + x) / 2`, `x` as Q0.31 from 0 to 1; `h` comes with it.
///
/// Newton's method from the line `48/17 - 32/17 h`, the best for `h` between 1/2 and 1.
fn reciprocal_of_half(x: i32) -> i32 {
    // (x + 1) / 2, halves upwards.
    let half = (i64::from(x)
        .wrapping_add(i64::from(i32::MAX))
        .wrapping_add(1)
        >> 1) as i32;
    let mut y = START.wrapping_add(high_product(half, SLOPE));
    for _ in 0..3 {
        let error = (1i32 << 29).wrapping_sub(high_product(half, y));
        y = y.wrapping_add(saturating_left(high_product(y, error), 2));
    }
    y
}

/// `1 / (1 + x)` as Q0.31 for `x` as Q0.31 from 0 to 1.
pub(super) fn reciprocal(x: i32) -> i32 {
    saturating_left(reciprocal_of_half(x), 1)
}

/// `1 / (1 + exp(-x))` as Q0.31 for `x` as Q4.27.
pub(super) fn logistic(x: i32) -> i32 {
    if x == 0 {
        return 1 << 30;
    }
    let positive = reciprocal(exp(0i32.wrapping_sub(x.wrapping_abs()), 4));
    if x > 0 {
        positive
    } else {
        i32::MAX.wrapping_sub(positive)
    }
}

/// `tanh(x)` as Q0.31 for `x` as Q4.27: `(1 - e) / (1 + e)` with `e = exp(-2 |x|)`.
pub(super) fn tanh(x: i32) -> i32 {
    if x == 0 {
        return 0;
    }
    // The same bits with one more integer bit are the doubled number.
    let e = exp(0i32.wrapping_sub(x.wrapping_abs()), 5);
    let positive = saturating_left(reciprocal_of_half(e).wrapping_sub(1 << 29), 2);
    if x > 0 {
        positive
    } else {
        0i32.wrapping_sub(positive)
    }
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

    #[test]
    fn errors_are_below_2_to_the_minus_21() {
        for i in 0..100_000 {
            let x = i32::MIN / 100_000 * i;
            let real = f64::from(x) / 2f64.powi(26);
            let error = f64::from(exp(x, 5)) / 2f64.powi(31) - real.exp();
            assert!(error.abs() < 2f64.powi(-21), "{x}: {error}");
        }
    }
}
