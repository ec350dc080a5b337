// SPDX-License-Identifier: GPL-2.0

//! Dense layers in Q16.16: weights of four rows side by side, activations after each tile.

use crate::error::Error;
use crate::fixed::ELEMENT_BYTES;
use crate::nnm::{Model, Op};
use crate::scalar;

use super::build::{aligned, Builder};
use super::{DenseArgs, Kernels, Meter, Step, Tensors, Work, TILE_MACS, TILE_ROWS};

/// Where the constants of a layer lie, and how it is cut into tiles.
#[derive(Copy, Clone, Debug)]
pub(super) struct DenseQ16 {
    /// Offsets in the packed weights.
    weights: usize,
    bias: usize,
    row_terms: usize,
    /// Rows of a tile.
    tile_rows: u32,
}

/// Bytes of a vector; at most 2^14.
#[inline]
const fn bytes_of(elements: u32) -> usize {
    (elements as usize).wrapping_mul(ELEMENT_BYTES)
}

#[inline]
fn split(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(at)
}

impl DenseQ16 {
    pub(super) const EMPTY: DenseQ16 = DenseQ16 {
        weights: 0,
        bias: 0,
        row_terms: 0,
        tile_rows: 0,
    };

    /// Finds a place for the constants.
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Work> {
        let [_, weights, _, _] = op.inputs;
        let [outputs, inputs, ..] = model.tensor(weights)?.dims;
        // CAST: dimensions are at most 4096.
        let rows = outputs as usize;
        let weights = builder.constant(rows.checked_mul(bytes_of(inputs))?)?;
        let bias = builder.constant(bytes_of(outputs))?;
        let row_terms = builder.constant(rows.checked_mul(scalar::TERM_BYTES)?)?;
        // CAST: at most TILE_MACS. Whole blocks; a block of the widest layer is just a tile.
        let tile_rows = TILE_MACS.checked_div(u64::from(inputs))? as u32;
        let tile_rows = tile_rows & !(scalar::BLOCK_ROWS as u32 - 1);
        Some(Work::DenseQ16(DenseQ16 {
            weights,
            bias,
            row_terms,
            tile_rows: tile_rows.clamp(scalar::BLOCK_ROWS as u32, TILE_ROWS),
        }))
    }

    /// Copies the constants to their place.
    pub(super) fn pack(
        &self,
        model: &Model<'_>,
        step: &Step,
        dst: &mut [u8],
    ) -> Option<Result<(), Error>> {
        let [_, weights, bias, _] = model.op(step.op)?.inputs;
        let weights = model.data(&model.tensor(weights)?)?;
        let bias = model.data(&model.tensor(bias)?)?;
        // CAST: dimensions are at most 4096.
        let (inputs, outputs) = (step.inputs as usize, step.outputs as usize);
        if weights.len() != outputs.checked_mul(bytes_of(step.inputs))?
            || bias.len() != bytes_of(step.outputs)
        {
            return None;
        }
        let terms = outputs.checked_mul(scalar::TERM_BYTES)?;
        dst.get_mut(self.bias..)?
            .get_mut(..bias.len())?
            .copy_from_slice(bias);
        // The terms lie behind the weights.
        let (low, high) = dst.split_at_mut_checked(self.row_terms)?;
        let packed = low.get_mut(self.weights..)?.get_mut(..weights.len())?;
        let terms = high.get_mut(..terms)?;
        Some(scalar::pack(
            weights,
            bias,
            inputs,
            packed,
            terms,
            model.pause,
        ))
    }

    /// Scratch memory for a vector.
    pub(super) fn stride(bytes: usize) -> Option<usize> {
        aligned(bytes)
    }

    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        samples: usize,
        tensors: &mut Tensors<'_>,
    ) -> Result<(), Error> {
        let ([x, ..], y) = (tensors.reads, &mut *tensors.write);
        let [from, ..] = step.reads;
        let inputs = x.chunks_exact(from.stride.max(1)).take(samples);
        let outputs = y.chunks_exact_mut(step.write.stride.max(1));
        for (x, y) in inputs.zip(outputs) {
            let x = x.get(..from.bytes).ok_or(step.mismatch())?;
            let y = y.get_mut(..step.write.bytes).ok_or(step.mismatch())?;
            self.one(step, meter, packed, x, y)?;
        }
        Ok(())
    }

    fn one<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        let part = |offset: usize, len: usize| {
            packed
                .get(offset..)
                .and_then(|rest| rest.get(..len))
                .ok_or(step.mismatch())
        };
        let row_bytes = bytes_of(step.inputs);
        // CAST: dimensions are at most 4096.
        let rows = step.outputs as usize;
        let mut weights = part(self.weights, rows.wrapping_mul(row_bytes))?;
        let mut bias = part(self.bias, bytes_of(step.outputs))?;
        let mut row_terms = part(self.row_terms, rows.wrapping_mul(scalar::TERM_BYTES))?;
        if input.len() != row_bytes || output.len() != bias.len() {
            return Err(step.mismatch());
        }
        let kernels = meter.kernels;
        let input_term = kernels.input_term(input);

        let mut left = rows;
        let mut rest = &mut *output;
        while left > 0 {
            let tile = left.min(self.tile_rows as usize).max(1);
            left = left.wrapping_sub(tile);
            let mut args = DenseArgs {
                weights,
                bias,
                row_terms,
                input,
                input_term,
                output: &mut [],
            };
            let split = split(weights, tile.wrapping_mul(row_bytes))
                .zip(split(bias, tile.wrapping_mul(ELEMENT_BYTES)))
                .zip(split(row_terms, tile.wrapping_mul(scalar::TERM_BYTES)))
                .zip(rest.split_at_mut_checked(tile.wrapping_mul(ELEMENT_BYTES)));
            let Some((((w, b), t), (this, next))) = split else {
                return Err(step.mismatch());
            };
            (args.weights, weights) = w;
            (args.bias, bias) = b;
            (args.row_terms, row_terms) = t;
            rest = next;

            // CAST: at most 2^24.
            meter.spend(tile.wrapping_mul(step.inputs as usize) as u64)?;
            args.output = &mut *this;
            kernels.dense_q16(args);
            if step.activation.is_elementwise() {
                kernels.activate_q16(step.activation, this);
            }
        }
        if !step.activation.is_elementwise() {
            kernels.activate_q16(step.activation, output);
        }
        Ok(())
    }
}
