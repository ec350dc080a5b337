// SPDX-License-Identifier: GPL-2.0

//! What is done element by element.

use neural_core::float::Function;
use neural_core::nnm::OpKind;

use super::value::{product, Value};
use super::{Done, Importer, Item};
use crate::onnx::node::Node;
use crate::onnx::tensor::Constant;

/// Whether two numbers are the same but for the rounding of the file.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs()
}

/// Function and slope as parameters.
fn params(function: Function, slope: f64) -> [i32; 2] {
    let slope = if function.has_slope() {
        slope as f32
    } else {
        0.0
    };
    // CAST: a small number; the bits.
    [function.code() as i32, slope.to_bits() as i32]
}

impl<'a> Importer<'a> {
    /// A function of each element, by the operation before it if that can do it.
    pub(super) fn map(&mut self, x: &Value, function: Function, slope: f64) -> Done<Value> {
        if let Some(op) = self.free(x.tensor).and_then(|at| self.net.op_mut(at)) {
            let sums = matches!(
                op.kind,
                OpKind::Dense
                    | OpKind::Conv2d
                    | OpKind::DepthwiseConv2d
                    | OpKind::Add
                    | OpKind::Sub
                    | OpKind::Mul
            );
            let [code, old, rest @ ..] = op.params;
            if sums && (code, old) == (0, 0) {
                let [a, b, c, d, e] = rest;
                let [code, slope] = params(function, slope);
                op.params = [code, slope, a, b, c, d, e];
                return Ok(x.clone());
            }
        }
        self.apart(x, function, slope)
    }

    /// A function of each element, by an operation of its own.
    pub(super) fn apart(&mut self, x: &Value, function: Function, slope: f64) -> Done<Value> {
        let to = self.net.activation(&self.net.dims(x.tensor), None)?;
        let y = self
            .net
            .op(OpKind::Map, &[x.tensor], &params(function, slope), to);
        Ok(x.like(y))
    }

    /// With a number, on all elements.
    fn with_number(&mut self, x: &Value, kind: OpKind, number: f64) -> Done<Value> {
        let dims = self.net.dims(x.tensor);
        let n = dims.last().copied().unwrap_or(1);
        let b = self.floats(&[n], &vec![number; n])?;
        let to = self.net.activation(&dims, None)?;
        let y = self.net.op(kind, &[x.tensor, b], &[], to);
        Ok(x.like(y))
    }

    /// A multiple of all elements.
    pub(super) fn scaled(&mut self, x: &Value, factor: f64) -> Done<Value> {
        // Two factors are one.
        if let Some((source, before)) = self.factor_of(x) {
            let last = self.net.ops().len().checked_sub(1);
            if last.is_some() && self.free(x.tensor) == last {
                self.net.pop();
                let source = x.like(source);
                return match factor * before {
                    1.0 => Ok(source),
                    both => self.with_number(&source, OpKind::Mul, both),
                };
            }
        }
        self.with_number(x, OpKind::Mul, factor)
    }

    /// What a value is a multiple of, and the factor.
    fn factor_of(&self, x: &Value) -> Option<(u32, f64)> {
        let op = self.net.ops().get(self.net.writer(x.tensor)?)?;
        let ([source, b, ..], [function, ..]) = (op.inputs, op.params);
        let plain = op.kind == OpKind::Mul && function == 0 && self.net.is_constant(b);
        let values = if plain {
            self.net.values(b)
        } else {
            Vec::new()
        };
        let one = *values.first()?;
        values.iter().all(|v| *v == one).then_some((source, one))
    }

