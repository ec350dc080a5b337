// SPDX-License-Identifier: GPL-2.0

//! ONNX graphs of many operators: in single precision they give what ONNX Runtime gives, and as codes
//! what its quantised graphs give, but for rounding.

use std::fs;
use std::path::{Path, PathBuf};

use neural_core::nnm::{self, Limits};
use neural_core::plan::{self, Kernels, Step};
use neural_simd::{Features, Isa, NoSection, Set, Simd};
use neuralctl::convert::{onnx_to_codes, onnx_to_floats, Calibration};
use neuralctl::engine::Engine;
use neuralctl::onnx::{Made, Onnx};
use neuralctl::port::Elements;
use neuralctl::quantise::{Bits, Method};
use neuralctl::reference::Reference;
use neuralctl::table::Table;

fn vectors(dir: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(dir)
}

/// The names of the cases in a directory.
fn cases(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
    let mut names: Vec<String> = entries
        .filter_map(|n| n.to_str()?.strip_suffix(".onnx").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn tables(dir: &Path, name: &str) -> (Table, Table) {
    let read = |end: &str| Table::read(&dir.join(format!("{name}{end}"))).unwrap();
    (read("_input.npy"), read("_output.npy"))
}

/// Every set of vector code that this CPU has.
fn sets() -> Vec<Simd<NoSection>> {
    let features = Features::detect();
    let sets = Isa::ALL
        .into_iter()
        .filter(|isa| *isa != Isa::Scalar)
        .filter_map(|isa| Set::select(&features, Some(isa)));
    sets.map(|set| Simd::new(Some(set), NoSection)).collect()
}

fn run<K: Kernels>(kernels: &K, file: &[u8], input: &[f64]) -> Vec<f64> {
    let model = nnm::parse(file, &Limits::default()).unwrap();
    let mut steps = vec![Step::EMPTY; model.step_count()];
    let plan = model.plan(&mut steps).unwrap();
    let mut weights = vec![0; plan.weight_bytes];
    model.pack(&steps, &plan, &mut weights).unwrap();
    let mut scratch = vec![0xa5; plan.scratch_bytes];
    let input: Vec<u8> = input
        .iter()
        .flat_map(|v| (*v as f32).to_le_bytes())
        .collect();
    let mut output = vec![0x5a; plan.output_bytes];
    plan::run(
        kernels,
        &plan,
        &steps,
        &weights,
        1,
        &mut scratch,
        &input,
        &mut output,
    )
    .unwrap();
    let numbers = output
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    numbers.map(f64::from).collect()
}

/// The largest difference, as a share of the largest number or of one.
fn off(have: &[f64], want: &[f64]) -> f64 {
    assert_eq!(have.len(), want.len());
    let most = want.iter().fold(1f64, |most, v| most.max(v.abs()));
    let pairs = have.iter().zip(want);
    pairs.fold(0f64, |off, (a, b)| {
        if (a - b).is_nan() {
            f64::INFINITY
        } else {
            off.max((a - b).abs() / most)
        }
    })
}

#[test]
fn graphs_of_floats_give_what_onnx_runtime_gives() {
    let dir = vectors("onnx_float");
    let names = cases(&dir);
    assert!(names.len() > 85, "{}", names.len());
    let sets = sets();
    assert!(!sets.is_empty(), "no vector code for this CPU");
    let mut wrong = Vec::new();
    for name in names {
        let onnx = Onnx::new(&fs::read(dir.join(format!("{name}.onnx"))).unwrap()).unwrap();
        assert_ne!(onnx.made(None).unwrap(), Made::Codes);
        let file = match onnx_to_floats(&onnx, "net", None) {
            Ok(file) => file,
            Err(e) => {
                wrong.push(format!("{name}: {e}"));
                continue;
            }
        };
        let reference = Reference::new(&file).unwrap();
        let (inputs, outputs) = tables(&dir, &name);
        for (input, output) in inputs.iter().zip(outputs.iter()) {
            let have = reference.run(input, &mut |_, _| ()).unwrap();
            // The runtime computes in single precision, and approximates some functions.
            let worst = off(&have, output);
            if worst > 4e-6 {
                wrong.push(format!("{name}: the reference is off by {worst:.1e}"));
            }
            for set in &sets {
                let have = run(set, &file, input);
                let worst = off(&have, output);
                if worst > 1e-5 {
                    wrong.push(format!("{name}: {set:?} is off by {worst:.1e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// How many steps of the output the worst code may be away: ONNX Runtime rounds in floating point, this
/// engine as TensorFlow Lite Micro does. One, and more where layers follow each other.
fn steps_allowed(name: &str) -> f64 {
    let (case, _) = name.rsplit_once('_').unwrap();
    match case {
        "keywords" | "matmul_rows" | "residual" | "squeeze_excite" | "transpose" => 2.0,
        _ => 1.0,
    }
}

#[test]
fn quantised_graphs_give_the_codes_of_onnx_runtime() {
    let dir = vectors("onnx_codes");
    let names = cases(&dir);
    assert!(names.len() > 50, "{}", names.len());
    let mut wrong = Vec::new();
    for name in names {
        let onnx = Onnx::new(&fs::read(dir.join(format!("{name}.onnx"))).unwrap()).unwrap();
        assert_eq!(onnx.made(None).unwrap(), Made::Codes);
        let how = Calibration {
            samples: None,
            method: Method::MinMax,
            bits: Bits::Eight,
        };
        let made = match onnx_to_codes(&onnx, "net", None, &how) {
            Ok(made) => made,
            Err(e) => {
                wrong.push(format!("{name}: {e}"));
                continue;
            }
        };
        let mut engine = Engine::new(&made.file).unwrap();
        let Elements::I8 { scale, .. } = engine.output().elements else {
            panic!("{name}: {:?}", engine.output());
        };
        let (inputs, outputs) = tables(&dir, &name);
        let input = engine.input().encode(&inputs, false).unwrap();
        let (from, to) = (engine.input().bytes(), engine.output().bytes());
        let (mut worst, mut others) = (0f64, 0);
        for (x, want) in input.chunks(from).zip(outputs.iter()) {
            let mut y = vec![0; to];
            engine.run(x, &mut y).unwrap();
            let have = engine.output().decode(&y, false);
            assert_eq!(have.len(), want.len(), "{name}");
            for (have, want) in have.iter().zip(want) {
                let steps = (have - want).abs() / f64::from(scale);
                worst = worst.max(steps);
                others += usize::from(steps > 0.5);
            }
        }
        println!(
            "{name}: {worst:.2} steps, {others} of {} differ",
            outputs.values.len()
        );
        if worst > steps_allowed(&name) + 0.01 {
            wrong.push(format!("{name}: {worst:.2} steps off"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_has_no_counterpart_in_codes_is_refused_by_name() {
    for (name, kind, bits) in [
        ("lstm", "(LSTM): kind: 'lstm'", Bits::Eight),
        ("gru", "(GRU): kind: 'gru'", Bits::Eight),
        (
            "layer_norm",
            "(LayerNormalization): kind: 'layer_norm'",
            Bits::Eight,
        ),
        (
            "rms_norm",
            "(RMSNormalization): kind: 'rms_norm'",
            Bits::Eight,
        ),
        ("attention", "(MatMul): kind: 'attention'", Bits::Eight),
        (
            "log_softmax",
            "(LogSoftmax): kind: 'log_softmax'",
            Bits::Eight,
        ),
        ("conv", "(Conv): kind: 'conv_2d'", Bits::Sixteen),
        (
            "average_pool",
            "(AveragePool): kind: 'average_pool_2d'",
            Bits::Sixteen,
        ),
        (
            "softmax_channels",
            "(Softmax): kind: 'softmax'",
            Bits::Sixteen,
        ),
    ] {
        let dir = vectors("onnx_float");
        let file = fs::read(dir.join(format!("{name}.onnx"))).unwrap();
        let how = Calibration {
            samples: Some(tables(&dir, name).0),
            method: Method::MinMax,
            bits,
        };
        let made = onnx_to_codes(&Onnx::new(&file).unwrap(), "net", None, &how);
        let line = made.map_or_else(|e| e.to_string(), |_| "was taken".to_owned());
        let of = if bits == Bits::Eight { "i8" } else { "i16" };
        let says = format!("{kind} has no counterpart in {of}");
        assert!(line.ends_with(&says), "{name}: {line}");
    }
}

#[test]
fn what_is_no_graph_of_floats_is_refused_by_name() {
    // What Q16.16 or dense layers do not have is fine here.
    let taken = [
        "branch",
        "conv",
        "foreign",
        "huge_alpha",
        "huge_weight",
        "rank3",
        "softmax_axis0",
        "too_wide",
    ];
    let text = fs::read_to_string(vectors("onnx").join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for (name, case) in manifest["refuse"].as_object().unwrap() {
        let file = fs::read(vectors("onnx/refuse").join(format!("{name}.onnx"))).unwrap();
        let line = match Onnx::new(&file).and_then(|onnx| onnx_to_floats(&onnx, "net", None)) {
            Ok(_) if taken.contains(&name.as_str()) => continue,
            Ok(_) => {
                wrong.push(format!("{name}: was taken"));
                continue;
            }
            Err(e) => e.to_string(),
        };
        let says = case["says"].as_array().unwrap().iter();
        let says: Vec<String> = says.map(|w| w.as_str().unwrap().to_lowercase()).collect();
        let lower = line.to_lowercase();
        if !says.is_empty() && !says.iter().any(|w| lower.contains(w)) || line.contains('\n') {
            wrong.push(format!("{name}: wants one of {says:?}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
