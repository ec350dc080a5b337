// SPDX-License-Identifier: GPL-2.0

//! Times generated code beside the vector code that it takes the place of, and beside scalar code.
//!
//! `time [MILLISECONDS [WORD]]`: works whose names contain the word, or the chain whose sizes stand behind
//! a `=`; samples taken for so many milliseconds each. Run it on
//! a core of its own (`taskset -c 1`). Samples of both kinds of code take turns; the median is printed. What
//! the multiply-accumulates of a work take where nothing else counts is its bound; emission includes the check.

#[path = "../tests/common/mod.rs"]
mod common;

use std::arch::asm;
use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{runs, ChainArgs, Code, Kind, Network, Random};
use neural_jit::{check, emit, Descriptor, Exit, GemmF32, Isa, Limit};
use neural_simd::f32_args;

extern "C" {
    fn neural_chain_i8_avx2(args: *const ChainArgs);
    fn neural_chain_i8_avxvnni(args: *const ChainArgs);
    fn neural_chain_i8_avx512(args: *const ChainArgs);
    fn neural_chain_i8_avx512vnni(args: *const ChainArgs);
    fn neural_chain_f32_avx512(args: *const f32_args::ChainF32);
    fn neural_cosine_f32_avx512(args: *const f32_args::CosineF32);
    fn neural_gemm_f32_avx2(args: *const f32_args::GemmF32);
    fn neural_gemm_f32_avx512(args: *const f32_args::GemmF32);
}

type Function = unsafe extern "C" fn(*const ChainArgs);

fn intrinsics(isa: Isa) -> Function {
    match isa {
        Isa::Avx2 => neural_chain_i8_avx2,
        Isa::AvxVnni => neural_chain_i8_avxvnni,
        Isa::Avx512 => neural_chain_i8_avx512,
        Isa::Avx512Vnni => neural_chain_i8_avx512vnni,
    }
}

/// Multiply-accumulates of bytes in a nanosecond, by the one instruction for it: 12 sums, 1000 times.
///
/// # Safety
///
/// The CPU has AVX-512 VNNI.
unsafe fn peak() -> f64 {
    let mut best = f64::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        // SAFETY: registers only, which are named.
        unsafe {
            asm!(
                "2:",
                "vpdpbusd zmm0, zmm15, zmm15",
                "vpdpbusd zmm1, zmm15, zmm15",
                "vpdpbusd zmm2, zmm15, zmm15",
                "vpdpbusd zmm3, zmm15, zmm15",
                "vpdpbusd zmm4, zmm15, zmm15",
                "vpdpbusd zmm5, zmm15, zmm15",
                "vpdpbusd zmm6, zmm15, zmm15",
                "vpdpbusd zmm7, zmm15, zmm15",
                "vpdpbusd zmm8, zmm15, zmm15",
                "vpdpbusd zmm9, zmm15, zmm15",
                "vpdpbusd zmm10, zmm15, zmm15",
                "vpdpbusd zmm11, zmm15, zmm15",
                "dec {left}",
                "jnz 2b",
                "vzeroupper",
                left = inout(reg) 1000u64 => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm15") _,
                options(nomem, nostack),
            );
        }
        best = best.min(start.elapsed().as_nanos() as f64);
    }
    12.0 * 1000.0 * 64.0 / best
}

/// Medians of the time of a call of each function, which take turns.
fn paired(functions: &mut [&mut dyn FnMut()], time: Duration) -> Vec<f64> {
    let mut counts = Vec::new();
    for function in functions.iter_mut() {
        let start = Instant::now();
        let mut calls = 0u32;
        while start.elapsed() < Duration::from_millis(3) {
            function();
            calls += 1;
        }
        counts.push((calls / 60).max(1));
    }
    let mut samples = vec![Vec::new(); functions.len()];
    let start = Instant::now();
    while start.elapsed() < time {
        for (i, function) in functions.iter_mut().enumerate() {
            let from = Instant::now();
            for _ in 0..counts[i] {
                function();
            }
            samples[i].push(from.elapsed().as_nanos() as f64 / f64::from(counts[i]));
        }
    }
    samples
        .iter_mut()
        .map(|samples| {
            samples.sort_by(f64::total_cmp);
            samples[samples.len() / 2]
        })
        .collect()
}

