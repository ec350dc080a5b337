// SPDX-License-Identifier: GPL-2.0

//! Operations on codes for those on floats.

use std::collections::HashMap;

use neural_core::float::Function;
use neural_core::int8::Multiplier;
use neural_core::nnm::{DType, Op, OpKind, NONE};

use super::{range, Codes, Source};
use crate::error::{Error, Result};
use crate::net::Net;
use crate::reference::Act;
use crate::tflite::codes as tflite;
use crate::tflite::scales::{self, quantize_multiplier, Activation};

/// The codes of probabilities.
const SHARES: Codes = Codes {
    scale: 1.0 / 256.0,
    zero: -128,
};

/// A tensor of codes and that of floats whose numbers it has.
pub(super) struct Layer {
    pub(super) label: String,
    pub(super) kind: &'static str,
    pub(super) codes: Codes,
    pub(super) tensor: u32,
    pub(super) origin: u32,
}

/// A network of codes.
pub(super) struct Lowered<'a> {
    pub(super) net: Net<'a>,
    pub(super) input: u32,
    pub(super) output: u32,
    pub(super) layers: Vec<Layer>,
}

fn function(op: &Op) -> Function {
    let [code, ..] = op.params;
    let code = u32::try_from(code).ok();
    code.and_then(Function::from_code).unwrap_or(Function::None)
}

/// The limits that a function is for codes, if it is nothing else.
fn limits(op: &Op) -> Option<Activation> {
    match function(op) {
        Function::None => Some(Activation::None),
        Function::Relu => Some(Activation::Relu),
        Function::Relu6 => Some(Activation::Relu6),
        _ => None,
    }
}

/// Makes operations of their own of functions that are more than limits.
pub(super) fn expand(mut source: Source<'_>) -> Result<Source<'_>> {
    let mut at = 0;
    while let Some(op) = source.net.ops().get(at) {
        let sums = matches!(
            op.kind,
            OpKind::Dense
                | OpKind::Conv2d
                | OpKind::DepthwiseConv2d
                | OpKind::Add
                | OpKind::Sub
                | OpKind::Mul
        );
        if sums && limits(op).is_none() && unary(&source.net, op).is_none() {
            source.net.split(at)?;
        }
        at += 1;
    }
    Ok(source)
}

/// The codes of functions whose range is known.
pub(super) fn fixed(op: &Op) -> Option<Codes> {
    match (op.kind, function(op)) {
        (OpKind::Softmax, _) => Some(SHARES),
        (OpKind::Map, Function::Sigmoid | Function::HardSigmoid) => Some(SHARES),
        (OpKind::Map, Function::Tanh) => Some(Codes {
            scale: 1.0 / 128.0,
            zero: 0,
        }),
        _ => None,
    }
}

/// Gives codes to what only changes places, from in front or from behind.
pub(super) fn spread(source: &Source<'_>, codes: &mut HashMap<u32, Codes>) -> Result<()> {
    loop {
        let before = codes.len();
        let moves = source.net.ops().iter().filter(|op| {
            matches!(
                op.kind,
                OpKind::Reshape
                    | OpKind::Transpose
                    | OpKind::Slice
                    | OpKind::MaxPool2d
                    | OpKind::Pad
            )
        });
        for op in moves {
            let [x, ..] = op.inputs;
            match (codes.get(&x).copied(), codes.get(&op.output).copied()) {
                (Some(same), None) => codes.insert(op.output, same),
                (None, Some(same)) => codes.insert(x, same),
                _ => None,
            };
        }
        if codes.len() == before {
            break;
        }
    }
    match codes.contains_key(&source.input) {
        true => Ok(()),
        false => Err(Error::refused("input", "is not quantised")),
    }
}

/// Takes codes away from what only a function of each element makes and reads: both are one table.
pub(super) fn join(source: &Source<'_>, codes: &mut HashMap<u32, Codes>) {
    let net = &source.net;
    for op in net.ops().iter().filter(|op| unary(net, op).is_some()) {
        let mut readers = net.ops().iter().filter(|o| o.inputs.contains(&op.output));
        let (first, second) = (readers.next(), readers.next());
        let read = first.is_some_and(|o| unary(net, o).is_some()) && second.is_none();
        if read && op.output != source.output {
            codes.remove(&op.output);
        }
    }
}

/// What becomes of an element, where that depends on no other.
fn unary<'n>(net: &Net<'n>, op: &Op) -> Option<Box<dyn Fn(f64) -> f64>> {
    let act = Act::of(&op.params);
    let [_, b, ..] = op.inputs;
    match op.kind {
        OpKind::Map => Some(Box::new(move |x| act.apply(x))),
        OpKind::Add | OpKind::Sub | OpKind::Mul if net.is_constant(b) => {
            let values = net.values(b);
            let one = *values.first()?;
            if values.iter().any(|v| *v != one) {
                return None;
            }
            Some(match op.kind {
                OpKind::Add => Box::new(move |x| act.apply(x + one)),
                OpKind::Sub => Box::new(move |x| act.apply(x - one)),
                _ => Box::new(move |x| act.apply(x * one)),
            })
        }
        _ => None,
    }
}

