// SPDX-License-Identifier: GPL-2.0

//! Generated code for exact shapes: whether there can be any.
//!
//! It is a way to be faster and nothing else: where it cannot be had, vector code and scalar code do
//! everything. Context: task, may sleep, unless said otherwise.

use kernel::{
    prelude::*,
    sync::SetOnce, //
};

use crate::{
    dispatch,
    sys::text::{
        self,
        Arena,
        Refusal,
        Return,
        ARENA_BYTES, //
    }, //
};

/// What was found out at load.
enum Ground {
    /// There is an arena, which has been tried.
    Arena(Arena),
    /// There is no arena.
    Refused(Refusal),
    /// There is no vector code that could be made faster.
    NoVector,
}

static GROUND: SetOnce<Ground> = SetOnce::new();

/// Finds out whether code can be generated, and says so in the log. Called once, when the module is
/// loaded, after the vector code was chosen.
pub(crate) fn prepare() {
    let ground = match Arena::new() {
        _ if !dispatch::has_vector() => Ground::NoVector,
        Ok(arena) => Ground::Arena(arena),
        Err(refusal) => Ground::Refused(refusal),
    };
    match &ground {
        Ground::Arena(_) => pr_info!("jit: {} KiB for generated code\n", ARENA_BYTES >> 10),
        Ground::Refused(refusal) => pr_info!("jit: off: {}\n", refusal.text()),
        Ground::NoVector => pr_info!("jit: off: there is no vector code to make faster\n"),
    }
    GROUND.populate(ground);
}

/// Why there is no generated code; `None` if there can be.
fn off() -> Option<&'static str> {
    match GROUND.as_ref() {
        Some(Ground::Arena(_)) => text::allowed().err().map(Refusal::text),
        Some(Ground::Refused(refusal)) => Some(refusal.text()),
        Some(Ground::NoVector) | None => Some("there is no vector code to make faster"),
    }
}

/// How generated code returns, if there can be any.
pub(crate) fn way() -> Option<Return> {
    match GROUND.as_ref() {
        Some(Ground::Arena(arena)) => Some(arena.way()),
        _ => None,
    }
}

/// Writes what there is.
pub(crate) fn write_text(f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
    match off() {
        None => writeln!(f, "state: on")?,
        Some(why) => writeln!(f, "state: off: {why}")?,
    }
    writeln!(f, "arena_bytes: {ARENA_BYTES}")?;
    writeln!(f, "used_bytes: {}", text::used_bytes())
}
