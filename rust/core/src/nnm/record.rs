// SPDX-License-Identifier: GPL-2.0

//! The fixed-size pieces of a model file: header, tensor record, operation record.
//!
//! Decoding checks all that can be checked without looking elsewhere in the file; what the pieces
//! say about each other is checked by `check.rs`. The layout is described in [`crate::nnm`].

use crate::act::Activation;
use crate::error::Fault;
use crate::name;

use super::{HEADER_BYTES, MAX_DIM, NONE, RECORD_BYTES};

/// Element type of a tensor.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DType {
    /// Q16.16 in 32 bits.
    Q16,
}

impl DType {
    /// The code in model files, which is also `NEURAL_DTYPE_*` of the user ABI.
    pub const fn code(self) -> u8 {
        match self {
            DType::Q16 => 1,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Q16 => "q16",
        }
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> u64 {
        match self {
            DType::Q16 => 4,
        }
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
}

/// What an operation does.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// `y = act(W x + b)`; operands: `x`, `W`, `b`.
    Dense,
}

impl OpKind {
    /// The code in model files.
    pub const fn code(self) -> u16 {
        match self {
            OpKind::Dense => 1,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            OpKind::Dense => "dense",
        }
    }
}

/// An operation record.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// What is applied to its sums.
    pub activation: Activation,
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
    /// Number of elements, at most 2^48.
    pub fn elements(&self) -> u64 {
        let used = self.dims.iter().take_while(|&&dim| dim > 0);
        used.fold(1, |n: u64, &dim| n.saturating_mul(u64::from(dim)))
    }

    /// Bytes of all elements, at most 2^50.
    pub fn bytes(&self) -> u64 {
        self.elements().saturating_mul(self.dtype.bytes())
    }

    pub(crate) fn decode(record: &[u8; RECORD_BYTES]) -> Result<Self, Fault> {
        let [dtype, kind, rank, ..] = *record;
        let dtype = match dtype {
            1 => DType::Q16,
            _ => {
                return Err(Fault::Unsupported {
                    field: "dtype",
                    have: u64::from(dtype),
                })
            }
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
                field(name, dim, 1, MAX_DIM)?;
            } else {
                field(name, dim, 0, 0)?;
            }
        }
        zero_in(record, 20, 24)?;
        zero_from(record, 40)?;
        let (data_offset, data_bytes) = (u64_at(record, 24), u64_at(record, 32));
        let tensor = Tensor {
            dtype,
            kind,
            rank,
            dims,
            data_offset,
            data_bytes,
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
    }
}

/// Offset of the output in an operation record.
pub(crate) const OP_OUTPUT_AT: usize = 24;

impl Op {
    pub(crate) fn decode(record: &[u8; RECORD_BYTES]) -> Result<Self, Fault> {
        let code = |at| u16::from_le_bytes(array(record, at));
        let kind = match code(0) {
            1 => OpKind::Dense,
            have => {
                return Err(Fault::Unsupported {
                    field: "op kind",
                    have: u64::from(have),
                })
            }
        };
        // CAST: the same bits, read as signed.
        let slope = u32_at(record, 28) as i32;
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
        match activation {
            Activation::LeakyRelu { .. } => zero_from(record, 32)?,
            _ => zero_from(record, 28)?,
        }
        let inputs = [8, 12, 16, 20].map(|at| u32_at(record, at));
        Ok(Op {
            kind,
            activation,
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
        if let Activation::LeakyRelu { slope } = self.activation {
            put(record, 28, &slope.to_le_bytes());
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
