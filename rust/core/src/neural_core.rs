// SPDX-License-Identifier: GPL-2.0

//! The engine of the `neural` module, free of any kernel.
//!
//! Everything that can be decided without a kernel stands here: numbers, activations, the model
//! file, execution plans, the prediction cache, statistics and settings. The same files are built
//! by cargo, where they are tested, fuzzed and timed, and by Kbuild, where the module calls them.
//!
//! What holds for the whole crate:
//!
//! * no allocation: the caller gives every buffer;
//! * no floating point outside tests, no `unsafe`, no panic path;
//! * integer overflow is a kernel BUG, so every operation that can overflow names what then
//!   happens (`wrapping_`, `saturating_`, `checked_`, or a wider type);
//! * inputs, outputs, weights and scratch memory are bytes that hold little-endian elements, so
//!   that further element types need no new callers;
//! * every function may be called from any context, interrupts included, unless it says otherwise.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod act;
pub mod cache;
pub mod config;
pub mod error;
pub mod fixed;
pub mod float;
pub mod init;
pub mod int16;
pub mod int8;
pub mod name;
pub mod nnm;
pub mod plan;
pub mod profile;
mod scalar;
pub mod stats;
pub mod trees;

pub use error::{Class, Error};
