// SPDX-License-Identifier: GPL-2.0

//! TFLite files: any bytes, read as a graph that is described and converted, or refused in one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neuralctl::engine::Engine;
use neuralctl::error::Error;
use neuralctl::tflite;

fn one_line(e: &Error) {
    let line = e.to_string();
    assert!(!line.contains('\n') && line.len() < 1000, "{line}");
}

fuzz_target!(|data: &[u8]| match tflite::read(data) {
    Ok(graph) => {
        for op in &graph.ops {
            let _ = op.kind.describe();
        }
        for output in graph.outputs.iter().take(4) {
            match tflite::convert(&graph, *output, "fuzz") {
                Ok(file) => {
                    let _ = Engine::new(&file);
                }
                Err(e) => one_line(&e),
            }
        }
    }
    Err(e) => one_line(&e),
});
