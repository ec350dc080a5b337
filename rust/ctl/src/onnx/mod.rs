// SPDX-License-Identifier: GPL-2.0

//! From an ONNX file to a list of dense layers, or to a network of single precision.
//!
//! Two readers share the way to the graph. `chain` takes a chain of Gemm or MatMul and Add with
//! constant weights, each followed by at most one activation, for Q16.16. `float` takes graphs with
//! many more operators, and what QuantizeLinear and DequantizeLinear say about codes. All else
//! is refused with the name of the node or tensor and the reason; nothing is guessed.

mod chain;
mod float;
mod graph;
pub mod guard;
mod node;
mod shape;
mod tensor;

use rten_onnx::onnx::ModelProto;

use crate::error::{Error, Result};
use crate::layers::Network;
use crate::quantise::Source;

/// A file whose structure was checked.
pub struct Onnx(ModelProto);

/// What a graph is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Dense layers, as the reader for Q16.16 takes them.
    Dense,
    /// Anything else in floating point.
    Floats,
    /// It quantises values to 8 bits.
    Codes,
}

impl Onnx {
    /// Reads a file; nothing in it can do worse than be refused.
    pub fn new(file: &[u8]) -> Result<Self> {
        let refused = |why: String| Error::refused("onnx", why);
        let canonical = guard::canonical(file).map_err(refused)?;
        let model = ModelProto::parse_buf(&canonical);
        model
            .map(Self)
            .map_err(|e| refused(format!("no ONNX file: {e}")))
    }

    /// The dense layers that compute `output`, or the only output there is.
    pub fn layers(&self, output: Option<&str>) -> Result<Network> {
        graph::import(graph::wanted(&self.0, output)?)
    }

    /// The network of single precision that computes `output`.
    pub(crate) fn floats(&self, output: Option<&str>) -> Result<Source<'static>> {
        float::import(graph::wanted(&self.0, output)?)
    }

    /// What the nodes that `output` needs ask for.
    pub fn made(&self, output: Option<&str>) -> Result<Made> {
        let wanted = graph::wanted(&self.0, output)?;
        let has = |ops: &[&str]| wanted.nodes.iter().any(|n| ops.contains(&n.op()));
        Ok(if has(&["QuantizeLinear", "DequantizeLinear"]) {
            Made::Codes
        } else if wanted
            .nodes
            .iter()
            .all(|n| chain::OPERATORS.contains(&n.op()))
        {
            Made::Dense
        } else {
            Made::Floats
        })
    }
}

/// Reads the network that computes `output`, or the only output there is.
pub fn import(file: &[u8], output: Option<&str>) -> Result<Network> {
    Onnx::new(file)?.layers(output)
}
