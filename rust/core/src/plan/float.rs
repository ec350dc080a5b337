// SPDX-License-Identifier: GPL-2.0

//! Layers of single precision: how they are laid out in memory, and how they become calls of
//! [`Kernels`], which alone can compute them.

mod cached;
mod computer;
mod cut;
mod interpolate;
mod pieces;
mod recurrent;

use crate::error::Error;
use crate::fixed::ELEMENT_BYTES;
use crate::float::{self, Act, ChainLayer, Function, Operator};
use crate::int8::{LANES, SLACK};
use crate::nnm::{last_dim, Model, Op, OpKind, Tensor, TensorKind, Window};

use super::build::{aligned, Builder};
use super::patches::{Patches, Piece};
use super::{pair_of, product, slice_from, usize_of, Kernels, Meter, Part, Step, Tensors, Work};

use self::cached::Cached;
use self::computer::Computer;
use self::cut::{vector, Sums};
use self::pieces::{Attention, Cosine, Mean, Norm, Normalise, Pair, Pooling, Softmax};
use self::recurrent::Recurrent;

/// What a step does with numbers.
// As with all the work of a step, there is no allocation that a large variant could be put into.
#[allow(clippy::large_enum_variant)]
#[derive(Copy, Clone, Debug)]
pub(super) enum Float {
    /// From the input, or to the output.
    Copy,
    Products(Products),
    Pooling(Pooling),
    Pair(Pair),
    Mean(Mean),
    Softmax(Softmax),
    Map(Act),
    Norm(Norm),
    Attention(Attention),
    Recurrent(Recurrent),
    Cosine(Cosine),
    Cached(Cached),
    Computer(Computer),
    Normalise(Normalise),
}

/// A dense layer or a convolution.
#[derive(Copy, Clone, Debug)]
pub(super) struct Products {
    patches: Patches,
    weights: Part,
    bias: Part,
    act: Act,
}

/// Nothing becomes of the sums.
const NO_ACT: Act = Act {
    function: Function::None,
    slope: 0,
};

/// The function in parameters 0 and 1.
fn act_of(op: &Op) -> Option<Act> {
    let [code, slope, ..] = op.params;
    Some(Act {
        function: Function::from_code(u32::try_from(code).ok()?)?,
        // CAST: the same bits.
        slope: slope as u32,
    })
}

/// The second operand, if it is a constant.
fn constant_of(tensor: &Tensor, builder: &mut Builder<'_>) -> Option<Option<Part>> {
    Some(match tensor.kind {
        TensorKind::Constant => {
            let bytes = usize::try_from(tensor.bytes()).ok()?;
            // Vector code may read behind it, as behind every tensor.
            Some(Part::new(builder, bytes.checked_add(SLACK)?)?)
        }
        TensorKind::Activation => None,
    })
}

impl Float {
    /// Bytes from a sample to the next one.
    pub(super) fn stride(bytes: usize) -> Option<usize> {
        aligned(bytes.checked_add(SLACK)?)
    }

