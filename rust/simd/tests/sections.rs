// SPDX-License-Identifier: GPL-2.0

//! No section has more work than it may: operations of each kind and type, of the shapes that are the
//! worst to cut, announce it piece by piece. Nothing is measured; how long the work takes, the example
//! `sections` shows.

#[path = "../../core/tests/common/codes.rs"]
mod codes;
#[path = "../../core/tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::collections::BTreeSet;

use codes::{pair, Codes};
use common::Loaded;
use neural_core::nnm::{parse, DType, Limits, OpKind, Tensor, TensorKind};
use neural_core::plan::run;
use neural_simd::{Features, Isa, Section, Set, Simd, SECTION_WORK};

use OpKind::*;

/// Adds up what is announced while a section is open, or for the next one.
#[derive(Default)]
struct Sum {
    now: Cell<u64>,
    most: Cell<u64>,
    opened: Cell<u32>,
    open: Cell<bool>,
}

impl Section for Sum {
    fn enter(&self) -> bool {
        if !self.open.replace(true) {
            self.opened.set(self.opened.get() + 1);
        }
        true
    }

    fn leave(&self) {
        self.open.set(false);
        self.now.set(0);
    }

    fn pause(&self) -> bool {
        self.leave();
        true
    }

    fn spend(&self, work: u64) {
        self.now.set(self.now.get() + work);
        self.most.set(self.most.get().max(self.now.get()));
    }
}

const ONE: i32 = 0x3f80_0000;

/// One operation of numbers, whose activations are the input of the network, or made of it.
fn numbers(
    kind: OpKind,
    activations: &[&[u32]],
    constants: &[&[u32]],
    params: &[i32],
    out: &[u32],
) -> Codes {
    let mut net = Codes::new(&[1], 0);
    let number = |kind, dims: &[u32]| Tensor::new(DType::F32, kind, dims);
    let add = |net: &mut Codes, dims: &[u32]| net.add(number(TensorKind::Activation, dims), vec![]);
    let mut inputs = vec![];
    if let [only] = activations {
        net.tensors[0] = number(TensorKind::Activation, only);
        inputs.push(0);
    } else {
        net.tensors[0] = number(TensorKind::Activation, &[1]);
        for dims in activations {
            // One number, and zeros behind it.
            let one = add(&mut net, &vec![1; dims.len()]);
            net.op(Reshape, &[0], &[], one);
            let all = add(&mut net, dims);
            let pads: Vec<i32> = dims.iter().map(|&n| pair([0, n - 1])).collect();
            inputs.push(net.op(Pad, &[one], &pads, all));
        }
    }
    for dims in constants {
        let tensor = number(TensorKind::Constant, dims);
        let data = vec![0; tensor.data_bytes as usize];
        inputs.push(net.add(tensor, data));
    }
    let out = add(&mut net, out);
    net.op(kind, &inputs, params, out);
    net
}

/// A kind, what there is of it.
type Case = (OpKind, DType, Codes);

