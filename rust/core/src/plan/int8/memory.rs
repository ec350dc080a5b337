// SPDX-License-Identifier: GPL-2.0

//! Long short-term memory of codes over a sequence.

use crate::error::Error;
use crate::fixed::{self, ELEMENT_BYTES};
use crate::int8::{pack, GateWeights, LstmScales, LstmStep, Multiplier, LANES, SLACK};
use crate::nnm::{last_dim, Model, Op};

use super::super::build::Builder;
use super::super::{usize_of, Kernels, Meter, Part, Step};
use super::biased;

/// A memory: its sizes, factors, and where its constants are.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Memory {
    inputs: usize,
    n: usize,
    x_zero: i32,
    scales: LstmScales,
    x: Gates,
    h: Gates,
}

/// The constants of the products with input or state.
#[derive(Copy, Clone, Debug)]
struct Gates {
    w: Part,
    bias: Part,
    mult: Part,
    shift: Part,
}

impl Gates {
    fn plan(rows: usize, k: usize, builder: &mut Builder<'_>) -> Option<Self> {
        let list = rows
            .checked_next_multiple_of(LANES)?
            .checked_mul(ELEMENT_BYTES)?;
        Some(Gates {
            w: Part::new(builder, pack::packed_gemm_bytes(rows, 1, k)?)?,
            bias: Part::new(builder, list)?,
            mult: Part::new(builder, list)?,
            shift: Part::new(builder, list)?,
        })
    }

    fn of<'a>(&self, packed: &'a [u8]) -> Option<GateWeights<'a>> {
        Some(GateWeights {
            w: self.w.of(packed)?,
            bias: self.bias.of(packed)?,
            mult: self.mult.of(packed)?,
            shift: self.shift.of(packed)?,
        })
    }
}

/// The numbers of the requantisation.
fn numbers(model: &Model<'_>, op: &Op) -> Option<[i32; 24]> {
    let [_, _, _, r] = op.inputs;
    let mut numbers = [0; 24];
    let data = model.data(&model.tensor(r)?)?;
    for (to, from) in numbers.iter_mut().zip(fixed::elements(data)) {
        *to = from;
    }
    Some(numbers)
}

impl Memory {
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
        let [x, ..] = op.inputs;
        let (x, y) = (model.tensor(x)?, model.tensor(op.output)?);
        let (inputs, n) = (usize_of(last_dim(&x)), usize_of(last_dim(&y)));
        let rows = n.checked_mul(4)?;
        let [.., a, b, c, d, e, f, cell_shift, limit] = numbers(model, op)?;
        let factor = |mult, shift| Multiplier { mult, shift };
        // State, cells, sums of both products.
        let bytes = n.checked_mul(20)?.checked_add(4 * SLACK)?;
        builder.temp(bytes);
        Some(Memory {
            inputs,
            n,
            x_zero: biased(x.zero_point),
            scales: LstmScales {
                forget: factor(a, b),
                input: factor(c, d),
                output: factor(e, f),
                cell_shift,
                cell_clip: i16::try_from(limit).ok()?,
                h_zero: biased(y.zero_point),
            },
            x: Gates::plan(rows, inputs, builder)?,
            h: Gates::plan(rows, n, builder)?,
        })
    }

    pub(super) fn pack(&self, model: &Model<'_>, step: &Step, dst: &mut [u8]) -> Option<()> {
        let op = model.op(step.op)?;
        let [_, w, bias, _] = op.inputs;
        let w = model.data(&model.tensor(w)?)?;
        let bias = model.data(&model.tensor(bias)?)?;
        let numbers = numbers(model, &op)?;
        let columns = self.inputs.checked_add(self.n)?;
        let sides = [
            (&self.x, 0, self.inputs, bias, self.x_zero),
            (&self.h, self.inputs, self.n, &[][..], self.scales.h_zero),
        ];
        for (side, (gates, from, k, bias, zero)) in sides.into_iter().enumerate() {
            let rows = self.n.checked_mul(4)?;
            pack::pack_columns(w, columns, from, rows, k, gates.w.of_mut(dst)?);
            let out = gates.bias.of_mut(dst)?;
            pack::fold_columns_bias(w, columns, (from, k), bias, zero, out);
            for (part, offset) in [(&gates.mult, 0), (&gates.shift, 1)] {
                let places = part.of_mut(dst)?.chunks_exact_mut(ELEMENT_BYTES);
                for (row, place) in places.enumerate().take(rows) {
                    // A gate has four numbers: two for the input, two for the state.
                    let gate = row.checked_div(self.n)?;
                    let at = gate
                        .wrapping_mul(4)
                        .wrapping_add(side * 2)
                        .wrapping_add(offset);
                    fixed::store(place, *numbers.get(at)?);
                }
            }
        }
        Some(())
    }

    #[inline(never)]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        x: &[u8],
        y: &mut [u8],
        temp: &mut [u8],
    ) -> Result<(), Error> {
        let fault = || step.mismatch();
        let (Some(x_weights), Some(h_weights)) = (self.x.of(packed), self.h.of(packed)) else {
            return Err(fault());
        };
        let n = self.n;
        let (h, rest) = temp
            .split_at_mut_checked(n.saturating_add(SLACK))
            .ok_or_else(fault)?;
        let (cell, rest) = rest
            .split_at_mut_checked(n.saturating_mul(2))
            .ok_or_else(fault)?;
        let scratch = rest.get_mut(..n.saturating_mul(16)).ok_or_else(fault)?;
        // CAST: a zero point.
        h.fill(self.scales.h_zero as u8);
        cell.fill(0);
        let macs = n
            .saturating_mul(4)
            .saturating_mul(self.inputs.saturating_add(n));
        let positions = y.chunks_exact_mut(n.max(1)).enumerate();
        for (t, y) in positions {
            // CAST: widens.
            meter.spend(macs as u64)?;
            let from = t.saturating_mul(self.inputs);
            meter.kernels.lstm_i8(LstmStep {
                x: x.get(from..).ok_or_else(fault)?,
                h: &mut *h,
                cell: &mut *cell,
                inputs: self.inputs,
                n,
                x_weights,
                h_weights,
                scratch: &mut *scratch,
                scales: self.scales,
            });
            y.copy_from_slice(h.get(..n).ok_or_else(fault)?);
        }
        Ok(())
    }
}