    /// With a constant of this shape, which repeats as the rules of ONNX say.
    pub(super) fn with_constant(
        &mut self,
        x: &Value,
        kind: OpKind,
        values: &[f64],
        shape: &[usize],
    ) -> Done<Value> {
        if let [one] = values {
            return match kind {
                OpKind::Mul => self.scaled(x, *one),
                _ => self.with_number(x, kind, *one),
            };
        }
        let x = if x.axes == x.shape {
            x.clone()
        } else {
            self.in_order(x)?
        };
        let rank = x.shape.len();
        let refused = || format!("a constant of shape {shape:?} does not fit {:?}", x.shape);
        let skip = rank.checked_sub(shape.len()).ok_or_else(refused)?;
        let of = |axis: usize| {
            axis.checked_sub(skip)
                .and_then(|i| shape.get(i))
                .copied()
                .unwrap_or(1)
        };
        if (0..rank).any(|a| of(a) != 1 && of(a) != x.size(a)) || values.len() != product(shape) {
            return Err(refused());
        }
        // Steps in the constant along each axis.
        let mut steps = vec![0; rank];
        let mut size = 1;
        for (axis, step) in steps.iter_mut().enumerate().rev() {
            if of(axis) != 1 {
                *step = size;
            }
            size *= of(axis);
        }
        let long = x.long();
        let first = long.iter().position(|a| of(*a) != 1).unwrap_or(0);
        let inner = long.get(first..).unwrap_or_default();
        let mut places = vec![0];
        for axis in inner {
            let (d, step) = (x.size(*axis), steps.get(*axis).copied().unwrap_or(0));
            self.spend(places.len().saturating_mul(d))?;
            let next = places
                .iter()
                .flat_map(|at| (0..d).map(move |i| at + i * step));
            places = next.collect();
        }
        let all: Vec<f64> = places
            .iter()
            .filter_map(|at| values.get(*at).copied())
            .collect();
        let part: Vec<usize> = inner.iter().map(|a| x.size(*a)).collect();
        let dims = self.fitted(&x.memory(), part.len())?;
        let from = self.seen_as(&x, &dims)?;
        let b = self.floats(&part, &all)?;
        let to = self.net.activation(&dims, None)?;
        let y = self.net.op(kind, &[from, b], &[], to);
        Ok(x.like(y))
    }

    /// At most four sizes, of which the last ones stay.
    fn fitted(&self, memory: &[usize], keep: usize) -> Done<Vec<usize>> {
        let (outer, inner) = memory
            .split_at_checked(memory.len().saturating_sub(keep))
            .unwrap_or((memory, &[]));
        if memory.len() <= 4 {
            return Ok(memory.to_vec());
        }
        let mut dims = vec![product(outer)];
        dims.extend(inner);
        match dims.len() {
            1..=4 => Ok(dims),
            _ => Err(format!(
                "has {} axes, at most 4 longer than 1 are supported",
                memory.len()
            )),
        }
    }

    /// Two values, of which the second may repeat in the first.
    fn both(&mut self, kind: OpKind, a: &Value, b: &Value) -> Done<Value> {
        let rank = a.shape.len();
        let refused = || {
            format!(
                "{:?} and {:?}: one must repeat as a whole in the other",
                a.shape, b.shape
            )
        };
        let mut shape = vec![1; rank.checked_sub(b.shape.len()).ok_or_else(refused)?];
        shape.extend(&b.shape);
        if shape.iter().zip(&a.shape).any(|(b, a)| *b != 1 && b != a) {
            return Err(refused());
        }
        let same_place = (&a.axes, &a.order) == (&b.axes, &b.order);
        let (a, b) = if same_place {
            (a.clone(), b.clone())
        } else {
            let a = if a.axes == a.shape {
                a.clone()
            } else {
                self.in_order(a)?
            };
            let b = self.in_order(b)?;
            let b = self.arranged(&Value::plain(b.tensor, shape), &a.order)?;
            (a, b)
        };
        let (memory, part) = (a.memory(), b.memory());
        let (of_a, of_b) = (a.long(), b.long());
        if !of_b.is_empty() && !same_place && !of_a.ends_with(&of_b) {
            return Err(refused());
        }
        if of_b.is_empty() && !of_a.is_empty() {
            return Err(format!(
                "a computed number does not repeat in {:?}",
                a.shape
            ));
        }
        let dims = self.fitted(&memory, part.len().min(3))?;
        let part = if part.len() > 4 { dims.clone() } else { part };
        let inputs = [self.seen_as(&a, &dims)?, self.seen_as(&b, &part)?];
        let to = self.net.activation(&dims, None)?;
        let y = self.net.op(kind, &inputs, &[], to);
        Ok(a.like(y))
    }

