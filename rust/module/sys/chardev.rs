// SPDX-License-Identifier: GPL-2.0

//! The character device `/dev/neural`, mode 0600.
//!
//! The kernel crate's misc device abstraction sets neither the owner, without which the module
//! could be unloaded under an open file, nor the mode; so this wraps `struct miscdevice` itself.
//! Context: task, may sleep.

use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_long,
        c_uint,
        c_ulong, //
    },
    prelude::*,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

use super::ffi;
use crate::control::Handle;

/// What an open file does.
pub(crate) trait Handler {
    /// Handles a request.
    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize>;
}

/// The registered device.
#[pin_data(PinnedDrop)]
pub(crate) struct CharDevice {
    #[pin]
    misc: Opaque<bindings::miscdevice>,
}

// SAFETY: The device may be unregistered from any thread.
unsafe impl Send for CharDevice {}
// SAFETY: A shared reference allows nothing.
unsafe impl Sync for CharDevice {}

struct Operations(bindings::file_operations);

// SAFETY: Never written.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(bindings::file_operations {
    owner: ffi::this_module(),
    open: Some(open),
    release: Some(release),
    unlocked_ioctl: Some(ioctl),
    compat_ioctl: bindings::compat_ptr_ioctl,
    llseek: Some(bindings::noop_llseek),
    ..pin_init::zeroed()
});

impl CharDevice {
    /// Registers the device.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(CharDevice {
            misc <- Opaque::try_ffi_init(|slot: *mut bindings::miscdevice| {
                // SAFETY: The slot is valid for writes.
                unsafe {
                    slot.write(bindings::miscdevice {
                        // CAST: 255.
                        minor: bindings::MISC_DYNAMIC_MINOR as c_int,
                        name: c"neural".as_char_ptr(),
                        fops: &OPERATIONS.0,
                        mode: 0o600,
                        ..pin_init::zeroed()
                    })
                };
                // SAFETY: The slot is initialised and pinned until `drop` unregisters it.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for CharDevice {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by `new`.
        unsafe { bindings::misc_deregister(self.misc.get()) };
    }
}

/// # Safety
///
/// Called by the kernel with a file that is being opened.
unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    match KBox::try_pin_init(Handle::new(), GFP_KERNEL) {
        Ok(handle) => {
            // SAFETY: The file is being opened, so that its private data is ours to set.
            unsafe { (*file).private_data = handle.into_foreign() };
            0
        }
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// Called by the kernel, once, with a file that `open` opened.
unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: `open` stored it, and nobody uses the file any more.
    drop(unsafe { <Pin<KBox<Handle>> as ForeignOwnable>::from_foreign((*file).private_data) });
    0
}

/// # Safety
///
/// Called by the kernel with a file that `open` opened.
unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
    // SAFETY: `open` stored it, and `release` comes after all other calls.
    let handle = unsafe { <Pin<KBox<Handle>> as ForeignOwnable>::borrow((*file).private_data) };
    match handle.ioctl(cmd, arg) {
        // CAST: Same size.
        Ok(value) => value as c_long,
        // CAST: Widening.
        Err(error) => error.to_errno() as c_long,
    }
}
