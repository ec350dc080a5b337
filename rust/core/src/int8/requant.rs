// SPDX-License-Identifier: GPL-2.0

//! From sums to codes: the product with a fixed-point multiplier, rounded twice.
//!
//! Rounding twice (once to 31 fraction bits, once in the shift) is not the nearest code in about one of
//! `2^(shift + 1)` cases. It is what the models are trained and checked against, so it is kept.

/// A real factor: `mult / 2^31 / 2^shift`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Multiplier {
    /// Q0.31: 0 or 2^30..2^31; of means from 2^29 on.
    pub mult: i32,
    /// Bits to the right, -31..=31; negative ones shift to the left, before the multiplication.
    pub shift: i32,
}

/// `round(a b / 2^31)`, halves upwards; saturates, which only the square of -2^31 needs.
#[inline]
pub(super) const fn high_product(a: i32, b: i32) -> i32 {
    // No overflow: |a b| <= 2^62.
    let wide = ((a as i64).wrapping_mul(b as i64)).wrapping_add(1 << 30) >> 31;
    crate::fixed::saturate(wide)
}

/// `round(x / 2^bits)`, halves away from zero; 31 stands for every number of bits above it.
#[inline]
pub const fn rounding_shift(x: i32, bits: u32) -> i32 {
    let bits = if bits > 31 { 31 } else { bits };
    // No overflow: 2^31 - 1 at most.
    let mask = ((1u32 << bits).wrapping_sub(1)) as i32;
    let half = (mask >> 1).wrapping_add((x < 0) as i32);
    // No overflow: if bits is 0 nothing is added, otherwise |x >> bits| <= 2^30.
    (x >> bits).wrapping_add((x & mask > half) as i32)
}

/// The product of a sum and a factor: shifted to the left first (what leaves 32 bits is lost), then
/// multiplied and rounded to an integer with halves upwards, then shifted to the right and rounded with
/// halves away from zero.
#[inline]
pub const fn multiply(acc: i32, m: Multiplier) -> i32 {
    let (left, right) = if m.shift < 0 {
        (m.shift.unsigned_abs(), 0)
    } else {
        (0, m.shift.unsigned_abs())
    };
    rounding_shift(high_product(acc.wrapping_shl(left), m.mult), right)
}

/// `multiply(acc)` plus a zero point, limited to `min..=max`: a biased code.
#[inline]
pub(super) fn code(acc: i32, m: Multiplier, zero: i32, min: i32, max: i32) -> u8 {
    let code = multiply(acc, m).saturating_add(zero);
    // CAST: limits are codes; the last clamp is for those that are not.
    code.min(max).max(min).clamp(0, 255) as u8
}

/// Clamps to the range of `i16`.
#[inline]
pub(super) const fn saturate16(x: i32) -> i16 {
    if x > i16::MAX as i32 {
        i16::MAX
    } else if x < i16::MIN as i32 {
        i16::MIN
    } else {
        // CAST: in range by the two comparisons above.
        x as i16
    }
}
