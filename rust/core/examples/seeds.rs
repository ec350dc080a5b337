// SPDX-License-Identifier: GPL-2.0

//! Writes small model files to a folder, for fuzzers to start from.

#[path = "../tests/common/codes.rs"]
mod codes;
#[path = "../tests/common/mod.rs"]
mod common;
#[allow(dead_code)] // Only its files are wanted.
#[path = "../tests/common/mutate.rs"]
mod mutate;
#[path = "../tests/common/numbers.rs"]
mod numbers;
#[path = "../tests/common/random.rs"]
mod random;

use common::Rng;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    for (i, file) in mutate::seeds().into_iter().enumerate() {
        std::fs::write(format!("{folder}/seed-{i}.nnm"), file)?;
    }
    Ok(())
}
