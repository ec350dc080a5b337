// SPDX-License-Identifier: GPL-2.0

//! Model files: any bytes, read, planned, packed and run.
//!
//! The fuzzer cannot guess a checksum, so each input is tried twice: as it is, and with its size and
//! checksum put right.

#![no_main]

#[path = "../../core/tests/common/drive.rs"]
#[allow(dead_code, unreachable_pub)] // The other target uses the rest.
mod drive;

use libfuzzer_sys::fuzz_target;
use neural_core::nnm;

fuzz_target!(|data: &[u8]| {
    drive::model(data);
    let mut file = data.to_vec();
    if let Some(size) = file.get_mut(16..24) {
        size.copy_from_slice(&(data.len() as u64).to_le_bytes());
    }
    nnm::seal(&mut file);
    drive::model(&file);
});
