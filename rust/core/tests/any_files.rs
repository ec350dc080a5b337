// SPDX-License-Identifier: GPL-2.0

//! The networks in `tests/vectors/codes` of operations that are there for all types of elements, and of
//! sums and products of 16-bit codes: answers are those of integers, which `codes_ops.py` computes.

mod common;

use std::path::Path;

use common::Loaded;
use neural_core::nnm::{parse, DType, Limits, OpKind};
use neural_core::plan::{run, Scalar};

fn read(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/codes");
    std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn what_is_there_for_all_types_gives_what_integers_do() {
    for name in ["codes_any_q16", "codes_any_i8", "codes_any_i16"] {
        let file = read(&format!("{name}.nnm"));
        let model = parse(&file, &Limits::DEFAULT).unwrap();
        let mut kinds = vec![OpKind::Slice, OpKind::Forest, OpKind::Embedding];
        if model.dtype() == DType::I16 {
            kinds.extend([OpKind::Add, OpKind::Sub, OpKind::Mul]);
        }
        for kind in kinds {
            let mut ops = (0..model.op_count() as u32).filter_map(|i| model.op(i));
            assert!(ops.any(|op| op.kind == kind), "{name} has no {kind:?}");
        }
        let loaded = Loaded::new(&file);
        let (input, want) = (read(&format!("{name}.in")), read(&format!("{name}.out")));
        let samples = input.len() / loaded.plan.input_bytes;
        let mut scratch = vec![0; samples * loaded.plan.scratch_bytes];
        let mut got = vec![0; want.len()];
        run(
            &Scalar,
            &loaded.plan,
            &loaded.steps,
            &loaded.weights,
            samples,
            &mut scratch,
            &input,
            &mut got,
        )
        .unwrap();
        assert_eq!(got, want, "{name}");
    }
}
