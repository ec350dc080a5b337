// SPDX-License-Identifier: GPL-2.0

//! A directory of debugfs and its files.
//!
//! The kernel crate's abstraction does not name the module as the owner of its files, so that the
//! module could be unloaded under an open one; so this wraps the C interface itself. Removing a
//! directory waits for who is inside a file's callback. Context: task, may sleep.

use core::{
    cell::Cell,
    sync::atomic::Ordering::Relaxed, //
};

use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int,
        c_void, //
    },
    fmt,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    str::{
        CStr,
        CStrExt, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

use super::ffi;
use crate::debugfs::Entry;

/// A directory, removed with all below it when dropped.
///
/// # Invariants
///
/// `dentry` is what `debugfs_create_dir` gave (an error pointer included, which the C functions
/// take). Each entry is the data of a file in it, and is not freed before the file is removed.
pub(crate) struct Dir {
    dentry: *mut bindings::dentry,
    entries: KVec<KBox<Entry>>,
}

// SAFETY: A dentry may be used from any thread.
unsafe impl Send for Dir {}
// SAFETY: A shared reference only makes directories below.
unsafe impl Sync for Dir {}

struct Operations(bindings::file_operations);

// SAFETY: Never written.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(bindings::file_operations {
    owner: ffi::this_module(),
    open: Some(open),
    read: Some(bindings::seq_read),
    write: Some(write),
    llseek: Some(bindings::seq_lseek),
    release: Some(bindings::single_release),
    ..pin_init::zeroed()
});

impl Dir {
    /// Makes a directory, in `parent` or at the top. As everywhere in the kernel, debugfs failing
    /// is no error: the directory is then missing.
    pub(crate) fn new(name: &CStr, parent: Option<&Dir>) -> Self {
        let parent = parent.map_or(core::ptr::null_mut(), |dir| dir.dentry);
        // SAFETY: The name is a string; the parent is null, a directory, or an error pointer.
        let dentry = unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), parent) };
        // INVARIANT: No entries yet.
        Dir {
            dentry,
            entries: KVec::new(),
        }
    }

    /// Makes a file that shows `entry`, and takes text for it when `writable`.
    pub(crate) fn file(&mut self, name: &CStr, writable: bool, entry: Entry) -> Result {
        let entry = KBox::new(entry, GFP_KERNEL)?;
        let data: *const Entry = &*entry;
        self.entries.push(entry, GFP_KERNEL)?;
        let mode = if writable { 0o600 } else { 0o400 };
        // SAFETY: The entry is boxed, so that it stays where it is, and lives as long as the
        // file by the invariants; the operations are static and fit the data.
        unsafe {
            bindings::debugfs_create_file_full(
                name.as_char_ptr(),
                mode,
                self.dentry,
                data.cast_mut().cast(),
                core::ptr::null(),
                &OPERATIONS.0,
            )
        };
        Ok(())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // SAFETY: By the invariants; this waits for all callbacks of the files.
        unsafe { bindings::debugfs_remove(self.dentry) };
    }
}

/// What a file shows, and whether something of it could not be made: the kernel's formatting does not pass that on.
struct Shown<'a>(&'a Entry, Cell<bool>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f).inspect_err(|_| self.1.set(true))
    }
}

/// # Safety
///
/// Called by debugfs with a file that was made by [`Dir::file`] and is being opened.
unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: The inode is valid, its private data is an `Entry`, which `show` expects.
    unsafe { bindings::single_open(file, Some(show), (*inode).i_private) }
}

/// # Safety
///
/// Called by `seq_read` on a file that `open` opened, and that is not removed meanwhile.
unsafe extern "C" fn show(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // SAFETY: `open` gave the entry, which outlives the file.
    let entry = unsafe { &*(*seq).private.cast::<Entry>() };
    let mut buffer = [0u8; 64];
    for bytes in entry.bytes().chunks(buffer.len()) {
        for (to, from) in buffer.iter_mut().zip(bytes) {
            *to = from.load(Relaxed);
        }
        // SAFETY: The caller gives a valid `seq_file`; the buffer has so many bytes.
        unsafe { bindings::seq_write(seq, buffer.as_ptr().cast(), bytes.len()) };
    }
    // SAFETY: The caller gives a valid `seq_file`.
    let seq = unsafe { SeqFile::from_raw(seq) };
    let shown = Shown(entry, Cell::new(false));
    seq_print!(seq, "{}", shown);
    if shown.1.get() {
        return ENOMEM.to_errno();
    }
    0
}

/// # Safety
///
/// Called by debugfs on a file that `open` opened, and that is not removed meanwhile.
unsafe extern "C" fn write(
    file: *mut bindings::file,
    text: *const c_char,
    len: usize,
    _: *mut bindings::loff_t,
) -> isize {
    // SAFETY: `single_open` made the private data a `seq_file`, whose own is the entry.
    let entry = unsafe {
        let seq = (*file).private_data.cast::<bindings::seq_file>();
        &*(*seq).private.cast::<Entry>()
    };
    let mut reader = UserSlice::new(UserPtr::from_ptr(text.cast_mut().cast()), len).reader();
    match entry.store(&mut reader) {
        // CAST: The kernel limits a write to less than `isize::MAX`.
        Ok(()) => len as isize,
        // CAST: Widening.
        Err(error) => error.to_errno() as isize,
    }
}
