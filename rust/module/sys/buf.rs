// SPDX-License-Identifier: GPL-2.0

//! Memory on chosen NUMA nodes: zeroed pages, one by one where the placement says, seen as one
//! buffer.
//!
//! Pages are taken singly so that a buffer can be interleaved, never needs contiguous memory, and
//! can be asked afterwards on which node each page lies. Context: task, may sleep; taking the
//! slices of a buffer works anywhere.

use core::{
    ptr::NonNull,
    sync::atomic::{
        AtomicU64,
        Ordering::Relaxed, //
    }, //
};

use kernel::{
    ffi::c_void,
    page::PAGE_SIZE,
    prelude::*, //
};

use super::{
    cpu,
    ffi, //
};

/// Where the pages of a buffer shall lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placement {
    /// On this node when it has room, else near it.
    Near(i32),
    /// On this node, or not at all.
    On(i32),
    /// Page by page around all nodes that have memory, from this node on.
    Interleaved(i32),
}

impl Placement {
    /// The node of the first page, and of what cannot be divided.
    pub(crate) fn node(self) -> i32 {
        match self {
            Placement::Near(node) | Placement::On(node) | Placement::Interleaved(node) => node,
        }
    }
}

static BYTES: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

/// Bytes that all buffers hold now, and the most they ever held.
pub(crate) fn usage() -> (u64, u64) {
    (BYTES.load(Relaxed), PEAK.load(Relaxed))
}

/// Counts `bytes` of module memory as taken.
pub(super) fn account(bytes: usize) {
    let now = BYTES
        .fetch_add(bytes as u64, Relaxed)
        .wrapping_add(bytes as u64);
    PEAK.fetch_max(now, Relaxed);
}

/// Counts `bytes` of module memory as given back.
pub(super) fn unaccount(bytes: usize) {
    BYTES.fetch_sub(bytes as u64, Relaxed);
}

/// Whether the module may take so many more bytes: with what it has, half of the memory of the machine.
pub(crate) fn has_room(bytes: usize) -> bool {
    // CAST: Widening.
    let most = (ffi::neural_shim_totalram_pages() as u64 / 2).saturating_mul(PAGE_SIZE as u64);
    BYTES.load(Relaxed).saturating_add(bytes as u64) <= most
}

/// Pages, freed when dropped.
///
/// # Invariants
///
/// Each pointer is a page that belongs to this alone.
struct Pages(KVVec<*mut ffi::Page>);

impl Pages {
    fn new(count: usize, placement: Placement) -> Result<Self> {
        if !has_room(count.saturating_mul(PAGE_SIZE)) {
            return Err(ENOMEM);
        }
        let mut pages = Pages(KVVec::with_capacity(count, GFP_KERNEL | __GFP_NOWARN)?);
        let mut node = placement.node();
        let exact = matches!(placement, Placement::On(_));
        for i in 0..count {
            if i % 256 == 255 {
                cpu::cond_resched();
                if cpu::dying() {
                    return Err(EINTR);
                }
            }
            let page = ffi::neural_shim_alloc_page_node(node, exact);
            if page.is_null() {
                return Err(ENOMEM);
            }
            if pages.0.push_within_capacity(page).is_err() {
                // SAFETY: The page was just allocated and nobody else knows it.
                unsafe { ffi::neural_shim_free_page(page) };
                return Err(ENOMEM);
            }
            if matches!(placement, Placement::Interleaved(_)) {
                node = cpu::next_memory_node(node);
            }
        }
        Ok(pages)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for &page in self.0.iter() {
            // SAFETY: By the invariants, and nothing maps the page any more.
            unsafe { ffi::neural_shim_free_page(page) };
        }
    }
}

/// A zeroed, page-aligned buffer.
///
/// # Invariants
///
/// `ptr` addresses `pages.len() * PAGE_SIZE >= len` bytes that this buffer owns, until it is
/// dropped. It is a `vmap` of `pages` when there are several, the only page's address when there
/// is one, dangling when there is none.
pub(crate) struct NodeBuf {
    ptr: NonNull<u8>,
    len: usize,
    pages: Pages,
}

// SAFETY: The buffer owns its pages; nothing of it belongs to a thread.
unsafe impl Send for NodeBuf {}
// SAFETY: A shared reference only gives shared slices.
unsafe impl Sync for NodeBuf {}

