// SPDX-License-Identifier: GPL-2.0

//! What each kind of operation asks of its operands: types, shapes, parameters, and numbers that
//! cannot overflow whatever the input. What the check has found is what the plan builds on, so the
//! geometry of windows is worked out here for both.

use crate::error::{Error, Fault, Place};
use crate::fixed;
use crate::float;
use crate::int8::pack;

use super::check::{check_input, operand};
use super::record::{field, DType, Op, OpKind, Tensor, TensorKind};
use super::{Model, Pause, NONE};

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

/// Checks operands, shapes and parameters of operation `index`.
pub(super) fn check(model: &Model<'_>, index: u32, op: &Op) -> Result<Cost, Fault> {
    let mut operands = Operands {
        model,
        index,
        op,
        weight_bytes: 0,
    };
    match op.kind {
        OpKind::Dense => operands.dense()?,
        OpKind::Conv2d => operands.conv(false)?,
        OpKind::DepthwiseConv2d => operands.conv(true)?,
        OpKind::AveragePool2d | OpKind::MaxPool2d => operands.pool()?,
        OpKind::Add | OpKind::Sub | OpKind::Mul => operands.binary()?,
        OpKind::Concat => operands.concat()?,
        OpKind::Pad => operands.pad()?,
        OpKind::Reshape => operands.reshape()?,
        OpKind::Transpose => operands.transpose()?,
        OpKind::Mean => operands.mean()?,
        OpKind::Softmax => operands.softmax()?,
        OpKind::Lut => operands.lut()?,
        OpKind::Map => operands.map()?,
        OpKind::LogSoftmax => operands.log_softmax()?,
        OpKind::LayerNorm => operands.norm(true)?,
        OpKind::RmsNorm => operands.norm(false)?,
        OpKind::Attention => operands.attention()?,
        OpKind::Lstm if operands.reads_codes() => operands.lstm_codes()?,
        OpKind::Lstm => operands.recurrent(4, 4)?,
        OpKind::LstmCell => operands.recurrent_cell(4, 4, 2)?,
        OpKind::Gru => operands.recurrent(3, 6)?,
        OpKind::GruCell => operands.recurrent_cell(3, 6, 1)?,
        OpKind::Cosine => operands.cosine()?,
    }
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
        _ => 0,
    };
    if let Some(bytes) = operands.packed_bytes() {
        operands.weight_bytes = operands.weight_bytes.saturating_add(bytes);
    }
    Ok(Cost {
        macs: model.op_macs(op).ok_or(Fault::Mismatch)?,
        weight_bytes: operands.weight_bytes,
        activation_bytes: output.bytes().saturating_add(copies),
    })
}

/// The operands of an operation, while they are checked.
pub(super) struct Operands<'a, 'm> {
    model: &'a Model<'m>,
    index: u32,
    op: &'a Op,
    weight_bytes: u64,
}

pub(super) fn rank(operand: &'static str, tensor: &Tensor, want: u32) -> Result<(), Fault> {
    match tensor.rank == want {
        true => Ok(()),
        false => Err(Fault::Rank {
            operand,
            have: tensor.rank,
            want,
        }),
    }
}

pub(super) fn dim(operand: &'static str, dim: u32, have: u32, want: u32) -> Result<(), Fault> {
    match have == want {
        true => Ok(()),
        false => Err(Fault::Shape {
            operand,
            dim,
            have,
            want,
        }),
    }
}

/// Checks that a tensor has these sizes, no more and no less.
pub(super) fn shape(operand: &'static str, tensor: &Tensor, want: &[u32]) -> Result<(), Fault> {
    // CAST: at most 4.
    rank(operand, tensor, want.len() as u32)?;
    for ((i, have), want) in (0..).zip(tensor.dims).zip(want) {
        dim(operand, i, have, *want)?;
    }
    Ok(())
}

pub(super) fn same_shape(
    operand: &'static str,
    tensor: &Tensor,
    other: &Tensor,
) -> Result<(), Fault> {
    let dims = other.dims;
    shape(operand, tensor, dims.get(..rank_of(other)).unwrap_or(&dims))
}

pub(super) fn rank_of(tensor: &Tensor) -> usize {
    // CAST: at most 4.
    tensor.rank as usize
}