/// Operations of numbers.
fn float_cases() -> Vec<Case> {
    let step = pair([1, 1]);
    let mut cases = vec![];
    let mut add =
        |kind, activations: &[&[u32]], constants: &[&[u32]], params: &[i32], out: &[u32]| {
            let net = numbers(kind, activations, constants, params, out);
            cases.push((kind, DType::F32, net));
        };
    // Rows of any length, few and many results, one position and more.
    for (k, n) in [
        (65536, 64),
        (65536, 100),
        (65536, 16),
        (65536, 8),
        (65536, 1),
        (3000, 200),
    ] {
        add(Dense, &[&[k]], &[&[n, k], &[n]], &[], &[n]);
        add(Dense, &[&[3, k]], &[&[n, k], &[n]], &[3, ONE], &[3, n]);
    }
    add(Dense, &[&[60_000, 1]], &[&[1, 1], &[1]], &[], &[60_000, 1]);
    let windows: [(&[u32], [u32; 2], u32); 4] = [
        (&[512, 512, 1], [512, 512], 16),
        (&[40, 40, 64], [30, 30], 7),
        (&[300, 300, 3], [3, 3], 9),
        (&[5, 5, 512], [3, 3], 128),
    ];
    for (image, [h, w], n) in windows {
        let out = [image[0] - h + 1, image[1] - w + 1, n];
        let weights = [n, h, w, image[2]];
        let params = [0, 0, step, step];
        add(Conv2d, &[image], &[&weights, &[n]], &params, &out);
    }
    for (image, [h, w]) in [
        ([256, 256, 64], [256, 256]),
        ([80, 80, 3], [70, 70]),
        ([30, 30, 3000], [2, 2]),
    ] {
        let out = [image[0] - h + 1, image[1] - w + 1, image[2]];
        let params = [0, 0, step, step];
        add(
            DepthwiseConv2d,
            &[&image],
            &[&[h, w, image[2]], &[image[2]]],
            &params,
            &out,
        );
    }
    for kind in [AveragePool2d, MaxPool2d] {
        for (image, [h, w]) in [
            ([101, 101, 600], [101, 101]),
            ([14, 14, 30_000], [14, 14]),
            ([2, 16_000, 5], [1, 100]),
            ([110, 110, 3], [90, 90]),
            ([3000, 3, 1], [1, 1]),
        ] {
            let out = [image[0] - h + 1, image[1] - w + 1, image[2]];
            add(kind, &[&image], &[], &[0, 0, step, pair([h, w])], &out);
        }
    }
    for kind in [Add, Sub, Mul] {
        for b in [1, 3, 17, 20_000, 60_000] {
            let a = [60_000 / b, b];
            add(kind, &[&a], &[&[b]], &[], &a);
            add(kind, &[&a, &[b]], &[], &[4, 0], &a);
        }
    }
    add(Mean, &[&[1024, 512, 64]], &[], &[], &[64]);
    add(Mean, &[&[500, 65_536]], &[], &[], &[65_536]);
    add(Mean, &[&[64, 65_536, 1]], &[], &[], &[1]);
    for kind in [Softmax, LogSoftmax] {
        for dims in [[10, 65_536], [300, 20_000], [65_536, 3]] {
            add(kind, &[&dims], &[], &[], &dims);
        }
    }
    add(Map, &[&[15, 65_533]], &[], &[6, 0], &[15, 65_533]);
    for dims in [[3, 40_944], [60_000, 3]] {
        let list = [dims[1]];
        add(LayerNorm, &[&dims], &[&list, &list], &[ONE], &dims);
        add(RmsNorm, &[&dims], &[&list], &[ONE], &dims);
    }
    for (t, s, c, heads) in [
        (1, 30_000, 512, 1),
        (2, 65_536, 1, 1),
        (700, 700, 64, 2),
        (2, 400, 20_464, 1),
        (40, 3000, 64, 64),
    ] {
        let (q, k): ([u32; 2], [u32; 2]) = ([t, c], [s, c]);
        let causal = i32::from(t == 700);
        add(Attention, &[&q, &k, &k], &[], &[heads, causal, ONE], &q);
    }
    for (tokens, c, heads) in [(60, 512, 1), (1, 20_464, 1), (500, 64, 64), (30_000, 1, 1)] {
        let state = [2 * tokens * c + 1];
        let out = [c + state[0]];
        let row = [c];
        add(
            AttentionStep,
            &[&row, &row, &row, &state],
            &[],
            &[heads, ONE],
            &out,
        );
    }
    for (t, i, h) in [(2, 40_000, 64), (2, 100, 2000), (3, 1, 1)] {
        let (x, xs) = ([i], [t, i]);
        add(Lstm, &[&xs], &[&[4 * h, i + h], &[4 * h]], &[], &[t, h]);
        add(
            LstmCell,
            &[&x, &[2 * h]],
            &[&[4 * h, i + h], &[4 * h]],
            &[],
            &[2 * h],
        );
        add(Gru, &[&xs], &[&[3 * h, i + h], &[6 * h]], &[], &[t, h]);
        add(
            GruCell,
            &[&x, &[h]],
            &[&[3 * h, i + h], &[6 * h]],
            &[],
            &[h],
        );
    }
    for range in [0, 1] {
        let (n, state) = (21_800, 43_601);
        let params = [range, 8, ONE];
        add(Normalise, &[&[n], &[state]], &[], &params, &[n + state]);
    }
    for (n, d) in [(3000, 2000), (20, 20_464), (65_536, 3)] {
        add(Cosine, &[&[d]], &[&[n, d]], &[ONE], &[n]);
    }
    for (k, n) in [(4000, 4000), (3, 65_536), (65_536, 3)] {
        add(Interpolate, &[&[2, k]], &[], &[], &[2, n]);
    }
    for (n, w, r) in [
        (250, 1, 1),
        (200, 100, 3),
        (3, 15_000, 1),
        (1, 1, 9_000),
        (64, 16, 2),
    ] {
        let interface = w * r + 3 * w + 5 * r + 3;
        let state = n * w + 3 * n + r * n + n * n;
        let params = [n as i32, w as i32, r as i32, ONE];
        add(
            Dnc,
            &[&[interface], &[state]],
            &[],
            &params,
            &[w * r + state],
        );
    }
    cases
}

