// SPDX-License-Identifier: GPL-2.0

//! From a checked model to a plan: finds a place for every tensor and every constant.

use crate::error::{Error, Fault, Place};
use crate::nnm::{DType, Model, Op, OpKind, Tensor, ALIGN, NONE};
use crate::profile::Dims;

use super::chain::Chain;
use super::float::Float;
use super::int16::Int16;
use super::int8::Int8;
use super::plain::Plain;
use super::q16::DenseQ16;
use super::{Plan, Region, Slot, Step, Work};

/// Where constants go, and what a step needs besides its operands, while a plan is made.
pub(super) struct Builder<'p> {
    plan: &'p mut Plan,
    /// Bytes of memory that the step needs while it runs.
    temp: usize,
}

impl Builder<'_> {
    /// A place for a constant in the packed weights.
    pub(super) fn constant(&mut self, bytes: usize) -> Option<usize> {
        let at = self.plan.weight_bytes;
        self.plan.weight_bytes = at.checked_add(aligned(bytes)?)?;
        Some(at)
    }

    /// Memory for a sample that is used by this step only.
    pub(super) fn temp(&mut self, bytes: usize) {
        self.temp = bytes;
    }
}

impl Model<'_> {
    /// Steps of the plan of this model.
    pub fn step_count(&self) -> usize {
        // At most MAX_OPS + 2.
        self.op_count().saturating_add(match self.dtype() {
            DType::Q16 | DType::I16 => 0,
            _ => 2,
        })
    }

    /// Makes the plan of this model, in the first elements of `steps`.
    ///
    /// `steps` needs [`step_count`](Model::step_count) elements, else this fails with `Buffer`. Tensors
    /// that are not needed at the same time share scratch memory. Takes `ops^2` short steps at most for
    /// chains of layers.
    pub fn plan(&self, steps: &mut [Step]) -> Result<Plan, Error> {
        let (have, want) = (steps.len() as u64, self.step_count() as u64);
        let Some(steps) = steps.get_mut(..self.step_count()) else {
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
            steps: self.step_count(),
            ..Plan::default()
        };
        let copies = steps.len() > self.op_count();
        // CAST: at most MAX_OPS.
        let last = self.op_count().saturating_sub(1) as u32;
        // Every step and its constants.
        for (i, step) in steps.iter_mut().enumerate() {
            let index = i.wrapping_sub(usize::from(copies));
            let fault = || Error::model(Place::Op(0), Fault::Mismatch);
            *step = Step::EMPTY;
            if copies && i == 0 {
                self.copy_step(0, self.input_tensor(), step)
                    .ok_or_else(fault)?
            } else if index >= self.op_count() {
                self.copy_step(last, self.output_tensor(), step)
                    .ok_or_else(fault)?
            } else {
                // CAST: at most MAX_OPS.
                let op = index as u32;
                self.op_step(op, &mut plan, step)
                    .ok_or(Error::model(Place::Op(op), Fault::Mismatch))?
            };
        }
        // Who reads what last, then where it lies.
        for i in 0..steps.len() {
            let Some((before, [this, ..])) = steps.split_at_mut_checked(i) else {
                continue;
            };
            for tensor in self.reads_of(i, this, copies) {
                let writer = before.iter_mut().rev().find(|step| step.tensor == tensor);
                if let Some(writer) = writer {
                    // CAST: at most MAX_OPS + 2.
                    writer.last_use = i as u32;
                }
            }
        }
        let input = copies && self.takes_input(steps);
        let output = match copies {
            true => self.gives_output(steps),
            false => None,
        };
        for i in 0..steps.len() {
            let Some((before, [this, ..])) = steps.split_at_mut_checked(i) else {
                continue;
            };
            let fault = Error::model(Place::Op(this.op), Fault::Mismatch);
            self.pause.check()?;
            let given = match i {
                0 if input => Some(boundary(Region::Input, plan.input_bytes)),
                _ if output == Some(i) => Some(boundary(Region::Output, plan.output_bytes)),
                _ => None,
            };
            self.place(i, this, before, given, &mut plan).ok_or(fault)?;
        }
        plan.chain = Chain::find(steps, &mut plan).unwrap_or_default();
        Ok(plan)
    }

    /// The step that makes biased codes of the input, or codes of the output.
    fn copy_step(&self, op: u32, tensor: u32, step: &mut Step) -> Option<()> {
        let elements = u32::try_from(self.tensor(tensor)?.elements()).ok()?;
        step.kind = OpKind::Reshape;
        step.dtype = self.dtype();
        step.dims = Dims::new(&[elements]);
        step.inputs = elements;
        step.outputs = elements;
        step.macs = u64::from(elements);
        step.work = match self.dtype() {
            DType::F32 => Work::Float(Float::Copy),
            _ => Work::Int8(Int8::Flip),
        };
        step.op = op;
        step.tensor = tensor;
        Some(())
    }

    /// The step of an operation, with a place for its constants, but none for its tensors yet.
    ///
    /// In place: a step is large, and kernel stacks are small.
    #[inline(never)]
    fn op_step(&self, index: u32, plan: &mut Plan, step: &mut Step) -> Option<()> {
        let op = self.op(index)?;
        let [x, ..] = op.inputs;
        let (x, y) = (self.tensor(x)?, self.tensor(op.output)?);
        let mut builder = Builder { plan, temp: 0 };
        let work = &mut step.work;
        match x.dtype {
            _ if Plain::has(op.kind) => put(work, || Plain::plan(self, &op, &mut builder))?,
            DType::Q16 => put(work, || DenseQ16::plan(self, &op, &mut builder))?,
            DType::I16 => put(work, || Int16::plan(self, &op, &mut builder))?,
            DType::F32 => put(work, || Float::plan(self, &op, &mut builder))?,
            _ => put(work, || Int8::plan(self, &op, &mut builder))?,
        }
        let temp = builder.temp;
        let elements = |tensor: &Tensor| u32::try_from(tensor.elements()).ok();
        step.kind = op.kind;
        step.dtype = x.dtype;
        step.activation = op.activation;
        step.inputs = elements(&x)?;
        step.outputs = elements(&y)?;
        let plain = Dims::new(&[step.outputs]);
        step.dims = self.dims(&op).unwrap_or(plain);
        step.macs = self.op_macs(&op)?;
        step.weight_bytes = self.op_weight_bytes(&op);
        step.temp = self.slot_of(x.dtype, temp)?;
        step.op = index;
        step.tensor = op.output;
        Some(())
    }

    /// Bytes of the constants of an operation.
    fn op_weight_bytes(&self, op: &Op) -> u64 {
        let bytes = |index: u32| self.tensor(index).map_or(0, |tensor| tensor.data_bytes);
        op.inputs
            .into_iter()
            .fold(0, |sum: u64, index| sum.saturating_add(bytes(index)))
    }

    /// The tensors that step `i` reads; of an operation, its activations.
    fn reads_of(&self, i: usize, step: &Step, copies: bool) -> impl Iterator<Item = u32> + '_ {
        let first = copies && i == 0;
        let copy = step.is_copy();
        let inputs = match copy {
            true if first => [NONE; 4],
            true => [step.tensor, NONE, NONE, NONE],
            false => self.op(step.op).map_or([NONE; 4], |op| op.inputs),
        };
        inputs.into_iter().filter(|&index| {
            self.tensor(index)
                .is_some_and(|tensor| tensor.kind == crate::nnm::TensorKind::Activation)
        })
    }

    /// Whether all that read the input take it where it is: they look at nothing behind it.
    fn takes_input(&self, steps: &[Step]) -> bool {
        let input = self.input_tensor();
        let mut readers = (1usize..).zip(steps.iter().skip(1));
        readers.all(|(i, step)| {
            let products = matches!(&step.work, Work::Float(Float::Products(_)));
            products || !self.reads_of(i, step, true).any(|tensor| tensor == input)
        })
    }

    /// The step that can write the output where it belongs, because nothing but the copy of it reads it.
    fn gives_output(&self, steps: &[Step]) -> Option<usize> {
        let (last, rest) = steps.split_last()?;
        let output = |step: &&Step| step.tensor == last.tensor;
        let (at, writer) = rest
            .iter()
            .enumerate()
            .rev()
            .find(|(_, step)| output(step))?;
        let gives = matches!(
            &writer.work,
            Work::Float(Float::Products(_) | Float::Pair(_) | Float::Softmax(_))
        );
        let mut readers = (0usize..).zip(rest);
        let read = readers.any(|(i, step)| {
            self.reads_of(i, step, true)
                .any(|tensor| tensor == last.tensor)
        });
        (gives && !read).then_some(at)
    }

    /// Memory of a sample, nowhere yet.
    fn slot_of(&self, dtype: DType, bytes: usize) -> Option<Slot> {
        if bytes == 0 {
            return Some(Slot::NONE);
        }
        Some(Slot {
            region: Region::None,
            bytes,
            stride: match dtype {
                DType::Q16 | DType::I16 => DenseQ16::stride(bytes)?,
                DType::F32 => Float::stride(bytes)?,
                _ => Int8::stride(bytes)?,
            },
        })
    }

    /// Decides where step `i` reads and writes; where it writes may be given.
    fn place(
        &self,
        i: usize,
        step: &mut Step,
        before: &[Step],
        given: Option<Slot>,
        plan: &mut Plan,
    ) -> Option<()> {
        let copies = plan.steps > self.op_count();
        // CAST: at most MAX_OPS + 2.
        let now = i as u32;
        let last_copy = copies && i != 0 && step.is_copy();
        if copies && i == 0 {
            step.reads[0] = boundary(Region::Input, plan.input_bytes);
        }
        let mut slots = step.reads;
        for (slot, tensor) in slots.iter_mut().zip(self.reads_of(i, step, copies)) {
            *slot = match before.iter().rev().find(|writer| writer.tensor == tensor) {
                Some(writer) => writer.write,
                None if tensor == self.input_tensor() => boundary(Region::Input, plan.input_bytes),
                None => return None,
            };
        }
        step.reads = slots;
        let bytes = usize::try_from(self.tensor(step.tensor)?.bytes()).ok()?;
        if let Some(slot) = given {
            step.write = slot;
        } else if last_copy || (!copies && step.tensor == self.output_tensor()) {
            step.write = boundary(Region::Output, plan.output_bytes);
        } else {
            let mut slot = self.slot_of(step.dtype, bytes)?;
            slot.region = Region::Scratch(free_place(&slot, now, before, None)?);
            plan.reserve(&slot)?;
            step.write = slot;
        }
        if step.temp.bytes > 0 {
            let at = free_place(&step.temp, now, before, Some(&step.write))?;
            step.temp.region = Region::Scratch(at);
            plan.reserve(&step.temp)?;
        }
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
        for part in dst.chunks_mut(1 << 20) {
            self.pause.check()?;
            part.fill(0);
        }
        for step in steps {
            self.pause.check()?;
            match &step.work {
                Work::DenseQ16(dense) => dense.pack(self, step, dst).ok_or(step.mismatch())??,
                Work::Int8(op) => op.pack(self, step, dst).ok_or(step.mismatch())?,
                Work::Int16(op) => op.pack(self, step, dst).ok_or(step.mismatch())?,
                Work::Float(op) => op.pack(self, step, dst).ok_or(step.mismatch())?,
                Work::Plain(op) => op.pack(self, step, dst).ok_or(step.mismatch())?,
            }
        }
        let fault = Error::model(Place::OpTable, Fault::Mismatch);
        plan.chain.pack(steps, dst).ok_or(fault)
    }
}

