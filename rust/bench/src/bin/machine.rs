// SPDX-License-Identifier: GPL-2.0

//! Measures what one core of this machine does at best, and prints it as JSON for `tests/bench/bench.py`.
//!
//! Multiply-accumulates in a nanosecond by instruction set, from sums that are held in registers; bytes
//! in a nanosecond that are loaded from buffers of growing size; the time of a round trip to another process on the
//! same core, which is woken through an eventfd and answers through another one.
//!
//! `neural-machine`, pinned to a core by who calls it. It starts itself with two descriptors as arguments to be the
//! other process.

use std::arch::asm;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use neural_simd::{Features, Isa};

/// Samples of which the fastest counts.
const SAMPLES: usize = 200;

/// Turns of a loop in a sample, and sums in registers that a turn adds to.
const TURNS: usize = 1000;
const SUMS: usize = 12;

/// Sizes of the buffers that are loaded from, in KiB.
const BUFFERS: [usize; 15] = [
    8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 262144,
];

/// Bytes that are loaded in a sample, at least.
const LOADED: usize = 1 << 20;

/// Round trips that are timed one by one.
const TRIPS: usize = 20000;

extern "C" {
    fn eventfd(value: u32, flags: i32) -> i32;
}

/// Defines a function that executes an instruction for the registers 0 to 11, `TURNS` times.
macro_rules! peak {
    ($name:ident, $before:literal, $between:literal, $after:literal) => {
        peak!($name, $before, $between, $after, "0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11");
    };
    ($name:ident, $before:literal, $between:literal, $after:literal, $($n:literal)*) => {
        /// # Safety
        ///
        /// The CPU has the instructions.
        unsafe fn $name() {
            // SAFETY: it touches registers only, and says which.
            unsafe {
                asm!(
                    "vpxor xmm14, xmm14, xmm14",
                    "vpxor xmm15, xmm15, xmm15",
                    $(concat!("vpxor xmm", $n, ", xmm14, xmm14"),)*
                    "2:",
                    $(concat!($before, $n, $between, $n, $after),)*
                    "dec {n}",
                    "jnz 2b",
                    n = inout(reg) TURNS => _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                    out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                    out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(nostack, nomem),
                );
            }
        }
    };
}

peak!(fma_256, "vfmadd231ps ymm", ", ymm14, ymm15 # ", "");
peak!(fma_512, "vfmadd231ps zmm", ", zmm14, zmm15 # ", "");
peak!(dot_256, "{{vex}} vpdpbusd ymm", ", ymm14, ymm15 # ", "");
peak!(dot_512, "vpdpbusd zmm", ", zmm14, zmm15 # ", "");
peak!(
    pairs_256,
    "vpmaddwd ymm13, ymm14, ymm15\nvpaddd ymm",
    ", ymm13, ymm",
    ""
);
peak!(
    pairs_512,
    "vpmaddwd zmm13, zmm14, zmm15\nvpaddd zmm",
    ", zmm13, zmm",
    ""
);

/// Defines a function that loads a buffer, a multiple of eight vectors long.
macro_rules! load {
    ($name:ident, $bytes:literal, $reg:literal, $($n:literal)*) => {
        /// # Safety
        ///
        /// The CPU has the instructions.
        unsafe fn $name(buffer: &[u8]) {
            for part in buffer.chunks_exact(8 * $bytes) {
                // SAFETY: it reads inside the part, and says which registers it touches.
                unsafe {
                    asm!(
                        $(concat!("vmovups ", $reg, $n, ", [{p} + ", $n, " * ", $bytes, "]"),)*
                        p = in(reg) part.as_ptr(),
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                        out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                        options(nostack, readonly),
                    );
                }
            }
        }
    };
}

load!(load_256, 32, "ymm", "0" "1" "2" "3" "4" "5" "6" "7");
load!(load_512, 64, "zmm", "0" "1" "2" "3" "4" "5" "6" "7");

/// The shortest time of a call, in ns.
fn best(mut f: impl FnMut()) -> f64 {
    let end = Instant::now() + Duration::from_millis(300);
    let mut least = f64::INFINITY;
    for _ in 0..SAMPLES {
        let start = Instant::now();
        f();
        least = least.min(start.elapsed().as_secs_f64() * 1e9);
        if Instant::now() > end {
            break;
        }
    }
    least
}

/// Multiply-accumulates in a ns of a function that does `width` with each instruction.
fn rate(width: usize, f: unsafe fn()) -> f64 {
    // SAFETY: who calls has looked whether the CPU has it.
    (TURNS * SUMS * width) as f64 / best(|| unsafe { f() })
}

