// SPDX-License-Identifier: GPL-2.0

//! The only files that see raw bindings and pointers: safe types over what the kernel exports and
//! over the C shim.
//!
//! Each file wraps one thing. What a wrapper needs to be sound stands in its `SAFETY` comments;
//! the rest of the module is safe code.

pub(crate) mod buf;
pub(crate) mod capi;
pub(crate) mod chardev;
pub(crate) mod cpu;
pub(crate) mod debugfs;
pub(crate) mod faux;
mod ffi;
pub(crate) mod fpu;
mod gate;
pub(crate) mod kick;
#[cfg(NEURAL_KUNIT)]
pub(crate) mod kunit;
pub(crate) mod loan;
pub(crate) mod param;
pub(crate) mod percpu;
pub(crate) mod profile;
pub(crate) mod rcu;
pub(crate) mod samples;
pub(crate) mod scratch;
pub(crate) mod slab;
pub(crate) mod text;
pub(crate) mod trace;
pub(crate) mod uabi;
pub(crate) mod work;
