// SPDX-License-Identifier: GPL-2.0

//! Writes model files.
//!
//! Used by converters, tests and benchmarks. Does not allocate: [`Graph::file_bytes`] tells the size,
//! the caller brings the buffer, and weights are asked for part by part, straight into their place.
//! [`write_dense`] does the same for chains of dense layers in Q16.16, without a graph to be made.

use crate::act::Activation;
use crate::error::Error;
use crate::name;

use super::check::{checksum, parse};
use super::kind::OpKind;
use super::record::{DType, Header, Op, Tensor, TensorKind, AFTER_CRC, CRC_AT, PARAMS};
use super::{
    Limits, Pause, ALIGN, HEADER_BYTES, MAGIC, MAX_DIM, MAX_OPS, NONE, RECORD_BYTES, VERSION,
};

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
    /// No layer at all.
    const NONE: DenseSpec = DenseSpec {
        inputs: 0,
        outputs: 0,
        activation: Activation::Linear,
    };
}

/// A graph: tensors and operations, by their index.
pub struct Graph<'a> {
    /// Number of tensors.
    pub tensors: u32,
    /// Number of operations.
    pub ops: u32,
    /// Index of the tensor that is the input of the network.
    pub input: u32,
    /// Index of the tensor that is the output of the network.
    pub output: u32,
    /// A tensor; where its data lie is worked out here.
    pub tensor: &'a dyn Fn(u32) -> Tensor,
    /// An operation.
    pub op: &'a dyn Fn(u32) -> Op,
}

impl Tensor {
    /// A tensor of this shape, 1 to 4 dimensions, whose data are in the file if it is constant.
    pub fn new(dtype: DType, kind: TensorKind, dims: &[u32]) -> Self {
        let mut tensor = Tensor {
            dtype,
            kind,
            // CAST: more than 4 are refused when the file is checked.
            rank: dims.len() as u32,
            dims: [0; 4],
            data_offset: 0,
            data_bytes: 0,
            zero_point: 0,
            scale_bits: 0,
        };
        for (to, from) in tensor.dims.iter_mut().zip(dims) {
            *to = *from;
        }
        if kind == TensorKind::Constant {
            tensor.data_bytes = tensor.bytes();
        }
        tensor
    }

    /// The same tensor with the meaning of its codes.
    pub fn with_scale(self, zero_point: i32, scale_bits: u32) -> Self {
        Tensor {
            zero_point,
            scale_bits,
            ..self
        }
    }
}

