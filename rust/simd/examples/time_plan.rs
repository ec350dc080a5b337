// SPDX-License-Identifier: GPL-2.0

//! Nanoseconds of the model files that are given, for each instruction set that this CPU has, and of
//! their layers with the last of them.

use std::{cell::Cell, cell::RefCell, hint::black_box, time::Instant};

use neural_core::float;
use neural_core::int8::{
    Add, Chain, Depthwise, Flip, Gemm, LstmStep, Mean, Mul, Pool, Softmax, SLACK,
};
use neural_core::nnm::{parse, Limits};
use neural_core::plan::{run, DenseArgs, Kernels, Plan, Step};
use neural_simd::{Features, Isa, NoSection, Set, Simd};

/// A model that is ready to run, with memory that starts where a cache line does.
struct Loaded {
    plan: Plan,
    steps: Vec<Step>,
    weights: Vec<u8>,
    start: usize,
}

impl Loaded {
    fn new(file: &[u8]) -> Self {
        let model = parse(file, &Limits::DEFAULT).unwrap_or_else(|e| panic!("{e}"));
        let mut steps = vec![Step::EMPTY; model.step_count()];
        let plan = model.plan(&mut steps).expect("a plan");
        let mut weights = vec![0; plan.weight_bytes + 64];
        let start = weights.as_ptr().align_offset(64);
        let packed = &mut weights[start..start + plan.weight_bytes];
        model.pack(&steps, &plan, packed).expect("weights");
        Loaded {
            plan,
            steps,
            weights,
            start,
        }
    }

    fn run<K: Kernels>(
        &self,
        kernels: &K,
        samples: usize,
        scratch: &mut [u8],
        input: &[u8],
        output: &mut [u8],
    ) {
        let weights = &self.weights[self.start..self.start + self.plan.weight_bytes];
        run(
            kernels,
            &self.plan,
            &self.steps,
            weights,
            samples,
            scratch,
            input,
            output,
        )
        .expect("an answer");
    }

    /// The least nanoseconds in many tries, for so many samples at a time.
    fn time<K: Kernels>(&self, kernels: &K, samples: usize) -> f64 {
        let bytes = samples * self.plan.scratch_bytes;
        let mut scratch = vec![0; bytes + SLACK];
        let start = scratch.as_ptr().align_offset(64);
        let scratch = &mut scratch[start..start + bytes];
        let bytes = samples * self.plan.input_bytes;
        let input: Vec<u8> = (0..bytes).map(|i| (i * 37) as u8).collect();
        let mut output = vec![0; samples * self.plan.output_bytes];
        let macs = self.plan.macs * samples as u64;
        let repeat = (2_000_000 / (macs + 1000)).clamp(1, 2000);
        let mut best = f64::MAX;
        for _ in 0..300 {
            let start = Instant::now();
            for _ in 0..repeat {
                self.run(kernels, samples, scratch, black_box(&input), &mut output);
            }
            best = best.min(start.elapsed().as_nanos() as f64 / repeat as f64);
        }
        best
    }
}

/// Kernels that note how long they took.
struct Timed {
    inner: Simd<NoSection>,
    calls: RefCell<Vec<(String, f64)>>,
    next: Cell<usize>,
}

impl Timed {
    fn note<T>(&self, name: impl FnOnce() -> String, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        let ns = start.elapsed().as_nanos() as f64;
        let (i, mut calls) = (self.next.get(), self.calls.borrow_mut());
        self.next.set(i + 1);
        match calls.get_mut(i) {
            Some((_, best)) => *best = best.min(ns),
            None => calls.push((name(), ns)),
        }
        result
    }
}

macro_rules! timed {
    ($($method:ident($args:ty $(, $work:ident)?) $(-> $result:ty)?;)*) => {
        $(
            fn $method(&self, args: $args $(, $work: usize)?) $(-> $result)? {
                let name = || stringify!($method).to_string();
                self.note(name, || self.inner.$method(args $(, $work)?))
            }
        )*
    };
}

impl Kernels for Timed {
    fn gemm_i8(&self, args: Gemm<'_>) {
        let (m, n, k) = (args.m * args.outer, args.n, args.k * args.offsets.len() / 4);
        let name = || format!("gemm_i8 m {m} n {n} k {k}");
        self.note(name, || self.inner.gemm_i8(args));
    }

    fn depthwise_i8(&self, args: Depthwise<'_>) {
        let (m, n, taps) = (args.m * args.outer, args.channels, args.offsets.len() / 4);
        let name = || format!("depthwise_i8 m {m} channels {n} taps {taps}");
        self.note(name, || self.inner.depthwise_i8(args));
    }

    fn lut_i8(&self, table: &[u8; 256], x: &[u8], y: &mut [u8]) {
        self.note(|| "lut_i8".into(), || self.inner.lut_i8(table, x, y));
    }

    fn flip_i8(&self, args: Flip<'_>) {
        let n = args.rows * args.n;
        self.note(|| format!("flip_i8 {n}"), || self.inner.flip_i8(args));
    }

    timed! {
        dense_q16(DenseArgs<'_>);
        chain_i8(Chain<'_>, work) -> bool;
        average_pool_i8(Pool<'_>);
        max_pool_i8(Pool<'_>);
        add_i8(Add<'_>);
        mul_i8(Mul<'_>);
        mean_i8(Mean<'_>);
        softmax_i8(Softmax<'_>);
        lstm_i8(LstmStep<'_>);
        chain_f32(float::Chain<'_>, work) -> bool;
        gemm_f32(float::Gemm<'_>, work) -> bool;
        depthwise_f32(float::Depthwise<'_>, work) -> bool;
        pool_f32(float::Pool<'_>, work) -> bool;
        softmax_f32(float::Softmax<'_>, work) -> bool;
    }

    fn tile_macs(&self) -> u64 {
        self.inner.tile_macs()
    }

    fn pause(&self) -> bool {
        self.inner.pause()
    }
}

fn main() {
    let features = Features::detect();
    for path in std::env::args().skip(1) {
        let file = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let model = Loaded::new(&file);
        println!("{path}: {} multiply-accumulates", model.plan.macs);
        let mut last = None;
        for isa in Isa::ALL {
            let Some(set) = Set::select(&features, Some(isa)) else {
                continue;
            };
            let kernels = Simd::new(Some(set), NoSection);
            let [one, many] = [1, 32].map(|samples| model.time(&kernels, samples));
            println!("{one:>12.1} ns, {many:>12.1} ns for 32: {}", isa.name());
            last = Some(set);
        }
        let timed = Timed {
            inner: Simd::new(last, NoSection),
            calls: RefCell::default(),
            next: Cell::new(0),
        };
        let mut scratch = vec![0; model.plan.scratch_bytes];
        let input = vec![3; model.plan.input_bytes];
        let mut output = vec![0; model.plan.output_bytes];
        for _ in 0..2000 {
            timed.next.set(0);
            model.run(&timed, 1, &mut scratch, &input, &mut output);
        }
        for (name, ns) in timed.calls.into_inner() {
            println!("{ns:>12.0} ns {name}");
        }
    }
}
