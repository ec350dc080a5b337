// SPDX-License-Identifier: GPL-2.0

//! From an ONNX graph to operations of single precision.
//!
//! A value of the graph is a tensor of the network with what the graph thinks of it (`value`): ONNX
//! has channels before rows and columns, the engine has them last, so that a value remembers in which
//! order its axes lie in memory, and is rearranged only for who minds. The batch is an axis of 1.
//! `fold` computes what is constant, `layers`, `elements`, `moves`, `attention` and `recurrent` make
//! operations. QuantizeLinear and DequantizeLinear become notes on codes, see [`crate::quantise`].

mod attention;
mod elements;
mod fold;
mod layers;
mod moves;
mod recurrent;
mod value;

use std::collections::HashMap;
use std::rc::Rc;

use neural_core::float::Function;
use neural_core::nnm::{OpKind, MAX_OPS};
use rten_onnx::onnx::{DataType, TensorProto};

use self::attention::Scores;
use self::value::Value;
use super::chain::MAX_ELEMENTS;
use super::graph::{is_standard, Wanted};
use super::node::Node;
use super::shape::axis_of;
use super::tensor::Constant;
use crate::error::{Error, Result};
use crate::net::Net;
use crate::quantise::{Codes, Known, Source};

/// What fails with a reason only; who calls knows the node.
type Done<T> = std::result::Result<T, String>;

/// What a name of the graph stands for.
#[derive(Clone)]
enum Item {
    Value(Value),
    Constant(Rc<Constant>),
    /// Products of queries and keys.
    Scores(Box<Scores>),
    /// What QuantizeLinear makes of a value.
    Codes(Value),
    /// `factor * (1 + erf(x / sqrt(2)))`, or only the error function.
    Erf(Value),
    Half(Value, f64),
}

struct Importer<'a> {
    opset: i64,
    initializers: HashMap<&'a str, &'a TensorProto>,
    items: HashMap<&'a str, Item>,
    /// For each name, how often nodes read it, or the graph gives it.
    uses: HashMap<&'a str, usize>,
    /// For each tensor, how often it will be read by nodes that come.
    readers: HashMap<u32, usize>,
    net: Net<'static>,
    known: Known,
    /// Elements of constants that were made so far.
    elements: usize,
}

