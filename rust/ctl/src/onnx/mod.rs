// SPDX-License-Identifier: GPL-2.0

//! From an ONNX file to a list of dense layers.
//!
//! What is read: a chain of Gemm or MatMul and Add with constant weights, each followed by at most
//! one activation, with Flatten, Reshape, Identity, Dropout and float Cast between them. All else
//! is refused with the name of the node or tensor and the reason; nothing is guessed.

mod chain;
mod graph;
pub mod guard;
mod node;
mod shape;
mod tensor;

use rten_onnx::onnx::ModelProto;

use crate::error::{Error, Result};
use crate::layers::Network;

/// Reads the network that computes `output`, or the only output there is.
pub fn import(file: &[u8], output: Option<&str>) -> Result<Network> {
    let refused = |why: String| Error::refused("onnx", why);
    let canonical = guard::canonical(file).map_err(refused)?;
    let model =
        ModelProto::parse_buf(&canonical).map_err(|e| refused(format!("no ONNX file: {e}")))?;
    drop(canonical);
    graph::import(&model, output)
}
