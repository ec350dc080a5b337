// SPDX-License-Identifier: GPL-2.0

//! `convert` to networks of floats and of codes, and what it reports.

use std::io::Write;
use std::path::Path;

use serde_json::{json, Value};

use crate::convert::{onnx_to_codes, onnx_to_floats, Calibration};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::onnx::Onnx;
use crate::quantise::{Bits, Layer, Loss, Method, Quantised, Report};
use crate::table::Table;
use crate::{atomic, cli, out};

/// The name of a type.
pub(super) fn type_name(element: cli::Element) -> &'static str {
    match element {
        cli::Element::Q16 => "q16",
        cli::Element::F32 => "f32",
        cli::Element::I8 => "i8",
        cli::Element::I16 => "i16",
    }
}

/// Samples and how to use them for codes of a type.
pub(super) fn calibration(args: &cli::Convert, element: cli::Element) -> Result<Calibration> {
    let samples = args.samples.as_deref().map(Table::read).transpose()?;
    Ok(Calibration {
        samples,
        bits: match element {
            cli::Element::I16 => Bits::Sixteen,
            _ => Bits::Eight,
        },
        method: match args.range {
            cli::Range::Minmax => Method::MinMax,
            cli::Range::Percentile => Method::Percentile(args.percentile),
            cli::Range::Mse => Method::Mse,
        },
    })
}

/// Converts an ONNX file to a network of floats or of codes.
pub(super) fn onnx(
    args: &cli::Convert,
    onnx: &Onnx,
    element: cli::Element,
    name: &str,
) -> Result<Quantised> {
    let output = args.output_name.as_deref();
    if element != cli::Element::F32 {
        return onnx_to_codes(onnx, name, output, &calibration(args, element)?);
    }
    if args.samples.is_some() {
        return Err(Error::usage("--samples", "goes with q16, i8 and i16"));
    }
    let file = onnx_to_floats(onnx, name, output)?;
    Ok(Quantised::plain(file, None))
}

/// Writes the model file and reports.
pub(super) fn finish(
    args: &cli::Convert,
    made: &Quantised,
    path: &Path,
    out: &mut dyn Write,
) -> Result<()> {
    let engine = Engine::new(&made.file)?;
    atomic::write(path, &made.file)?;
    let mut stderr = std::io::stderr();
    let out = super::model::beside(path, out, &mut stderr);
    let (input, output) = (engine.input(), engine.output());
    if args.json {
        let mut document = json!({
            "name": engine.name(),
            "input": input.json(),
            "output": output.json(),
            "operations": engine.ops().len(),
            "macs": engine.macs(),
            "file_bytes": made.file.len(),
            "layers_stored_as_codes": made.stored_as_codes,
        });
        if let (Some(report), Some(map)) = (&made.report, document.as_object_mut()) {
            map.insert("end_to_end".to_owned(), end_to_end(report));
            let layers = report.layers.iter().map(layer_json).collect();
            map.insert("layers".to_owned(), Value::Array(layers));
        }
        return out::json(out, &document);
    }
    let path = path.display();
    let mut write = || -> std::io::Result<()> {
        writeln!(
            out,
            "{path}: '{}', {} operations, {} multiply-accumulates, {}",
            engine.name(),
            engine.ops().len(),
            engine.macs(),
            out::bytes(made.file.len() as u64)
        )?;
        for (what, port) in [("input", input), ("output", output)] {
            writeln!(out, "{what}: {}{}", port.outline(), port.elements.codes())?;
        }
        if made.stored_as_codes > 0 {
            writeln!(
                out,
                "weights of {} layers are 8-bit codes in the file: taken as the numbers that they stand for",
                made.stored_as_codes
            )?;
        }
        match &made.report {
            Some(report) => losses(out, report),
            None => Ok(()),
        }
    };
    write().map_err(out::failed)
}

fn losses(out: &mut dyn Write, report: &Report) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = report
        .layers
        .iter()
        .map(|l| {
            vec![
                format!("{} {}", l.kind, l.label),
                format!("{:.3e}", l.codes.scale),
                l.codes.zero.to_string(),
                format!("{:.3e}", l.loss.max),
                format!("{:.1} dB", l.loss.sqnr()),
            ]
        })
        .collect();
    let header = ["LAYER", "SCALE", "ZERO", "MAX |ERROR|", "SIGNAL/NOISE"];
    out::table(out, &header, &rows)?;
    let e = &report.outputs;
    writeln!(
        out,
        "outputs: max |error| {:.3e}, mean {:.3e}, {:.1} dB; same class on {} of {} samples ({:.2} %)",
        e.max,
        e.mean(),
        e.sqnr(),
        report.same_class,
        report.samples,
        out::percent(report.same_class, report.samples)
    )
}

fn loss(loss: &Loss) -> Value {
    // Without noise the ratio is infinite, which JSON does not have.
    let ratio = Some(loss.sqnr()).filter(|r| r.is_finite());
    json!({ "max_abs": loss.max, "mean_abs": loss.mean(), "count": loss.count, "sqnr_db": ratio })
}

fn end_to_end(report: &Report) -> Value {
    json!({
        "samples": report.samples,
        "outputs": loss(&report.outputs),
        "same_class": report.same_class,
    })
}

fn layer_json(layer: &Layer) -> Value {
    json!({
        "label": layer.label,
        "kind": layer.kind,
        "scale": layer.codes.scale,
        "zero_point": layer.codes.zero,
        "error": loss(&layer.loss),
    })
}
