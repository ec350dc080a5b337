// SPDX-License-Identifier: GPL-2.0

//! The nodes that a network may have, and what each does to the chain of layers.

use std::collections::HashMap;
use std::rc::Rc;

use rten_onnx::onnx::{DataType, TensorProto};

use super::graph::is_standard;
use super::node::Node;
use super::shape::Shape;
use super::tensor::{transpose, Constant, Data};
use crate::error::Result;
use crate::layers::{Act, Layer};

/// The longest input or output of a layer.
const MAX_DIM: usize = neural_core::nnm::MAX_DIM as usize; // CAST: widens

/// Elements that all constants and layers may have together; a small file can refer to one tensor
/// many times.
pub(super) const MAX_ELEMENTS: usize = 1 << 26;

/// The operators that are taken.
pub(super) const OPERATORS: [&str; 15] = [
    "Add",
    "Cast",
    "Constant",
    "Dropout",
    "Flatten",
    "Gemm",
    "Identity",
    "LeakyRelu",
    "MatMul",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Transpose",
];

/// An input of a node.
enum Arg {
    /// The value that runs through the network.
    Value,
    Constant(Rc<Constant>),
    Absent,
}

/// The state of an import.
pub(super) struct Importer<'a> {
    opset: i64,
    initializers: HashMap<&'a str, &'a TensorProto>,
    constants: HashMap<&'a str, Rc<Constant>>,
    /// Name of the value that runs through the network.
    pub(super) value: &'a str,
    /// Its shape; `None` as long as nothing is known about it.
    shape: Option<Shape>,
    /// The type of its elements, which that of the weights must be too.
    element: DataType,
    pub(super) layers: Vec<Layer>,
    /// Elements that were made so far, see [`MAX_ELEMENTS`].
    elements: usize,
}

impl<'a> Importer<'a> {
    pub(super) fn new(
        opset: i64,
        initializers: HashMap<&'a str, &'a TensorProto>,
        value: &'a str,
        shape: Option<Shape>,
        element: DataType,
    ) -> Self {
        Self {
            opset,
            initializers,
            constants: HashMap::new(),
            value,
            shape,
            element,
            layers: Vec::new(),
            elements: 0,
        }
    }

    /// Takes the next node of those that are needed.
    pub(super) fn node(&mut self, node: Node<'a>) -> Result<()> {
        let done = self.convert(node);
        let constant = done.map_err(|why| node.refused(why))?;
        let output = node.output().ok_or_else(|| node.refused("has no output"))?;
        if self.initializers.contains_key(output) || output == self.value {
            return Err(node.refused(format!("computes '{output}', which is there already")));
        }
        match constant {
            Some(constant) => drop(self.constants.insert(output, constant)),
            None => self.value = output,
        }
        Ok(())
    }

    /// Converts a node; gives its output when that is constant.
    fn convert(&mut self, node: Node<'a>) -> std::result::Result<Option<Rc<Constant>>, String> {
        if !is_standard(node.domain()) {
            return Err(format!(
                "operators of domain '{}' are not supported",
                node.domain()
            ));
        }
        if node.op() == "Constant" {
            return constant(node).map(|c| Some(Rc::new(c)));
        }
        let first = self.arg(node, 0)?;
        match (node.op(), first) {
            ("Identity", Arg::Constant(c)) => return Ok(Some(c)),
            ("Transpose", Arg::Constant(c)) => {
                return match node.ints("perm") {
                    Some([0, 1]) => Ok(Some(c)),
                    None | Some([1, 0]) => {
                        self.spend(c.len())?;
                        c.transposed().map(|c| Some(Rc::new(c)))
                    }
                    Some(perm) => Err(format!("permutation {perm:?} is not supported")),
                }
            }
            ("Gemm", a) => self.gemm(node, &a)?,
            ("MatMul", a) => self.matmul(node, &a)?,
            ("Add", a) => self.add(node, &a)?,
            (_, Arg::Constant(c)) => {
                return Err(format!(
                    "works on constant '{}', which is not supported",
                    c.name
                ))
            }
            (_, Arg::Absent) => return Err("has no input".to_owned()),
            ("Relu", Arg::Value) => self.activate(Act::Relu)?,
            ("LeakyRelu", Arg::Value) => {
                self.activate(Act::LeakyRelu(node.float("alpha", 0.01)?))?
            }
            ("Sigmoid", Arg::Value) => self.activate(Act::Sigmoid)?,
            ("Tanh", Arg::Value) => self.activate(Act::Tanh)?,
            ("Softmax", Arg::Value) => self.softmax(node)?,
            ("Identity", Arg::Value) => (),
            ("Cast", Arg::Value) => match node.int("to", 0)? {
                1 => self.element = DataType::FLOAT,
                11 => self.element = DataType::DOUBLE,
                to => {
                    return Err(format!(
                        "a cast to element type {to} is not supported, only to float"
                    ))
                }
            },
            ("Dropout", Arg::Value) => self.dropout(node)?,
            ("Flatten", Arg::Value) => {
                let axis = node.int("axis", 1)?;
                self.shape = match &self.shape {
                    Some(shape) => Some(shape.flatten(axis)?),
                    None if axis == 1 => None,
                    None => return Err(format!("axis {axis} with an input of unknown shape")),
                };
            }
            ("Reshape", Arg::Value) => self.reshape(node)?,
            _ => return Err("this operator is not supported".to_owned()),
        }
        Ok(None)
    }

