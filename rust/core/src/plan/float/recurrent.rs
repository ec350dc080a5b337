// SPDX-License-Identifier: GPL-2.0

//! Recurrent layers: sums of input and state by a matrix product, then the gates.
//!
//! A long short-term memory puts input and state side by side and multiplies them by all weights at
//! once; a gated recurrent unit needs the sums of the input and those of the state apart.

use crate::error::Error;
use crate::fixed::ELEMENT_BYTES;
use crate::float::{self, work};
use crate::int8::LANES;
use crate::nnm::{last_dim, Model, Op, OpKind};

use super::super::build::Builder;
use super::super::patches::{Patches, Piece};
use super::super::{product, usize_of, Kernels, Meter, Part, Step};
use super::cut::{once, Sums};
use super::NO_ACT;

#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Recurrent {
    /// Elements of an input and of the state, and steps in time.
    inputs: usize,
    state: usize,
    steps: usize,
    /// Whether it is one step that is given the state and gives the next one.
    cell: bool,
    lstm: bool,
    /// Input and state for the memory, the input alone for the unit.
    x: Matrix,
    /// The state alone, for the unit.
    h: Option<Matrix>,
}

/// Rows of products without a function.
#[derive(Copy, Clone, Debug)]
struct Matrix {
    patches: Patches,
    weights: Part,
    bias: Part,
}

impl Matrix {
    fn plan(n: usize, k: usize, builder: &mut Builder<'_>) -> Option<Self> {
        let lanes = n.checked_next_multiple_of(LANES)?;
        Some(Matrix {
            patches: Patches::rows(1, n, k, ELEMENT_BYTES, builder)?,
            weights: Part::new(builder, float::packed_gemm_bytes(n, 1, k)?)?,
            bias: Part::new(builder, lanes.checked_mul(ELEMENT_BYTES)?)?,
        })
    }

    /// Packs columns `from..from + k` of a matrix with `columns` of them.
    fn pack(
        &self,
        w: &[u8],
        columns: usize,
        from: usize,
        bias: &[u8],
        dst: &mut [u8],
    ) -> Option<()> {
        let Patches { n, k, .. } = self.patches;
        let out = self.weights.of_mut(dst)?;
        float::pack_columns(w, n, columns, from, k, out);
        let out = self.bias.of_mut(dst)?.get_mut(..bias.len())?;
        out.copy_from_slice(bias);
        self.patches.pack(dst)
    }

    fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let constants = self.weights.of(packed).zip(self.bias.of(packed));
        let (weights, bias) = constants.ok_or(step.mismatch())?;
        let offsets = self.patches.offsets(packed).ok_or(step.mismatch())?;
        let Patches { n, k, grid, .. } = self.patches;
        let y_row = n.saturating_mul(ELEMENT_BYTES);
        let sums = Sums {
            weights,
            bias,
            offsets,
            k,
            by_row: self.patches.by_row,
            act: NO_ACT,
        };
        let mut f = |meter: &mut Meter<'_, K>, x: &[u8], y: &mut [u8], piece: &Piece| {
            self.patches.floats(meter, sums, x, y, piece)
        };
        self.patches.pieces(step, meter, grid, y_row, x, y, &mut f)
    }
}

