// SPDX-License-Identifier: GPL-2.0

//! The TFLite files of `tests/vectors/tflite`: each is read as what its `.gold` file says, the
//! integers that follow from the scales are those that TensorFlow Lite Micro works with, and what
//! must be refused is refused in words that name the culprit.

#[path = "common/gold.rs"]
mod gold;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use gold::{files, indices, option, vectors, Gold};
use neural_core::int8::Multiplier;
use neuralctl::tflite::graph::{Graph, Kind, Op};
use neuralctl::tflite::{read, scales};

#[test]
fn files_are_read_as_their_golden_files_say() {
    let golden = files(&vectors(), ".gold");
    assert!(golden.len() >= 100, "{}", golden.len());
    let mut kinds = BTreeSet::new();
    for path in &golden {
        let name = path.display();
        let gold = Gold::read(path);
        let file = fs::read(path.with_extension("tflite")).unwrap();
        let graph = read(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(graph.tensors.len(), gold.tensors.len(), "{name}");
        let mut data = gold.data.as_slice();
        for (i, (have, want)) in graph.tensors.iter().zip(&gold.tensors).enumerate() {
            assert_eq!(have.dtype.name(), want[2], "{name}: {i}");
            let shape: Vec<usize> = match want[3].as_str() {
                "-" => vec![],
                text => text.split(',').map(|d| d.parse().unwrap()).collect(),
            };
            assert_eq!(have.shape, shape, "{name}: {i}");
            let bits: Option<Vec<u32>> = option(want, "scale").map(|text| {
                let words = text.split(',');
                words.map(|s| u32::from_str_radix(s, 16).unwrap()).collect()
            });
            let quant = have.quant.as_ref();
            let scale = quant.map(|q| q.scale.iter().map(|s| s.to_bits()).collect());
            assert_eq!(scale, bits, "{name}: {i}");
            if let Some(q) = quant {
                assert_eq!(q.zero.to_string(), option(want, "zero").unwrap());
                if q.scale.len() > 1 {
                    assert_eq!(q.axis.to_string(), option(want, "axis").unwrap());
                }
            }
            let role = want[4].as_str();
            assert_eq!(have.variable, role == "state", "{name}: {i}");
            assert_eq!(graph.inputs.contains(&i), role == "input", "{name}: {i}");
            assert_eq!(graph.outputs.contains(&i), role == "output", "{name}: {i}");
            assert_eq!(have.data.is_some(), role == "const", "{name}: {i}");
            if let Some(known) = have.data {
                let (want, rest) = data.split_at(known.len());
                assert_eq!(known, want, "{name}: {i}");
                data = rest;
            }
        }
        assert_eq!(graph.ops.len(), gold.ops.len(), "{name}");
        for (op, (words, _)) in graph.ops.iter().zip(&gold.ops) {
            assert_eq!(op.name, words[1], "{name}");
            assert_eq!(op.inputs, indices(option(words, "in").unwrap()), "{name}");
            let outputs: Vec<_> = op.outputs.iter().map(|o| Some(*o)).collect();
            assert_eq!(outputs, indices(option(words, "out").unwrap()), "{name}");
            check_options(op, words, &name.to_string());
            kinds.insert(op.name);
        }
    }
    // All but GELU, which has no golden file.
    assert_eq!(kinds.len(), 31, "{kinds:?}");
}

/// What of the options can be said in another way than the reader says it.
fn check_options(op: &Op, words: &[String], name: &str) {
    let number = |key: &str| -> usize { option(words, key).unwrap().parse().unwrap() };
    let float =
        |key: &str| f32::from_bits(u32::from_str_radix(option(words, key).unwrap(), 16).unwrap());
    let flag = |key: &str| number(key) == 1;
    if let Some(want) = option(words, "activation") {
        let have = match &op.kind {
            Kind::FullyConnected(a) | Kind::Conv2d(_, a) | Kind::DepthwiseConv2d(_, _, a) => {
                a.name()
            }
            Kind::AveragePool2d(_, a) | Kind::MaxPool2d(_, a) => a.name(),
            Kind::Add(a) | Kind::Sub(a) | Kind::Mul(a) => a.name(),
            Kind::Lstm(..) => "tanh",
            Kind::Concatenation(_) => "",
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(have, want.to_lowercase().replace("none", ""), "{name}");
    }
    match &op.kind {
        Kind::Conv2d(w, _) | Kind::DepthwiseConv2d(w, ..) => {
            assert_eq!(w.stride, [number("stride_h"), number("stride_w")], "{name}");
            assert_eq!(
                w.dilation,
                [number("dilation_h"), number("dilation_w")],
                "{name}"
            );
            if option(words, "padding") == Some("VALID") {
                assert_eq!(w.before, [0, 0], "{name}");
            }
        }
        Kind::AveragePool2d(w, _) | Kind::MaxPool2d(w, _) => {
            assert_eq!(w.stride, [number("stride_h"), number("stride_w")], "{name}");
            assert_eq!(w.size, [number("filter_h"), number("filter_w")], "{name}");
        }
        Kind::Softmax(beta) => assert_eq!(*beta, float("beta"), "{name}"),
        Kind::LeakyRelu(alpha) => assert_eq!(*alpha, float("alpha"), "{name}"),
        Kind::Mean(_, keep) => assert_eq!(*keep, flag("keep_dims"), "{name}"),
        Kind::Lstm(clip, time_major) => {
            assert_eq!(*clip, float("cell_clip"), "{name}");
            assert_eq!(*time_major, flag("time_major"), "{name}");
        }
        Kind::BatchMatmul(a, b) => assert_eq!([*a, *b], [flag("adj_x"), flag("adj_y")], "{name}"),
        Kind::ResizeNearest(a, b) => {
            let want = [flag("align_corners"), flag("half_pixel_centers")];
            assert_eq!([*a, *b], want, "{name}");
        }
        _ => (),
    }
}

/// The integers of an operator, by the names that they have in the `.gold` files.
fn derive(graph: &Graph<'_>, op: &Op) -> Option<BTreeMap<String, Vec<i32>>> {
    let mut all = BTreeMap::new();
    let mut put = |prefix: &str, list: &[Multiplier]| {
        let mults = list.iter().map(|m| m.mult).collect::<Vec<_>>();
        let shifts = list.iter().map(|m| -m.shift).collect::<Vec<_>>();
        all.insert(format!("{prefix}multiplier"), mults);
        all.insert(format!("{prefix}shift"), shifts);
    };
    let tensor = |at: usize| &graph.tensors[op.inputs[at].unwrap()];
    let y = &graph.tensors[op.outputs[0]];
    let (x_scale, y_scale) = (tensor(0).scale()?, y.scale()?);
    let mut clamp = None;
    let mut more = Vec::new();
    match &op.kind {
        Kind::FullyConnected(a) | Kind::Conv2d(_, a) | Kind::DepthwiseConv2d(_, _, a) => {
            let w = &tensor(1).quant.as_ref()?.scale;
            let dense = matches!(op.kind, Kind::FullyConnected(_)) && w.len() == 1;
            let of = if dense {
                scales::per_tensor
            } else {
                scales::per_channel
            };
            let list: Option<Vec<_>> = w.iter().map(|w| of(x_scale, *w, y_scale)).collect();
            put("", &list?);
            clamp = Some(*a);
        }
        Kind::BatchMatmul(..) => {
            put(
                "",
                &[scales::per_tensor(x_scale, tensor(1).scale()?, y_scale)?],
            );
        }
        Kind::Add(a) | Kind::Sub(a) => {
            let [first, second, sum] = scales::sum(x_scale, tensor(1).scale()?, y_scale)?;
            put("input1_", &[first]);
            put("input2_", &[second]);
            put("", &[sum]);
            clamp = Some(*a);
        }
        Kind::Mul(a) => {
            put("", &[scales::mul(x_scale, tensor(1).scale()?, y_scale)?]);
            clamp = Some(*a);
        }
        Kind::AveragePool2d(_, a) | Kind::MaxPool2d(_, a) => clamp = Some(*a),
        Kind::Quantize | Kind::Mean(..) => put("", &[scales::rescale(x_scale, y_scale)?]),
        Kind::Relu => {
            put("", &[scales::rescale(x_scale, y_scale)?]);
            clamp = Some(scales::Activation::Relu);
        }
        Kind::Relu6 => clamp = Some(scales::Activation::Relu6),
        Kind::LeakyRelu(alpha) => {
            let (above, below) = scales::leaky_relu(x_scale, *alpha, y_scale)?;
            put("", &[above]);
            put("alpha_", &[below]);
        }
        Kind::HardSwish => {
            let narrow = |m: Multiplier| Multiplier {
                mult: (m.mult.saturating_add(1 << 15) >> 16).min(32767),
                shift: m.shift,
            };
            let [output, gate] = scales::hard_swish(x_scale, y_scale)?.map(narrow);
            put("", &[output]);
            put("relu_", &[gate]);
        }
        Kind::Softmax(beta) => {
            let (m, least) = scales::softmax(x_scale, *beta)?;
            put("", &[m]);
            more.push(("diff_min", least));
        }
        Kind::LogSoftmax => {
            let (m, least) = scales::softmax(x_scale, 1.0)?;
            put("", &[m]);
            put("reverse_", &[scales::log_softmax_reverse(m)?]);
            more.push(("diff_min", least));
        }
        Kind::Logistic | Kind::Tanh => {
            let (m, radius) = scales::logistic(x_scale)?;
            put("", &[m]);
            more.push(("radius", radius));
        }
        Kind::Lstm(clip, _) => {
            let four = |first: usize| [0, 1, 2, 3].map(|k| tensor(first + k).scale().unwrap());
            let (h, c) = (tensor(18).scale()?, tensor(19).scale()?);
            let all = scales::lstm(x_scale, h, c, four(1), four(5), *clip)?;
            put("input_", &all.input);
            put("recurrent_", &all.recurrent);
            put("forget_cell_", &[all.forget_cell]);
            put("input_cell_", &[all.input_cell]);
            put("hidden_", &[all.hidden]);
            more.push(("cell_scale_log2", all.cell_log2));
            more.push(("cell_clip", all.cell_clip));
        }
        _ => return None,
    }
    match &op.kind {
        Kind::Conv2d(w, _)
        | Kind::DepthwiseConv2d(w, ..)
        | Kind::AveragePool2d(w, _)
        | Kind::MaxPool2d(w, _) => {
            let before = w.before.map(|n| i32::try_from(n).unwrap());
            all.insert("before".to_owned(), before.to_vec());
        }
        _ => (),
    }
    if let Some(activation) = clamp {
        let (low, high) = scales::clamp(activation, y_scale, y.zero());
        all.insert("clamp".to_owned(), vec![low, high]);
    }
    for (key, value) in more {
        all.insert(key.to_owned(), vec![value]);
    }
    Some(all)
}

#[test]
fn integers_are_those_that_the_golden_values_come_from() {
    let mut compared = 0;
    for path in files(&vectors(), ".gold") {
        let gold = Gold::read(&path);
        let file = fs::read(path.with_extension("tflite")).unwrap();
        let graph = read(&file).unwrap();
        for (op, (_, want)) in graph.ops.iter().zip(&gold.ops) {
            let have = derive(&graph, op).unwrap_or_default();
            assert_eq!(&have, want, "{}", path.display());
            compared += want.len();
        }
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn what_must_be_refused_is_refused_by_name() {
    let says = fs::read_to_string(vectors().join("refuse/says.txt")).unwrap();
    let mut wrong = Vec::new();
    for line in says.lines() {
        let (name, says) = line.split_once(' ').unwrap();
        let file = fs::read(vectors().join(format!("refuse/{name}.tflite"))).unwrap();
        match read(&file) {
            Ok(_) => wrong.push(format!("{name}: was taken")),
            Err(e) => {
                println!("{name}: {e}");
                if !e.to_string().contains(says) {
                    wrong.push(format!("{name}: wants {says}: {e}"));
                }
            }
        }
    }
    assert!(says.lines().count() > 25);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn gelu_is_read() {
    let file = fs::read(vectors().join("gelu_0.tflite")).unwrap();
    assert_eq!(read(&file).unwrap().ops[0].kind, Kind::Gelu(false));
}

/// The models of MLPerf Tiny, where `NEURAL_DATA` has them.
#[test]
fn models_of_others_are_read() {
    let Some(dir) = std::env::var_os("NEURAL_DATA").map(|d| PathBuf::from(d).join("models")) else {
        println!("SKIP: models: NEURAL_DATA is not set");
        return;
    };
    let models = [
        ("ad01_int8", (10, 264_192)),
        ("kws_int8", (13, 2_656_768)),
        ("ad01_fp32", (10, 264_192)),
        ("kws_fp32", (13, 2_656_768)),
    ];
    for (name, want) in models {
        let path = dir.join(format!("{name}.tflite"));
        let Ok(file) = fs::read(&path) else {
            println!("SKIP: {} is not there", path.display());
            continue;
        };
        let graph = read(&file).unwrap();
        assert_eq!((graph.ops.len(), graph.macs()), want, "{name}");
    }
}
