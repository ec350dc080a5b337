// SPDX-License-Identifier: GPL-2.0

//! A shared pointer that readers follow without a lock while a writer replaces what it points to.

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicPtr,
        Ordering::{
            AcqRel,
            Acquire, //
        }, //
    }, //
};

use kernel::{
    bindings,
    sync::{
        rcu::Guard,
        Arc, //
    }, //
};

/// An optional `Arc<T>` that is read under RCU.
///
/// # Invariants
///
/// The pointer is null or comes from `Arc::into_raw`, and this cell owns that reference count.
pub(crate) struct RcuArc<T: Send + Sync> {
    ptr: AtomicPtr<T>,
    _owns: PhantomData<Arc<T>>,
}

/// What [`RcuArc::read`] found: valid while the RCU read side lasts and the cell is there.
///
/// # Invariants
///
/// `ptr` comes from `Arc::into_raw`, and the reference count that the cell holds or held of it is
/// not given up during `'a`.
pub(crate) struct Borrowed<'a, T> {
    ptr: NonNull<T>,
    _lives: PhantomData<&'a T>,
}

impl<T> Deref for Borrowed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the invariants, the value lives.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T> Borrowed<'_, T> {
    /// A reference count of its own, to keep the value beyond the RCU read side.
    pub(crate) fn to_arc(&self) -> Arc<T> {
        // SAFETY: By the invariants, `ptr` comes from `Arc::into_raw` and its count is not zero;
        // the `Arc` made here is not dropped, so that the count stays the cell's.
        let held = ManuallyDrop::new(unsafe { Arc::from_raw(self.ptr.as_ptr().cast_const()) });
        Arc::clone(&held)
    }
}

impl<T: Send + Sync> RcuArc<T> {
    /// A cell that holds `value`.
    pub(crate) fn new(value: Option<Arc<T>>) -> Self {
        RcuArc {
            // INVARIANT: Null or from `into_raw`.
            ptr: AtomicPtr::new(Self::raw(value)),
            _owns: PhantomData,
        }
    }

    /// A cell that holds nothing.
    pub(crate) const fn empty() -> Self {
        RcuArc {
            // INVARIANT: Null.
            ptr: AtomicPtr::new(ptr::null_mut()),
            _owns: PhantomData,
        }
    }

    fn raw(value: Option<Arc<T>>) -> *mut T {
        value.map_or(ptr::null_mut(), |arc| Arc::into_raw(arc).cast_mut())
    }

    /// The value now. Any context.
    pub(crate) fn read<'a>(&'a self, _guard: &'a Guard) -> Option<Borrowed<'a, T>> {
        // ORDERING: Acquire pairs with the release in `replace`: who sees the pointer sees the
        // value as it was published.
        let ptr = self.ptr.load(Acquire);
        // INVARIANT: The pointer is from `into_raw`. `replace` waits for this read side before it
        // gives the count up, and `drop` cannot run while the cell is borrowed.
        NonNull::new(ptr).map(|ptr| Borrowed {
            ptr,
            _lives: PhantomData,
        })
    }

    /// A reference count of the value now. Context: any.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        let guard = kernel::sync::rcu::read_lock();
        self.read(&guard).map(|value| value.to_arc())
    }

    /// Puts `value` in place and returns the old one when no reader can see it any more.
    ///
    /// Context: task, may sleep.
    pub(crate) fn replace(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        // ORDERING: Release publishes `value`; acquire, because the old one is taken over.
        let old = self.ptr.swap(Self::raw(value), AcqRel);
        if old.is_null() {
            return None;
        }
        // SAFETY: May be called from a task that may sleep.
        unsafe { bindings::synchronize_rcu_expedited() };
        // SAFETY: By the invariants; the swap took the reference count over.
        Some(unsafe { Arc::from_raw(old) })
    }
}

impl<T: Send + Sync> Drop for RcuArc<T> {
    fn drop(&mut self) {
        let ptr = *self.ptr.get_mut();
        if !ptr.is_null() {
            // SAFETY: By the invariants. Readers borrow the cell, so that none is left.
            drop(unsafe { Arc::from_raw(ptr.cast_const()) });
        }
    }
}

// SAFETY: The cell owns an `Arc<T>`, which may move to other threads as `T` is `Send` and `Sync`.
unsafe impl<T: Send + Sync> Send for RcuArc<T> {}
// SAFETY: It hands out `&T` and `Arc<T>`, which other threads may use as `T` is `Send` and `Sync`.
unsafe impl<T: Send + Sync> Sync for RcuArc<T> {}
