// SPDX-License-Identifier: GPL-2.0

//! Commands on model files; none of them needs the device.

use std::io::Write;
use std::path::Path;

use neural_core::act::Activation;
use neural_core::init;
use neural_core::nnm::{self, DenseSpec, Limits, Part};
use serde_json::{json, Value};

use crate::cli;
use crate::convert::{quantise, Converted, Difference, EndToEnd};
use crate::engine::{self, Engine, LayerInfo};
use crate::error::{Error, Result};
use crate::onnx::{Made, Onnx};
use crate::port::{Elements, Port};
use crate::table::{to_q16, Table};
use crate::{atomic, out};

/// An ONNX file holds 4 bytes a weight, as the model file does, and some names.
fn onnx_limit() -> u64 {
    Limits::default()
        .max_bytes
        .saturating_mul(2)
        .saturating_add(1 << 20)
}

/// `convert`
pub(super) fn convert(args: &cli::Convert, out: &mut dyn Write) -> Result<()> {
    let path = match &args.output {
        Some(path) => path.clone(),
        None => args.model.with_extension("nnm"),
    };
    let name = match &args.name {
        Some(name) => name.clone(),
        None => super::name_of(&path)?,
    };
    let file = super::read(&args.model, onnx_limit())?;
    if crate::tflite::is_tflite(&file) {
        let made = super::tflite::convert(args, &file, &name);
        let made = made.map_err(|e| e.within(args.model.display()))?;
        return super::made::finish(args, &made, &path, out);
    }
    let within = |e: Error| e.within(args.model.display());
    let output = args.output_name.as_deref();
    let onnx = Onnx::new(&file).map_err(within)?;
    drop(file);
    let suggested = match (args.element, onnx.made(output).map_err(within)?) {
        (Some(wanted), _) => wanted,
        (None, Made::Dense) => cli::Element::Q16,
        (None, Made::Floats) => cli::Element::F32,
        (None, Made::Codes) => cli::Element::I8,
    };
    if suggested != cli::Element::Q16 {
        let made = super::made::onnx(args, &onnx, suggested, &name).map_err(within)?;
        return super::made::finish(args, &made, &path, out);
    }
    let network = onnx.layers(output).map_err(within)?;
    let converted = quantise(network, &name).map_err(within)?;
    let end_to_end = match &args.samples {
        Some(path) => {
            let samples =
                Table::read(path)?.with_cols(converted.network.inputs(), "the network")?;
            let mut bar = out::progress(samples.rows as u64, "comparing");
            let compared = converted.compare(&samples, || bar.add(1));
            drop(bar);
            Some(compared?)
        }
        None => None,
    };
    atomic::write(&path, &converted.file)?;
    let mut stderr = std::io::stderr();
    let out = beside(&path, out, &mut stderr);
    let engine = Engine::new(&converted.file)?;
    if args.json {
        out::json(out, &report_json(&engine, &converted, end_to_end.as_ref()))
    } else {
        report(out, &path, &engine, &converted, end_to_end.as_ref()).map_err(out::failed)
    }
}

/// Where a report goes, which must not run into a model file on standard output.
pub(super) fn beside<'o>(
    path: &Path,
    out: &'o mut dyn Write,
    stderr: &'o mut dyn Write,
) -> &'o mut dyn Write {
    if path == Path::new("-") {
        stderr
    } else {
        out
    }
}

fn report(
    out: &mut dyn Write,
    path: &Path,
    engine: &Engine,
    converted: &Converted,
    end_to_end: Option<&EndToEnd>,
) -> std::io::Result<()> {
    writeln!(
        out,
        "{}: '{}', {}, {} multiply-accumulates, {}",
        path.display(),
        engine.name(),
        outline(&engine.layers()),
        engine.macs(),
        out::bytes(converted.file.len() as u64)
    )?;
    let rounding = converted.total_rounding();
    writeln!(
        out,
        "weights: max |error| {:.3e}, mean {:.3e}, of {} (half a step of Q16.16 is 7.629e-6)",
        rounding.max,
        rounding.mean(),
        rounding.count
    )?;
    if let Some(e) = end_to_end {
        writeln!(
            out,
            "outputs: max |error| {:.3e}, mean {:.3e}; same class on {} of {} samples ({:.2} %)",
            e.outputs.max,
            e.outputs.mean(),
            e.same_class,
            e.samples,
            out::percent(e.same_class, e.samples)
        )?;
    }
    Ok(())
}

fn difference(d: &Difference) -> Value {
    json!({ "max_abs": d.max, "mean_abs": d.mean(), "count": d.count })
}

