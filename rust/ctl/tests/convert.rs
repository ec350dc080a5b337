// SPDX-License-Identifier: GPL-2.0

//! Conversion of graphs that are built here: spellings, refusals, and what a file may cost.

mod common;

use common::{bytes, floats, int, ints, model, node, value, with};
use neuralctl::convert::{convert, Converted};
use neuralctl::engine::Engine;
use neuralctl::layers::Act;
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, ModelProto, NodeProto, TensorProto,
};

fn taken(m: &ModelProto) -> Converted {
    convert(&bytes(m), "net", None).unwrap()
}

fn refused(m: &ModelProto) -> String {
    convert(&bytes(m), "net", None).unwrap_err().to_string()
}

/// A dense layer of 4 inputs and 2 outputs between nodes that go before and after it.
fn around(shape: &[i64], before: Vec<NodeProto>, after: Vec<NodeProto>) -> ModelProto {
    let from = before
        .last()
        .map_or("x", |n| n.output[0].as_str())
        .to_owned();
    let to = if after.is_empty() { "y" } else { "s" };
    let mut nodes = before;
    nodes.push(node("Gemm", &[&from, "w", "b"], to));
    nodes.extend(after);
    let shape_constants = ints("flat", &[-1, 4]);
    model(
        shape,
        nodes,
        vec![
            floats("w", &[4, 2], -0.5),
            floats("b", &[2], 1.0),
            shape_constants,
        ],
    )
}

