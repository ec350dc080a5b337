// SPDX-License-Identifier: GPL-2.0

//! Plans of networks of 8-bit codes: random graphs against a slow reference, whatever the number of
//! samples, the size of the tiles and the content of the memory.

#[path = "common/codes.rs"]
mod codes;
mod common;
#[path = "common/random.rs"]
mod random;

use std::cell::{Cell, RefCell};

use codes::Codes;
use common::{Loaded, Rng};
use neural_core::int8::{self, ChainLayer, PANEL, SLACK};
use neural_core::nnm::OpKind;
use neural_core::plan::{run, DenseArgs, Kernels, Scalar};

fn inputs(rng: &mut Rng, len: usize) -> Vec<i8> {
    let kind = rng.below(8);
    let code = |_| match kind {
        0 => -128,
        1 => 127,
        _ => rng.u64() as i8,
    };
    (0..len).map(code).collect()
}

fn unsigned(codes: &[i8]) -> Vec<u8> {
    codes.iter().map(|&x| x as u8).collect()
}

/// Runs a network, in scratch memory full of rubbish, between bytes that must stay as they are.
fn predict<K: Kernels>(
    rng: &mut Rng,
    net: &Loaded,
    kernels: &K,
    samples: usize,
    input: &[i8],
) -> Vec<i8> {
    const BEHIND: usize = 256;
    let scratch_bytes = samples * net.plan.scratch_bytes;
    let mut scratch: Vec<u8> = (0..scratch_bytes + BEHIND)
        .map(|_| rng.u64() as u8)
        .collect();
    let behind = scratch[scratch_bytes..].to_vec();
    let mut output = vec![0x55; samples * net.plan.output_bytes];
    let input = unsigned(input);
    run(
        kernels,
        &net.plan,
        &net.steps,
        &net.weights,
        samples,
        &mut scratch,
        &input,
        &mut output,
    )
    .unwrap();
    assert_eq!(scratch[scratch_bytes..], behind);
    // The same without tiles, in memory of just the right size, with other rubbish.
    let mut exact: Vec<u8> = (0..scratch_bytes).map(|_| rng.u64() as u8).collect();
    let mut again = vec![0xaa; output.len()];
    run(
        &Scalar,
        &net.plan,
        &net.steps,
        &net.weights,
        samples,
        &mut exact,
        &input,
        &mut again,
    )
    .unwrap();
    assert_eq!(output, again);
    output.iter().map(|&x| x as i8).collect()
}

fn describe(net: &Codes) -> String {
    let mut text = String::new();
    for (i, op) in net.ops.iter().enumerate() {
        let dims: Vec<&[u32]> = op
            .inputs
            .iter()
            .filter(|&&x| x != u32::MAX)
            .map(|&x| net.dims(x))
            .collect();
        text += &format!(
            "\n{i} {:?} {:x?} {:?} {dims:?} -> {} {:?}",
            op.kind,
            op.params,
            op.inputs,
            op.output,
            net.dims(op.output)
        );
    }
    text + &format!("\noutput {}", net.output)
}

#[test]
fn random_graphs_give_what_the_definitions_say() {
    let mut rng = Rng::new();
    let (mut seen, mut various) = ([0u32; 64], 0);
    for _ in 0..3000 {
        let net = random::random(&mut rng, 8);
        let loaded = Loaded::new(&net.file());
        let len = loaded.plan.input_bytes;
        let input = inputs(&mut rng, len);
        let values = net.compute(&input);
        let output = predict(&mut rng, &loaded, &Scalar, 1, &input);
        assert_eq!(output, values[net.output as usize], "{}", describe(&net));
        various += u32::from(output.iter().any(|&y| y != output[0]));
        for op in &net.ops {
            seen[usize::from(op.kind.code())] += 1;
        }
    }
    // Not only what is limited to one code, or has one element.
    assert!(various > 1500, "{various}");
    let often = |kind: &OpKind| seen[usize::from(kind.code())] > 100;
    assert!(random::KINDS.iter().all(often), "{seen:?}");
}

#[test]
fn several_samples_give_what_each_of_them_gives() {
    let mut rng = Rng::new();
    for _ in 0..500 {
        let net = random::random(&mut rng, 8);
        let loaded = Loaded::new(&net.file());
        let len = loaded.plan.input_bytes;
        for samples in [2, 3, 7] {
            let input = inputs(&mut rng, samples * len);
            let output = predict(&mut rng, &loaded, &Scalar, samples, &input);
            let each = input.chunks(len).flat_map(|input| {
                let output = net.output as usize;
                net.compute(input).swap_remove(output)
            });
            assert_eq!(output, each.collect::<Vec<i8>>(), "{}", describe(&net));
        }
    }
}

/// Counts the work between pauses.
struct Tiles {
    most: u64,
    since: Cell<u64>,
    pauses: Cell<u64>,
}

