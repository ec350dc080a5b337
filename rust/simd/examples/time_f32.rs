// SPDX-License-Identifier: GPL-2.0

//! Nanoseconds of layers of `f32`, the least of many runs, for each instruction set that this CPU has.
//! `cargo run --release -p neural_simd --example time_f32`. The last column is what plain C with
//! AVX-512 took on one machine (AMD EPYC, family 26): a hint of the order, no more.

use neural_core::float::{
    attention_elements, by_row, packed_gemm_bytes, Act, Attention, Cosine, Function, Gemm,
    LstmCell, Map, Norm, Softmax,
};
use neural_simd::{Features, Isa, Set};
use std::time::Instant;

/// Bytes that start where a cache line does.
struct Bytes {
    all: Vec<u8>,
    start: usize,
}

impl Bytes {
    fn new(n: usize) -> Self {
        let mut all = vec![0u8; n * 4 + 128];
        let start = all.as_ptr().align_offset(64);
        for (i, word) in all[start..].chunks_exact_mut(4).enumerate() {
            let value = (i * 7 % 19) as f32 / 64.0 - 0.125;
            word.copy_from_slice(&value.to_le_bytes());
        }
        Self { all, start }
    }

    fn get(&self) -> &[u8] {
        &self.all[self.start..]
    }

    /// The first `n` elements.
    fn head(&self, n: usize) -> &[u8] {
        &self.get()[..n * 4]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.all[self.start..]
    }

    fn head_mut(&mut self, n: usize) -> &mut [u8] {
        &mut self.get_mut()[..n * 4]
    }
}

/// The least time of a call.
fn best(mut call: impl FnMut()) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..200 {
        let mut calls = 0;
        let start = Instant::now();
        while start.elapsed().as_micros() < 50 {
            for _ in 0..8 {
                call();
            }
            calls += 8;
        }
        least = least.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    least
}

/// A dense layer.
struct Dense {
    n: usize,
    k: usize,
    act: Function,
    w: Bytes,
    bias: Bytes,
}

impl Dense {
    fn new(n: usize, k: usize, act: Function) -> Self {
        Self {
            n,
            k,
            act,
            w: Bytes::new(packed_gemm_bytes(n, 1, k).unwrap_or(0) / 4),
            bias: Bytes::new(n.next_multiple_of(16)),
        }
    }

    fn run(&self, set: &Set, m: usize, x: &Bytes, y: &mut Bytes) {
        let done = set.gemm_f32(&mut Gemm {
            x: x.get(),
            x_row: self.k * 4,
            x_outer: 0,
            y: y.get_mut(),
            y_row: self.n * 4,
            y_outer: 0,
            m,
            outer: 1,
            n: self.n,
            k: self.k,
            offsets: &[0; 4],
            w: self.w.get(),
            by_row: by_row(self.n, self.k),
            bias: self.bias.get(),
            act: Act {
                function: self.act,
                slope: 0,
            },
        });
        assert!(done, "refused");
    }
}

fn chain(set: &Set, m: usize, sizes: &[usize]) -> f64 {
    let layers: Vec<Dense> = sizes
        .windows(2)
        .map(|s| Dense::new(s[1], s[0], Function::Relu))
        .collect();
    let mut values: Vec<Bytes> = sizes.iter().map(|n| Bytes::new(m * n)).collect();
    best(|| {
        for (i, layer) in layers.iter().enumerate() {
            let (before, after) = values.split_at_mut(i + 1);
            layer.run(set, m, &before[i], &mut after[0]);
        }
    })
}

fn lstm(set: &Set, x: usize, n: usize) -> f64 {
    let gates = Dense::new(4 * n, x + n, Function::None);
    let (input, mut sums) = (Bytes::new(x + n), Bytes::new(4 * n));
    let (mut c, mut h) = (Bytes::new(n), Bytes::new(n));
    best(|| {
        gates.run(set, 1, &input, &mut sums);
        let done = set.lstm_f32(&mut LstmCell {
            gates: sums.get(),
            c: c.head_mut(n),
            h: h.head_mut(n),
        });
        assert!(done, "refused");
    })
}

fn cosine(set: &Set, rows: usize, n: usize) -> f64 {
    let (key, x, mut y) = (Bytes::new(n), Bytes::new(rows * n), Bytes::new(rows));
    best(|| {
        let done = set.cosine_f32(&mut Cosine {
            x: key.get(),
            rows: x.get(),
            y: y.head_mut(rows),
            d: n,
            eps: 0,
        });
        assert!(done, "refused");
    })
}