impl Recurrent {
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
        let cell = matches!(op.kind, OpKind::LstmCell | OpKind::GruCell);
        let lstm = matches!(op.kind, OpKind::Lstm | OpKind::LstmCell);
        let [x, first, second, _] = op.inputs;
        let x = model.tensor(x)?;
        let w = model.tensor(if cell { second } else { first })?;
        let [rows, columns, ..] = w.dims.map(usize_of);
        let inputs = usize_of(last_dim(&x));
        let state = columns.checked_sub(inputs)?;
        let [first, ..] = x.dims;
        let steps = if cell { 1 } else { usize_of(first) };
        let (x, h, floats) = if lstm {
            // Input, state of the output, sums, state of the cell.
            let floats = product(&[state, 6])?.checked_add(inputs)?;
            (Matrix::plan(rows, columns, builder)?, None, floats)
        } else {
            let floats = product(&[state, 7])?;
            let x = Matrix::plan(rows, inputs, builder)?;
            (x, Some(Matrix::plan(rows, state, builder)?), floats)
        };
        // Each part starts at a multiple of 64, with room behind it.
        builder.temp(product(&[floats, ELEMENT_BYTES])?.checked_add(8 * 128)?);
        Some(Recurrent {
            inputs,
            state,
            steps,
            cell,
            lstm,
            x,
            h,
        })
    }

    pub(super) fn pack(&self, model: &Model<'_>, step: &Step, dst: &mut [u8]) -> Option<()> {
        let slot = if self.cell { 2 } else { 1 };
        let inputs = model.op(step.op)?.inputs;
        let constant = |slot: usize| model.data(&model.tensor(*inputs.get(slot)?)?);
        let (w, bias) = (constant(slot)?, constant(slot + 1)?);
        let columns = self.inputs.checked_add(self.state)?;
        match &self.h {
            None => self.x.pack(w, columns, 0, bias, dst),
            Some(h) => {
                let (of_x, of_h) = bias.split_at_checked(bias.len() / 2)?;
                self.x.pack(w, columns, 0, of_x, dst)?;
                h.pack(w, columns, self.inputs, of_h, dst)
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        x: &[u8],
        given: Option<&[u8]>,
        y: &mut [u8],
        temp: &mut [u8],
    ) -> Result<(), Error> {
        let fault = || step.mismatch();
        let state = self.state.saturating_mul(ELEMENT_BYTES);
        let input = self.inputs.saturating_mul(ELEMENT_BYTES);
        let given = if self.cell { given } else { None };
        let mut rest = temp;
        // A part of the memory, and what vector code may read behind it.
        let mut part = |bytes: usize| -> Option<&mut [u8]> {
            let size = bytes.checked_next_multiple_of(64)?.checked_add(64)?;
            let (this, next) = core::mem::take(&mut rest).split_at_mut_checked(size)?;
            rest = next;
            Some(this)
        };
        if self.lstm {
            let xh = part(input.saturating_add(state)).ok_or_else(fault)?;
            let gates = part(state.saturating_mul(4)).ok_or_else(fault)?;
            let c = part(state).ok_or_else(fault)?.get_mut(..state);
            let c = c.ok_or_else(fault)?;
            let end = input.saturating_add(state);
            let h = xh.get_mut(input..end).ok_or_else(fault)?;
            start(h, given.and_then(|s| s.get(..state)));
            start(c, given.and_then(|s| s.get(state..)));
            for (t, x) in x.chunks_exact(input.max(1)).take(self.steps).enumerate() {
                let to = xh.get_mut(..input).ok_or_else(fault)?;
                meter.copy(input.saturating_add(state))?;
                to.copy_from_slice(x);
                self.x.run(step, meter, packed, xh, gates)?;
                let h = xh.get_mut(input..end).ok_or_else(fault)?;
                once(meter, work::gates(self.state), |k, work| {
                    let layer = float::LstmCell {
                        gates,
                        c: &mut *c,
                        h: &mut *h,
                    };
                    k.lstm_cell_f32(layer, work)
                })?;
                if !self.cell {
                    let at = t.saturating_mul(state);
                    let to = y.get_mut(at..).and_then(|y| y.get_mut(..state));
                    to.ok_or_else(fault)?.copy_from_slice(h);
                }
            }
            if self.cell {
                let h = xh.get(input..end).ok_or_else(fault)?;
                let (to_h, to_c) = y.split_at_mut_checked(state).ok_or_else(fault)?;
                to_h.copy_from_slice(h);
                to_c.get_mut(..state).ok_or_else(fault)?.copy_from_slice(c);
            }
            return Ok(());
        }
        let Some(matrix) = &self.h else {
            return Err(fault());
        };
        let of_x = part(state.saturating_mul(3)).ok_or_else(fault)?;
        let of_h = part(state.saturating_mul(3)).ok_or_else(fault)?;
        let h = part(state).ok_or_else(fault)?;
        start(h.get_mut(..state).ok_or_else(fault)?, given);
        for (t, x) in (0..self.steps).map(|t| (t, x.get(t.saturating_mul(input)..))) {
            self.x
                .run(step, meter, packed, x.ok_or_else(fault)?, of_x)?;
            matrix.run(step, meter, packed, h, of_h)?;
            let now = h.get_mut(..state).ok_or_else(fault)?;
            once(meter, work::gates(self.state), |k, work| {
                let layer = float::GruCell {
                    x: of_x,
                    r: of_h,
                    h: &mut *now,
                };
                k.gru_cell_f32(layer, work)
            })?;
            let at = t.saturating_mul(state);
            let to = y.get_mut(at..).and_then(|y| y.get_mut(..state));
            to.ok_or_else(fault)?.copy_from_slice(now);
        }
        Ok(())
    }
}

/// The state that is given, or zeros.
fn start(state: &mut [u8], given: Option<&[u8]>) {
    match given {
        Some(given) if given.len() == state.len() => state.copy_from_slice(given),
        _ => state.fill(0),
    }
}
