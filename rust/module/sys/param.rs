// SPDX-License-Identifier: GPL-2.0

//! The module parameters, as they stand now. Any context.

use kernel::str::{
    CStr,
    CStrExt, //
};

use super::ffi;

/// `neural_enable_simd`.
pub(crate) fn enable_simd() -> bool {
    ffi::neural_shim_param_enable_simd()
}

/// `neural_numa_policy`: 0 local, 1 interleaved, 2 `neural_numa_node`.
pub(crate) fn numa_policy() -> i32 {
    ffi::neural_shim_param_numa_policy()
}

/// `neural_numa_node`.
pub(crate) fn numa_node() -> i32 {
    ffi::neural_shim_param_numa_node()
}

/// `neural_cache_timeout_ms`.
pub(crate) fn cache_timeout_ms() -> u32 {
    ffi::neural_shim_param_cache_timeout_ms()
}

/// `neural_cache_size`, in entries.
pub(crate) fn cache_size() -> u32 {
    ffi::neural_shim_param_cache_size()
}

/// `neural_profiling`: 0, 1 or 2.
pub(crate) fn profiling() -> u32 {
    ffi::neural_shim_param_profiling()
}

/// `neural_enable_jit`.
pub(crate) fn enable_jit() -> bool {
    ffi::neural_shim_param_enable_jit()
}

/// `neural_jit_threshold`, in predictions.
pub(crate) fn jit_threshold() -> u32 {
    ffi::neural_shim_param_jit_threshold()
}

/// `neural_jit_cache_kb`.
pub(crate) fn jit_cache_kb() -> u32 {
    ffi::neural_shim_param_jit_cache_kb()
}

/// `neural_jit_share`, in per cent.
pub(crate) fn jit_share() -> u32 {
    ffi::neural_shim_param_jit_share()
}

/// `neural_jit_gain`, in per cent.
pub(crate) fn jit_gain() -> u32 {
    ffi::neural_shim_param_jit_gain()
}

/// `neural_models`: names separated by commas.
pub(crate) fn models() -> &'static CStr {
    // SAFETY: The parameter is a NUL-terminated string that is only set before the module starts
    // and freed after it ended.
    unsafe { CStr::from_char_ptr(ffi::neural_shim_param_models()) }
}

/// `neural_force_isa`: `auto`, or the name of an instruction set.
pub(crate) fn force_isa() -> &'static CStr {
    // SAFETY: As for `neural_models`.
    unsafe { CStr::from_char_ptr(ffi::neural_shim_param_force_isa()) }
}

/// Calls `show` with the line that says which parameter value was refused last, empty if none.
pub(crate) fn last_error<R>(show: impl FnOnce(&str) -> R) -> R {
    let mut line = [0u8; 160];
    // SAFETY: `line` is valid for its size; the C side ends the text with a NUL.
    unsafe { ffi::neural_shim_param_error(line.as_mut_ptr(), line.len()) };
    let len = line.iter().position(|&b| b == 0).unwrap_or(0);
    show(core::str::from_utf8(line.get(..len).unwrap_or(b"")).unwrap_or(""))
}
