// SPDX-License-Identifier: GPL-2.0

//! Graphs of floats and of codes that cannot be converted: each is refused in a line that names the
//! node and the reason.

mod common;

use common::{bytes, floats, int, ints, model, node, value, with};
use neuralctl::convert::{onnx_to_codes, onnx_to_floats, Calibration};
use neuralctl::onnx::Onnx;
use neuralctl::quantise::{Bits, Method};
use neuralctl::table::Table;
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, ModelProto, NodeProto, TensorProto,
};

fn refused(m: &ModelProto) -> String {
    let onnx = Onnx::new(&bytes(m)).unwrap();
    onnx_to_floats(&onnx, "net", None).unwrap_err().to_string()
}

fn codes(m: &ModelProto, samples: Option<&str>) -> String {
    let onnx = Onnx::new(&bytes(m)).unwrap();
    let how = Calibration {
        samples: samples.map(|text| Table::parse("samples", text.as_bytes()).unwrap()),
        method: Method::MinMax,
        bits: Bits::Eight,
    };
    let made = onnx_to_codes(&onnx, "net", None, &how);
    made.map_or_else(|e| e.to_string(), |_| String::new())
}

fn list(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        ints: values.to_vec(),
        r#type: Some(AttributeType::INTS),
        ..Default::default()
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        s: Some(value.to_owned()),
        r#type: Some(AttributeType::STRING),
        ..Default::default()
    }
}

/// An image of 2 channels, 4 rows and 3 columns.
fn image(nodes: Vec<NodeProto>) -> ModelProto {
    let constants = vec![
        floats("w", &[3, 2, 2, 2], 0.0),
        floats("b", &[3], 0.0),
        floats("two", &[2], 0.5),
        floats("zeros", &[1], 0.0),
        floats("row", &[4], 0.0),
        ints("one", &[1]),
        ints("far", &[9]),
        ints("shape", &[5, 5]),
        ints("pads", &[0, 0, -1, 0, 0, 0, 0, 0]),
    ];
    model(&[-1, 2, 4, 3], nodes, constants)
}

