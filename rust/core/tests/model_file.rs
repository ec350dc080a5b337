// SPDX-License-Identifier: GPL-2.0

//! The model file: what is written is read, and everything that is wrong has its own error.

mod common;

use common::{check, numbers, put64, seal, small, Loaded, Net, Rng, NONE};
use neural_core::act::Activation;
use neural_core::error::{Fault, NameFault, Place};
use neural_core::nnm::{self, dense_file_bytes, parse, write_dense, DenseSpec, Limits, Part};
use neural_core::{Class, Error};

#[test]
fn a_file_written_by_hand_is_read() {
    let net = small();
    let file = net.file();
    let model = parse(&file, &Limits::DEFAULT).unwrap();
    assert_eq!(
        (model.name(), model.input_dim(), model.output_dim()),
        ("test", 5, 3)
    );
    assert_eq!((model.input_bytes(), model.output_bytes()), (20, 12));
    assert_eq!(
        (model.op_count(), model.tensor_count(), model.macs()),
        (2, 7, 56)
    );
    assert_eq!(model.dtype().name(), "q16");
    let op = model.op(1).unwrap();
    assert_eq!(op.activation, Activation::LeakyRelu { slope: 655 });
    assert_eq!((op.inputs, op.output), ([3, 4, 5, NONE], 6));
    assert!(op.has_input(2) && !op.has_input(3) && !op.has_input(4));
    let weights = model.tensor(4).unwrap();
    assert_eq!((weights.rank, weights.dims), (2, [3, 7, 0, 0]));
    assert_eq!(numbers(model.data(&weights).unwrap()), net.tensors[4].data);
    assert!(model.op(2).is_none() && model.tensor(7).is_none());
}

#[test]
fn both_writers_write_the_same_bytes() {
    let net = small();
    let specs = [
        DenseSpec {
            inputs: 5,
            outputs: 7,
            activation: Activation::Relu,
        },
        DenseSpec {
            inputs: 7,
            outputs: 3,
            activation: Activation::LeakyRelu { slope: 655 },
        },
    ];
    let len = dense_file_bytes(&specs).unwrap();
    let mut file = vec![0xff; len + 5];
    let mut fill = |layer: usize, part: Part, to: &mut [u8]| {
        let tensor = 1 + 3 * layer + usize::from(part == Part::Bias);
        assert!(to.iter().all(|&byte| byte == 0));
        to.copy_from_slice(&common::bytes(&net.tensors[tensor].data));
    };
    assert_eq!(write_dense("test", &specs, &mut fill, &mut file), Ok(len));
    assert_eq!(file[..len], net.file());
    assert_eq!(file[len..], [0xff; 5]);
    file[300] ^= 1;
    seal(&mut file[..len]);
    let ours = file.clone();
    nnm::seal(&mut file[..len]);
    assert_eq!(file, ours);
}

#[test]
fn the_writer_refuses_what_makes_no_file() {
    let spec = |inputs, outputs| DenseSpec {
        inputs,
        outputs,
        activation: Activation::Linear,
    };
    let range = |name, have, min, max| {
        Err(Error::Argument {
            name,
            have,
            min,
            max,
        })
    };
    assert_eq!(dense_file_bytes(&[]), range("layers", 0, 1, 4096));
    assert_eq!(
        dense_file_bytes(&vec![spec(1, 1); 4097]),
        range("layers", 4097, 1, 4096)
    );
    assert_eq!(dense_file_bytes(&[spec(0, 1)]), range("inputs", 0, 1, 4096));
    assert_eq!(
        dense_file_bytes(&[spec(4097, 1)]),
        range("inputs", 4097, 1, 4096)
    );
    assert_eq!(
        dense_file_bytes(&[spec(1, 0)]),
        range("outputs", 0, 1, 4096)
    );
    assert_eq!(
        dense_file_bytes(&[spec(1, u32::MAX)]),
        range("outputs", u32::MAX.into(), 1, 4096)
    );
    assert_eq!(
        dense_file_bytes(&[spec(1, 2), spec(3, 1)]),
        range("inputs", 3, 2, 2)
    );
    // Header, 4 tensors, 1 op, 2 aligned pieces.
    assert_eq!(
        dense_file_bytes(&[spec(1, 1)]),
        Ok(128 + 4 * 64 + 64 + 64 + 64)
    );
    assert_eq!(
        dense_file_bytes(&vec![spec(1, 1); 4096]),
        Ok(128 + 64 + 4096 * 6 * 64)
    );

    let mut out = vec![0; 576];
    let write =
        |name: &str, out: &mut [u8]| write_dense(name, &[spec(1, 1)], &mut |_, _, _| (), out);
    assert_eq!(write("a", &mut out), Ok(576));
    assert_eq!(write("", &mut out), Err(Error::Name(NameFault::Empty)));
    assert_eq!(
        write("a", &mut out[..575]),
        Err(Error::Buffer {
            buffer: "file",
            have: 575,
            want: 576
        })
    );
    // The largest weight is allowed once in a row, but not twice.
    let mut largest = |_: usize, part: Part, to: &mut [u8]| {
        to.chunks_mut(4).for_each(|w| {
            if part == Part::Weights {
                w.copy_from_slice(&i32::MAX.to_le_bytes());
            }
        });
    };
    let mut out = vec![0; 1024];
    assert!(write_dense("a", &[spec(2, 1)], &mut largest, &mut out).is_ok());
    let fault = Fault::RowTooLarge { row: 0 };
    let error = Error::Model {
        place: Place::Op(0),
        fault,
    };
    assert_eq!(
        write_dense("a", &[spec(3, 1)], &mut largest, &mut out),
        Err(error)
    );
}

