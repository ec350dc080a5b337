// SPDX-License-Identifier: GPL-2.0

//! Does with bytes of unknown origin all that the module does: with a model file and with a line of
//! settings. For mutation tests and fuzzers; a fault shows as a panic.

use neural_core::config::{parse_line, Settings};
use neural_core::error::MAX_LINE;
use neural_core::nnm::{parse, DType, Limits};
use neural_core::plan::{run, Scalar, Step};
use neural_core::Error;

/// What a hostile file may cost here.
const LIMITS: Limits = Limits {
    max_bytes: 1 << 20,
    max_ops: 64,
    max_macs: 1 << 16,
};

/// Reads, plans, packs and runs a model; tells whether it was accepted.
pub(crate) fn model(file: &[u8]) -> bool {
    let model = match parse(file, &LIMITS) {
        Ok(model) => model,
        Err(error) => {
            check_line(&error.to_string());
            return false;
        }
    };
    assert!(model.macs() <= LIMITS.max_macs && model.op_count() <= LIMITS.max_ops as usize);
    // Codes are copied first and last.
    let mut steps = [Step::EMPTY; LIMITS.max_ops as usize + 2];
    let plan = model.plan(&mut steps).expect("a plan");
    // What the limits promise.
    let (most, ops) = (LIMITS.max_bytes as usize, model.op_count());
    assert!(plan.weight_bytes <= 2 * most + 1200 * (ops + 1));
    assert!(plan.scratch_bytes <= most + 256 * (ops + 1) + (2 << 16));
    let mut weights = vec![0; plan.weight_bytes];
    model
        .pack(&steps, &plan, &mut weights)
        .expect("packed weights");
    let mut scratch = vec![0; plan.scratch_bytes];
    let mut output = vec![0; plan.output_bytes];
    // The extremes first: they would overflow a sum if anything could.
    let elements = match model.dtype() {
        DType::I8 => [0x8080_8080, 0x7f7f_7f7f, 0x7f01_ff80],
        _ => [1 << 31, u32::MAX >> 1, 0x1234],
    };
    for element in elements {
        let bytes = element.to_le_bytes().into_iter().cycle();
        let input: Vec<u8> = bytes.take(plan.input_bytes).collect();
        let done = run(
            &Scalar,
            &plan,
            &steps,
            &weights,
            1,
            &mut scratch,
            &input,
            &mut output,
        );
        // Numbers take vector code.
        assert!(
            done.is_ok() || (model.dtype() == DType::F32 && done == Err(Error::NoVector)),
            "{done:?}"
        );
    }
    true
}

/// Reads a line of settings and applies it; what is written back must give the same settings.
pub(crate) fn line(line: &[u8]) -> bool {
    let setting = match parse_line(line) {
        Ok(setting) => setting,
        Err(error) => {
            check_line(&error.to_string());
            return false;
        }
    };
    let mut settings = Settings::default();
    settings.apply(&setting);
    let mut text = String::new();
    settings.write(&"all", &mut text).expect("settings as text");
    let mut copy = Settings::default();
    for line in text.lines() {
        copy.apply(&parse_line(line.as_bytes()).expect("a line that was written"));
    }
    assert_eq!(copy, settings, "{text}");
    true
}

fn check_line(line: &str) {
    assert!(
        line.len() <= MAX_LINE && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{line}"
    );
}