fn chain(sizes: &[usize], tables: bool, isa: Isa, time: Duration, peak: Option<f64>) {
    let mut random = Random(1);
    let network = Network::random(&mut random, sizes, Kind::Usual, tables);
    let mut buffer = vec![0; 1 << 20];
    let descriptor = network.descriptor();
    let Some((code, emission, len)) = load(&descriptor, isa, &mut buffer) else {
        return;
    };
    // SAFETY: code for these arguments.
    let jit: Function = unsafe { std::mem::transmute(code.1) };
    let leaf = intrinsics(isa);
    let mut x = vec![0u8; sizes[0]];
    random.fill(&mut x);
    let mut y = vec![0u8; *sizes.last().unwrap()];
    let width = network.width().next_multiple_of(64);
    let mut buffers = vec![0u8; 2 * width + 64];
    let shift = buffers.as_ptr().align_offset(64);
    let (low, high) = buffers[shift..].split_at_mut(width);
    // Weights at the beginning of a line, as in the kernel.
    let mut weights = vec![0u8; network.weights.len() + 64];
    let shift = weights.as_ptr().align_offset(64);
    weights[shift..][..network.weights.len()].copy_from_slice(&network.weights);
    let args = ChainArgs {
        x: x.as_ptr(),
        y: y.as_mut_ptr(),
        buffers: [low.as_mut_ptr(), high.as_mut_ptr()],
        weights: weights[shift..].as_ptr(),
        layers: network.layers.as_ptr(),
        count: sizes.len() - 1,
        flip: network.flip.into(),
    };
    let times = paired(
        &mut [
            // SAFETY: the arguments are those of the network.
            &mut || unsafe { leaf(black_box(&args)) },
            // SAFETY: as above.
            &mut || unsafe { jit(black_box(&args)) },
            &mut || drop(black_box(network.expected(&x))),
        ],
        time,
    );
    let macs: usize = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let names: Vec<String> = sizes.iter().map(usize::to_string).collect();
    let name = names.join("-") + if tables { " tables" } else { "" };
    let bound = peak.map(|peak| macs as f64 / peak);
    line(&name, isa, &times, bound, len, emission);
}

/// A matrix product: positions, inputs, outputs.
fn gemm([m, k, n]: [usize; 3], isa: Isa, time: Duration, peak: Option<f64>) {
    let descriptor = Descriptor::GemmF32(GemmF32 {
        positions: m as u32,
        n: n as u32,
        k: k as u32,
        x_row: 4 * k as u32,
        y_row: 4 * n as u32,
        limit: Limit::None,
    });
    let mut buffer = vec![0; 1 << 20];
    let rows = n.next_multiple_of(16);
    let (x, w, bias) = (
        Lines::new(m * k + 16),
        Lines::new(rows * k),
        Lines::new(rows),
    );
    let mut y = Lines::new(m * n);
    let args = f32_args::GemmF32 {
        x: x.bytes(),
        x_row: 4 * k,
        x_outer: 0,
        y: y.bytes_mut(),
        y_row: 4 * n,
        y_outer: 0,
        m,
        outer: 1,
        n,
        k,
        segments: 1,
        offsets: [0u8; 4].as_ptr(),
        w: w.bytes(),
        by_row: 0,
        bias: bias.bytes(),
        act: 0,
        slope: 0,
    };
    let Some((code, emission, len)) = load(&descriptor, isa, &mut buffer) else {
        return;
    };
    // SAFETY: code for these arguments.
    let jit: extern "C" fn(*const f32_args::GemmF32) = unsafe { std::mem::transmute(code.1) };
    let leaf = match isa {
        Isa::Avx2 | Isa::AvxVnni => neural_gemm_f32_avx2,
        Isa::Avx512 | Isa::Avx512Vnni => neural_gemm_f32_avx512,
    };
    let mut scalar = vec![0f32; m * n];
    let times = paired(
        &mut [
            // SAFETY: the operands have what the arguments say.
            &mut || unsafe { leaf(black_box(&args)) },
            &mut || jit(black_box(&args)),
            &mut || {
                for (y, x) in scalar.chunks_exact_mut(n).zip(x.0.chunks_exact(k)) {
                    for (y, w) in y.iter_mut().zip(w.0.chunks_exact(k)) {
                        *y = x.iter().zip(w).fold(0.0, |sum, (x, w)| sum + x * w);
                    }
                }
                black_box(&mut scalar);
            },
        ],
        time,
    );
    // A quarter of what there is of bytes.
    let bound = peak.map(|peak| 4.0 * (m * k * n) as f64 / peak);
    line(
        &format!("gemm {m}x{k}x{n}"),
        isa,
        &times,
        bound,
        len,
        emission,
    );
}