fn report_json(engine: &Engine, converted: &Converted, end_to_end: Option<&EndToEnd>) -> Value {
    let layers: Vec<Value> = converted
        .network
        .layers
        .iter()
        .zip(&converted.rounding)
        .map(|(l, r)| json!({ "weights": l.weights_name, "bias": l.bias_name, "rounding": difference(r) }))
        .collect();
    json!({
        "name": engine.name(),
        "input_dim": engine.inputs(),
        "output_dim": engine.outputs(),
        "macs": engine.macs(),
        "file_bytes": converted.file.len(),
        "rounding": difference(&converted.total_rounding()),
        "layers": layers,
        "end_to_end": end_to_end.map(|e| json!({
            "samples": e.samples,
            "outputs": difference(&e.outputs),
            "same_class": e.same_class,
        })),
    })
}

/// A network in one line: `64 -> 128 relu -> 10 softmax`.
fn outline(layers: &[LayerInfo]) -> String {
    let mut text = layers
        .first()
        .map_or(String::new(), |l| l.inputs.to_string());
    for layer in layers {
        text.push_str(&format!(" -> {} {}", layer.outputs, layer.activation));
    }
    text
}

/// `info` of a file
pub(super) fn info(path: &Path, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let bytes = super::read(path, Limits::default().max_bytes)?;
    if crate::tflite::is_tflite(&bytes) {
        return super::tflite::info(path, &bytes, as_json, out);
    }
    let engine = Engine::new(&bytes).map_err(|e| e.within(path.display()))?;
    if engine.input().elements != Elements::Q16 {
        return operations(&engine, bytes.len(), as_json, out);
    }
    let layers = engine.layers();
    let (weights, scratch) = engine.memory();
    let checksum = format!("{:08x}", engine.checksum());
    if as_json {
        let layers: Vec<Value> = layers
            .iter()
            .map(|l| {
                json!({
                    "kind": l.kind,
                    "inputs": l.inputs,
                    "outputs": l.outputs,
                    "activation": l.activation,
                    "macs": l.macs,
                    "weight_bytes": l.weight_bytes,
                })
            })
            .collect();
        return out::json(
            out,
            &json!({
                "name": engine.name(),
                "dtype": "q16",
                "input_dim": engine.inputs(),
                "output_dim": engine.outputs(),
                "macs": engine.macs(),
                "file_bytes": bytes.len(),
                "weight_bytes": weights,
                "scratch_bytes": scratch,
                "crc32c": checksum,
                "layers": layers,
            }),
        );
    }
    let mut write = || -> std::io::Result<()> {
        writeln!(out, "name: {}", engine.name())?;
        writeln!(out, "element type: q16 (Q16.16)")?;
        writeln!(out, "input: {}", engine.inputs())?;
        writeln!(out, "output: {}", engine.outputs())?;
        writeln!(out, "multiply-accumulates: {}", engine.macs())?;
        writeln!(out, "file: {} bytes", bytes.len())?;
        writeln!(out, "weights: {weights} bytes")?;
        writeln!(
            out,
            "scratch: {scratch} bytes for each prediction at a time"
        )?;
        writeln!(out, "crc32c: {checksum}")?;
        let rows: Vec<Vec<String>> = layers
            .iter()
            .enumerate()
            .map(|(i, l)| {
                vec![
                    format!("{i} {}", l.kind),
                    l.inputs.to_string(),
                    l.outputs.to_string(),
                    l.activation.clone(),
                    l.macs.to_string(),
                    l.weight_bytes.to_string(),
                ]
            })
            .collect();
        out::table(
            out,
            &["LAYER", "IN", "OUT", "ACTIVATION", "MACS", "WEIGHT BYTES"],
            &rows,
        )
    };
    write().map_err(out::failed)
}

