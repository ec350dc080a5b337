// SPDX-License-Identifier: GPL-2.0

//! Sums, differences, products and means of biased codes.

use super::requant::{code, multiply, Multiplier};
use super::{Add, Mean, Mul, LANES};

/// Bits by which the operands of a sum are shifted to the left before they are brought to one scale.
const HEADROOM: u32 = 20;

/// `((code - zero) << 20)` on the common scale of a sum.
fn operand(x: u8, scale: (i32, Multiplier)) -> i32 {
    let (zero, multiplier) = scale;
    let x = i32::from(x).wrapping_sub(zero);
    multiply(x.wrapping_shl(HEADROOM), multiplier)
}

/// See [`Add`].
pub fn add(args: Add<'_>) {
    let Add {
        a,
        b,
        y,
        a_scale,
        b_scale,
        subtract,
        y_scale: (zero, multiplier),
        min,
        max,
    } = args;
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b.iter().cycle()) {
        let (a, b) = (operand(a, a_scale), operand(b, b_scale));
        let sum = if subtract {
            a.wrapping_sub(b)
        } else {
            a.wrapping_add(b)
        };
        *y = code(sum, multiplier, zero, min, max);
    }
}

/// See [`Mul`].
pub fn mul(args: Mul<'_>) {
    let Mul {
        a,
        b,
        y,
        a_zero,
        b_zero,
        y_scale: (zero, multiplier),
        min,
        max,
    } = args;
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b.iter().cycle()) {
        let a = i32::from(a).wrapping_sub(a_zero);
        let b = i32::from(b).wrapping_sub(b_zero);
        *y = code(a.wrapping_mul(b), multiplier, zero, min, max);
    }
}

/// See [`Mean`].
pub fn mean(args: Mean<'_>) {
    let Mean {
        x,
        y,
        rows,
        channels,
        x_zero,
        y_scale: (zero, multiplier),
    } = args;
    // By rows of some channels: each code of a column lies in another cache line.
    let y = y.get_mut(..channels).unwrap_or_default();
    for (y, first) in y.chunks_mut(LANES).zip((0..channels).step_by(LANES)) {
        let mut sums = [0i32; LANES];
        for row in x.chunks_exact(channels.max(1)).take(rows) {
            for (sum, &x) in sums.iter_mut().zip(row.get(first..).unwrap_or_default()) {
                *sum = sum.wrapping_add(i32::from(x)).wrapping_sub(x_zero);
            }
        }
        for (y, sum) in y.iter_mut().zip(sums) {
            *y = code(sum, multiplier, zero, 0, 255);
        }
    }
}