    pub(super) fn binary(&mut self, node: Node<'a>) -> Done<Value> {
        let kind = match node.op() {
            "Add" => OpKind::Add,
            "Sub" => OpKind::Sub,
            _ => OpKind::Mul,
        };
        let divides = node.op() == "Div";
        match (self.item(node, 0)?, self.item(node, 1)?) {
            (Some(Item::Value(x)), Some(Item::Constant(c))) => {
                let mut values = c.numbers()?.to_vec();
                if divides {
                    if values.contains(&0.0) {
                        return Err(format!("divides by 0 of '{}'", c.name));
                    }
                    values.iter_mut().for_each(|v| *v = 1.0 / *v);
                }
                self.computed_with(&x, kind, &c, &values)
            }
            (Some(Item::Constant(c)), Some(Item::Value(x))) if !divides => {
                let values = c.numbers()?.to_vec();
                if kind == OpKind::Sub {
                    let less = self.scaled(&x, -1.0)?;
                    return self.computed_with(&less, OpKind::Add, &c, &values);
                }
                self.computed_with(&x, kind, &c, &values)
            }
            (Some(Item::Value(a)), Some(Item::Value(b))) if !divides => {
                if let Some(value) = self.silu(kind, &a, &b)? {
                    return Ok(value);
                }
                if a.elements() >= b.elements() && a.shape.len() >= b.shape.len() {
                    return self.both(kind, &a, &b);
                }
                let turned = self.both(kind, &b, &a)?;
                match kind {
                    OpKind::Sub => self.scaled(&turned, -1.0),
                    _ => Ok(turned),
                }
            }
            _ if divides => Err("divides by what is computed, which is not supported".to_owned()),
            _ => {
                self.value(node, 0)?;
                self.value(node, 1)
            }
        }
    }

    fn computed_with(
        &mut self,
        x: &Value,
        kind: OpKind,
        c: &Constant,
        values: &[f64],
    ) -> Done<Value> {
        let grown = c.dims.len().saturating_sub(x.shape.len());
        let (ones, shape) = c.dims.split_at_checked(grown).unwrap_or((&[], &c.dims));
        if ones.iter().any(|d| *d != 1) {
            return Err(format!(
                "constant '{}' of shape {:?} is larger than {:?}",
                c.name, c.dims, x.shape
            ));
        }
        // The bias of a layer.
        let last = x.shape.last().copied().unwrap_or(1);
        let rows = product(shape) == shape.last().copied().unwrap_or(1)
            && [1, last].contains(&values.len());
        if rows && matches!(kind, OpKind::Add | OpKind::Sub) {
            let op = self.free(x.tensor).and_then(|at| self.net.ops().get(at));
            let open =
                op.is_some_and(|op| op.kind == OpKind::Dense && op.params.first() == Some(&0));
            let sign = if kind == OpKind::Sub { -1.0 } else { 1.0 };
            let bias: Vec<f64> = values.iter().map(|v| sign * v).collect();
            if open && x.axes == x.shape && self.biased(x, &bias, last)? {
                return Ok(x.clone());
            }
        }
        let values: &[f64] = match values {
            [one, rest @ ..] if rest.iter().all(|v| v == one) => std::slice::from_ref(one),
            all => all,
        };
        self.with_constant(x, kind, values, shape)
    }

    /// `x * sigmoid(x)`.
    fn silu(&mut self, kind: OpKind, a: &Value, b: &Value) -> Done<Option<Value>> {
        for (x, gate) in [(a, b), (b, a)] {
            let op = self
                .net
                .writer(gate.tensor)
                .and_then(|at| self.net.ops().get(at));
            let Some(op) = op.filter(|op| op.kind == OpKind::Map && kind == OpKind::Mul) else {
                continue;
            };
            let sigmoid = op.params.first() == params(Function::Sigmoid, 0.0).first();
            if sigmoid
                && op.inputs.first() == Some(&x.tensor)
                && !self.known.codes.contains_key(&gate.tensor)
            {
                return self.apart(x, Function::Silu, 0.0).map(Some);
            }
        }
        Ok(None)
    }

    pub(super) fn power(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let exponent = self.needed(node, 1, "exponent")?;
        match exponent.numbers()? {
            [e] if *e == 0.5 => self.map(&x, Function::Sqrt, 0.0),
            [e] if *e == 1.0 => Ok(x),
            [e] if *e == 2.0 => self.both(OpKind::Mul, &x, &x),
            [e] if *e == 3.0 => {
                let square = self.both(OpKind::Mul, &x, &x)?;
                self.both(OpKind::Mul, &square, &x)
            }
            other => Err(format!(
                "exponent {other:?} is not supported, only 0.5, 1, 2 and 3"
            )),
        }
    }

