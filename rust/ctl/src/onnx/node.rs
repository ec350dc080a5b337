// SPDX-License-Identifier: GPL-2.0

//! A node of an ONNX graph: how it is named in error lines, and its attributes.

use rten_onnx::onnx::{AttributeProto, AttributeType, NodeProto, TensorProto};

use crate::error::Error;

/// A node and its place in the file.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) index: usize,
    pub(crate) proto: &'a NodeProto,
}

impl<'a> Node<'a> {
    pub(crate) fn op(&self) -> &'a str {
        self.proto.op_type.as_deref().unwrap_or("")
    }

    pub(crate) fn domain(&self) -> &'a str {
        self.proto.domain.as_deref().unwrap_or("")
    }

    /// The name of input `i`; `None` when it is left out.
    pub(crate) fn input(&self, i: usize) -> Option<&'a str> {
        self.proto
            .input
            .get(i)
            .map(String::as_str)
            .filter(|s| !s.is_empty())
    }

    pub(crate) fn output(&self) -> Option<&'a str> {
        self.proto
            .output
            .first()
            .map(String::as_str)
            .filter(|s| !s.is_empty())
    }

    /// All outputs, those that are left out without a name.
    pub(crate) fn outputs(&self) -> &'a [String] {
        &self.proto.output
    }

    /// How many inputs are listed.
    pub(crate) fn inputs(&self) -> usize {
        self.proto.input.len()
    }

    /// What the node is called.
    pub(crate) fn label(&self) -> String {
        match self.proto.name.as_deref() {
            None | Some("") => format!("node {} ({})", self.index, self.op()),
            Some(name) => format!("node '{name}' ({})", self.op()),
        }
    }

    /// A refusal that names this node.
    pub(crate) fn refused(&self, why: impl std::fmt::Display) -> Error {
        Error::refused(self.label(), why)
    }

    fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.proto
            .attribute
            .iter()
            .find(|a| a.name.as_deref() == Some(name))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> Result<f64, String> {
        let value = match self.attribute(name) {
            None => default,
            // A zero may be left out of the file; then the type tells.
            Some(a) => {
                a.f.or((a.r#type == Some(AttributeType::FLOAT)).then_some(0.0))
                    .ok_or_else(|| format!("attribute '{name}' is no float"))?
            }
        };
        if value.is_finite() {
            Ok(f64::from(value))
        } else {
            Err(format!("attribute '{name}' is {value}"))
        }
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        match self.attribute(name) {
            None => Ok(default),
            Some(a) => {
                a.i.or((a.r#type == Some(AttributeType::INT)).then_some(0))
                    .ok_or_else(|| format!("attribute '{name}' is no integer"))
            }
        }
    }

    /// An integer attribute that stands for yes or no.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.int(name, 0)? {
            0 => Ok(false),
            1 => Ok(true),
            v => Err(format!("attribute '{name}' is {v}, neither 0 nor 1")),
        }
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.attribute(name).and_then(|a| a.s.as_deref())
    }

    pub(crate) fn texts(&self, name: &str) -> &'a [String] {
        self.attribute(name).map_or(&[], |a| a.strings.as_slice())
    }

    pub(crate) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.attribute(name).map(|a| a.floats.as_slice())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.attribute(name).and_then(|a| a.t.as_ref())
    }
}
