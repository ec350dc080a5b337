// SPDX-License-Identifier: GPL-2.0

//! Layers of 8-bit codes: how they are laid out in memory, and how they become calls of [`Kernels`].
//!
//! Codes in scratch memory are biased, see [`crate::int8`]. Behind every tensor there lie
//! [`SLACK`] bytes that may be read.

mod elements;
mod memory;
mod products;

use crate::error::Error;
use crate::fixed;
use crate::int8::{Multiplier, BIAS, SLACK};
use crate::nnm::{last_dim, Model, Op, OpKind, Tensor, TensorKind, Window};

use super::build::{aligned, Builder};
use super::{pair_of, usize_of, Kernels, Meter, Part, Step, Tensors, Work};

use self::elements::{each, Mean, Pair, Pooling, Softmax};
use self::memory::Memory;
use self::products::Products;

/// The operands of a product are multiplied as they are.
const NO_FACTOR: Multiplier = Multiplier { mult: 0, shift: 0 };

/// What a step does with codes.
#[derive(Copy, Clone, Debug)]
pub(super) enum Int8 {
    /// From codes to biased codes or back.
    Flip,
    Products(Products),
    Pooling(Pooling),
    Pair(Pair),
    Mean(Mean),
    Softmax(Softmax),
    Lut(Part),
    Memory(Memory),
}

/// A zero point as biased codes have it.
const fn biased(zero_point: i32) -> i32 {
    zero_point.wrapping_add(BIAS)
}

/// The `index`th multiplier and shift of a constant.
fn multiplier_of(model: &Model<'_>, tensor: u32, index: usize) -> Option<Multiplier> {
    let tensor = model.tensor(tensor)?;
    let mut numbers = fixed::elements(model.data(&tensor)?).skip(index.checked_mul(2)?);
    Some(Multiplier {
        mult: numbers.next()?,
        shift: numbers.next()?,
    })
}

impl Int8 {
    /// Bytes from a sample to the next one.
    pub(super) fn stride(bytes: usize) -> Option<usize> {
        aligned(bytes.checked_add(SLACK)?)
    }

    /// What an operation becomes; finds a place for its constants.
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Work> {
        let [x_index, second, ..] = op.inputs;
        let (x, y) = (model.tensor(x_index)?, model.tensor(op.output)?);
        let [p0, p1, p2, ..] = op.params;
        let work = match op.kind {
            OpKind::Dense | OpKind::Conv2d | OpKind::DepthwiseConv2d => {
                Int8::Products(Products::plan(model, op, builder)?)
            }
            OpKind::AveragePool2d | OpKind::MaxPool2d => {
                let window = Window::of(model, op).ok()?;
                Int8::Pooling(Pooling {
                    image: window.image.map(usize_of),
                    out: pair_of(window.out),
                    window: pair_of(window.window),
                    stride: pair_of(window.stride),
                    pad: pair_of(window.before),
                    min: biased(p0),
                    max: biased(p1),
                    greatest: op.kind == OpKind::MaxPool2d,
                })
            }
            OpKind::Add | OpKind::Sub | OpKind::Mul => Self::pair(model, op, &x, &y, builder)?,
            OpKind::Mean => {
                let channels = usize_of(last_dim(&x));
                Int8::Mean(Mean {
                    rows: usize::try_from(x.elements()).ok()?.checked_div(channels)?,
                    channels,
                    x_zero: biased(x.zero_point),
                    y: (biased(y.zero_point), multiplier_of(model, second, 0)?),
                })
            }
            OpKind::Softmax => Int8::Softmax(Softmax {
                n: usize_of(last_dim(&x)),
                beta: Multiplier {
                    mult: p0,
                    shift: p1,
                },
                diff_min: p2,
            }),
            OpKind::Lut => Int8::Lut(Part::new(builder, 256)?),
            OpKind::Lstm => Int8::Memory(Memory::plan(model, op, builder)?),
            _ => return None,
        };
        Some(Work::Int8(work))
    }