pub(super) fn dtype(operand: &'static str, tensor: &Tensor, want: DType) -> Result<(), Fault> {
    match tensor.dtype == want {
        true => Ok(()),
        false => Err(Fault::Type {
            operand,
            have: tensor.dtype.name(),
            want: want.name(),
        }),
    }
}

pub(super) fn signed(field: &'static str, have: i32, min: i32, max: i32) -> Result<(), Fault> {
    match have >= min && have <= max {
        true => Ok(()),
        false => Err(Fault::Signed {
            field,
            have,
            min,
            max,
        }),
    }
}

/// Checks a number of elements that must be `want`.
fn elements(name: &'static str, have: u64, want: u64) -> Result<(), Fault> {
    match have == want {
        true => Ok(()),
        false => Err(Fault::Field {
            field: name,
            have,
            min: want,
            max: want,
        }),
    }
}

/// The last dimension of a tensor.
pub(crate) fn last_dim(tensor: &Tensor) -> u32 {
    let last = rank_of(tensor).wrapping_sub(1);
    tensor.dims.get(last).copied().unwrap_or(1)
}

impl Operands<'_, '_> {
    /// The activation at operand `slot`.
    pub(super) fn activation(&self, slot: usize, name: &'static str) -> Result<Tensor, Fault> {
        let tensor = self.op.inputs.get(slot).copied().unwrap_or(NONE);
        check_input(self.model, self.index, name, tensor)
    }

    /// The constant at operand `slot`, of this type.
    pub(super) fn constant(
        &mut self,
        slot: usize,
        name: &'static str,
        want: DType,
    ) -> Result<Tensor, Fault> {
        let tensor = self.op.inputs.get(slot).copied().unwrap_or(NONE);
        let tensor = operand(self.model, name, tensor, TensorKind::Constant)?;
        dtype(name, &tensor, want)?;
        self.weight_bytes = self.weight_bytes.saturating_add(tensor.data_bytes);
        Ok(tensor)
    }

    /// What the operation writes, of this type.
    pub(super) fn output(&self, want: DType) -> Result<Tensor, Fault> {
        let tensor = operand(self.model, "output", self.op.output, TensorKind::Activation)?;
        dtype("output", &tensor, want)?;
        Ok(tensor)
    }

    /// Nothing from operand `slot` on.
    pub(super) fn end(&self, slot: usize) -> Result<(), Fault> {
        const NAMES: [&str; 4] = ["input 0", "input 1", "input 2", "input 3"];
        for (name, tensor) in NAMES.into_iter().zip(self.op.inputs).skip(slot) {
            field(name, tensor, NONE, NONE)?;
        }
        Ok(())
    }

    pub(super) fn params(&self) -> [i32; super::PARAMS] {
        self.op.params
    }

    /// Zeros from parameter `from` on.
    pub(super) fn no_more_params(&self, from: usize) -> Result<(), Fault> {
        for (i, param) in (0u32..).zip(self.op.params).skip(from) {
            let bytes = param.to_le_bytes();
            if let Some(byte) = (0u32..).zip(bytes).find(|(_, byte)| *byte != 0) {
                let offset = i
                    .saturating_mul(4)
                    .saturating_add(28)
                    .saturating_add(byte.0);
                return Err(Fault::Reserved { offset });
            }
        }
        Ok(())
    }

    pub(super) fn no_activation(&self) -> Result<(), Fault> {
        match self.op.activation.code() {
            0 => Ok(()),
            code => Err(Fault::Unsupported {
                field: "activation",
                have: u64::from(code),
            }),
        }
    }

