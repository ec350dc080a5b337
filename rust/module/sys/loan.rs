// SPDX-License-Identifier: GPL-2.0

//! A reference that is lent to something which lives longer than what it refers to.

use core::{
    cell::Cell,
    ptr, //
};

/// Holds a `T` while [`Loan::lend`] runs.
///
/// # Invariants
///
/// The pointer is null or addresses a value that is borrowed until it is made null again.
pub(crate) struct Loan<T>(Cell<*const T>);

impl<T> Loan<T> {
    /// Holds nothing.
    pub(crate) const fn new() -> Self {
        // INVARIANT: Null.
        Loan(Cell::new(ptr::null()))
    }

    /// Holds `value` while `run` runs.
    #[inline]
    pub(crate) fn lend<R>(&self, value: Option<&T>, run: impl FnOnce() -> R) -> R {
        let value = value.map_or(ptr::null(), ptr::from_ref);
        // INVARIANT: Borrowed during this call; nothing unwinds in the kernel, so that it ends below.
        let before = self.0.replace(value);
        let result = run();
        self.0.set(before);
        result
    }

    /// Shows `look` what is held.
    #[inline]
    pub(crate) fn with<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        // SAFETY: By the invariants. The reference cannot leave `look`, which ends before `lend` does:
        // a loan is not `Sync`.
        unsafe { self.0.get().as_ref() }.map(look)
    }
}
