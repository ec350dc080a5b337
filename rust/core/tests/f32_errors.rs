// SPDX-License-Identifier: GPL-2.0

//! Model files with something wrong in a layer of single precision: each fault is refused, in a line that
//! says what it is about.

#[path = "common/codes.rs"]
mod codes;
mod common;
#[path = "common/numbers.rs"]
mod numbers;

use codes::{pair, Codes};
use common::check;
use neural_core::error::MAX_LINE;
use neural_core::nnm::{DType, OpKind, Tensor, TensorKind, NONE};
use numbers::network;

const ONE: i32 = 0x3f80_0000;

/// Expects a network, and that it is refused once it is changed.
#[track_caller]
fn refuse(net: &Codes, change: impl FnOnce(&mut Codes), line: &str) {
    assert_eq!(check(&net.file()), Ok(()));
    let mut net = net.clone();
    change(&mut net);
    let error = check(&net.file()).expect_err("accepted").to_string();
    let place = format!("model: op {}: ", net.ops.len() - 1);
    assert_eq!(error.strip_prefix(&place), Some(line), "{error}");
    assert!(error.len() <= MAX_LINE);
}

fn last(net: &mut Codes) -> &mut neural_core::nnm::Op {
    net.ops.last_mut().unwrap()
}

/// Sets a parameter.
fn param(i: usize, value: i32) -> impl FnOnce(&mut Codes) {
    move |net| last(net).params[i] = value
}

/// Gives operand `slot` (4: the output) another type or other sizes.
fn operand(slot: usize, dtype: DType, dims: &'static [u32]) -> impl FnOnce(&mut Codes) {
    move |net| {
        let op = *last(net);
        let index = op.inputs.get(slot).copied().unwrap_or(op.output) as usize;
        let kind = net.tensors[index].kind;
        net.tensors[index] = Tensor::new(dtype, kind, dims);
        net.data[index] = vec![0; net.tensors[index].data_bytes as usize];
    }
}

/// What no operation takes: activation codes, more operands, and parameters from one on.
#[track_caller]
fn common(net: &Codes, operands: usize, params: usize) {
    let relu = neural_core::act::Activation::Relu;
    let line = "activation 1 is not supported";
    refuse(net, |net| last(net).activation = relu, line);
    for slot in operands..4 {
        let line = format!("input {slot} is 0, must be {NONE}");
        refuse(net, |net| last(net).inputs[slot] = 0, &line);
    }
    for i in params..7 {
        let line = format!("reserved byte {} is not 0", 28 + 4 * i);
        refuse(net, param(i, 1), &line);
    }
}

/// Functions: codes, slopes of those that have one, none for the others.
#[track_caller]
fn function(net: &Codes) {
    let field = "params[0] (function)";
    for code in [-1, 16, i32::MAX] {
        let line = format!("{field} is {code}, allowed is 0..=15");
        refuse(net, param(0, code), &line);
    }
    let line = format!("params (not used here) is {ONE}, allowed is 0..=0");
    refuse(net, param(1, ONE), &line);
    for (code, slope, accepted) in [
        (3, ONE, true),
        (11, ONE, true),
        (3, -ONE, true),
        (3, 0, true),
        (3, 0x7f80_0000, false),
        (11, 0x7fc0_0000, false),
        (4, ONE, false),
    ] {
        let mut net = net.clone();
        last(&mut net).params[..2].copy_from_slice(&[code, slope]);
        assert_eq!(check(&net.file()).is_ok(), accepted, "{code} {slope:x}");
    }
}

/// A positive, finite and normal number in a parameter.
#[track_caller]
fn positive(net: &Codes, i: usize) {
    for bits in [
        0,
        -1,
        1,
        0x007f_ffff,
        0x7f80_0000,
        0x7fc0_0000,
        -ONE,
        i32::MIN,
    ] {
        let mut net = net.clone();
        last(&mut net).params[i] = bits;
        let error = check(&net.file()).expect_err("accepted").to_string();
        assert!(error.contains("scale"), "{error}");
    }
    for bits in [0x0080_0000, ONE, 0x7f7f_ffff] {
        let mut net = net.clone();
        last(&mut net).params[i] = bits;
        assert_eq!(check(&net.file()), Ok(()));
    }
}