    fn pair(
        model: &Model<'_>,
        op: &Op,
        x: &Tensor,
        y: &Tensor,
        builder: &mut Builder<'_>,
    ) -> Option<Self> {
        let [_, second, third, _] = op.inputs;
        let [min, max, zero, ..] = op.params.map(biased);
        let b = model.tensor(second)?;
        let (constant, b_zero) = match b.kind {
            TensorKind::Constant => {
                let bytes = usize::try_from(b.bytes()).ok()?;
                (Some(Part::new(builder, bytes)?), zero)
            }
            TensorKind::Activation => (None, biased(b.zero_point)),
        };
        let scale = |i| multiplier_of(model, third, i);
        let (a, b, y_scale) = match op.kind {
            OpKind::Mul => (NO_FACTOR, NO_FACTOR, scale(0)?),
            _ => (scale(0)?, scale(1)?, scale(2)?),
        };
        Some(Int8::Pair(Pair {
            constant,
            a: (biased(x.zero_point), a),
            b: (b_zero, b),
            y: (biased(y.zero_point), y_scale),
            min,
            max,
            kind: op.kind,
        }))
    }

    /// Copies constants to their place.
    pub(super) fn pack(&self, model: &Model<'_>, step: &Step, dst: &mut [u8]) -> Option<()> {
        let constant = |slot: usize| {
            let index = model.op(step.op)?.inputs.get(slot).copied()?;
            model.data(&model.tensor(index)?)
        };
        let flipped = |part: &Part, dst: &mut [u8]| {
            for (to, from) in part.of_mut(dst)?.iter_mut().zip(constant(1)?) {
                *to = from ^ 0x80;
            }
            Some(())
        };
        match self {
            Int8::Products(products) => {
                products.pack(constant(1)?, constant(2)?, constant(3)?, dst)?;
            }
            Int8::Pair(Pair {
                constant: Some(part),
                ..
            }) => flipped(part, dst)?,
            Int8::Lut(part) => {
                flipped(part, dst)?;
                // It is looked up by biased codes.
                part.of_mut(dst)?.rotate_left(128);
            }
            Int8::Memory(memory) => memory.pack(model, step, dst)?,
            _ => {}
        }
        Some(())
    }

    // Its frame is not to be a part of that of `run` in `plan.rs`.
    #[inline(never)]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        samples: usize,
        tensors: &mut Tensors<'_>,
    ) -> Result<(), Error> {
        if let Int8::Products(products) = self {
            return products.run(step, meter, packed, samples, tensors);
        }
        let Tensors { reads, write, temp } = tensors;
        if let Int8::Flip = self {
            let [x, ..] = reads;
            return elements::flip(step, meter, samples, x, write);
        }
        let outputs = write.chunks_exact_mut(step.write.stride.max(1));
        for (s, y) in outputs.enumerate().take(samples) {
            let sample = |slot: usize| {
                let (data, slot) = (reads.get(slot)?, step.reads.get(slot)?);
                let start = s.checked_mul(slot.stride)?;
                data.get(start..)?.get(..slot.bytes)
            };
            let (Some(x), Some(y)) = (sample(0), y.get_mut(..step.write.bytes)) else {
                return Err(step.mismatch());
            };
            match self {
                Int8::Flip | Int8::Products(_) => {}
                Int8::Pooling(pool) => pool.run(meter, x, y)?,
                Int8::Pair(pair) => {
                    let b = match &pair.constant {
                        Some(part) => part.of(packed),
                        None => sample(1),
                    };
                    pair.run(meter, x, b.ok_or(step.mismatch())?, y)?;
                }
                Int8::Memory(memory) => {
                    let at = s.saturating_mul(step.temp.stride);
                    let temp = temp.get_mut(at..).unwrap_or_default();
                    // With what may be read behind it.
                    let [x, ..] = reads;
                    let [from, ..] = step.reads;
                    let x = x.get(s.saturating_mul(from.stride)..).unwrap_or_default();
                    memory.run(step, meter, packed, x, y, temp)?;
                }
                Int8::Mean(mean) => mean.run(meter, x, y)?,
                Int8::Softmax(softmax) => softmax.run(meter, x, y)?,
                Int8::Lut(part) => {
                    let table = part.of(packed).and_then(|table| table.first_chunk());
                    let table = table.ok_or(step.mismatch())?;
                    each(meter, x, y, |kernels, x, y| kernels.lut_i8(table, x, y))?;
                }
            }
        }
        Ok(())
    }
}