#[test]
fn a_layer_computed_by_hand() {
    // W = [[-4/8, -3/8], [-2/8, -1/8], [0, 1/8], [2/8, 3/8]] as [in, out], b = [1, 1.125]
    let converted = taken(&around(&[-1, 4], vec![], vec![]));
    let out = converted.network.eval(&[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(
        out,
        [1.0 - 0.5 - 0.5 + 1.0, 1.125 - 0.375 - 0.25 + 0.375 + 1.5]
    );
    let mut engine = Engine::new(&converted.file).unwrap();
    let q16: Vec<i32> = [1, 2, 3, 4].map(|v| v << 16).to_vec();
    assert_eq!(
        engine.predict(&q16).unwrap(),
        [65536, (2.375 * 65536.0) as i32]
    );
    assert_eq!(converted.total_rounding().max, 0.0);
    assert_eq!(converted.total_rounding().count, 10);
}

#[test]
fn nodes_that_change_nothing_are_passed_through() {
    let plain = taken(&around(&[-1, 4], vec![], vec![]));
    let dropout = || node("Dropout", &["x"], "d");
    for (shape, before) in [
        (&[-1i64, 4][..], vec![node("Identity", &["x"], "i")]),
        (&[-1, 4], vec![dropout()]),
        (
            &[-1, 4],
            vec![with(node("Cast", &["x"], "c"), int("to", 1))],
        ),
        (&[-1, 2, 2], vec![node("Flatten", &["x"], "f")]),
        (&[-1, 2, 2], vec![node("Reshape", &["x", "flat"], "r")]),
        (&[1, 2, 2], vec![node("Reshape", &["x", "flat"], "r")]),
        (&[7, 4], vec![]),
    ] {
        let converted = taken(&around(shape, before, vec![]));
        assert_eq!(converted.file, plain.file, "{shape:?}");
    }
}

#[test]
fn weights_may_be_transposed_and_named_anew() {
    let mut m = around(&[-1, 4], vec![], vec![]);
    let plain = taken(&m).file;
    let graph = m.graph.as_mut().unwrap();
    let w = graph.initializer[0].float_data.clone();
    graph.initializer[0].dims = vec![2, 4];
    graph.initializer[0].float_data = [0, 2, 4, 6, 1, 3, 5, 7].map(|i| w[i]).to_vec();
    let gemm = graph.node[0].clone();
    let mut transposed = gemm.clone();
    transposed.input[1] = "w2".to_owned();
    graph.node = vec![
        node("Identity", &["w"], "w1"),
        node("Transpose", &["w1"], "w2"),
        transposed,
    ];
    assert_eq!(taken(&m).file, plain);
    let graph = m.graph.as_mut().unwrap();
    graph.node = vec![with(gemm, int("transB", 1))];
    assert_eq!(taken(&m).file, plain);
}

#[test]
fn activations_and_their_attributes() {
    let leaky = |f: Option<f32>, t| AttributeProto {
        name: Some("alpha".to_owned()),
        f,
        r#type: Some(t),
        ..Default::default()
    };
    for (after, act) in [
        (node("Relu", &["s"], "y"), Act::Relu),
        (
            node("LeakyRelu", &["s"], "y"),
            Act::LeakyRelu(f64::from(0.01f32)),
        ),
        // A zero may be left out by writers of protobuf 3.
        (
            with(
                node("LeakyRelu", &["s"], "y"),
                leaky(None, AttributeType::FLOAT),
            ),
            Act::LeakyRelu(0.0),
        ),
        (node("Softmax", &["s"], "y"), Act::Softmax),
    ] {
        let converted = taken(&around(&[-1, 4], vec![], vec![after]));
        assert_eq!(converted.network.layers[0].act, act);
    }
    for (attribute, why) in [
        (
            leaky(Some(40000.0), AttributeType::FLOAT),
            "slope 40000 is outside",
        ),
        (
            leaky(Some(f32::INFINITY), AttributeType::FLOAT),
            "'alpha' is inf",
        ),
        (leaky(None, AttributeType::INT), "'alpha' is no float"),
    ] {
        let after = with(node("LeakyRelu", &["s"], "y"), attribute);
        let line = refused(&around(&[-1, 4], vec![], vec![after]));
        assert!(line.contains(why), "{line}");
    }
}

#[test]
fn refusals_name_the_node_and_the_reason() {
    let gemm = |inputs: &[&str]| vec![node("Gemm", inputs, "y")];
    let two_relus = vec![node("Relu", &["s"], "t"), node("Relu", &["t"], "y")];
    let late_bias = vec![node("Relu", &["s"], "t"), node("Add", &["t", "b"], "y")];
    let training = || {
        let mut m = around(
            &[-1, 4],
            vec![node("Dropout", &["x", "", "yes"], "d")],
            vec![],
        );
        m.graph
            .as_mut()
            .unwrap()
            .initializer
            .push(ints("yes", &[1]));
        m
    };
    let constants = || {
        vec![
            floats("w", &[4, 2], 0.0),
            floats("b", &[2], 0.0),
            floats("v", &[4], 0.0),
        ]
    };
    let of = |nodes| model(&[-1, 4], nodes, constants());
    for (m, what) in [
        (
            of(gemm(&["w", "x"])),
            "the_Gemm' (Gemm): its first input is constant",
        ),
        (of(gemm(&["x", "x"])), "its weight matrix is computed"),
        (of(gemm(&["x"])), "its weight matrix is missing"),
        (of(gemm(&["x", "w", "x"])), "its bias is computed"),
        (
            of(vec![node("MatMul", &["w", "x"], "y")]),
            "weights x input",
        ),
        (
            of(vec![node("MatMul", &["x", "v"], "y")]),
            "'v' of shape [4] are no matrix",
        ),
        (
            of(vec![node("Relu", &["x"], "y")]),
            "no Gemm or MatMul stands before it",
        ),
        (of(vec![node("Relu", &[], "y")]), "has no input"),
        (of(vec![node("Relu", &["b"], "y")]), "works on constant 'b'"),
        (
            of(vec![node("Add", &["x", "b"], "y")]),
            "adds 'b' where no Gemm",
        ),
        (
            of(vec![node("Add", &["x", "x"], "y")]),
            "adds two computed values",
        ),
        (
            of(vec![node("Identity", &["x"], "y")]),
            "no Gemm and no MatMul",
        ),
        (
            around(&[-1, 4], vec![], two_relus),
            "follows another activation",
        ),
        (
            around(&[-1, 4], vec![], late_bias),
            "adds 'b' where no Gemm",
        ),
        (training(), "'the_Dropout' (Dropout): is in training mode"),
        (around(&[4], vec![], vec![]), "its input is no matrix"),
        (
            around(&[-1, 2, 2], vec![], vec![]),
            "its input is no matrix",
        ),
        (around(&[], vec![], vec![]), "input 'x': is a single number"),
        (
            of(vec![with(node("Gemm", &["x", "w"], "y"), int("transB", 2))]),
            "attribute 'transB' is 2",
        ),
        (
            of(vec![with(node("Gemm", &["x", "w"], "y"), int("transA", 1))]),
            "the_Gemm' (Gemm): transA=1",
        ),
    ] {
        let line = refused(&m);
        assert!(line.contains(what), "{what} not in: {line}");
    }
    // Two writers of one value, of which a chain would silently take the one that comes last.
    let twice = vec![
        node("MatMul", &["x", "w"], "s"),
        node("MatMul", &["x", "w"], "s"),
        node("Relu", &["s"], "y"),
    ];
    let line = refused(&of(twice));
    assert!(
        line.contains("computes 's', which another node computes too"),
        "{line}"
    );
    let mut m = around(&[-1, 4], vec![], vec![]);
    m.graph.as_mut().unwrap().node[0].name = None;
    m.graph.as_mut().unwrap().node[0].op_type = Some("Gelu".to_owned());
    assert_eq!(refused(&m), "node 0 (Gelu): this operator is not supported");
}

#[test]
fn old_operator_sets_and_integer_inputs_are_refused() {
    let mut m = around(&[-1, 4], vec![], vec![]);
    m.opset_import[0].version = Some(6);
    assert!(refused(&m).contains("operator set 6 is too old"));
    m.opset_import.clear();
    assert!(refused(&m).contains("no operator set"));
    let mut m = around(&[-1, 4], vec![], vec![]);
    let input = &mut m.graph.as_mut().unwrap().input[0];
    let tensor = input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    tensor.elem_type = Some(DataType::INT64);
    assert!(refused(&m).starts_with("input 'x': has elements of type INT64"));
}

#[test]
fn softmax_before_version_13_goes_from_its_axis_to_the_end() {
    for (version, axis, fine) in [
        (17, None, true),
        (17, Some(0), false),
        (11, None, true),
        (11, Some(0), false),
    ] {
        let softmax = node("Softmax", &["s"], "y");
        let softmax = match axis {
            Some(axis) => with(softmax, int("axis", axis)),
            None => softmax,
        };
        let mut m = around(&[-1, 4], vec![], vec![softmax]);
        m.opset_import[0].version = Some(version);
        assert_eq!(
            convert(&bytes(&m), "net", None).is_ok(),
            fine,
            "{version} {axis:?}"
        );
    }
}

#[test]
fn one_of_several_outputs_can_be_chosen() {
    let after = vec![node("Relu", &["s"], "y"), node("ArgMax", &["y"], "class")];
    let mut m = around(&[-1, 4], vec![], after);
    let outputs = &mut m.graph.as_mut().unwrap().output;
    outputs.push(value("class", &[-1]));
    assert!(refused(&m).contains("2 outputs (y, class)"));
    let file = bytes(&m);
    let converted = convert(&file, "net", Some("y")).unwrap();
    assert_eq!(converted.network.layers[0].act, Act::Relu);
    let line = convert(&file, "net", Some("class"))
        .unwrap_err()
        .to_string();
    assert!(line.contains("(ArgMax)"), "{line}");
    let line = convert(&file, "net", Some("z")).unwrap_err().to_string();
    assert!(line.contains("there is: y, class"), "{line}");
}

#[test]
fn names_and_rows_that_no_kernel_takes_are_refused() {
    let file = bytes(&around(&[-1, 4], vec![], vec![]));
    assert!(convert(&file, "a b", None).is_err());
    assert!(convert(&file, "", None).is_err());
    // Each weight fits, their sum in one row does not.
    let heavy = |w: f32| {
        let mut w4 = floats("w", &[4, 2], 0.0);
        w4.float_data = vec![w; 8];
        model(&[-1, 4], vec![node("MatMul", &["x", "w"], "y")], vec![w4])
    };
    let line = refused(&heavy(16384.0));
    assert!(
        line.contains("tensor 'w': the weights of output 0 are too large: together 65536"),
        "{line}"
    );
    assert!(convert(&bytes(&heavy(16383.0)), "net", None).is_ok());
}

#[test]
fn a_small_file_cannot_ask_for_much_work() {
    // One large tensor, used again and again.
    let big = TensorProto {
        dims: vec![4096, 4096],
        float_data: vec![0.0; 4096 * 4096],
        ..floats("w", &[0], 0.0)
    };
    let mut nodes = Vec::new();
    for i in 0..40 {
        let from = if i == 0 {
            "x".to_owned()
        } else {
            format!("v{i}")
        };
        nodes.push(node("MatMul", &[&from, "w"], &format!("v{}", i + 1)));
    }
    nodes.push(node("Identity", &["v40"], "y"));
    let line = refused(&model(&[-1, 4096], nodes, vec![big]));
    assert!(line.contains("more than 67108864 weights"), "{line}");
}
