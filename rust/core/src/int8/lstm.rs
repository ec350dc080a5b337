// SPDX-License-Identifier: GPL-2.0

//! A step of a recurrent layer with long short-term memory: codes of 8 bits outside, gates and cells of
//! 16 bits inside.

use super::matrix::gemm16;
use super::requant::{code, multiply, saturate16, Multiplier};
use super::{GateWeights, Gemm16, LstmCell, LstmStep};

/// Steps of the table per 1 of the argument.
const STEPS_PER_UNIT: i128 = 24;

/// `1 / (1 + exp(-i / 24))` in 2^-16ths, made by the compiler.
///
/// Each entry is raised (where the function bends downwards) by half of what the chord lies below the
/// curve, so that the error of linear interpolation is spread to both sides: `f - f'' / (16 24^2)`.
/// The last entry is the greatest number.
pub static SIGMOID: [u16; 256] = {
    const ONE: i128 = 1 << 60;
    // exp(-1/24) as a series.
    let mut step = 0;
    let mut term = ONE;
    let mut n = 0;
    while term != 0 {
        step += term;
        n += 1;
        term = -term / (STEPS_PER_UNIT * n);
    }
    let mut table = [u16::MAX; 256];
    let mut power = ONE;
    let mut i = 0;
    while i < 255 {
        let f = ONE * ONE / (ONE + power);
        // f'' = f (1 - f) (1 - 2 f)
        let slope = f * (ONE - f) / ONE;
        let bend = slope * (ONE - 2 * f) / ONE;
        let entry = f - bend / (16 * STEPS_PER_UNIT * STEPS_PER_UNIT);
        // CAST: less than 2^16 with its rounding.
        table[i] = ((entry + (1 << 43)) >> 44) as u16;
        power = power * step / ONE;
        i += 1;
    }
    table
};

/// The table at `x >= 0`, an index with `bits` fraction bits, as 2^-(16 + bits)ths; `limit` from the
/// last entry on.
fn interpolated(x: u32, bits: u32, limit: i32) -> i32 {
    // CAST: 32 bits fit.
    let index = x.wrapping_shr(bits) as usize;
    let fraction = x & 1u32.wrapping_shl(bits).wrapping_sub(1);
    let entries = (SIGMOID.get(index), SIGMOID.get(index.wrapping_add(1)));
    let (Some(&low), Some(&high)) = entries else {
        return limit;
    };
    let (low, high) = (i32::from(low), i32::from(high));
    // CAST: less than 2^9. No overflow: less than 2^25.
    let part = high.wrapping_sub(low).wrapping_mul(fraction as i32);
    low.wrapping_shl(bits).wrapping_add(part)
}

/// `1 / (1 + exp(-x))` as Q0.15 for `x` in units of 2^-12 / 3.
pub fn sigmoid16(x: i32) -> i16 {
    let y = interpolated(x.unsigned_abs(), 9, 0x7fff << 10);
    let y = if x >= 0 {
        y.wrapping_add(1 << 9)
    } else {
        // 1 - y, and what is halfway goes down as if it had gone up before.
        (1i32 << 25).wrapping_sub(y).wrapping_add((1 << 9) - 1)
    };
    saturate16(y >> 10)
}

/// `tanh(x)` as Q0.15 for `x` in units of 2^-12 / 3: `2 sigmoid(2 x) - 1`.
pub fn tanh16(x: i32) -> i16 {
    let y = interpolated(x.unsigned_abs(), 8, 0xffff << 8).wrapping_sub(1 << 23);
    let y = if x >= 0 {
        y.wrapping_add(1 << 7)
    } else {
        0i32.wrapping_sub(y).wrapping_add((1 << 7) - 1)
    };
    saturate16(y >> 8)
}

/// `3 x / 2^shift`, halves upwards: what [`tanh16`] takes.
fn thirds(x: i16, shift: i32) -> i32 {
    let x = i32::from(x).wrapping_mul(3);
    match shift.unsigned_abs() {
        0 => x,
        bits if shift < 0 => x.wrapping_shl(bits),
        bits => x
            .wrapping_add(1i32.wrapping_shl(bits.wrapping_sub(1)))
            .wrapping_shr(bits),
    }
}

/// Product of two numbers on a third scale.
fn product(a: i16, b: i16, multiplier: Multiplier) -> i32 {
    multiply(i32::from(a).wrapping_mul(i32::from(b)), multiplier)
}

/// The elements of a list of `i16`, little endian.
fn numbers(list: &[u8]) -> impl Iterator<Item = i16> + '_ {
    list.chunks_exact(2).map(load16)
}

fn load16(chunk: &[u8]) -> i16 {
    chunk.first_chunk().map_or(0, |x| i16::from_le_bytes(*x))
}

/// See [`LstmCell`].
pub fn lstm_cell(args: LstmCell<'_>) {
    let LstmCell {
        from_x,
        from_h,
        cell,
        h,
        n,
        scales,
    } = args;
    let limit = match scales.cell_clip {
        0 => i16::MAX,
        limit => limit,
    };
    let least = match scales.cell_clip {
        0 => i16::MIN,
        limit => limit.saturating_neg(),
    };
    let sums = |gate: usize| {
        let [x, h] = [from_x, from_h].map(|list| {
            let at = gate.saturating_mul(n).saturating_mul(2);
            numbers(list.get(at..).unwrap_or_default())
        });
        x.zip(h).map(|(x, h)| x.saturating_add(h))
    };
    let gates = sums(0).zip(sums(1)).zip(sums(2)).zip(sums(3)).take(n);
    for (((((i, f), g), o), c), h) in gates.zip(cell.chunks_exact_mut(2)).zip(h) {
        let [i, f, o] = [i, f, o].map(|x| sigmoid16(thirds(x, 0)));
        let g = tanh16(thirds(g, 0));
        let kept = saturate16(product(f, load16(c), scales.forget));
        let new = saturate16(product(i, g, scales.input));
        let state = kept.saturating_add(new).min(limit).max(least);
        c.copy_from_slice(&state.to_le_bytes());
        let output = i32::from(tanh16(thirds(state, scales.cell_shift))).wrapping_mul(o.into());
        *h = code(output, scales.output, scales.h_zero, 0, 255);
    }
}

/// See [`LstmStep`].
pub fn lstm_step(args: LstmStep<'_>) {
    let LstmStep {
        x,
        h,
        cell,
        inputs,
        n,
        x_weights,
        h_weights,
        scratch,
        scales,
    } = args;
    let rows = n.saturating_mul(4);
    let bytes = rows.saturating_mul(2);
    let Some((from_x, from_h)) = scratch.split_at_mut_checked(bytes) else {
        return;
    };
    for (x, k, weights, y) in [
        (x, inputs, x_weights, &mut *from_x),
        (&*h, n, h_weights, &mut *from_h),
    ] {
        let GateWeights {
            w,
            bias,
            mult,
            shift,
        } = weights;
        gemm16(Gemm16 {
            x,
            y,
            n: rows,
            k,
            w,
            bias,
            mult,
            shift,
        });
    }
    lstm_cell(LstmCell {
        from_x,
        from_h,
        cell,
        h,
        n,
        scales,
    });
}
