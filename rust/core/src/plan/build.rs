// SPDX-License-Identifier: GPL-2.0

//! From a checked model to a plan: finds a place for every vector and every weight.

use crate::error::{Error, Fault, Place};
use crate::nnm::{Model, Op, OpKind, ALIGN};
use crate::scalar;

use super::{bytes_of, Plan, Region, Step, TILE_MACS, TILE_ROWS};

impl Model<'_> {
    /// Makes the plan of this model, in the first elements of `steps`.
    ///
    /// `steps` needs [`op_count`](Model::op_count) elements, else this fails with `Buffer`. Vectors that
    /// are not needed at the same time share scratch memory. Takes `ops^2` short steps at most for
    /// chains of layers.
    pub fn plan(&self, steps: &mut [Step]) -> Result<Plan, Error> {
        let (have, want) = (steps.len() as u64, self.op_count() as u64);
        let Some(steps) = steps.get_mut(..self.op_count()) else {
            return Err(Error::Buffer {
                buffer: "steps",
                have,
                want,
            });
        };
        let mut plan = Plan {
            input_bytes: self.input_bytes(),
            output_bytes: self.output_bytes(),
            macs: self.macs(),
            steps: self.op_count(),
            ..Plan::default()
        };
        for (i, op) in self.numbered_ops() {
            let fault = || Error::model(Place::Op(i), Fault::Mismatch);
            let op = op.ok_or_else(fault)?;
            // CAST: at most MAX_OPS.
            let (before, this) = steps.split_at_mut_checked(i as usize).ok_or_else(fault)?;
            let this = this.first_mut().ok_or_else(fault)?;
            *this = match op.kind {
                OpKind::Dense => self.dense_step(i, &op, &mut plan).ok_or_else(fault)?,
            };
            self.connect(i, &op, before);
        }
        for (i, _) in self.numbered_ops() {
            let fault = || Error::model(Place::Op(i), Fault::Mismatch);
            let (before, this) = steps.split_at_mut_checked(i as usize).ok_or_else(fault)?;
            let this = this.first_mut().ok_or_else(fault)?;
            self.place(i, this, before, &mut plan).ok_or_else(fault)?;
        }
        Ok(plan)
    }

    fn numbered_ops(&self) -> impl Iterator<Item = (u32, Option<Op>)> + '_ {
        // CAST: at most MAX_OPS.
        (0..self.op_count() as u32).map(|i| (i, self.op(i)))
    }

    /// A dense step with a place for its weights, but none for its vectors yet.
    fn dense_step(&self, i: u32, op: &Op, plan: &mut Plan) -> Option<Step> {
        let [_, weights, _, _] = op.inputs;
        let [outputs, inputs, ..] = self.tensor(weights)?.dims;
        let mut take = |bytes: usize| {
            let at = plan.weight_bytes;
            plan.weight_bytes = at.checked_add(aligned(bytes)?)?;
            Some(at)
        };
        // CAST: dimensions are at most 4096.
        let rows = outputs as usize;
        let weights = take(rows.checked_mul(bytes_of(inputs))?)?;
        let bias = take(bytes_of(outputs))?;
        let row_terms = take(rows.checked_mul(scalar::TERM_BYTES)?)?;
        // CAST: at most TILE_MACS. Whole blocks; a block of the widest layer is just a tile.
        let tile_rows = TILE_MACS.checked_div(u64::from(inputs))? as u32;
        let tile_rows = tile_rows & !(scalar::BLOCK_ROWS as u32 - 1);
        Some(Step {
            kind: op.kind,
            dtype: self.dtype(),
            activation: op.activation,
            inputs,
            outputs,
            weights,
            bias,
            row_terms,
            tile_rows: tile_rows.clamp(scalar::BLOCK_ROWS as u32, TILE_ROWS),
            op: i,
            tensor: op.output,
            last_use: i,
            ..Step::EMPTY
        })
    }

    /// Notes that step `i` reads what an earlier one writes.
    fn connect(&self, i: u32, op: &Op, before: &mut [Step]) {
        let [x, ..] = op.inputs;
        if let Some(writer) = before.iter_mut().find(|step| step.tensor == x) {
            writer.last_use = i;
        }
    }

    /// Decides where step `i` reads and writes.
    fn place(&self, i: u32, step: &mut Step, before: &[Step], plan: &mut Plan) -> Option<()> {
        let [x, ..] = self.op(i)?.inputs;
        step.source = if x == self.input_tensor() {
            Region::Input
        } else {
            before.iter().find(|writer| writer.tensor == x)?.target
        };
        if step.tensor == self.output_tensor() {
            step.target = Region::Output;
            return Some(());
        }
        // The lowest place that no vector holds which this or a later step reads.
        let bytes = aligned(bytes_of(step.outputs))?;
        let (mut at, mut again) = (0usize, true);
        while again {
            again = false;
            for other in before.iter().filter(|other| other.last_use >= i) {
                if let Region::Scratch(start) = other.target {
                    let end = start.checked_add(aligned(bytes_of(other.outputs))?)?;
                    if start < at.checked_add(bytes)? && at < end {
                        (at, again) = (end, true);
                    }
                }
            }
        }
        step.target = Region::Scratch(at);
        plan.scratch_bytes = plan.scratch_bytes.max(at.checked_add(bytes)?);
        Some(())
    }

    /// Copies weights and biases to `dst` as [`run`](super::run) wants them.
    ///
    /// `steps` and `plan` are from [`plan`](Model::plan). `dst` has exactly `plan.weight_bytes`, else
    /// this fails with `Buffer`; for speed it should lie at a multiple of 64. Reads and writes every
    /// byte once, so call it where one may sleep.
    pub fn pack(&self, steps: &[Step], plan: &Plan, dst: &mut [u8]) -> Result<(), Error> {
        super::exactly("weight bytes", dst.len(), plan.weight_bytes)?;
        let Some(steps) = steps.get(..plan.steps) else {
            return super::at_least("steps", steps.len(), plan.steps);
        };
        dst.fill(0);
        for step in steps {
            match step.kind {
                OpKind::Dense => self.pack_dense(step, dst).ok_or(step.mismatch())?,
            }
        }
        Ok(())
    }

    fn pack_dense(&self, step: &Step, dst: &mut [u8]) -> Option<()> {
        let [_, weights, bias, _] = self.op(step.op)?.inputs;
        let weights = self.data(&self.tensor(weights)?)?;
        let bias = self.data(&self.tensor(bias)?)?;
        // CAST: dimensions are at most 4096.
        let (inputs, outputs) = (step.inputs as usize, step.outputs as usize);
        if weights.len() != outputs.checked_mul(bytes_of(step.inputs))?
            || bias.len() != bytes_of(step.outputs)
        {
            return None;
        }
        let terms = outputs.checked_mul(scalar::TERM_BYTES)?;
        dst.get_mut(step.bias..)?
            .get_mut(..bias.len())?
            .copy_from_slice(bias);
        // The terms lie behind the weights.
        let (low, high) = dst.split_at_mut_checked(step.row_terms)?;
        let packed = low.get_mut(step.weights..)?.get_mut(..weights.len())?;
        scalar::pack(weights, bias, inputs, packed, high.get_mut(..terms)?);
        Some(())
    }
}

fn aligned(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(ALIGN)
}
