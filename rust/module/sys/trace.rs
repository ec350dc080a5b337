// SPDX-License-Identifier: GPL-2.0

//! Trace events. Any context, except where the C side takes a string: task.

use kernel::{
    ffi::c_int,
    str::{
        CStr,
        CStrExt, //
    },
};

use super::ffi;

/// A model was loaded (generation 1) or replaced.
pub(crate) fn load(name: &CStr, id: u32, generation: u32, bytes: usize) {
    // SAFETY: The name is NUL-terminated and outlives the call.
    unsafe { ffi::neural_shim_trace_load(name.as_char_ptr(), id, generation, bytes as u64) };
}

/// A network was unloaded.
pub(crate) fn unload(name: &CStr, id: u32) {
    // SAFETY: As above.
    unsafe { ffi::neural_shim_trace_unload(name.as_char_ptr(), id) };
}

/// One prediction, or a batch of `samples`, took `ns`.
pub(crate) fn predict(id: u32, ns: u64, samples: u32, ret: c_int) {
    ffi::neural_shim_trace_predict(id, ns, samples, ret);
}

/// A look-up in the prediction cache: 0 hit, 1 miss, 2 expired.
pub(crate) fn cache(id: u32, result: u32) {
    ffi::neural_shim_trace_cache(id, result);
}
