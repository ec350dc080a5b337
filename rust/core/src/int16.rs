// SPDX-License-Identifier: GPL-2.0

//! Layers of 16-bit codes: small networks whose decisions need finer steps than 8 bits have, in any
//! context.
//!
//! A code `q` stands for `scale * q`: zero is 0, for activations and for weights. Sums are exact in 64
//! bits, and each becomes a result by one multiplication and one rounding, to the nearest, halves
//! upwards. Weights are -32767 to 32767, so that two products and their sum fit into 32 bits.

use crate::fixed::{self, load, saturate};
use crate::int8::Multiplier;

/// Bytes of an element.
pub const ELEMENT_BYTES: usize = 2;

/// Bytes of a bias, an `i64`.
pub const BIAS_BYTES: usize = 8;

/// A dense layer of one sample, or some of its rows.
#[derive(Debug)]
pub struct Dense<'a> {
    /// Weights, `k` of each row, `i16`.
    pub w: &'a [u8],
    /// Biases, `i64`, one for each row.
    pub bias: &'a [u8],
    /// Multipliers, `i32`, one for each row.
    pub mult: &'a [u8],
    /// Shifts, `i32`, one for each row.
    pub shift: &'a [u8],
    /// Input, `k` elements.
    pub x: &'a [u8],
    /// Elements of the input, at least one.
    pub k: usize,
    /// Results, `i32`, one for each row.
    pub y: &'a mut [u8],
}

/// The elements of a byte slice.
pub fn elements(bytes: &[u8]) -> impl ExactSizeIterator<Item = i16> + Clone + '_ {
    let element = |bytes: &[u8]| bytes.first_chunk().map_or(0, |&b| i16::from_le_bytes(b));
    bytes.chunks_exact(ELEMENT_BYTES).map(element)
}

/// `x * 2^-shift`, to the nearest, halves upwards.
#[inline]
const fn round(x: i128, shift: u32) -> i128 {
    match shift {
        0 => x,
        // No overflow: far from 128 bits.
        _ => x.wrapping_add(1 << shift.wrapping_sub(1)) >> shift,
    }
}

/// Saturates to 64 bits.
#[inline]
const fn narrow(x: i128) -> i64 {
    if x > i64::MAX as i128 {
        i64::MAX
    } else if x < i64::MIN as i128 {
        i64::MIN
    } else {
        // CAST: in range by the two comparisons above.
        x as i64
    }
}

/// The product of a sum and a factor: exact, then rounded once, to the nearest, halves upwards;
/// saturates. Shifts below -31 and above 31 count as these.
#[inline]
pub const fn scaled(sum: i64, factor: Multiplier) -> i32 {
    let shift = factor.shift.wrapping_add(31);
    let shift = if shift < 0 {
        0
    } else if shift > 62 {
        62
    } else {
        // CAST: 0..=62.
        shift as u32
    };
    let product = (sum as i128).wrapping_mul(factor.mult as i128);
    saturate(narrow(round(product, shift)))
}

/// A code, saturated.
#[inline]
pub const fn code(x: i32) -> i16 {
    if x > i16::MAX as i32 {
        i16::MAX
    } else if x < i16::MIN as i32 {
        i16::MIN
    } else {
        // CAST: in range by the two comparisons above.
        x as i16
    }
}

/// `y[r] = scaled(bias[r] + sum over i: x[i] w[r, i])`.
pub fn dense(layer: Dense<'_>) {
    let row_bytes = layer.k.saturating_mul(ELEMENT_BYTES).max(1);
    let rows = layer.w.chunks_exact(row_bytes);
    let biases = layer.bias.chunks_exact(BIAS_BYTES);
    let factors = fixed::elements(layer.mult).zip(fixed::elements(layer.shift));
    let results = layer.y.chunks_exact_mut(fixed::ELEMENT_BYTES);
    for (((y, w), bias), (mult, shift)) in results.zip(rows).zip(biases).zip(factors) {
        let bias = bias.first_chunk().map_or(0, |&b| i64::from_le_bytes(b));
        let sum = bias.wrapping_add(dot(w, layer.x));
        fixed::store(y, scaled(sum, Multiplier { mult, shift }));
    }
}

/// The exact sum of products; weights are at least -32767.
#[inline]
fn dot(w: &[u8], x: &[u8]) -> i64 {
    let pair = |bytes: &[u8]| {
        let word = load(bytes);
        // CAST: the lower half.
        (i32::from(word as i16), word >> 16)
    };
    let (pairs, last) = w.split_at_checked(w.len() & !3).unwrap_or((w, &[]));
    // Two products at a time have 32 bits.
    let sum = pairs
        .chunks_exact(4)
        .zip(x.chunks_exact(4))
        .fold(0i64, |sum, (w, x)| {
            let ((w0, w1), (x0, x1)) = (pair(w), pair(x));
            let two = w0.wrapping_mul(x0).wrapping_add(w1.wrapping_mul(x1));
            sum.wrapping_add(i64::from(two))
        });
    let x = x.get(pairs.len()..).unwrap_or(&[]);
    let rest = elements(last).zip(elements(x));
    rest.fold(sum, |sum, (w, x)| {
        sum.wrapping_add(i64::from(w).wrapping_mul(i64::from(x)))
    })
}

/// The first row whose weights are out of range or whose sum could leave 48 bits: `2^15 sum |w| + |b|`
/// must be less than `2^47`.
pub fn unsafe_row(weights: &[u8], k: usize, bias: &[u8]) -> Option<usize> {
    let rows = weights.chunks_exact(k.saturating_mul(ELEMENT_BYTES).max(1));
    rows.zip(bias.chunks_exact(BIAS_BYTES))
        .position(|(row, bias)| {
            let bias = bias.first_chunk().map_or(0, |&b| i64::from_le_bytes(b));
            let l1 = elements(row).fold(0u64, |sum, w| {
                sum.saturating_add(u64::from(w.unsigned_abs()))
            });
            let most = l1
                .saturating_mul(1 << 15)
                .saturating_add(bias.unsigned_abs());
            most >= 1 << 47 || elements(row).any(|w| w == i16::MIN)
        })
}

/// What is done with two elements.
#[derive(Copy, Clone, Debug)]
pub enum Pair {
    /// `(a * a_mult + b * b_mult) / 2^shift`.
    Sum {
        /// Factors.
        mult: [i32; 2],
        /// 0 to 62.
        shift: u32,
    },
    /// `a * b`, scaled.
    Product(Multiplier),
}

/// Two tensors with equally many elements, one by one: exact, rounded once, saturated.
pub fn pair(pair: Pair, a: &[u8], b: &[u8], y: &mut [u8]) {
    let both = elements(a).zip(elements(b));
    for (y, (a, b)) in y.chunks_exact_mut(ELEMENT_BYTES).zip(both) {
        let (a, b) = (i64::from(a), i64::from(b));
        let result = match pair {
            Pair::Sum { mult, shift } => {
                let [p, q] = mult.map(i64::from);
                // No overflow: 47 bits.
                let sum = a.wrapping_mul(p).wrapping_add(b.wrapping_mul(q));
                saturate(narrow(round(sum.into(), shift)))
            }
            Pair::Product(factor) => scaled(a.wrapping_mul(b), factor),
        };
        y.copy_from_slice(&code(result).to_le_bytes());
    }
}