/// `info` of a file of a network of codes or of floats
fn operations(engine: &Engine, bytes: usize, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let (weights, scratch) = engine.memory();
    let checksum = format!("{:08x}", engine.checksum());
    let (input, output) = (engine.input(), engine.output());
    if as_json {
        let ops: Vec<Value> = engine
            .ops()
            .iter()
            .map(|op| {
                json!({
                    "kind": op.kind,
                    "inputs": op.inputs.iter().map(Port::json).collect::<Vec<_>>(),
                    "output": op.output.json(),
                    "macs": op.macs,
                    "weight_bytes": op.weight_bytes,
                })
            })
            .collect();
        return out::json(
            out,
            &json!({
                "name": engine.name(),
                "dtype": input.elements.name(),
                "input": input.json(),
                "output": output.json(),
                "input_dim": engine.inputs(),
                "output_dim": engine.outputs(),
                "macs": engine.macs(),
                "file_bytes": bytes,
                "weight_bytes": weights,
                "scratch_bytes": scratch,
                "crc32c": checksum,
                "operations": ops,
            }),
        );
    }
    let rows: Vec<Vec<String>> = engine
        .ops()
        .iter()
        .enumerate()
        .map(|(i, op)| {
            let inputs: Vec<String> = op.inputs.iter().map(Port::outline).collect();
            let (scale, zero) = match op.output.elements {
                Elements::I8 { scale, zero } => (format!("{scale:.6e}"), zero.to_string()),
                Elements::I16 { scale } => (format!("{scale:.6e}"), "0".to_owned()),
                _ => (String::new(), String::new()),
            };
            vec![
                format!("{i} {}", op.kind),
                inputs.join(" "),
                op.output.outline(),
                scale,
                zero,
                op.macs.to_string(),
                op.weight_bytes.to_string(),
            ]
        })
        .collect();
    let header = [
        "OPERATION",
        "IN",
        "OUT",
        "SCALE",
        "ZERO",
        "MACS",
        "WEIGHT BYTES",
    ];
    let mut write = || -> std::io::Result<()> {
        writeln!(out, "name: {}", engine.name())?;
        for (what, port) in [("input", input), ("output", output)] {
            writeln!(out, "{what}: {}{}", port.outline(), port.elements.codes())?;
        }
        writeln!(out, "multiply-accumulates: {}", engine.macs())?;
        writeln!(out, "file: {bytes} bytes")?;
        writeln!(out, "weights: {weights} bytes, as they are packed")?;
        writeln!(
            out,
            "scratch: {scratch} bytes for each prediction at a time"
        )?;
        writeln!(out, "crc32c: {checksum}")?;
        out::table(out, &header, &rows)
    };
    write().map_err(out::failed)
}

/// `new`
pub(super) fn new(args: &cli::New) -> Result<()> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => super::name_of(&args.output)?,
    };
    let file = random(
        &name,
        &dims(&args.dims)?,
        activation(&args.activation)?,
        activation(&args.output_activation)?,
        args.seed,
    )?;
    atomic::write(&args.output, &file)
}

/// A model file with random weights and biases of zero.
pub(super) fn random(
    name: &str,
    dims: &[u32],
    hidden: Activation,
    last: Activation,
    seed: u64,
) -> Result<Vec<u8>> {
    let layers = dims.len().saturating_sub(1);
    let specs: Vec<DenseSpec> = dims
        .iter()
        .zip(dims.iter().skip(1))
        .enumerate()
        .map(|(i, (inputs, outputs))| DenseSpec {
            inputs: *inputs,
            outputs: *outputs,
            activation: if i + 1 == layers { last } else { hidden },
        })
        .collect();
    let mut file = vec![0; nnm::dense_file_bytes(&specs).map_err(engine::error)?];
    let mut failure = Ok(());
    let mut fill = |layer: usize, part: Part, dst: &mut [u8]| match (part, specs.get(layer)) {
        (Part::Weights, Some(s)) => {
            let seed = seed.wrapping_add(layer as u64);
            failure = failure.and(init::xavier(s.inputs, s.outputs, seed, dst));
        }
        _ => dst.fill(0),
    };
    let length = nnm::write_dense(name, &specs, &mut fill, &mut file).map_err(engine::error)?;
    failure.map_err(engine::error)?;
    file.truncate(length);
    Engine::new(&file)?;
    Ok(file)
}

fn dims(text: &str) -> Result<Vec<u32>> {
    let dims: Option<Vec<u32>> = text
        .split(['-', ','])
        .map(|d| d.trim().parse().ok())
        .collect();
    match dims {
        Some(dims) if dims.len() >= 2 => Ok(dims),
        _ => Err(Error::usage(
            "DIMS",
            format!("'{text}' is no list of two or more sizes, e.g. 64-128-10"),
        )),
    }
}

fn activation(text: &str) -> Result<Activation> {
    Ok(match text.split_once(':').unwrap_or((text, "")) {
        ("linear", "") => Activation::Linear,
        ("relu", "") => Activation::Relu,
        ("sigmoid", "") => Activation::Sigmoid,
        ("tanh", "") => Activation::Tanh,
        ("softmax", "") => Activation::Softmax,
        ("leaky_relu", slope) => {
            let slope = if slope.is_empty() { "0.01" } else { slope };
            let q16 = slope.parse().ok().and_then(to_q16);
            Activation::LeakyRelu {
                slope: q16.ok_or_else(|| {
                    Error::usage("activation", format!("slope '{slope}' is no Q16.16 number"))
                })?,
            }
        }
        _ => {
            let known = "linear, relu, leaky_relu[:SLOPE], sigmoid, tanh, softmax";
            return Err(Error::usage(
                "activation",
                format!("'{text}' is not one of {known}"),
            ));
        }
    })
}
