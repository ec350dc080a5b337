// SPDX-License-Identifier: GPL-2.0

//! TFLite files through the converter and the engine: what comes out is what TensorFlow Lite Micro
//! computes, for int8 in every bit of every tensor.
//!
//! `NEURAL_TFLITE` is a directory with other cases than those in the tree. `NEURAL_DATA/models` may have
//! the models of MLPerf Tiny; what is compared then are the hashes that `tflite_models.py` describes.

#[path = "common/gold.rs"]
mod gold;

use std::collections::BTreeSet;
use std::fs;

use std::path::PathBuf;

use gold::{files, vectors, Gold};
use neural_core::init::SplitMix64;
use neural_core::nnm::{self, DType, Limits, OpKind};
use neural_core::plan::{self, Kernels, Scalar, Step};
use neural_simd::{Features, Isa, NoSection, Set, Simd};
use neuralctl::convert::{floats_to_codes, Calibration};
use neuralctl::quantise::{Bits, Method};
use neuralctl::reference::Reference;
use neuralctl::table::Table;
use neuralctl::tflite::graph::{self, Graph, Kind};
use neuralctl::tflite::{convert, read, stored_as_codes};

/// Scalar code, and every set of vector code that this CPU has.
fn kernels() -> Vec<Simd<NoSection>> {
    let features = Features::detect();
    let sets = Isa::ALL
        .into_iter()
        .map(|isa| Set::select(&features, Some(isa)));
    let sets: Vec<_> = sets.flatten().map(Some).collect();
    assert!(!sets.is_empty(), "no vector code for this CPU");
    let all = sets.into_iter().chain([None]);
    all.map(|set| Simd::new(set, NoSection)).collect()
}

/// Runs a model file on one input; vector code gives what scalar code does.
fn run(kernels: &[Simd<NoSection>], file: &[u8], input: &[u8]) -> Vec<u8> {
    let output = run_with(&Scalar, file, input);
    for vectors in kernels {
        assert_eq!(run_with(vectors, file, input), output, "{vectors:?}");
    }
    output
}

fn run_with<K: Kernels>(kernels: &K, file: &[u8], input: &[u8]) -> Vec<u8> {
    let model = nnm::parse(file, &Limits::default()).unwrap();
    let mut steps = vec![Step::EMPTY; model.step_count()];
    let plan = model.plan(&mut steps).unwrap();
    let mut weights = vec![0; plan.weight_bytes];
    model.pack(&steps, &plan, &mut weights).unwrap();
    let mut scratch = vec![0xa5; plan.scratch_bytes];
    let mut output = vec![0x5a; plan.output_bytes];
    plan::run(
        kernels,
        &plan,
        &steps,
        &weights,
        1,
        &mut scratch,
        input,
        &mut output,
    )
    .unwrap();
    output
}

/// The tensor whose elements the network takes: the input of the graph, or the codes made of it.
fn input_of(graph: &Graph<'_>) -> usize {
    let [input] = graph.inputs[..] else {
        panic!("{} inputs", graph.inputs.len())
    };
    let quantize = |op: &&graph::Op| op.kind == Kind::Quantize && op.inputs[0] == Some(input);
    match graph.ops.iter().find(quantize) {
        Some(op) if graph.tensors[input].dtype == graph::DType::F32 => op.outputs[0],
        _ => input,
    }
}

const FIRST: &str = "shapes: of the first is smaller, or it is a constant";

/// What is refused, and why: operators without a counterpart, and more than one input.
fn refused(name: &str) -> Option<&'static str> {
    const NO_COUNTERPART: &str = "kind: has no counterpart in int8";
    const INPUTS: &str = "graph: needs 2 inputs, a network has one";
    let (kind, number) = name.rsplit_once('_').unwrap();
    let number: u32 = number.parse().unwrap();
    match (kind, number) {
        ("add" | "sub" | "mul", 0 | 4) => Some(INPUTS),
        ("sub", i) if i >= 8 && i % 4 >= 2 => Some(FIRST),
        ("batch_matmul", _) | ("concatenation", 0 | 2) => Some(INPUTS),
        ("concatenation", 1 | 3) => Some("is a constant, which is not supported here"),
        ("log_softmax" | "strided_slice" | "resize_nearest_neighbor", _) => Some(NO_COUNTERPART),
        _ => None,
    }
}