    /// Bytes of the weights of a layer of codes as they are packed, at the most: rows and segments are
    /// filled up, which for small ones is more than what they have.
    fn packed_bytes(&self) -> Option<u64> {
        let [_, w, third, _] = self.op.inputs;
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

    /// What follows the sums of a layer: requantisation and limits, or a function.
    fn after_sums(&mut self, dtype: DType, n: u32) -> Result<(), Fault> {
        self.no_activation()?;
        if dtype == DType::F32 {
            self.end(3)?;
            return self.function();
        }
        self.row_requant(3, n)?;
        self.clamp()
    }

    /// Whether the first operand has codes.
    fn reads_codes(&self) -> bool {
        let [x, ..] = self.op.inputs;
        self.model.tensor(x).is_some_and(|x| x.dtype == DType::I8)
    }

    /// The numbers of a constant.
    pub(super) fn numbers(&self, tensor: &Tensor) -> Result<&[u8], Fault> {
        self.model.data(tensor).ok_or(Fault::Mismatch)
    }

    /// Types that this operation has.
    pub(super) fn one_of(&self, tensor: &Tensor, allowed: &[DType]) -> Result<(), Fault> {
        match allowed.contains(&tensor.dtype) {
            true => Ok(()),
            false => Err(Fault::OpType {
                op: self.op.kind.name(),
                have: tensor.dtype.name(),
            }),
        }
    }

    /// Least and greatest code, in parameters 0 and 1.
    fn clamp(&self) -> Result<(), Fault> {
        let [min, max, ..] = self.op.params;
        signed("params[0] (least code)", min, -128, 127)?;
        signed("params[1] (greatest code)", max, min, 127)
    }

    /// Multipliers and shifts, in turn as the shape says.
    fn multipliers(&self, tensor: &Tensor, rows_apart: bool, least: i32) -> Result<(), Fault> {
        let data = self.model.data(tensor).ok_or(Fault::Mismatch)?;
        let numbers = fixed::elements(data);
        let half = numbers.len() / 2;
        for (i, number) in numbers.enumerate() {
            let is_multiplier = match rows_apart {
                true => i < half,
                false => i % 2 == 0,
            };
            if is_multiplier {
                multiplier_from(number, least)?;
            } else {
                signed("shift", number, -31, 31)?;
            }
        }
        Ok(())
    }

    /// `R[2, n]`: multipliers and shifts of `n` rows.
    fn row_requant(&mut self, slot: usize, n: u32) -> Result<(), Fault> {
        let name = "requantisation";
        let r = self.constant(slot, name, DType::I32)?;
        shape(name, &r, &[2, n])?;
        self.multipliers(&r, true, HALF)
    }

    /// `R[2 n]`: multiplier and shift, `n` times.
    fn requant(&mut self, slot: usize, n: u32) -> Result<(), Fault> {
        let name = "requantisation";
        let r = self.constant(slot, name, DType::I32)?;
        shape(name, &r, &[n.saturating_mul(2)])?;
        // That of a mean has been divided by the number of rows.
        let least = match self.op.kind {
            OpKind::Mean => HALF / 2,
            _ => HALF,
        };
        self.multipliers(&r, false, least)
    }

    fn dense(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::Q16, DType::I8, DType::F32])?;
        let w = self.constant(1, "input 1 (weights)", x.dtype)?;
        let bias = match x.dtype {
            DType::I8 => DType::I32,
            other => other,
        };
        let b = self.constant(2, "input 2 (bias)", bias)?;
        let y = self.output(x.dtype)?;
        if x.dtype == DType::Q16 {
            self.end(3)?;
            rank("x", &x, 1)?;
        }
        rank("weights", &w, 2)?;
        rank("bias", &b, 1)?;
        rank("output", &y, x.rank)?;
        let [n, k, ..] = w.dims;
        let [biases, ..] = b.dims;
        let last = x.rank.saturating_sub(1);
        dim("weights", 1, k, last_dim(&x))?;
        dim("bias", 0, biases, n)?;
        dim("output", last, last_dim(&y), n)?;
        for ((i, have), want) in (0..last).zip(y.dims).zip(x.dims) {
            dim("output", i, have, want)?;
        }
        if x.dtype != DType::Q16 {
            self.after_sums(x.dtype, n)?;
            self.no_more_params(2)?;
        } else {
            let used = matches!(self.op.activation, crate::act::Activation::LeakyRelu { .. });
            self.no_more_params(usize::from(used))?;
        }
        Ok(())
    }

    fn conv(&mut self, depthwise: bool) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let w = self.constant(1, "input 1 (weights)", x.dtype)?;
        let bias = match x.dtype {
            DType::I8 => DType::I32,
            other => other,
        };
        let b = self.constant(2, "input 2 (bias)", bias)?;
        let y = self.output(x.dtype)?;
        rank("x", &x, 3)?;
        rank("weights", &w, if depthwise { 3 } else { 4 })?;
        rank("bias", &b, 1)?;
        rank("output", &y, 3)?;
        self.no_more_params(6)?;
        let window = Window::of(self.model, self.op)?;
        let n = last_dim(&b);
        let [_, _, c, _] = x.dims;
        if depthwise {
            let [_, _, channels, _] = w.dims;
            dim("weights", 2, channels, n)?;
            if n % c.max(1) != 0 {
                return Err(Fault::Shape {
                    operand: "weights",
                    dim: 2,
                    have: n,
                    want: c,
                });
            }
        } else {
            let [rows, _, _, columns] = w.dims;
            dim("weights", 0, rows, n)?;
            dim("weights", 3, columns, c)?;
        }
        let [out_h, out_w] = window.out;
        shape("output", &y, &[out_h, out_w, n])?;
        self.after_sums(x.dtype, n)
    }

    fn pool(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let y = self.output(x.dtype)?;
        self.end(1)?;
        rank("x", &x, 3)?;
        self.no_activation()?;
        match x.dtype {
            DType::I8 => self.clamp()?,
            _ => self.zero_params(0, 2)?,
        }
        self.no_more_params(6)?;
        let window = Window::of(self.model, self.op)?;
        let ([out_h, out_w], [_, _, c, _]) = (window.out, x.dims);
        shape("output", &y, &[out_h, out_w, c])
    }

    fn binary(&mut self) -> Result<(), Fault> {
        let a = self.activation(0, "input 0 (a)")?;
        self.one_of(&a, &[DType::I8, DType::F32])?;
        let b = self.activation_or_constant(1, "input 1 (b)", a.dtype)?;
        let y = self.output(a.dtype)?;
        same_shape("output", &y, &a)?;
        // The dimensions of b are the last ones of a.
        let skip = rank_of(&a).checked_sub(rank_of(&b)).ok_or(Fault::Rank {
            operand: "input 1 (b)",
            have: b.rank,
            want: a.rank,
        })?;
        for ((i, have), want) in (0..b.rank).zip(b.dims).zip(a.dims.into_iter().skip(skip)) {
            dim("input 1 (b)", i, have, want)?;
        }
        self.no_activation()?;
        if a.dtype == DType::F32 {
            self.end(2)?;
            self.function()?;
            return self.no_more_params(2);
        }
        self.requant(2, if self.op.kind == OpKind::Mul { 1 } else { 3 })?;
        self.end(3)?;
        self.clamp()?;
        // A constant says its zero point here, as only activations carry one.
        self.zero_param(2, "params[2] (zero point of a constant b)")?;
        self.no_more_params(3)?;
        Ok(())
    }

    fn zero_param(&self, at: usize, name: &'static str) -> Result<(), Fault> {
        signed(
            name,
            self.op.params.get(at).copied().unwrap_or(0),
            -128,
            127,
        )
    }

    pub(super) fn activation_or_constant(
        &mut self,
        slot: usize,
        name: &'static str,
        want: DType,
    ) -> Result<Tensor, Fault> {
        let index = self.op.inputs.get(slot).copied().unwrap_or(NONE);
        match self.model.tensor(index) {
            Some(tensor) if tensor.kind == TensorKind::Constant => self.constant(slot, name, want),
            _ => {
                let tensor = self.activation(slot, name)?;
                dtype(name, &tensor, want)?;
                Ok(tensor)
            }
        }
    }

    fn concat(&mut self) -> Result<(), Fault> {
        const NAMES: [&str; 4] = ["input 0", "input 1", "input 2", "input 3"];
        let first = self.activation(0, "input 0")?;
        self.one_of(&first, &[DType::I8, DType::F32])?;
        let y = self.output(first.dtype)?;
        self.no_activation()?;
        self.no_more_params(1)?;
        let [axis, ..] = self.op.params;
        // CAST: at most 4.
        signed("params[0] (axis)", axis, 0, first.rank as i32 - 1)?;
        // CAST: at least 0.
        let axis = axis as u32;
        let mut sum = 0u32;
        let mut ended = false;
        for (slot, name) in NAMES.into_iter().enumerate() {
            let index = self.op.inputs.get(slot).copied().unwrap_or(NONE);
            if index == NONE && slot > 0 {
                ended = true;
                continue;
            }
            if ended {
                return Err(Fault::Field {
                    field: name,
                    have: u64::from(index),
                    min: u64::from(NONE),
                    max: u64::from(NONE),
                });
            }
            let x = self.activation(slot, name)?;
            dtype(name, &x, first.dtype)?;
            rank(name, &x, first.rank)?;
            for ((i, have), want) in (0..x.rank).zip(x.dims).zip(first.dims) {
                if i == axis {
                    sum = sum.saturating_add(have);
                } else {
                    dim(name, i, have, want)?;
                }
            }
        }
        rank("output", &y, first.rank)?;
        for ((i, have), want) in (0..y.rank).zip(y.dims).zip(first.dims) {
            dim("output", i, have, if i == axis { sum } else { want })?;
        }
        Ok(())
    }

    fn pad(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let y = self.output(x.dtype)?;
        self.end(1)?;
        self.no_activation()?;
        let [.., value, _, _] = self.op.params;
        if x.dtype == DType::I8 {
            signed("params[4] (value)", value, -128, 127)?;
        }
        self.no_more_params(5)?;
        rank("output", &y, x.rank)?;
        for (i, (have, want)) in (0u32..)
            .zip(y.dims.into_iter().zip(x.dims))
            .take(rank_of(&x))
        {
            // CAST: below 4.
            let [before, after] = halves(self.op.params.get(i as usize).copied().unwrap_or(0));
            let want = want.saturating_add(before).saturating_add(after);
            dim("output", i, have, want)?;
        }
        for param in self.op.params.into_iter().take(4).skip(rank_of(&x)) {
            signed("params (pads of no dimension)", param, 0, 0)?;
        }
        Ok(())
    }

    fn reshape(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let y = self.output(x.dtype)?;
        self.end(1)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        elements("elements of the output", y.elements(), x.elements())
    }

    fn transpose(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let y = self.output(x.dtype)?;
        self.end(1)?;
        self.no_activation()?;
        self.no_more_params(rank_of(&x))?;
        rank("output", &y, x.rank)?;
        let mut seen = 0u32;
        for ((i, have), axis) in (0..x.rank).zip(y.dims).zip(self.op.params) {
            // CAST: at most 4.
            signed("params (axis)", axis, 0, x.rank as i32 - 1)?;
            // CAST: 0..=3.
            let from = x.dims.get(axis as usize).copied().unwrap_or(0);
            dim("output", i, have, from)?;
            seen |= 1 << axis;
        }
        field("axes that are named", seen.count_ones(), x.rank, x.rank)
    }

    fn mean(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let y = self.output(x.dtype)?;
        let constants = match x.dtype {
            DType::I8 => {
                self.requant(1, 1)?;
                2
            }
            _ => 1,
        };
        self.end(constants)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        dim(
            "output",
            y.rank.saturating_sub(1),
            last_dim(&y),
            last_dim(&x),
        )?;
        elements(
            "elements of the output",
            y.elements(),
            u64::from(last_dim(&x)),
        )?;
        // Sums of 8-bit differences stay within 32 bits.
        let rows = x.elements() / u64::from(last_dim(&x)).max(1);
        if rows > 1 << 22 {
            return Err(Fault::Limit {
                field: "rows",
                have: rows,
                max: 1 << 22,
            });
        }
        Ok(())
    }

    fn softmax(&mut self) -> Result<(), Fault> {
        /// 2^-8 as `f32`.
        const SCALE: u32 = (127 - 8) << 23;
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let y = self.output(x.dtype)?;
        same_shape("output", &y, &x)?;
        self.end(1)?;
        self.no_activation()?;
        if x.dtype == DType::F32 {
            return self.no_more_params(0);
        }
        let [mult, shift, diff_min, ..] = self.op.params;
        multiplier(mult)?;
        signed("params[1] (shift)", shift, -31, 31)?;
        signed("params[2] (least difference)", diff_min, i32::MIN, 0)?;
        self.no_more_params(3)?;
        field("scale of the output, as bits", y.scale_bits, SCALE, SCALE)?;
        signed("zero_point of the output", y.zero_point, -128, -128)?;
        // The sum of the exponentials, Q12.19, stays within 32 bits.
        if last_dim(&x) > 4096 {
            return Err(Fault::Limit {
                field: "elements of a row",
                have: u64::from(last_dim(&x)),
                max: 4096,
            });
        }
        Ok(())
    }

    fn lut(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8])?;
        let t = self.constant(1, "input 1 (table)", DType::I8)?;
        shape("table", &t, &[256])?;
        let y = self.output(DType::I8)?;
        same_shape("output", &y, &x)?;
        self.end(2)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        Ok(())
    }
}

