// SPDX-License-Identifier: GPL-2.0

//! A network of the engine while it is made: tensors, constants and operations by their numbers.

use std::borrow::Cow;

use neural_core::act::Activation;
use neural_core::fixed;
use neural_core::nnm::{self, DType, Model, OpKind, Tensor, TensorKind, NONE, PARAMS};

use crate::engine;
use crate::error::{Error, Result};

/// See the top of the file; constants may stand in the file that is converted.
#[derive(Default)]
pub(crate) struct Net<'a> {
    tensors: Vec<Tensor>,
    /// For each tensor its elements, none for activations.
    data: Vec<Cow<'a, [u8]>>,
    ops: Vec<nnm::Op>,
    /// What the operations that come are called in errors and reports.
    pub(crate) label: String,
    /// For each operation, what it is called.
    labels: Vec<String>,
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
    pub(crate) fn constant(
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

    /// A constant of single precision.
    pub(crate) fn floats(&mut self, dims: &[usize], values: &[f64]) -> Result<u32> {
        let mut data = Vec::with_capacity(values.len().saturating_mul(4));
        for (i, value) in values.iter().enumerate() {
            let single = *value as f32; // CAST: the nearest
            if !single.is_finite() {
                let why = format!("has element {i} of {value}, which no float32 is");
                return Err(Error::refused("constant", why));
            }
            data.extend(single.to_le_bytes());
        }
        self.constant(DType::F32, dims, data)
    }

    /// A constant of 32-bit integers.
    pub(crate) fn integers(&mut self, dims: &[usize], values: &[i32]) -> Result<u32> {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(DType::I32, dims, data)
    }

    /// An activation; `codes` is zero point and scale of one of `i8`.
    pub(crate) fn activation(&mut self, dims: &[usize], codes: Option<(i32, f32)>) -> Result<u32> {
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

    /// An activation of 16-bit codes.
    pub(crate) fn short(&mut self, dims: &[usize], scale: f32) -> Result<u32> {
        let tensor = Tensor::new(DType::I16, TensorKind::Activation, &sizes(dims)?);
        Ok(self.add(tensor.with_scale(0, scale.to_bits()), Cow::Borrowed(&[])))
    }

    /// A constant of 16-bit codes.
    pub(crate) fn shorts(&mut self, dims: &[usize], values: &[i16]) -> Result<u32> {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(DType::I16, dims, data)
    }

    /// The sizes of a tensor.
    pub(crate) fn dims(&self, tensor: u32) -> Vec<usize> {
        let tensor = self.tensors.get(tensor as usize);
        tensor.map_or(Vec::new(), |t| {
            let used = t.dims.iter().take(t.rank as usize);
            used.map(|d| *d as usize).collect()
        })
    }

    /// Zero point and scale of a tensor of codes.
    pub(crate) fn codes(&self, tensor: u32) -> Option<(i32, f32)> {
        let tensor = self.tensors.get(tensor as usize)?;
        (tensor.dtype == DType::I8).then(|| (tensor.zero_point, f32::from_bits(tensor.scale_bits)))
    }

    /// An operation that writes `output`; gives that.
    pub(crate) fn op(&mut self, kind: OpKind, inputs: &[u32], params: &[i32], output: u32) -> u32 {
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
        self.labels.push(self.label.clone());
        output
    }

    /// Gives the last operation an activation of Q16.16.
    pub(crate) fn activate(&mut self, activation: Activation) {
        if let Some(op) = self.ops.last_mut() {
            op.activation = activation;
        }
    }

    /// The operations, first to last.
    pub(crate) fn ops(&self) -> &[nnm::Op] {
        &self.ops
    }

    /// What an operation is called.
    pub(crate) fn label_of(&self, op: usize) -> &str {
        self.labels.get(op).map_or("", String::as_str)
    }

    /// The operation that writes a tensor.
    pub(crate) fn writer(&self, tensor: u32) -> Option<usize> {
        self.ops.iter().rposition(|op| op.output == tensor)
    }

    /// An operation, to be changed.
    pub(crate) fn op_mut(&mut self, at: usize) -> Option<&mut nnm::Op> {
        self.ops.get_mut(at)
    }

    /// Takes the last operation away.
    pub(crate) fn pop(&mut self) -> Option<nnm::Op> {
        self.labels.pop();
        self.ops.pop()
    }

    /// Makes an operation of its own of the function of an operation.
    pub(crate) fn split(&mut self, at: usize) -> Result<()> {
        let Some(op) = self.ops.get(at).copied() else {
            return Ok(());
        };
        let sums = self.activation(&self.dims(op.output), None)?;
        let [function, slope, ..] = op.params;
        let mut map = nnm::Op {
            kind: OpKind::Map,
            params: [0; PARAMS],
            inputs: [NONE; 4],
            ..op
        };
        for (to, from) in map.params.iter_mut().zip([function, slope]) {
            *to = from;
        }
        for (to, from) in map.inputs.iter_mut().zip([sums]) {
            *to = from;
        }
        let label = self.label_of(at).to_owned();
        self.ops.insert(at + 1, map);
        self.labels.insert(at + 1, label);
        if let Some(op) = self.ops.get_mut(at) {
            op.output = sums;
            op.params.iter_mut().take(2).for_each(|p| *p = 0);
        }
        Ok(())
    }

    /// Number of tensors.
    pub(crate) fn tensors(&self) -> usize {
        self.tensors.len()
    }

    /// Whether a tensor is constant.
    pub(crate) fn is_constant(&self, tensor: u32) -> bool {
        let tensor = self.tensors.get(tensor as usize);
        tensor.is_some_and(|t| t.kind == TensorKind::Constant)
    }

    /// The elements of a constant of single precision.
    pub(crate) fn values(&self, constant: u32) -> Vec<f64> {
        let data = self.data.get(constant as usize);
        // CAST: the same bits.
        let bits = data.into_iter().flat_map(|d| fixed::elements(d));
        bits.map(|b| f64::from(f32::from_bits(b as u32))).collect()
    }

    /// Other elements for a constant of single precision.
    pub(crate) fn replace(&mut self, constant: u32, values: &[f64]) -> Result<()> {
        let dims = self.dims(constant);
        let new = self.floats(&dims, values)?;
        self.tensors.pop();
        if let (Some(data), Some(to)) = (self.data.pop(), self.data.get_mut(constant as usize)) {
            debug_assert!(new as usize == self.tensors.len());
            *to = data;
        }
        Ok(())
    }

    /// The network of a model file.
    pub(crate) fn of(model: &Model<'a>, labels: &[String]) -> Self {
        let mut net = Self::default();
        for i in 0..u32::try_from(model.tensor_count()).unwrap_or(0) {
            let Some(tensor) = model.tensor(i) else {
                continue;
            };
            let data = match tensor.kind {
                TensorKind::Constant => model.data(&tensor).unwrap_or_default(),
                TensorKind::Activation => &[],
            };
            let tensor = Tensor {
                data_offset: 0,
                ..tensor
            };
            net.add(tensor, Cow::Borrowed(data));
        }
        for i in 0..u32::try_from(model.op_count()).unwrap_or(0) {
            let Some(op) = model.op(i) else { continue };
            let label = labels.get(i as usize).cloned();
            net.labels
                .push(label.unwrap_or_else(|| format!("operation {i} ({})", op.kind.name())));
            net.ops.push(op);
        }
        net
    }

    /// The tensor itself, or one with the same elements and these sizes.
    pub(crate) fn view(&mut self, tensor: u32, dims: &[usize]) -> Result<u32> {
        if self.dims(tensor) == dims {
            return Ok(tensor);
        }
        let output = self.activation(dims, self.codes(tensor))?;
        Ok(self.op(OpKind::Reshape, &[tensor], &[], output))
    }

    /// The network from `input` to `output` with only what that needs, and the new numbers of its
    /// tensors, [`NONE`] of those that it does not have.
    pub(crate) fn compact(&self, input: u32, output: u32) -> (Self, Vec<u32>) {
        let mut number = vec![NONE; self.tensors.len()];
        let want = |number: &mut Vec<u32>, i: u32| {
            if let Some(to) = number.get_mut(i as usize) {
                *to = 0;
            }
        };
        want(&mut number, input);
        want(&mut number, output);
        let mut ops = Vec::new();
        for (op, label) in self.ops.iter().zip(&self.labels).rev() {
            if number.get(op.output as usize) == Some(&0) && op.output != input {
                op.inputs.iter().for_each(|i| want(&mut number, *i));
                ops.push((op, label));
            }
        }
        let mut net = Self::default();
        let all = number.iter_mut().zip(self.tensors.iter().zip(&self.data));
        for (to, (tensor, data)) in all.filter(|(to, _)| **to == 0) {
            *to = net.add(*tensor, data.clone());
        }
        let new = |old: u32| number.get(old as usize).copied().unwrap_or(NONE);
        for (op, label) in ops.into_iter().rev() {
            net.labels.push(label.clone());
            net.ops.push(nnm::Op {
                inputs: op.inputs.map(new),
                output: new(op.output),
                ..*op
            });
        }
        (net, number)
    }

    /// The model file of the network from `input` to `output`, with only what that needs.
    pub(crate) fn file(&self, name: &str, input: u32, output: u32) -> Result<Vec<u8>> {
        let (net, number) = self.compact(input, output);
        let new = |old: u32| number.get(old as usize).copied().unwrap_or(NONE);
        net.write(name, new(input), new(output))
    }

    fn write(&self, name: &str, input: u32, output: u32) -> Result<Vec<u8>> {
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
            let data = self.data.get(tensor as usize);
            for (to, from) in dst.iter_mut().zip(data.into_iter().flat_map(|d| d.iter())) {
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
