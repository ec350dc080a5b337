// SPDX-License-Identifier: GPL-2.0

//! From a TFLite graph to a model file: int8 with the very results of the reference kernels of TFLite,
//! float32 with those of single precision.
//!
//! What only changes a shape costs nothing where the next operation does not mind; the first dimension
//! of a tensor, its batch, is left out where it is 1. Operators that the output does not need are left
//! out as well.

use std::borrow::Cow;

use neural_core::float::Function;
use neural_core::nnm::{DType, OpKind, NONE};

use super::codes::{self, Codes};
use super::graph::{self, list, Graph, Kind, Op, Tensor, Window};
use super::read::label;
use super::scales::Activation;
use crate::error::{Error, Result};
use crate::net::Net;

/// The most inputs of a concatenation of the engine.
const PARTS: usize = 4;

/// The output of the graph that has this name, or the only one.
pub fn output(graph: &Graph<'_>, name: Option<&str>) -> Result<usize> {
    let names = || -> Vec<String> {
        let names = graph.outputs.iter().filter_map(|i| graph.tensors.get(*i));
        names.map(|t| format!("'{}'", t.name)).collect()
    };
    match (name, graph.outputs.as_slice()) {
        (None, [one]) => Ok(*one),
        (None, _) => {
            let why = format!("are {}; choose one with --output-name", names().join(", "));
            Err(Error::refused("outputs", why))
        }
        (Some(name), all) => {
            let is = |i: &&usize| graph.tensors.get(**i).is_some_and(|t| t.name == name);
            let found = all.iter().find(is).copied();
            found.ok_or_else(|| {
                let why = format!("there is no '{name}', only {}", names().join(", "));
                Error::refused("outputs", why)
            })
        }
    }
}

/// The model file of what leads to tensor `output`, which needs not be an output of the graph.
pub fn convert(graph: &Graph<'_>, output: usize, name: &str) -> Result<Vec<u8>> {
    let needed = needed(graph, output);
    let mut to = Conversion {
        graph,
        net: Net::default(),
        values: vec![None; graph.tensors.len()],
        codes: true,
        output,
    };
    let input = to.input(&needed)?;
    for (i, op) in needed.iter() {
        to.op(op).map_err(|e| e.within(label(*i, op.name)))?;
    }
    let mut last = to.value(output)?;
    if last == input {
        let same = to
            .net
            .activation(&to.net.dims(input), to.net.codes(input))?;
        last = to.net.op(OpKind::Reshape, &[input], &[], same);
    }
    to.net.file(name, input, last)
}

/// The operators that a tensor needs, in the order of execution.
fn needed<'g>(graph: &'g Graph<'_>, output: usize) -> Vec<(usize, &'g Op)> {
    let mut wanted = vec![false; graph.tensors.len()];
    let want = |wanted: &mut Vec<bool>, i: usize| {
        if let Some(to) = wanted.get_mut(i) {
            *to = true;
        }
    };
    want(&mut wanted, output);
    let mut needed = Vec::new();
    for (i, op) in graph.ops.iter().enumerate().rev() {
        if op.outputs.iter().any(|o| wanted.get(*o) == Some(&true)) {
            for input in op.inputs.iter().flatten() {
                want(&mut wanted, *input);
            }
            needed.push((i, op));
        }
    }
    needed.reverse();
    needed
}

struct Conversion<'g, 'a> {
    graph: &'g Graph<'a>,
    net: Net<'a>,
    /// For each tensor of the graph, the one that has its elements.
    values: Vec<Option<u32>>,
    /// Whether the network computes on codes; else on floats.
    codes: bool,
    output: usize,
}

