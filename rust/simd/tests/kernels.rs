// SPDX-License-Identifier: GPL-2.0

//! Whole networks by vector code: random graphs give what scalar code gives, whenever vector registers
//! may be used, and sections are no longer than they may be.

#[path = "../../core/tests/common/codes.rs"]
mod codes;
#[path = "../../core/tests/common/mod.rs"]
mod common;
#[path = "../../core/tests/common/lstm.rs"]
mod lstm;
#[path = "../../core/tests/common/random.rs"]
mod random;

use std::cell::Cell;

use common::{Loaded, Rng};
use neural_core::int8::{Gemm, Requant, LANES, SLACK};
use neural_core::nnm::OpKind;
use neural_core::plan::{run, Kernels, Scalar};
use neural_simd::{Features, Isa, NoSection, Section, Set, Simd, SECTION_WORK};

fn sets() -> Vec<Option<Set>> {
    let features = Features::detect();
    let set = |isa| Set::select(&features, Some(isa));
    let sets: Vec<_> = Isa::ALL.into_iter().filter_map(set).map(Some).collect();
    assert!(!sets.is_empty());
    sets
}

fn predict<K: Kernels>(net: &Loaded, kernels: &K, samples: usize, input: &[u8]) -> Vec<u8> {
    let mut scratch = vec![0x99; samples * net.plan.scratch_bytes];
    let mut output = vec![0x55; samples * net.plan.output_bytes];
    run(
        kernels,
        &net.plan,
        &net.steps,
        &net.weights,
        samples,
        &mut scratch,
        input,
        &mut output,
    )
    .unwrap();
    output
}

/// Sections that say no now and then, and count.
#[derive(Default)]
struct Moody {
    calls: Cell<u32>,
    open: Cell<bool>,
    opened: Cell<u32>,
}

impl Section for Moody {
    fn enter(&self) -> bool {
        self.calls.set(self.calls.get() + 1);
        if !self.open.get() && self.calls.get() % 3 != 0 {
            self.open.set(true);
            self.opened.set(self.opened.get() + 1);
        }
        self.open.get()
    }

    fn leave(&self) {
        self.open.set(false);
    }

    fn pause(&self) -> bool {
        self.leave();
        true
    }
}

/// Every set gives what scalar code gives for a network; operations of vector code and sections.
fn compare(rng: &mut Rng, loaded: &Loaded) -> (u64, u32) {
    let (mut done, mut opened) = (0, 0);
    for samples in [1, 3] {
        let bytes = samples * loaded.plan.input_bytes;
        let input: Vec<u8> = (0..bytes).map(|_| rng.u64() as u8).collect();
        let expected = predict(loaded, &Scalar, samples, &input);
        for set in sets() {
            let free = Simd::new(set, NoSection);
            let output = predict(loaded, &free, samples, &input);
            assert_eq!(output, expected, "{set:?}");
            done += free.operations();
            let moody = Simd::new(set, Moody::default());
            let output = predict(loaded, &moody, samples, &input);
            assert_eq!(output, expected, "{set:?}");
            opened += moody.section().opened.get();
        }
        let none = Simd::new(None, Moody::default());
        assert_eq!(predict(loaded, &none, samples, &input), expected);
        assert_eq!((none.operations(), none.section().calls.get()), (0, 0));
    }
    (done, opened)
}

#[test]
fn random_graphs_give_what_scalar_code_gives() {
    let mut rng = Rng::new();
    let (mut done, mut opened) = (0, 0);
    for _ in 0..500 {
        let net = match rng.below(3) {
            0 => random::chain(&mut rng),
            _ => random::random(&mut rng, 8),
        };
        let loaded = Loaded::new(&net.file());
        let (operations, sections) = compare(&mut rng, &loaded);
        done += operations;
        opened += sections;
    }
    if Features::detect().avx2 {
        assert!(done > 500 && opened > 100, "{done} {opened}");
    }
}

#[test]
fn memories_give_what_scalar_code_gives() {
    let mut rng = Rng::new();
    // The last is too much for a section, also one side of it alone.
    for most in [[5, 20, 40]; 50].into_iter().chain([[2, 300, 400]; 4]) {
        let net = lstm::Net::random(&mut rng, most);
        let loaded = Loaded::new(&net.file(&net.r).unwrap());
        let (operations, _) = compare(&mut rng, &loaded);
        assert!(operations > 0 || !Features::detect().avx2);
    }
}