    fn spend(&mut self, elements: usize) -> std::result::Result<(), String> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > MAX_ELEMENTS {
            return Err(format!(
                "with it the network has more than {MAX_ELEMENTS} weights"
            ));
        }
        Ok(())
    }

    fn arg(&mut self, node: Node<'a>, i: usize) -> std::result::Result<Arg, String> {
        let Some(name) = node.input(i) else {
            return Ok(Arg::Absent);
        };
        if name == self.value {
            return Ok(Arg::Value);
        }
        if let Some(constant) = self.constants.get(name) {
            return Ok(Arg::Constant(Rc::clone(constant)));
        }
        let Some(tensor) = self.initializers.get(name) else {
            return Err(format!(
                "reads '{name}', which is not the output of the layer before; only a chain of layers is supported"
            ));
        };
        let constant = Rc::new(Constant::new(name, tensor)?);
        if let Some((key, _)) = self.initializers.get_key_value(name) {
            self.constants.insert(key, Rc::clone(&constant));
        }
        Ok(Arg::Constant(constant))
    }

    fn constant_arg(
        &mut self,
        node: Node<'a>,
        i: usize,
        what: &str,
    ) -> std::result::Result<Rc<Constant>, String> {
        match self.arg(node, i)? {
            Arg::Constant(c) => Ok(c),
            Arg::Value => Err(format!(
                "its {what} is computed, only constants are supported"
            )),
            Arg::Absent => Err(format!("its {what} is missing")),
        }
    }

    fn gemm(&mut self, node: Node<'a>, a: &Arg) -> std::result::Result<(), String> {
        let Arg::Value = a else {
            return Err("its first input is constant: weights x input is not supported, only input x weights".to_owned());
        };
        let w = self.constant_arg(node, 1, "weight matrix")?;
        let alpha = node.float("alpha", 1.0)?;
        let beta = node.float("beta", 1.0)?;
        if node.flag("transA")? {
            return Err("transA=1 makes columns of samples, which is not supported".to_owned());
        }
        if self.shape.as_ref().is_some_and(|s| s.0.len() != 2) {
            return Err("its input is no matrix".to_owned());
        }
        let outputs_first = node.flag("transB")?;
        self.dense(&w, outputs_first, alpha)?;
        match self.arg(node, 2)? {
            Arg::Absent => Ok(()),
            Arg::Value => Err("its bias is computed, only constants are supported".to_owned()),
            Arg::Constant(c) => self.bias(&c, beta),
        }
    }

    fn matmul(&mut self, node: Node<'a>, a: &Arg) -> std::result::Result<(), String> {
        let Arg::Value = a else {
            return Err("weights x input is not supported, only input x weights".to_owned());
        };
        let w = self.constant_arg(node, 1, "weight matrix")?;
        self.dense(&w, false, 1.0)
    }

    /// A new layer of weights `w`, `[inputs, outputs]` unless `outputs_first`.
    fn dense(
        &mut self,
        w: &Constant,
        outputs_first: bool,
        alpha: f64,
    ) -> std::result::Result<(), String> {
        let (rows, cols) = w.matrix()?;
        let (outputs, inputs) = if outputs_first {
            (rows, cols)
        } else {
            (cols, rows)
        };
        for (n, what) in [(inputs, "inputs"), (outputs, "outputs")] {
            if !(1..=MAX_DIM).contains(&n) {
                return Err(format!(
                    "weights '{}' have {n} {what}, 1 to {MAX_DIM} are supported",
                    w.name
                ));
            }
        }
        if let Some(before) = self.layers.last().filter(|l| l.outputs != inputs) {
            let has = before.outputs;
            return Err(format!(
                "weights '{}' want {inputs} numbers, the layer before gives {has}",
                w.name
            ));
        }
        self.shape = match &self.shape {
            Some(shape) => {
                shape.rows_of(inputs)?;
                Some(shape.with_last(outputs))
            }
            None => None,
        };
        self.spend(inputs * outputs)?;
        let mut weights = if outputs_first {
            w.floats(self.element)?.to_vec()
        } else {
            transpose(w.floats(self.element)?, rows, cols)
        };
        if alpha != 1.0 {
            weights.iter_mut().for_each(|v| *v *= alpha);
        }
        self.layers.push(Layer {
            inputs,
            outputs,
            weights,
            bias: vec![0.0; outputs],
            act: Act::Linear,
            weights_name: w.name.clone(),
            bias_name: format!("{} (bias)", w.name),
        });
        Ok(())
    }

    fn add(&mut self, node: Node<'a>, a: &Arg) -> std::result::Result<(), String> {
        let b = self.arg(node, 1)?;
        let constant = match (a, &b) {
            (Arg::Value, Arg::Constant(c)) | (Arg::Constant(c), Arg::Value) => c,
            (Arg::Value, Arg::Value) => {
                return Err("adds two computed values, only a bias is supported".to_owned())
            }
            _ => return Err("adds no bias to a layer".to_owned()),
        };
        self.bias(constant, 1.0)?;
        if let Some(shape) = self.shape.as_mut() {
            while shape.0.len() < constant.dims.len() {
                shape.0.insert(0, Some(1));
            }
        }
        Ok(())
    }

    fn bias(&mut self, c: &Constant, beta: f64) -> std::result::Result<(), String> {
        let open = self.layers.last_mut().filter(|l| l.act == Act::Linear);
        let Some(layer) = open else {
            return Err(format!(
                "adds '{}' where no Gemm or MatMul stands right before",
                c.name
            ));
        };
        let (last, before) = match c.dims.split_last() {
            Some((last, before)) => (*last, before),
            None => (1, &[][..]),
        };
        if before.iter().any(|d| *d != 1) || (last != 1 && last != layer.outputs) {
            let outputs = layer.outputs;
            return Err(format!(
                "bias '{}' of shape {:?} does not fit {outputs} outputs",
                c.name, c.dims
            ));
        }
        if let (Some(shape), true) = (&self.shape, last != 1) {
            shape.rows_of(layer.outputs)?;
        }
        for (b, v) in layer
            .bias
            .iter_mut()
            .zip(c.floats(self.element)?.iter().cycle())
        {
            *b += beta * v;
        }
        c.name.clone_into(&mut layer.bias_name);
        Ok(())
    }

    fn activate(&mut self, act: Act) -> std::result::Result<(), String> {
        match self.layers.last_mut() {
            None => Err("no Gemm or MatMul stands before it".to_owned()),
            Some(layer) if layer.act != Act::Linear => {
                Err("follows another activation, a layer has only one".to_owned())
            }
            Some(layer) => {
                layer.act = act;
                Ok(())
            }
        }
    }

    fn softmax(&mut self, node: Node<'a>) -> std::result::Result<(), String> {
        let to_the_end = self.opset < 13;
        let axis = node.int("axis", if to_the_end { 1 } else { -1 })?;
        let width = self.layers.last().map_or(0, |l| l.outputs);
        match &self.shape {
            Some(shape) if width > 0 => shape.softmax(axis, width, to_the_end)?,
            None if !matches!(axis, -1 | 1) => {
                return Err(format!("axis {axis} with an input of unknown shape"));
            }
            _ => (),
        }
        self.activate(Act::Softmax)
    }

    fn dropout(&mut self, node: Node<'a>) -> std::result::Result<(), String> {
        match self.arg(node, 2)? {
            Arg::Absent => Ok(()),
            Arg::Constant(c) if c.ints()?.iter().all(|v| *v == 0) => Ok(()),
            _ => Err("is in training mode".to_owned()),
        }
    }

    fn reshape(&mut self, node: Node<'a>) -> std::result::Result<(), String> {
        let target = self.constant_arg(node, 1, "shape")?;
        let target = target.ints()?;
        let zero_is_zero = node.flag("allowzero")?;
        self.shape = match &self.shape {
            Some(shape) => Some(shape.reshape(target, zero_is_zero)?),
            None => match target {
                [-1, n] if *n > 0 => Some(Shape(vec![None, usize::try_from(*n).ok()])),
                [0, -1] if !zero_is_zero => None,
                _ => return Err(format!("to {target:?} with an input of unknown shape")),
            },
        };
        Ok(())
    }
}

/// The value of a Constant node.
pub(super) fn constant(node: Node<'_>) -> std::result::Result<Constant, String> {
    let name = node.output().unwrap_or("");
    let one = |data| Ok(Constant::of(name, Vec::new(), data));
    if let Some(t) = node.tensor("value") {
        Constant::new(name, t)
    } else if node.has("value_float") {
        one(Data::Float(vec![node.float("value_float", 0.0)?]))
    } else if node.has("value_int") {
        one(Data::Int(vec![node.int("value_int", 0)?]))
    } else if let Some(v) = node.floats("value_floats") {
        let data = v.iter().map(|v| f64::from(*v)).collect();
        Ok(Constant::of(name, vec![v.len()], Data::Float(data)))
    } else if let Some(v) = node.ints("value_ints") {
        Ok(Constant::of(name, vec![v.len()], Data::Int(v.to_vec())))
    } else {
        Err("holds no value of a supported type".to_owned())
    }
}
