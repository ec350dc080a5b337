// SPDX-License-Identifier: GPL-2.0

//! ONNX files: any bytes, converted to a model file that the engine takes, or refused in one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neuralctl::convert::convert;

fuzz_target!(|data: &[u8]| {
    if let Err(e) = convert(data, "net", None) {
        let line = e.to_string();
        assert!(!line.contains('\n') && line.len() < 1000, "{line}");
    }
});
