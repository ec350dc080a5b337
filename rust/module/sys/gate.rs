// SPDX-License-Identifier: GPL-2.0

//! Something of the kernel that exists once while the module is loaded, behind a static.
//!
//! Who uses it holds a [`Pass`]. It is torn down only when nobody holds one: should somebody, it
//! stays and a warning says so, since memory that leaks is better than memory that is used after it
//! was freed. So neither the order in which things are made nor that in which they are dropped can
//! make the safe code around it unsound.

use core::{
    ptr::NonNull,
    sync::atomic::{
        AtomicPtr,
        AtomicUsize,
        Ordering::{
            AcqRel,
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};

use kernel::prelude::*;

/// Set in `state` while the thing may be used; the other bits count passes.
const OPEN: usize = 1 << (usize::BITS - 1);

/// A place for a `T` of the kernel.
pub(super) struct Gate<T> {
    thing: AtomicPtr<T>,
    state: AtomicUsize,
}

impl<T> Gate<T> {
    /// Nothing is there yet.
    pub(super) const fn new() -> Self {
        Gate {
            thing: AtomicPtr::new(core::ptr::null_mut()),
            state: AtomicUsize::new(0),
        }
    }

    /// Puts `thing` in place. Errors: `EBUSY` when something is there already.
    pub(super) fn open(&self, thing: NonNull<T>) -> Result {
        let null = core::ptr::null_mut();
        // ORDERING: The release below publishes it; acquire, as the place may have been used before.
        self.thing
            .compare_exchange(null, thing.as_ptr(), Acquire, Relaxed)
            .map_err(|_| EBUSY)?;
        // ORDERING: Release pairs with the acquire in `enter`.
        self.state.fetch_or(OPEN, Release);
        Ok(())
    }

    /// Lets a user in; `None` when nothing is there.
    pub(super) fn enter(&'static self) -> Option<Pass<T>> {
        // ORDERING: Acquire pairs with the release in `open`.
        if self.state.fetch_add(1, Acquire) & OPEN == 0 {
            self.state.fetch_sub(1, Relaxed);
            return None;
        }
        // INVARIANT: Just counted while the gate was open, so that the thing stays in place.
        NonNull::new(self.thing.load(Relaxed)).map(|thing| Pass { gate: self, thing })
    }

    /// Lets nobody in any more, and gives the thing back to tear it down; `None`, after a warning,
    /// when there are users left.
    pub(super) fn close(&self) -> Option<NonNull<T>> {
        // ORDERING: Acquire pairs with the release of each pass: their uses come before.
        let state = self.state.fetch_and(!OPEN, AcqRel);
        if kernel::warn_on!(state != OPEN) {
            return None;
        }
        // ORDERING: Release pairs with the acquire in `open`.
        NonNull::new(self.thing.swap(core::ptr::null_mut(), Release))
    }
}

/// A user of what is behind a gate; while it lives, the thing does.
///
/// # Invariants
///
/// It is counted in `gate.state`, and `thing` was in place when it was.
pub(super) struct Pass<T: 'static> {
    gate: &'static Gate<T>,
    thing: NonNull<T>,
}

impl<T> Pass<T> {
    /// The thing.
    pub(super) fn as_ptr(&self) -> *mut T {
        self.thing.as_ptr()
    }
}

impl<T> Drop for Pass<T> {
    fn drop(&mut self) {
        // ORDERING: Release pairs with the acquire in `close`.
        self.gate.state.fetch_sub(1, Release);
    }
}

// SAFETY: A pass is a count and an address; what may be done with the thing says who does it.
unsafe impl<T> Send for Pass<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Pass<T> {}
