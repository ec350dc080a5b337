// SPDX-License-Identifier: GPL-2.0

//! The ONNX files of `tests/vectors`: what converts answers as ONNX Runtime does, what must be
//! refused is refused in words that name the culprit.

use std::fs;
use std::path::{Path, PathBuf};

use neuralctl::convert::{convert, onnx_to_codes, Calibration, Converted};
use neuralctl::engine::Engine;
use neuralctl::onnx::Onnx;
use neuralctl::quantise::{Bits, Method};
use neuralctl::table::{argmax, from_q16, Table};
use serde_json::Value;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn manifest() -> Value {
    let text = fs::read_to_string(vectors().join("onnx/manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The largest differences to ONNX Runtime: of the network in double precision, and in Q16.16; and
/// the rows where the class is another one.
fn compare(converted: &Converted, input: &Path, output: &Path) -> (f64, f64, usize) {
    let input = Table::read(input).unwrap();
    assert_eq!(input.cols, converted.network.inputs());
    let want = Table::read(output).unwrap();
    assert_eq!(
        (want.rows, want.cols),
        (input.rows, converted.network.outputs())
    );
    let mut engine = Engine::new(&converted.file).unwrap();
    let quantised = input.quantise().unwrap();
    let (mut float, mut fixed, mut other) = (0f64, 0f64, 0);
    for ((x, q), y) in input
        .iter()
        .zip(quantised.chunks(input.cols))
        .zip(want.iter())
    {
        let exact = converted.network.eval(x);
        let have: Vec<f64> = engine
            .predict(q)
            .unwrap()
            .into_iter()
            .map(from_q16)
            .collect();
        other += usize::from(argmax(&have) != argmax(y));
        for ((e, h), y) in exact.iter().zip(&have).zip(y) {
            float = float.max((e - y).abs());
            fixed = fixed.max((h - y).abs());
        }
    }
    (float, fixed, other)
}

#[test]
fn what_converts_answers_as_onnx_runtime_does() {
    let manifest = manifest();
    let cases = manifest["ok"].as_object().unwrap();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    for (name, case) in cases {
        let at = |end: &str| vectors().join("onnx/ok").join(format!("{name}{end}"));
        let onnx = fs::read(at(".onnx")).unwrap();
        let converted = convert(&onnx, "net", None).unwrap_or_else(|e| panic!("{name}: {e}"));
        let engine = Engine::new(&converted.file).unwrap();
        let layers = engine.layers();
        let wanted = case["layers"].as_array().unwrap();
        assert_eq!(layers.len(), wanted.len(), "{name}");
        for (have, want) in layers.iter().zip(wanted) {
            let activation = have.activation.split(':').next().unwrap();
            assert_eq!(
                serde_json::json!([have.inputs, have.outputs, activation]),
                *want,
                "{name}"
            );
        }
        let (float, fixed, _) = compare(&converted, &at("_input.npy"), &at("_output.npy"));
        assert!(float < 2e-5, "{name}: reference is off by {float}");
        assert!(fixed < 2e-3, "{name}: Q16.16 is off by {fixed}");
    }
}

#[test]
fn what_must_be_refused_is_refused_by_name() {
    let manifest = manifest();
    let cases = manifest["refuse"].as_object().unwrap();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for (name, case) in cases {
        let onnx = fs::read(vectors().join("onnx/refuse").join(format!("{name}.onnx"))).unwrap();
        let line = match convert(&onnx, "net", None) {
            Ok(_) => {
                wrong.push(format!("{name}: was taken"));
                continue;
            }
            Err(e) => e.to_string(),
        };
        let says: Vec<String> = case["says"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| w.as_str().unwrap().to_lowercase())
            .collect();
        println!("{name}: {line}");
        let lower = line.to_lowercase();
        if !says.is_empty() && !says.iter().any(|w| lower.contains(w)) || line.contains('\n') {
            wrong.push(format!("{name}: wants one of {says:?}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_digits_network_gives_the_classes_of_onnx_runtime() {
    let dir = vectors();
    let onnx = fs::read(dir.join("digits.onnx")).unwrap();
    let converted = convert(&onnx, "digits", None).unwrap();
    let (float, fixed, other) = compare(
        &converted,
        &dir.join("digits_input.npy"),
        &dir.join("digits_ort_output.npy"),
    );
    assert!(float < 1e-5, "{float}");
    assert!(fixed < 1e-3, "{fixed}");
    assert!(other <= 1, "{other} of 360 rows have another class");
}

#[test]
fn the_digits_network_keeps_its_accuracy_as_codes() {
    let dir = vectors();
    let onnx = Onnx::new(&fs::read(dir.join("digits.onnx")).unwrap()).unwrap();
    let input = Table::read(&dir.join("digits_input.npy")).unwrap();
    let labels = Table::read(&dir.join("digits_label.npy")).unwrap();
    let labels = labels.labels(input.rows).unwrap();
    let float = Table::read(&dir.join("digits_ort_output.npy")).unwrap();
    let right = |classes: &[usize]| classes.iter().zip(&labels).filter(|(a, b)| a == b).count();
    let before = right(&float.iter().map(argmax).collect::<Vec<_>>());
    for method in [Method::MinMax, Method::Percentile(99.9), Method::Mse] {
        let how = Calibration {
            samples: Some(Table::read(&dir.join("digits_samples.csv")).unwrap()),
            method,
            bits: Bits::Eight,
        };
        let made = onnx_to_codes(&onnx, "digits", None, &how).unwrap();
        let report = made.report.unwrap();
        assert_eq!((report.samples, report.same_class), (16, 16), "{method:?}");
        assert!(report.outputs.sqnr() > 30.0, "{method:?}: {report:?}");
        assert_eq!(report.layers.len(), 3);
        assert!(report.layers.iter().all(|l| l.loss.sqnr() > 30.0));
        let mut engine = Engine::new(&made.file).unwrap();
        let codes = engine.input().encode(&input, false).unwrap();
        let classes: Vec<usize> = codes
            .chunks(engine.inputs())
            .map(|x| {
                let mut y = vec![0; engine.outputs()];
                engine.run(x, &mut y).unwrap();
                argmax(&engine.output().decode(&y, false))
            })
            .collect();
        let after = right(&classes);
        assert!(
            after + 2 >= before,
            "{method:?}: {after} right, {before} before"
        );
    }
}

#[test]
fn dense_networks_of_16_bit_codes_are_near_onnx_runtime() {
    let manifest = manifest();
    let mut worst = 0f64;
    for name in manifest["ok"].as_object().unwrap().keys() {
        let at = |end: &str| vectors().join("onnx/ok").join(format!("{name}{end}"));
        let onnx = Onnx::new(&fs::read(at(".onnx")).unwrap()).unwrap();
        let input = Table::read(&at("_input.npy")).unwrap();
        let want = Table::read(&at("_output.npy")).unwrap();
        let how = Calibration {
            samples: Some(input.clone()),
            method: Method::MinMax,
            bits: Bits::Sixteen,
        };
        let made = onnx_to_codes(&onnx, "net", None, &how);
        let made = made.unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut engine = Engine::new(&made.file).unwrap();
        assert_eq!(engine.input().elements.name(), "i16");
        let codes = engine.input().encode(&input, false).unwrap();
        let most = want.values.iter().fold(0f64, |m, v| m.max(v.abs()));
        for (x, want) in codes.chunks(engine.input().bytes()).zip(want.iter()) {
            let mut y = vec![0; engine.output().bytes()];
            engine.run(x, &mut y).unwrap();
            for (have, want) in engine.output().decode(&y, false).iter().zip(want) {
                let off = (have - want).abs() / most;
                assert!(off < 1e-3, "{name}: {have}, not {want}");
                worst = worst.max(off);
            }
        }
        assert!(made.report.unwrap().outputs.sqnr() > 55.0, "{name}");
    }
    println!("at most {worst:.1e} of the largest number");
}

#[test]
fn sums_products_and_moves_have_16_bit_codes() {
    let dir = vectors().join("onnx_float");
    for name in [
        "add_all",
        "mul_columns",
        "transpose_matmul",
        "matmul_rows",
        "flatten_plain",
    ] {
        let at = |end: &str| dir.join(format!("{name}{end}"));
        let onnx = Onnx::new(&fs::read(at(".onnx")).unwrap()).unwrap();
        let how = Calibration {
            samples: Some(Table::read(&at("_input.npy")).unwrap()),
            method: Method::MinMax,
            bits: Bits::Sixteen,
        };
        let made = onnx_to_codes(&onnx, "net", None, &how);
        if name == "flatten_plain" {
            let line = made.unwrap_err().to_string();
            assert!(
                line.contains("(Conv): kind: 'conv_2d' has no counterpart in i16"),
                "{line}"
            );
            continue;
        }
        let report = made
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .report
            .unwrap();
        assert!(
            report.outputs.sqnr() > 80.0,
            "{name}: {}",
            report.outputs.sqnr()
        );
    }
}
