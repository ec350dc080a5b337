// SPDX-License-Identifier: GPL-2.0

//! Work that predictions ask for: done in a worker, by one at a time, once for many who ask.

use core::sync::atomic::{
    AtomicBool,
    Ordering::{
        Acquire,
        Relaxed,
        Release, //
    }, //
};

use kernel::{
    prelude::*,
    sync::SetOnce, //
};

use super::ffi;

static PASS: SetOnce<fn()> = SetOnce::new();

/// Whether there is a worker. Predictions end before it does.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// The worker, while this lives.
pub(crate) struct Worker(());

/// Called by the worker.
extern "C" fn pass() {
    if let Some(pass) = PASS.as_ref() {
        pass();
    }
}

impl Worker {
    /// Starts the worker, which calls `run` after each kick. Called once. Context: task, may sleep.
    pub(crate) fn new(run: fn()) -> Result<Self> {
        PASS.populate(run);
        // SAFETY: `pass` may be called at any time from now on.
        if !unsafe { ffi::neural_shim_jit_start(pass) } {
            return Err(ENOMEM);
        }
        // ORDERING: Pairs with the acquire in `kick`.
        RUNNING.store(true, Release);
        Ok(Worker(()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        RUNNING.store(false, Relaxed);
        // SAFETY: The worker was started. Who kicks predicts, loads or unloads, which nobody does any
        // more when the module ends.
        unsafe { ffi::neural_shim_jit_stop() };
    }
}

/// Whether the worker is about to end.
pub(crate) fn stopping() -> bool {
    !RUNNING.load(Relaxed)
}

/// Asks for a pass of the worker. Any context; takes no lock.
pub(crate) fn kick() {
    // ORDERING: Pairs with the release in `new`.
    if RUNNING.load(Acquire) {
        // SAFETY: There is a worker.
        unsafe { ffi::neural_shim_jit_kick() };
    }
}
