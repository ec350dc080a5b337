// SPDX-License-Identifier: GPL-2.0

//! The integers and tables that int8 operators become.

use neural_core::int8::lut::{self, Table};
use neural_core::int8::{self, Multiplier, BIAS};

use super::graph::{Kind, Op, Tensor};
use super::scales::{self, Activation};
use crate::error::{Error, Result};

/// Scale and zero point of a tensor that was checked to have them.
#[derive(Clone, Copy)]
pub(crate) struct Codes {
    pub(crate) scale: f32,
    pub(crate) zero: i32,
}

impl Codes {
    pub(super) fn of(tensor: &Tensor<'_>) -> Result<Self> {
        match tensor.scale() {
            Some(scale) => Ok(Self {
                scale,
                zero: tensor.zero(),
            }),
            None => Err(tensor.refuse("needs one scale")),
        }
    }

    fn biased(self) -> i32 {
        self.zero + BIAS
    }

    /// The least and the greatest code that an activation leaves.
    pub(super) fn clamp(self, activation: Activation) -> (i32, i32) {
        scales::clamp(activation, self.scale, self.zero)
    }
}

pub(super) fn found<T>(multiplier: Option<T>) -> Result<T> {
    multiplier.ok_or_else(|| Error::refused("scales", "are too far apart"))
}

/// Multipliers and shifts of `n` rows with weights of these scales.
pub(super) fn rows(dense: bool, x: Codes, w: &[f32], y: Codes, n: usize) -> Result<Vec<i32>> {
    let of = match w {
        [_] if dense => scales::per_tensor,
        _ => scales::per_channel,
    };
    let each = w.iter().map(|w| found(of(x.scale, *w, y.scale)));
    let mut each = each.collect::<Result<Vec<_>>>()?;
    if let [one] = each.as_slice() {
        each = vec![*one; n];
    }
    let shifts = each.iter().map(|m| m.shift);
    Ok(each.iter().map(|m| m.mult).chain(shifts).collect())
}

/// What the engine has of a memory: for each gate the factors of the input and of the step before, those of
/// the cell and of the output, the shift of the cell from 12 fraction bits, and its limit.
pub(super) fn lstm(of: &scales::Lstm) -> Vec<i32> {
    let gates = of.input.iter().zip(&of.recurrent);
    let gates = gates.flat_map(|(x, h)| [*x, *h]);
    let factors = gates.chain([of.forget_cell, of.input_cell, of.hidden]);
    let words = factors.flat_map(|m| [m.mult, m.shift]);
    words.chain([-12 - of.cell_log2, of.cell_clip]).collect()
}

/// Multipliers and shifts of a sum, a difference or a product.
pub(super) fn pair(kind: &Kind, a: Codes, b: Codes, y: Codes) -> Result<Vec<Multiplier>> {
    found(match kind {
        Kind::Mul(_) => scales::mul(a.scale, b.scale, y.scale).map(|m| vec![m]),
        _ => scales::sum(a.scale, b.scale, y.scale).map(|all| all.to_vec()),
    })
}

/// The multiplier of a mean of so many rows, which divides by their number.
pub(crate) fn mean(x: Codes, y: Codes, rows: usize) -> Result<Multiplier> {
    let Multiplier { mult, shift } = found(scales::rescale(x.scale, y.scale))?;
    let whole = i32::try_from(rows.ilog2()).unwrap_or(31);
    let bits = whole.min(31 - shift);
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let mult = (i64::from(mult) << bits) / rows;
    Ok(match i32::try_from(mult) {
        Ok(mult) if mult >= 1 << 29 => Multiplier {
            mult,
            shift: shift + bits,
        },
        // Only with a shift of 31, behind which nothing is left of any sum.
        _ => Multiplier { mult: 0, shift: 0 },
    })
}

/// All biased codes.
fn every() -> Table {
    std::array::from_fn(|i| i as u8) // CAST: below 256
}

