// SPDX-License-Identifier: GPL-2.0

//! Functions of one code, as tables: from biased codes to biased codes.
//!
//! The tables are made when a model is loaded. Scales come as the biased zero point and a factor.

use super::exp;
use super::requant::{code, multiply, rounding_shift, saturate16, Multiplier};
use super::BIAS;

/// A table: the biased code for each biased code.
pub type Table = [u8; 256];

/// Looks up each element of `x`.
pub fn apply(table: &Table, x: &[u8], y: &mut [u8]) {
    for (y, &x) in y.iter_mut().zip(x) {
        // There are as many entries as codes.
        *y = table.get(usize::from(x)).map_or(0, |&code| code);
    }
}

/// Fills a table with `f(code - zero)`.
fn fill(zero: i32, out: &mut Table, f: impl Fn(i32) -> u8) {
    for (x, to) in (0i32..).zip(out) {
        *to = f(x.wrapping_sub(zero));
    }
}

/// The limits of a function that `radius` codes from zero has come to its limits.
fn saturating(x: i32, radius: i32, f: impl Fn(i32) -> i32) -> u8 {
    if x <= radius.wrapping_neg() {
        0
    } else if x >= radius {
        255
    } else {
        // CAST: clamped.
        f(x).clamp(0, 255) as u8
    }
}

/// `1 / (1 + exp(-x))`; the result has the scale 2^-8 and the zero point -128.
///
/// The factor makes Q4.27 of codes; `radius` is the number of codes from zero where the result is at
/// its limits, 15 divided by the power of two of the factor.
pub fn logistic(x_scale: (i32, Multiplier), radius: i32, out: &mut Table) {
    let (zero, multiplier) = x_scale;
    fill(zero, out, |x| {
        saturating(x, radius, |x| {
            rounding_shift(exp::logistic(multiply(x, multiplier)), 31 - 8)
        })
    });
}

/// `tanh(x)`; the result has the scale 2^-7 and the zero point 0. Arguments as for [`logistic`].
pub fn tanh(x_scale: (i32, Multiplier), radius: i32, out: &mut Table) {
    let (zero, multiplier) = x_scale;
    fill(zero, out, |x| {
        saturating(x, radius, |x| {
            rounding_shift(exp::tanh(multiply(x, multiplier)), 31 - 7).wrapping_add(BIAS)
        })
    });
}

/// The same number on another scale, limited to `min..=max` (biased): also ReLU and its kin.
pub fn requantize(
    x_zero: i32,
    y_scale: (i32, Multiplier),
    (min, max): (i32, i32),
    out: &mut Table,
) {
    let (zero, multiplier) = y_scale;
    fill(x_zero, out, |x| code(x, multiplier, zero, min, max));
}

/// `x` for `x >= 0`, else `slope x`; the factors are those of the two branches.
pub fn leaky_relu(
    x_zero: i32,
    y_zero: i32,
    positive: Multiplier,
    negative: Multiplier,
    out: &mut Table,
) {
    fill(x_zero, out, |x| {
        let multiplier = if x >= 0 { positive } else { negative };
        code(x, multiplier, y_zero, 0, 255)
    });
}

/// `round(a b / 2^15)`, halves upwards; saturates.
fn high_product16(a: i32, b: i32) -> i32 {
    saturate16(a.wrapping_mul(b).wrapping_add(1 << 14) >> 15).into()
}

/// `x min(max(x + 3, 0), 6) / 6`.
///
/// `output` is the scale of the input divided by 2^7 and by the scale of the output, `gate` the scale
/// of the input divided by 2^7 and by 3 / 2^15; both multipliers are used with 15 bits, and `output`
/// must not shift to the left.
pub fn hard_swish(x_zero: i32, y_zero: i32, output: Multiplier, gate: Multiplier, out: &mut Table) {
    let narrow = |mult: i32| i32::from(saturate16(mult.saturating_add(1 << 15) >> 16));
    let left = |x: i32, bits: u32| {
        i32::from(saturate16(crate::fixed::saturate(
            i64::from(x) << bits.min(16),
        )))
    };
    fill(x_zero, out, |x| {
        let fine = x.wrapping_mul(1 << 7);
        let product = high_product16(fine, narrow(output.mult));
        // (x + 3) / 6 of the range -1..1, which saturates.
        let share = if gate.shift < 0 {
            let bits = gate.shift.unsigned_abs();
            let x = high_product16(left(fine, bits.wrapping_sub(1)), narrow(gate.mult));
            left(x, 1)
        } else {
            let x = high_product16(fine, narrow(gate.mult));
            rounding_shift(x, gate.shift.unsigned_abs())
        };
        let share = share.wrapping_add(1 << 15) >> 1;
        // Towards zero, unlike every other product.
        let y = share.wrapping_mul(product) / (1 << 15);
        let y = rounding_shift(y, output.shift.unsigned_abs()).wrapping_add(y_zero);
        // CAST: clamped.
        y.clamp(0, 255) as u8
    });
}
