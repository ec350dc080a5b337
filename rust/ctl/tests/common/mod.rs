// SPDX-License-Identifier: GPL-2.0

//! Builds ONNX files, for what the stored ones do not show.

// Each test program uses its own part of this.
#![allow(dead_code)]

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

/// A float constant; the values count up in eighths from `first`.
pub(crate) fn floats(name: &str, dims: &[i64], first: f32) -> TensorProto {
    let count: i64 = dims.iter().product();
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(DataType::FLOAT),
        float_data: (0..count).map(|i| first + i as f32 / 8.0).collect(),
        ..Default::default()
    }
}

/// An integer constant.
pub(crate) fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: vec![values.len() as i64],
        data_type: Some(DataType::INT64),
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

pub(crate) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(format!("the_{op}")),
        op_type: Some(op.to_owned()),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        r#type: Some(AttributeType::INT),
        ..Default::default()
    }
}

pub(crate) fn with(mut node: NodeProto, attribute: AttributeProto) -> NodeProto {
    node.attribute.push(attribute);
    node
}

/// A float value with a shape; -1 is an open axis.
pub(crate) fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let dim = shape.iter().map(|d| Dimension {
        dim_value: (*d >= 0).then_some(*d),
        dim_param: (*d < 0).then(|| "n".to_owned()),
    });
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor {
                elem_type: Some(DataType::FLOAT),
                shape: Some(TensorShapeProto { dim: dim.collect() }),
            }),
            ..Default::default()
        }),
    }
}

/// A model with the input `x` and the output `y`.
pub(crate) fn model(
    shape: &[i64],
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(17),
        }],
        graph: Some(GraphProto {
            node: nodes,
            initializer: constants,
            input: vec![value("x", shape)],
            output: vec![value("y", &[-1, -1])],
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn bytes(model: &ModelProto) -> Vec<u8> {
    model.write_buf().unwrap()
}