#[test]
fn dense_layers() {
    let net = network(OpKind::Dense, &[&[2, 3]], &[&[4, 3], &[4]], &[], &[2, 4]);
    common(&net, 3, 2);
    function(&net);
    use DType::{F32, I8};
    let f32 = |operand: &str| format!("{operand} has elements of i8, must have f32");
    refuse(&net, operand(1, I8, &[4, 3]), &f32("input 1 (weights)"));
    refuse(&net, operand(2, I8, &[4]), &f32("input 2 (bias)"));
    let line = "weights: dimension 1 is 2, must be 3";
    refuse(&net, operand(1, F32, &[4, 2]), line);
    let line = "bias: dimension 0 is 5, must be 4";
    refuse(&net, operand(2, F32, &[5]), line);
    let line = "output: dimension 1 is 5, must be 4";
    refuse(&net, operand(4, F32, &[2, 5]), line);
    let line = "output has 1 dimensions, must have 2";
    refuse(&net, operand(4, F32, &[4]), line);
}

#[test]
fn windows() {
    let steps = [0, 0, pair([1, 1]), pair([1, 1])];
    let cases = [
        (OpKind::Conv2d, vec![[3, 2, 2, 5].as_slice(), &[3]], 3),
        (OpKind::DepthwiseConv2d, vec![&[2, 2, 5], &[5]], 5),
    ];
    for (kind, constants, n) in cases {
        let net = network(kind, &[&[4, 4, 5]], &constants, &steps, &[3, 3, n]);
        common(&net, 3, 6);
        function(&net);
        let line = "stride is 0, allowed is 1..=65535";
        refuse(&net, param(2, pair([1, 0])), line);
        let line = "dilation is 0, allowed is 1..=65535";
        refuse(&net, param(3, pair([0, 1])), line);
        let line = "pad before is 2, allowed is 0..=1";
        refuse(&net, param(4, pair([0, 2])), line);
        let line = "pad after is 2, allowed is 0..=1";
        refuse(&net, param(5, pair([2, 0])), line);
        let line = "output: dimension 0 is 4, must be 3";
        refuse(&net, operand(4, DType::F32, &[4, 3, 7]), line);
    }
    for kind in [OpKind::AveragePool2d, OpKind::MaxPool2d] {
        let steps = [0, 0, pair([1, 1]), pair([2, 2])];
        let net = network(kind, &[&[4, 4, 5]], &[], &steps, &[3, 3, 5]);
        common(&net, 1, 6);
        for i in 0..2 {
            let line = "params (not used here) is 1, allowed is 0..=0";
            refuse(&net, param(i, 1), line);
        }
        let line = "window is 5, allowed is 1..=4";
        refuse(&net, param(3, pair([5, 2])), line);
        let line = "output: dimension 2 is 4, must be 5";
        refuse(&net, operand(4, DType::F32, &[3, 3, 4]), line);
    }
}

#[test]
fn sums_and_products() {
    for kind in [OpKind::Add, OpKind::Sub, OpKind::Mul] {
        let net = network(kind, &[&[3, 4]], &[&[4]], &[], &[3, 4]);
        common(&net, 2, 2);
        function(&net);
        let line = "input 1 (b): dimension 0 is 3, must be 4";
        refuse(&net, operand(1, DType::F32, &[3]), line);
        let line = "input 1 (b) has 3 dimensions, must have 2";
        refuse(&net, operand(1, DType::F32, &[1, 3, 4]), line);
        let line = "input 1 (b) has elements of i32, must have f32";
        refuse(&net, operand(1, DType::I32, &[4]), line);
    }
}