fn wide(x: f32) -> f64 {
    f64::from(x)
}

/// Codes are bytes in a file.
fn byte(code: i32) -> u8 {
    code.clamp(-128, 127) as i8 as u8 // CAST: just limited; the bits
}

/// Weights as codes with a scale for each row, and biases in steps of the sums.
struct Weights {
    codes: Vec<u8>,
    bias: Vec<i32>,
    scales: Vec<f64>,
}

impl Weights {
    /// `stride` is 1 where rows are side by side, else rows come one after the other.
    fn new(w: &[f64], b: &[f64], across: bool, x: Codes, known: Option<&Vec<f64>>) -> Self {
        let n = b.len().max(1);
        let row_of = |i: usize| {
            if across {
                i % n
            } else {
                i / (w.len() / n).max(1)
            }
        };
        let mut most = vec![0f64; n];
        for (i, w) in w.iter().enumerate() {
            if let Some(most) = most.get_mut(row_of(i)) {
                *most = most.max(w.abs());
            }
        }
        let scale = |(most, b): (&f64, &f64)| {
            // Biases, too, have to fit.
            let least = b.abs() / (wide(x.scale) * f64::from(1 << 30));
            let scale = (most / 127.0).max(least);
            if scale > 0.0 {
                scale
            } else {
                1.0
            }
        };
        let scales = match known {
            Some(known) => known.clone(),
            None => most.iter().zip(b).map(scale).collect(),
        };
        let at = |row: usize| scales.get(row).copied().unwrap_or(1.0);
        let codes = w.iter().enumerate();
        // CAST: saturates, and is limited.
        let codes = codes.map(|(i, w)| byte((w / at(row_of(i))).round() as i32));
        let biases = b.iter().enumerate();
        // CAST: saturates.
        let biases = biases.map(|(row, b)| (b / (wide(x.scale) * at(row))).round() as i32);
        Self {
            codes: codes.collect(),
            bias: biases.collect(),
            scales,
        }
    }

    /// Multipliers, then shifts.
    fn factors(&self, x: Codes, y: Codes) -> Result<Vec<i32>> {
        let of = |w: &f64| found(quantize_multiplier(wide(x.scale) * w / wide(y.scale)));
        let all = self.scales.iter().map(of).collect::<Result<Vec<_>>>()?;
        Ok(all
            .iter()
            .map(|m| m.mult)
            .chain(all.iter().map(|m| m.shift))
            .collect())
    }
}

fn found<T>(multiplier: Option<T>) -> Result<T> {
    multiplier.ok_or_else(|| Error::refused("scales", "are too far apart"))
}

fn flat(multipliers: &[Multiplier]) -> Vec<i32> {
    multipliers.iter().flat_map(|m| [m.mult, m.shift]).collect()
}

struct Lowering<'s, 'a> {
    source: &'s Source<'a>,
    codes: &'s HashMap<u32, Codes>,
    net: Net<'static>,
    /// The tensor of codes of each of floats.
    values: HashMap<u32, u32>,
    /// What has no codes: the tensor that it is made of, and the operations on the way.
    pending: HashMap<u32, (u32, Vec<usize>)>,
}