/// A chain of single precision, weights of few rows by row.
fn chain_f32(sizes: &[usize], isa: Isa, time: Duration, peak: Option<f64>) {
    let mut layers = Vec::new();
    let mut at = 0;
    let mut place = |elements: usize| {
        let start = at;
        at += (4 * elements).next_multiple_of(64);
        start
    };
    for pair in sizes.windows(2) {
        let (k, n) = (pair[0], pair[1]);
        let rows = n.next_multiple_of(16);
        let by_row = n <= f32_args::FEW;
        let w = place(if by_row { n * k } else { rows * k });
        for field in [k, n, w, place(rows), usize::from(by_row), 1, 0, 0] {
            layers.extend_from_slice(&(field as u32).to_le_bytes());
        }
    }
    let weights = Lines::new(at / 4);
    let descriptor = Descriptor::ChainF32 { layers: &layers };
    let mut buffer = vec![0; 1 << 20];
    let Some((code, emission, len)) = load(&descriptor, isa, &mut buffer) else {
        return;
    };
    // SAFETY: code for these arguments.
    let jit: extern "C" fn(*const f32_args::ChainF32) = unsafe { std::mem::transmute(code.1) };
    let widest = *sizes.iter().max().unwrap() + 32;
    let (x, mut y) = (Lines::new(sizes[0]), Lines::new(widest));
    let (mut low, mut high) = (Lines::new(widest), Lines::new(widest));
    let args = f32_args::ChainF32 {
        x: x.bytes(),
        y: y.bytes_mut(),
        buffers: [low.bytes_mut(), high.bytes_mut()],
        weights: weights.bytes(),
        layers: layers.as_ptr(),
        count: sizes.len() - 1,
    };
    let mut scalar = vec![0f32; widest];
    let times = paired(
        &mut [
            // SAFETY: the operands have what the arguments say.
            &mut || unsafe { neural_chain_f32_avx512(black_box(&args)) },
            &mut || jit(black_box(&args)),
            &mut || {
                let mut from = vec![0.0; scalar.len()];
                from[..x.0.len().min(widest)].copy_from_slice(&x.0[..x.0.len().min(widest)]);
                for pair in sizes.windows(2) {
                    for (y, w) in scalar
                        .iter_mut()
                        .zip(weights.0.chunks(pair[0]))
                        .take(pair[1])
                    {
                        *y = from.iter().zip(w).fold(0.0, |sum, (x, w)| sum + x * w);
                    }
                    from.copy_from_slice(&scalar);
                }
                black_box(&mut from);
            },
        ],
        time,
    );
    let macs: usize = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let names: Vec<String> = sizes.iter().map(usize::to_string).collect();
    let bound = peak.map(|peak| 4.0 * macs as f64 / peak);
    let name = names.join("-") + " f32";
    line(&name, isa, &times, bound, len, emission);
}

/// Similarities of a key with rows.
fn cosine(rows: usize, n: usize, isa: Isa, time: Duration, peak: Option<f64>) {
    let descriptor = Descriptor::CosineF32 {
        rows: rows as u32,
        n: n as u32,
        eps: 1e-8f32.to_bits(),
    };
    let mut buffer = vec![0; 1 << 16];
    let Some((code, emission, len)) = load(&descriptor, isa, &mut buffer) else {
        return;
    };
    // SAFETY: code for these arguments.
    let jit: extern "C" fn(*const f32_args::CosineF32) = unsafe { std::mem::transmute(code.1) };
    let (key, x, mut y) = (Lines::new(n), Lines::new(rows * n), Lines::new(rows));
    let args = f32_args::CosineF32 {
        key: key.bytes(),
        x: x.bytes(),
        y: y.bytes_mut(),
        rows,
        n,
        eps: 1e-8f32.to_bits(),
    };
    let mut scalar = vec![0f32; rows];
    let times = paired(
        &mut [
            // SAFETY: the operands have what the arguments say.
            &mut || unsafe { neural_cosine_f32_avx512(black_box(&args)) },
            &mut || jit(black_box(&args)),
            &mut || {
                let norm = |x: &[f32]| x.iter().fold(0.0, |sum, x| sum + x * x).sqrt();
                let key = &key.0[..n];
                let magnitude: f32 = norm(key);
                for (y, x) in scalar.iter_mut().zip(x.0.chunks_exact(n)) {
                    let dot: f32 = x.iter().zip(key).fold(0.0, |sum, (x, w)| sum + x * w);
                    *y = dot / (magnitude * norm(x)).max(1e-8);
                }
                black_box(&mut scalar);
            },
        ],
        time,
    );
    // Each element is multiplied with the key and with itself.
    let bound = peak.map(|peak| 4.0 * (2 * rows * n) as f64 / peak);
    line(
        &format!("cosine {rows}x{n}"),
        isa,
        &times,
        bound,
        len,
        emission,
    );
}

/// Numbers at the beginning of a line of memory.
struct Lines(Vec<f32>, usize);

impl Lines {
    fn new(n: usize) -> Self {
        let mut random = Random(n as u64);
        let numbers: Vec<f32> = (0..n + 16)
            .map(|_| random.below(1 << 16) as f32 / 65536.0 - 0.5)
            .collect();
        let start = numbers.as_ptr().align_offset(64);
        Lines(numbers, start)
    }