impl NodeBuf {
    /// Allocates `len` zeroed bytes.
    ///
    /// Context: task, may sleep.
    pub(crate) fn new(len: usize, placement: Placement) -> Result<Self> {
        let pages = Pages::new(len.div_ceil(PAGE_SIZE), placement)?;
        let addr = match pages.0.as_slice() {
            [] => NonNull::<u8>::dangling().as_ptr().cast(),
            // SAFETY: The page is ours and, as GFP_KERNEL memory, in the direct map.
            [page] => unsafe { ffi::neural_shim_page_address(*page) },
            // SAFETY: All pages are ours and stay until the mapping is gone.
            all => unsafe { ffi::neural_shim_vmap(all.as_ptr(), u32::try_from(all.len())?) },
        };
        let ptr = NonNull::new(addr.cast()).ok_or(ENOMEM)?;
        account(pages.0.len() * PAGE_SIZE);
        // INVARIANT: `ptr` maps all pages, which have room for `len` bytes.
        Ok(NodeBuf { ptr, len, pages })
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: By the invariants; `&mut` access needs `&mut self`.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The bytes, to write.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: By the invariants, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// The address of the first byte, for the wrappers that hand out parts of the buffer.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// Bytes of memory that the buffer takes.
    pub(crate) fn memory(&self) -> usize {
        self.pages.0.len() * PAGE_SIZE
    }

    /// Adds the number of pages on each node to `counts`, as the kernel's page structures say.
    pub(crate) fn count_nodes(&self, counts: &mut [u32]) {
        for &page in self.pages.0.iter() {
            // SAFETY: The page is ours.
            let node = unsafe { ffi::neural_shim_page_to_nid(page) };
            if let Some(count) = usize::try_from(node).ok().and_then(|n| counts.get_mut(n)) {
                *count += 1;
            }
        }
    }
}

impl Drop for NodeBuf {
    fn drop(&mut self) {
        unaccount(self.memory());
        if self.pages.0.len() > 1 {
            // SAFETY: By the invariants, `ptr` is what `vmap` gave, and nobody uses it any more.
            unsafe { ffi::neural_shim_vunmap(self.ptr.as_ptr().cast()) };
        }
    }
}

/// A zeroed buffer as atomic words.
pub(crate) struct AtomicBuf(NodeBuf);

impl AtomicBuf {
    /// Allocates `words` zeroed words. Context: task, may sleep.
    pub(crate) fn new(words: usize, placement: Placement) -> Result<Self> {
        let bytes = words.checked_mul(8).ok_or(EOVERFLOW)?;
        Ok(AtomicBuf(NodeBuf::new(bytes, placement)?))
    }

    /// The words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: The memory is page-aligned and initialised, any bit pattern is a valid
        // `AtomicU64`, and this type hands it out in no other way.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len / 8) }
    }

    /// The buffer underneath, to ask where it lies.
    pub(crate) fn buf(&self) -> &NodeBuf {
        &self.0
    }
}

/// Allocates memory for C: at least `len` zeroed bytes that [`free_raw`] gives back.
pub(super) fn alloc_raw(len: usize, placement: Placement) -> Result<NonNull<c_void>> {
    let mut pages = Pages::new(len.div_ceil(PAGE_SIZE).max(1), placement)?;
    let count = pages.0.len();
    // SAFETY: All pages are ours. When this succeeds, the mapping owns them and their array.
    let addr = unsafe { ffi::neural_shim_vmap_owned(pages.0.as_ptr(), u32::try_from(count)?) };
    let addr = NonNull::new(addr).ok_or(ENOMEM)?;
    account(count * PAGE_SIZE);
    // The array now belongs to the mapping, as the pages do.
    core::mem::forget(core::mem::replace(&mut pages.0, KVVec::new()));
    Ok(addr)
}

/// Frees what [`alloc_raw`] gave.
///
/// # Safety
///
/// `addr` comes from [`alloc_raw`] and is not used any more, or is null.
pub(super) unsafe fn free_raw(addr: *mut c_void) {
    if addr.is_null() {
        return;
    }
    // SAFETY: By this function's requirements.
    let count = unsafe { ffi::neural_shim_vunmap_owned(addr) };
    // CAST: Widening.
    unaccount(count as usize * PAGE_SIZE);
}