impl Plan {
    fn reserve(&mut self, slot: &Slot) -> Option<()> {
        if let Region::Scratch(at) = slot.region {
            self.scratch_bytes = self.scratch_bytes.max(at.checked_add(slot.stride)?);
        }
        Some(())
    }
}

/// Input or output.
const fn boundary(region: Region, bytes: usize) -> Slot {
    Slot {
        region,
        bytes,
        stride: bytes,
    }
}

/// Calls what plans the work of one element type, in a stack frame of its own.
#[inline(never)]
fn put(work: &mut Work, plan: impl FnOnce() -> Option<Work>) -> Option<()> {
    *work = plan()?;
    Some(())
}

/// The lowest place that nothing holds which step `now` or a later one reads.
fn free_place(slot: &Slot, now: u32, before: &[Step], beside: Option<&Slot>) -> Option<usize> {
    let held = || {
        let live = before.iter().filter(|other| other.last_use >= now);
        live.map(|other| &other.write).chain(beside)
    };
    let (mut at, mut again) = (0usize, true);
    while again {
        again = false;
        for other in held() {
            if let Region::Scratch(start) = other.region {
                let end = start.checked_add(other.stride)?;
                if start < at.checked_add(slot.stride)? && at < end {
                    (at, again) = (end, true);
                }
            }
        }
    }
    Some(at)
}

pub(super) fn aligned(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(ALIGN)
}