fn attention(set: &Set, tokens: usize, heads: usize, dim: usize) -> f64 {
    let all = heads * dim;
    let [q, k, v] = [0; 3].map(|_| Bytes::new(tokens * all));
    let mut y = Bytes::new(tokens * all);
    let mut temp = Bytes::new(attention_elements(tokens, dim).unwrap_or(0));
    best(|| {
        let done = set.attention_f32(&mut Attention {
            q: q.get(),
            k: k.get(),
            v: v.get(),
            y: y.get_mut(),
            row: all * 4,
            temp: temp.get_mut(),
            t: tokens,
            s: tokens,
            heads,
            d: dim,
            causal: false,
            scale: 0.2f32.to_bits(),
        });
        assert!(done, "refused");
    })
}

fn norm(set: &Set, rows: usize, n: usize) -> f64 {
    let (x, gamma, mut y) = (Bytes::new(rows * n), Bytes::new(n), Bytes::new(rows * n));
    best(|| {
        let done = set.norm_f32(&mut Norm {
            x: x.get(),
            y: y.head_mut(rows * n),
            n,
            gamma: gamma.get(),
            beta: Some(gamma.get()),
            eps: 1e-5f32.to_bits(),
        });
        assert!(done, "refused");
    })
}

fn softmax(set: &Set, rows: usize, n: usize) -> f64 {
    let (x, mut y) = (Bytes::new(rows * n), Bytes::new(rows * n));
    best(|| {
        let done = set.softmax_f32(&mut Softmax {
            x: x.get(),
            y: y.head_mut(rows * n),
            n,
            log: false,
            part: None,
        });
        assert!(done, "refused");
    })
}

fn map(set: &Set, n: usize, function: Function) -> f64 {
    let (x, mut y) = (Bytes::new(n), Bytes::new(n));
    best(|| {
        let done = set.map_f32(&mut Map {
            x: x.head(n),
            y: y.head_mut(n),
            act: Act { function, slope: 0 },
        });
        assert!(done, "refused");
    })
}

/// A line of the table: what is timed, how, and what it took in C.
type Case = (&'static str, fn(&Set) -> f64, &'static str);

const CASES: &[Case] = &[
    ("64-128-8", |s| chain(s, 1, &[64, 128, 8]), "82"),
    (
        "64-128-8, batch 32",
        |s| chain(s, 32, &[64, 128, 8]),
        "2300",
    ),
    ("31-256-2", |s| chain(s, 1, &[31, 256, 2]), "75"),
    (
        "31-256-2, batch 32",
        |s| chain(s, 32, &[31, 256, 2]),
        "2230",
    ),
    ("dense 64-128", |s| chain(s, 1, &[64, 128]), "70"),
    ("dense 256", |s| chain(s, 1, &[256, 256]), "1010"),
    ("dense 512", |s| chain(s, 1, &[512, 512]), "5750"),
    ("dense 1024", |s| chain(s, 1, &[1024, 1024]), "31900"),
    (
        "dense 256, batch 32",
        |s| chain(s, 32, &[256, 256]),
        "16100",
    ),
    (
        "dense 1024, batch 32",
        |s| chain(s, 32, &[1024, 1024]),
        "254000",
    ),
    ("64x64x64", |s| chain(s, 64, &[64, 64]), "1950"),
    ("lstm step 64+128", |s| lstm(s, 64, 128), "1620"),
    ("cosine 64, 256x64", |s| cosine(s, 256, 64), "370"),
    (
        "attention 32x256, 8 heads",
        |s| attention(s, 32, 8, 32),
        "-",
    ),
    ("layer norm 32x256", |s| norm(s, 32, 256), "-"),
    ("softmax 32x32", |s| softmax(s, 32, 32), "-"),
    ("sigmoid 1024", |s| map(s, 1024, Function::Sigmoid), "-"),
    ("tanh 1024", |s| map(s, 1024, Function::Tanh), "-"),
    ("gelu 1024", |s| map(s, 1024, Function::Gelu), "-"),
];

fn main() {
    let features = Features::detect();
    let sets: Vec<Set> = [Isa::Avx2, Isa::Avx512]
        .into_iter()
        .filter_map(|isa| Set::select(&features, Some(isa)))
        .collect();
    print!("{:26}", "ns");
    for set in &sets {
        print!("{:>12}", set.isa().name());
    }
    println!("{:>12}", "C AVX-512");
    for (name, run, other) in CASES {
        print!("{name:26}");
        for set in &sets {
            print!("{:12.1}", run(set));
        }
        println!("{other:>12}");
    }
}
