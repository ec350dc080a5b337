// SPDX-License-Identifier: GPL-2.0

//! Nanoseconds of dense layers of 8-bit integers, for each instruction set that this CPU has.

use std::{
    hint::black_box,
    ops::{Deref, DerefMut},
    time::Instant,
};

use neural_core::int8::{Gemm, Requant, LANES, SLACK};
use neural_simd::{Features, Isa, Set};

/// Bytes that start where a cache line does, as those of a plan.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(bytes: impl ExactSizeIterator<Item = u8>) -> Self {
        let mut all: Vec<u8> = Vec::with_capacity(bytes.len() + 64);
        let start = all.as_ptr().align_offset(64);
        all.resize(start, 0);
        all.extend(bytes);
        Self { bytes: all, start }
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

struct Layer {
    n: usize,
    k: usize,
    w: Aligned,
    bias: Aligned,
    mult: Aligned,
    shift: Aligned,
}

impl Layer {
    fn new(n: usize, k: usize) -> Self {
        let rows = n.next_multiple_of(LANES);
        let list = |value: i32| Aligned::new((0..rows * 4).map(|i| value.to_le_bytes()[i % 4]));
        Self {
            n,
            k,
            w: Aligned::new((0..rows * k.next_multiple_of(4)).map(|i| (i * 7 + i / 13) as u8)),
            bias: list(100),
            mult: list(0x5000_0000),
            shift: list(7),
        }
    }

    fn run(&self, set: &Set, batch: usize, x: &[u8], y: &mut [u8]) -> bool {
        set.gemm_i8(&mut Gemm {
            x,
            x_row: self.k,
            x_outer: self.k * batch,
            y,
            y_row: self.n,
            y_outer: self.n * batch,
            m: batch,
            outer: 1,
            n: self.n,
            k: self.k,
            offsets: &[0; 4],
            w: &self.w,
            bias: &self.bias,
            requant: Requant {
                mult: &self.mult,
                shift: &self.shift,
                zero: 128,
                min: 0,
                max: 255,
            },
        })
    }
}

/// The least nanoseconds of a network in many tries.
fn time(set: &Set, layers: &[Layer], batch: usize) -> f64 {
    let widest = layers.iter().map(|layer| layer.n.max(layer.k)).max();
    let bytes = widest.unwrap_or(0) * batch + SLACK;
    let mut buffers = [3, 5].map(|code| Aligned::new((0..bytes).map(|_| code)));
    let work: usize = layers.iter().map(|l| l.n * l.k * batch).sum();
    let repeat = (2_000_000 / work).clamp(1, 2000);
    let mut best = f64::MAX;
    for _ in 0..300 {
        let start = Instant::now();
        for _ in 0..repeat {
            for (i, layer) in layers.iter().enumerate() {
                let [a, b] = &mut buffers;
                let (x, y) = if i % 2 == 0 { (a, b) } else { (b, a) };
                assert!(layer.run(set, batch, black_box(x), y));
            }
        }
        best = best.min(start.elapsed().as_nanos() as f64 / repeat as f64);
    }
    best
}

fn main() {
    let dense = |sizes: &[usize]| -> Vec<Layer> {
        sizes.windows(2).map(|s| Layer::new(s[1], s[0])).collect()
    };
    let networks = [
        ("5-15-5-4", dense(&[5, 15, 5, 4]), 1),
        ("64-128-8", dense(&[64, 128, 8]), 1),
        ("64-128-8", dense(&[64, 128, 8]), 32),
        ("31-256-2", dense(&[31, 256, 2]), 1),
        ("31-256-2", dense(&[31, 256, 2]), 32),
        ("64-128", dense(&[64, 128]), 1),
        ("256-256", dense(&[256, 256]), 1),
        ("512-512", dense(&[512, 512]), 1),
        ("1024-1024", dense(&[1024, 1024]), 1),
        ("256-256", dense(&[256, 256]), 32),
        ("512-512", dense(&[512, 512]), 32),
        ("1024-1024", dense(&[1024, 1024]), 32),
    ];
    let features = Features::detect();
    print!("{:>12} {:>6}", "layers", "batch");
    let sets: Vec<_> = Isa::ALL
        .into_iter()
        .filter_map(|isa| Set::select(&features, Some(isa)))
        .filter(|set| set.isa() != Isa::Scalar)
        .collect();
    for set in &sets {
        print!(" {:>12}", set.isa().name());
    }
    println!("  (ns)");
    for (name, layers, batch) in networks {
        print!("{name:>12} {batch:>6}");
        for set in &sets {
            print!(" {:>12.1}", time(set, &layers, batch));
        }
        println!();
    }
}
