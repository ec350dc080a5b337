// SPDX-License-Identifier: GPL-2.0

//! Writes model files: chains of dense layers.
//!
//! Used by converters, tests and benchmarks. Does not allocate: [`dense_file_bytes`] tells the size,
//! the caller brings the buffer, and weights are asked for part by part, straight into their place.

use crate::act::Activation;
use crate::error::Error;
use crate::name;

use super::check::{checksum, parse};
use super::record::{DType, Header, Op, OpKind, Tensor, TensorKind, AFTER_CRC, CRC_AT};
use super::{Limits, ALIGN, HEADER_BYTES, MAGIC, MAX_DIM, MAX_OPS, NONE, RECORD_BYTES, VERSION};

/// A dense layer: `y[outputs] = activation(W[outputs, inputs] x[inputs] + b[outputs])`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct DenseSpec {
    /// Elements that it takes.
    pub inputs: u32,
    /// Elements that it gives.
    pub outputs: u32,
    /// What is applied to the sums.
    pub activation: Activation,
}

/// A part of the constants of a layer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// `W[outputs, inputs]`, a row per output.
    Weights,
    /// `b[outputs]`.
    Bias,
}

impl DenseSpec {
    /// Bytes of `W`.
    pub const fn weight_bytes(&self) -> u64 {
        4u64.saturating_mul(self.inputs as u64)
            .saturating_mul(self.outputs as u64)
    }

    /// Bytes of `b`.
    pub const fn bias_bytes(&self) -> u64 {
        4u64.saturating_mul(self.outputs as u64)
    }
}

/// Where the data of the layers start, and where the file ends.
struct Places {
    tensor_table: u64,
    op_table: u64,
    data: u64,
    end: u64,
}

fn places(specs: &[DenseSpec]) -> Result<Places, Error> {
    argument("layers", specs.len() as u64, MAX_OPS)?;
    let mut previous = None;
    for spec in specs {
        for (name, dim) in [("inputs", spec.inputs), ("outputs", spec.outputs)] {
            argument(name, u64::from(dim), MAX_DIM)?;
        }
        match previous {
            Some(outputs) if outputs != spec.inputs => {
                let (have, want) = (u64::from(spec.inputs), u64::from(outputs));
                return Err(Error::Argument {
                    name: "inputs",
                    have,
                    min: want,
                    max: want,
                });
            }
            _ => previous = Some(spec.outputs),
        }
    }
    // CAST: at most MAX_OPS.
    let layers = specs.len() as u64;
    let record = RECORD_BYTES as u64;
    let tensor_table = HEADER_BYTES as u64;
    let op_table = tensor_table.saturating_add(
        layers
            .saturating_mul(3)
            .saturating_add(1)
            .saturating_mul(record),
    );
    let data = op_table.saturating_add(layers.saturating_mul(record));
    let end = specs.iter().fold(data, |end, spec| {
        end.saturating_add(aligned(spec.weight_bytes()))
            .saturating_add(aligned(spec.bias_bytes()))
    });
    Ok(Places {
        tensor_table,
        op_table,
        data,
        end,
    })
}

fn argument(name: &'static str, have: u64, max: u32) -> Result<(), Error> {
    if have == 0 || have > u64::from(max) {
        return Err(Error::Argument {
            name,
            have,
            min: 1,
            max: u64::from(max),
        });
    }
    Ok(())
}

const fn aligned(bytes: u64) -> u64 {
    bytes.saturating_add(ALIGN as u64 - 1) & !(ALIGN as u64 - 1)
}

/// Bytes of the file that [`write_dense`] writes.
///
/// Fails with `Argument` when there are 0 or more than 4096 layers, a dimension is not in 1..=4096,
/// or a layer does not take what the one before gives.
pub fn dense_file_bytes(specs: &[DenseSpec]) -> Result<usize, Error> {
    let Places { end, .. } = places(specs)?;
    usize::try_from(end).map_err(|_| Error::Buffer {
        buffer: "file",
        have: 0,
        want: end,
    })
}

