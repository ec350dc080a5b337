// SPDX-License-Identifier: GPL-2.0

//! Model files whose operations do not fit each other: each fault has its own error.

mod common;

use common::{check, put32, refuse, small, ACTIVATION, CONSTANT, NONE, T};
use neural_core::error::{Fault, Place};
use neural_core::Class;

#[test]
fn wrong_operations_are_refused() {
    let net = small();
    let op = |index: usize, change: &dyn Fn(&mut [u8]), fault, class| {
        let at = net.op_at(index);
        refuse(
            &net,
            |f| change(&mut f[at..at + 64]),
            Place::Op(index as u32),
            fault,
            class,
        );
    };
    let unsupported = |index, change: &dyn Fn(&mut [u8]), field, have| {
        op(
            index,
            change,
            Fault::Unsupported { field, have },
            Class::Unsupported,
        );
    };
    unsupported(0, &|o| o[0] = 0, "op kind", 0);
    unsupported(0, &|o| o[1] = 1, "op kind", 257);
    unsupported(1, &|o| o[2] = 6, "activation", 6);
    unsupported(1, &|o| o[7] = 0x80, "op flags", 1 << 31);
    let invalid =
        |index, change: &dyn Fn(&mut [u8]), fault| op(index, change, fault, Class::Invalid);
    invalid(0, &|o| o[28] = 1, Fault::Reserved { offset: 28 });
    invalid(1, &|o| o[32] = 1, Fault::Reserved { offset: 32 });
    invalid(1, &|o| o[63] = 1, Fault::Reserved { offset: 63 });
    let field = |field, have, min, max| Fault::Field {
        field,
        have,
        min,
        max,
    };
    invalid(0, &|o| put32(o, 8, 7), field("input 0 (x)", 7, 0, 6));
    invalid(
        0,
        &|o| put32(o, 8, NONE),
        field("input 0 (x)", NONE.into(), 0, 6),
    );
    invalid(
        0,
        &|o| put32(o, 12, NONE),
        field("input 1 (weights)", NONE.into(), 0, 6),
    );
    invalid(0, &|o| put32(o, 16, 8), field("input 2 (bias)", 8, 0, 6));
    invalid(
        0,
        &|o| put32(o, 20, 0),
        field("input 3", 0, NONE.into(), NONE.into()),
    );
    invalid(0, &|o| put32(o, 24, 7), field("output", 7, 0, 6));
    let kind = |operand, tensor, want| Fault::Kind {
        operand,
        tensor,
        want,
    };
    invalid(
        0,
        &|o| put32(o, 8, 1),
        kind("input 0 (x)", 1, "an activation"),
    );
    invalid(
        0,
        &|o| put32(o, 12, 0),
        kind("input 1 (weights)", 0, "a constant"),
    );
    invalid(
        0,
        &|o| put32(o, 16, 3),
        kind("input 2 (bias)", 3, "a constant"),
    );
    invalid(0, &|o| put32(o, 24, 2), kind("output", 2, "an activation"));
    // What reads itself, or what is written later.
    invalid(
        0,
        &|o| put32(o, 8, 3),
        Fault::Cycle {
            tensor: 3,
            writer: 0,
        },
    );
    invalid(
        0,
        &|o| put32(o, 8, 6),
        Fault::Cycle {
            tensor: 6,
            writer: 1,
        },
    );
    invalid(
        1,
        &|o| put32(o, 8, 6),
        Fault::Cycle {
            tensor: 6,
            writer: 1,
        },
    );
    invalid(
        1,
        &|o| put32(o, 24, 3),
        Fault::WrittenTwice {
            tensor: 3,
            writer: 0,
        },
    );
    invalid(1, &|o| put32(o, 24, 0), Fault::WritesInput { tensor: 0 });
    let shape = |operand, dim, have, want| Fault::Shape {
        operand,
        dim,
        have,
        want,
    };
    invalid(1, &|o| put32(o, 8, 0), shape("weights", 1, 7, 5));
    invalid(0, &|o| put32(o, 12, 4), shape("weights", 1, 7, 5));
    invalid(0, &|o| put32(o, 16, 5), shape("bias", 0, 3, 7));
    let rank = |operand, have, want| Fault::Rank {
        operand,
        have,
        want,
    };
    invalid(0, &|o| put32(o, 12, 2), rank("weights", 1, 2));
    invalid(0, &|o| put32(o, 16, 1), rank("bias", 2, 1));
}

#[test]
fn wrong_graphs_are_refused() {
    // An activation that nothing writes.
    let mut net = small();
    net.activation(4);
    refuse(
        &net,
        |_| (),
        Place::Tensor(7),
        Fault::NeverWritten,
        Class::Invalid,
    );
    // The same, read by an operation.
    let mut net = small();
    let lost = net.activation(5);
    net.ops[0].inputs[0] = lost;
    let want = "written by any op";
    let fault = Fault::Kind {
        operand: "input 0 (x)",
        tensor: lost,
        want,
    };
    refuse(&net, |_| (), Place::Op(0), fault, Class::Invalid);
    // The input as output.
    let mut net = small();
    net.output = 0;
    refuse(
        &net,
        |_| (),
        Place::Tensor(0),
        Fault::NeverWritten,
        Class::Invalid,
    );
    // Matrices where vectors belong.
    let mut net = small();
    net.tensors[0] = T {
        kind: ACTIVATION,
        dims: vec![1, 5],
        data: vec![],
    };
    let rank = |operand| Fault::Rank {
        operand,
        have: 2,
        want: 1,
    };
    refuse(&net, |_| (), Place::Op(0), rank("x"), Class::Invalid);
    let mut net = small();
    net.tensors[6] = T {
        kind: ACTIVATION,
        dims: vec![1, 3],
        data: vec![],
    };
    refuse(&net, |_| (), Place::Op(1), rank("output"), Class::Invalid);
    let mut net = small();
    net.tensors[6].dims[0] = 4;
    let fault = Fault::Shape {
        operand: "output",
        dim: 0,
        have: 4,
        want: 3,
    };
    refuse(&net, |_| (), Place::Op(1), fault, Class::Invalid);
    // A constant that nobody uses does no harm.
    let mut net = small();
    net.constant(&[2, 2, 2, 2], vec![7; 16]);
    assert_eq!(check(&net.file()), Ok(()));
    assert_eq!(net.tensors[7].kind, CONSTANT);
}
