// SPDX-License-Identifier: GPL-2.0

//! Operations on 16-bit codes for those on floats: dense layers with their functions, sums, products,
//! and what only moves elements.

use std::collections::HashMap;

use neural_core::act::Activation;
use neural_core::float::Function;
use neural_core::nnm::{Op, OpKind, NONE};

use super::lower::{Layer, Lowered};
use super::{range, Codes, Source};
use crate::error::{Error, Result};
use crate::net::Net;
use crate::table::to_q16;
use crate::tflite::scales::quantize_multiplier;

/// The largest code.
const MOST: f64 = 32767.0;

/// Functions are computed on Q16.16.
const Q16: f64 = 65536.0;

struct Lowering<'s, 'a> {
    source: &'s Source<'a>,
    scales: &'s [f32],
    net: Net<'static>,
    values: HashMap<u32, (u32, f32)>,
}

/// The network of codes, with these scales of its tensors.
pub(super) fn lower(source: &Source<'_>, scales: &[f32]) -> Result<Lowered<'static>> {
    let mut to = Lowering {
        source,
        scales,
        net: Net::default(),
        values: HashMap::new(),
    };
    let scale = to.scale(source.input);
    let input = to.net.short(&source.net.dims(source.input), scale)?;
    to.values.insert(source.input, (input, scale));
    let mut layers = Vec::new();
    let ops = source.net.ops();
    for (i, op) in ops.iter().enumerate() {
        if to.values.contains_key(&op.output) {
            continue; // a softmax, together with its layer
        }
        let label = source.net.label_of(i);
        label.clone_into(&mut to.net.label);
        let next = to.softmax_of(op).filter(|_| op.kind == OpKind::Dense);
        let origin = next.map_or(op.output, |next| next.output);
        let made = to.op(op, next).map_err(|e| e.within(label))?;
        to.values.insert(origin, made);
        let (tensor, scale) = made;
        if op.kind != OpKind::Reshape {
            layers.push(Layer {
                label: label.to_owned(),
                kind: op.kind.name(),
                codes: Codes { scale, zero: 0 },
                tensor,
                origin,
            });
        }
    }
    let output = to.values.get(&source.output);
    let (output, _) = *output.ok_or_else(|| Error::refused("output", "is not computed"))?;
    Ok(Lowered {
        net: to.net,
        input,
        output,
        layers,
    })
}

fn wide(x: f32) -> f64 {
    f64::from(x)
}

/// Multiplier and shift.
fn factor(real: f64) -> Result<[i32; 2]> {
    let found = quantize_multiplier(real).map(|m| [m.mult, m.shift]);
    found.ok_or_else(|| Error::refused("scales", "are too far apart"))
}

impl Lowering<'_, '_> {
    fn scale(&self, tensor: u32) -> f32 {
        self.scales.get(tensor as usize).copied().unwrap_or(1.0)
    }

    fn operand(&self, op: &Op, at: usize) -> Result<(u32, f32)> {
        let tensor = op.inputs.get(at).copied().unwrap_or(NONE);
        let value = self.values.get(&tensor).copied();
        value.ok_or_else(|| {
            Error::refused(
                format!("input {at}"),
                "is a constant, which is not supported here",
            )
        })
    }

    fn constant(&self, op: &Op, at: usize) -> Vec<f64> {
        let tensor = op.inputs.get(at).copied().unwrap_or(NONE);
        self.source.net.values(tensor)
    }

    /// The softmax that alone reads what an operation writes.
    fn softmax_of(&self, op: &Op) -> Option<Op> {
        let all = self.source.net.ops().iter();
        let mut readers = all.filter(|o| o.inputs.contains(&op.output));
        let (first, second) = (readers.next()?, readers.next());
        let alone = second.is_none() && op.output != self.source.output;
        (alone && first.kind == OpKind::Softmax && function(op) == Function::None).then_some(*first)
    }

    fn op(&mut self, op: &Op, softmax: Option<Op>) -> Result<(u32, f32)> {
        let dims = self.source.net.dims(op.output);
        Ok(match op.kind {
            OpKind::Dense => self.dense(op, softmax)?,
            OpKind::Add | OpKind::Sub | OpKind::Mul if function(op) == Function::None => {
                self.pair(op)?
            }
            OpKind::Reshape | OpKind::Transpose | OpKind::Slice => {
                let (value, scale) = self.operand(op, 0)?;
                let to = self.net.short(&dims, scale)?;
                (self.net.op(op.kind, &[value], &op.params, to), scale)
            }
            other => {
                let why = match function(op) {
                    Function::None => format!("'{}' has no counterpart in i16", other.name()),
                    function => format!(
                        "'{}' with {function:?} has no counterpart in i16",
                        other.name()
                    ),
                };
                return Err(Error::refused("kind", why));
            }
        })
    }

    fn dense(&mut self, op: &Op, softmax: Option<Op>) -> Result<(u32, f32)> {
        let (value, x) = self.operand(op, 0)?;
        let (w, b) = (self.constant(op, 1), self.constant(op, 2));
        let slope = wide(f32::from_bits(op.params.get(1).map_or(0, |p| *p as u32))); // CAST: the bits
        let shares = range::short(1.0);
        let (activation, y) = match (function(op), softmax) {
            (_, Some(_)) => (Activation::Softmax, shares),
            (Function::None, _) => (Activation::Linear, self.scale(op.output)),
            (Function::Relu, _) => (Activation::Relu, self.scale(op.output)),
            (Function::LeakyRelu, _) => {
                let slope = to_q16(slope);
                let slope = slope.ok_or_else(|| Error::refused("slope", "is outside Q16.16"))?;
                (Activation::LeakyRelu { slope }, self.scale(op.output))
            }
            (Function::Sigmoid, _) => (Activation::Sigmoid, shares),
            (Function::Tanh, _) => (Activation::Tanh, shares),
            (other, _) => {
                let why = format!("{other:?} has no counterpart in i16");
                return Err(Error::refused("function", why));
            }
        };
        let plain = matches!(activation, Activation::Linear | Activation::Relu);
        // What the sums become: the code, or Q16.16.
        let unit = if plain { 1.0 / wide(y) } else { Q16 };
        let n = b.len().max(1);
        let (mut codes, mut biases) = (Vec::new(), Vec::new());
        let (mut mults, mut shifts) = (Vec::new(), Vec::new());
        for (row, b) in w.chunks_exact((w.len() / n).max(1)).zip(&b) {
            let most = row.iter().fold(0f64, |most, w| most.max(w.abs()));
            // Biases, too, have to fit.
            let least = b.abs() / (wide(x) * f64::from(1u32 << 31) * 8192.0);
            let scale = (most / MOST).max(least);
            let scale = if scale > 0.0 { scale } else { 1.0 };
            // CAST: limited by the scale.
            codes.extend(row.iter().map(|w| (w / scale).round() as i16));
            let bias = (b / (wide(x) * scale)).round() as i64; // CAST: limited by the scale
                                                               // CAST: halves.
            biases.extend([bias as i32, (bias >> 32) as i32]);
            let [mult, shift] = factor(wide(x) * scale * unit)?;
            mults.push(mult);
            shifts.push(shift);
        }
        let k = w.len() / n;
        let inputs = [
            value,
            self.net.shorts(&[n, k], &codes)?,
            self.net.integers(&[n, 2], &biases)?,
            self.net.integers(&[2, n], &[mults, shifts].concat())?,
        ];
        let mut params = [0; 3];
        if !plain {
            let [mult, shift] = factor(1.0 / (Q16 * wide(y)))?;
            let slope = match activation {
                Activation::LeakyRelu { slope } => slope,
                _ => 0,
            };
            params = [slope, mult, shift];
        }
        let dims = self.source.net.dims(op.output);
        let to = self.net.short(&dims, y)?;
        let made = self.net.op(OpKind::Dense, &inputs, &params, to);
        self.net.activate(activation);
        Ok((made, y))
    }

    fn pair(&mut self, op: &Op) -> Result<(u32, f32)> {
        let (value, a) = self.operand(op, 0)?;
        let [_, second, ..] = op.inputs;
        let (other, b) = if self.source.net.is_constant(second) {
            let values = self.constant(op, 1);
            let scale = range::short(values.iter().fold(0f64, |most, v| most.max(v.abs())));
            // CAST: limited by the scale.
            let codes = values.iter().map(|v| (v / wide(scale)).round() as i16);
            let codes: Vec<i16> = codes.collect();
            let dims = self.source.net.dims(second);
            (self.net.shorts(&dims, &codes)?, scale)
        } else {
            self.operand(op, 1)?
        };
        let y = self.scale(op.output);
        let numbers = if op.kind == OpKind::Mul {
            factor(wide(a) * wide(b) / wide(y))?.to_vec()
        } else {
            let [a, b] = [a, b].map(|s| wide(s) / wide(y));
            // As many bits as the larger one leaves.
            let shift = (29.0 - a.max(b).log2().ceil()).clamp(0.0, 62.0);
            let unit = shift.exp2();
            let all = [a * unit, b * unit].map(f64::round);
            if all.iter().any(|v| *v > f64::from(1 << 30)) {
                return Err(Error::refused("scales", "are too far apart"));
            }
            let [a, b] = all.map(|v| v as i32); // CAST: just checked
            vec![a, b, shift as i32] // CAST: at most 62
        };
        let numbers = self.net.integers(&[numbers.len()], &numbers)?;
        let to = self.net.short(&self.source.net.dims(op.output), y)?;
        Ok((self.net.op(op.kind, &[value, other, numbers], &[], to), y))
    }
}

/// The function of an operation that has one.
fn function(op: &Op) -> Function {
    let [code, ..] = op.params;
    match op.kind {
        OpKind::Dense | OpKind::Add | OpKind::Sub | OpKind::Mul | OpKind::Map => {
            let code = u32::try_from(code).ok();
            code.and_then(Function::from_code).unwrap_or(Function::None)
        }
        _ => Function::None,
    }
}