/// Writes a model file of dense layers to the beginning of `out`; gives its size.
///
/// `fill(layer, part, bytes)` is called for both parts of each layer, in order, and writes Q16.16
/// elements to `bytes` (which hold zeros). Fails as [`dense_file_bytes`] does, with `Name` when the
/// name is not allowed, with `Buffer` when `out` is too small, and with what [`parse`] says when the
/// weights of a row are too large.
pub fn write_dense(
    name: &str,
    specs: &[DenseSpec],
    fill: &mut dyn FnMut(usize, Part, &mut [u8]),
    out: &mut [u8],
) -> Result<usize, Error> {
    let name = name::check(name.as_bytes())?;
    let Places {
        tensor_table,
        op_table,
        data,
        ..
    } = places(specs)?;
    let len = dense_file_bytes(specs)?;
    let have = out.len() as u64;
    let Some(out) = out.get_mut(..len) else {
        return Err(Error::Buffer {
            buffer: "file",
            have,
            want: len as u64,
        });
    };
    out.fill(0);

    let (mut ops, mut tensors, mut next) = (0u32, 0u32, data);
    let tensor = |out: &mut [u8], index: &mut u32, dims: &[u32], data: Option<&mut u64>| {
        let mut tensor = Tensor {
            dtype: DType::Q16,
            kind: TensorKind::Activation,
            rank: dims.len() as u32, // CAST: 1 or 2.
            dims: [0; 4],
            data_offset: 0,
            data_bytes: 0,
        };
        for (to, from) in tensor.dims.iter_mut().zip(dims) {
            *to = *from;
        }
        if let Some(next) = data {
            tensor.kind = TensorKind::Constant;
            (tensor.data_offset, tensor.data_bytes) = (*next, tensor.bytes());
            *next = next.saturating_add(aligned(tensor.data_bytes));
        }
        tensor.encode(record(out, tensor_table, *index));
        *index = index.saturating_add(1);
        tensor
    };

    let (mut input, mut file_input) = (0, None);
    for (layer, spec) in specs.iter().enumerate() {
        if file_input.is_none() {
            tensor(out, &mut tensors, &[spec.inputs], None);
            file_input = Some(input);
        }
        let weights = tensors;
        let constants = [
            (Part::Weights, &[spec.outputs, spec.inputs][..]),
            (Part::Bias, &[spec.outputs]),
        ];
        for (part, dims) in constants {
            let tensor = tensor(out, &mut tensors, dims, Some(&mut next));
            fill(
                layer,
                part,
                region(out, tensor.data_offset, tensor.data_bytes),
            );
        }
        let output = tensors;
        tensor(out, &mut tensors, &[spec.outputs], None);
        let inputs = [input, weights, weights.saturating_add(1), NONE];
        let op = Op {
            kind: OpKind::Dense,
            activation: spec.activation,
            inputs,
            output,
        };
        op.encode(record(out, op_table, ops));
        ops = ops.saturating_add(1);
        input = output;
    }

    let (major, minor) = VERSION;
    let mut header = Header {
        major,
        minor,
        header_bytes: HEADER_BYTES as u32, // CAST: 128.
        file_bytes: len as u64,
        crc: 0,
        flags: 0,
        tensors,
        ops,
        tensor_table,
        op_table,
        input: file_input.unwrap_or(0),
        output: input,
        name: [0; name::FIELD_BYTES],
    };
    for (to, from) in header.name.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    header.encode(&MAGIC, out);
    seal(out);
    parse(out, &Limits::NONE)?;
    Ok(len)
}

/// Puts the right checksum into a file.
pub fn seal(file: &mut [u8]) {
    let crc = checksum(file).to_le_bytes();
    if let Some(place) = file.get_mut(CRC_AT..AFTER_CRC) {
        place.copy_from_slice(&crc);
    }
}

fn record(out: &mut [u8], table: u64, index: u32) -> &mut [u8] {
    let record = RECORD_BYTES as u64;
    region(
        out,
        table.saturating_add(u64::from(index).saturating_mul(record)),
        record,
    )
}

/// Part of the file; empty when it is not there, which the sizes computed before exclude.
fn region(out: &mut [u8], offset: u64, bytes: u64) -> &mut [u8] {
    let (Ok(start), Ok(len)) = (usize::try_from(offset), usize::try_from(bytes)) else {
        return &mut [];
    };
    out.get_mut(start..)
        .and_then(|rest| rest.get_mut(..len))
        .unwrap_or(&mut [])
}
