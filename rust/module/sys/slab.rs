// SPDX-License-Identifier: GPL-2.0

//! Slab caches for the module's own objects: aligned to cache lines, on a chosen node.
//!
//! Context: task, may sleep. Taking another reference count, and using an object: any.

use core::{
    marker::PhantomData,
    mem::{
        align_of,
        size_of,
        MaybeUninit, //
    },
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    prelude::*,
    str::{
        CStr,
        CStrExt, //
    },
    sync::Refcount, //
};

use super::{
    buf,
    ffi,
    gate::{
        Gate,
        Pass, //
    },
    rcu::Counted, //
};

/// The alignment of every object: a cache line.
const ALIGN: usize = 64;

/// Keeps a cache apart from others of the same size, so that the kernel counts its objects under
/// its name.
const NO_MERGE: u32 = 1 << bindings::_slab_flag_bits__SLAB_NO_MERGE;

/// A slab cache for objects of type `T`, a static that is set up by [`SlabCache::create`].
pub(crate) struct SlabCache<T> {
    gate: Gate<bindings::kmem_cache>,
    _objects: PhantomData<fn() -> T>,
}

impl<T> SlabCache<T> {
    /// A cache that does not exist yet.
    pub(crate) const fn new() -> Self {
        SlabCache {
            gate: Gate::new(),
            _objects: PhantomData,
        }
    }

    /// Creates the cache; it exists until what is returned is dropped, after all its objects.
    pub(crate) fn create(&'static self, name: &'static CStr) -> Result<SlabOwner> {
        const { assert!(align_of::<T>() <= ALIGN) };
        let mut args = bindings::kmem_cache_args {
            align: u32::try_from(ALIGN)?,
            ..pin_init::zeroed()
        };
        // SAFETY: The name is static and the arguments are valid.
        let cache = unsafe {
            bindings::__kmem_cache_create_args(
                name.as_char_ptr(),
                u32::try_from(size_of::<T>())?,
                &mut args,
                NO_MERGE,
            )
        };
        let cache = NonNull::new(kernel::error::from_err_ptr(cache)?).ok_or(ENOMEM)?;
        self.gate.open(cache).inspect_err(|_| {
            // SAFETY: The cache was just created and has no objects.
            unsafe { bindings::kmem_cache_destroy(cache.as_ptr()) };
        })?;
        Ok(SlabOwner { gate: &self.gate })
    }

    /// Memory for an object, near `node`.
    fn alloc_raw(&'static self, node: i32) -> Result<(NonNull<T>, Pass<bindings::kmem_cache>)> {
        let pass = self.gate.enter().ok_or(ENODEV)?;
        let flags = bindings::GFP_KERNEL | bindings::__GFP_NOWARN;
        // SAFETY: The cache exists as long as the pass.
        let object = unsafe { bindings::kmem_cache_alloc_node_noprof(pass.as_ptr(), flags, node) };
        let object = NonNull::new(object.cast::<T>()).ok_or(ENOMEM)?;
        buf::account(size_of::<T>());
        Ok((object, pass))
    }

    /// Allocates an object near `node` and moves `value` into it.
    pub(crate) fn alloc(&'static self, node: i32, value: T) -> Result<SlabBox<T>> {
        let (object, pass) = self.alloc_raw(node)?;
        // SAFETY: `object` is valid for writes, and aligned as `create` asked for.
        unsafe { object.write(value) };
        // INVARIANT: Just allocated and initialised.
        Ok(SlabBox { pass, object })
    }
}

/// Gives the memory of an object back.
///
/// # Safety
///
/// `object` was allocated from the cache of `pass`, and nobody uses it any more.
unsafe fn free_raw<T>(object: NonNull<T>, pass: &Pass<bindings::kmem_cache>) {
    buf::unaccount(size_of::<T>());
    // SAFETY: By this function's requirements; the cache exists as long as the pass.
    unsafe { bindings::kmem_cache_free(pass.as_ptr(), object.as_ptr().cast()) };
}

/// Keeps a slab cache alive, at least as long as its objects.
pub(crate) struct SlabOwner {
    gate: &'static Gate<bindings::kmem_cache>,
}

impl Drop for SlabOwner {
    fn drop(&mut self) {
        if let Some(cache) = self.gate.close() {
            // SAFETY: The cache was created by `SlabCache::create`. Each object holds a pass, so
            // that none is left; none is freed by RCU either.
            unsafe { bindings::kmem_cache_destroy(cache.as_ptr()) };
        }
    }
}

