// SPDX-License-Identifier: GPL-2.0

//! What an operation costs.

use crate::error::Fault;
use crate::float;
use crate::int8::pack;
use crate::trees::SUM_BYTES;

use super::check::operand;
use super::floats::computer_sizes;
use super::kind::OpKind;
use super::ops::{last_dim, Operands};
use super::record::{DType, Op, TensorKind};
use super::trees;
use super::window::Window;
use super::Model;

/// What an operation costs.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Cost {
    /// Multiply-accumulates.
    pub(super) macs: u64,
    /// Bytes of its constants.
    pub(super) weight_bytes: u64,
    /// Bytes of what it writes, and of what it needs meanwhile.
    pub(super) activation_bytes: u64,
}

impl Operands<'_, '_> {
    /// What the operation costs, once its operands are checked.
    pub(super) fn cost(&self) -> Result<Cost, Fault> {
        let (model, op) = (self.model, self.op);
        let output = operand(model, "output", op.output, TensorKind::Activation)?;
        // A copy with a border may be much larger than the image: pads are as wide as windows.
        let copies = match op.kind {
            OpKind::Conv2d | OpKind::DepthwiseConv2d => Window::of(model, op)
                .map(|window| {
                    window
                        .padded_elements()
                        .saturating_mul(output.dtype.bytes())
                })
                .unwrap_or(u64::MAX),
            // Scores, and the keys of a head.
            OpKind::Attention => {
                let ([_, k, ..], [heads, ..]) = (op.inputs, op.params);
                let [s, c, ..] = model.tensor(k).ok_or(Fault::Mismatch)?.dims;
                let d = c.checked_div(heads.unsigned_abs()).unwrap_or(c);
                let n = |dim: u32| usize::try_from(dim).unwrap_or(usize::MAX);
                let elements = float::attention_elements(n(s), n(d));
                elements.map_or(u64::MAX, |n| (n as u64).saturating_mul(4))
            }
            OpKind::AttentionStep => {
                let ([q, .., s], [heads, ..]) = (op.inputs, op.params);
                let tensor = |index| model.tensor(index).ok_or(Fault::Mismatch);
                let ([c, ..], [s, ..]) = (tensor(q)?.dims, tensor(s)?.dims);
                let d = c.checked_div(heads.unsigned_abs()).unwrap_or(c);
                let n = |dim: u32| usize::try_from(dim).unwrap_or(usize::MAX);
                let tokens = s.checked_div(c.saturating_mul(2)).unwrap_or(s);
                let elements = float::attention_elements(n(tokens), n(d));
                elements.map_or(u64::MAX, |n| (n as u64).saturating_mul(4))
            }
            OpKind::Dnc => {
                let (interface, _) = computer_sizes(op).ok_or(Fault::Mismatch)?;
                let [rows, ..] = op.params;
                let elements = u64::from(interface).saturating_mul(2);
                let weightings = u64::from(rows.unsigned_abs()).saturating_mul(4);
                elements.saturating_add(weightings).saturating_mul(4)
            }
            // Sums, and what functions are applied to.
            OpKind::Dense if output.dtype == DType::I16 => {
                u64::from(last_dim(&output)).saturating_mul(4)
            }
            OpKind::Forest => u64::from(last_dim(&output)).saturating_mul(SUM_BYTES as u64),
            _ => 0,
        };
        let packed = self.packed_bytes().unwrap_or(0);
        Ok(Cost {
            macs: model.op_macs(op).ok_or(Fault::Mismatch)?,
            weight_bytes: self.weight_bytes.saturating_add(packed),
            activation_bytes: output.bytes().saturating_add(copies),
        })
    }

