// SPDX-License-Identifier: GPL-2.0

//! Follows the one value that runs through an ONNX graph and collects the layers on its way.

use std::collections::{HashMap, HashSet};

use rten_onnx::onnx::{DataType, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::chain::Importer;
use super::node::Node;
use super::shape::Shape;
use crate::error::{Error, Result};
use crate::layers::Network;

/// A graph and what is wanted of it, ready to be followed.
pub(super) struct Wanted<'a> {
    pub(super) opset: i64,
    pub(super) initializers: HashMap<&'a str, &'a TensorProto>,
    /// The nodes that the output needs, in order.
    pub(super) nodes: Vec<Node<'a>>,
    /// Name, type and shape of the input.
    pub(super) input: (&'a str, DataType, Option<Shape>),
    pub(super) output: &'a str,
}

/// Operator set versions from which on the operators mean what is implemented here.
const MIN_OPSET: i64 = 7;

/// Looks for what computes `output`, or the only output there is.
pub(super) fn wanted<'a>(model: &'a ModelProto, output: Option<&str>) -> Result<Wanted<'a>> {
    let refused = |why: String| Error::refused("onnx", why);
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| refused("no ONNX file: it holds no graph".to_owned()))?;
    let opset = opset(model).map_err(refused)?;
    let initializers: HashMap<&str, &TensorProto> = graph
        .initializer
        .iter()
        .map(|t| (t.name.as_deref().unwrap_or(""), t))
        .collect();
    let output = output_name(graph, output).map_err(refused)?;
    let needed = needed(graph, output)?;
    let nodes = graph.node.iter().enumerate();
    let nodes = nodes.map(|(index, proto)| Node { index, proto });
    Ok(Wanted {
        opset,
        nodes: nodes.filter(|n| needed.contains(&n.index)).collect(),
        input: input(graph, &initializers)?,
        initializers,
        output,
    })
}

/// Reads the layers that compute the output.
pub(super) fn import(wanted: Wanted<'_>) -> Result<Network> {
    let (value, element, shape) = wanted.input;
    let mut importer = Importer::new(wanted.opset, wanted.initializers, value, shape, element);
    for node in wanted.nodes {
        importer.node(node)?;
    }
    if importer.value != wanted.output {
        return Err(Error::refused(
            format!("output '{}'", wanted.output),
            "is not computed from the input",
        ));
    }
    if importer.layers.is_empty() {
        return Err(Error::refused(
            "onnx",
            "the graph has no Gemm and no MatMul, so no layer",
        ));
    }
    Ok(Network {
        layers: importer.layers,
    })
}

fn opset(model: &ModelProto) -> std::result::Result<i64, String> {
    let version = model
        .opset_import
        .iter()
        .filter(|o| is_standard(o.domain.as_deref().unwrap_or("")))
        .map(|o| o.version.unwrap_or(0))
        .max()
        .ok_or("no ONNX file: it names no operator set")?;
    if version < MIN_OPSET {
        return Err(format!(
            "operator set {version} is too old, {MIN_OPSET} is the first supported"
        ));
    }
    Ok(version)
}

pub(super) fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

fn output_name<'a>(
    graph: &'a GraphProto,
    wanted: Option<&str>,
) -> std::result::Result<&'a str, String> {
    let names: Vec<&str> = graph
        .output
        .iter()
        .filter_map(|o| o.name.as_deref())
        .collect();
    match (wanted, names.as_slice()) {
        (_, []) => Err("the graph has no output".to_owned()),
        (None, [one]) => Ok(one),
        (None, _) => Err(format!(
            "the graph has {} outputs ({}); choose one with --output-name",
            names.len(),
            names.join(", ")
        )),
        (Some(wanted), _) => names
            .iter()
            .find(|n| **n == wanted)
            .copied()
            .ok_or_else(|| {
                format!(
                    "no output is called '{wanted}'; there is: {}",
                    names.join(", ")
                )
            }),
    }
}

/// The nodes that `output` depends on.
fn needed(graph: &GraphProto, output: &str) -> Result<HashSet<usize>> {
    let mut by_output: HashMap<&str, usize> = HashMap::new();
    for (index, proto) in graph.node.iter().enumerate() {
        for name in proto.output.iter().filter(|n| !n.is_empty()) {
            if by_output.insert(name, index).is_some() {
                let why = format!("computes '{name}', which another node computes too");
                return Err(Node { index, proto }.refused(why));
            }
        }
    }
    let mut needed = HashSet::new();
    let mut names = vec![output];
    while let Some(name) = names.pop() {
        let Some(index) = by_output.get(name) else {
            continue;
        };
        if needed.insert(*index) {
            let inputs = graph.node.get(*index).map(|n: &NodeProto| n.input.iter());
            names.extend(inputs.into_iter().flatten().map(String::as_str));
        }
    }
    Ok(needed)
}

/// Name and shape of the only input that is no constant.
fn input<'a>(
    graph: &'a GraphProto,
    initializers: &HashMap<&str, &TensorProto>,
) -> Result<(&'a str, DataType, Option<Shape>)> {
    // Old files list their constants among the inputs.
    let inputs: Vec<&ValueInfoProto> = graph
        .input
        .iter()
        .filter(|i| !initializers.contains_key(i.name.as_deref().unwrap_or("")))
        .collect();
    let [input] = inputs.as_slice() else {
        let names: Vec<&str> = inputs.iter().filter_map(|i| i.name.as_deref()).collect();
        let why = format!(
            "the graph has {} inputs ({}), one is supported",
            names.len(),
            names.join(", ")
        );
        return Err(Error::refused("onnx", why));
    };
    let name = input.name.as_deref().unwrap_or("");
    let refused = |why: String| Err(Error::refused(format!("input '{name}'"), why));
    let Some(tensor) = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return refused("is no tensor".to_owned());
    };
    let element = match tensor.elem_type {
        Some(element @ (DataType::FLOAT | DataType::DOUBLE)) => element,
        other => {
            let other = other.map_or("none".to_owned(), |t| t.to_string());
            return refused(format!(
                "has elements of type {other}, only FLOAT and DOUBLE are supported"
            ));
        }
    };
    let shape = tensor.shape.as_ref().map(|s| {
        // Some writers put 0 or -1 where an axis is open.
        let axis = |v: i64| usize::try_from(v).ok().filter(|v| *v > 0);
        Shape(s.dim.iter().map(|d| d.dim_value.and_then(axis)).collect())
    });
    if shape.as_ref().is_some_and(|s| s.0.is_empty()) {
        return refused("is a single number without axes".to_owned());
    }
    Ok((name, element, shape))
}