fn fail<T>(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Result<T> {
    Err(Error::refused(what, why))
}

/// The shape without its batch, and of at most 4 dimensions as far as leading ones can be left out.
fn short(shape: &[usize]) -> Vec<usize> {
    let mut rest = shape;
    if let [1, after @ ..] = rest {
        rest = after;
    }
    while let ([1, after @ ..], true) = (rest, rest.len() > 4) {
        rest = after;
    }
    if rest.is_empty() {
        vec![1]
    } else {
        rest.to_vec()
    }
}

fn product(sizes: &[usize]) -> usize {
    sizes.iter().product() // of parts of a shape whose elements were counted
}

/// Two 16-bit numbers in a parameter.
fn two(what: &str, [low, high]: [usize; 2]) -> Result<i32> {
    match [low, high].map(u16::try_from) {
        // CAST: the bits.
        [Ok(low), Ok(high)] => Ok((u32::from(low) | u32::from(high) << 16) as i32),
        _ => fail(what, "is larger than 65535"),
    }
}

fn number(what: &str, value: usize) -> Result<i32> {
    i32::try_from(value).map_err(|e| Error::refused(what, e))
}

/// The function of floats that an activation is.
fn function(activation: Activation) -> Result<Function> {
    Ok(match activation {
        Activation::None => Function::None,
        Activation::Relu => Function::Relu,
        Activation::Relu6 => Function::Relu6,
        Activation::ReluN1To1 => return fail("relu_n1_to_1", "is not supported in float32"),
    })
}

fn code_of(function: Function) -> i32 {
    // CAST: a small number.
    function.code() as i32
}

impl<'g, 'a> Conversion<'g, 'a> {
    fn tensor(&self, index: usize) -> Result<&'g Tensor<'a>> {
        self.graph.tensor(index)
    }

    /// The only input of the network, which is that of the graph or the codes that it is made of.
    fn input(&mut self, needed: &[(usize, &'g Op)]) -> Result<u32> {
        let reads = |i: &usize| needed.iter().any(|(_, op)| op.inputs.contains(&Some(*i)));
        let inputs: Vec<usize> = self.graph.inputs.iter().copied().filter(reads).collect();
        let [index] = inputs.as_slice() else {
            let why = format!("needs {} inputs, a network has one", inputs.len());
            return fail("graph", why);
        };
        let tensor = self.tensor(*index)?;
        let quantize = needed.iter().find(|(_, op)| {
            matches!(op.kind, Kind::Quantize) && op.inputs.first() == Some(&Some(*index))
        });
        let codes = match (tensor.dtype, quantize) {
            (graph::DType::I8, _) => Some(tensor),
            (graph::DType::F32, None) => None,
            (graph::DType::F32, Some((_, op))) => match op.outputs.as_slice() {
                [codes] => Some(self.tensor(*codes)?),
                _ => return fail("graph", "has a QUANTIZE without output"),
            },
            (other, _) => {
                return Err(tensor.refuse(format!("is an input of type {}", other.name())))
            }
        };
        self.codes = codes.is_some();
        let value = match codes {
            Some(codes) if codes.dtype != graph::DType::I8 => {
                return Err(codes.refuse(format!("is of type {}, not i8", codes.dtype.name())))
            }
            Some(codes) => {
                let Codes { scale, zero } = Codes::of(codes)?;
                let dims = short(&tensor.shape);
                self.net.activation(&dims, Some((zero, scale)))?
            }
            None => self.net.activation(&short(&tensor.shape), None)?,
        };
        self.put(*index, value);
        Ok(value)
    }

    fn put(&mut self, tensor: usize, value: u32) {
        if let Some(to) = self.values.get_mut(tensor) {
            *to = Some(value);
        }
    }

    /// What holds the elements of a tensor of the graph.
    fn value(&self, index: usize) -> Result<u32> {
        match self.values.get(index).copied().flatten() {
            Some(value) => Ok(value),
            None if self.tensor(index)?.data.is_some() => Err(self
                .tensor(index)?
                .refuse("is a constant, which is not supported here")),
            None => Err(self.tensor(index)?.refuse("is not computed from the input")),
        }
    }

    /// The index of an input of an operator.
    fn at(&self, op: &Op, at: usize) -> Result<usize> {
        match op.inputs.get(at) {
            Some(Some(index)) => Ok(*index),
            _ => fail(format!("input {at}"), "is missing"),
        }
    }

    fn x(&self, op: &Op, at: usize) -> Result<(&'g Tensor<'a>, u32)> {
        let index = self.at(op, at)?;
        self.typed(self.tensor(index)?)?;
        Ok((self.tensor(index)?, self.value(index)?))
    }

    /// Whether a tensor has the type of all that are computed.
    fn typed(&self, tensor: &Tensor<'_>) -> Result<()> {
        let want = if self.codes {
            graph::DType::I8
        } else {
            graph::DType::F32
        };
        if tensor.dtype == want {
            return Ok(());
        }
        let (have, want) = (tensor.dtype.name(), want.name());
        Err(tensor.refuse(format!("is of type {have} in a network of {want}")))
    }

    fn y(&self, op: &Op) -> Result<&'g Tensor<'a>> {
        match op.outputs.as_slice() {
            [index] => {
                let y = self.tensor(*index)?;
                self.typed(y)?;
                Ok(y)
            }
            _ => fail("outputs", "are not one"),
        }
    }

    /// An activation of these sizes that holds what `tensor` of the graph does.
    fn activation(&mut self, dims: &[usize], tensor: &Tensor<'_>) -> Result<u32> {
        let codes = match self.codes {
            true => Some(Codes::of(tensor)?),
            false => None,
        };
        self.net.activation(dims, codes.map(|c| (c.zero, c.scale)))
    }

    fn op(&mut self, op: &'g Op) -> Result<()> {
        if let Kind::Split(axis) = &op.kind {
            return self.split(op, *axis);
        }
        let value = match &op.kind {
            Kind::FullyConnected(a) => self.dense(op, *a)?,
            Kind::Conv2d(w, a) => self.conv(op, w, *a)?,
            Kind::DepthwiseConv2d(w, _, a) => self.conv(op, w, *a)?,
            Kind::AveragePool2d(w, a) => self.pool(op, OpKind::AveragePool2d, w, *a)?,
            Kind::MaxPool2d(w, a) => self.pool(op, OpKind::MaxPool2d, w, *a)?,
            Kind::Add(a) => self.pair(op, OpKind::Add, *a)?,
            Kind::Sub(a) => self.pair(op, OpKind::Sub, *a)?,
            Kind::Mul(a) => self.pair(op, OpKind::Mul, *a)?,
            Kind::Concatenation(axis) => self.concat(op, *axis)?,
            Kind::Pad(pads) => self.pad(op, pads)?,
            Kind::Reshape => {
                self.y(op)?;
                self.x(op, 0)?.1
            }
            Kind::Transpose(perm) => self.transpose(op, perm)?,
            Kind::Mean(axes, _) => self.mean(op, axes)?,
            Kind::Softmax(beta) => self.softmax(op, *beta)?,
            Kind::Lstm(clip, time_major) => self.lstm(op, *clip, *time_major)?,
            Kind::Quantize if self.values_of_floats(op)? => self.quantize(op)?,
            Kind::Dequantize if self.codes => self.dequantize(op)?,
            kind => match (self.codes, float(kind)) {
                (false, Some((kind, params))) => self.map(op, kind, &params)?,
                (true, _) if coded(kind) => self.table(op)?,
                (codes, _) => {
                    let of = if codes { "int8" } else { "float32" };
                    return fail("kind", format!("has no counterpart in {of}"));
                }
            },
        };
        match op.outputs.as_slice() {
            [output] => self.put(*output, value),
            _ => return fail("outputs", "are not one"),
        }
        Ok(())
    }

    fn values_of_floats(&self, op: &Op) -> Result<bool> {
        Ok(self.codes && self.tensor(self.at(op, 0)?)?.dtype == graph::DType::F32)
    }

    /// The input of the graph is that of the network once it has become codes.
    fn quantize(&mut self, op: &Op) -> Result<u32> {
        let value = self.value(self.at(op, 0)?)?;
        let Codes { scale, zero } = Codes::of(self.y(op)?)?;
        if self.net.codes(value) != Some((zero, scale)) {
            return fail("scales", "differ from those that the input has already");
        }
        Ok(value)
    }

    /// Only at the end, where those who read the codes know their scale.
    fn dequantize(&mut self, op: &Op) -> Result<u32> {
        let (_, value) = self.x(op, 0)?;
        if op.outputs.as_slice() == [self.output] {
            return Ok(value);
        }
        fail("kind", "is supported at the output of the network only")
    }

    /// Weights and biases as constants.
    fn weights(&mut self, op: &Op, dims: &[usize], n: usize) -> Result<[u32; 2]> {
        let w = self.tensor(self.at(op, 1)?)?;
        let (of_w, of_b, bytes) = match self.codes {
            true => (DType::I8, DType::I32, 4),
            false => (DType::F32, DType::F32, 4),
        };
        let data = match (self.codes, w.dtype) {
            (false, graph::DType::I8) => Cow::Owned(numbers(w)?),
            _ => Cow::Borrowed(w.data.unwrap_or_default()),
        };
        let weights = self.net.constant(of_w, dims, data)?;
        let bias = match op.inputs.get(2).copied().flatten() {
            Some(index) => {
                let b = self.tensor(index)?;
                self.net.constant(of_b, &[n], b.data.unwrap_or_default())?
            }
            None => self
                .net
                .constant(of_b, &[n], vec![0; n.saturating_mul(bytes)])?,
        };
        Ok([weights, bias])
    }

    /// The last operand and the first two parameters of what is summed up: from sums to elements.
    fn after(&mut self, op: &Op, activation: Activation, n: usize) -> Result<(u32, [i32; 2])> {
        if !self.codes {
            return Ok((NONE, [code_of(function(activation)?), 0]));
        }
        let (x, y) = (Codes::of(self.x(op, 0)?.0)?, Codes::of(self.y(op)?)?);
        let w = self.tensor(self.at(op, 1)?)?;
        let Some(quant) = &w.quant else {
            return Err(w.refuse("needs scales"));
        };
        let dense = matches!(op.kind, Kind::FullyConnected(_));
        let rows = codes::rows(dense, x, &quant.scale, y, n)?;
        let (min, max) = y.clamp(activation);
        Ok((self.net.integers(&[2, n], &rows)?, [min, max]))
    }

    fn dense(&mut self, op: &'g Op, activation: Activation) -> Result<u32> {
        let ((x, value), y) = (self.x(op, 0)?, self.y(op)?);
        let w = self.tensor(self.at(op, 1)?)?;
        let [n, k] = w.shape.as_slice() else {
            return Err(w.refuse("has not 2 dimensions"));
        };
        let mut dims = self.net.dims(value);
        if dims.last() != Some(k) {
            let rows = x.elements() / k.max(&1);
            dims = if rows == 1 { vec![*k] } else { vec![rows, *k] };
        }
        let value = self.net.view(value, &dims)?;
        if let Some(last) = dims.last_mut() {
            *last = *n;
        }
        let [weights, bias] = self.weights(op, &[*n, *k], *n)?;
        let (requant, params) = self.after(op, activation, *n)?;
        let to = self.activation(&dims, y)?;
        let inputs = [value, weights, bias, requant];
        Ok(self.net.op(OpKind::Dense, &inputs, &params, to))
    }

    /// An image without its batch.
    fn image(&mut self, op: &Op) -> Result<(u32, [usize; 3])> {
        let (x, value) = self.x(op, 0)?;
        match x.shape.as_slice() {
            [1, h, w, c] => Ok((self.net.view(value, &[*h, *w, *c])?, [*h, *w, *c])),
            [n, ..] => Err(x.refuse(format!("has a batch of {n}, only 1 is supported"))),
            _ => Err(x.refuse("has not 4 dimensions")),
        }
    }

    /// The sizes of the result, and strides, `third`, and borders as parameters.
    fn window(
        &self,
        image: [usize; 3],
        window: &Window,
        third: [usize; 2],
        y: &Tensor<'_>,
    ) -> Result<([usize; 3], [i32; 4])> {
        let [_, h, w, n] = y.shape.as_slice() else {
            return Err(y.refuse("has not 4 dimensions"));
        };
        let after = |axis: usize, size: usize, out: usize| -> Option<usize> {
            let at = |pair: [usize; 2]| pair.get(axis).copied();
            let extent = (at(window.size)?.checked_sub(1)?)
                .checked_mul(at(window.dilation)?)?
                .checked_add(1)?;
            let end = (out.checked_sub(1)?)
                .checked_mul(at(window.stride)?)?
                .checked_add(extent)?;
            Some(end.saturating_sub(size.checked_add(at(window.before)?)?))
        };
        let [ih, iw, _] = image;
        let (Some(bottom), Some(right)) = (after(0, ih, *h), after(1, iw, *w)) else {
            return fail("window", "is too large");
        };
        let params = [
            two("stride", window.stride)?,
            two("window", third)?,
            two("border", window.before)?,
            two("border", [bottom, right])?,
        ];
        Ok(([*h, *w, *n], params))
    }

    fn conv(&mut self, op: &'g Op, window: &Window, activation: Activation) -> Result<u32> {
        let (value, image) = self.image(op)?;
        let y = self.y(op)?;
        let (dims, geometry) = self.window(image, window, window.dilation, y)?;
        let w = self.tensor(self.at(op, 1)?)?;
        let [.., n] = dims;
        let (kind, shape) = match (&op.kind, w.shape.as_slice()) {
            (Kind::DepthwiseConv2d(..), [_, rest @ ..]) => (OpKind::DepthwiseConv2d, rest),
            (_, all) => (OpKind::Conv2d, all),
        };
        let [weights, bias] = self.weights(op, shape, n)?;
        let (requant, [first, second]) = self.after(op, activation, n)?;
        let to = self.activation(&dims, y)?;
        let [stride, dilation, before, after] = geometry;
        let params = [first, second, stride, dilation, before, after];
        let inputs = [value, weights, bias, requant];
        Ok(self.net.op(kind, &inputs, &params, to))
    }

    fn pool(
        &mut self,
        op: &'g Op,
        kind: OpKind,
        window: &Window,
        activation: Activation,
    ) -> Result<u32> {
        let (value, image) = self.image(op)?;
        let y = self.y(op)?;
        let (dims, geometry) = self.window(image, window, window.size, y)?;
        let (min, max) = match self.codes {
            true => Codes::of(y)?.clamp(activation),
            false => (0, 0),
        };
        let [stride, size, before, after] = geometry;
        let to = self.activation(&dims, y)?;
        let params = [min, max, stride, size, before, after];
        let pooled = self.net.op(kind, &[value], &params, to);
        match (self.codes, function(activation)) {
            (true, _) | (_, Ok(Function::None)) => Ok(pooled),
            (false, function) => {
                let to = self.activation(&dims, y)?;
                let params = [code_of(function?)];
                Ok(self.net.op(OpKind::Map, &[pooled], &params, to))
            }
        }
    }

    fn pair(&mut self, op: &'g Op, kind: OpKind, activation: Activation) -> Result<u32> {
        for known in [1, 0] {
            if let Some(value) = self.pair_with_one(op, known)? {
                return Ok(value);
            }
        }
        let y = self.y(op)?;
        let all = [self.tensor(self.at(op, 0)?)?, self.tensor(self.at(op, 1)?)?];
        let [a, b] = all;
        let turned = a.data.is_some() || a.elements() < b.elements();
        if turned && kind == OpKind::Sub {
            return fail("shapes", "of the first is smaller, or it is a constant");
        }
        let (first, second) = if turned { (1, 0) } else { (0, 1) };
        let [a, b] = if turned { [b, a] } else { [a, b] };
        self.typed(b)?;
        let dims = short(&a.shape);
        // The dimensions of b must be the last ones of a.
        let ones = b.shape.iter().take_while(|d| **d == 1).count();
        let mut part = b.shape.get(ones..).unwrap_or_default().to_vec();
        if product(&part) == product(&dims) {
            part.clone_from(&dims);
        }
        let mut data = b.data.map(Cow::Borrowed);
        if let (Some(one), true, Some(n)) = (b.data, part.is_empty(), dims.last()) {
            part = vec![*n];
            data = Some(Cow::Owned(one.repeat(*n)));
        }
        if part.is_empty() || !dims.ends_with(&part) || y.elements() != a.elements() {
            let (a, b) = (list(&a.shape), list(&b.shape));
            let why = format!("{a} and {b}: one must repeat as a whole in the other");
            return fail("shapes", why);
        }
        let (_, value) = self.x(op, first)?;
        let value = self.net.view(value, &dims)?;
        let (other, zero) = match data {
            Some(data) if self.codes => (self.net.constant(DType::I8, &part, data)?, b.zero()),
            Some(data) => (self.net.constant(DType::F32, &part, data)?, 0),
            None => {
                let (_, other) = self.x(op, second)?;
                (self.net.view(other, &part)?, 0)
            }
        };
        let to = self.activation(&dims, y)?;
        if !self.codes {
            let params = [code_of(function(activation)?)];
            return Ok(self.net.op(kind, &[value, other], &params, to));
        }
        let (a, b, y) = (Codes::of(a)?, Codes::of(b)?, Codes::of(y)?);
        let factors = codes::pair(&op.kind, a, b, y)?;
        let factors: Vec<i32> = factors.iter().flat_map(|m| [m.mult, m.shift]).collect();
        let factors = self.net.integers(&[factors.len()], &factors)?;
        let (min, max) = y.clamp(activation);
        let params = [min, max, zero];
        Ok(self.net.op(kind, &[value, other, factors], &params, to))
    }

    /// With a constant that has one code only, all is a function of the other operand.
    fn pair_with_one(&mut self, op: &'g Op, at: usize) -> Result<Option<u32>> {
        let known = self.tensor(self.at(op, at)?)?;
        let y = self.y(op)?;
        let [code, rest @ ..] = known.data.unwrap_or_default() else {
            return Ok(None);
        };
        if !self.codes || rest.iter().any(|c| c != code) {
            return Ok(None);
        }
        self.typed(known)?;
        let (x, value) = self.x(op, 1 - at)?;
        if x.elements() != y.elements() {
            return Ok(None);
        }
        let (x, one) = (Codes::of(x)?, Codes::of(known)?);
        let both = if at == 0 { (one, x) } else { (x, one) };
        // CAST: the code.
        let known = (at == 0, *code as i8);
        let table = codes::pair_table(&op.kind, both, Codes::of(y)?, known)?;
        self.lut(value, &table, y).map(Some)
    }

    fn lut(&mut self, value: u32, table: &[u8; 256], y: &Tensor<'_>) -> Result<u32> {
        let table = codes::in_file(table);
        let table = self.net.constant(DType::I8, &[256], table)?;
        let to = self.activation(&self.net.dims(value), y)?;
        Ok(self.net.op(OpKind::Lut, &[value, table], &[], to))
    }

    fn table(&mut self, op: &'g Op) -> Result<u32> {
        let ((x, value), y) = (self.x(op, 0)?, self.y(op)?);
        let table = codes::table(op, Codes::of(x)?, Codes::of(y)?)?;
        self.lut(value, &table, y)
    }

    fn map(&mut self, op: &'g Op, kind: OpKind, params: &[i32]) -> Result<u32> {
        let ((_, value), y) = (self.x(op, 0)?, self.y(op)?);
        let to = self.activation(&self.net.dims(value), y)?;
        Ok(self.net.op(kind, &[value], params, to))
    }

    fn concat(&mut self, op: &'g Op, axis: usize) -> Result<u32> {
        let y = self.y(op)?;
        let skip = y.shape.len() - short(&y.shape).len().min(y.shape.len());
        let (before, after) = (
            y.shape.get(..axis).unwrap_or_default(),
            y.shape.get(axis + 1..).unwrap_or_default(),
        );
        // Along the batch, or with too many dimensions: what is before and behind as one each.
        let plain = axis >= skip && y.shape.len() - skip <= PARTS;
        let (at, shape): (usize, Box<dyn Fn(usize) -> Vec<usize>>) = if plain {
            let shape = y.shape.get(skip..).unwrap_or_default();
            let along = move |n| {
                let mut dims = shape.to_vec();
                if let Some(d) = dims.get_mut(axis - skip) {
                    *d = n;
                }
                dims
            };
            (axis - skip, Box::new(along))
        } else {
            let (before, after) = (product(before), product(after));
            (1, Box::new(move |n| vec![before, n, after]))
        };
        let mut parts = Vec::with_capacity(op.inputs.len());
        for i in 0..op.inputs.len() {
            let (x, value) = self.x(op, i)?;
            let size = x.shape.get(axis).copied().unwrap_or(0);
            parts.push((self.net.view(value, &shape(size))?, size));
        }
        let params = [number("axis", at)?];
        let mut parts = parts.into_iter();
        let Some((mut joined, mut size)) = parts.next() else {
            return fail("inputs", "are none");
        };
        while parts.len() > 0 {
            let mut inputs = vec![joined];
            for (part, more) in parts.by_ref().take(PARTS - 1) {
                inputs.push(part);
                size += more;
            }
            let to = self.activation(&shape(size), y)?;
            joined = self.net.op(OpKind::Concat, &inputs, &params, to);
        }
        Ok(joined)
    }

    /// Equal parts of a tensor.
    fn split(&mut self, op: &'g Op, axis: usize) -> Result<()> {
        let (x, value) = self.x(op, 1)?;
        let dims = short(&x.shape);
        let at = axis.checked_sub(x.shape.len().saturating_sub(dims.len()));
        let Some(at) = at else {
            return fail("axis", "is that of the batch, which is not supported");
        };
        let value = self.net.view(value, &dims)?;
        let mut start = 0;
        for index in &op.outputs {
            let y = self.tensor(*index)?;
            self.typed(y)?;
            let size = y.shape.get(axis).copied().unwrap_or(0);
            let (mut to, mut params) = (dims.clone(), vec![0; dims.len()]);
            if let (Some(to), Some(param)) = (to.get_mut(at), params.get_mut(at)) {
                (*to, *param) = (size, number("axis", start)?);
            }
            let to = self.activation(&to, y)?;
            let part = self.net.op(OpKind::Slice, &[value], &params, to);
            self.put(*index, part);
            start += size;
        }
        Ok(())
    }

    /// A memory over a sequence, which starts empty.
    fn lstm(&mut self, op: &'g Op, clip: f32, time_major: bool) -> Result<u32> {
        let ((x, value), y) = (self.x(op, 0)?, self.y(op)?);
        let (steps, inputs) = match (x.shape.as_slice(), time_major) {
            ([1, steps, inputs], false) | ([steps, 1, inputs], true) => (*steps, *inputs),
            _ => return Err(x.refuse("has a batch that is not 1, or not 3 dimensions")),
        };
        let n = y.shape.last().copied().unwrap_or(0);
        let part = |at: usize| -> Result<&'g Tensor<'a>> { self.tensor(self.at(op, at)?) };
        let (of_w, of_b, bytes) = match self.codes {
            true => (DType::I8, DType::I32, 1),
            false => (DType::F32, DType::F32, 4),
        };
        // A row has the weights of the input, then those of the step before.
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        let mut scales = [[0.0; 4]; 2];
        for gate in 0..4 {
            let both = [part(1 + gate)?, part(5 + gate)?];
            let [of_x, of_h] = both.map(|t| t.data.unwrap_or_default());
            let rows = of_x.chunks_exact((inputs * bytes).max(1));
            for (of_x, of_h) in rows.zip(of_h.chunks_exact((n * bytes).max(1))) {
                weights.extend_from_slice(of_x);
                weights.extend_from_slice(of_h);
            }
            biases.extend_from_slice(part(12 + gate)?.data.unwrap_or_default());
            for (scales, t) in scales.iter_mut().zip(both) {
                if let Some(to) = scales.get_mut(gate) {
                    *to = t.scale().unwrap_or(0.0);
                }
            }
        }
        let mut requant = None;
        if self.codes {
            let [of_x, of_h] = scales;
            let cell = part(19)?.scale().unwrap_or(0.0);
            let (x, y) = (Codes::of(x)?.scale, Codes::of(y)?.scale);
            let made = super::scales::lstm(x, y, cell, of_x, of_h, clip);
            requant = Some(codes::lstm(&codes::found(made)?));
        } else if clip > 0.0 {
            return fail("cell_clip", "is not supported in float32");
        }
        let value = self.net.view(value, &[steps, inputs])?;
        let columns = inputs + n;
        let weights = self.net.constant(of_w, &[4 * n, columns], weights)?;
        let biases = self.net.constant(of_b, &[4 * n], biases)?;
        let requant = match requant {
            Some(words) => self.net.integers(&[words.len()], &words)?,
            None => NONE,
        };
        let to = self.activation(&[steps, n], y)?;
        let inputs = [value, weights, biases, requant];
        Ok(self.net.op(OpKind::Lstm, &inputs, &[], to))
    }

    fn pad(&mut self, op: &'g Op, pads: &[[usize; 2]]) -> Result<u32> {
        let ((x, value), y) = (self.x(op, 0)?, self.y(op)?);
        if pads.iter().all(|pad| *pad == [0, 0]) {
            return Ok(value);
        }
        let mut skip = 0;
        for (size, pad) in x.shape.iter().zip(pads) {
            if (*size, *pad) != (1, [0, 0]) || skip == 1 && x.shape.len() - skip <= 4 {
                break;
            }
            skip += 1;
        }
        let [from, to] = [x, y].map(|t| t.shape.get(skip..).unwrap_or_default());
        let value = self.net.view(value, from)?;
        let mut params = [0; 5];
        for (param, pad) in params.iter_mut().zip(pads.iter().skip(skip)) {
            *param = two("paddings", *pad)?;
        }
        if let ([.., last], true) = (&mut params, self.codes) {
            *last = Codes::of(x)?.zero;
        }
        let to = self.activation(to, y)?;
        Ok(self.net.op(OpKind::Pad, &[value], &params, to))
    }

    fn transpose(&mut self, op: &'g Op, perm: &[usize]) -> Result<u32> {
        let ((x, value), y) = (self.x(op, 0)?, self.y(op)?);
        self.transposed(value, &x.shape, perm, y)
    }

    /// Dimensions of 1 do not matter, wherever they are.
    fn transposed(
        &mut self,
        value: u32,
        shape: &[usize],
        perm: &[usize],
        y: &Tensor<'_>,
    ) -> Result<u32> {
        let size = |axis: usize| shape.get(axis).copied().unwrap_or(1);
        let long: Vec<usize> = (0..shape.len()).filter(|a| size(*a) != 1).collect();
        let order: Vec<usize> = perm
            .iter()
            .filter_map(|axis| long.iter().position(|l| l == axis))
            .collect();
        if order.is_sorted() {
            return Ok(value);
        }
        let dims: Vec<usize> = long.iter().map(|a| size(*a)).collect();
        let value = self.net.view(value, &dims)?;
        let to: Vec<usize> = order.iter().filter_map(|a| dims.get(*a).copied()).collect();
        let params = order.iter().map(|a| number("perm", *a));
        let params = params.collect::<Result<Vec<_>>>()?;
        let to = self.activation(&to, y)?;
        Ok(self.net.op(OpKind::Transpose, &[value], &params, to))
    }

    fn mean(&mut self, op: &'g Op, axes: &[usize]) -> Result<u32> {
        let ((x, value), y) = (self.x(op, 0)?, self.y(op)?);
        let all = 0..x.shape.len();
        let (reduced, kept): (Vec<usize>, Vec<usize>) = all.partition(|a| axes.contains(a));
        let size =
            |axes: &[usize]| -> usize { axes.iter().filter_map(|a| x.shape.get(*a)).product() };
        let (rows, columns) = (size(&reduced), size(&kept));
        let perm: Vec<usize> = reduced.into_iter().chain(kept).collect();
        let mut value = self.transposed(value, &x.shape, &perm, x)?;
        if self.net.dims(value).last() != Some(&columns) {
            value = self.net.view(value, &[rows, columns])?;
        }
        let mut inputs = vec![value];
        if self.codes {
            let factor = codes::mean(Codes::of(x)?, Codes::of(y)?, rows.max(1))?;
            inputs.push(self.net.integers(&[2], &[factor.mult, factor.shift])?);
        }
        let to = self.activation(&[columns], y)?;
        Ok(self.net.op(OpKind::Mean, &inputs, &[], to))
    }

    fn softmax(&mut self, op: &'g Op, beta: f32) -> Result<u32> {
        let ((x, value), y) = (self.x(op, 0)?, self.y(op)?);
        let Some(n) = x.shape.last() else {
            return Err(x.refuse("has no dimensions"));
        };
        let mut dims = self.net.dims(value);
        if dims.last() != Some(n) {
            dims = vec![x.elements() / n.max(&1), *n];
        }
        let value = self.net.view(value, &dims)?;
        let params = if self.codes {
            let (factor, least) = codes::found(super::scales::softmax(Codes::of(x)?.scale, beta))?;
            vec![factor.mult, factor.shift, least]
        } else if beta == 1.0 {
            vec![]
        } else {
            return fail("beta", format!("is {beta}, only 1 is supported in float32"));
        };
        let to = self.activation(&dims, y)?;
        Ok(self.net.op(OpKind::Softmax, &[value], &params, to))
    }
}

/// The numbers that the codes of weights stand for, each rounded once.
fn numbers(weights: &Tensor<'_>) -> Result<Vec<u8>> {
    let Some(quant) = &weights.quant else {
        return Err(weights.refuse("needs scales"));
    };
    let inner = product(weights.shape.get(quant.axis + 1..).unwrap_or_default()).max(1);
    let codes = weights.data.unwrap_or_default().iter();
    let number = |(i, code): (usize, &u8)| {
        let scale = match quant.scale.as_slice() {
            [one] => *one,
            all => all.get(i / inner % all.len()).copied().unwrap_or_default(),
        };
        // CAST: the code.
        f32::from(*code as i8) * scale
    };
    Ok(codes
        .enumerate()
        .flat_map(|code| number(code).to_le_bytes())
        .collect())
}

/// How many of the operators that lead to tensor `output` have weights that are stored as codes while
/// their values are floats. Weights become the numbers that the codes stand for; nothing else is rounded.
pub fn stored_as_codes(graph: &Graph<'_>, output: usize) -> usize {
    let dtype = |op: &Op, at: usize| {
        let index = op.inputs.get(at).copied().flatten()?;
        graph.tensors.get(index).map(|t| t.dtype)
    };
    let types = |op: &Op| [dtype(op, 0), dtype(op, 1)];
    let mixed = [Some(graph::DType::F32), Some(graph::DType::I8)];
    let weighted = |kind: &Kind| {
        matches!(
            kind,
            Kind::FullyConnected(_) | Kind::Conv2d(..) | Kind::DepthwiseConv2d(..)
        )
    };
    let all = needed(graph, output);
    all.iter()
        .filter(|(_, op)| weighted(&op.kind) && types(op) == mixed)
        .count()
}

/// Whether an operator makes a code of a code.
fn coded(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Logistic
            | Kind::Tanh
            | Kind::Relu
            | Kind::Relu6
            | Kind::LeakyRelu(_)
            | Kind::HardSwish
            | Kind::Elu
            | Kind::Quantize
    )
}

/// The operation of floats that an operator is, and its parameters.
fn float(kind: &Kind) -> Option<(OpKind, Vec<i32>)> {
    let slope = |function, slope: f32| {
        // CAST: the bits.
        vec![code_of(function), slope.to_bits() as i32]
    };
    let params = match kind {
        Kind::Logistic => vec![code_of(Function::Sigmoid)],
        Kind::Tanh => vec![code_of(Function::Tanh)],
        Kind::Relu => vec![code_of(Function::Relu)],
        Kind::Relu6 => vec![code_of(Function::Relu6)],
        Kind::LeakyRelu(alpha) => slope(Function::LeakyRelu, *alpha),
        Kind::Elu => slope(Function::Elu, 1.0),
        Kind::HardSwish => vec![code_of(Function::HardSwish)],
        Kind::Gelu(true) => vec![code_of(Function::GeluTanh)],
        Kind::Gelu(false) => vec![code_of(Function::Gelu)],
        Kind::LogSoftmax => return Some((OpKind::LogSoftmax, vec![])),
        _ => return None,
    };
    Some((OpKind::Map, params))
}
