// SPDX-License-Identifier: GPL-2.0

//! Slab caches for the module's own objects: aligned to cache lines, on a chosen node.
//!
//! Context: task, may sleep.

use core::{
    marker::PhantomData,
    mem::{
        align_of,
        size_of, //
    },
    ops::Deref,
    ptr::NonNull,
    sync::atomic::{
        AtomicPtr,
        Ordering::{
            Acquire,
            Release, //
        }, //
    }, //
};

use kernel::{
    bindings,
    prelude::*,
    str::{
        CStr,
        CStrExt, //
    }, //
};

use super::buf;

/// The alignment of every object: a cache line.
const ALIGN: usize = 64;

/// A slab cache for objects of type `T`, a static that is set up by [`SlabCache::create`].
pub(crate) struct SlabCache<T> {
    cache: AtomicPtr<bindings::kmem_cache>,
    _objects: PhantomData<fn() -> T>,
}

impl<T> SlabCache<T> {
    /// A cache that does not exist yet.
    pub(crate) const fn new() -> Self {
        SlabCache {
            cache: AtomicPtr::new(core::ptr::null_mut()),
            _objects: PhantomData,
        }
    }

    /// Creates the cache; it exists until what is returned is dropped.
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
                0,
            )
        };
        let cache = kernel::error::from_err_ptr(cache)?;
        if cache.is_null() {
            return Err(ENOMEM);
        }
        // ORDERING: Release pairs with the acquire in `alloc`.
        self.cache.store(cache, Release);
        Ok(SlabOwner { slot: &self.cache })
    }

    /// Allocates an object near `node` and moves `value` into it.
    pub(crate) fn alloc(&'static self, node: i32, value: T) -> Result<SlabBox<T>> {
        // ORDERING: Acquire pairs with the release in `create`.
        let cache = self.cache.load(Acquire);
        if cache.is_null() {
            return Err(ENODEV);
        }
        let flags = bindings::GFP_KERNEL | bindings::__GFP_NOWARN;
        // SAFETY: The cache exists until `SlabOwner` is dropped, which is after all its users.
        let object = unsafe { bindings::kmem_cache_alloc_node_noprof(cache, flags, node) };
        let object = NonNull::new(object.cast::<T>()).ok_or(ENOMEM)?;
        // SAFETY: `object` is valid for writes, and aligned as `create` asked for.
        unsafe { object.write(value) };
        buf::account(size_of::<T>());
        // INVARIANT: Just allocated and initialised.
        Ok(SlabBox { cache, object })
    }
}

/// Keeps a slab cache alive. Drop it after all the cache's objects.
pub(crate) struct SlabOwner {
    slot: &'static AtomicPtr<bindings::kmem_cache>,
}

impl Drop for SlabOwner {
    fn drop(&mut self) {
        // ORDERING: As in `create`.
        let cache = self.slot.swap(core::ptr::null_mut(), Acquire);
        // SAFETY: The cache was created by `SlabCache::create`, and its objects are gone.
        unsafe { bindings::kmem_cache_destroy(cache) };
    }
}

/// An object of a slab cache, freed there when dropped.
///
/// # Invariants
///
/// `object` was allocated from `cache`, is initialised, and belongs to this box alone.
pub(crate) struct SlabBox<T> {
    cache: *mut bindings::kmem_cache,
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
        buf::unaccount(size_of::<T>());
        // SAFETY: By the invariants; nobody uses the object any more.
        unsafe {
            core::ptr::drop_in_place(self.object.as_ptr());
            bindings::kmem_cache_free(self.cache, self.object.as_ptr().cast());
        }
    }
}
