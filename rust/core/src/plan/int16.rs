// SPDX-License-Identifier: GPL-2.0

//! Layers of 16-bit codes: sums of each row in 32 bits, then a function in Q16.16 if there is one.

use crate::act::Activation;
use crate::error::Error;
use crate::fixed;
use crate::int16::{self as codes, BIAS_BYTES, ELEMENT_BYTES};
use crate::int8::Multiplier;
use crate::nnm::{Model, Op, OpKind, TensorKind};

use super::build::Builder;
use super::{piece, product, slice_from, usize_of, Kernels, Meter, Part, Step, Tensors, Work};

/// What a step does with 16-bit codes.
#[derive(Copy, Clone, Debug)]
pub(super) enum Int16 {
    Dense(Dense),
    Pair(Pair),
}

/// A dense layer.
#[derive(Copy, Clone, Debug)]
pub(super) struct Dense {
    weights: Part,
    bias: Part,
    /// Multipliers of all rows, then shifts of all rows.
    factors: Part,
    k: usize,
    n: usize,
    /// What a function gives, from Q16.16 to codes.
    result: Option<Multiplier>,
}

/// Sum or product of two tensors.
#[derive(Copy, Clone, Debug)]
pub(super) struct Pair {
    /// `b`, if it is a constant.
    constant: Option<Part>,
    pair: codes::Pair,
}

/// What a result costs besides its products, and what it costs with a function, in multiply-accumulates.
const RESULT_MACS: u64 = 16;
const FUNCTION_MACS: u64 = 64;

impl Int16 {
    /// What an operation becomes; finds a place for its constants.
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Work> {
        let [_, second, third, _] = op.inputs;
        let work = match op.kind {
            OpKind::Dense => Int16::Dense(Dense::plan(model, op, builder)?),
            OpKind::Add | OpKind::Sub | OpKind::Mul => {
                let b = model.tensor(second)?;
                let bytes = usize::try_from(b.bytes()).ok()?;
                let mut words = fixed::elements(model.data(&model.tensor(third)?)?);
                let (p, q) = (words.next()?, words.next()?);
                Int16::Pair(Pair {
                    constant: match b.kind {
                        TensorKind::Constant => Some(Part::new(builder, bytes)?),
                        TensorKind::Activation => None,
                    },
                    pair: match op.kind {
                        OpKind::Mul => codes::Pair::Product(Multiplier { mult: p, shift: q }),
                        kind => codes::Pair::Sum {
                            mult: match kind {
                                OpKind::Sub => [p, q.saturating_neg()],
                                _ => [p, q],
                            },
                            shift: u32::try_from(words.next()?).ok()?,
                        },
                    },
                })
            }
            _ => return None,
        };
        Some(Work::Int16(work))
    }

    /// Copies constants to their place.
    pub(super) fn pack(&self, model: &Model<'_>, step: &Step, dst: &mut [u8]) -> Option<()> {
        let inputs = model.op(step.op)?.inputs;
        let mut put = |part: &Part, slot: usize| {
            let data = model.data(&model.tensor(inputs.get(slot).copied()?)?)?;
            let to = part.of_mut(dst)?.get_mut(..data.len())?;
            to.copy_from_slice(data);
            Some(())
        };
        match self {
            Int16::Dense(dense) => {
                put(&dense.weights, 1)?;
                put(&dense.bias, 2)?;
                put(&dense.factors, 3)
            }
            Int16::Pair(Pair {
                constant: Some(part),
                ..
            }) => put(part, 1),
            Int16::Pair(_) => Some(()),
        }
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
        let Tensors { reads, write, temp } = tensors;
        let outputs = write.chunks_exact_mut(step.write.stride.max(1));
        for (s, y) in outputs.enumerate().take(samples) {
            let sample = |slot: usize| {
                let (data, slot) = (reads.get(slot)?, step.reads.get(slot)?);
                let start = s.checked_mul(slot.stride)?;
                data.get(start..)?.get(..slot.bytes)
            };
            let x = sample(0).ok_or(step.mismatch())?;
            let y = y.get_mut(..step.write.bytes).ok_or(step.mismatch())?;
            match self {
                Int16::Dense(dense) => dense.run(step, meter, packed, x, y, temp)?,
                Int16::Pair(pair) => {
                    let b = match &pair.constant {
                        Some(part) => part.of(packed),
                        None => sample(1),
                    };
                    pair.run(meter, x, b.ok_or(step.mismatch())?, y)?;
                }
            }
        }
        Ok(())
    }
}