/// A half as a multiplier.
const HALF: i32 = 1 << 30;

/// A multiplier is a fraction of 31 bits that is at least a half, or nothing.
pub(super) fn multiplier(have: i32) -> Result<(), Fault> {
    multiplier_from(have, HALF)
}

fn multiplier_from(have: i32, least: i32) -> Result<(), Fault> {
    match have {
        0 => Ok(()),
        _ => signed("multiplier", have, least, i32::MAX),
    }
}

/// The lower and the upper half of a parameter.
const fn halves(param: i32) -> [u32; 2] {
    // CAST: the same bits.
    let bits = param as u32;
    [bits & 0xffff, bits >> 16]
}

/// A window that moves over an image.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Rows, columns and channels of the image.
    pub(crate) image: [u32; 3],
    /// Rows and columns of the window.
    pub(crate) window: [u32; 2],
    /// Steps of the window.
    pub(crate) stride: [u32; 2],
    /// Steps within the window.
    pub(crate) dilation: [u32; 2],
    /// Rows above and columns left of the image.
    pub(crate) before: [u32; 2],
    /// Rows below and columns right of the image.
    pub(crate) after: [u32; 2],
    /// Rows and columns of the result.
    pub(crate) out: [u32; 2],
    /// Channels of the result.
    pub(crate) channels: u32,
}

