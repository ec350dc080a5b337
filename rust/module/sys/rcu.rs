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

/// A counted reference that can be kept as an address.
///
/// # Safety
///
/// What `into_raw` gives addresses the value for as long as its reference count is held, and a
/// clone is another count of the same value.
pub(crate) unsafe trait Counted: Clone + Send + Sync {
    /// What is referred to.
    type Target;

    /// The address; its reference count is held until it goes to `from_raw`.
    fn into_raw(self) -> NonNull<Self::Target>;

    /// The reference again.
    ///
    /// # Safety
    ///
    /// `raw` comes from `into_raw`, and the caller hands over a reference count.
    unsafe fn from_raw(raw: NonNull<Self::Target>) -> Self;
}

// SAFETY: As the kernel crate documents `Arc`.
unsafe impl<T: Send + Sync> Counted for Arc<T> {
    type Target = T;

    fn into_raw(self) -> NonNull<T> {
        // SAFETY: `into_raw` gives the address of a value, which is not null.
        unsafe { NonNull::new_unchecked(Arc::into_raw(self).cast_mut()) }
    }

    unsafe fn from_raw(raw: NonNull<T>) -> Self {
        // SAFETY: By this function's requirements.
        unsafe { Arc::from_raw(raw.as_ptr().cast_const()) }
    }
}

/// An optional reference that is read under RCU.
///
/// # Invariants
///
/// The pointer is null or comes from `into_raw`, and this cell owns that reference count.
pub(crate) struct RcuCell<R: Counted> {
    ptr: AtomicPtr<R::Target>,
    _owns: PhantomData<R>,
}

/// What [`RcuCell::read`] found: valid while the RCU read side lasts and the cell is there.
///
/// # Invariants
///
/// `ptr` comes from `into_raw`, and the reference count that the cell holds or held of it is
/// not given up during `'a`.
pub(crate) struct Borrowed<'a, R: Counted> {
    ptr: NonNull<R::Target>,
    _lives: PhantomData<&'a R::Target>,
}

impl<R: Counted> Deref for Borrowed<'_, R> {
    type Target = R::Target;

    fn deref(&self) -> &R::Target {
        // SAFETY: By the invariants, the value lives.
        unsafe { self.ptr.as_ref() }
    }
}

impl<R: Counted> Borrowed<'_, R> {
    /// A reference count of its own, to keep the value beyond the RCU read side.
    pub(crate) fn to_counted(&self) -> R {
        // SAFETY: By the invariants, `ptr` comes from `into_raw` and its count is not zero; the
        // reference made here is not dropped, so that the count stays the cell's.
        let held = ManuallyDrop::new(unsafe { R::from_raw(self.ptr) });
        R::clone(&held)
    }
}

impl<R: Counted> RcuCell<R> {
    /// A cell that holds `value`.
    pub(crate) fn new(value: Option<R>) -> Self {
        RcuCell {
            // INVARIANT: Null or from `into_raw`.
            ptr: AtomicPtr::new(Self::raw(value)),
            _owns: PhantomData,
        }
    }

    /// A cell that holds nothing.
    pub(crate) const fn empty() -> Self {
        RcuCell {
            // INVARIANT: Null.
            ptr: AtomicPtr::new(ptr::null_mut()),
            _owns: PhantomData,
        }
    }

    fn raw(value: Option<R>) -> *mut R::Target {
        value.map_or(ptr::null_mut(), |value| value.into_raw().as_ptr())
    }

    /// The value now. Any context.
    pub(crate) fn read<'a>(&'a self, _guard: &'a Guard) -> Option<Borrowed<'a, R>> {
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
    pub(crate) fn get(&self) -> Option<R> {
        let guard = kernel::sync::rcu::read_lock();
        self.read(&guard).map(|value| value.to_counted())
    }

    /// Puts `value` in place and returns the old one when no reader can see it any more.
    ///
    /// Context: task, may sleep.
    pub(crate) fn replace(&self, value: Option<R>) -> Option<R> {
        // ORDERING: Release publishes `value`; acquire, because the old one is taken over.
        let old = NonNull::new(self.ptr.swap(Self::raw(value), AcqRel))?;
        // SAFETY: May be called from a task that may sleep.
        unsafe { bindings::synchronize_rcu_expedited() };
        // SAFETY: By the invariants; the swap took the reference count over.
        Some(unsafe { R::from_raw(old) })
    }
}

impl<R: Counted> Drop for RcuCell<R> {
    fn drop(&mut self) {
        if let Some(ptr) = NonNull::new(*self.ptr.get_mut()) {
            // SAFETY: By the invariants. Readers borrow the cell, so that none is left.
            drop(unsafe { R::from_raw(ptr) });
        }
    }
}

// SAFETY: The cell owns an `R`, which may move to other threads.
unsafe impl<R: Counted> Send for RcuCell<R> {}
// SAFETY: It hands out shared references and clones, which `R` being `Send` and `Sync` allows.
unsafe impl<R: Counted> Sync for RcuCell<R> {}