/// Operations of codes.
fn code_cases() -> Vec<Case> {
    let step = pair([1, 1]);
    let mut cases = vec![];
    let factors = |net: &mut Codes, n: u32| {
        let list = [vec![1 << 30; n as usize], vec![9; n as usize]].concat();
        net.words(&[2, n], &list)
    };
    let mut add = |kind, x: &[u32], w: &[u32], n: u32, params: &[i32], out: &[u32]| {
        let mut net = Codes::new(x, 3);
        let weights = net.codes(w, vec![1; w.iter().product::<u32>() as usize]);
        let bias = net.words(&[n], &vec![5; n as usize]);
        let r = factors(&mut net, n);
        let y = net.activation(out, 3);
        net.op(kind, &[0, weights, bias, r], params, y);
        cases.push((kind, DType::I8, net));
    };
    for (k, n) in [
        (65536, 64),
        (20_000, 200),
        (6000, 100),
        (5000, 500),
        (1, 60_000),
    ] {
        add(Dense, &[k], &[n, k], n, &[-128, 127], &[n]);
        add(Dense, &[2, k], &[n, k], n, &[-128, 127], &[2, n]);
    }
    let params = [-128, 127, step, step];
    add(
        Conv2d,
        &[256, 256, 1],
        &[64, 256, 256, 1],
        64,
        &params,
        &[1, 1, 64],
    );
    add(
        Conv2d,
        &[82, 82, 1],
        &[64, 80, 80, 1],
        64,
        &params,
        &[3, 3, 64],
    );
    add(
        Conv2d,
        &[300, 300, 1],
        &[1, 1, 1, 1],
        1,
        &params,
        &[300, 300, 1],
    );
    add(
        DepthwiseConv2d,
        &[256, 256, 64],
        &[256, 256, 64],
        64,
        &params,
        &[1, 1, 64],
    );
    add(
        DepthwiseConv2d,
        &[80, 80, 100],
        &[70, 70, 100],
        100,
        &params,
        &[11, 11, 100],
    );
    let mut one = |kind, x: &[u32], params: &[i32], out: &[u32]| {
        let mut net = Codes::new(x, -128);
        let y = net.activation(out, -128);
        if kind == Softmax {
            net.tensors[y as usize] = net.tensors[y as usize].with_scale(-128, (127 - 8) << 23);
        }
        net.op(kind, &[0], params, y);
        cases.push((kind, DType::I8, net));
    };
    for kind in [AveragePool2d, MaxPool2d] {
        for (image, [h, w]) in [
            ([200, 200, 64], [200, 200]),
            ([14, 14, 30_000], [14, 14]),
            ([2, 16_000, 5], [1, 100]),
        ] {
            let out = [image[0] - h + 1, image[1] - w + 1, image[2]];
            one(kind, &image, &[-128, 127, step, pair([h, w])], &out);
        }
    }
    for dims in [[2000, 4096], [30_000, 3]] {
        one(Softmax, &dims, &[1 << 30, 20, -100], &dims);
    }
    one(Transpose, &[1000, 1000], &[1, 0], &[1000, 1000]);
    for kind in [Add, Sub, Mul] {
        for b in [1, 3, 17, 20_000, 60_000] {
            let dims = [60_000 / b, b];
            let mut net = Codes::new(&dims, 3);
            let second = net.codes(&[b], vec![1; b as usize]);
            let count = if kind == Mul { 1 } else { 3 };
            let r = net.words(&[2 * count], &[1 << 30, 1].repeat(count as usize));
            let y = net.activation(&dims, 3);
            net.op(kind, &[0, second, r], &[-128, 127, 3], y);
            cases.push((kind, DType::I8, net));
        }
    }
    for dims in [[50_000, 64], [30, 65_536]] {
        let mut net = Codes::new(&dims, 3);
        let r = net.words(&[2], &[1 << 30, 9]);
        let y = net.activation(&[dims[1]], 3);
        net.op(Mean, &[0, r], &[], y);
        cases.push((Mean, DType::I8, net));
    }
    let mut net = Codes::new(&[40, 65_536], 3);
    let table = net.codes(&[256], vec![1; 256]);
    let y = net.activation(&[40, 65_536], 3);
    net.op(Lut, &[0, table], &[], y);
    cases.push((Lut, DType::I8, net));
    for (t, i, h) in [(2, 30_000, 40), (2, 100, 1500)] {
        let mut net = Codes::new(&[t, i], 3);
        let w = net.codes(&[4 * h, i + h], vec![0; (4 * h * (i + h)) as usize]);
        let b = net.words(&[4 * h], &vec![5; 4 * h as usize]);
        let mut list = [1 << 30, 1].repeat(12);
        (list[22], list[23]) = (0, 0);
        let r = net.words(&[24], &list);
        let y = net.activation(&[t, h], 0);
        net.op(Lstm, &[0, w, b, r], &[], y);
        cases.push((Lstm, DType::I8, net));
    }
    cases
}