    /// `min(max(factor x + offset, low), high)`.
    fn limited(
        &mut self,
        x: &Value,
        [factor, offset]: [f64; 2],
        [low, high]: [f64; 2],
    ) -> Done<Value> {
        let width = high - low;
        if !(width > 0.0 && width.is_finite()) {
            return Err(format!("limits {low} and {high} are not supported"));
        }
        // Six is what the engine can limit to.
        let unit = 6.0 / width;
        let mut x = x.clone();
        if factor * unit != 1.0 {
            x = self.scaled(&x, factor * unit)?;
        }
        if offset != low {
            x = self.with_number(&x, OpKind::Add, (offset - low) * unit)?;
        }
        x = self.map(&x, Function::Relu6, 0.0)?;
        if unit != 1.0 {
            x = self.with_number(&x, OpKind::Mul, 1.0 / unit)?;
        }
        match low {
            0.0 => Ok(x),
            _ => self.with_number(&x, OpKind::Add, low),
        }
    }

    pub(super) fn clip(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let mut limits = [f64::NEG_INFINITY, f64::INFINITY];
        for (i, (limit, name)) in limits.iter_mut().zip(["min", "max"]).enumerate() {
            let given = self.constant(node, i + 1, name)?;
            if let Some(c) = given {
                let [one] = c.singles()? else {
                    return Err(format!("its {name} is not one number"));
                };
                *limit = *one;
            } else if node.has(name) {
                *limit = node.float(name, 0.0)?;
            }
        }
        // What no float32 is beyond is no limit.
        let largest = f64::from(f32::MAX);
        match limits {
            [low, high] if low <= -largest && high >= largest => Ok(x),
            [0.0, 6.0] => self.map(&x, Function::Relu6, 0.0),
            [0.0, high] if high >= largest => self.map(&x, Function::Relu, 0.0),
            [low, high] if high >= largest => {
                let x = self.with_number(&x, OpKind::Sub, low)?;
                let x = self.map(&x, Function::Relu, 0.0)?;
                self.with_number(&x, OpKind::Add, low)
            }
            [low, high] if low <= -largest => {
                let x = self.scaled(&x, -1.0)?;
                let x = self.with_number(&x, OpKind::Add, high)?;
                let x = self.map(&x, Function::Relu, 0.0)?;
                let x = self.scaled(&x, -1.0)?;
                self.with_number(&x, OpKind::Add, high)
            }
            limits => self.limited(&x, [1.0, 0.0], limits),
        }
    }

    pub(super) fn hard_sigmoid(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let (alpha, beta) = (node.float("alpha", 0.2)?, node.float("beta", 0.5)?);
        if near(alpha, 1.0 / 6.0) && beta == 0.5 {
            return self.map(&x, Function::HardSigmoid, 0.0);
        }
        self.limited(&x, [alpha, beta], [0.0, 1.0])
    }

    /// The error function of `x / sqrt(2)`, from which on the parts of GELU are followed.
    pub(super) fn erf(&mut self, node: Node<'a>) -> Done<Item> {
        let x = self.value(node, 0)?;
        match self.factor_of(&x) {
            Some((source, factor)) if near(factor, std::f64::consts::FRAC_1_SQRT_2) => {
                Ok(Item::Erf(x.like(source)))
            }
            _ => Err("is supported in GELU only, of x / sqrt(2)".to_owned()),
        }
    }

    /// The steps of GELU behind the error function.
    pub(super) fn gelu(&mut self, node: Node<'a>, inputs: &[Option<Item>]) -> Done<Option<Item>> {
        let [Some(a), Some(b)] = inputs else {
            return Ok(None);
        };
        Ok(match (node.op(), a, b) {
            ("Add", Item::Erf(x), Item::Constant(c)) | ("Add", Item::Constant(c), Item::Erf(x)) => {
                match c.numbers()? {
                    [one] if *one == 1.0 => Some(Item::Half(x.clone(), 1.0)),
                    _ => None,
                }
            }
            ("Mul", Item::Half(x, factor), Item::Constant(c))
            | ("Mul", Item::Constant(c), Item::Half(x, factor)) => match c.numbers()? {
                [one] => Some(Item::Half(x.clone(), factor * one)),
                _ => None,
            },
            ("Mul", Item::Half(x, factor), Item::Value(y))
            | ("Mul", Item::Value(y), Item::Half(x, factor)) => {
                let times = match self.factor_of(y) {
                    _ if y.tensor == x.tensor => 1.0,
                    Some((source, times)) if source == x.tensor => times,
                    _ => return Ok(None),
                };
                let gelu = self.apart(x, Function::Gelu, 0.0)?;
                // GELU has a factor of a half.
                Some(Item::Value(match 2.0 * factor * times {
                    1.0 => gelu,
                    more => self.scaled(&gelu, more)?,
                }))
            }
            _ => None,
        })
    }
}
