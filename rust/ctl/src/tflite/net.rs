// SPDX-License-Identifier: GPL-2.0

//! A network of the engine while it is made: tensors, constants and operations by their numbers.

use std::borrow::Cow;

use neural_core::act::Activation;
use neural_core::nnm::{self, DType, OpKind, Tensor, TensorKind, NONE, PARAMS};

use crate::engine;
use crate::error::{Error, Result};

/// See the top of the file; constants may stand in the file that is converted.
#[derive(Default)]
pub(super) struct Net<'a> {
    tensors: Vec<Tensor>,
    /// For each tensor its elements, none for activations.
    data: Vec<Cow<'a, [u8]>>,
    ops: Vec<nnm::Op>,
}

fn sizes(dims: &[usize]) -> Result<Vec<u32>> {
    dims.iter()
        .map(|d| u32::try_from(*d).map_err(|e| Error::refused("shape", e)))
        .collect()
}

impl<'a> Net<'a> {
    fn add(&mut self, tensor: Tensor, data: Cow<'a, [u8]>) -> u32 {
        self.tensors.push(tensor);
        self.data.push(data);
        // CAST: a few for each operator of a file.
        (self.tensors.len() - 1) as u32
    }

    /// A constant.
    pub(super) fn constant(
        &mut self,
        dtype: DType,
        dims: &[usize],
        data: impl Into<Cow<'a, [u8]>>,
    ) -> Result<u32> {
        let data = data.into();
        let tensor = Tensor::new(dtype, TensorKind::Constant, &sizes(dims)?);
        if tensor.data_bytes != data.len() as u64 {
            let why = format!("are {} bytes, not {}", data.len(), tensor.data_bytes);
            return Err(Error::refused("constants", why));
        }
        Ok(self.add(tensor, data))
    }

    /// A constant of 32-bit integers.
    pub(super) fn integers(&mut self, dims: &[usize], values: &[i32]) -> Result<u32> {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(DType::I32, dims, data)
    }

    /// An activation; `codes` is zero point and scale of one of `i8`.
    pub(super) fn activation(&mut self, dims: &[usize], codes: Option<(i32, f32)>) -> Result<u32> {
        if dims.is_empty() || dims.len() > 4 {
            let why = format!("has {} dimensions, not 1 to 4", dims.len());
            return Err(Error::refused("shape", why));
        }
        let of = |dtype| Ok(Tensor::new(dtype, TensorKind::Activation, &sizes(dims)?));
        let tensor: Result<Tensor> = match codes {
            Some((zero, scale)) => of(DType::I8).map(|t| t.with_scale(zero, scale.to_bits())),
            None => of(DType::F32),
        };
        Ok(self.add(tensor?, Cow::Borrowed(&[])))
    }

    /// The sizes of a tensor.
    pub(super) fn dims(&self, tensor: u32) -> Vec<usize> {
        let tensor = self.tensors.get(tensor as usize);
        tensor.map_or(Vec::new(), |t| {
            let used = t.dims.iter().take(t.rank as usize);
            used.map(|d| *d as usize).collect()
        })
    }

    /// Zero point and scale of a tensor of codes.
    pub(super) fn codes(&self, tensor: u32) -> Option<(i32, f32)> {
        let tensor = self.tensors.get(tensor as usize)?;
        (tensor.dtype == DType::I8).then(|| (tensor.zero_point, f32::from_bits(tensor.scale_bits)))
    }

    /// An operation that writes `output`; gives that.
    pub(super) fn op(&mut self, kind: OpKind, inputs: &[u32], params: &[i32], output: u32) -> u32 {
        let mut op = nnm::Op {
            kind,
            activation: Activation::Linear,
            params: [0; PARAMS],
            inputs: [NONE; 4],
            output,
        };
        for (to, from) in op.inputs.iter_mut().zip(inputs) {
            *to = *from;
        }
        for (to, from) in op.params.iter_mut().zip(params) {
            *to = *from;
        }
        self.ops.push(op);
        output
    }

    /// The tensor itself, or one with the same elements and these sizes.
    pub(super) fn view(&mut self, tensor: u32, dims: &[usize]) -> Result<u32> {
        if self.dims(tensor) == dims {
            return Ok(tensor);
        }
        let output = self.activation(dims, self.codes(tensor))?;
        Ok(self.op(OpKind::Reshape, &[tensor], &[], output))
    }

    /// The model file of the network from `input` to `output`.
    pub(super) fn file(&self, name: &str, input: u32, output: u32) -> Result<Vec<u8>> {
        let none = nnm::Op {
            kind: OpKind::Reshape,
            activation: Activation::Linear,
            params: [0; PARAMS],
            inputs: [NONE; 4],
            output: NONE,
        };
        let empty = Tensor::new(DType::F32, TensorKind::Activation, &[]);
        let graph = nnm::Graph {
            tensors: u32::try_from(self.tensors.len()).unwrap_or(u32::MAX),
            ops: u32::try_from(self.ops.len()).unwrap_or(u32::MAX),
            input,
            output,
            tensor: &|i| self.tensors.get(i as usize).copied().unwrap_or(empty),
            op: &|i| self.ops.get(i as usize).copied().unwrap_or(none),
        };
        let mut file = vec![0; graph.file_bytes().map_err(engine::error)?];
        let mut fill = |tensor: u32, dst: &mut [u8]| {
            for (to, from) in dst.iter_mut().zip(
                self.data
                    .get(tensor as usize)
                    .into_iter()
                    .flat_map(|d| d.iter()),
            ) {
                *to = *from;
            }
        };
        let length = graph
            .write(name, &mut fill, &mut file)
            .map_err(engine::error)?;
        file.truncate(length);
        Ok(file)
    }
}
