// SPDX-License-Identifier: GPL-2.0

//! Networks by vector code beside their definitions.

use super::net::{Net, Vectors};
use neural_simd::{Set, SECTION_WORK};

/// The greatest error, as a share of the greatest number (or of 1).
const BOUND: f64 = 3e-5;

#[track_caller]
fn same(y: &[f32], want: &[f64], what: &dyn std::fmt::Debug) {
    assert_eq!(y.len(), want.len());
    let greatest = want.iter().fold(1.0f64, |a, b| a.max(b.abs()));
    for (i, (&y, &want)) in y.iter().zip(want).enumerate() {
        let off = (f64::from(y) - want).abs();
        assert!(
            off <= BOUND * greatest,
            "{what:?}, {i}: {y} instead of {want}"
        );
    }
}

/// Compares a network with the definitions: one sample and three, in pieces of any size.
#[track_caller]
pub(crate) fn compare(set: Set, net: &Net, input: &[f32], what: &dyn std::fmt::Debug) {
    let size = input.len() / 3;
    let want: Vec<f64> = input.chunks(size).flat_map(|x| net.compute(x)).collect();
    for tile in [1, 1000, SECTION_WORK] {
        let kernels = Vectors::new(Some(set), tile);
        let what = (what, set.isa(), tile);
        let y = net.run(&kernels, input);
        let y = y.unwrap_or_else(|error| panic!("{what:?}: {error}"));
        same(&y, &want, &what);
        let one = net.run(&kernels, &input[..size]).unwrap();
        same(&one, &want[..want.len() / 3], &what);
    }
}
