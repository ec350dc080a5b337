// SPDX-License-Identifier: GPL-2.0

//! The readahead classifier of the kernel-ml project: 92.4 % of its 422 rows, as it is published, in Q16.16.
//!
//! Its files are not part of this tree: the test reads `$NEURAL_DATA/kml-readahead` and says so when that is not there.
//! `tests/vectors/kml.py` describes them.

use std::fs;
use std::path::{Path, PathBuf};

use neural_bench::network::{argmax, dense, to_bytes, to_floats, Network};
use neural_core::act::Activation;

const ROWS: usize = 422;
const RIGHT: usize = 390;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(&std::env::var_os("NEURAL_DATA")?).join("kml-readahead");
    folder.is_dir().then_some(folder)
}

fn numbers(path: &Path, count: usize) -> Vec<f32> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let values: Vec<f32> = text
        .split_whitespace()
        .map(|v| v.parse().unwrap())
        .collect();
    assert_eq!(values.len(), count, "numbers in {}", path.display());
    values
}

#[test]
fn readahead_classifier_is_as_right_as_published() {
    let Some(folder) = folder() else {
        println!("SKIP: readahead classifier: NEURAL_DATA is not set, or has no kml-readahead");
        return;
    };
    let dims = [5, 15, 5, 4];
    let mut weights = Vec::new();
    for (i, pair) in dims.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0] as usize, pair[1] as usize);
        weights.extend(numbers(
            &folder.join(format!("linear{i}_w.csv")),
            inputs * outputs,
        ));
        weights.extend(numbers(
            &folder.join(format!("linear{i}_bias.csv")),
            outputs,
        ));
    }
    let specs = dense(
        &dims,
        &[Activation::Sigmoid, Activation::Sigmoid, Activation::Linear],
    );
    let mut network = Network::new("kml", &specs, &weights).unwrap();
    let inputs = numbers(&folder.join("input.csv"), ROWS * 5);
    let labels = numbers(&folder.join("output.csv"), ROWS);

    let mut right = 0;
    for (input, &label) in inputs.chunks_exact(5).zip(&labels) {
        let got = to_floats(network.predict(&to_bytes(input).unwrap()).unwrap());
        right += usize::from(argmax(&got) == label as usize);
    }
    println!("kml: {right} of {ROWS} right");
    assert_eq!(right, RIGHT);
}
