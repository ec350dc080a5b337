// SPDX-License-Identifier: GPL-2.0

//! The fixed-size pieces of a model file: header, tensor record, operation record.
//!
//! Decoding checks all that can be checked without looking elsewhere in the file; what the pieces
//! say about each other is checked by `check.rs`. The layout is described in [`crate::nnm`].

use crate::act::Activation;
use crate::error::Fault;
use crate::name;

use super::kind::OpKind;
use super::{HEADER_BYTES, MAX_DIM, MAX_DIM_QUANTISED, NONE, RECORD_BYTES};

/// Element type of a tensor.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DType {
    /// Q16.16 in 32 bits.
    Q16,
    /// 8-bit codes with a scale and a zero point, see [`int8`](crate::int8).
    I8,
    /// 16-bit codes with a scale, see [`int16`](crate::int16).
    I16,
    /// 32-bit integers: biases, multipliers, shifts.
    I32,
    /// IEEE 754 single precision; vector code only.
    F32,
}

impl DType {
    const ALL: [DType; 5] = [DType::Q16, DType::I8, DType::I16, DType::I32, DType::F32];

    /// The code in model files, which is also `NEURAL_DTYPE_*` of the user ABI.
    pub const fn code(self) -> u8 {
        match self {
            DType::Q16 => 1,
            DType::I8 => 2,
            DType::I16 => 3,
            DType::I32 => 4,
            DType::F32 => 5,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.code() == code)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Q16 => "q16",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::F32 => "f32",
        }
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> u64 {
        match self {
            DType::I8 => 1,
            DType::I16 => 2,
            DType::Q16 | DType::I32 | DType::F32 => 4,
        }
    }

    /// The largest size of a dimension.
    pub const fn max_dim(self) -> u32 {
        match self {
            DType::Q16 => MAX_DIM,
            _ => MAX_DIM_QUANTISED,
        }
    }

    /// Whether tensors of this type carry a scale and a zero point.
    const fn is_quantised(self) -> bool {
        matches!(self, DType::I8 | DType::I16)
    }
}

/// What a tensor is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TensorKind {
    /// Computed with each prediction.
    Activation,
    /// Weights and the like; the data are in the file.
    Constant,
}

/// A tensor record.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: DType,
    /// Computed or constant.
    pub kind: TensorKind,
    /// Number of dimensions, 1 to 4.
    pub rank: u32,
    /// Sizes, the slowest dimension first; those from `rank` on are 0.
    pub dims: [u32; 4],
    /// Offset of the data of a constant in the file, else 0.
    pub data_offset: u64,
    /// Bytes of the data of a constant, else 0.
    pub data_bytes: u64,
    /// The code that stands for 0.0 in an `i8` activation, -128..=127; else 0.
    pub zero_point: i32,
    /// What a step of an `i8` or `i16` activation is worth: the bits of a positive `f32`; else 0. For those who
    /// make inputs and read outputs; predictions use multipliers instead.
    pub scale_bits: u32,
}

/// Parameters of an operation.
pub const PARAMS: usize = 7;

/// An operation record.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// What is applied to its sums.
    pub activation: Activation,
    /// What else there is to say; the meaning is that of the kind, see [`crate::nnm`].
    pub params: [i32; PARAMS],
    /// Indices of the tensors that it reads, [`NONE`] where there is none.
    pub inputs: [u32; 4],
    /// Index of the tensor that it writes.
    pub output: u32,
}

/// The header, decoded but not checked, except for its name.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Header {
    pub(crate) major: u16,
    pub(crate) minor: u16,
    pub(crate) header_bytes: u32,
    pub(crate) file_bytes: u64,
    pub(crate) crc: u32,
    pub(crate) flags: u32,
    pub(crate) tensors: u32,
    pub(crate) ops: u32,
    pub(crate) tensor_table: u64,
    pub(crate) op_table: u64,
    pub(crate) input: u32,
    pub(crate) output: u32,
    pub(crate) name: [u8; name::FIELD_BYTES],
}

/// Offset of the checksum in the header, and of what follows it.
pub(crate) const CRC_AT: usize = 24;
pub(crate) const AFTER_CRC: usize = 28;