impl Window {
    /// The window of a convolution or of a pool.
    pub(crate) fn of(model: &Model<'_>, op: &Op) -> Result<Self, Fault> {
        let tensor = |index| model.tensor(index).ok_or(Fault::Mismatch);
        let ([x, w, ..], [_, _, stride, third, before, after, _]) = (op.inputs, op.params);
        let [h, width, c, _] = tensor(x)?.dims;
        let (window, dilation) = match op.kind {
            OpKind::Conv2d => {
                let [_, kh, kw, _] = tensor(w)?.dims;
                ([kh, kw], halves(third))
            }
            OpKind::DepthwiseConv2d => {
                let [kh, kw, ..] = tensor(w)?.dims;
                ([kh, kw], halves(third))
            }
            _ => (halves(third), [1, 1]),
        };
        let [.., channels] = match tensor(op.output)?.dims {
            [a, b, c, _] => [a, b, c],
        };
        let mut this = Window {
            image: [h, width, c],
            window,
            stride: halves(stride),
            dilation,
            before: halves(before),
            after: halves(after),
            out: [0; 2],
            channels,
        };
        let axis = |i: usize| -> Result<u32, Fault> {
            let at = |pair: [u32; 2]| pair.get(i).copied().unwrap_or(0);
            let image = this.image.get(i).copied().unwrap_or(0);
            for (name, value) in [
                ("stride", at(this.stride)),
                ("dilation", at(this.dilation)),
                ("window", at(this.window)),
            ] {
                field(name, value, 1, 0xffff)?;
            }
            let covers = u64::from(at(this.window).saturating_sub(1))
                .saturating_mul(u64::from(at(this.dilation)))
                .saturating_add(1);
            let with_border = u64::from(image)
                .saturating_add(u64::from(at(this.before)))
                .saturating_add(u64::from(at(this.after)));
            for (name, pad) in [
                ("pad before", at(this.before)),
                ("pad after", at(this.after)),
            ] {
                if u64::from(pad) >= covers {
                    return Err(Fault::Field {
                        field: name,
                        have: u64::from(pad),
                        min: 0,
                        max: covers.saturating_sub(1),
                    });
                }
            }
            let Some(room) = with_border.checked_sub(covers) else {
                return Err(Fault::Field {
                    field: "window",
                    have: covers,
                    min: 1,
                    max: with_border,
                });
            };
            let steps = room.checked_div(u64::from(at(this.stride))).unwrap_or(0);
            u32::try_from(steps.saturating_add(1)).map_err(|_| Fault::Mismatch)
        };
        this.out = [axis(0)?, axis(1)?];
        Ok(this)
    }

