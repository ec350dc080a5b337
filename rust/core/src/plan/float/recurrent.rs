// SPDX-License-Identifier: GPL-2.0

//! Recurrent layers: sums of input and state by a matrix product, then the gates.
//!
//! A long short-term memory puts input and state side by side and multiplies them by all weights at
//! once; a gated recurrent unit needs the sums of the input and those of the state apart.

use crate::error::Error;
use crate::fixed::ELEMENT_BYTES;
use crate::float;
use crate::int8::LANES;
use crate::nnm::{last_dim, Model, Op, OpKind};

use super::super::build::Builder;
use super::super::patches::{Grid, Patches, Piece};
use super::super::{product, usize_of, Kernels, Meter, Part, Step};
use super::{vector, NO_ACT};

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

/// What the gates of an element cost, in multiply-accumulates.
const GATE_MACS: u64 = 64;

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
        let Patches { k, grid, .. } = self.patches;
        let y_row = self.patches.n.saturating_mul(ELEMENT_BYTES);
        let mut f = |kernels: &K, x: &[u8], y: &mut [u8], piece: &Piece| {
            let Grid { x_row, x_outer, .. } = piece.grid;
            let row_bytes = k.saturating_mul(ELEMENT_BYTES);
            let bias = super::slice_from(bias, piece.row.saturating_mul(ELEMENT_BYTES));
            vector(kernels.gemm_f32(float::Gemm {
                x,
                x_row,
                x_outer,
                y,
                y_row: piece.y_row,
                y_outer: piece.y_outer,
                m: piece.grid.m,
                outer: piece.grid.outer,
                n: piece.n,
                k,
                offsets,
                w: super::slice_from(weights, piece.row.saturating_mul(row_bytes)),
                by_row: float::by_row(self.patches.n, k),
                bias,
                act: NO_ACT,
            }))
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
                to.copy_from_slice(x);
                self.x.run(step, meter, packed, xh, gates)?;
                let h = xh.get_mut(input..end).ok_or_else(fault)?;
                // CAST: widens.
                meter.spend((self.state as u64).saturating_mul(GATE_MACS))?;
                vector(meter.kernels.lstm_cell_f32(float::LstmCell {
                    gates,
                    c: &mut *c,
                    h: &mut *h,
                }))?;
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
            // CAST: widens.
            meter.spend((self.state as u64).saturating_mul(GATE_MACS))?;
            let now = h.get_mut(..state).ok_or_else(fault)?;
            vector(meter.kernels.gru_cell_f32(float::GruCell {
                x: of_x,
                r: of_h,
                h: &mut *now,
            }))?;
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
