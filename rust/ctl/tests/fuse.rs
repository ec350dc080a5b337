// SPDX-License-Identifier: GPL-2.0

//! Normalisation in front of a dense layer becomes part of it, where no digits are lost by that.

mod common;

use common::{bytes, floats, int, model, node, with};
use neural_core::nnm::{self, Limits};
use neuralctl::convert::{onnx_to_codes, onnx_to_floats, Calibration};
use neuralctl::onnx::Onnx;
use neuralctl::quantise::{Bits, Method};
use neuralctl::reference::Reference;
use neuralctl::table::Table;
use rten_onnx::onnx::{ModelProto, NodeProto, TensorProto};

const MEAN: [f64; 4] = [-0.25, -0.125, 0.0, 0.125];
const STD: [f64; 4] = [0.5, 0.625, 0.75, 0.875];
const TINY: f64 = 1e-38;

fn kinds(file: &[u8]) -> Vec<&'static str> {
    let model = nnm::parse(file, &Limits::DEFAULT).unwrap();
    let ops = (0..model.op_count() as u32).filter_map(|i| model.op(i));
    ops.map(|op| op.kind.name()).collect()
}

/// The nodes, which make `n` of `x`, and a dense layer.
fn graph(mut nodes: Vec<NodeProto>) -> ModelProto {
    let tiny = TensorProto {
        float_data: vec![TINY as f32; 4],
        ..floats("tiny", &[4], 0.0)
    };
    let constants = vec![
        floats("mean", &[4], -0.25),
        floats("std", &[4], 0.5),
        tiny,
        floats("w", &[3, 4], -0.5),
        floats("b", &[3], 0.25),
    ];
    let gemm = node("Gemm", &["n", "w", "b"], "y");
    nodes.push(with(gemm, int("transB", 1)));
    model(&[-1, 4], nodes, constants)
}

/// What the network is made of that gives what the dense layer gives of `n(x, mean, std)`.
fn fused(nodes: Vec<NodeProto>, n: fn(f64, f64, f64) -> f64) -> Vec<&'static str> {
    let onnx = Onnx::new(&bytes(&graph(nodes))).unwrap();
    let file = onnx_to_floats(&onnx, "net", None).unwrap();
    for x in [[0.0; 4], [1.0, -2.0, 0.5, 3.0], [-7.0, 0.125, 9.0, -0.5]] {
        let reference = Reference::new(&file).unwrap();
        let have = reference.run(&x, &mut |_, _| ()).unwrap();
        for (row, have) in have.iter().enumerate() {
            let weight = |i: usize| -0.5 + (4 * row + i) as f64 / 8.0;
            let products = (0..4).map(|i| n(x[i], MEAN[i], STD[i]) * weight(i));
            let want = products.sum::<f64>() + 0.25 + row as f64 / 8.0;
            assert!((have - want).abs() <= 1e-5, "{have}, not {want}");
        }
    }
    kinds(&file)
}

#[test]
fn factors_and_what_is_added_behind_them_become_weights() {
    let score = vec![
        node("Sub", &["x", "mean"], "d"),
        node("Div", &["d", "std"], "n"),
    ];
    assert_eq!(fused(score, |x, m, s| (x - m) / s), ["sub", "dense"]);
    let range = vec![
        node("Mul", &["x", "std"], "d"),
        node("Add", &["d", "mean"], "n"),
    ];
    assert_eq!(fused(range, |x, m, s| x * s + m), ["dense"]);
    let range = vec![
        node("Mul", &["x", "std"], "d"),
        node("Sub", &["d", "mean"], "n"),
    ];
    assert_eq!(fused(range, |x, m, s| x * s - m), ["dense"]);
    let twice = vec![
        node("Mul", &["x", "std"], "a"),
        node("Add", &["a", "mean"], "c"),
        node("Mul", &["c", "std"], "n"),
    ];
    assert_eq!(fused(twice, |x, m, s| (x * s + m) * s), ["dense"]);
}

#[test]
fn what_would_lose_digits_stays() {
    // A difference of what is as large as it likes.
    let sum = vec![node("Sub", &["x", "mean"], "n")];
    assert_eq!(fused(sum, |x, m, _| x - m), ["sub", "dense"]);
    // Weights that no normal number is.
    let small = vec![node("Mul", &["x", "tiny"], "n")];
    assert_eq!(fused(small, |x, _, _| x * TINY), ["mul", "dense"]);
    // What is read elsewhere.
    let twice = vec![
        node("Mul", &["x", "std"], "a"),
        node("Relu", &["a"], "c"),
        node("Add", &["a", "c"], "n"),
    ];
    let want = |x: f64, _: f64, s: f64| x * s + (x * s).max(0.0);
    assert_eq!(fused(twice, want), ["mul", "map", "add", "dense"]);
}

#[test]
fn codes_keep_the_factors_that_bring_all_inputs_into_one_range() {
    let nodes = vec![node("Mul", &["x", "std"], "n")];
    let onnx = Onnx::new(&bytes(&graph(nodes))).unwrap();
    let how = Calibration {
        samples: Some(Table::parse("samples", b"1,2,3,4\n-1,0,2,-3\n").unwrap()),
        method: Method::MinMax,
        bits: Bits::Eight,
    };
    let made = onnx_to_codes(&onnx, "net", None, &how).unwrap();
    assert_eq!(kinds(&made.file), ["mul", "dense"]);
}
