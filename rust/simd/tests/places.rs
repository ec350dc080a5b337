// SPDX-License-Identifier: GPL-2.0

//! Each operation is counted once, where the work of a prediction says that it has ended.

use std::cell::RefCell;
use std::path::Path;

use neural_core::nnm::{self, Limits};
use neural_core::plan::{self, Step};
use neural_simd::{Features, Section, Set, Simd};

/// Keeps the places at which something has ended.
#[derive(Default)]
struct Ended(RefCell<Vec<usize>>);

impl Section for Ended {
    fn enter(&self) -> bool {
        true
    }

    fn leave(&self) {}

    fn pause(&self) -> bool {
        true
    }

    fn end(&self, place: usize, samples: usize) {
        assert_eq!(samples, 1);
        self.0.borrow_mut().push(place);
    }
}

/// How many operations are counted for a prediction of a file, and how many there are.
fn counted(file: &[u8], set: Set) -> (usize, usize) {
    let model = nnm::parse(file, &Limits::DEFAULT).unwrap();
    let mut steps = vec![Step::EMPTY; model.step_count()];
    let plan = model.plan(&mut steps).unwrap();
    let mut weights = vec![0; plan.weight_bytes];
    model.pack(&steps, &plan, &mut weights).unwrap();
    let (input, mut output) = (vec![0; plan.input_bytes], vec![0; plan.output_bytes]);
    let mut scratch = vec![0; plan.scratch_bytes];
    let kernels = Simd::new(Some(set), Ended::default());
    plan::run(
        &kernels,
        &plan,
        &steps,
        &weights,
        1,
        &mut scratch,
        &input,
        &mut output,
    )
    .unwrap();
    let operations = |steps: &[Step]| steps.iter().filter(|step| !step.is_copy()).count();
    let places = kernels.section().0.borrow();
    let places = places
        .iter()
        .filter(|&&place| plan.site(&steps, place, 1).is_some());
    let counted = places.map(|&place| match place == plan.chain_place() {
        true => operations(&steps[..plan.chain_steps()]),
        false => 1,
    });
    (counted.sum(), operations(&steps))
}

#[test]
fn each_operation_is_counted_once() {
    let Some(set) = Set::select(&Features::detect(), None) else {
        eprintln!("no vector code on this CPU");
        return;
    };
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let mut files = 0;
    for folder in ["codes", "floats"] {
        for entry in std::fs::read_dir(vectors.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "nnm") {
                let (counted, operations) = counted(&std::fs::read(&path).unwrap(), set);
                assert_eq!(counted, operations, "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 10);
}