/// The network of codes.
pub(super) fn lower(source: &Source<'_>, codes: &HashMap<u32, Codes>) -> Result<Lowered<'static>> {
    let mut to = Lowering {
        source,
        codes,
        net: Net::default(),
        values: HashMap::new(),
        pending: HashMap::new(),
    };
    let input = to.tensor(source.input)?;
    to.values.insert(source.input, input);
    let mut layers = Vec::new();
    for (i, op) in source.net.ops().iter().enumerate() {
        let label = source.net.label_of(i);
        label.clone_into(&mut to.net.label);
        let tensor = to.op(i, op).map_err(|e| e.within(label))?;
        if let (Some(tensor), Some(codes)) = (tensor, codes.get(&op.output)) {
            to.values.insert(op.output, tensor);
            if op.kind == OpKind::Reshape {
                continue;
            }
            layers.push(Layer {
                label: label.to_owned(),
                kind: op.kind.name(),
                codes: *codes,
                tensor,
                origin: op.output,
            });
        }
    }
    let output = to.values.get(&source.output).copied();
    let output = output.ok_or_else(|| Error::refused("output", "is not quantised"))?;
    Ok(Lowered {
        net: to.net,
        input,
        output,
        layers,
    })
}

impl<'a> Lowering<'_, 'a> {
    fn floats(&self) -> &Net<'a> {
        &self.source.net
    }

    fn code(&self, tensor: u32) -> Result<Codes> {
        let codes = self.codes.get(&tensor).copied();
        codes.ok_or_else(|| Error::refused("output", "is not quantised"))
    }

    /// An activation with the sizes and the codes of one of floats.
    fn tensor(&mut self, of: u32) -> Result<u32> {
        let codes = self.code(of)?;
        let dims = self.floats().dims(of);
        self.net.activation(&dims, Some((codes.zero, codes.scale)))
    }

    /// The same with other codes.
    fn with(&mut self, of: u32, codes: Codes) -> Result<u32> {
        let dims = self.floats().dims(of);
        self.net.activation(&dims, Some((codes.zero, codes.scale)))
    }

    /// An operand and its codes.
    fn operand(&self, op: &Op, at: usize) -> Result<(u32, Codes)> {
        let tensor = op.inputs.get(at).copied().unwrap_or(NONE);
        match (self.values.get(&tensor), self.codes.get(&tensor)) {
            (Some(value), Some(codes)) => Ok((*value, *codes)),
            _ if self.floats().is_constant(tensor) => Err(Error::refused(
                format!("input {at}"),
                "is a constant, which is not supported in i8",
            )),
            _ => Err(Error::refused(format!("input {at}"), "is not quantised")),
        }
    }

    /// The constant at an operand.
    fn constant(&self, op: &Op, at: usize) -> (u32, Vec<f64>) {
        let tensor = op.inputs.get(at).copied().unwrap_or(NONE);
        (tensor, self.floats().values(tensor))
    }

    fn table(
        &mut self,
        from: (u32, Codes),
        to: u32,
        codes: Codes,
        f: &dyn Fn(f64) -> f64,
    ) -> Result<u32> {
        let (value, from) = from;
        let one = |at: u8| byte(codes.code(f(from.number(i32::from(at as i8))))); // CAST: the code
        let table: Vec<u8> = (0..=255).map(one).collect();
        let table = self.net.constant(DType::I8, &[256], table)?;
        Ok(self.net.op(OpKind::Lut, &[value, table], &[], to))
    }

    /// The same numbers with the codes of tensor `of`, which has its sizes.
    fn recoded(&mut self, value: u32, from: Codes, to: Codes) -> Result<u32> {
        if from == to {
            return Ok(value);
        }
        let dims = self.net.dims(value);
        let tensor = self.net.activation(&dims, Some((to.zero, to.scale)))?;
        self.table((value, from), tensor, to, &|x| x)
    }

    /// The tensor of codes of what an operation writes; none as long as that has no codes.
    fn op(&mut self, at: usize, op: &Op) -> Result<Option<u32>> {
        if unary(self.floats(), op).is_some() {
            return self.function(at, op);
        }
        let to = self.code(op.output)?;
        let done = match op.kind {
            OpKind::Dense | OpKind::Conv2d | OpKind::DepthwiseConv2d => self.sums(op, to)?,
            OpKind::Add | OpKind::Sub | OpKind::Mul => self.pair(op, to)?,
            OpKind::AveragePool2d => self.average(op, to)?,
            OpKind::MaxPool2d => {
                let [_, _, rest @ ..] = op.params;
                self.same(op, &[&[-128, 127], &rest[..]].concat(), to)?
            }
            OpKind::Pad => {
                let (_, x) = self.operand(op, 0)?;
                let [.., value, _, _] = op.params;
                let value = wide(f32::from_bits(value as u32)); // CAST: the same bits
                let mut params = op.params;
                if let Some(to) = params.get_mut(4) {
                    *to = x.code(value);
                }
                self.same(op, &params, to)?
            }
            OpKind::Reshape | OpKind::Transpose | OpKind::Slice => self.same(op, &op.params, to)?,
            OpKind::Concat => {
                let mut inputs = Vec::new();
                for i in (0..4).filter(|i| op.has_input(*i)) {
                    let (value, from) = self.operand(op, i)?;
                    inputs.push(self.recoded(value, from, to)?);
                }
                let tensor = self.tensor(op.output)?;
                self.net.op(OpKind::Concat, &inputs, &op.params, tensor)
            }
            OpKind::Mean => {
                let (value, x) = self.operand(op, 0)?;
                let dims = self.net.dims(value);
                let rows = dims.iter().rev().skip(1).product::<usize>();
                let of = |c: Codes| tflite::Codes {
                    scale: c.scale,
                    zero: c.zero,
                };
                let factor = tflite::mean(of(x), of(to), rows.max(1))?;
                let factor = self.net.integers(&[2], &[factor.mult, factor.shift])?;
                let tensor = self.tensor(op.output)?;
                self.net.op(OpKind::Mean, &[value, factor], &[], tensor)
            }
            OpKind::Softmax => {
                let (value, x) = self.operand(op, 0)?;
                let (factor, least) = found(scales::softmax(x.scale, 1.0))?;
                let shares = self.with(op.output, SHARES)?;
                let params = [factor.mult, factor.shift, least];
                let shares = self.net.op(OpKind::Softmax, &[value], &params, shares);
                self.recoded(shares, SHARES, to)?
            }
            other => {
                let why = format!("'{}' has no counterpart in i8", other.name());
                return Err(Error::refused("kind", why));
            }
        };
        Ok(Some(done))
    }

    /// A function of each element, together with those before it that have no codes.
    fn function(&mut self, at: usize, op: &Op) -> Result<Option<u32>> {
        let [x, ..] = op.inputs;
        let (from, mut way) = match self.pending.remove(&x) {
            Some(pending) => pending,
            None => (x, Vec::new()),
        };
        way.push(at);
        let Some(to) = self.codes.get(&op.output).copied() else {
            self.pending.insert(op.output, (from, way));
            return Ok(None);
        };
        let (Some(value), Some(codes)) = (self.values.get(&from), self.codes.get(&from)) else {
            return Err(Error::refused("input 0", "is not quantised"));
        };
        let (value, codes) = (*value, *codes);
        let net = self.floats();
        let functions: Vec<_> = way
            .iter()
            .filter_map(|i| unary(net, net.ops().get(*i)?))
            .collect();
        let all = |x: f64| functions.iter().fold(x, |x, f| f(x));
        let tensor = self.tensor(op.output)?;
        self.table((value, codes), tensor, to, &all).map(Some)
    }

    /// An operation that gives codes as it takes them.
    fn same(&mut self, op: &Op, params: &[i32], to: Codes) -> Result<u32> {
        let (value, from) = self.operand(op, 0)?;
        let tensor = self.with(op.output, from)?;
        let done = self.net.op(op.kind, &[value], params, tensor);
        self.recoded(done, from, to)
    }

    fn sums(&mut self, op: &Op, to: Codes) -> Result<u32> {
        let (value, x) = self.operand(op, 0)?;
        let ((w, weights), (_, bias)) = (self.constant(op, 1), self.constant(op, 2));
        let known = self.source.known.rows.get(&w);
        let across = op.kind == OpKind::DepthwiseConv2d;
        let made = Weights::new(&weights, &bias, across, x, known);
        let dims = self.floats().dims(w);
        let factors = made.factors(x, to)?;
        let inputs = [
            value,
            self.net.constant(DType::I8, &dims, made.codes)?,
            self.net.integers(&[bias.len()], &made.bias)?,
            self.net.integers(&[2, bias.len()], &factors)?,
        ];
        let mut params = op.params;
        self.limit(op, to, &mut params);
        let tensor = self.tensor(op.output)?;
        Ok(self.net.op(op.kind, &inputs, &params, tensor))
    }

    /// Puts the limits of a function in the place of it.
    fn limit(&self, op: &Op, to: Codes, params: &mut [i32]) {
        let activation = limits(op).unwrap_or(Activation::None);
        let (min, max) = scales::clamp(activation, to.scale, to.zero);
        for (param, limit) in params.iter_mut().zip([min, max]) {
            *param = limit;
        }
    }

    fn pair(&mut self, op: &Op, to: Codes) -> Result<u32> {
        let (value, a) = self.operand(op, 0)?;
        let (tensor, values) = self.constant(op, 1);
        let (other, b, zero) = if self.floats().is_constant(tensor) {
            let (min, max) = values
                .iter()
                .fold((0f64, 0f64), |(min, max), v| (min.min(*v), max.max(*v)));
            let b = range::codes(min, max);
            let codes: Vec<u8> = values.iter().map(|v| byte(b.code(*v))).collect();
            let dims = self.floats().dims(tensor);
            (self.net.constant(DType::I8, &dims, codes)?, b, b.zero)
        } else {
            let (other, b) = self.operand(op, 1)?;
            (other, b, 0)
        };
        let factors = match op.kind {
            OpKind::Mul => vec![found(scales::mul(a.scale, b.scale, to.scale))?],
            _ => found(scales::sum(a.scale, b.scale, to.scale))?.to_vec(),
        };
        let factors = flat(&factors);
        let factors = self.net.integers(&[factors.len()], &factors)?;
        let mut params = [0, 0, zero];
        self.limit(op, to, &mut params);
        let tensor = self.tensor(op.output)?;
        Ok(self
            .net
            .op(op.kind, &[value, other, factors], &params, tensor))
    }

    /// With other codes, a sum of all taps, where all windows are full.
    fn average(&mut self, op: &Op, to: Codes) -> Result<u32> {
        let (value, from) = self.operand(op, 0)?;
        let [_, _, stride, window, before, after, _] = op.params;
        let dims = self.net.dims(value);
        let (Some(n), true) = (
            dims.last().copied(),
            from != to && before == 0 && after == 0,
        ) else {
            return self.same(op, &[-128, 127, stride, window, before, after], to);
        };
        let window = window as u32; // CAST: the bits
        let [rows, columns] = [window & 0xffff, window >> 16].map(|n| n as usize);
        let taps = rows.saturating_mul(columns);
        let factor = wide(from.scale) / (wide(to.scale) * taps as f64);
        let factor = found(quantize_multiplier(factor))?;
        let factors = [vec![factor.mult; n], vec![factor.shift; n]].concat();
        let inputs = [
            value,
            self.net.constant(
                DType::I8,
                &[rows, columns, n],
                vec![1; taps.saturating_mul(n)],
            )?,
            self.net.integers(&[n], &vec![0; n])?,
            self.net.integers(&[2, n], &factors)?,
        ];
        let ones = 1 | 1 << 16;
        let tensor = self.tensor(op.output)?;
        let params = [-128, 127, stride, ones, 0, 0];
        Ok(self
            .net
            .op(OpKind::DepthwiseConv2d, &inputs, &params, tensor))
    }
}
