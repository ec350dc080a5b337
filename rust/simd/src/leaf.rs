// SPDX-License-Identifier: GPL-2.0

//! The vector code itself.
//!
//! In the kernel this file is the root of a crate of its own, compiled for a target that has vector
//! registers; under cargo it is a module. It keeps to rules that the kernel sets: functions are
//! `extern "C"` and take one pointer, call nothing outside, cannot panic, use little stack, and are entered
//! only where vector registers may be used.
//!
//! Files named after an instruction set say how its vectors do a step (the trait [`vector::Isa`]);
//! files named after an operation say what the steps are, once for all instruction sets. Everything
//! is inlined into the exported functions, which name the CPU features they need.

#![cfg_attr(NEURAL_LEAF, no_std)]
#![cfg_attr(NEURAL_LEAF, feature(avx512_target_feature, stdarch_x86_avx512))]
#![cfg_attr(NEURAL_LEAF, allow(stable_features))]
// Intrinsics became safe in later compilers.
#![allow(unused_unsafe)]

#[cfg(NEURAL_LEAF)]
mod args;
#[cfg(NEURAL_LEAF)]
pub mod f32_args;

#[path = "leaf/vector.rs"]
#[macro_use]
mod vector;

#[path = "leaf/position.rs"]
mod position;

#[path = "leaf/avx2.rs"]
mod avx2;
#[path = "leaf/avx512.rs"]
mod avx512;

#[path = "leaf/codes.rs"]
#[macro_use]
mod codes;

#[path = "leaf/chain.rs"]
pub(crate) mod chain;
#[path = "leaf/depthwise.rs"]
pub(crate) mod depthwise;
#[path = "leaf/elements.rs"]
pub(crate) mod elements;
#[path = "leaf/gemm.rs"]
pub(crate) mod gemm;
#[path = "leaf/lstm.rs"]
pub(crate) mod lstm;
#[path = "leaf/pool.rs"]
pub(crate) mod pool;
#[path = "leaf/softmax.rs"]
pub(crate) mod softmax;

#[path = "leaf/f32_vector.rs"]
#[macro_use]
mod f32_vector;

#[path = "leaf/f32_cell.rs"]
pub(crate) mod f32_cell;
#[path = "leaf/f32_chain.rs"]
pub(crate) mod f32_chain;
#[path = "leaf/f32_dnc.rs"]
pub(crate) mod f32_dnc;
#[path = "leaf/f32_few.rs"]
mod f32_few;
#[path = "leaf/f32_gemm.rs"]
pub(crate) mod f32_gemm;
#[path = "leaf/f32_map.rs"]
pub(crate) mod f32_map;
#[path = "leaf/f32_math.rs"]
mod f32_math;
#[path = "leaf/f32_product.rs"]
pub(crate) mod f32_product;
#[path = "leaf/f32_rows.rs"]
pub(crate) mod f32_rows;
#[path = "leaf/f32_window.rs"]
pub(crate) mod f32_window;
