// SPDX-License-Identifier: GPL-2.0

//! The networks in `tests/vectors/floats`: every set of vector code answers what float64 does, within
//! [`BOUND`]; what AVX2 answers, bit by bit, is in the files `.out`, for tests in a kernel that has it.
//! `NEURAL_UPDATE=1 cargo test -p neural_simd --test f32_files` writes them.

mod f32_common;

use std::path::{Path, PathBuf};

use f32_common::sets;
use neural_core::nnm::{self, Limits, OpKind};
use neural_core::plan::{self, Step};
use neural_simd::{Isa, NoSection, Set, Simd};

const NAMES: [&str; 13] = [
    "floats_mlp",
    "floats_image",
    "floats_odd",
    "floats_sequences",
    "floats_transformer",
    "floats_cells",
    "floats_tokens",
    "floats_computer",
    "floats_windows",
    "floats_forecast",
    "floats_functions",
    "floats_lookups",
    "floats_running",
];

/// The greatest error, of answers of -1 to 1; greater ones may be off by as much of themselves.
const BOUND: f64 = 2e-6;

fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/floats");
    folder.join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The answers to all samples, one by one.
fn answers(set: Set, file: &[u8], input: &[u8]) -> Vec<u8> {
    let model = nnm::parse(file, &Limits::DEFAULT).unwrap();
    let mut steps = vec![Step::EMPTY; model.step_count()];
    let plan = model.plan(&mut steps).unwrap();
    let mut weights = vec![0; plan.weight_bytes];
    model.pack(&steps, &plan, &mut weights).unwrap();
    let kernels = Simd::new(Some(set), NoSection);
    let mut output = vec![0; input.len() / plan.input_bytes * plan.output_bytes];
    let mut scratch = vec![0xff; plan.scratch_bytes];
    let samples = input.chunks(plan.input_bytes);
    for (x, y) in samples.zip(output.chunks_mut(plan.output_bytes)) {
        plan::run(&kernels, &plan, &steps, &weights, 1, &mut scratch, x, y).unwrap();
    }
    output
}

#[test]
fn answers_are_those_of_float64() {
    for name in NAMES {
        let file = |end: &str| read(&format!("{name}.{end}"));
        let want: Vec<f64> = file("ref")
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect();
        for set in sets() {
            let output = answers(set, &file("nnm"), &file("in"));
            let numbers: Vec<f32> = output
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect();
            assert_eq!(numbers.len(), want.len());
            for (i, (&y, &want)) in numbers.iter().zip(&want).enumerate() {
                let off = (f64::from(y) - want).abs();
                assert!(
                    off <= BOUND * want.abs().max(1.0) || (y.is_nan() && want.is_nan()),
                    "{name}, {:?}, {i}: {y} instead of {want}",
                    set.isa()
                );
            }
            if set.isa() != Isa::Avx2 {
                continue;
            }
            if std::env::var_os("NEURAL_UPDATE").is_some() {
                std::fs::write(path(&format!("{name}.out")), &output).unwrap();
            }
            let there = file("out");
            assert!(there == output, "{name}.out is not what would be written");
        }
    }
}

#[test]
fn every_operation_of_numbers_is_in_one_of_them() {
    let files: Vec<_> = NAMES.map(|name| read(&format!("{name}.nnm"))).into();
    let models: Vec<_> = files
        .iter()
        .map(|file| nnm::parse(file, &Limits::DEFAULT).unwrap())
        .collect();
    for &kind in OpKind::ALL {
        let has = |model: &nnm::Model<'_>| {
            let mut ops = (0..model.op_count() as u32).filter_map(|i| model.op(i));
            ops.any(|op| op.kind == kind)
        };
        // Tables are for codes.
        let wanted = kind != OpKind::Lut;
        assert_eq!(models.iter().any(has), wanted, "{kind:?}");
    }
}
