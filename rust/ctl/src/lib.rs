// SPDX-License-Identifier: GPL-2.0

//! `neuralctl`: converts models, loads them into the `neural` module, predicts, reads statistics.
//!
//! The program is a library with a thin `main`, so that the converter can be fuzzed and the
//! commands be tested against a device that is no kernel.

#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod atomic;
pub mod cli;
pub mod cmd;
pub mod convert;
pub mod dev;
pub mod engine;
pub mod error;
mod fuse;
pub mod layers;
mod net;
pub mod npy;
pub mod onnx;
pub mod out;
pub mod port;
pub mod quantise;
pub mod reference;
pub mod table;
pub mod tflite;
pub mod uapi;