    /// Rows and columns of the image with its border.
    pub(crate) fn padded(&self) -> [u32; 2] {
        let [h, w, _] = self.image;
        let ([top, left], [bottom, right]) = (self.before, self.after);
        [
            h.saturating_add(top).saturating_add(bottom),
            w.saturating_add(left).saturating_add(right),
        ]
    }

    /// Elements of the image with its border.
    fn padded_elements(&self) -> u64 {
        let [h, w] = self.padded();
        let [_, _, c] = self.image;
        [w, c.max(self.channels)]
            .into_iter()
            .fold(u64::from(h), |bytes, n| bytes.saturating_mul(u64::from(n)))
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
            OpKind::Cosine => product_of(&[last_dim(&self.tensor(x)?)]).saturating_mul(out),
            _ => out,
        })
    }
}

/// Checks that no input can overflow a sum.
pub(super) fn check_weights(model: &Model<'_>) -> Result<(), Error> {
    for i in 0..model.header.ops {
        let fault = |fault| Error::model(Place::Op(i), fault);
        model.pause.check()?;
        let op = model.op(i).ok_or(fault(Fault::Mismatch))?;
        if !matches!(
            op.kind,
            OpKind::Dense | OpKind::Conv2d | OpKind::DepthwiseConv2d | OpKind::Lstm
        ) {
            continue;
        }
        let [_, w, b, _] = op.inputs;
        let constant = |index| model.tensor(index).ok_or(fault(Fault::Mismatch));
        let (w, b) = (constant(w)?, constant(b)?);
        let weights = model.data(&w).ok_or(fault(Fault::Mismatch))?;
        let bias = model.data(&b).ok_or(fault(Fault::Mismatch))?;
        let row_bytes = weights.len().checked_div(fixed::elements(bias).len());
        let row_bytes = row_bytes.unwrap_or(0);
        let bad = match (op.kind, w.dtype) {
            // Numbers that are too large become infinite.
            (_, DType::F32) => None,
            (OpKind::DepthwiseConv2d, _) => {
                let channels = fixed::elements(bias).len();
                pack::unsafe_depthwise_channel(weights, channels, bias)
            }
            (_, DType::I8) => pack::unsafe_gemm_row(weights, row_bytes, bias),
            _ => q16_row_too_large(model.pause, weights, row_bytes, bias)?,
        };
        if let Some(row) = bad {
            // CAST: a dimension of a tensor.
            let row = row as u32;
            return Err(fault(Fault::RowTooLarge { row }));
        }
    }
    Ok(())
}

/// The first row whose sum could overflow.
fn q16_row_too_large(
    pause: Pause<'_>,
    weights: &[u8],
    row_bytes: usize,
    bias: &[u8],
) -> Result<Option<usize>, Error> {
    let rows = weights.chunks_exact(row_bytes.max(1));
    for (i, (row, bias)) in rows.zip(fixed::elements(bias)).enumerate() {
        // Rows have at most 16 KiB.
        if i % 64 == 0 {
            pause.check()?;
        }
        if !row_fits(row, bias) {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// Whether `2^31 * sum |w| + 2^16 * |b| + 2^15 <= 2^63 - 1`.
fn row_fits(weights: &[u8], bias: i32) -> bool {
    // At most 4096 * 2^31.
    let l1 = fixed::elements(weights).fold(0u64, |sum, w| {
        sum.saturating_add(u64::from(w.unsigned_abs()))
    });
    let room = (i64::MAX as u64)
        .saturating_sub(u64::from(bias.unsigned_abs()) << fixed::FRAC_BITS)
        .saturating_sub(1 << (fixed::FRAC_BITS - 1));
    l1 <= room >> 31
}