impl Graph<'_> {
    fn tables(&self) -> (u64, u64, u64) {
        let record = RECORD_BYTES as u64;
        let tensor_table = HEADER_BYTES as u64;
        let op_table = tensor_table.saturating_add(u64::from(self.tensors).saturating_mul(record));
        let data = op_table.saturating_add(u64::from(self.ops).saturating_mul(record));
        (tensor_table, op_table, data)
    }

    /// Bytes of the file.
    ///
    /// Fails with `Argument` when there are 0 or more than 4096 operations, with `Buffer` when the
    /// file would be larger than memory can be.
    pub fn file_bytes(&self) -> Result<usize, Error> {
        argument("ops", u64::from(self.ops), MAX_OPS)?;
        argument(
            "tensors",
            u64::from(self.tensors),
            MAX_OPS.saturating_mul(4).saturating_add(1),
        )?;
        let (_, _, data) = self.tables();
        let end = (0..self.tensors).fold(data, |end, i| {
            end.saturating_add(aligned((self.tensor)(i).data_bytes))
        });
        usize::try_from(end).map_err(|_| Error::Buffer {
            buffer: "file",
            have: 0,
            want: end,
        })
    }

    /// Writes the model file to the beginning of `out`; gives its size.
    ///
    /// `fill(tensor, bytes)` is called for each constant, in order, and writes its elements, little
    /// endian, to `bytes` (which hold zeros). Fails as [`Graph::file_bytes`] does, with `Name` when the
    /// name is not allowed, with `Buffer` when `out` is too small, and with what [`parse`] says of the
    /// file.
    pub fn write(
        &self,
        name: &str,
        fill: &mut dyn FnMut(u32, &mut [u8]),
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let name = name::check(name.as_bytes())?;
        let (tensor_table, op_table, data) = self.tables();
        let len = self.file_bytes()?;
        let have = out.len() as u64;
        let Some(out) = out.get_mut(..len) else {
            return Err(Error::Buffer {
                buffer: "file",
                have,
                want: len as u64,
            });
        };
        out.fill(0);
        let mut next = data;
        for i in 0..self.tensors {
            let mut tensor = (self.tensor)(i);
            if tensor.kind == TensorKind::Constant {
                tensor.data_offset = next;
                next = next.saturating_add(aligned(tensor.data_bytes));
                fill(i, region(out, tensor.data_offset, tensor.data_bytes));
            }
            tensor.encode(record(out, tensor_table, i));
        }
        for i in 0..self.ops {
            (self.op)(i).encode(record(out, op_table, i));
        }
        // The lowest version that has all that the file has.
        let (major, newest) = VERSION;
        let plain = (0..self.tensors).all(|i| (self.tensor)(i).dtype == DType::Q16);
        let minor = if plain { 0 } else { newest };
        let mut header = Header {
            major,
            minor,
            header_bytes: HEADER_BYTES as u32, // CAST: 128.
            file_bytes: len as u64,
            crc: 0,
            flags: 0,
            tensors: self.tensors,
            ops: self.ops,
            tensor_table,
            op_table,
            input: self.input,
            output: self.output,
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

fn check_specs(specs: &[DenseSpec]) -> Result<(), Error> {
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
    Ok(())
}

/// Calls `f` with the graph of a chain: tensor 0 is the input, then come weights, bias and result of
/// each layer.
fn with_chain<T>(specs: &[DenseSpec], f: impl FnOnce(&Graph<'_>) -> T) -> Result<T, Error> {
    check_specs(specs)?;
    // CAST: at most MAX_OPS.
    let layers = specs.len() as u32;
    let spec = |layer: u32| {
        specs
            .get(layer as usize)
            .copied()
            .unwrap_or(DenseSpec::NONE)
    };
    let last = layers.saturating_mul(3);
    Ok(f(&Graph {
        tensors: last.saturating_add(1),
        ops: layers,
        input: 0,
        output: last,
        tensor: &|i| {
            let of = |kind, dims: &[u32]| Tensor::new(DType::Q16, kind, dims);
            let Some(i) = i.checked_sub(1) else {
                return of(TensorKind::Activation, &[spec(0).inputs]);
            };
            let spec = spec(i / 3);
            match i % 3 {
                0 => of(TensorKind::Constant, &[spec.outputs, spec.inputs]),
                1 => of(TensorKind::Constant, &[spec.outputs]),
                _ => of(TensorKind::Activation, &[spec.outputs]),
            }
        },
        op: &|layer| {
            let input = layer.saturating_mul(3);
            let activation = spec(layer).activation;
            let mut params = [0; PARAMS];
            if let Activation::LeakyRelu { slope } = activation {
                params = [slope, 0, 0, 0, 0, 0, 0];
            }
            let [weights, bias, output] = [1, 2, 3].map(|n| input.saturating_add(n));
            Op {
                kind: OpKind::Dense,
                activation,
                params,
                inputs: [input, weights, bias, NONE],
                output,
            }
        },
    }))
}

/// Bytes of the file that [`write_dense`] writes.
///
/// Fails with `Argument` when there are 0 or more than 4096 layers, a dimension is not in 1..=4096,
/// or a layer does not take what the one before gives.
pub fn dense_file_bytes(specs: &[DenseSpec]) -> Result<usize, Error> {
    with_chain(specs, |graph| graph.file_bytes())?
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
    name::check(name.as_bytes())?;
    let mut fill = |tensor: u32, bytes: &mut [u8]| {
        let i = tensor.saturating_sub(1);
        let part = if i % 3 == 0 {
            Part::Weights
        } else {
            Part::Bias
        };
        // CAST: at most MAX_OPS.
        fill((i / 3) as usize, part, bytes);
    };
    with_chain(specs, |graph| graph.write(name, &mut fill, out))?
}

/// Puts the right checksum into a file.
pub fn seal(file: &mut [u8]) {
    // A pause that never ends the work makes no error.
    let crc = checksum(file, Pause::NONE).unwrap_or(0).to_le_bytes();
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
