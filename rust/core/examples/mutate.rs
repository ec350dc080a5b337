// SPDX-License-Identifier: GPL-2.0

//! Reads, plans and runs a number of damaged model files, on all CPUs, and a tenth as many lines of
//! settings, and reports.
//!
//! ```text
//! cargo run --profile fuzz -p neural_core --example mutate -- [COUNT [SEED]]
//! ```
//!
//! A fault is a panic, which ends the program; the seed that was printed finds it again.

#[path = "../tests/common/codes.rs"]
mod codes;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/drive.rs"]
mod drive;
#[path = "../tests/common/mutate.rs"]
mod mutate;
#[path = "../tests/common/numbers.rs"]
mod numbers;
#[path = "../tests/common/random.rs"]
mod random;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use common::Rng;

/// Files that are tried with one seed.
const CHUNK: u64 = 10_000;

fn main() -> ExitCode {
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    let (count, seed) = match numbers.as_deref() {
        Ok([]) => (200_000, Rng::new().u64()),
        Ok([count]) => (*count, Rng::new().u64()),
        Ok([count, seed]) => (*count, *seed),
        _ => {
            eprintln!("usage: mutate [COUNT [SEED]]");
            return ExitCode::from(2);
        }
    };
    println!("{count} damaged model files, seed {seed}");
    let (start, next, accepted) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let chunks = count.div_ceil(CHUNK);
    let work = || loop {
        let chunk = next.fetch_add(1, Relaxed);
        if chunk >= chunks {
            return;
        }
        let files = CHUNK.min(count - chunk * CHUNK);
        let mut rng = Rng::seeded(seed.wrapping_add(chunk));
        accepted.fetch_add(mutate::try_models(files, &mut rng, drive::model), Relaxed);
        mutate::try_lines(files / 10, &mut rng, drive::line);
        if chunk % 100 == 99 {
            println!(
                "{} files, {:.0} s",
                (chunk + 1) * CHUNK,
                start.elapsed().as_secs_f64()
            );
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let fine = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().all(|handle| handle.join().is_ok())
    });
    if !fine {
        eprintln!("a panic, see above; again with: mutate {count} {seed}");
        return ExitCode::FAILURE;
    }
    let accepted = accepted.into_inner();
    println!(
        "{accepted} accepted and run, no panic, {:.1} s",
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