/// The kinds that have no vector code of their own: they move elements, or are scalar.
const PLAIN: [OpKind; 8] = [
    Concat, Pad, Reshape, Transpose, Slice, Forest, Embedding, Lut,
];

#[test]
fn no_section_has_more_work_than_it_may() {
    let Some(set) = Set::select(&Features::detect(), None).filter(|s| s.isa() != Isa::Scalar)
    else {
        return;
    };
    let mut kinds = BTreeSet::new();
    let mut wrong = vec![];
    for (i, (kind, dtype, net)) in float_cases().into_iter().chain(code_cases()).enumerate() {
        kinds.insert((kind.code(), dtype == DType::F32));
        let file = net.file();
        let limits = Limits::default();
        let what = format!("{i}: {} {dtype:?} {:?}", kind.name(), net.dims(net.output));
        parse(&file, &limits).unwrap_or_else(|error| panic!("{what}: {error}"));
        let loaded = Loaded::new(&file);
        let input = vec![0; loaded.plan.input_bytes];
        let mut output = vec![0; loaded.plan.output_bytes];
        let mut scratch = vec![0; loaded.plan.scratch_bytes];
        let simd = Simd::new(Some(set), Sum::default());
        let (plan, steps) = (&loaded.plan, &loaded.steps);
        let weights = &loaded.weights;
        let done = run(
            &simd,
            plan,
            steps,
            weights,
            1,
            &mut scratch,
            &input,
            &mut output,
        );
        let section = simd.section();
        println!(
            "{what}: {} sections, {} at most",
            section.opened.get(),
            section.most.get()
        );
        if done.is_err() || section.most.get() > SECTION_WORK {
            wrong.push((what, done, section.most.get()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for kind in OpKind::ALL {
        assert!(
            kinds.contains(&(kind.code(), true)) || PLAIN.contains(kind),
            "{kind:?}"
        );
    }
}