impl Header {
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        Header {
            major: u16::from_le_bytes(array(bytes, 8)),
            minor: u16::from_le_bytes(array(bytes, 10)),
            header_bytes: u32_at(bytes, 12),
            file_bytes: u64_at(bytes, 16),
            crc: u32_at(bytes, CRC_AT),
            flags: u32_at(bytes, AFTER_CRC),
            tensors: u32_at(bytes, 32),
            ops: u32_at(bytes, 36),
            tensor_table: u64_at(bytes, 40),
            op_table: u64_at(bytes, 48),
            input: u32_at(bytes, 56),
            output: u32_at(bytes, 60),
            name: array(bytes, 64),
        }
    }

    pub(crate) fn encode(&self, magic: &[u8; 8], bytes: &mut [u8]) {
        put(bytes, 0, magic);
        put(bytes, 8, &self.major.to_le_bytes());
        put(bytes, 10, &self.minor.to_le_bytes());
        put(bytes, 12, &self.header_bytes.to_le_bytes());
        put(bytes, 16, &self.file_bytes.to_le_bytes());
        put(bytes, CRC_AT, &self.crc.to_le_bytes());
        put(bytes, AFTER_CRC, &self.flags.to_le_bytes());
        put(bytes, 32, &self.tensors.to_le_bytes());
        put(bytes, 36, &self.ops.to_le_bytes());
        put(bytes, 40, &self.tensor_table.to_le_bytes());
        put(bytes, 48, &self.op_table.to_le_bytes());
        put(bytes, 56, &self.input.to_le_bytes());
        put(bytes, 60, &self.output.to_le_bytes());
        put(bytes, 64, &self.name);
    }

    /// Everything after the name is reserved.
    pub(crate) fn check_reserved(bytes: &[u8; HEADER_BYTES]) -> Result<(), Fault> {
        zero_from(bytes, 96)
    }
}

impl Tensor {
    /// Number of elements, at most 2^64 - 1.
    pub fn elements(&self) -> u64 {
        let used = self.dims.iter().take_while(|&&dim| dim > 0);
        used.fold(1, |n: u64, &dim| n.saturating_mul(u64::from(dim)))
    }

    /// Bytes of all elements, at most 2^64 - 1.
    pub fn bytes(&self) -> u64 {
        self.elements().saturating_mul(self.dtype.bytes())
    }

    pub(crate) fn decode(record: &[u8; RECORD_BYTES]) -> Result<Self, Fault> {
        let [dtype, kind, rank, ..] = *record;
        let Some(dtype) = DType::from_code(dtype) else {
            return Err(Fault::Unsupported {
                field: "dtype",
                have: u64::from(dtype),
            });
        };
        let kind = match kind {
            0 => TensorKind::Activation,
            1 => TensorKind::Constant,
            _ => {
                return Err(Fault::Unsupported {
                    field: "tensor kind",
                    have: u64::from(kind),
                })
            }
        };
        let rank = u32::from(rank);
        field("rank", rank, 1, 4)?;
        zero_in(record, 3, 4)?;
        let dims = [4, 8, 12, 16].map(|at| u32_at(record, at));
        for ((name, i), dim) in ["dims[0]", "dims[1]", "dims[2]", "dims[3]"]
            .into_iter()
            .zip(0..u32::MAX)
            .zip(dims)
        {
            if i < rank {
                field(name, dim, 1, dtype.max_dim())?;
            } else {
                field(name, dim, 0, 0)?;
            }
        }
        zero_in(record, 20, 24)?;
        zero_from(record, 48)?;
        // CAST: the same bits, read as signed.
        let (zero_point, scale_bits) = (u32_at(record, 40) as i32, u32_at(record, 44));
        if dtype.is_quantised() && kind == TensorKind::Activation {
            check_scale(dtype, zero_point, scale_bits)?;
        } else {
            zero_in(record, 40, 48)?;
        }
        let (data_offset, data_bytes) = (u64_at(record, 24), u64_at(record, 32));
        let tensor = Tensor {
            dtype,
            kind,
            rank,
            dims,
            data_offset,
            data_bytes,
            zero_point,
            scale_bits,
        };
        match kind {
            TensorKind::Activation => {
                for (field, have) in [("data_offset", data_offset), ("data_bytes", data_bytes)] {
                    if have != 0 {
                        return Err(Fault::Field {
                            field,
                            have,
                            min: 0,
                            max: 0,
                        });
                    }
                }
            }
            TensorKind::Constant => {
                if data_bytes != tensor.bytes() {
                    return Err(Fault::DataBytes {
                        have: data_bytes,
                        want: tensor.bytes(),
                    });
                }
            }
        }
        Ok(tensor)
    }

