// SPDX-License-Identifier: GPL-2.0

//! How long the largest pieces take that plans cut layers of numbers into, and what they count for: the
//! least of many runs, in memory that is in the cache and in memory that is not, for each instruction
//! set that this CPU has. `cargo run --release -p neural_simd --example sections`. A section may have
//! 327680, which stand for 20 us.

use neural_core::float::{
    Act, Allocation, Attention, Binary, Cosine, Depthwise, Function, Gemm, GruCell, Link, LstmCell,
    Map, Matmul, Mean, Mix, Norm, Operator, Pool, Rows, RowsMut, Softmax, Usage, Write,
};
use neural_simd::{Features, Isa, Set, SECTION_WORK};
use std::time::Instant;

/// Elements of each part of the memory.
const MOST: usize = 300_000;

/// Bytes of small numbers that start where a cache line does.
struct Bytes {
    all: Vec<u8>,
    start: usize,
}

impl Bytes {
    fn new() -> Self {
        let mut all = vec![0u8; MOST * 4 + 192];
        let start = all.as_ptr().align_offset(64);
        for (i, word) in all[start..].chunks_exact_mut(4).enumerate() {
            let value = (i * 7 % 19) as f32 / 64.0 + 0.125;
            word.copy_from_slice(&value.to_le_bytes());
        }
        Self { all, start }
    }

    fn get(&self) -> &[u8] {
        &self.all[self.start..]
    }

    fn head(&self, n: usize) -> &[u8] {
        &self.get()[..n * 4]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        let start = self.start;
        &mut self.all[start..]
    }

    fn head_mut(&mut self, n: usize) -> &mut [u8] {
        let start = self.start;
        &mut self.all[start..][..n * 4]
    }
}

/// What is measured, and with which memory.
struct Bench<'a> {
    set: Set,
    a: &'a Bytes,
    b: &'a Bytes,
    c: &'a Bytes,
    y: Bytes,
    z: Bytes,
    /// More than a cache holds.
    other: Vec<u8>,
}

/// Measures one layer of a [`Bench`], and prints a line.
macro_rules! measure {
    ($bench:ident, $name:expr, $set:ident, |$a:ident, $b:ident, $c:ident, $y:ident, $z:ident| $layer:expr) => {{
        let Bench {
            set,
            a: $a,
            b: $b,
            c: $c,
            y: $y,
            z: $z,
            other,
        } = &mut $bench;
        let _ = (&$b, &$c, &$z);
        let work = $layer.work();
        let mut time = |evict: bool| {
            let mut best = f64::MAX;
            for _ in 0..if evict { 30 } else { 300 } {
                if evict {
                    other.iter_mut().step_by(64).for_each(|byte| *byte ^= 1);
                }
                let start = Instant::now();
                assert!(set.$set(&mut $layer), "refused");
                best = best.min(start.elapsed().as_nanos() as f64 / 1000.0);
            }
            best
        };
        println!(
            "{:34} {work:8} {:8.1} {:8.1}",
            $name,
            time(false),
            time(true)
        );
    }};
}

fn main() {
    let features = Features::detect();
    let [a, b, c] = [(); 3].map(|()| Bytes::new());
    let taps: Vec<u8> = (0..10_000u32).flat_map(|t| (t * 4).to_le_bytes()).collect();
    println!("{:34} {SECTION_WORK:8}  us warm, cold", "at most");
    for isa in [Isa::Avx2, Isa::Avx512] {
        let Some(set) = Set::select(&features, Some(isa)) else {
            continue;
        };
        println!("{}", isa.name());
        layers(
            Bench {
                set,
                a: &a,
                b: &b,
                c: &c,
                y: Bytes::new(),
                z: Bytes::new(),
                other: vec![0; 128 << 20],
            },
            &taps,
        );
    }
}

