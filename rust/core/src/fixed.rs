// SPDX-License-Identifier: GPL-2.0

//! Q16.16 numbers: an `i32` that counts 2^-16ths.
//!
//! The kernel has no floating point in most contexts; this is the arithmetic that every context
//! has. Products are 64 bits wide, results are rounded to nearest (halves upwards) and saturate.

/// Fraction bits of a Q16.16 number.
pub const FRAC_BITS: u32 = 16;

/// 1.0 in Q16.16.
pub const ONE: i32 = 1 << FRAC_BITS;

/// Bytes of one Q16.16 element.
pub const ELEMENT_BYTES: usize = 4;

/// Rounds a sum of Q16.16 products (which is Q32.32) to Q16.16: nearest, halves upwards, saturating.
///
/// That is `floor(acc / 2^16 + 1/2)`, written so that no input overflows: the bit below the result
/// decides whether to round up.
#[inline]
pub const fn round_acc(acc: i64) -> i32 {
    saturate((acc >> FRAC_BITS).wrapping_add((acc >> (FRAC_BITS - 1)) & 1))
}

/// Clamps to the range of `i32`.
#[inline]
pub const fn saturate(x: i64) -> i32 {
    if x > i32::MAX as i64 {
        i32::MAX
    } else if x < i32::MIN as i64 {
        i32::MIN
    } else {
        // CAST: in range by the two comparisons above.
        x as i32
    }
}

/// The product of two Q16.16 numbers: rounded to nearest (halves upwards), saturating.
#[inline]
pub const fn mul(a: i32, b: i32) -> i32 {
    // No overflow: |a * b| <= 2^62.
    round_acc((a as i64).wrapping_mul(b as i64))
}

/// An integer as Q16.16, saturating outside -32768..=32767.
#[inline]
pub const fn from_int(i: i32) -> i32 {
    saturate((i as i64) << FRAC_BITS)
}

/// The elements of a byte slice; up to three bytes at its end that make no element are left out.
#[inline]
pub fn elements(bytes: &[u8]) -> impl ExactSizeIterator<Item = i32> + Clone + '_ {
    bytes.chunks_exact(ELEMENT_BYTES).map(load)
}

/// The element in a chunk of four bytes (shorter ones read as 0, which does not happen here).
#[inline]
pub(crate) fn load(chunk: &[u8]) -> i32 {
    match chunk {
        &[a, b, c, d] => i32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// Replaces each element `x` of `bytes` by `f(x)`.
#[inline]
pub(crate) fn map_elements(bytes: &mut [u8], mut f: impl FnMut(i32) -> i32) {
    for chunk in bytes.chunks_exact_mut(ELEMENT_BYTES) {
        let y = f(load(chunk));
        store(chunk, y);
    }
}

/// Writes an element into a chunk of four bytes (others are left alone, which does not happen here).
#[inline]
pub(crate) fn store(chunk: &mut [u8], x: i32) {
    if let [a, b, c, d] = chunk {
        [*a, *b, *c, *d] = x.to_le_bytes();
    }
}
