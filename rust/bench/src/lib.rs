// SPDX-License-Identifier: GPL-2.0

//! Networks in user space, made from floats and run by the engine as the kernel module runs it.
//!
//! The path is the module's: model file, check, plan, packed weights, preallocated scratch. Nothing
//! between input bytes and output bytes is left out or added, so that what is tested and timed here
//! is what runs in the kernel.

#![forbid(unsafe_code)]

pub mod cache;
pub mod network;
pub mod npy;