/// Reads the network.
pub(super) fn import(wanted: Wanted<'_>) -> Result<Source<'static>> {
    let (name, element, shape) = wanted.input;
    let refused = |why: String| Error::refused(format!("input '{name}'"), why);
    let Some(shape) = shape else {
        return Err(refused("has no shape".to_owned()));
    };
    // The batch is open, or one.
    let open: Vec<usize> = (0..shape.0.len())
        .filter(|i| shape.0.get(*i) == Some(&None))
        .collect();
    if open.len() > 1 {
        return Err(refused(format!(
            "has shape {shape}: more than the batch is open"
        )));
    }
    let shape: Vec<usize> = shape.0.iter().map(|d| d.unwrap_or(1)).collect();
    if element == DataType::DOUBLE {
        return Err(refused(
            "has elements of type DOUBLE, only FLOAT is supported".to_owned(),
        ));
    }
    let mut to = Importer {
        opset: wanted.opset,
        initializers: wanted.initializers,
        items: HashMap::new(),
        uses: HashMap::new(),
        readers: HashMap::new(),
        net: Net::default(),
        known: Known::default(),
        elements: 0,
    };
    for node in &wanted.nodes {
        for i in 0..node.inputs() {
            if let Some(name) = node.input(i) {
                *to.uses.entry(name).or_default() += 1;
            }
        }
    }
    *to.uses.entry(wanted.output).or_default() += 1;
    let long: Vec<usize> = shape
        .iter()
        .copied()
        .skip(usize::from(shape.len() > 1 && shape.first() == Some(&1)))
        .collect();
    let input = to
        .net
        .activation(&long, None)
        .map_err(|e| e.within(format!("input '{name}'")))?;
    to.put(name, Item::Value(Value::plain(input, shape)));
    for node in wanted.nodes {
        to.node(node)?;
    }
    let output = to.items.get(wanted.output).cloned();
    let refused = |why: &str| Error::refused(format!("output '{}'", wanted.output), why);
    let value = match output {
        Some(Item::Value(value)) => value,
        Some(Item::Scores(s)) => return Err(refused(&s.elsewhere())),
        _ => return Err(refused("is not computed from the input")),
    };
    to.net.label = format!("output '{}'", wanted.output);
    let value = to.in_order(&value).map_err(|why| refused(&why))?;
    let mut output = value.tensor;
    if output == input {
        output = to.reshaped(output)?;
    }
    Ok(Source {
        net: to.net,
        known: to.known,
        input,
        output,
    })
}

impl<'a> Importer<'a> {
    /// A tensor with the same elements.
    fn reshaped(&mut self, tensor: u32) -> Result<u32> {
        let same = self.net.activation(&self.net.dims(tensor), None)?;
        Ok(self.net.op(OpKind::Reshape, &[tensor], &[], same))
    }

    fn put(&mut self, name: &'a str, item: Item) {
        if let Item::Value(value) = &item {
            let uses = self.uses.get(name).copied().unwrap_or(0);
            *self.readers.entry(value.tensor).or_default() += uses;
        }
        self.items.insert(name, item);
    }

    fn node(&mut self, node: Node<'a>) -> Result<()> {
        self.net.label = node.label();
        let items = self.convert(node).map_err(|why| node.refused(why))?;
        let mut items = items.into_iter();
        for (i, name) in node.outputs().iter().enumerate() {
            let item = items.next();
            if name.is_empty() || !self.uses.contains_key(name.as_str()) {
                continue;
            }
            let Some(item) = item else {
                return Err(node.refused(format!("its output {i} is not supported")));
            };
            if self.items.contains_key(name.as_str())
                || self.initializers.contains_key(name.as_str())
            {
                return Err(node.refused(format!("computes '{name}', which is there already")));
            }
            self.put(name, item);
        }
        // CAST: widens.
        if self.net.ops().len() > MAX_OPS as usize {
            return Err(node.refused(format!(
                "with it the network has more than {MAX_OPS} operations"
            )));
        }
        Ok(())
    }

    /// Counts elements of constants, of which a small file could ask for many.
    fn spend(&mut self, elements: usize) -> Done<()> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > MAX_ELEMENTS {
            return Err(format!(
                "with it the network has more than {MAX_ELEMENTS} weights"
            ));
        }
        Ok(())
    }

    /// An input of a node, none if it is left out.
    fn item(&mut self, node: Node<'a>, i: usize) -> Done<Option<Item>> {
        let Some(name) = node.input(i) else {
            return Ok(None);
        };
        if let Some(item) = self.items.get(name) {
            return Ok(Some(item.clone()));
        }
        let Some((name, tensor)) = self.initializers.get_key_value(name) else {
            return Err(format!("reads '{name}', which nothing before it computes"));
        };
        let constant = Item::Constant(Rc::new(Constant::new(name, tensor)?));
        self.items.insert(name, constant.clone());
        Ok(Some(constant))
    }

    /// An input that must be computed.
    fn value(&mut self, node: Node<'a>, i: usize) -> Done<Value> {
        match self.item(node, i)? {
            Some(Item::Value(value)) => Ok(value),
            Some(Item::Constant(c)) => Err(format!(
                "works on constant '{}', which is not supported",
                c.name
            )),
            Some(Item::Codes(_)) => Err("works on codes: a DequantizeLinear is missing".to_owned()),
            Some(Item::Scores(s)) => Err(s.elsewhere()),
            Some(Item::Erf(_) | Item::Half(..)) => {
                Err("works on Erf, which is supported in GELU only".to_owned())
            }
            None => Err(format!("has no input {i}")),
        }
    }

    /// An input that must be constant, none if it is left out.
    fn constant(&mut self, node: Node<'a>, i: usize, what: &str) -> Done<Option<Rc<Constant>>> {
        match self.item(node, i)? {
            Some(Item::Constant(c)) => Ok(Some(c)),
            None => Ok(None),
            Some(_) => Err(format!(
                "its {what} is computed, only constants are supported"
            )),
        }
    }

    fn needed(&mut self, node: Node<'a>, i: usize, what: &str) -> Done<Rc<Constant>> {
        let constant = self.constant(node, i, what)?;
        constant.ok_or_else(|| format!("its {what} is missing"))
    }

    /// The outputs of a node.
    fn convert(&mut self, node: Node<'a>) -> Done<Vec<Item>> {
        if !is_standard(node.domain()) {
            let domain = node.domain();
            return Err(format!("operators of domain '{domain}' are not supported"));
        }
        if node.op() == "Constant" {
            let constant = super::chain::constant(node)?;
            return Ok(vec![Item::Constant(Rc::new(constant))]);
        }
        let mut inputs = Vec::new();
        for i in 0..node.inputs() {
            inputs.push(self.item(node, i)?);
        }
        if let Some(folded) = self.fold(node, &inputs)? {
            return Ok(vec![Item::Constant(Rc::new(folded))]);
        }
        for item in inputs.iter().flatten() {
            if let Item::Value(value) = item {
                if let Some(left) = self.readers.get_mut(&value.tensor) {
                    *left = left.saturating_sub(1);
                }
            }
        }
        if let Some(item) = self.attention(node, &inputs)? {
            return Ok(vec![item]);
        }
        let one = |value: Value| Ok(vec![Item::Value(value)]);
        let plain = |function: Function| (function, 0.0);
        let (function, slope) = match node.op() {
            "Identity" | "Dropout" | "Cast" => return self.passed(node).and_then(one),
            "QuantizeLinear" => return self.quantize(node).map(|item| vec![item]),
            "DequantizeLinear" => {
                return match inputs.into_iter().next() {
                    Some(Some(Item::Codes(value))) => one(value),
                    _ => Err("works on what no QuantizeLinear has made".to_owned()),
                }
            }
            "Gemm" => return self.gemm(node).and_then(one),
            "MatMul" => return self.matmul(node).and_then(one),
            "Conv" => return self.conv(node).and_then(one),
            "BatchNormalization" => return self.batch_norm(node).and_then(one),
            "MaxPool" | "AveragePool" => return self.pool(node).and_then(one),
            "GlobalMaxPool" => return self.global_max(node).and_then(one),
            "GlobalAveragePool" | "ReduceMean" => return self.mean(node).and_then(one),
            "LayerNormalization" | "RMSNormalization" => return self.norm(node).and_then(one),
            "Softmax" | "LogSoftmax" => return self.softmax(node).and_then(one),
            "Add" | "Sub" | "Mul" | "Div" => return self.binary(node).and_then(one),
            "Pow" => return self.power(node).and_then(one),
            "Neg" => {
                let x = self.value(node, 0)?;
                return self.scaled(&x, -1.0).and_then(one);
            }
            "Clip" => return self.clip(node).and_then(one),
            "HardSigmoid" => return self.hard_sigmoid(node).and_then(one),
            "Concat" => return self.concat(node).and_then(one),
            "Pad" => return self.pad(node).and_then(one),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                return self.reshape(node).and_then(one)
            }
            "Transpose" => return self.transpose(node).and_then(one),
            "Slice" | "Gather" => return self.slice(node).and_then(one),
            "Split" => {
                let parts = self.split(node)?;
                return Ok(parts.into_iter().map(Item::Value).collect());
            }
            "LSTM" | "GRU" => {
                let all = self.recurrent(node)?;
                return Ok(all.into_iter().map(Item::Value).collect());
            }
            "Erf" => return self.erf(node).map(|item| vec![item]),
            "Relu" => plain(Function::Relu),
            "Sigmoid" => plain(Function::Sigmoid),
            "Tanh" => plain(Function::Tanh),
            "HardSwish" => plain(Function::HardSwish),
            "Softplus" => plain(Function::Softplus),
            "Exp" => plain(Function::Exp),
            "Sqrt" => plain(Function::Sqrt),
            "Abs" => plain(Function::Abs),
            "LeakyRelu" => (Function::LeakyRelu, node.float("alpha", 0.01)?),
            "Elu" => (Function::Elu, node.float("alpha", 1.0)?),
            "PRelu" => {
                let slope = self.needed(node, 1, "slope")?;
                match slope.numbers()? {
                    [slope] => (Function::LeakyRelu, *slope),
                    _ => return Err("has several slopes, one is supported".to_owned()),
                }
            }
            "Gelu" => match node.text("approximate") {
                None | Some("none") => plain(Function::Gelu),
                Some("tanh") => plain(Function::GeluTanh),
                Some(other) => return Err(format!("approximation '{other}' is not supported")),
            },
            _ => return Err("this operator is not supported".to_owned()),
        };
        let x = self.value(node, 0)?;
        self.map(&x, function, slope).and_then(one)
    }

    fn passed(&mut self, node: Node<'a>) -> Done<Value> {
        match node.op() {
            "Cast" if node.int("to", 0)? != 1 => {
                return Err(format!(
                    "a cast to element type {} is not supported, only to float",
                    node.int("to", 0)?
                ))
            }
            "Dropout" => {
                if let Some(c) = self.constant(node, 2, "mode")? {
                    if c.ints()?.iter().any(|v| *v != 0) {
                        return Err("is in training mode".to_owned());
                    }
                }
            }
            _ => (),
        }
        self.value(node, 0)
    }

    /// The scale and the zero point of a node, for values.
    fn codes(&mut self, node: Node<'a>) -> Done<Codes> {
        let scale = self.needed(node, 1, "scale")?;
        let [scale] = scale.numbers()? else {
            return Err("has several scales for a value, one is supported".to_owned());
        };
        let zero = match self.constant(node, 2, "zero point")? {
            None => 0, // of unsigned codes
            Some(c) => {
                let [zero] = c.ints()? else {
                    return Err("has several zero points, one is supported".to_owned());
                };
                match c.element {
                    DataType::INT8 => return self.checked(*scale, *zero),
                    DataType::UINT8 => *zero,
                    other => {
                        return Err(format!(
                            "codes of type {other} are not supported, only INT8 and UINT8"
                        ))
                    }
                }
            }
        };
        self.checked(*scale, zero - 128)
    }

    fn checked(&self, scale: f64, zero: i64) -> Done<Codes> {
        let scale = scale as f32; // CAST: it was a float32
        match (scale.is_normal() && scale > 0.0, i32::try_from(zero)) {
            (true, Ok(zero @ -128..=127)) => Ok(Codes { scale, zero }),
            _ => Err(format!(
                "scale {scale} and zero point {zero} are not supported"
            )),
        }
    }

    fn quantize(&mut self, node: Node<'a>) -> Done<Item> {
        let value = self.value(node, 0)?;
        let codes = self.codes(node)?;
        match self.known.codes.get(&value.tensor) {
            Some(before) if *before == codes => return Ok(Item::Codes(value)),
            None if self.net.writer(value.tensor).is_some() || self.net.ops().is_empty() => {
                self.known.codes.insert(value.tensor, codes);
                return Ok(Item::Codes(value));
            }
            _ => (),
        }
        let value = self.apart(&value, Function::None, 0.0)?;
        self.known.codes.insert(value.tensor, codes);
        Ok(Item::Codes(value))
    }

    /// The operation that writes a tensor that nothing has read or will read but this node.
    fn free(&self, tensor: u32) -> Option<usize> {
        let read = self.readers.get(&tensor).is_some_and(|left| *left > 0)
            || self.net.ops().iter().any(|op| op.inputs.contains(&tensor))
            || self.known.codes.contains_key(&tensor);
        self.net.writer(tensor).filter(|_| !read)
    }

    fn axis(&self, node: Node<'a>, default: i64, rank: usize) -> Done<usize> {
        axis_of(node.int("axis", default)?, rank, false)
    }
}
