// SPDX-License-Identifier: GPL-2.0

//! Whether anything is profiled, as a jump in the code that is patched when that changes, and the
//! module parameter that is a part of the answer.

use kernel::{
    bindings,
    ffi::{
        c_int,
        c_uint, //
    },
    jump_label::static_branch_unlikely, //
};

use super::ffi;

/// `struct neural_profile_switch`.
#[repr(C)]
struct Switch {
    key: bindings::static_key_false,
}

unsafe extern "C" {
    static neural_profile_switch: Switch;
}

/// Whether anything is profiled. Any context.
#[inline(always)]
pub(crate) fn on() -> bool {
    // SAFETY: The key is a static of C that is initialised when it is compiled.
    unsafe { static_branch_unlikely!(neural_profile_switch, Switch, key) }
}

/// Says whether anything is profiled. Context: task, may sleep.
pub(crate) fn switch(on: bool) {
    ffi::neural_shim_profile_switch(on);
}

/// Called when `neural_profiling` is about to get this value, by one at a time.
#[no_mangle]
extern "C" fn neural_profile_param(mode: c_uint) -> c_int {
    match crate::profile::set_param(mode) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
