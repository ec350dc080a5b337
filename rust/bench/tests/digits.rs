// SPDX-License-Identifier: GPL-2.0

//! The handwritten digits of `tests/vectors`: the engine against the labels and against ONNX Runtime.

use std::path::{Path, PathBuf};

use neural_bench::network::{argmax, dense, to_bytes, to_floats, Network};
use neural_bench::npy;
use neural_core::act::Activation;

/// The largest difference to ONNX Runtime's probabilities that is allowed.
const MAX_ERROR: f64 = 1.0 / 256.0;

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(name)
}

fn digits() -> Network {
    let specs = dense(&[64, 128, 10], &[Activation::Relu, Activation::Softmax]);
    let weights = npy::read::<f32>(&vectors("digits_weights.npy")).unwrap();
    Network::new("digits", &specs, &weights.values).unwrap()
}

#[test]
fn digits_agree_with_the_labels_and_with_onnx_runtime() {
    let mut network = digits();
    let inputs = npy::read::<f32>(&vectors("digits_input.npy")).unwrap();
    let labels = npy::read::<i64>(&vectors("digits_label.npy")).unwrap();
    let expected = npy::read::<f32>(&vectors("digits_ort_output.npy")).unwrap();
    assert_eq!(
        (inputs.shape.as_slice(), expected.shape.as_slice()),
        ([360, 64].as_slice(), [360, 10].as_slice())
    );

    let (mut right, mut agree, mut worst) = (0, 0, 0.0f64);
    for ((input, want), &label) in inputs.rows().zip(expected.rows()).zip(&labels.values) {
        let got = to_floats(network.predict(&to_bytes(input).unwrap()).unwrap());
        assert_eq!(got.len(), want.len());
        right += usize::from(argmax(&got) as i64 == label);
        agree += usize::from(argmax(&got) == argmax(want));
        worst = got
            .iter()
            .zip(want)
            .fold(worst, |w, (g, e)| w.max((g - f64::from(*e)).abs()));
    }
    println!("digits: {right} of 360 right, {agree} of 360 as ONNX Runtime, largest difference {worst:.6}");
    assert!(right * 100 >= 97 * 360, "{right} of 360 right");
    assert!(agree * 1000 >= 995 * 360, "{agree} of 360 as ONNX Runtime");
    assert!(worst < MAX_ERROR, "a probability is off by {worst}");
}

#[test]
fn the_answers_do_not_depend_on_what_was_predicted_before() {
    let (mut network, mut fresh) = (digits(), digits());
    let inputs = npy::read::<f32>(&vectors("digits_input.npy")).unwrap();
    let rows: Vec<Vec<u8>> = inputs.rows().map(|row| to_bytes(row).unwrap()).collect();
    let first: Vec<Vec<u8>> = rows
        .iter()
        .map(|row| network.predict(row).unwrap().to_vec())
        .collect();
    for (row, want) in rows.iter().zip(&first).rev() {
        assert_eq!(network.predict(row).unwrap(), want);
    }
    assert_eq!(fresh.predict(&rows[359]).unwrap(), first[359]);
}
