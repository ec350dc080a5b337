// SPDX-License-Identifier: GPL-2.0

//! TFLite files through the converter and the engine: what comes out is what TensorFlow Lite Micro
//! computes, for int8 in every bit of every tensor.
//!
//! `NEURAL_TFLITE` is a directory with other cases than those in the tree.

#[path = "common/gold.rs"]
mod gold;

use std::collections::BTreeSet;
use std::fs;

use gold::{files, vectors, Gold};
use neural_core::nnm::{self, DType, Limits};
use neural_core::plan::{self, Kernels, Scalar, Step};
use neuralctl::tflite::graph::{self, Graph, Kind};
use neuralctl::tflite::{convert, read};

/// Runs a model file on one input.
fn run<K: Kernels>(kernels: &K, file: &[u8], input: &[u8]) -> Vec<u8> {
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
        ("log_softmax" | "strided_slice" | "split" | "resize_nearest_neighbor", _) => {
            Some(NO_COUNTERPART)
        }
        ("lstm", _) => Some(NO_COUNTERPART),
        _ => None,
    }
}

#[test]
fn every_tensor_of_every_case_is_that_of_tensorflow_lite_micro() {
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
                let have = run(&Scalar, &made, &values[&input_of(&graph)]);
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
        kinds.len() == 25 && compared > 19_000,
        "{kinds:?} {compared}"
    );
}
