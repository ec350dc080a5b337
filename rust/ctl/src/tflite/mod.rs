// SPDX-License-Identifier: GPL-2.0

//! TFLite files: from bytes that may hold anything to a graph that is checked.
//!
//! A file is a FlatBuffer. `flat` reads that format, `read` makes tensors and their wiring of it,
//! `ops` checks each operator against its tensors, `scales` derives the integers that the int8
//! operators compute with. `convert` makes a model file of a graph, with `codes` for what of it is
//! numbers.

pub(crate) mod codes;
mod convert;
mod flat;
pub mod graph;
mod ops;
mod read;
pub mod scales;
mod schema;

pub use convert::{convert, output, stored_as_codes};
pub use read::read;

/// Whether bytes say that they are a TFLite file.
pub fn is_tflite(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(schema::ID)
}
