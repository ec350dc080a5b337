// SPDX-License-Identifier: GPL-2.0

//! Model files with something wrong in a forest, an embedding or a part of a tensor: each fault is refused,
//! in a line that says what it is about.

#[path = "common/codes.rs"]
mod codes;
mod common;

use codes::Codes;
use common::check;
use neural_core::error::MAX_LINE;
use neural_core::nnm::{DType, OpKind, Tensor, TensorKind};

/// Two trees that share a node, behind three elements of a type.
fn forest(dtype: DType) -> Codes {
    let mut net = Codes::new(&[3], 0);
    let nodes = [
        [2 | 1 << 16, 7, -1, -2],
        [1 << 16, -7, -2, -1],
        [1 | 2 << 16, 0, 0, 1],
    ];
    let nodes = net.words(&[3, 4], &nodes.concat());
    let roots = net.words(&[3], &[2, 0, -2]);
    let leaves = net.words(&[2, 1], &[5, -9]);
    let y = net.activation(&[1], 0);
    let params: &[i32] = match dtype {
        DType::I8 => &[0, 1 << 30, 0],
        _ => &[],
    };
    net.op(OpKind::Forest, &[0, nodes, roots, leaves], params, y);
    typed(net, dtype)
}

/// The same network with activations of another type.
fn typed(mut net: Codes, dtype: DType) -> Codes {
    if dtype != DType::I8 {
        for tensor in &mut net.tensors {
            if tensor.kind == TensorKind::Activation {
                let dims = &tensor.dims[..tensor.rank as usize];
                *tensor = Tensor::new(dtype, TensorKind::Activation, dims);
            }
        }
    }
    net
}

const TYPES: [DType; 3] = [DType::Q16, DType::I8, DType::F32];

/// Expects a network, and that it is refused once it is changed.
#[track_caller]
fn refuse(net: &Codes, change: impl FnOnce(&mut Codes), line: &str) {
    assert_eq!(check(&net.file()), Ok(()));
    let mut net = net.clone();
    change(&mut net);
    let error = check(&net.file()).expect_err("accepted").to_string();
    assert_eq!(error.strip_prefix("model: op 0: "), Some(line), "{error}");
    assert!(error.len() <= MAX_LINE);
}

/// Sets a word of a constant.
fn word(tensor: usize, at: usize, value: i32) -> impl FnOnce(&mut Codes) {
    move |net| net.data[tensor][4 * at..][..4].copy_from_slice(&value.to_le_bytes())
}

fn param(i: usize, value: i32) -> impl FnOnce(&mut Codes) {
    move |net| net.ops[0].params[i] = value
}

/// Gives a tensor other sizes.
fn sizes(tensor: usize, dims: &'static [u32]) -> impl FnOnce(&mut Codes) {
    move |net| {
        let old = net.tensors[tensor];
        let new = Tensor::new(old.dtype, old.kind, dims);
        net.tensors[tensor] = match old.scale_bits {
            0 => new,
            bits => new.with_scale(old.zero_point, bits),
        };
        net.data[tensor] = vec![0; net.tensors[tensor].data_bytes as usize];
    }
}

#[test]
fn nodes() {
    for net in TYPES.map(forest) {
        let line = "feature of a node is 3, allowed is 0..=2";
        refuse(&net, word(1, 0, 3 | 1 << 16), line);
        let line = "height of a node is 0, allowed is 1..=65535";
        refuse(&net, word(1, 0, 2), line);
        for (at, name) in [(2, "left"), (3, "right")] {
            for to in [-3, 3, i32::MIN, i32::MAX] {
                let line = format!("{name} of a node is {to}, allowed is -2..=2");
                refuse(&net, word(1, at, to), &line);
            }
        }
        // A node that leads to itself, and two that lead to each other.
        let line = "height of a node below is 2, must be 1";
        refuse(&net, word(1, 10, 2), line);
        let line = "height of a node below is 2, allowed is 1..=0";
        refuse(&net, word(1, 3, 2), line);
        for (at, root) in [(0, 3), (1, -3), (2, i32::MAX)] {
            let line = format!("root of a tree is {root}, allowed is -2..=2");
            refuse(&net, word(2, at, root), &line);
        }
    }
    let limit = i32::MAX / 3;
    let net = forest(DType::I8);
    refuse(
        &net,
        word(3, 1, -limit - 1),
        &format!(
            "trees times the greatest leaf: {}, at most {} allowed",
            3 * (i64::from(limit) + 1),
            i32::MAX
        ),
    );
    let mut net = net;
    word(3, 1, -limit)(&mut net);
    assert_eq!(check(&net.file()), Ok(()));
    for dtype in [DType::Q16, DType::F32] {
        let mut net = forest(dtype);
        word(3, 1, i32::MIN)(&mut net);
        assert_eq!(check(&net.file()), Ok(()));
    }
}