impl Tiles {
    fn new(most: u64) -> Self {
        Tiles {
            most,
            since: Cell::new(0),
            pauses: Cell::new(0),
        }
    }

    /// A piece of work, and the least of which such work can consist.
    fn work(&self, work: usize, least: usize) {
        let since = self.since.get() + work as u64;
        self.since.set(since);
        let most = self.most.max(least as u64);
        assert!(since <= most, "{work} (at least {least}), {since} > {most}");
    }
}

impl Kernels for Tiles {
    fn dense_q16(&self, _: DenseArgs<'_>) {
        unreachable!();
    }

    fn gemm_i8(&self, args: int8::Gemm<'_>) {
        let row = args.offsets.len() / 4 * args.k;
        self.work(args.outer * args.m * args.n * row, args.n.min(PANEL) * row);
        Scalar.gemm_i8(args);
    }

    fn depthwise_i8(&self, args: int8::Depthwise<'_>) {
        let (taps, c) = (args.offsets.len() / 4, args.channels);
        self.work(args.outer * args.m * c * taps, c.min(PANEL) * taps);
        Scalar.depthwise_i8(args);
    }

    fn average_pool_i8(&self, args: int8::Pool<'_>) {
        let line = args.out_width * args.channels * args.window[0] * args.window[1];
        self.work(args.out_height * line, line);
        Scalar.average_pool_i8(args);
    }

    fn max_pool_i8(&self, args: int8::Pool<'_>) {
        let line = args.out_width * args.channels * args.window[0] * args.window[1];
        self.work(args.out_height * line, line);
        Scalar.max_pool_i8(args);
    }

    fn add_i8(&self, args: int8::Add<'_>) {
        self.work(args.y.len(), PANEL);
        Scalar.add_i8(args);
    }

    fn mul_i8(&self, args: int8::Mul<'_>) {
        self.work(args.y.len(), PANEL);
        Scalar.mul_i8(args);
    }

    fn mean_i8(&self, args: int8::Mean<'_>) {
        let work = args.rows * args.channels;
        self.work(work, work);
        Scalar.mean_i8(args);
    }

    fn softmax_i8(&self, args: int8::Softmax<'_>) {
        self.work(args.y.len(), args.n);
        Scalar.softmax_i8(args);
    }

    fn lut_i8(&self, table: &[u8; 256], x: &[u8], y: &mut [u8]) {
        self.work(y.len(), PANEL);
        Scalar.lut_i8(table, x, y);
    }

    fn flip_i8(&self, args: int8::Flip<'_>) {
        self.work(args.rows * args.n, PANEL);
        Scalar.flip_i8(args);
    }

    fn tile_macs(&self) -> u64 {
        self.most
    }

    fn pause(&self) -> bool {
        self.since.set(0);
        self.pauses.set(self.pauses.get() + 1);
        true
    }
}

#[test]
fn tiles_of_any_size_give_the_same_bytes_and_are_not_larger_than_they_may_be() {
    let mut rng = Rng::new();
    let mut pauses = [0; 4];
    for _ in 0..500 {
        let net = random::random(&mut rng, 8);
        let loaded = Loaded::new(&net.file());
        let samples = rng.pick(&[1, 1, 2, 5]);
        let input = inputs(&mut rng, samples * loaded.plan.input_bytes);
        let expected = predict(&mut rng, &loaded, &Scalar, samples, &input);
        for (pauses, most) in pauses.iter_mut().zip([1, 100, 10_000, u64::MAX]) {
            let tiles = Tiles::new(most);
            let output = predict(&mut rng, &loaded, &tiles, samples, &input);
            assert_eq!(output, expected, "{most}: {}", describe(&net));
            *pauses += tiles.pauses.get();
        }
    }
    assert!(
        pauses.windows(2).all(|p| p[0] > p[1]) && pauses[3] == 0,
        "{pauses:?}"
    );
}

/// A row of codes.
fn flip(x: &[u8], y: &mut [u8]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = x ^ 0x80;
    }
}

/// Does chains, layer by layer.
struct Chains {
    calls: Cell<u32>,
    layers: Cell<usize>,
    tables: Cell<usize>,
}

impl Kernels for Chains {
    fn dense_q16(&self, _: DenseArgs<'_>) {
        unreachable!();
    }