#[test]
fn rows() {
    for (kind, params) in [
        (OpKind::Map, 2),
        (OpKind::Softmax, 0),
        (OpKind::LogSoftmax, 0),
    ] {
        let net = network(kind, &[&[3, 4]], &[], &[], &[3, 4]);
        common(&net, 1, params);
        if kind == OpKind::Map {
            function(&net);
        }
        let line = "output: dimension 1 is 5, must be 4";
        refuse(&net, operand(4, DType::F32, &[3, 5]), line);
    }
    let net = network(OpKind::Mean, &[&[3, 4]], &[], &[], &[4]);
    common(&net, 1, 0);
    let line = "output: dimension 0 is 3, must be 4";
    refuse(&net, operand(4, DType::F32, &[3]), line);
    let gamma: &[u32] = &[4];
    for (kind, lists) in [(OpKind::LayerNorm, 2), (OpKind::RmsNorm, 1)] {
        let net = network(kind, &[&[3, 4]], &[gamma; 2][..lists], &[ONE], &[3, 4]);
        common(&net, 1 + lists, 1);
        positive(&net, 0);
        let line = "gamma: dimension 0 is 3, must be 4";
        refuse(&net, operand(1, DType::F32, &[3]), line);
        if lists == 2 {
            let line = "beta has 2 dimensions, must have 1";
            refuse(&net, operand(2, DType::F32, &[1, 4]), line);
        }
        let line = "output: dimension 0 is 2, must be 3";
        refuse(&net, operand(4, DType::F32, &[2, 4]), line);
    }
}

#[test]
fn attention() {
    use DType::F32;
    let (q, k): (&[u32], &[u32]) = (&[3, 8], &[5, 8]);
    let net = network(OpKind::Attention, &[q, k, k], &[], &[2, 1, ONE], q);
    common(&net, 3, 3);
    positive(&net, 2);
    for heads in [0, -1, 9, i32::MAX, i32::MIN] {
        let line = format!("params[0] (heads) is {heads}, allowed is 1..=8");
        refuse(&net, param(0, heads), &line);
    }
    for heads in [3, 5, 6, 7] {
        let line = format!("q: dimension 1 is 8, must be {heads}");
        refuse(&net, param(0, heads), &line);
    }
    for causal in [-1, 2] {
        let line = format!("params[1] (causal) is {causal}, allowed is 0..=1");
        refuse(&net, param(1, causal), &line);
    }
    let line = "output: dimension 0 is 4, must be 3";
    refuse(&net, operand(4, F32, &[4, 8]), line);
    let sizes = |slot, dims, line: &str| {
        // A reshape gives the operand, so the number of elements stays.
        refuse(&net, operand(slot, F32, dims), line);
    };
    sizes(1, &[10, 4], "k: dimension 1 is 4, must be 8");
    sizes(2, &[40], "v has 1 dimensions, must have 2");
    // Values of fewer keys.
    let net = network(OpKind::Attention, &[q, k, k], &[], &[2, 0, ONE], q);
    let swapped = |net: &mut Codes| last(net).inputs[2] = 0;
    refuse(&net, swapped, "v: dimension 0 is 3, must be 5");
    // The first query would see nothing.
    let (q, k): (&[u32], &[u32]) = (&[5, 8], &[3, 8]);
    let net = network(OpKind::Attention, &[q, k, k], &[], &[2, 0, ONE], q);
    refuse(&net, param(1, 1), "k: dimension 0 is 3, must be 5");
}

#[test]
fn recurrent_layers() {
    use DType::F32;
    for (kind, gates, biases) in [(OpKind::Lstm, 4, 4), (OpKind::Gru, 3, 6)] {
        let (w, b) = ([gates * 2, 5], [biases * 2]);
        let net = network(kind, &[&[6, 3]], &[&w, &b], &[], &[6, 2]);
        common(&net, 3, 0);
        let have = gates * 2;
        let dims = [gates * 2 + 1, 5];
        let line = format!("weights: dimension 0 is {}, must be {have}", have + 1);
        refuse(&net, |net| constant(net, 1, &dims), &line);
        let line = format!("weights: dimension 0 is {}, must be {gates}", gates - 1);
        refuse(&net, |net| constant(net, 1, &[gates - 1, 3]), &line);
        let line = "weights: dimension 1 is 4, must be 5";
        refuse(&net, |net| constant(net, 1, &[gates * 2, 4]), line);
        let line = format!("bias: dimension 0 is 2, must be {}", biases * 2);
        refuse(&net, operand(2, F32, &[2]), &line);
        let line = "output: dimension 1 is 3, must be 2";
        refuse(&net, operand(4, F32, &[6, 3]), line);
        let line = "output: dimension 0 is 5, must be 6";
        refuse(&net, operand(4, F32, &[5, 2]), line);
    }
    for (kind, gates, biases, states) in [(OpKind::LstmCell, 4, 4, 2), (OpKind::GruCell, 3, 6, 1)] {
        let (w, b, s) = ([gates * 2, 5], [biases * 2], [states * 2]);
        let net = network(kind, &[&[3], &s], &[&w, &b], &[], &s);
        common(&net, 4, 0);
        let line = format!("state: dimension 0 is 3, must be {}", states * 2);
        refuse(&net, |net| last(net).inputs[1] = 0, &line);
        let line = "output: dimension 0 is 1, must be";
        let line = format!("{line} {}", states * 2);
        refuse(&net, operand(4, F32, &[1]), &line);
        let line = format!("bias: dimension 0 is 2, must be {}", biases * 2);
        refuse(&net, operand(3, F32, &[2]), &line);
    }
}

