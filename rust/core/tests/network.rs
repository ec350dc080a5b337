// SPDX-License-Identifier: GPL-2.0

//! Dense layers and plans against a reference in wide arithmetic.

mod common;

use std::cell::Cell;

use common::{dense, Loaded, Net, Rng};
use neural_core::act::Activation;
use neural_core::nnm::{parse, Limits};
use neural_core::plan::{run, DenseArgs, Kernels, Scalar, Step, TILE_MACS};
use neural_core::{Class, Error};

const ACTIVATIONS: [Activation; 6] = [
    Activation::Linear,
    Activation::Relu,
    Activation::LeakyRelu { slope: 6554 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Softmax,
];

/// Runs one layer without activation and compares it with the reference.
fn check_layer(w: Vec<i32>, b: Vec<i32>, inputs: &[Vec<i32>]) {
    let mut net = Net::new(inputs[0].len() as u32);
    let want = inputs.iter().map(|x| dense(&w, &b, x)).collect::<Vec<_>>();
    net.dense(0, b.len() as u32, Activation::Linear, w, b);
    let loaded = Loaded::new(&net.file());
    for (x, want) in inputs.iter().zip(want) {
        assert_eq!(
            loaded.run(x),
            want,
            "{} x {}",
            net.tensors[1].dims[0],
            x.len()
        );
    }
}

#[test]
fn every_small_shape_is_exact() {
    let mut rng = Rng::new();
    for inputs in 1..=40 {
        for outputs in 1..=13 {
            // 22 bits and 40 inputs stay within the bound on a row; the inputs are any.
            let w = (0..inputs * outputs).map(|_| rng.wild() >> 6).collect();
            let b = (0..outputs).map(|_| rng.wild()).collect();
            let xs: Vec<Vec<i32>> = (0..4)
                .map(|_| (0..inputs).map(|_| rng.wild()).collect())
                .collect();
            check_layer(w, b, &xs);
        }
    }
}

#[test]
fn wide_shapes_are_exact() {
    let mut rng = Rng::new();
    for (inputs, outputs) in [
        (4096, 9),
        (4095, 5),
        (64, 128),
        (31, 256),
        (1, 4096),
        (300, 1025),
    ] {
        let w = (0..inputs * outputs).map(|_| rng.i32() >> 13).collect();
        let b = (0..outputs).map(|_| rng.i32()).collect();
        let xs: Vec<Vec<i32>> = (0..3)
            .map(|_| (0..inputs).map(|_| rng.i32()).collect())
            .collect();
        check_layer(w, b, &xs);
    }
}

#[test]
fn the_largest_rows_do_not_overflow() {
    // The bound: 2^31 * l1 + 2^16 * |b| + 2^15 <= 2^63 - 1.
    for b in [0, 1, i32::MAX, i32::MIN] {
        let room = i64::MAX - (i64::from(b).abs() << 16) - (1 << 15);
        let l1 = room >> 31;
        for inputs in [2i64, 3, 4, 5, 64, 4096] {
            let share = (l1 / inputs).min(i64::from(i32::MAX));
            let mut row: Vec<i64> = vec![share; inputs as usize];
            row[0] += (l1 - share * inputs).min(i64::from(i32::MAX) - row[0]);
            let row: Vec<i32> = row.iter().map(|&w| w as i32).collect();
            let negative: Vec<i32> = row.iter().map(|w| -w).collect();
            let mixed: Vec<i32> = row
                .iter()
                .enumerate()
                .map(|(i, &w)| if i % 3 == 0 { -w } else { w })
                .collect();
            let w = [row, negative, mixed].concat();
            let n = inputs as usize;
            let xs = [
                vec![i32::MIN; n],
                vec![i32::MAX; n],
                (0..n).map(|i| [i32::MIN, i32::MAX][i % 2]).collect(),
            ];
            check_layer(w, vec![b; 3], &xs);
        }
    }
}

#[test]
fn chains_of_layers_compute_what_the_reference_does() {
    let mut rng = Rng::new();
    for _ in 0..300 {
        let mut net = Net::new(1 + rng.below(30) as u32);
        let mut x = 0;
        for _ in 0..1 + rng.below(6) {
            let (outputs, activation) = (1 + rng.below(40) as u32, rng.pick(&ACTIVATIONS));
            x = net.random_dense(&mut rng, x, outputs, activation);
        }
        let loaded = Loaded::new(&net.file());
        // Two vectors of at most 192 bytes are needed at a time, and there may be a gap between.
        assert!(loaded.plan.scratch_bytes <= 3 * 192);
        let input: Vec<i32> = (0..net.tensors[0].dims[0]).map(|_| rng.wild()).collect();
        assert_eq!(loaded.run(&input), net.reference(&input));
    }
}

#[test]
fn graphs_never_overwrite_what_is_still_read() {
    let mut rng = Rng::new();
    for _ in 0..500 {
        let mut net = Net::new(1 + rng.below(20) as u32);
        let mut vectors = vec![0];
        for _ in 0..1 + rng.below(12) {
            let x = rng.pick(&vectors);
            let (outputs, activation) = (1 + rng.below(50) as u32, rng.pick(&ACTIVATIONS));
            vectors.push(net.random_dense(&mut rng, x, outputs, activation));
        }
        // Any of them is the output, also one that is read again.
        net.output = rng.pick(&vectors[1..]);
        let loaded = Loaded::new(&net.file());
        let input: Vec<i32> = (0..net.tensors[0].dims[0]).map(|_| rng.wild()).collect();
        assert_eq!(loaded.run(&input), net.reference(&input), "{net:?}");
        assert_eq!(loaded.run(&input), net.reference(&input), "second run");
    }
}

#[test]
fn scratch_is_shared_and_aligned() {
    let mut rng = Rng::new();
    let mut net = Net::new(16);
    let mut x = 0;
    for outputs in [100, 16, 100, 16, 3] {
        x = net.random_dense(&mut rng, x, outputs, Activation::Relu);
    }
    let plan = Loaded::new(&net.file()).plan;
    // 100 elements are 400 bytes, so 448; 16 are 64.
    assert_eq!(plan.scratch_bytes, 448 + 64);
    assert_eq!(
        (plan.input_bytes, plan.output_bytes, plan.steps),
        (64, 12, 5)
    );
    assert_eq!(plan.macs, 16 * 100 * 4 + 16 * 3);
    assert_eq!(plan.weight_bytes % 64, 0);

    let mut one = Net::new(16);
    one.random_dense(&mut rng, 0, 3, Activation::Relu);
    assert_eq!(Loaded::new(&one.file()).plan.scratch_bytes, 0);
}

#[test]
fn steps_describe_their_layers() {
    let mut rng = Rng::new();
    let mut net = Net::new(5);
    let x = net.random_dense(&mut rng, 0, 15, Activation::Tanh);
    net.random_dense(&mut rng, x, 4, Activation::LeakyRelu { slope: 7 });
    let steps = Loaded::new(&net.file()).steps;
    assert_eq!(
        (steps[0].inputs(), steps[0].outputs(), steps[0].macs()),
        (5, 15, 75)
    );
    assert_eq!(
        (
            steps[1].inputs(),
            steps[1].outputs(),
            steps[1].weight_bytes()
        ),
        (15, 4, 256)
    );
    assert_eq!(steps[1].activation(), Activation::LeakyRelu { slope: 7 });
    assert_eq!(
        (steps[0].kind().name(), steps[0].dtype().name()),
        ("dense", "q16")
    );
}

/// Counts what is done between two pauses, and stops after some of them.
struct Watch {
    since: Cell<u64>,
    most: Cell<u64>,
    pauses: Cell<u32>,
    stop_at: u32,
}

impl Watch {
    fn new(stop_at: u32) -> Self {
        Watch {
            since: Cell::new(0),
            most: Cell::new(0),
            pauses: Cell::new(0),
            stop_at,
        }
    }
}

impl Kernels for Watch {
    fn dense_q16(&self, args: DenseArgs<'_>) {
        let macs = (args.input.len() / 4 * (args.output.len() / 4)) as u64;
        self.since.set(self.since.get() + macs);
        self.most.set(self.most.get().max(self.since.get()));
        Scalar.dense_q16(args);
    }

    fn pause(&self) -> bool {
        self.since.set(0);
        self.pauses.set(self.pauses.get() + 1);
        self.pauses.get() != self.stop_at
    }
}

fn watched(net: &Net, watch: &Watch) -> Result<(), Error> {
    let Loaded {
        plan,
        steps,
        weights,
    } = Loaded::new(&net.file());
    let (mut scratch, mut output) = (vec![0; plan.scratch_bytes], vec![0; plan.output_bytes]);
    let input = vec![1; plan.input_bytes];
    run(
        watch,
        &plan,
        &steps,
        &weights,
        1,
        &mut scratch,
        &input,
        &mut output,
    )
}

#[test]
fn work_between_pauses_is_bounded() {
    let mut rng = Rng::new();
    for dims in [
        &[4096u32, 33, 4096][..],
        &[1, 4096, 1],
        &[64, 128, 10],
        &[129, 1000, 127, 1025],
        &[64; 21],
    ] {
        let mut net = Net::new(dims[0]);
        let mut x = 0;
        for &outputs in &dims[1..] {
            x = net.random_dense(&mut rng, x, outputs, Activation::Linear);
        }
        let watch = Watch::new(0);
        watched(&net, &watch).unwrap();
        assert!(
            watch.most.get() <= TILE_MACS,
            "{dims:?}: {}",
            watch.most.get()
        );
        let macs: u32 = dims.windows(2).map(|pair| pair[0] * pair[1]).sum();
        // No more pauses than needed: tiles are at least half full.
        assert!(
            u64::from(watch.pauses.get()) <= 2 * u64::from(macs) / TILE_MACS,
            "{dims:?}"
        );
    }
}

#[test]
fn a_pause_can_stop_the_run() {
    let mut rng = Rng::new();
    let mut net = Net::new(1000);
    net.random_dense(&mut rng, 0, 100, Activation::Softmax);
    assert_eq!(watched(&net, &Watch::new(0)), Ok(()));
    for stop_at in 1..=6 {
        let watch = Watch::new(stop_at);
        assert_eq!(watched(&net, &watch), Err(Error::Interrupted));
        assert_eq!(watch.pauses.get(), stop_at);
    }
    assert_eq!(Error::Interrupted.class(), Class::Interrupted);
}

#[test]
fn wrong_buffers_are_refused_and_nothing_is_written() {
    let mut rng = Rng::new();
    let mut net = Net::new(3);
    let x = net.random_dense(&mut rng, 0, 5, Activation::Relu);
    net.random_dense(&mut rng, x, 2, Activation::Linear);
    let file = net.file();
    let Loaded {
        plan,
        steps,
        weights,
    } = Loaded::new(&file);
    let go = |steps: usize, weights_len: usize, scratch: usize, input: usize, output: usize| {
        let mut out = vec![0x77; output];
        let weights: Vec<u8> = weights.iter().copied().cycle().take(weights_len).collect();
        let result = run(
            &Scalar,
            &plan,
            &Loaded::new(&file).steps[..steps],
            &weights,
            1,
            &mut vec![0; scratch],
            &vec![0; input],
            &mut out,
        );
        if result.is_err() {
            assert!(out.iter().all(|&byte| byte == 0x77));
        }
        result
    };
    let (w, s) = (plan.weight_bytes, plan.scratch_bytes);
    assert_eq!(go(2, w, s, 12, 8), Ok(()));
    assert_eq!(go(2, w, s + 64, 12, 8), Ok(()));
    let wrong = |buffer, have, want| Err(Error::Buffer { buffer, have, want });
    assert_eq!(go(2, w, s, 11, 8), wrong("input bytes", 11, 12));
    assert_eq!(go(2, w, s, 13, 8), wrong("input bytes", 13, 12));
    assert_eq!(go(2, w, s, 0, 8), wrong("input bytes", 0, 12));
    assert_eq!(go(2, w, s, 12, 7), wrong("output bytes", 7, 8));
    assert_eq!(go(2, w, s, 12, 9), wrong("output bytes", 9, 8));
    assert_eq!(
        go(2, w, s - 1, 12, 8),
        wrong("scratch bytes", s as u64 - 1, s as u64)
    );
    assert_eq!(
        go(2, w - 1, s, 12, 8),
        wrong("weight bytes", w as u64 - 1, w as u64)
    );
    assert_eq!(go(1, w, s, 12, 8), wrong("steps", 1, 2));

    let model = parse(&file, &Limits::DEFAULT).unwrap();
    assert_eq!(
        model.plan(&mut [Step::EMPTY; 1]),
        Err(Error::Buffer {
            buffer: "steps",
            have: 1,
            want: 2
        })
    );
    let mut dst = vec![0; w + 1];
    assert_eq!(
        model.pack(&steps, &plan, &mut dst),
        wrong("weight bytes", w as u64 + 1, w as u64)
    );
    assert_eq!(
        model.pack(&steps[..1], &plan, &mut dst[..w]),
        wrong("steps", 1, 2)
    );
}

#[test]
fn a_plan_of_another_model_is_refused() {
    let mut rng = Rng::new();
    let nets = [(3, 2), (3, 200), (200, 2), (2, 3)].map(|(inputs, outputs)| {
        let mut net = Net::new(inputs);
        net.random_dense(&mut rng, 0, outputs, Activation::Relu);
        Loaded::new(&net.file())
    });
    for (i, this) in nets.iter().enumerate() {
        for (j, other) in nets.iter().enumerate() {
            let mut output = vec![0x77; this.plan.output_bytes];
            let input = vec![1; this.plan.input_bytes];
            let (weights, steps) = (&this.weights, &other.steps);
            let result = run(
                &Scalar,
                &this.plan,
                steps,
                weights,
                1,
                &mut [],
                &input,
                &mut output,
            );
            if i != j {
                assert_eq!(result.unwrap_err().class(), Class::Invalid, "{i} {j}");
                assert!(output.iter().all(|&byte| byte == 0x77));
            }
        }
    }
}