    /// Bytes of the weights of a layer of codes as they are packed, at the most: rows and segments are
    /// filled up, which for small ones is more than what they have.
    fn packed_bytes(&self) -> Option<u64> {
        let [x, w, third, _] = self.op.inputs;
        if self.op.kind == OpKind::Interpolate {
            let (x, y) = (self.model.tensor(x)?, self.model.tensor(self.op.output)?);
            let lanes = u64::from(last_dim(&y)).next_multiple_of(16);
            let elements = lanes.saturating_mul(u64::from(last_dim(&x)));
            return Some(elements.saturating_mul(4).saturating_add(1024));
        }
        let w = match self.op.kind {
            OpKind::LstmCell | OpKind::GruCell => third,
            _ => w,
        };
        let w = self.model.tensor(w)?;
        if w.dtype == DType::F32 {
            // Rows, or channels of a depthwise convolution, are filled up to 16.
            let filled = match self.op.kind {
                OpKind::DepthwiseConv2d => last_dim(&w),
                _ => {
                    let [rows, ..] = w.dims;
                    rows
                }
            };
            let lanes = u64::from(filled).next_multiple_of(16);
            let bytes = w.bytes().checked_div(u64::from(filled)).unwrap_or(0);
            return Some(bytes.saturating_mul(lanes).saturating_add(1024));
        }
        if w.dtype != DType::I8 {
            return None;
        }
        let n = |dim: u32| usize::try_from(dim).unwrap_or(usize::MAX);
        let bytes = match (self.op.kind, w.dims.map(n)) {
            // Input and state of a memory are filled up on their own.
            (OpKind::Lstm, [rows, k, ..]) => pack::packed_gemm_bytes(rows, 2, k),
            (OpKind::Dense, [rows, k, ..]) => pack::packed_gemm_bytes(rows, 1, k),
            (OpKind::Conv2d, [rows, kh, kw, c]) => {
                pack::packed_gemm_bytes(rows, kh.saturating_mul(kw), c)
            }
            (OpKind::DepthwiseConv2d, [kh, kw, c, _]) => {
                pack::packed_depthwise_bytes(kh.saturating_mul(kw), c)
            }
            _ => return None,
        };
        Some(bytes.map_or(u64::MAX, |bytes| bytes as u64))
    }
}

fn product_of(dims: &[u32]) -> u64 {
    dims.iter()
        .fold(1, |n: u64, &dim| n.saturating_mul(u64::from(dim)))
}

impl Model<'_> {
    /// Multiply-accumulates of an operation; of one without, the elements that it writes.
    pub(crate) fn op_macs(&self, op: &Op) -> Option<u64> {
        let [x, w, ..] = op.inputs;
        let out = self.tensor(op.output)?.elements();
        let times = |dims: &[u32]| {
            dims.iter()
                .fold(out, |macs, &n| macs.saturating_mul(u64::from(n)))
        };
        Some(match op.kind {
            OpKind::Dense => times(&[last_dim(&self.tensor(w)?)]),
            OpKind::Conv2d => {
                let [_, kh, kw, c] = self.tensor(w)?.dims;
                times(&[kh, kw, c])
            }
            OpKind::DepthwiseConv2d | OpKind::AveragePool2d | OpKind::MaxPool2d => {
                times(&Window::of(self, op).ok()?.window)
            }
            OpKind::Dnc => {
                // Links and allocation, memory, and both again for each head.
                let [rows, width, heads, ..] = op.params.map(i32::unsigned_abs);
                let once = product_of(&[rows, rows.saturating_add(width).saturating_mul(2)]);
                once.saturating_mul(u64::from(heads).saturating_add(1))
            }
            OpKind::Interpolate => times(&[last_dim(&self.tensor(x)?)]),
            OpKind::Mean => self.tensor(x)?.elements(),
            OpKind::Attention => {
                // Scores and sums of values.
                let [keys, ..] = self.tensor(w)?.dims;
                times(&[keys]).saturating_mul(2)
            }
            OpKind::Lstm | OpKind::Gru => {
                let [rows, columns, ..] = self.tensor(w)?.dims;
                let [steps, ..] = self.tensor(x)?.dims;
                product_of(&[steps, rows, columns])
            }
            OpKind::LstmCell | OpKind::GruCell => {
                let [_, _, w, _] = op.inputs;
                let [rows, columns, ..] = self.tensor(w)?.dims;
                product_of(&[rows, columns])
            }
            OpKind::Forest => trees::forest_macs(self, op)?,
            OpKind::Cosine => product_of(&[last_dim(&self.tensor(x)?)]).saturating_mul(out),
            _ => out,
        })
    }
}
