// SPDX-License-Identifier: GPL-2.0

//! A device without hardware: the kernel asks for firmware on behalf of a device.
//!
//! The kernel crate's abstraction hands its device out in another way in each version that this
//! module is built for; so this wraps the C interface itself. Context: task, may sleep.

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    bindings,
    device::Device,
    prelude::*,
    str::{
        CStr,
        CStrExt, //
    },
    sync::aref::ARef, //
};

/// A registered device, unregistered when dropped.
///
/// # Invariants
///
/// The pointer is what `faux_device_create` gave, and not destroyed yet.
pub(crate) struct FauxDevice(NonNull<bindings::faux_device>);

// SAFETY: A device may be used and unregistered from any thread.
unsafe impl Send for FauxDevice {}
// SAFETY: A shared reference only takes reference counts.
unsafe impl Sync for FauxDevice {}

impl FauxDevice {
    /// Registers a device of this name.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: The name is a string, which is copied; parent and operations may be null.
        let faux = unsafe {
            bindings::faux_device_create(name.as_char_ptr(), ptr::null_mut(), ptr::null())
        };
        // INVARIANT: Just created.
        NonNull::new(faux).map(FauxDevice).ok_or(ENODEV)
    }

    /// A reference count of the device; it may outlive the registration.
    pub(crate) fn device(&self) -> ARef<Device> {
        // SAFETY: By the invariants, the device is registered and so has a reference count.
        unsafe { Device::get_device(&raw mut (*self.0.as_ptr()).dev) }
    }
}

impl Drop for FauxDevice {
    fn drop(&mut self) {
        // SAFETY: By the invariants.
        unsafe { bindings::faux_device_destroy(self.0.as_ptr()) };
    }
}
