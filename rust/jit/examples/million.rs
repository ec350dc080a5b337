// SPDX-License-Identifier: GPL-2.0

//! Random descriptors, one million unless another number is given: emit, check, disassemble, run, compare with scalar
//! code, on all instruction sets that this CPU has. `million [COUNT [SEED]]`; stops at the first difference.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{try_random, Bench};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| {
        let given = arguments.next().and_then(|n| n.parse().ok());
        given.unwrap_or(default)
    };
    let (count, seed) = (number(1_000_000), number(1));
    let mut bench = Bench::new(seed);
    let start = Instant::now();
    let mut bytes = 0;
    for i in 0..count {
        bytes += try_random(&mut bench);
        if (i + 1) % 100_000 == 0 {
            println!("{} descriptors, {:.0?}", i + 1, start.elapsed());
        }
    }
    println!("{count} descriptors from seed {seed}: all equal, {bytes} bytes of code");
}