    /// What an operation becomes; finds a place for its constants.
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Work> {
        let [x_index, second, ..] = op.inputs;
        let x = model.tensor(x_index)?;
        let n = usize_of(last_dim(&x));
        let elements = usize::try_from(x.elements()).ok()?;
        let [p0, p1, p2, ..] = op.params;
        let mut list = |elements: usize| {
            let bytes = elements.checked_mul(ELEMENT_BYTES)?;
            Part::new(builder, bytes.checked_add(SLACK)?)
        };
        let work = match op.kind {
            OpKind::Dense | OpKind::Conv2d | OpKind::DepthwiseConv2d => {
                Float::Products(Products::plan(model, op, builder)?)
            }
            OpKind::AveragePool2d | OpKind::MaxPool2d => {
                let window = Window::of(model, op).ok()?;
                Float::Pooling(Pooling {
                    image: window.image.map(usize_of),
                    out: pair_of(window.out),
                    window: pair_of(window.window),
                    stride: pair_of(window.stride),
                    pad: pair_of(window.before),
                    greatest: op.kind == OpKind::MaxPool2d,
                })
            }
            OpKind::Add | OpKind::Sub | OpKind::Mul => Float::Pair(Pair {
                constant: constant_of(&model.tensor(second)?, builder)?,
                operator: match op.kind {
                    OpKind::Add => Operator::Add,
                    OpKind::Sub => Operator::Sub,
                    _ => Operator::Mul,
                },
                act: act_of(op)?,
            }),
            OpKind::Mean => Float::Mean(Mean {
                rows: elements.checked_div(n)?,
                n,
            }),
            OpKind::Softmax | OpKind::LogSoftmax => Float::Softmax(Softmax {
                n,
                log: op.kind == OpKind::LogSoftmax,
            }),
            OpKind::Map => Float::Map(act_of(op)?),
            OpKind::LayerNorm | OpKind::RmsNorm => Float::Norm(Norm {
                n,
                gamma: list(n)?,
                beta: match op.kind {
                    OpKind::LayerNorm => Some(list(n)?),
                    _ => None,
                },
                // CAST: the same bits.
                eps: p0 as u32,
            }),
            OpKind::Attention => {
                let ([t, ..], [s, ..]) = (x.dims.map(usize_of), model.tensor(second)?.dims);
                let (s, heads) = (usize_of(s), usize::try_from(p0).ok()?);
                let d = n.checked_div(heads)?;
                let elements = float::attention_elements(s, d)?;
                builder.temp(product(&[elements, ELEMENT_BYTES])?);
                Float::Attention(Attention {
                    t,
                    s,
                    heads,
                    d,
                    causal: p1 == 1,
                    // CAST: the same bits.
                    scale: p2 as u32,
                })
            }
            OpKind::Lstm | OpKind::LstmCell | OpKind::Gru | OpKind::GruCell => {
                Float::Recurrent(Recurrent::plan(model, op, builder)?)
            }
            OpKind::Interpolate => Float::Products(Products::interpolation(model, op, builder)?),
            OpKind::Dnc => Float::Computer(Computer::plan(op, builder)?),
            OpKind::Normalise => Float::Normalise(Normalise {
                n,
                range: p0 == 1,
                most: usize::try_from(p1).ok()?,
                // CAST: the same bits.
                eps: p2 as u32,
            }),
            OpKind::AttentionStep => Float::Cached(Cached::plan(model, op, builder)?),
            OpKind::Cosine => Float::Cosine(Cosine {
                constant: constant_of(&model.tensor(second)?, builder)?,
                d: n,
                // CAST: the same bits.
                eps: p0 as u32,
            }),
            _ => return None,
        };
        Some(Work::Float(work))
    }