#[test]
fn every_truncation_is_refused() {
    let file = small().file();
    for len in 0..file.len() {
        let error = check(&file[..len]).unwrap_err();
        let (have, want) = (len as u64, if len < 128 { 128 } else { file.len() as u64 });
        let place = if len < 128 {
            Place::Header
        } else {
            Place::File
        };
        let fault = if len == 0 {
            Fault::Magic
        } else {
            Fault::Truncated { have, want }
        };
        assert_eq!(error, Error::Model { place, fault });
        assert_eq!(error.class(), Class::Corrupt);
        // The same with a header that knows the length, so that later checks see it.
        if len >= 128 {
            let mut file = file[..len].to_vec();
            put64(&mut file, 16, len as u64);
            seal(&mut file);
            // Only padding may be missing.
            assert!(check(&file).is_err() || len >= small_end(), "{len}");
        }
    }
    let mut longer = file.clone();
    longer.push(0);
    let fault = Fault::Trailing {
        have: file.len() as u64 + 1,
        want: file.len() as u64,
    };
    assert_eq!(
        check(&longer),
        Err(Error::Model {
            place: Place::File,
            fault
        })
    );
}

/// Where the last data of `small` end.
fn small_end() -> usize {
    small().file().len() - 64 + 12
}

#[test]
fn every_flipped_bit_is_noticed() {
    let file = small().file();
    let mut damaged = file.clone();
    for bit in 0..8 * file.len() {
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = check(&damaged).unwrap_err();
        if bit / 8 >= 24 {
            assert!(matches!(
                error,
                Error::Model {
                    place: Place::File,
                    fault: Fault::Checksum { .. }
                }
            ));
        }
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(check(&damaged), Ok(()));
}

#[test]
fn a_flipped_bit_that_the_checksum_covers_up_is_refused_or_harmless() {
    let net = small();
    let file = net.file();
    let data = net.op_at(2);
    let input = [i32::MIN, -1, 0, 1 << 20, i32::MAX];
    let mut refused = 0;
    for bit in 0..8 * file.len() {
        let mut changed = file.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        seal(&mut changed);
        match check(&changed) {
            Ok(()) => {
                // Only the minor version, the name, activations and their slope, and data may be
                // different.
                let at = bit / 8;
                let op = (net.op_at(0)..data)
                    .contains(&at)
                    .then(|| (at - net.op_at(0)) % 64);
                let free =
                    at == 10 || (24..28).contains(&at) || (64..68).contains(&at) || at >= data;
                assert!(
                    free || op.is_some_and(|at| at == 2 || (28..32).contains(&at)),
                    "byte {at}"
                );
                Loaded::new(&changed).run(&input);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 8 * 128);
}

#[test]
fn rows_that_could_overflow_are_refused() {
    for b in [0, 1, -1, i32::MAX, i32::MIN] {
        let l1 = (i64::MAX - (i64::from(b).abs() << 16) - (1 << 15)) >> 31;
        let fits = |extra: i64, sign: i32| {
            let mut net = Net::new(3);
            let (third, last) = ((l1 / 3) as i32, (l1 - 2 * (l1 / 3) + extra) as i32);
            let w = vec![1, 2, 3, third * sign, third, last * sign];
            net.dense(0, 2, Activation::Linear, w, vec![b; 2]);
            check(&net.file())
        };
        let fault = Fault::RowTooLarge { row: 1 };
        let error = Error::Model {
            place: Place::Op(0),
            fault,
        };
        assert_eq!(error.class(), Class::Range);
        for sign in [1, -1] {
            assert_eq!(fits(0, sign), Ok(()), "bias {b}");
            assert_eq!(fits(1, sign), Err(error), "bias {b}");
        }
    }
}

#[test]
fn limits_hold_to_the_unit() {
    let net = small();
    let file = net.file();
    let len = file.len() as u64;
    let limits = |max_bytes, max_ops, max_macs| Limits {
        max_bytes,
        max_ops,
        max_macs,
    };
    let with = |limits: Limits| parse(&file, &limits).map(|_| ());
    let error = |place, field, have, max| {
        Err(Error::Model {
            place,
            fault: Fault::Limit { field, have, max },
        })
    };
    assert_eq!(with(limits(len, 2, 56)), Ok(()));
    assert_eq!(
        with(limits(len - 1, 2, 56)),
        error(Place::Header, "file bytes", len, len - 1)
    );
    assert_eq!(
        with(limits(len, 1, 56)),
        error(Place::Header, "op_count", 2, 1)
    );
    assert_eq!(
        with(limits(len, 2, 55)),
        error(Place::File, "multiply-accumulates", 56, 55)
    );
    assert_eq!(with(Limits::NONE), Ok(()));
    assert_eq!(Limits::default(), Limits::DEFAULT);

    // Constants that are shared are copied for each operation, and that is limited, too.
    let mut net = Net::new(64);
    let mut rng = Rng::seeded(2);
    let mut x = net.random_dense(&mut rng, 0, 64, Activation::Relu);
    for _ in 0..9 {
        let y = net.activation(64);
        let mut op = net.ops[0].clone();
        (op.inputs[0], op.output) = (x, y);
        net.ops.push(op);
        (x, net.output) = (y, y);
    }
    let file = net.file();
    let weights = 10 * (64 * 64 + 64) * 4;
    let with = |max_bytes| parse(&file, &limits(max_bytes, 10, 1 << 20)).map(|_| ());
    assert_eq!(with(weights), Ok(()));
    assert_eq!(
        with(weights - 1),
        error(Place::File, "weight bytes", weights, weights - 1)
    );
    let input: Vec<i32> = (0..64).map(|_| rng.i32()).collect();
    assert_eq!(Loaded::new(&file).run(&input), net.reference(&input));
}

#[test]
fn the_largest_file_of_the_format_is_read_in_time() {
    // 4096 layers, which read each other in a row.
    let spec = DenseSpec {
        inputs: 1,
        outputs: 1,
        activation: Activation::Linear,
    };
    let specs = vec![spec; 4096];
    let mut file = vec![0; dense_file_bytes(&specs).unwrap()];
    let mut one = |_: usize, part: Part, to: &mut [u8]| {
        to.copy_from_slice(&if part == Part::Weights { 65536i32 } else { 1 }.to_le_bytes());
    };
    write_dense("deep", &specs, &mut one, &mut file).unwrap();
    let model = parse(&file, &Limits::NONE).unwrap();
    let mut steps = vec![neural_core::plan::Step::EMPTY; 4096];
    let plan = model.plan(&mut steps).unwrap();
    assert_eq!((plan.scratch_bytes, plan.macs), (128, 4096));
    let mut weights = vec![0; plan.weight_bytes];
    model.pack(&steps, &plan, &mut weights).unwrap();
    let (mut scratch, mut output) = ([0; 128], [0; 4]);
    neural_core::plan::run(
        &neural_core::plan::Scalar,
        &plan,
        &steps,
        &weights,
        1,
        &mut scratch,
        &5i32.to_le_bytes(),
        &mut output,
    )
    .unwrap();
    assert_eq!(i32::from_le_bytes(output), 5 + 4096);
}

#[test]
fn long_work_pauses_and_can_be_ended() {
    let spec = DenseSpec {
        inputs: 1024,
        outputs: 1024,
        activation: Activation::Linear,
    };
    let mut file = vec![0; dense_file_bytes(&[spec]).unwrap()];
    write_dense("pause", &[spec], &mut |_, _, _| {}, &mut file).unwrap();
    let calls = std::cell::Cell::new(0u32);
    let last = std::cell::Cell::new(u32::MAX);
    let pause = || {
        calls.set(calls.get() + 1);
        calls.get() < last.get()
    };
    let run = || {
        calls.set(0);
        let model = nnm::parse_pausing(&file, &Limits::default(), nnm::Pause(&pause))?;
        let mut steps = vec![neural_core::plan::Step::EMPTY; 1];
        let plan = model.plan(&mut steps)?;
        let mut weights = vec![0; plan.weight_bytes];
        model.pack(&steps, &plan, &mut weights)
    };
    assert_eq!(run(), Ok(()));
    // The checksum and the packed bytes by the MiB, each operation, each 64 rows, each block of four.
    let all = calls.get();
    assert!(all >= 4 + 4 + 1 + 16 + 256, "{all} pauses");
    for end in 1..=all {
        last.set(end);
        assert_eq!(
            run(),
            Err(Error::Interrupted),
            "ended by call {end} of {all}"
        );
        assert_eq!(calls.get(), end);
    }
}
