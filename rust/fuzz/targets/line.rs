// SPDX-License-Identifier: GPL-2.0

//! Lines of settings: any bytes, read, applied and written back.

#![no_main]

#[path = "../../core/tests/common/drive.rs"]
#[allow(dead_code, unreachable_pub)] // The other target uses the rest.
mod drive;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    drive::line(data);
});
