// SPDX-License-Identifier: GPL-2.0

//! A model from specification to prediction.

use neural_core::act::Activation;
use neural_core::nnm::{self, DenseSpec, Limits, Part};
use neural_core::plan::{run, Scalar, Step};
#[test]
fn smoke() {
    let specs = [
        DenseSpec {
            inputs: 5,
            outputs: 15,
            activation: Activation::Relu,
        },
        DenseSpec {
            inputs: 15,
            outputs: 4,
            activation: Activation::Softmax,
        },
    ];
    let mut out = vec![0; nnm::dense_file_bytes(&specs).unwrap()];
    let n = nnm::write_dense(
        "smoke",
        &specs,
        &mut |l, p, d| {
            if p == Part::Weights {
                neural_core::init::xavier(specs[l].inputs, specs[l].outputs, 1, d).unwrap()
            }
        },
        &mut out,
    )
    .unwrap();
    assert_eq!(n, out.len());
    let m = nnm::parse(&out, &Limits::default()).unwrap();
    let mut steps = [Step::EMPTY; 2];
    let plan = m.plan(&mut steps).unwrap();
    let mut w = vec![0; plan.weight_bytes];
    m.pack(&steps, &plan, &mut w).unwrap();
    let mut scratch = vec![0; plan.scratch_bytes];
    let mut y = vec![0; plan.output_bytes];
    run(&Scalar, &plan, &steps, &w, &mut scratch, &[1; 20], &mut y).unwrap();
    let ys: Vec<i32> = neural_core::fixed::elements(&y).collect();
    println!("{plan:?} {ys:?}");
    assert_eq!(ys.iter().sum::<i32>(), 65536);
}
