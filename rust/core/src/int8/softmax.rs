// SPDX-License-Identifier: GPL-2.0

//! Softmax of biased codes.

use super::exp::{exp, reciprocal};
use super::requant::{high_product, multiply, rounding_shift};
use super::Softmax;

/// Integer bits of the scaled differences to the maximum.
const INPUT_BITS: u32 = 5;

/// Integer bits of the sum of the exponentials: rows of up to 8191 elements do not overflow.
const SUM_BITS: u32 = 12;

/// See [`Softmax`].
pub fn softmax(args: Softmax<'_>) {
    let Softmax {
        x,
        y,
        n,
        beta,
        diff_min,
    } = args;
    if n == 0 {
        return;
    }
    // What counts as 0 gives none.
    let power = |code: u8, max: u8| {
        let diff = i32::from(code).wrapping_sub(i32::from(max));
        (diff >= diff_min).then(|| exp(multiply(diff, beta), INPUT_BITS))
    };
    for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
        let max = x.iter().fold(0, |max, &code| code.max(max));
        let sum = x
            .iter()
            .filter_map(|&code| power(code, max))
            // CAST: not negative.
            .fold(0u32, |sum, e| {
                sum.wrapping_add(rounding_shift(e, SUM_BITS) as u32)
            });
        // The sum is 2^bits (1 + rest) with 0 <= rest < 1; it is at least 1.
        let zeros = sum.leading_zeros();
        // CAST: the fraction without its leading 1, which stands in the sign bit.
        let rest = sum.wrapping_shl(zeros) as i32 ^ i32::MIN;
        let scale = reciprocal(rest);
        let bits = (SUM_BITS + 31 - 8).saturating_sub(zeros);
        for (&code, y) in x.iter().zip(y) {
            let share = match power(code, max) {
                // Behind 31 bits every share is less than half a code; TensorFlow Lite Micro ends the
                // program there.
                Some(e) if bits <= 31 => rounding_shift(high_product(scale, e), bits),
                _ => 0,
            };
            // CAST: clamped.
            *y = share.clamp(0, 255) as u8;
        }
    }
}