fn layers(mut bench: Bench<'_>, taps: &[u8]) {
    const ACT: Act = Act {
        function: Function::None,
        slope: 0,
    };
    let one = 1f32.to_bits();
    for (name, m, n, k, by_row) in [
        ("gemm 64 x 2528", 1, 64, 2528, false),
        ("gemm 16 x 10160", 1, 16, 10_160, false),
        ("gemm 12 positions, 64 x 190", 12, 64, 190, false),
        ("gemm 480 positions, 16 x 1", 480, 16, 1, false),
        ("gemm by row, 8 x 20432", 1, 8, 20_432, true),
        ("gemm by row, 1 x 163760", 1, 1, 163_760, true),
    ] {
        measure!(bench, name, gemm_f32, |a, b, c, y, z| Gemm {
            x: a.get(),
            x_row: 4 * k,
            x_outer: 0,
            y: y.get_mut(),
            y_row: 4 * n,
            y_outer: 0,
            m,
            outer: 1,
            n,
            k,
            offsets: &[0; 4],
            w: b.get(),
            by_row,
            bias: c.get(),
            act: ACT,
        });
    }
    measure!(
        bench,
        "depthwise 16 channels, 10000 taps",
        depthwise_f32,
        |a, b, c, y, z| Depthwise {
            x: a.get(),
            x_row: 0,
            x_outer: 0,
            y: y.get_mut(),
            y_row: 0,
            y_outer: 0,
            m: 1,
            outer: 1,
            channels: 16,
            stride: 16,
            offsets: taps,
            w: b.get(),
            bias: c.get(),
            act: ACT,
        }
    );
    for (name, greatest) in [
        ("mean of 100 x 102 pixels", false),
        ("greatest of 100 x 102 pixels", true),
    ] {
        for channels in [16, 1] {
            measure!(
                bench,
                format!("{name}, {channels}"),
                pool_f32,
                |a, b, c, y, z| Pool {
                    x: a.get(),
                    y: y.get_mut(),
                    image: [100, 102, channels],
                    channels,
                    first: 0,
                    out: [1, 1],
                    window: [100, 102],
                    stride: [1, 1],
                    pad: [0, 0],
                    greatest,
                }
            );
        }
    }
    for function in Function::ALL {
        let act = Act {
            function,
            slope: one,
        };
        measure!(
            bench,
            format!("map {function:?} 10240"),
            map_f32,
            |a, b, c, y, z| Map {
                x: a.head(10_240),
                y: y.head_mut(10_240),
                act,
            }
        );
    }
    for (name, n, repeat) in [("add 81904", 81_904, 81_904), ("add 3413 x 1", 3_413, 1)] {
        measure!(bench, name, binary_f32, |a, b, c, y, z| Binary {
            operator: Operator::Add,
            a: a.head(n),
            b: b.head(repeat),
            y: y.head_mut(n),
            act: ACT,
        });
    }
    for (name, rows, n) in [
        ("mean 1279 x 64", 1279, 64),
        ("mean 5119 x 1", 5_119, 1),
        ("mean 1 x 40960", 1, 40_960),
    ] {
        measure!(bench, name, mean_f32, |a, b, c, y, z| Mean {
            x: a.get(),
            row: 4 * n,
            y: y.head_mut(n),
            rows,
            n,
            more: true,
            count: 0,
        });
    }
    for (name, rows, n) in [("softmax 20464", 1, 20_464), ("softmax 640 x 3", 640, 3)] {
        measure!(bench, name, softmax_f32, |a, b, c, y, z| Softmax {
            x: a.head(rows * n),
            y: y.head_mut(rows * n),
            n,
            log: true,
            part: None,
        });
    }
    for (name, rows, n) in [("norm 40944", 1, 40_944), ("norm 1280 x 3", 1280, 3)] {
        measure!(bench, name, norm_f32, |a, b, c, y, z| Norm {
            x: a.head(rows * n),
            y: y.head_mut(rows * n),
            n,
            gamma: b.get(),
            beta: Some(c.get()),
            eps: one,
        });
    }
    for (name, t, s, d) in [
        ("attention, 1 query, 1060 x 64", 1, 1060, 64),
        ("attention, 6 queries, 140 x 64", 6, 140, 64),
        ("attention, 1 query, 2500 x 1", 1, 2500, 1),
    ] {
        measure!(bench, name, attention_f32, |a, b, c, y, z| Attention {
            q: a.get(),
            k: b.get(),
            v: c.get(),
            y: y.get_mut(),
            row: 4 * d,
            temp: z.get_mut(),
            t,
            s,
            heads: 1,
            d,
            causal: false,
            scale: one,
        });
    }
    measure!(bench, "lstm 5120", lstm_f32, |a, b, c, y, z| LstmCell {
        gates: a.get(),
        c: z.head_mut(5120),
        h: y.head_mut(5120),
    });
    measure!(bench, "gru 5120", gru_f32, |a, b, c, y, z| GruCell {
        x: a.get(),
        r: b.get(),
        h: y.head_mut(5120),
    });
    measure!(bench, "cosine 8 x 20464", cosine_f32, |a, b, c, y, z| {
        Cosine {
            x: a.get(),
            rows: b.head(8 * 20_464),
            y: y.head_mut(8),
            d: 20_464,
            eps: one,
        }
    });
    for (name, n, k, transposed) in [
        ("matmul 1024 x 144", 1024, 144, false),
        ("matmul 16 x 10224", 16, 10_224, false),
        ("matmul 8 x 20464, transposed", 8, 20_464, true),
    ] {
        measure!(bench, name, matmul_f32, |a, b, c, y, z| Matmul {
            x: Rows {
                bytes: a.get(),
                row: 4 * k
            },
            b: Rows {
                bytes: b.get(),
                row: 4 * if transposed { k } else { n }
            },
            y: RowsMut {
                bytes: y.get_mut(),
                row: 4 * n
            },
            m: 1,
            n,
            k,
            scale: one,
            transposed,
            more: false,
        });
    }
    measure!(bench, "mix 54608", mix_f32, |a, b, c, y, z| Mix {
        x: [Some(a.get()), Some(b.get()), Some(c.get())],
        f: [one; 3],
        y: y.get_mut(),
        n: 54_608,
    });
    measure!(
        bench,
        "usage 16, 10239 heads",
        usage_f32,
        |a, b, c, y, z| Usage {
            u: y.get_mut(),
            w: a.get(),
            read: b.get(),
            read_row: 64,
            free: c.get(),
            heads: 10_239,
            n: 16,
        }
    );
    measure!(
        bench,
        "allocation 256 of 320",
        allocation_f32,
        |a, b, c, y, z| Allocation {
            u: a.get(),
            first: 0,
            y: y.head_mut(256),
            n: 320,
        }
    );
    measure!(bench, "write 1280 x 64", write_f32, |a, b, c, y, z| Write {
        x: RowsMut {
            bytes: y.get_mut(),
            row: 256
        },
        w: a.get(),
        erase: b.get(),
        add: c.get(),
        rows: 1280,
        n: 64,
    });
    measure!(bench, "link 255 x 320", link_f32, |a, b, c, y, z| Link {
        l: y.get_mut(),
        first: 0,
        rows: 255,
        p: z.get_mut(),
        w: a.get(),
        n: 320,
    });
}