    pub(crate) fn encode(&self, record: &mut [u8]) {
        let kind = match self.kind {
            TensorKind::Activation => 0,
            TensorKind::Constant => 1,
        };
        // CAST: the rank is at most 4.
        put(record, 0, &[self.dtype.code(), kind, self.rank as u8]);
        for (at, dim) in [4, 8, 12, 16].into_iter().zip(self.dims) {
            put(record, at, &dim.to_le_bytes());
        }
        put(record, 24, &self.data_offset.to_le_bytes());
        put(record, 32, &self.data_bytes.to_le_bytes());
        put(record, 40, &self.zero_point.to_le_bytes());
        put(record, 44, &self.scale_bits.to_le_bytes());
    }
}

/// Checks what an activation says of its codes; those of 16 bits have no zero point.
fn check_scale(dtype: DType, zero_point: i32, scale_bits: u32) -> Result<(), Fault> {
    let (min, max) = match dtype {
        DType::I8 => (-128, 127),
        _ => (0, 0),
    };
    if zero_point < min || zero_point > max {
        return Err(Fault::Signed {
            field: "zero_point",
            have: zero_point,
            min,
            max,
        });
    }
    // Positive, finite and normal, which the exponent shows.
    let exponent = scale_bits >> 23;
    if !(1..=254).contains(&exponent) {
        return Err(Fault::Scale { bits: scale_bits });
    }
    Ok(())
}

/// Offset of the output in an operation record.
pub(crate) const OP_OUTPUT_AT: usize = 24;

impl Op {
    pub(crate) fn decode(record: &[u8; RECORD_BYTES]) -> Result<Self, Fault> {
        let code = |at| u16::from_le_bytes(array(record, at));
        let Some(kind) = OpKind::from_code(code(0)) else {
            return Err(Fault::Unsupported {
                field: "op kind",
                have: u64::from(code(0)),
            });
        };
        // CAST: the same bits, read as signed.
        let params = [28, 32, 36, 40, 44, 48, 52].map(|at| u32_at(record, at) as i32);
        let [slope, ..] = params;
        let Some(activation) = Activation::from_code(code(2), slope) else {
            return Err(Fault::Unsupported {
                field: "activation",
                have: u64::from(code(2)),
            });
        };
        let flags = u32_at(record, 4);
        if flags != 0 {
            return Err(Fault::Unsupported {
                field: "op flags",
                have: u64::from(flags),
            });
        }
        zero_from(record, 56)?;
        let inputs = [8, 12, 16, 20].map(|at| u32_at(record, at));
        Ok(Op {
            kind,
            activation,
            params,
            inputs,
            output: u32_at(record, OP_OUTPUT_AT),
        })
    }

    pub(crate) fn encode(&self, record: &mut [u8]) {
        put(record, 0, &self.kind.code().to_le_bytes());
        put(record, 2, &self.activation.code().to_le_bytes());
        for (at, input) in [8, 12, 16, 20].into_iter().zip(self.inputs) {
            put(record, at, &input.to_le_bytes());
        }
        put(record, OP_OUTPUT_AT, &self.output.to_le_bytes());
        for (at, param) in (28..).step_by(4).zip(self.params) {
            put(record, at, &param.to_le_bytes());
        }
    }

    /// Whether operand `index` is there.
    pub fn has_input(&self, index: usize) -> bool {
        self.inputs.get(index).is_some_and(|&tensor| tensor != NONE)
    }
}

/// Checks that `have` is in `min..=max`.
pub(crate) fn field(field: &'static str, have: u32, min: u32, max: u32) -> Result<(), Fault> {
    if have >= min && have <= max {
        return Ok(());
    }
    let (have, min, max) = (u64::from(have), u64::from(min), u64::from(max));
    Err(Fault::Field {
        field,
        have,
        min,
        max,
    })
}

fn zero_from(bytes: &[u8], from: usize) -> Result<(), Fault> {
    zero_in(bytes, from, bytes.len())
}

fn zero_in(bytes: &[u8], from: usize, to: usize) -> Result<(), Fault> {
    // CAST: records are short.
    let numbered = (from as u32..u32::MAX).zip(bytes.get(from..to).unwrap_or(&[]));
    for (offset, &byte) in numbered {
        if byte != 0 {
            return Err(Fault::Reserved { offset });
        }
    }
    Ok(())
}

/// `N` bytes from `at` on; zeros when they are not there (all callers have checked).
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// Writes `value` at `at`; nothing when there is no room (all callers have checked).
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(room) = bytes
        .get_mut(at..)
        .and_then(|rest| rest.get_mut(..value.len()))
    {
        room.copy_from_slice(value);
    }
}
