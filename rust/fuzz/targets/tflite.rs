// SPDX-License-Identifier: GPL-2.0

//! TFLite files: any bytes, read as a graph that is described, or refused in one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neuralctl::tflite;

fuzz_target!(|data: &[u8]| match tflite::read(data) {
    Ok(graph) => {
        for op in &graph.ops {
            let _ = op.kind.describe();
        }
    }
    Err(e) => {
        let line = e.to_string();
        assert!(!line.contains('\n') && line.len() < 1000, "{line}");
    }
});
