// SPDX-License-Identifier: GPL-2.0

//! Two networks of 8-bit codes with samples and answers, as files for tests in the kernel: the answers
//! are those of the slow reference. `NEURAL_UPDATE=1 cargo test -p neural_core --test int8_files`
//! writes the files; otherwise they must be what would be written.

#[path = "common/codes.rs"]
mod codes;
mod common;

use std::path::Path;

use codes::{pair, Codes, Win, SOFTMAX_SCALE};
use common::{Loaded, Rng};
use neural_core::nnm::{DType, OpKind, Tensor, TensorKind};
use neural_core::plan::{run, Scalar};

const SAMPLES: usize = 16;

/// A network, and numbers for its constants.
struct Maker {
    net: Codes,
    rng: Rng,
}

impl Maker {
    fn new(dims: &[u32], seed: u64) -> Self {
        Maker {
            net: Codes::new(dims, -3),
            rng: Rng::seeded(seed),
        }
    }

    /// A layer of rows with `k` weights each, whose sums are scaled so that most codes occur.
    fn rows(&mut self, kind: OpKind, w: &[u32], k: u32, params: &[i32], to: &[u32]) {
        let n = *to.last().unwrap();
        let weights = (0..w.iter().product()).map(|_| self.rng.u64() as u8);
        let weights = weights.map(|b| if b == 0x80 { 0x81 } else { b }).collect();
        let weights = self.net.codes(w, weights);
        let bias: Vec<i32> = (0..n).map(|_| self.rng.i32() >> 19).collect();
        let bias = self.net.words(&[n], &bias);
        let mult = (0..n).map(|_| (1 << 30) | (self.rng.i32() & i32::MAX));
        let shift = (74.0 * 74.0 * f64::from(k).sqrt() / 50.0).log2().round() as i32;
        let list: Vec<i32> = mult.chain((0..n).map(|_| shift)).collect();
        let list = self.net.words(&[2, n], &list);
        let y = self.net.activation(to, 5);
        let inputs = [self.net.output, weights, bias, list];
        self.net.op(kind, &inputs, params, y);
    }

    fn dense(&mut self, n: u32, min: i32) {
        let k = self.net.dims(self.net.output).iter().product();
        self.rows(OpKind::Dense, &[n, k], k, &[min, 127], &[n]);
    }
}

/// 64-128-8, the hidden layer not below its zero point.
fn mlp() -> Codes {
    let mut maker = Maker::new(&[64], 1);
    maker.dense(128, 5);
    maker.dense(8, -128);
    maker.net
}

/// An image of 8x8x3: convolution, depthwise convolution, pooling, a dense layer, softmax.
fn image() -> Codes {
    let mut maker = Maker::new(&[8, 8, 3], 2);
    let mut win = Win::new([3, 3]);
    (win.before, win.after) = ([1; 2], [1; 2]);
    let params = |win: &Win| {
        let [stride, dilation] = [pair(win.stride), pair(win.dilation)];
        [5, 127, stride, dilation, pair(win.before), pair(win.after)]
    };
    let conv = params(&win);
    maker.rows(OpKind::Conv2d, &[24, 3, 3, 3], 27, &conv, &[8, 8, 24]);
    let depthwise = params(&win);
    maker.rows(
        OpKind::DepthwiseConv2d,
        &[3, 3, 24],
        9,
        &depthwise,
        &[8, 8, 24],
    );
    let two = pair([2, 2]);
    let y = maker.net.activation(&[4, 4, 24], 5);
    let pool = [-128, 127, two, two, 0, 0];
    maker
        .net
        .op(OpKind::MaxPool2d, &[maker.net.output], &pool, y);
    let y = maker.net.activation(&[384], 5);
    maker.net.op(OpKind::Reshape, &[maker.net.output], &[], y);
    maker.dense(10, -128);
    let y = Tensor::new(DType::I8, TensorKind::Activation, &[10]);
    let y = maker.net.add(y.with_scale(-128, SOFTMAX_SCALE), vec![]);
    let softmax = [0x5000_0000, -22, -200];
    maker
        .net
        .op(OpKind::Softmax, &[maker.net.output], &softmax, y);
    maker.net
}

fn bytes(codes: &[i8]) -> Vec<u8> {
    codes.iter().map(|&x| x as u8).collect()
}

/// Compares with a file, or writes it.
fn file(name: &str, content: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/codes");
    let path = folder.join(name);
    if std::env::var_os("NEURAL_UPDATE").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(path, content).unwrap();
        return;
    }
    let there = std::fs::read(&path).unwrap_or_default();
    assert!(there == content, "{name} is not what would be written");
}

#[test]
fn files_hold_what_the_definitions_say() {
    for (name, net) in [("codes_mlp", mlp()), ("codes_image", image())] {
        let mut rng = Rng::seeded(3);
        let loaded = Loaded::new(&net.file());
        let len = loaded.plan.input_bytes;
        let input: Vec<i8> = (0..SAMPLES * len).map(|_| rng.u64() as i8).collect();
        let answers = input
            .chunks(len)
            .flat_map(|input| net.compute(input).swap_remove(net.output as usize));
        let output = bytes(&answers.collect::<Vec<i8>>());
        let input = bytes(&input);
        let mut scratch = vec![0; SAMPLES * loaded.plan.scratch_bytes];
        let mut got = vec![0; output.len()];
        run(
            &Scalar,
            &loaded.plan,
            &loaded.steps,
            &loaded.weights,
            SAMPLES,
            &mut scratch,
            &input,
            &mut got,
        )
        .unwrap();
        assert_eq!(got, output, "{name}");
        // Answers that tell something.
        let mut codes = output.clone();
        codes.sort_unstable();
        codes.dedup();
        assert!(codes.len() > 20, "{name}: {codes:?}");
        file(&format!("{name}.nnm"), &net.file());
        file(&format!("{name}.in"), &input);
        file(&format!("{name}.out"), &output);
    }
}