/// Gives a constant other sizes.
fn constant(net: &mut Codes, slot: usize, dims: &[u32]) {
    let index = last(net).inputs[slot] as usize;
    net.tensors[index] = Tensor::new(DType::F32, TensorKind::Constant, dims);
    net.data[index] = vec![0; net.tensors[index].data_bytes as usize];
}

#[test]
fn similarities() {
    let net = network(OpKind::Cosine, &[&[3]], &[&[4, 3]], &[ONE], &[4]);
    common(&net, 2, 1);
    positive(&net, 0);
    let line = "rows: dimension 1 is 2, must be 3";
    refuse(&net, operand(1, DType::F32, &[4, 2]), line);
    let line = "rows has 1 dimensions, must have 2";
    refuse(&net, operand(1, DType::F32, &[12]), line);
    let line = "output: dimension 0 is 3, must be 4";
    refuse(&net, operand(4, DType::F32, &[3]), line);
}

#[test]
fn interpolations() {
    let net = network(OpKind::Interpolate, &[&[3, 4]], &[], &[], &[3, 9]);
    common(&net, 1, 0);
    let line = "output: dimension 0 is 2, must be 3";
    refuse(&net, operand(4, DType::F32, &[2, 9]), line);
    let line = "output has 1 dimensions, must have 2";
    refuse(&net, operand(4, DType::F32, &[9]), line);
}

#[test]
fn steps_of_attention() {
    use DType::F32;
    let (q, state): (&[u32], &[u32]) = (&[8], &[49]);
    let kind = OpKind::AttentionStep;
    let net = network(kind, &[q, q, q, state], &[], &[2, ONE], &[57]);
    common(&net, 4, 2);
    positive(&net, 1);
    for heads in [0, -1, 9, i32::MIN] {
        let line = format!("params[0] (heads) is {heads}, allowed is 1..=8");
        refuse(&net, param(0, heads), &line);
    }
    refuse(&net, param(0, 3), "q: dimension 1 is 8, must be 3");
    let line = "output: dimension 0 is 58, must be 57";
    refuse(&net, operand(4, F32, &[58]), line);
    let line = "output has 2 dimensions, must have 1";
    refuse(&net, operand(4, F32, &[57, 1]), line);
    for (slot, name) in [(1, "k"), (2, "v")] {
        let line = format!("{name}: dimension 0 is 49, must be 8");
        refuse(
            &net,
            |net| last(net).inputs[slot] = last(net).inputs[3],
            &line,
        );
    }
    let line = "state: dimension 0 is 8, must be 17";
    refuse(&net, |net| last(net).inputs[3] = 0, line);
    let net = network(kind, &[q, q, q, &[17]], &[], &[2, ONE], &[25]);
    assert_eq!(check(&net.file()), Ok(()));
}

#[test]
fn running_statistics() {
    use DType::F32;
    let net = network(OpKind::Normalise, &[&[4], &[9]], &[], &[0, 8, ONE], &[13]);
    common(&net, 2, 3);
    positive(&net, 2);
    for value in [-1, 2, i32::MIN] {
        let line = format!("params[0] (range) is {value}, allowed is 0..=1");
        refuse(&net, param(0, value), &line);
    }
    for value in [0, -1, 8388609, i32::MIN] {
        let line = format!("params[1] (samples) is {value}, allowed is 1..=8388608");
        refuse(&net, param(1, value), &line);
    }
    let line = "state: dimension 0 is 4, must be 9";
    refuse(&net, |net| last(net).inputs[1] = 0, line);
    let line = "output: dimension 0 is 12, must be 13";
    refuse(&net, operand(4, F32, &[12]), line);
    let line = "output has 2 dimensions, must have 1";
    refuse(&net, operand(4, F32, &[13, 1]), line);
}

