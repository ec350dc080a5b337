// SPDX-License-Identifier: GPL-2.0

//! What each kind of operation asks of its operands: types, shapes, parameters. What all of them have
//! in common stands here; each family of operations has a file of its own.

use crate::error::Fault;
use crate::fixed;

use super::check::{check_input, operand};
use super::cost::Cost;
use super::kind::OpKind;
use super::record::{field, DType, Op, Tensor, TensorKind};
use super::{Model, NONE};

/// Checks operands, shapes and parameters of operation `index`.
pub(super) fn check(model: &Model<'_>, index: u32, op: &Op) -> Result<Cost, Fault> {
    let mut operands = Operands {
        model,
        index,
        op,
        weight_bytes: 0,
    };
    match op.kind {
        OpKind::Dense if operands.reads(DType::I16) => operands.dense_int16()?,
        OpKind::Dense => operands.dense()?,
        OpKind::Conv2d => operands.conv(false)?,
        OpKind::DepthwiseConv2d => operands.conv(true)?,
        OpKind::AveragePool2d | OpKind::MaxPool2d => operands.pool()?,
        OpKind::Add | OpKind::Sub | OpKind::Mul if operands.reads(DType::I16) => {
            operands.pair_int16()?
        }
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
        OpKind::Lstm if operands.reads(DType::I8) => operands.lstm_codes()?,
        OpKind::Lstm => operands.recurrent(4, 4)?,
        OpKind::LstmCell => operands.recurrent_cell(4, 4, 2)?,
        OpKind::Gru => operands.recurrent(3, 6)?,
        OpKind::GruCell => operands.recurrent_cell(3, 6, 1)?,
        OpKind::Cosine => operands.cosine()?,
        OpKind::Slice => operands.slice()?,
        OpKind::Forest => operands.forest()?,
        OpKind::Interpolate => operands.interpolate()?,
        OpKind::AttentionStep => operands.attention_step()?,
        OpKind::Dnc => operands.dnc()?,
        OpKind::Normalise => operands.normalise()?,
        OpKind::Embedding => operands.embedding()?,
    }
    operands.cost()
}

/// The operands of an operation, while they are checked.
pub(super) struct Operands<'a, 'm> {
    pub(super) model: &'a Model<'m>,
    index: u32,
    pub(super) op: &'a Op,
    pub(super) weight_bytes: u64,
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
pub(super) fn elements(name: &'static str, have: u64, want: u64) -> Result<(), Fault> {
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

    /// Whether the first operand has elements of this type.
    fn reads(&self, dtype: DType) -> bool {
        let [x, ..] = self.op.inputs;
        self.model.tensor(x).is_some_and(|x| x.dtype == dtype)
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
    pub(super) fn clamp(&self) -> Result<(), Fault> {
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
    pub(super) fn row_requant(&mut self, slot: usize, n: u32) -> Result<(), Fault> {
        let name = "requantisation";
        let r = self.constant(slot, name, DType::I32)?;
        shape(name, &r, &[2, n])?;
        self.multipliers(&r, true, HALF)
    }

    /// `R[2 n]`: multiplier and shift, `n` times.
    pub(super) fn requant(&mut self, slot: usize, n: u32) -> Result<(), Fault> {
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