    /// Copies constants to their place.
    pub(super) fn pack(&self, model: &Model<'_>, step: &Step, dst: &mut [u8]) -> Option<()> {
        let constant = |slot: usize| {
            let index = model.op(step.op)?.inputs.get(slot).copied()?;
            model.data(&model.tensor(index)?)
        };
        let put = |part: &Part, slot: usize, dst: &mut [u8]| {
            let data = constant(slot)?;
            part.of_mut(dst)?
                .get_mut(..data.len())?
                .copy_from_slice(data);
            Some(())
        };
        match self {
            Float::Products(products) if step.kind == OpKind::Interpolate => {
                products.pack_interpolation(dst)?
            }
            Float::Products(products) => products.pack(constant(1)?, constant(2)?, dst)?,
            Float::Pair(Pair {
                constant: Some(part),
                ..
            })
            | Float::Cosine(Cosine {
                constant: Some(part),
                ..
            }) => put(part, 1, dst)?,
            Float::Norm(norm) => {
                put(&norm.gamma, 1, dst)?;
                if let Some(beta) = &norm.beta {
                    put(beta, 2, dst)?;
                }
            }
            Float::Recurrent(recurrent) => recurrent.pack(model, step, dst)?,
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
        let Tensors { reads, write, temp } = tensors;
        if let Float::Products(products) = self {
            let [x, ..] = *reads;
            return products.run(step, meter, packed, samples, x, write, temp);
        }
        let outputs = write.chunks_exact_mut(step.write.stride.max(1));
        let temp_bytes = step.temp.stride;
        for (s, y) in outputs.enumerate().take(samples) {
            let sample = |slot: usize| {
                let (data, slot) = (reads.get(slot)?, step.reads.get(slot)?);
                let start = s.checked_mul(slot.stride)?;
                data.get(start..)?.get(..slot.bytes)
            };
            let at = s.saturating_mul(temp_bytes);
            let temp = temp.get_mut(at..).and_then(|t| t.get_mut(..temp_bytes));
            let x = sample(0).ok_or(step.mismatch())?;
            let y = y.get_mut(..step.write.bytes).ok_or(step.mismatch())?;
            match self {
                Float::Copy => {
                    meter.copy(y.len())?;
                    y.get_mut(..x.len())
                        .ok_or(step.mismatch())?
                        .copy_from_slice(x);
                }
                Float::Recurrent(recurrent) => {
                    let temp = temp.ok_or(step.mismatch())?;
                    // With what may be read behind it.
                    let ([x, ..], [from, ..]) = (*reads, step.reads);
                    let x = slice_from(x, from.stride.saturating_mul(s));
                    recurrent.run(step, meter, packed, x, sample(1), y, temp)?;
                }
                Float::Pooling(pool) => pool.run(meter, x, y)?,
                Float::Pair(pair) => {
                    let b = second(&pair.constant, sample(1), packed).ok_or(step.mismatch())?;
                    cut::binary(meter, (pair.operator, pair.act), x, b, y)?;
                }
                Float::Mean(mean) => cut::mean(meter, (mean.rows, mean.n), x, y)?,
                Float::Softmax(softmax) => {
                    cut::softmax(meter, (softmax.n, softmax.log), x, y)?;
                }
                Float::Map(act) => cut::map(meter, *act, x, y)?,
                Float::Norm(norm) => {
                    let lists = norm.lists(packed).ok_or(step.mismatch())?;
                    norm.run(meter, lists, x, y)?;
                }
                Float::Attention(attention) => {
                    let (k, v) = sample(1).zip(sample(2)).ok_or(step.mismatch())?;
                    let temp = temp.ok_or(step.mismatch())?;
                    attention.run(meter, [x, k, v], y, temp)?;
                }
                Float::Cosine(cosine) => {
                    let rows = second(&cosine.constant, sample(1), packed);
                    let rows = rows.ok_or(step.mismatch())?;
                    cut::cosine(meter, (cosine.d, cosine.eps), x, rows, y)?;
                }
                Float::Cached(cached) => {
                    let operands = [sample(0), sample(1), sample(2), sample(3)];
                    let [Some(q), Some(k), Some(v), Some(state)] = operands else {
                        return Err(step.mismatch());
                    };
                    let temp = temp.ok_or(step.mismatch())?;
                    cached.run(step, meter, [q, k, v, state], y, temp)?;
                }
                Float::Computer(computer) => {
                    let state = sample(1).ok_or(step.mismatch())?;
                    let temp = temp.ok_or(step.mismatch())?;
                    computer.run(step, meter, x, state, y, temp)?;
                }
                Float::Normalise(normalise) => {
                    let state = sample(1).ok_or(step.mismatch())?;
                    normalise.run(step, meter, x, state, y)?;
                }
                Float::Products(_) => return Err(step.mismatch()),
            }
        }
        Ok(())
    }
}

/// The second operand: a constant, or what was computed.
fn second<'a>(
    constant: &Option<Part>,
    computed: Option<&'a [u8]>,
    packed: &'a [u8],
) -> Option<&'a [u8]> {
    match constant {
        Some(part) => part.of(packed)?.get(..part.bytes.saturating_sub(SLACK)),
        None => computed,
    }
}