/// The factors of the last layer of weights, as the golden file has them.
fn factors(made: &[u8]) -> Option<(Vec<i32>, Vec<i32>)> {
    let model = nnm::parse(made, &Limits::default()).unwrap();
    let ops = (0..model.op_count() as u32)
        .rev()
        .map(|i| model.op(i).unwrap());
    let weights = [OpKind::Dense, OpKind::Conv2d, OpKind::DepthwiseConv2d];
    let layer = ops.into_iter().find(|op| weights.contains(&op.kind))?;
    let factors = model.tensor(layer.inputs[3]).unwrap();
    let numbers: Vec<i32> = neural_core::fixed::elements(model.data(&factors).unwrap()).collect();
    let (mults, shifts) = numbers.split_at(numbers.len() / 2);
    Some((mults.to_vec(), shifts.iter().map(|s| -s).collect()))
}

#[test]
fn factors_are_those_of_the_golden_files() {
    let mut compared = 0;
    for path in files(&vectors(), ".gold") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let gold = Gold::read(&path);
        let [(words, params)] = gold.ops.as_slice() else {
            continue;
        };
        if !["FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"].contains(&words[1].as_str()) {
            continue;
        }
        let file = fs::read(path.with_extension("tflite")).unwrap();
        let graph = read(&file).unwrap();
        let made = convert(&graph, graph.outputs[0], "test").unwrap();
        let (mults, shifts) = factors(&made).unwrap();
        for (have, key) in [(mults, "multiplier"), (shifts, "shift")] {
            let want = &params[key];
            let all = want.iter().cycle().take(have.len());
            assert!(have.iter().eq(all), "{name}: {have:?}, not {want:?}");
            compared += have.len();
        }
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn every_tensor_of_every_case_is_that_of_tensorflow_lite_micro() {
    let all = kernels();
    let (mut kinds, mut compared, mut wrong) = (BTreeSet::new(), 0, Vec::new());
    let more = std::env::var_os("NEURAL_TFLITE");
    for path in files(&more.map_or_else(vectors, Into::into), ".gold") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let file = fs::read(path.with_extension("tflite")).unwrap();
        let graph = read(&file).unwrap();
        if name.starts_with("float_") {
            continue;
        }
        let gold = Gold::read(&path);
        for output in graph.ops.iter().flat_map(|op| &op.outputs) {
            let made = match (convert(&graph, *output, "test"), refused(name)) {
                // Constants that are one number all over are taken before everything.
                (Ok(made), None | Some(FIRST)) => made,
                (Err(e), Some(why)) if e.to_string().contains(why) => continue,
                (made, _) => {
                    wrong.push(format!("{name}: {:?}", made.map(|file| file.len())));
                    continue;
                }
            };
            assert_eq!(
                nnm::parse(&made, &Limits::default()).unwrap().dtype(),
                DType::I8
            );
            for values in gold.values() {
                let have = run(&all, &made, &values[&input_of(&graph)]);
                let tensor = &graph.tensors[*output];
                let have: Vec<u8> = if tensor.dtype == graph::DType::F32 {
                    // The codes that were not made numbers of.
                    let x = &graph.tensors[input_of(&graph)];
                    let (scale, zero) = (x.scale().unwrap(), x.zero());
                    let real = |c: &u8| scale * (i32::from(*c as i8) - zero) as f32;
                    have.iter().flat_map(|c| real(c).to_le_bytes()).collect()
                } else {
                    have
                };
                if have != values[output] {
                    let first = have.iter().zip(&values[output]).position(|(a, b)| a != b);
                    wrong.push(format!("{name}: tensor {output}: differs at {first:?}"));
                }
                compared += have.len();
            }
            kinds.extend(graph.ops.iter().map(|op| op.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(
        kinds.len() == 27 && compared > 20_000,
        "{kinds:?} {compared}"
    );
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    let bits = neural_core::fixed::elements(bytes).map(|bits| f32::from_bits(bits as u32));
    bits.map(f64::from).collect()
}

const HASH: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Zeros, extremes, a ramp, extremes in turn, and random bytes of the seeds from 5 on.
fn inputs(count: usize) -> Vec<Vec<u8>> {
    let of = |f: &mut dyn FnMut(usize) -> u8| (0..count).map(f).collect();
    let mut all = vec![
        of(&mut |_| 0),
        of(&mut |_| 128),
        of(&mut |_| 127),
        of(&mut |i| (i % 256) as u8 ^ 128),
        of(&mut |i| if i % 2 == 0 { 128 } else { 127 }),
    ];
    for seed in 5..16 {
        let mut random = SplitMix64::new(seed);
        all.push(of(&mut |_| random.next_u64() as u8));
    }
    all
}

#[test]
fn every_tensor_of_whole_models_is_that_of_tensorflow_lite_micro() {
    let Some(dir) = std::env::var_os("NEURAL_DATA").map(|d| PathBuf::from(d).join("models")) else {
        println!("SKIP: models: NEURAL_DATA is not set");
        return;
    };
    let all = kernels();
    let text = fs::read_to_string(vectors().join("models.txt")).unwrap();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (name, tensor): (&str, i32) = (words[0], words[1].parse().unwrap());
        let want = u64::from_str_radix(words[2], 16).unwrap();
        let path = dir.join(format!("{name}.tflite"));
        let Ok(file) = fs::read(&path) else {
            println!("SKIP: {} is not there", path.display());
            continue;
        };
        if tensor == -1 {
            assert_eq!(fnv(HASH, &file), want, "{name} is another file");
            continue;
        }
        let graph = read(&file).unwrap();
        let made = convert(&graph, tensor as usize, name).unwrap();
        let inputs = inputs(nnm::parse(&made, &Limits::default()).unwrap().input_bytes());
        let outputs = inputs.iter().map(|input| run(&all, &made, input));
        let have = outputs.fold(HASH, |hash, output| fnv(hash, &output));
        assert_eq!(have, want, "{line}");
    }
    let done: u64 = all.iter().map(Simd::operations).sum();
    assert!(done > 1000, "vector code did {done} operations only");
}

#[test]
fn floats_are_those_of_tensorflow_lite_micro_but_for_rounding() {
    let mut compared = 0;
    for path in files(&vectors(), ".gold") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if !name.starts_with("float_") {
            continue;
        }
        let file = fs::read(path.with_extension("tflite")).unwrap();
        let graph = read(&file).unwrap();
        for output in graph.ops.iter().map(|op| op.outputs[0]) {
            let made = convert(&graph, output, "test").unwrap();
            let model = nnm::parse(&made, &Limits::default()).unwrap();
            assert_eq!(model.dtype(), DType::F32);
            for values in Gold::read(&path).values() {
                let reference = Reference::new(&made).unwrap();
                let input = floats(&values[&graph.inputs[0]]);
                let have = reference.run(&input, &mut |_, _| ()).unwrap();
                let want = floats(&values[&output]);
                assert_eq!(have.len(), want.len());
                for (i, (have, want)) in have.iter().zip(&want).enumerate() {
                    let near = (have - want).abs() <= 1e-5 * want.abs().max(1.0);
                    assert!(near, "{name}: tensor {output}: {i}: {have}, not {want}");
                }
                compared += have.len();
            }
        }
    }
    assert!(compared > 500, "{compared}");
}

/// The bits of numbers.
fn words(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn weights_in_codes_become_the_numbers_that_they_stand_for() {
    let file = fs::read(vectors().join("hybrid_0.tflite")).unwrap();
    let graph = read(&file).unwrap();
    assert_eq!(stored_as_codes(&graph, graph.outputs[0]), 1);
    let made = convert(&graph, graph.outputs[0], "test").unwrap();
    let model = nnm::parse(&made, &Limits::default()).unwrap();
    let weights = model.tensor(model.op(0).unwrap().inputs[1]).unwrap();
    assert_eq!(model.data(&weights).unwrap(), words(&[0.01; 8]));
    // Nothing is stored so in a graph of codes, or of numbers alone.
    for name in ["fully_connected_0", "float_0"] {
        let file = fs::read(vectors().join(format!("{name}.tflite"))).unwrap();
        let graph = read(&file).unwrap();
        assert_eq!(stored_as_codes(&graph, graph.outputs[0]), 0, "{name}");
    }
}

#[test]
fn a_whole_model_of_floats_with_weights_in_codes_is_that_of_tensorflow_lite_micro() {
    let Some(dir) = std::env::var_os("NEURAL_DATA").map(|d| PathBuf::from(d).join("models")) else {
        println!("SKIP: models: NEURAL_DATA is not set");
        return;
    };
    let Ok(file) = fs::read(dir.join("kws_fp32.tflite")) else {
        println!("SKIP: kws_fp32.tflite is not there");
        return;
    };
    let graph = read(&file).unwrap();
    assert_eq!(stored_as_codes(&graph, graph.outputs[0]), 5);
    let made = convert(&graph, graph.outputs[0], "kws").unwrap();
    let reads = |end| fs::read(vectors().join(format!("models_kws_fp32.{end}"))).unwrap();
    let (input, want) = (reads("in"), reads("out"));
    let mut compared = 0;
    // Scalar code computes no numbers.
    let features = Features::detect();
    for isa in Isa::ALL.into_iter().filter(|isa| *isa != Isa::Scalar) {
        let Some(set) = Set::select(&features, Some(isa)) else {
            continue;
        };
        let vectors = Simd::new(Some(set), NoSection);
        for (x, want) in input.chunks(490 * 4).zip(want.chunks(12 * 4)) {
            let have = floats(&run_with(&vectors, &made, x));
            for (have, want) in have.iter().zip(floats(want)) {
                assert!(
                    (have - want).abs() <= 1e-5,
                    "{vectors:?}: {have}, not {want}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared >= 48, "{compared}");
}

#[test]
fn graphs_of_floats_are_quantised_by_samples() {
    for path in files(&vectors(), ".gold") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if !name.starts_with("float_") {
            continue;
        }
        let file = fs::read(path.with_extension("tflite")).unwrap();
        let graph = read(&file).unwrap();
        let made = convert(&graph, graph.outputs[0], "test").unwrap();
        let rows = Gold::read(&path).values().into_iter().map(|values| {
            let row = floats(&values[&graph.inputs[0]]);
            let row: Vec<String> = row.iter().map(f64::to_string).collect();
            row.join(",") + "\n"
        });
        let text: String = rows.collect();
        let how = Calibration {
            samples: Some(Table::parse("samples", text.as_bytes()).unwrap()),
            method: Method::MinMax,
            bits: Bits::Eight,
        };
        let made = floats_to_codes(&made, "test", &how).unwrap();
        let outputs = made.report.unwrap().outputs;
        println!("{name}: {:.1} dB", outputs.sqnr());
        assert!(outputs.sqnr() > 20.0, "{name}: {outputs:?}");
    }
}

#[test]
fn a_whole_model_of_floats_is_planned() {
    let Some(dir) = std::env::var_os("NEURAL_DATA").map(|d| PathBuf::from(d).join("models")) else {
        println!("SKIP: models: NEURAL_DATA is not set");
        return;
    };
    let Ok(file) = fs::read(dir.join("ad01_fp32.tflite")) else {
        println!("SKIP: ad01_fp32.tflite is not there");
        return;
    };
    let graph = read(&file).unwrap();
    let made = convert(&graph, graph.outputs[0], "ad01").unwrap();
    let reference = Reference::new(&made).unwrap();
    let zeros = reference.run(&[0.0; 640], &mut |_, _| ()).unwrap();
    assert!(zeros.iter().all(|y| y.is_finite()));
    let model = nnm::parse(&made, &Limits::default()).unwrap();
    assert_eq!((model.op_count(), model.macs()), (10, 264_192));
}
