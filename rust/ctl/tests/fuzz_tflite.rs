// SPDX-License-Identifier: GPL-2.0

//! Damaged TFLite files: read, or refused in one line, with memory and time in proportion; and what
//! is converted of them is a model file that the engine takes and runs, or refused in one line.
//!
//! `NEURAL_FUZZ_COUNT` is how many, `NEURAL_FUZZ_SEED` where they begin.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use neural_core::init::SplitMix64;
use neuralctl::engine::Engine;
use neuralctl::error::Result;
use neuralctl::tflite::graph::Graph;
use neuralctl::tflite::{convert, read};

/// What is allocated, and the most of it since it was set to that.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Watched;

// SAFETY: all calls go to the system allocator unchanged.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn corpus() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/tflite");
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut paths: Vec<_> = entries
        .filter(|p| p.extension().is_some_and(|e| e == "tflite"))
        .collect();
    paths.sort();
    let files: Vec<_> = paths.iter().map(|p| fs::read(p).unwrap()).collect();
    assert!(files.len() > 100, "{} files", files.len());
    files
}

fn pick(random: &mut SplitMix64, n: usize) -> usize {
    random.below(n.max(1) as u64) as usize
}

fn mutate(random: &mut SplitMix64, corpus: &[Vec<u8>]) -> Vec<u8> {
    const WORDS: [i32; 12] = [0, 1, 2, 3, 4, 5, -1, -2, 0x7fff_ffff, i32::MIN, 1 << 16, 64];
    let mut file = corpus[pick(random, corpus.len())].clone();
    for _ in 0..=pick(random, 4) {
        let at = pick(random, file.len());
        let word = at / 4 * 4;
        match random.below(10) {
            0..=2 if !file.is_empty() => file[at] ^= 1 << random.below(8),
            3 if !file.is_empty() => file[at] = random.below(256) as u8,
            4..=5 if word + 4 <= file.len() => {
                file[word..word + 4].copy_from_slice(&WORDS[pick(random, 12)].to_le_bytes());
            }
            6 if word + 4 <= file.len() => {
                // A distance or a number that is off by a little.
                let old = i32::from_le_bytes(file[word..word + 4].try_into().unwrap());
                let new = old.wrapping_add(random.below(17) as i32 - 8);
                file[word..word + 4].copy_from_slice(&new.to_le_bytes());
            }
            7 if word + 4 <= file.len() => {
                // A distance to any place.
                let to = pick(random, file.len()).saturating_sub(word) as i32;
                file[word..word + 4].copy_from_slice(&to.to_le_bytes());
            }
            8 => {
                let other = &corpus[pick(random, corpus.len())];
                let from = pick(random, other.len());
                file.truncate(at);
                file.extend_from_slice(&other[from..]);
            }
            _ => file.truncate(file.len() - pick(random, file.len() / 8)),
        }
    }
    file
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
        Err(_) => default,
    }
}

/// Converts a graph, and predicts with what is not too large for that; says whether it is there.
fn go(graph: &Graph<'_>, random: &mut SplitMix64) -> Result<()> {
    let output = graph.outputs[pick(random, graph.outputs.len())];
    let file = convert(graph, output, "mutated")?;
    let mut engine = Engine::new(&file)?;
    if engine.macs() < 1 << 20 && engine.input().elements.name() == "i8" {
        let input: Vec<u8> = (0..engine.inputs())
            .map(|_| random.below(256) as u8)
            .collect();
        engine.run(&input, &mut vec![0; engine.outputs()])?;
    }
    Ok(())
}

fn one_line(seed: u64, line: &str) {
    let short = !line.contains('\n') && line.len() < 1000;
    assert!(short, "NEURAL_FUZZ_SEED={seed}: {line}");
}

#[test]
fn mutated_files_are_read_or_refused() {
    let corpus = corpus();
    let (count, first) = (
        number("NEURAL_FUZZ_COUNT", 100_000),
        number("NEURAL_FUZZ_SEED", 1),
    );
    let (mut taken, mut converted) = (0u64, 0u64);
    for seed in first..first.saturating_add(count) {
        let file = mutate(&mut SplitMix64::new(seed), &corpus);
        let before = HELD.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        let done = catch_unwind(AssertUnwindSafe(|| {
            read(&file).map(|graph| {
                let words = graph.ops.iter().map(|op| op.kind.describe().len());
                words.sum::<usize>()
            })
        }));
        let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
        let Ok(done) = done else {
            panic!("NEURAL_FUZZ_SEED={seed}: panicked")
        };
        assert!(
            most <= 64 * file.len() + (64 << 10),
            "NEURAL_FUZZ_SEED={seed}: {most} bytes for a file of {}",
            file.len()
        );
        match done {
            Ok(_) => taken += 1,
            Err(e) => {
                one_line(seed, &e.to_string());
                continue;
            }
        }
        let done = catch_unwind(AssertUnwindSafe(|| {
            go(&read(&file)?, &mut SplitMix64::new(!seed))
        }));
        match done {
            Ok(Ok(())) => converted += 1,
            Ok(Err(e)) => one_line(seed, &e.to_string()),
            Err(_) => panic!("NEURAL_FUZZ_SEED={seed}: panicked when it was converted"),
        }
    }
    println!("{count} files from seed {first}: {taken} read, {converted} converted");
    // Both ways must be walked, or the mutations are of no use.
    assert!(
        count < 1000 || (taken > count / 100 && taken < count * 9 / 10 && converted > count / 200),
        "{taken} and {converted} of {count}"
    );
}