/// One input and one result, at so many positions that the products alone would be too much for a
/// section when they are padded.
#[test]
fn a_layer_that_is_mostly_padding_is_cut() {
    let Some(set) = Set::select(&Features::detect(), None) else {
        return;
    };
    if set.isa() == Isa::Scalar {
        return;
    }
    let (lines, columns) = (2, 45_000);
    let x: Vec<u8> = (0..lines * columns + SLACK).map(|i| i as u8).collect();
    let w: Vec<u8> = (0..4 * LANES).map(|i| u8::from(i == 0) * 3).collect();
    let words = [0u8; 4 * LANES];
    let mult: Vec<u8> = [(1 << 30) + 5i32; LANES]
        .iter()
        .flat_map(|m| m.to_le_bytes())
        .collect();
    let layer = |kernels: &dyn Kernels| {
        let mut y = vec![0x55; lines * columns];
        kernels.gemm_i8(Gemm {
            x: &x,
            x_row: 1,
            x_outer: columns,
            y: &mut y,
            y_row: 1,
            y_outer: columns,
            m: columns,
            outer: lines,
            n: 1,
            k: 1,
            offsets: &[0; 4],
            w: &w,
            bias: &words,
            requant: Requant {
                mult: &mult,
                shift: &words,
                zero: 3,
                min: 0,
                max: 250,
            },
        });
        y
    };
    let simd = Simd::new(Some(set), Opened::default());
    assert_eq!(layer(&simd), layer(&Scalar));
    // One multiply-accumulate of a position costs as much as those of 16 rows and four columns.
    let least = (lines * columns * LANES * 4) as u64 / SECTION_WORK;
    let sections = u64::from(simd.section().0.get());
    assert!(sections >= least && sections < 20 * least, "{sections}");
}

/// Counts sections.
#[derive(Default)]
struct Opened(Cell<u32>, Cell<bool>);

impl Section for Opened {
    fn enter(&self) -> bool {
        if !self.1.replace(true) {
            self.0.set(self.0.get() + 1);
        }
        true
    }

    fn leave(&self) {
        self.1.set(false);
    }

    fn pause(&self) -> bool {
        self.leave();
        true
    }
}

/// Sections and operations of a prediction by the best vector code; none without vector code.
fn sections(net: &codes::Codes) -> Option<(u32, u64)> {
    let set = Set::select(&Features::detect(), None).filter(|set| set.isa() != Isa::Scalar)?;
    let loaded = Loaded::new(&net.file());
    let input = vec![7; loaded.plan.input_bytes];
    let simd = Simd::new(Some(set), Opened::default());
    let output = predict(&loaded, &simd, 1, &input);
    assert_eq!(output, predict(&loaded, &Scalar, 1, &input));
    Some((simd.section().0.get(), simd.operations()))
}

/// What is copied in short lines takes long, with no vector code in it.
#[test]
fn a_section_is_closed_while_lines_are_copied() {
    let mut net = codes::Codes::new(&[64, 64, 2], 3);
    let y = net.activation(&[64, 64, 2], 3);
    net.op(OpKind::Transpose, &[0], &[1, 0, 2], y);
    assert!(sections(&net).is_none_or(|(opened, _)| opened == 2));
}

/// Layers of one result and of one input are little to compute and much to read.
#[test]
fn a_chain_that_is_mostly_padding_is_cut() {
    const WIDE: u32 = 16384;
    let chain = |layers: &[[u32; 2]]| {
        let mut net = codes::Codes::new(&[layers[0][0]], 3);
        let mut x = 0;
        for &[k, n] in layers {
            let w = net.codes(&[n, k], vec![1; (n * k) as usize]);
            let b = net.words(&[n], &vec![5; n as usize]);
            let factors = [vec![1 << 30; n as usize], vec![9; n as usize]].concat();
            let r = net.words(&[2, n], &factors);
            let y = net.activation(&[n], 3);
            x = net.op(OpKind::Dense, &[x, w, b, r], &[-128, 127], y);
        }
        net
    };
    let padded = chain(&[[WIDE, 1], [1, WIDE]]);
    assert!(sections(&padded).is_none_or(|(opened, operations)| opened > 1 && operations > 1));
    let dense = chain(&[[64, 64], [64, 64]]);
    assert!(sections(&dense).is_none_or(|counts| counts == (1, 1)));
}