/// A sum, a difference or a product with one number that is known, on either side, as a table.
pub(super) fn pair_table(
    kind: &Kind,
    (a, b): (Codes, Codes),
    y: Codes,
    known: (bool, i8),
) -> Result<Table> {
    let (first, code) = known;
    let (subtract, activation) = match kind {
        Kind::Sub(activation) => (true, *activation),
        Kind::Add(activation) | Kind::Mul(activation) => (false, *activation),
        _ => (false, Activation::None),
    };
    let (min, max) = y.clamp(activation);
    let (min, max) = (min + BIAS, max + BIAS);
    // CAST: the biased code.
    let known = [code as u8 ^ 0x80; 256];
    let every = every();
    let (left, right) = if first {
        (&known, &every)
    } else {
        (&every, &known)
    };
    let mut table = [0; 256];
    match pair(kind, a, b, y)?.as_slice() {
        [product] => int8::mul(int8::Mul {
            a: left,
            b: right,
            y: &mut table,
            a_zero: a.biased(),
            b_zero: b.biased(),
            y_scale: (y.biased(), *product),
            min,
            max,
        }),
        [from_a, from_b, sum] => int8::add(int8::Add {
            a: left,
            b: right,
            y: &mut table,
            a_scale: (a.biased(), *from_a),
            b_scale: (b.biased(), *from_b),
            subtract,
            y_scale: (y.biased(), *sum),
            min,
            max,
        }),
        _ => return Err(Error::refused("scales", "give no factors")),
    }
    Ok(table)
}

/// An operator that makes a code of a code, as a table of biased codes.
pub(super) fn table(op: &Op, x: Codes, y: Codes) -> Result<Table> {
    let mut table = [0; 256];
    let (from, to) = (x.biased(), y.biased());
    match &op.kind {
        Kind::Logistic | Kind::Tanh => {
            let (multiplier, radius) = found(scales::logistic(x.scale))?;
            let fill = match op.kind {
                Kind::Tanh => lut::tanh,
                _ => lut::logistic,
            };
            fill((from, multiplier), radius, &mut table);
        }
        Kind::Relu | Kind::Quantize => {
            let multiplier = found(scales::rescale(x.scale, y.scale))?;
            let (min, max) = match op.kind {
                Kind::Relu => y.clamp(Activation::Relu),
                _ => (-128, 127),
            };
            let limits = (min + BIAS, max + BIAS);
            lut::requantize(from, (to, multiplier), limits, &mut table);
        }
        Kind::Relu6 => {
            let (min, max) = y.clamp(Activation::Relu6);
            for (code, to) in (0..).zip(&mut table) {
                let code: i32 = code;
                // CAST: limits are codes.
                *to = code.min(max + BIAS).max(min + BIAS).clamp(0, 255) as u8;
            }
        }
        Kind::LeakyRelu(alpha) => {
            let (above, below) = found(scales::leaky_relu(x.scale, *alpha, y.scale))?;
            lut::leaky_relu(from, to, above, below, &mut table);
        }
        Kind::HardSwish => {
            let [output, gate] = found(scales::hard_swish(x.scale, y.scale))?;
            if output.shift < 0 {
                return Err(Error::refused("scales", "of the output are too small"));
            }
            lut::hard_swish(from, to, output, gate, &mut table);
        }
        Kind::Elu => {
            let inverse = 1.0 / y.scale;
            for (code, entry) in (0i16..).zip(&mut table) {
                let x = x.scale * (f32::from(code) - from as f32); // CAST: a code
                let y = if x < 0.0 {
                    // The nearest float32, which the exponential of a good library is.
                    f64::from(x).exp() as f32 - 1.0
                } else {
                    x
                };
                // CAST: saturates.
                let y = ((y * inverse).round() as i32).saturating_add(to);
                *entry = y.clamp(0, 255) as u8; // CAST: just limited
            }
        }
        _ => return Err(Error::refused("kind", "is no function of a code")),
    }
    Ok(table)
}

/// A table of biased codes in the order of model files.
pub(super) fn in_file(table: &Table) -> Vec<u8> {
    let biased = |code: u8| table.get(usize::from(code ^ 0x80)).copied().unwrap_or(0);
    (0..=255).map(|code| biased(code) ^ 0x80).collect()
}