#[test]
fn memories_of_computers() {
    use DType::F32;
    // 3 rows of 2, one head: 2 + 6 + 5 + 3 numbers are given, 6 + 9 + 3 + 9 are the state.
    let (given, state): (&[u32], &[u32]) = (&[16], &[27]);
    let net = network(OpKind::Dnc, &[given, state], &[], &[3, 2, 1, ONE], &[29]);
    common(&net, 2, 4);
    positive(&net, 3);
    for (i, name) in [(0, "rows"), (1, "width"), (2, "heads")] {
        for value in [0, -1, 65537, i32::MIN] {
            let line = format!("params[{i}] ({name}) is {value}, allowed is 1..=65536");
            refuse(&net, param(i, value), &line);
        }
    }
    let line = "interface: dimension 0 is 16, must be 23";
    refuse(&net, param(2, 2), line);
    let line = "state: dimension 0 is 27, must be 40";
    refuse(&net, param(0, 4), line);
    let line = "interface: dimension 0 is 16, must be 4294967295";
    let all = |net: &mut Codes| last(net).params[..3].copy_from_slice(&[65536; 3]);
    refuse(&net, all, line);
    let line = "output: dimension 0 is 28, must be 29";
    refuse(&net, operand(4, F32, &[28]), line);
    let line = "output has 2 dimensions, must have 1";
    refuse(&net, operand(4, F32, &[29, 1]), line);
}

#[test]
fn codes_have_none_of_them() {
    for kind in [OpKind::Map, OpKind::LogSoftmax] {
        let mut net = Codes::new(&[4], 0);
        let y = net.activation(&[4], 0);
        net.op(kind, &[0], &[], y);
        assert!(check(&net.file()).is_err(), "{kind:?}");
    }
    let mut net = network(OpKind::Map, &[&[4]], &[], &[], &[4]);
    let table = net.add(
        Tensor::new(DType::I8, TensorKind::Constant, &[256]),
        vec![0; 256],
    );
    let op = last(&mut net);
    (op.kind, op.inputs[1]) = (OpKind::Lut, table);
    let error = check(&net.file()).expect_err("accepted").to_string();
    assert_eq!(error, "model: op 0: lut of f32 is not supported");
}

/// What cannot be cut into pieces that are short enough is refused, and one less is not.
#[test]
fn pieces_that_are_too_large() {
    let row = |kind, n: u32| {
        let list: &[u32] = &[n];
        let lists: &[&[u32]] = if kind == OpKind::LayerNorm {
            &[list, list]
        } else {
            &[list]
        };
        network(kind, &[&[1, n]], lists, &[ONE], &[1, n])
    };
    let pool = |kind, side: u32| {
        let params = [0, 0, pair([1, 1]), pair([side, 100])];
        network(kind, &[&[side, 100, 1]], &[], &params, &[1, 1, 1])
    };
    let cosine = |d: u32| network(OpKind::Cosine, &[&[d]], &[&[1, d]], &[ONE], &[1]);
    let norm = "elements of a row of a norm: 40945, at most 40944 allowed";
    let window = "pixels of a pool's window: 10300, at most 10224 allowed";
    let cases = [
        (
            row(OpKind::LayerNorm, 40_944),
            row(OpKind::LayerNorm, 40_945),
            norm,
        ),
        (
            row(OpKind::RmsNorm, 40_944),
            row(OpKind::RmsNorm, 40_945),
            norm,
        ),
        (
            pool(OpKind::MaxPool2d, 102),
            pool(OpKind::MaxPool2d, 103),
            window,
        ),
        (
            pool(OpKind::AveragePool2d, 102),
            pool(OpKind::AveragePool2d, 103),
            window,
        ),
        (
            cosine(20_464),
            cosine(20_465),
            "elements of a row of cosine: 20465, at most 20464 allowed",
        ),
    ];
    for (right, wrong, line) in cases {
        assert_eq!(check(&right.file()), Ok(()));
        let error = check(&wrong.file()).expect_err("accepted").to_string();
        assert!(error.ends_with(line), "{error}");
    }
}