/// An object of a slab cache, freed there when dropped.
///
/// # Invariants
///
/// `object` was allocated from the cache of `pass`, is initialised, and belongs to this box alone.
pub(crate) struct SlabBox<T> {
    pass: Pass<bindings::kmem_cache>,
    object: NonNull<T>,
}

// SAFETY: The box owns its object, as `KBox` does; a cache may be used from any thread.
unsafe impl<T: Send> Send for SlabBox<T> {}
// SAFETY: Sharing the box shares the object.
unsafe impl<T: Sync> Sync for SlabBox<T> {}

impl<T> Deref for SlabBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the invariants.
        unsafe { self.object.as_ref() }
    }
}

impl<T> Drop for SlabBox<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariants; nobody uses the object any more.
        unsafe {
            core::ptr::drop_in_place(self.object.as_ptr());
            free_raw(self.object, &self.pass);
        }
    }
}

/// A value with its reference count, as it stands in a slab cache.
///
/// The value comes first, so that both have one address.
#[repr(C)]
pub(crate) struct Shared<T> {
    value: T,
    refs: Refcount,
    pass: Pass<bindings::kmem_cache>,
}

impl<T: 'static> SlabCache<Shared<T>> {
    /// Allocates an object near `node`, initialises it in place, and returns a reference to it.
    pub(crate) fn share<E>(&'static self, node: i32, init: impl PinInit<T, E>) -> Result<SlabArc<T>>
    where
        Error: From<E>,
    {
        let (object, pass) = self.alloc_raw(node)?;
        // SAFETY: The memory is ours, aligned as `create` asked for, and not freed while the slot
        // is used, which is until the end of this statement.
        let slot: &'static mut MaybeUninit<T> = unsafe { object.cast().as_mut() };
        if let Err(error) = slot.write_pin_init(init) {
            // SAFETY: Just allocated from this cache; a value that failed to be made is gone.
            unsafe { free_raw(object, &pass) };
            return Err(error.into());
        }
        // SAFETY: The memory is ours; these are the fields that are not initialised yet.
        unsafe {
            (&raw mut (*object.as_ptr()).refs).write(Refcount::new(1));
            (&raw mut (*object.as_ptr()).pass).write(pass);
        }
        // INVARIANT: The count of 1 is this one.
        Ok(SlabArc {
            object,
            _owns: PhantomData,
        })
    }
}

/// A counted reference to an object of a slab cache, freed there when the last one is dropped.
///
/// The value never moves, and nobody gets a `&mut` to it.
///
/// # Invariants
///
/// `object` is initialised, and one of its reference counts belongs to this.
pub(crate) struct SlabArc<T: 'static> {
    object: NonNull<Shared<T>>,
    _owns: PhantomData<Shared<T>>,
}

// SAFETY: As with `Arc`: it gives `&T` to several threads, and drops `T` on any of them.
unsafe impl<T: Send + Sync> Send for SlabArc<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for SlabArc<T> {}

impl<T> SlabArc<T> {
    /// The node on which the object lies.
    pub(crate) fn node(&self) -> i32 {
        // SAFETY: An object of a slab cache, in the direct map.
        unsafe { ffi::neural_shim_addr_to_nid(self.object.as_ptr().cast_const().cast()) }
    }
}

impl<T> Deref for SlabArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the invariants.
        unsafe { &(*self.object.as_ptr()).value }
    }
}

impl<T> Clone for SlabArc<T> {
    fn clone(&self) -> Self {
        // SAFETY: By the invariants.
        unsafe { &(*self.object.as_ptr()).refs }.inc();
        // INVARIANT: Just counted.
        SlabArc {
            object: self.object,
            _owns: PhantomData,
        }
    }
}

impl<T> Drop for SlabArc<T> {
    fn drop(&mut self) {
        let object = self.object.as_ptr();
        // SAFETY: By the invariants.
        if !unsafe { &(*object).refs }.dec_and_test() {
            return;
        }
        // SAFETY: This was the last count: nobody uses the object any more. The pass is moved out
        // and outlives the memory.
        unsafe {
            core::ptr::drop_in_place(&raw mut (*object).value);
            let pass = (&raw const (*object).pass).read();
            free_raw(self.object, &pass);
        }
    }
}

// SAFETY: The address of a value is that of its object; the object lives while a count is held.
unsafe impl<T: Send + Sync> Counted for SlabArc<T> {
    type Target = T;

    fn into_raw(self) -> NonNull<T> {
        core::mem::ManuallyDrop::new(self).object.cast()
    }

    unsafe fn from_raw(raw: NonNull<T>) -> Self {
        // INVARIANT: By this function's requirements, a count is handed over.
        SlabArc {
            object: raw.cast(),
            _owns: PhantomData,
        }
    }
}