#[test]
fn forests() {
    for dtype in TYPES {
        let net = forest(dtype);
        refuse(
            &net,
            sizes(1, &[2, 6]),
            "nodes: dimension 1 is 6, must be 4",
        );
        refuse(
            &net,
            sizes(2, &[3, 1]),
            "roots has 2 dimensions, must have 1",
        );
        refuse(
            &net,
            sizes(3, &[1, 2]),
            "output: dimension 0 is 1, must be 2",
        );
        refuse(
            &net,
            sizes(4, &[1, 1]),
            "output has 2 dimensions, must have 1",
        );
        let relu = neural_core::act::Activation::Relu;
        let line = "activation 1 is not supported";
        refuse(&net, |net| net.ops[0].activation = relu, line);
        let types = |net: &mut Codes| {
            net.tensors[3] = Tensor::new(DType::F32, TensorKind::Constant, &[2, 1]);
        };
        let line = "input 3 (leaves) has elements of f32, must have i32";
        refuse(&net, types, line);
        let (mean, unused) = match dtype {
            DType::Q16 => ("params[0] (mean) is 2, allowed is 0..=1", 1),
            DType::F32 => ("params[0] (mean) is 2, allowed is 0..=1", 2),
            _ => (
                "params[0] (mean; the factor has it) is 2, allowed is 0..=0",
                3,
            ),
        };
        refuse(&net, param(0, 2), mean);
        for i in unused..7 {
            let line = format!("reserved byte {} is not 0", 28 + 4 * i);
            refuse(&net, param(i, 1), &line);
        }
    }
    let net = forest(DType::F32);
    for shift in [-32, 96] {
        let line = format!("params[1] (shift) is {shift}, allowed is -31..=95");
        refuse(&net, param(1, shift), &line);
    }
    let net = forest(DType::I8);
    let line = "multiplier is 1, allowed is 1073741824..=2147483647";
    refuse(&net, param(1, 1), line);
    for shift in [-32, 32] {
        let line = format!("params[2] (shift) is {shift}, allowed is -31..=31");
        refuse(&net, param(2, shift), &line);
    }
}

#[test]
fn embeddings() {
    for dtype in TYPES {
        let mut net = Codes::new(&[3], 0);
        let tensor = Tensor::new(dtype, TensorKind::Constant, &[4, 2]);
        let table = net.add(tensor, vec![0; tensor.data_bytes as usize]);
        let y = net.activation(&[3, 2], 0);
        net.op(OpKind::Embedding, &[0, table], &[], y);
        let net = typed(net, dtype);
        refuse(&net, sizes(1, &[8]), "table has 1 dimensions, must have 2");
        refuse(
            &net,
            sizes(1, &[2, 3]),
            "output: dimension 1 is 2, must be 3",
        );
        refuse(
            &net,
            sizes(2, &[2, 2]),
            "output: dimension 0 is 2, must be 3",
        );
        refuse(&net, sizes(2, &[6]), "output has 1 dimensions, must have 2");
        refuse(&net, param(0, 1), "reserved byte 28 is not 0");
        let line = "input 2 is 0, must be 4294967295";
        refuse(&net, |net| net.ops[0].inputs[2] = 0, line);
        let types = |net: &mut Codes| {
            net.tensors[1] = Tensor::new(DType::I32, TensorKind::Constant, &[4, 2]);
        };
        let line = format!(
            "input 1 (table) has elements of i32, must have {}",
            dtype.name()
        );
        refuse(&net, types, &line);
    }
}

#[test]
fn parts() {
    for dtype in TYPES {
        let mut net = Codes::new(&[3, 4], 0);
        let y = net.activation(&[2, 3], 0);
        net.op(OpKind::Slice, &[0], &[1, 1], y);
        let net = typed(net, dtype);
        for start in [-1, 3] {
            let line = format!("params (start) is {start}, allowed is 0..=2");
            refuse(&net, param(0, start), &line);
        }
        refuse(
            &net,
            param(0, 2),
            "end of a dimension is 4, allowed is 1..=3",
        );
        refuse(
            &net,
            param(1, 2),
            "end of a dimension is 5, allowed is 1..=4",
        );
        refuse(&net, param(2, 1), "reserved byte 36 is not 0");
        refuse(&net, sizes(1, &[6]), "output has 1 dimensions, must have 2");
    }
}
