// SPDX-License-Identifier: GPL-2.0

//! `info` and `convert` of a TFLite file.

use std::io::Write;
use std::path::Path;

use serde_json::{json, Value};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::port::Elements;
use crate::quantise::Quantised;
use crate::tflite::graph::{Graph, Op, Tensor};
use crate::{cli, out};

/// Shows the graph of the file at `path`, which has these `bytes`.
pub(super) fn info(path: &Path, bytes: &[u8], as_json: bool, out: &mut dyn Write) -> Result<()> {
    let graph = crate::tflite::read(bytes).map_err(|e| e.within(path.display()))?;
    if as_json {
        return out::json(out, &to_json(&graph, bytes.len()));
    }
    write(&graph, bytes.len(), out).map_err(out::failed)
}

/// Converts a file, which has these bytes, to a network called `name`.
pub(super) fn convert(args: &cli::Convert, bytes: &[u8], name: &str) -> Result<Quantised> {
    let graph = crate::tflite::read(bytes)?;
    let output = crate::tflite::output(&graph, args.output_name.as_deref())?;
    let file = crate::tflite::convert(&graph, output, name)?;
    let engine = Engine::new(&file)?;
    let stored_as_codes = crate::tflite::stored_as_codes(&graph, output);
    match (args.element, engine.input().elements) {
        (Some(element @ (cli::Element::I8 | cli::Element::I16)), Elements::F32) => {
            let how = super::made::calibration(args, element)?;
            let made = crate::convert::floats_to_codes(&file, name, &how)?;
            Ok(Quantised {
                stored_as_codes,
                ..made
            })
        }
        (Some(wanted), has) if has.name() != super::made::type_name(wanted) => {
            let why = format!("cannot be made of a graph of {}", has.name());
            Err(Error::usage("--type", why))
        }
        _ if args.samples.is_some() => Err(Error::usage(
            "--samples",
            "goes with ONNX, and with --type i8 or i16 of floats",
        )),
        (_, elements) => Ok(Quantised {
            stored_as_codes,
            ..Quantised::plain(
                match elements {
                    Elements::F32 => crate::convert::fused(&file, name)?,
                    _ => file,
                },
                None,
            )
        }),
    }
}

/// `i8[1,49,10,1]`
fn outline(tensor: &Tensor<'_>) -> String {
    let shape = crate::tflite::graph::list(&tensor.shape);
    format!("{}[{shape}]", tensor.dtype.name())
}

/// ` 0.0039 -128`: scale and zero point.
fn codes(tensor: &Tensor<'_>) -> String {
    match &tensor.quant {
        Some(q) => match q.scale.as_slice() {
            [scale] => format!(", scale {scale:.6e}, zero point {}", q.zero),
            scales => format!(", {} scales", scales.len()),
        },
        None => String::new(),
    }
}

/// The tensors of a list of indices that are known by then to be right.
fn tensors<'g>(graph: &'g Graph<'g>, indices: &[usize]) -> Vec<&'g Tensor<'g>> {
    indices
        .iter()
        .filter_map(|i| graph.tensors.get(*i))
        .collect()
}

/// What an operator computes from: the tensors that are not known.
fn sources<'g>(graph: &'g Graph<'g>, op: &Op) -> Vec<&'g Tensor<'g>> {
    let used: Vec<usize> = op.inputs.iter().flatten().copied().collect();
    let mut all = tensors(graph, &used);
    all.retain(|t| t.data.is_none() && !t.variable);
    all
}

fn constant_bytes(graph: &Graph<'_>, op: &Op) -> usize {
    let used: Vec<usize> = op.inputs.iter().flatten().copied().collect();
    let known = tensors(graph, &used);
    known.iter().filter_map(|t| t.data).map(<[u8]>::len).sum()
}

fn joined(tensors: &[&Tensor<'_>]) -> String {
    let all: Vec<String> = tensors.iter().map(|t| outline(t)).collect();
    all.join(" ")
}

fn write(graph: &Graph<'_>, bytes: usize, out: &mut dyn Write) -> std::io::Result<()> {
    for (what, list) in [("input", &graph.inputs), ("output", &graph.outputs)] {
        for tensor in tensors(graph, list) {
            let name = tensor.name.escape_debug();
            writeln!(out, "{what}: {name} {}{}", outline(tensor), codes(tensor))?;
        }
    }
    writeln!(out, "multiply-accumulates: {}", graph.macs())?;
    writeln!(out, "file: {bytes} bytes")?;
    let rows: Vec<Vec<String>> = graph
        .ops
        .iter()
        .enumerate()
        .map(|(i, op)| {
            vec![
                format!("{i} {}", op.name),
                joined(&sources(graph, op)),
                joined(&tensors(graph, &op.outputs)),
                op.kind.describe(),
                op.macs.to_string(),
                constant_bytes(graph, op).to_string(),
            ]
        })
        .collect();
    let header = [
        "OPERATOR",
        "IN",
        "OUT",
        "PARAMETERS",
        "MACS",
        "CONSTANT BYTES",
    ];
    out::table(out, &header, &rows)
}

fn tensor_json(tensor: &Tensor<'_>) -> Value {
    json!({
        "name": tensor.name,
        "type": tensor.dtype.name(),
        "shape": tensor.shape,
        "scale": tensor.quant.as_ref().map(|q| q.scale.clone()),
        "zero_point": tensor.quant.as_ref().map(|q| q.zero),
    })
}

fn to_json(graph: &Graph<'_>, bytes: usize) -> Value {
    let all =
        |list: Vec<&Tensor<'_>>| -> Vec<Value> { list.into_iter().map(tensor_json).collect() };
    let ops: Vec<Value> = graph
        .ops
        .iter()
        .map(|op| {
            json!({
                "operator": op.name,
                "inputs": all(sources(graph, op)),
                "outputs": all(tensors(graph, &op.outputs)),
                "parameters": op.kind.describe(),
                "macs": op.macs,
                "constant_bytes": constant_bytes(graph, op),
            })
        })
        .collect();
    json!({
        "format": "tflite",
        "inputs": all(tensors(graph, &graph.inputs)),
        "outputs": all(tensors(graph, &graph.outputs)),
        "macs": graph.macs(),
        "file_bytes": bytes,
        "operators": ops,
    })
}