impl Products {
    fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
        let patches = Patches::plan(model, op, ELEMENT_BYTES, 0, builder)?;
        let lanes = patches.n.checked_next_multiple_of(LANES)?;
        let bytes = match patches.depthwise {
            true => product(&[patches.segments, lanes, ELEMENT_BYTES])?,
            false => float::packed_gemm_bytes(patches.n, patches.segments, patches.k)?,
        };
        Some(Products {
            patches,
            weights: Part::new(builder, bytes)?,
            bias: Part::new(builder, lanes.checked_mul(ELEMENT_BYTES)?)?,
            act: act_of(op)?,
        })
    }

    /// What a chain of layers needs, of a dense layer of one position.
    pub(super) fn chain_layer(&self) -> Option<ChainLayer> {
        if !self.patches.is_single() {
            return None;
        }
        let Patches { n, k, .. } = self.patches;
        Some(ChainLayer {
            k: u32::try_from(k).ok()?,
            n: u32::try_from(n).ok()?,
            w: u32::try_from(self.weights.at).ok()?,
            bias: u32::try_from(self.bias.at).ok()?,
            by_row: float::by_row(n, k).into(),
            function: self.act.function.code(),
            slope: self.act.slope,
            reserved: 0,
        })
    }

    fn pack(&self, w: &[u8], bias: &[u8], dst: &mut [u8]) -> Option<()> {
        let Patches { n, k, segments, .. } = self.patches;
        let out = self.weights.of_mut(dst)?;
        match self.patches.depthwise {
            true => float::pack_depthwise(w, n, out),
            false => float::pack_gemm(w, n, segments.checked_mul(k)?, out),
        }
        let out = self.bias.of_mut(dst)?.get_mut(..bias.len())?;
        out.copy_from_slice(bias);
        self.patches.pack(dst)
    }

    #[allow(clippy::too_many_arguments)]
    fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        samples: usize,
        x: &[u8],
        y: &mut [u8],
        temp: &mut [u8],
    ) -> Result<(), Error> {
        let constants = self.weights.of(packed).zip(self.bias.of(packed));
        let (weights, bias) = constants.ok_or(step.mismatch())?;
        let offsets = self.patches.offsets(packed).ok_or(step.mismatch())?;
        let sums = Sums {
            weights,
            bias,
            offsets,
            k: self.patches.k,
            by_row: self.patches.by_row,
            act: self.act,
        };
        let mut f = |meter: &mut Meter<'_, K>, x: &[u8], y: &mut [u8], piece: &Piece| {
            self.patches.floats(meter, sums, x, y, piece)
        };
        self.patches.run(step, meter, samples, x, y, temp, &mut f)
    }
}

impl Patches {
    /// Computes a piece of a layer, in parts if one position of a panel is too much.
    fn floats<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        sums: Sums<'_>,
        x: &[u8],
        y: &mut [u8],
        piece: &Piece,
    ) -> Result<(), Error> {
        let Piece {
            grid,
            y_row,
            y_outer,
            row,
            n,
            ..
        } = *piece;
        let bias = slice_from(sums.bias, row.saturating_mul(ELEMENT_BYTES));
        if self.depthwise {
            let stride = self.n.next_multiple_of(LANES);
            let w = slice_from(sums.weights, row.saturating_mul(ELEMENT_BYTES));
            if !meter.fits(piece.work) {
                let (weights, y) = (w, y.get_mut(..n.saturating_mul(ELEMENT_BYTES)));
                let sums = Sums {
                    weights,
                    bias,
                    ..sums
                };
                return cut::long_window(meter, sums, stride, x, y.unwrap_or_default());
            }
            let layer = float::Depthwise {
                x,
                x_row: grid.x_row,
                x_outer: grid.x_outer,
                y,
                y_row,
                y_outer,
                m: grid.m,
                outer: grid.outer,
                channels: n,
                stride,
                offsets: sums.offsets,
                w,
                bias,
                act: sums.act,
            };
            return vector(meter.kernels.depthwise_f32(layer, piece.work));
        }
        // A piece starts at a panel, before which all panels are whole.
        let row_bytes = self.segments.saturating_mul(self.k);
        let row_bytes = row_bytes.saturating_mul(ELEMENT_BYTES);
        let w = slice_from(sums.weights, row.saturating_mul(row_bytes));
        if !meter.fits(piece.work) {
            let (weights, y) = (w, y.get_mut(..n.saturating_mul(ELEMENT_BYTES)));
            let sums = Sums {
                weights,
                bias,
                ..sums
            };
            return cut::long_row(meter, sums, x, y.unwrap_or_default());
        }
        let layer = float::Gemm {
            x,
            x_row: grid.x_row,
            x_outer: grid.x_outer,
            y,
            y_row,
            y_outer,
            m: grid.m,
            outer: grid.outer,
            n,
            k: self.k,
            offsets: sums.offsets,
            w,
            by_row: sums.by_row,
            bias,
            act: sums.act,
        };
        vector(meter.kernels.gemm_f32(layer, piece.work))
    }
}
