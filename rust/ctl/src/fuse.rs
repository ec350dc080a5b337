// SPDX-License-Identifier: GPL-2.0

//! Normalisation in front of a dense layer of single precision becomes part of its weights.
//!
//! A factor for each input goes into the weights, and a summand behind a factor into the biases: both
//! are rounded once, as the products were. What is subtracted *before* there is a factor stays an
//! operation of its own. The difference of two large numbers that are near to each other is exact, which
//! the difference of their products with weights is not. Networks of codes keep the factors as well: they
//! bring all inputs into the range of one scale.

use neural_core::nnm::{Op, OpKind, NONE, PARAMS};

use crate::error::Result;
use crate::net::Net;

/// A factor or a summand for each column.
struct Column {
    /// The operation.
    at: usize,
    /// What it is done to.
    input: u32,
    kind: OpKind,
    values: Vec<f64>,
}

/// What writes `tensor`, if nothing else reads that, and it is a factor or a summand for each of `k`
/// columns.
fn column(net: &Net<'_>, tensor: u32, k: usize, output: u32) -> Option<Column> {
    let readers = net.ops().iter().filter(|op| op.inputs.contains(&tensor));
    let at = net.writer(tensor)?;
    let op = net.ops().get(at)?;
    let [input, second, ..] = op.inputs;
    let kinds = [OpKind::Add, OpKind::Sub, OpKind::Mul];
    let plain = op.params == [0; PARAMS] && kinds.contains(&op.kind) && net.is_constant(second);
    if !plain || tensor == output || readers.count() != 1 || net.is_constant(input) {
        return None;
    }
    let values = net.values(second);
    let negated = |v: f64| if op.kind == OpKind::Sub { -v } else { v };
    (values.len() == k).then(|| Column {
        at,
        input,
        kind: op.kind,
        values: values.into_iter().map(negated).collect(),
    })
}

/// Whether weights may be rounded to these: none is so small or large that it would lose digits.
fn safe(values: &[f64]) -> bool {
    let mut all = values.iter().map(|v| *v as f32); // CAST: the nearest
    all.all(|v| v == 0.0 || v.is_normal())
}

/// Takes normalisations into the dense layers that read them; `output` is what the network gives.
pub(crate) fn normalisations(net: &mut Net<'_>, output: u32) -> Result<()> {
    for at in 0..net.ops().len() {
        while let Some(op) = net.ops().get(at).copied() {
            if op.kind != OpKind::Dense || !taken(net, at, op, output)? {
                break;
            }
        }
    }
    Ok(())
}

/// Takes what is in front of a layer, if that can be done.
fn taken(net: &mut Net<'_>, at: usize, op: Op, output: u32) -> Result<bool> {
    let [x, w, b, _] = op.inputs;
    let Some(&k) = net.dims(x).last() else {
        return Ok(false);
    };
    if net.dims(w).last() != Some(&k) {
        return Ok(false);
    }
    let Some(first) = column(net, x, k, output) else {
        return Ok(false);
    };
    let (factor, summand) = match first.kind {
        OpKind::Mul => (first, None),
        _ => match column(net, first.input, k, output) {
            Some(factor) if factor.kind == OpKind::Mul => (factor, Some(first)),
            _ => return Ok(false),
        },
    };
    let (mut weights, mut biases) = (net.values(w), net.values(b));
    for (row, bias) in weights.chunks_exact_mut(k.max(1)).zip(&mut biases) {
        for (i, weight) in row.iter_mut().enumerate() {
            let of = |column: &Column| column.values.get(i).copied().unwrap_or(0.0);
            *bias += summand.as_ref().map_or(0.0, of) * *weight;
            *weight *= of(&factor);
        }
    }
    if !safe(&weights) || !safe(&biases) {
        return Ok(false);
    }
    // Others may read the constants as they are.
    let weights = net.floats(&net.dims(w), &weights)?;
    let biases = net.floats(&net.dims(b), &biases)?;
    // What nobody needs any more reads nothing.
    for gone in [Some(factor.at), summand.map(|column| column.at)] {
        if let Some(op) = gone.and_then(|at| net.op_mut(at)) {
            op.inputs = [NONE; 4];
        }
    }
    if let Some(op) = net.op_mut(at) {
        let [x, w, b, _] = &mut op.inputs;
        (*x, *w, *b) = (factor.input, weights, biases);
    }
    Ok(true)
}