/// Entries `"ISA":RATE` of those that this CPU runs.
fn rates(features: &Features, all: &[(Isa, usize, unsafe fn())]) -> String {
    let runs = all.iter().filter(|(isa, ..)| isa.runs_on(features));
    let entries = runs.map(|(isa, width, f)| format!("\"{}\":{:.2}", isa.name(), rate(*width, *f)));
    entries.collect::<Vec<_>>().join(",")
}

/// Entries `[BYTES, RATE]`.
fn loads(f: unsafe fn(&[u8])) -> String {
    let entries = BUFFERS.map(|kib| {
        let buffer = vec![1u8; kib << 10];
        let start = buffer.as_ptr().align_offset(64);
        let part = buffer.get(start..).unwrap_or(&[]);
        let used = part.len() & !511;
        let part = part.get(..used).unwrap_or(&[]);
        let turns = (LOADED / used).max(1);
        let ns = best(|| {
            for _ in 0..turns {
                // SAFETY: who calls has looked whether the CPU has it.
                unsafe { f(part) };
            }
        });
        format!("[{},{:.2}]", kib << 10, (turns * used) as f64 / ns)
    });
    entries.join(",")
}

/// Minimum and median of a round trip.
fn round_trip() -> Result<String, String> {
    let failed = |e: std::io::Error| e.to_string();
    // SAFETY: it takes two numbers.
    let made = [0; 2].map(|_| unsafe { eventfd(0, 0) });
    if made.iter().any(|&fd| fd < 0) {
        return Err("eventfd fails".into());
    }
    // SAFETY: both were made above, and belong to nobody else.
    let [mut there, mut back] = made.map(|fd| unsafe { File::from_raw_fd(fd) });
    let program = std::env::current_exe().map_err(failed)?;
    let names = [&there, &back].map(|f| f.as_raw_fd().to_string());
    let mut child = Command::new(program).args(names).spawn().map_err(failed)?;
    let mut trip = || -> std::io::Result<f64> {
        let start = Instant::now();
        there.write_all(&1u64.to_le_bytes())?;
        back.read_exact(&mut [0; 8])?;
        Ok(start.elapsed().as_secs_f64() * 1e9)
    };
    let samples: Result<Vec<f64>, _> = (0..TRIPS).map(|_| trip()).collect();
    child.kill().map_err(failed)?;
    child.wait().map_err(failed)?;
    let mut samples = samples.map_err(failed)?;
    samples.sort_by(f64::total_cmp);
    Ok(format!(
        "{{\"min_ns\":{:.0},\"med_ns\":{:.0}}}",
        samples[0],
        samples[TRIPS / 2]
    ))
}

/// Answers as the other process.
fn echo(from: &str, to: &str) -> Result<(), String> {
    let failed = |e: std::io::Error| e.to_string();
    let open = |name: &str| -> Result<File, String> {
        let fd = name.parse().map_err(|_| "usage: neural-machine")?;
        // SAFETY: this process was started with the descriptor for its own.
        Ok(unsafe { File::from_raw_fd(fd) })
    };
    let (mut from, mut to) = (open(from)?, open(to)?);
    let mut word = [0; 8];
    loop {
        from.read_exact(&mut word).map_err(failed)?;
        to.write_all(&1u64.to_le_bytes()).map_err(failed)?;
    }
}

fn run() -> Result<(), String> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [] => {}
        [from, to] => return echo(from, to),
        _ => return Err("usage: neural-machine".into()),
    }
    let features = Features::detect();
    if !Isa::Avx2.runs_on(&features) {
        println!("{{}}");
        return Ok(());
    }
    let codes = rates(
        &features,
        &[
            (Isa::Avx2, 16, pairs_256),
            (Isa::AvxVnni, 32, dot_256),
            (Isa::Avx512, 32, pairs_512),
            (Isa::Avx512Vnni, 64, dot_512),
        ],
    );
    let floats = rates(
        &features,
        &[(Isa::Avx2, 8, fma_256), (Isa::Avx512, 16, fma_512)],
    );
    let mut load = vec![format!("\"avx2\":[{}]", loads(load_256))];
    if Isa::Avx512.runs_on(&features) {
        load.push(format!("\"avx512\":[{}]", loads(load_512)));
    }
    println!(
        "{{\"i8\":{{{codes}}},\"f32\":{{{floats}}},\"loads\":{{{}}},\"round_trip\":{}}}",
        load.join(","),
        round_trip()?
    );
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("neural-machine: {why}");
            ExitCode::FAILURE
        }
    }
}