impl Dense {
    fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
        let [_, w, ..] = op.inputs;
        let [n, k, ..] = model.tensor(w)?.dims.map(usize_of);
        let [_, mult, shift, ..] = op.params;
        builder.temp(product(&[n, fixed::ELEMENT_BYTES])?);
        Some(Dense {
            weights: Part::new(builder, product(&[n, k, ELEMENT_BYTES])?)?,
            bias: Part::new(builder, product(&[n, BIAS_BYTES])?)?,
            factors: Part::new(builder, product(&[n, 2, fixed::ELEMENT_BYTES])?)?,
            k,
            n,
            result: match op.activation {
                Activation::Linear | Activation::Relu => None,
                _ => Some(Multiplier { mult, shift }),
            },
        })
    }

    fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        x: &[u8],
        y: &mut [u8],
        temp: &mut [u8],
    ) -> Result<(), Error> {
        let fault = || step.mismatch();
        let weights = self.weights.of(packed).ok_or_else(fault)?;
        let bias = self.bias.of(packed).ok_or_else(fault)?;
        let factors = self.factors.of(packed).ok_or_else(fault)?;
        let words = self.n.saturating_mul(fixed::ELEMENT_BYTES);
        let (mult, shift) = factors.split_at_checked(words).ok_or_else(fault)?;
        let sums = temp.get_mut(..words).ok_or_else(fault)?;
        let row_bytes = self.k.saturating_mul(ELEMENT_BYTES);
        let each = match self.result {
            Some(_) => FUNCTION_MACS,
            None => RESULT_MACS,
        };
        // CAST: widens.
        let row_macs = (self.k as u64).saturating_add(each);
        // CAST: 64 bits, as on every target of the module.
        let most = meter.fit(row_macs as usize).clamp(1, self.n.max(1));
        let x = x.chunks_exact(row_bytes.max(1));
        let y = y.chunks_exact_mut(self.n.saturating_mul(ELEMENT_BYTES).max(1));
        for (x, y) in x.zip(y) {
            let parts = sums.chunks_mut(most.saturating_mul(fixed::ELEMENT_BYTES));
            for (i, part) in parts.enumerate() {
                let row = i.saturating_mul(most);
                let rows = part.len() / fixed::ELEMENT_BYTES;
                // CAST: widens.
                meter.spend((rows as u64).saturating_mul(row_macs))?;
                let from = row.saturating_mul(fixed::ELEMENT_BYTES);
                meter.kernels.dense_i16(codes::Dense {
                    w: slice_from(weights, row.saturating_mul(row_bytes)),
                    bias: slice_from(bias, row.saturating_mul(BIAS_BYTES)),
                    mult: slice_from(mult, from),
                    shift: slice_from(shift, from),
                    x,
                    k: self.k,
                    y: part,
                });
            }
            step.activation.apply(sums);
            let results = y.chunks_exact_mut(ELEMENT_BYTES);
            for (y, sum) in results.zip(fixed::elements(sums)) {
                let result = match self.result {
                    Some(factor) => codes::scaled(sum.into(), factor),
                    None => sum,
                };
                y.copy_from_slice(&codes::code(result).to_le_bytes());
            }
        }
        Ok(())
    }
}

impl Pair {
    /// `b` may be shorter than the others: then it repeats.
    fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        a: &[u8],
        b: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let most = piece(meter, RESULT_MACS).saturating_mul(ELEMENT_BYTES);
        let repeat = b.len().max(1);
        for (a, y) in a.chunks(repeat).zip(y.chunks_mut(repeat)) {
            let pieces = a.chunks(most).zip(b.chunks(most)).zip(y.chunks_mut(most));
            for ((a, b), y) in pieces {
                // CAST: widens.
                let elements = (y.len() / ELEMENT_BYTES) as u64;
                meter.spend(elements.saturating_mul(RESULT_MACS))?;
                codes::pair(self.pair, a, b, y);
            }
        }
        Ok(())
    }
}