    fn bytes(&self) -> *const u8 {
        self.0[self.1..].as_ptr().cast()
    }

    fn bytes_mut(&mut self) -> *mut u8 {
        self.0[self.1..].as_mut_ptr().cast()
    }
}

/// Code in a page, its address, what emission and check took, and its length.
fn load(
    descriptor: &Descriptor<'_>,
    isa: Isa,
    buffer: &mut [u8],
) -> Option<((Code, *const u8), f64, usize)> {
    let len = emit(descriptor, isa, Exit::Ret, buffer).ok()?;
    let mut emission = f64::MAX;
    for _ in 0..50 {
        let start = Instant::now();
        let len = emit(descriptor, isa, Exit::Ret, buffer).ok()?;
        assert!(check(&buffer[..len], Exit::Ret).is_ok());
        emission = emission.min(start.elapsed().as_nanos() as f64);
    }
    let mut page = Code::new(1 << 20);
    let place = page.load(&buffer[..len]);
    Some(((page, place), emission, len))
}

/// A line of the table; times of vector code, generated code and scalar code.
fn line(name: &str, isa: Isa, times: &[f64], bound: Option<f64>, len: usize, emission: f64) {
    let (leaf, jit, scalar) = (times[0], times[1], times[2]);
    let bound = bound.unwrap_or(f64::NAN);
    println!(
        "{name:<24} {:<10} {scalar:>9.0} {leaf:>9.1} {jit:>9.1} {:>6.2} {bound:>8.1} {:>5.0}% {len:>6} {:>8.1} {:>8.0}",
        format!("{isa:?}"),
        leaf / jit,
        bound / jit * 100.0,
        emission / 1000.0,
        emission / (leaf - jit).max(0.0),
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let time = arguments.next().and_then(|ms| ms.parse().ok());
    let time = Duration::from_millis(time.unwrap_or(300));
    let word = arguments.next().unwrap_or_default();
    // SAFETY: the CPU has what it needs.
    let peak = runs(Isa::Avx512Vnni).then(|| unsafe { peak() });
    println!(
        "{:<24} {:<10} {:>9} {:>9} {:>9} {:>6} {:>8} {:>6} {:>6} {:>8} {:>8}",
        "work",
        "isa",
        "scalar ns",
        "simd ns",
        "jit ns",
        "ratio",
        "bound ns",
        "share",
        "bytes",
        "emit us",
        "even at"
    );
    let works: [(&[usize], bool); 9] = [
        (&[64, 128, 8], false),
        (&[64, 128, 10], false),
        (&[31, 256, 2], false),
        (&[5, 15, 5, 4], false),
        (&[5, 15, 5, 4], true),
        (&[16, 32, 16, 4], false),
        (&[64, 64, 64, 64, 10], false),
        (&[32, 128, 128, 16], true),
        (&[128, 64], false),
    ];
    if let Some(sizes) = word.strip_prefix('=') {
        let sizes: Vec<usize> = sizes.split('-').map(|n| n.parse().unwrap()).collect();
        for isa in [Isa::Avx512Vnni, Isa::Avx512, Isa::AvxVnni, Isa::Avx2] {
            if runs(isa) {
                chain(&sizes, false, isa, time, peak);
            }
        }
        return;
    }
    for isa in [Isa::Avx512Vnni, Isa::Avx512, Isa::AvxVnni, Isa::Avx2] {
        for (sizes, tables) in works {
            let name = format!("{sizes:?} {isa:?}");
            if runs(isa) && name.contains(&word) {
                chain(sizes, tables, isa, time, peak);
            }
        }
        for sizes in [
            &[64, 128, 8][..],
            &[31, 256, 2],
            &[5, 15, 5, 4],
            &[16, 32, 16, 4],
        ] {
            let name = format!("f32 {sizes:?} {isa:?}");
            if isa == Isa::Avx512 && runs(isa) && name.contains(&word) {
                chain_f32(sizes, isa, time, peak);
            }
        }
        if isa == Isa::Avx512 && runs(isa) && format!("cosine {isa:?}").contains(&word) {
            cosine(256, 64, isa, time, peak);
        }
        // Numbers of single precision have no instructions of their own there.
        let single = matches!(isa, Isa::Avx2 | Isa::Avx512) && runs(isa);
        for sizes in [
            [1, 128, 64],
            [1, 64, 128],
            [1, 192, 512],
            [8, 64, 64],
            [64, 64, 64],
        ] {
            if single && format!("gemm {sizes:?} {isa:?}").contains(&word) {
                gemm(sizes, isa, time, peak);
            }
        }
    }
}
