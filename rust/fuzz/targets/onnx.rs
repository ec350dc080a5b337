// SPDX-License-Identifier: GPL-2.0

//! ONNX files: any bytes, converted to a model file that the engine takes, or refused in one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neuralctl::convert::{convert, onnx_to_codes, onnx_to_floats, Calibration};
use neuralctl::error::Result;
use neuralctl::onnx::Onnx;
use neuralctl::quantise::{Bits, Method};

fn one_line<T>(done: Result<T>) {
    if let Err(e) = done {
        let line = e.to_string();
        assert!(!line.contains('\n') && line.len() < 1000, "{line}");
    }
}

fuzz_target!(|data: &[u8]| {
    one_line(convert(data, "net", None));
    let Ok(onnx) = Onnx::new(data) else { return };
    one_line(onnx_to_floats(&onnx, "net", None));
    let how = Calibration {
        samples: None,
        method: Method::MinMax,
        bits: Bits::Eight,
    };
    one_line(onnx_to_codes(&onnx, "net", None, &how));
});