#[test]
fn nodes_of_floats_are_refused_by_name_and_reason() {
    let one = |op: &str, inputs: &[&str]| vec![node(op, inputs, "y")];
    let conv = |attribute| vec![with(node("Conv", &["x", "w"], "y"), attribute)];
    let lstm = |attribute| vec![with(node("LSTM", &["x", "w", "w"], "y"), attribute)];
    for (nodes, what) in [
        (
            one("Mish", &["x"]),
            "the_Mish' (Mish): this operator is not supported",
        ),
        (
            one("Relu", &["nowhere"]),
            "(Relu): reads 'nowhere', which nothing before it computes",
        ),
        (one("Relu", &[]), "(Relu): has no input 0"),
        (one("Relu", &["w"]), "(Relu): works on constant 'w'"),
        (one("Conv", &["x", "x"]), "(Conv): its weights is computed"),
        (one("Conv", &["x"]), "(Conv): its weights is missing"),
        (one("Conv", &["x", "two"]), "weights 'two' have shape [2]"),
        (
            one("Conv", &["x", "w", "two"]),
            "bias 'two' of shape [2] does not fit 3 outputs",
        ),
        (conv(int("group", 2)), "do not fit 2 channels in 2 groups"),
        (conv(int("group", -1)), "in 0 groups"),
        (conv(list("strides", &[0, 1])), "with stride 0"),
        (conv(list("strides", &[1])), "'strides' is [1], not 2 sizes"),
        (
            conv(list("dilations", &[9, 9])),
            "dilation 9 does not fit 4",
        ),
        (
            conv(list("pads", &[-1, 0, 0, 0])),
            "'pads' is [-1, 0, 0, 0]",
        ),
        (
            conv(list("kernel_shape", &[3, 3])),
            "kernel_shape [3, 3] is not that of weights",
        ),
        (
            conv(text("auto_pad", "SOME")),
            "auto_pad 'SOME' is not supported",
        ),
        (one("MaxPool", &["x"]), "window 0 with stride 1"),
        (one("Gemm", &["x", "w"]), "its input is no matrix"),
        (
            one("MatMul", &["x", "w"]),
            "'w' of shape [3, 2, 2, 2] are no matrix",
        ),
        (
            one("MatMul", &["x", "x"]),
            "is no attention, which alone is supported",
        ),
        (one("Div", &["b", "x"]), "divides by what is computed"),
        (one("Div", &["x", "zeros"]), "divides by 0 of 'zeros'"),
        (
            one("Add", &["x", "row"]),
            "a constant of shape [4] does not fit [1, 2, 4, 3]",
        ),
        (one("Add", &["x", "w"]), "does not fit [1, 2, 4, 3]"),
        (
            one("Pow", &["x", "two"]),
            "exponent [0.5, 0.625] is not supported",
        ),
        (one("Erf", &["x"]), "is supported in GELU only"),
        (
            one("Reshape", &["x", "shape"]),
            "cannot reshape [1, 2, 4, 3] to [5, 5]",
        ),
        (
            one("Gather", &["x", "far"]),
            "axis 9 does not exist in 1 axes",
        ),
        (one("Squeeze", &["x", "one"]), "squeezes axes"),
        (
            one("Pad", &["x", "pads"]),
            "cut off, which is not supported",
        ),
        (
            one("DequantizeLinear", &["x", "two"]),
            "works on what no QuantizeLinear has made",
        ),
        (
            one("QuantizeLinear", &["x", "two"]),
            "has several scales for a value",
        ),
        (
            one("QuantizeLinear", &["x", "zeros"]),
            "scale 0 and zero point -128 are not supported",
        ),
        (
            vec![with(
                node("Transpose", &["x"], "y"),
                list("perm", &[0, 1, 1, 2]),
            )],
            "is not one of 4 axes",
        ),
        (
            vec![with(node("Concat", &["x", "x"], "y"), int("axis", 7))],
            "axis 7 does not exist in 4 axes",
        ),
        (
            vec![with(node("Softmax", &["x"], "y"), int("axis", -5))],
            "axis -5 does not exist",
        ),
        (
            lstm(text("direction", "bidirectional")),
            "a direction other than forward",
        ),
        (lstm(int("layout", 2)), "'layout' is 2, neither 0 nor 1"),
        (
            one("LSTM", &["x", "w", "w"]),
            "has an input of shape [1, 2, 4, 3]",
        ),
        (
            one("GRU", &["x", "w", "w"]),
            "linear_before_reset=0 is not supported",
        ),
        (
            vec![
                node("Relu", &["x"], "t"),
                node("Relu", &["x"], "t"),
                node("Relu", &["t"], "y"),
            ],
            "computes 't', which another node computes too",
        ),
    ] {
        let line = refused(&image(nodes));
        assert!(line.contains(what), "{what} not in: {line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn inputs_without_a_shape_or_of_other_types_are_refused() {
    let relu = || vec![node("Relu", &["x"], "y")];
    let line = refused(&model(&[-1, -1], relu(), vec![]));
    assert_eq!(
        line,
        "input 'x': has shape [?, ?]: more than the batch is open"
    );
    let line = refused(&model(&[1, 2, 3, 4, 5, 6], relu(), vec![]));
    assert!(line.contains("has 5 dimensions, not 1 to 4"), "{line}");
    let mut m = model(&[1, 4], relu(), vec![]);
    let graph = m.graph.as_mut().unwrap();
    graph.input.push(value("z", &[1, 4]));
    assert!(refused(&m).contains("2 inputs (x, z)"));
    let graph = m.graph.as_mut().unwrap();
    graph.input.pop();
    let tensor = graph.input[0].r#type.as_mut().unwrap();
    tensor.tensor_type.as_mut().unwrap().elem_type = Some(DataType::DOUBLE);
    assert!(refused(&m).contains("has elements of type DOUBLE"));
}

#[test]
fn numbers_that_are_none_are_refused() {
    let tensor = TensorProto {
        float_data: vec![1.0, f32::NAN],
        ..floats("v", &[2], 0.0)
    };
    let m = model(&[1, 2], vec![node("Mul", &["x", "v"], "y")], vec![tensor]);
    let line = refused(&m);
    assert!(
        line.contains("tensor 'v' has an element 1 that is no number"),
        "{line}"
    );
}

#[test]
fn codes_need_samples_that_fit() {
    let m = model(&[1, 2], vec![node("Relu", &["x"], "y")], vec![]);
    assert!(
        codes(&m, None).contains("needs --samples"),
        "{}",
        codes(&m, None)
    );
    assert!(codes(&m, Some("1,2,3\n")).contains("has 3 columns, the network has 2"));
    assert_eq!(codes(&m, Some("1,2\n3,4\n")), "");
    let m = model(&[1, 2], vec![node("LogSoftmax", &["x"], "y")], vec![]);
    let line = codes(&m, Some("1,2\n"));
    let want = "node 'the_LogSoftmax' (LogSoftmax): kind: 'log_softmax' has no counterpart in i8";
    assert_eq!(line, want);
    // Ranges beyond all numbers do not stop it, samples that are none do.
    let m = model(&[1, 2], vec![node("Exp", &["x"], "y")], vec![]);
    assert_eq!(codes(&m, Some("1e300,-1e300\n")), "");
    assert!(codes(&m, Some("nan,1\n")).contains("NaN is no number"));
}

#[test]
fn values_without_codes_are_named() {
    let codes_of = |name: &str, x: &str| {
        vec![
            node(
                "QuantizeLinear",
                &[x, "scale", "zero"],
                &format!("{name}_q"),
            ),
            node(
                "DequantizeLinear",
                &[&format!("{name}_q"), "scale", "zero"],
                name,
            ),
        ]
    };
    let zero = TensorProto {
        data_type: Some(DataType::INT8),
        dims: vec![],
        int32_data: vec![3],
        int64_data: vec![],
        ..ints("zero", &[3])
    };
    let scale = TensorProto {
        dims: vec![],
        ..floats("scale", &[1], 0.5)
    };
    let constants = vec![scale, zero, floats("w", &[2, 2], -0.25)];
    let mut nodes = codes_of("a", "x");
    nodes.push(node("MatMul", &["a", "w"], "m"));
    nodes.push(node("Softmax", &["m"], "s"));
    nodes.extend(codes_of("y", "s"));
    let line = codes(&model(&[1, 2], nodes.clone(), constants.clone()), None);
    assert_eq!(line, "node 'the_MatMul' (MatMul): output: is not quantised");
    nodes.truncate(3);
    nodes.push(node("Relu", &["m"], "r"));
    nodes.extend(codes_of("y", "r"));
    assert_eq!(codes(&model(&[1, 2], nodes, constants), None), "");
}