    fn chain_i8(&self, args: int8::Chain<'_>, _: usize) -> bool {
        self.calls.set(self.calls.get() + 1);
        assert!(args.temp.len() >= 2 * args.width);
        let (mut x, mut y) = args.temp.split_at_mut(args.width);
        let mut n = args.x.len();
        flip(args.x, x);
        for layer in args.layers.chunks_exact(ChainLayer::BYTES) {
            self.layers.set(self.layers.get() + 1);
            let layer = ChainLayer::read(layer).unwrap();
            assert_eq!(layer.k as usize, n);
            n = layer.n as usize;
            assert!(n + SLACK <= args.width && layer.k as usize + SLACK <= args.width);
            let part = |at: u32| &args.weights[at as usize..];
            Scalar.gemm_i8(int8::Gemm {
                x,
                x_row: 0,
                x_outer: 0,
                y,
                y_row: 0,
                y_outer: 0,
                m: 1,
                outer: 1,
                n,
                k: layer.k as usize,
                offsets: &[0; 4],
                w: part(layer.w),
                bias: part(layer.bias),
                requant: int8::Requant {
                    mult: part(layer.mult),
                    shift: part(layer.shift),
                    zero: layer.zero,
                    min: layer.min,
                    max: layer.max,
                },
            });
            (x, y) = (y, x);
            if layer.table != ChainLayer::NONE {
                self.tables.set(self.tables.get() + 1);
                let table = part(layer.table).first_chunk().unwrap();
                Scalar.lut_i8(table, &x[..n], &mut y[..n]);
                (x, y) = (y, x);
            }
        }
        assert_eq!(args.y.len(), n);
        if args.flip {
            flip(x, args.y);
        } else {
            args.y.copy_from_slice(&x[..n]);
        }
        true
    }

    fn tile_macs(&self) -> u64 {
        u64::MAX
    }
}

#[test]
fn chains_give_what_their_layers_give() {
    let mut rng = Rng::new();
    let kernels = Chains {
        calls: Cell::new(0),
        layers: Cell::new(0),
        tables: Cell::new(0),
    };
    let nets = 1000;
    for i in 0..nets {
        let net = match i % 2 {
            0 => random::chain(&mut rng),
            _ => random::random(&mut rng, 8),
        };
        let loaded = Loaded::new(&net.file());
        for samples in [1, 2] {
            let input = inputs(&mut rng, samples * loaded.plan.input_bytes);
            // Compared with what layer by layer gives, too.
            predict(&mut rng, &loaded, &kernels, samples, &input);
        }
    }
    assert!(kernels.calls.get() > nets / 3, "{}", kernels.calls.get());
    assert!(kernels.layers.get() > 1000, "{}", kernels.layers.get());
    assert!(kernels.tables.get() > 200, "{}", kernels.tables.get());
}

/// Notes at which places it is told that the work begins and ends, and where it gets some.
struct Places {
    takes_chains: bool,
    heard: RefCell<Vec<Heard>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Heard {
    Begin(usize),
    Chain,
    End(usize, usize),
}

impl Places {
    fn note(&self, heard: Heard) {
        self.heard.borrow_mut().push(heard);
    }

    fn within(&self) {
        let heard = self.heard.borrow();
        assert!(matches!(heard.last(), Some(Heard::Begin(_))), "{heard:?}");
    }
}

impl Kernels for Places {
    fn dense_q16(&self, _: DenseArgs<'_>) {
        unreachable!();
    }

    fn gemm_i8(&self, args: int8::Gemm<'_>) {
        self.within();
        Scalar.gemm_i8(args);
    }

    fn flip_i8(&self, args: int8::Flip<'_>) {
        self.within();
        Scalar.flip_i8(args);
    }

    fn chain_i8(&self, args: int8::Chain<'_>, _: usize) -> bool {
        self.within();
        self.note(Heard::Chain);
        args.y.fill(0);
        self.takes_chains
    }

    fn tile_macs(&self) -> u64 {
        u64::MAX
    }

    fn begin(&self, place: usize) {
        self.note(Heard::Begin(place));
    }

    fn end(&self, place: usize, samples: usize) {
        self.note(Heard::End(place, samples));
    }
}

#[test]
fn kernels_are_told_at_which_place_of_the_plan_they_work() {
    let mut rng = Rng::new();
    let mut chains = 0;
    for i in 0..200 {
        let net = match i % 2 {
            0 => random::chain(&mut rng),
            _ => random::random(&mut rng, 8),
        };
        let net = Loaded::new(&net.file());
        let plan = &net.plan;
        assert_eq!(plan.places(), plan.steps + 1);
        for (takes_chains, samples) in [(true, 1), (false, 1), (true, 2)] {
            let places = Places {
                takes_chains,
                heard: RefCell::default(),
            };
            run(
                &places,
                plan,
                &net.steps,
                &net.weights,
                samples,
                &mut vec![0; samples * plan.scratch_bytes],
                &vec![0; samples * plan.input_bytes],
                &mut vec![0; samples * plan.output_bytes],
            )
            .unwrap();
            let (mut want, mut done) = (vec![], 0);
            if plan.chain_steps() > 0 && samples == 1 {
                want.extend([Heard::Begin(plan.chain_place()), Heard::Chain]);
                if takes_chains {
                    want.push(Heard::End(plan.chain_place(), 1));
                    done = plan.chain_steps();
                    chains += 1;
                }
            }
            want.extend((done..plan.steps).flat_map(|i| [Heard::Begin(i), Heard::End(i, samples)]));
            assert_eq!(*places.heard.borrow(), want);
        }
    }
    assert!(chains > 50, "{chains}");
}
