// SPDX-License-Identifier: GPL-2.0

//! Times the engine for `tests/bench/bench.py`, which says on standard input what to do.
//!
//! `neural-bench DIR KERNELS`, the kernels being those of an instruction set or `scalar`. DIR has, for each case,
//! `CASE_TYPE.nnm` (its checksum is not looked at) and `CASE_TYPE_bBATCH.in`, elements of the type. A line in, a line
//! of JSON out:
//!
//! * `answer KEY`: the output for the input of `KEY`, which is `CASE_TYPE_bBATCH`;
//! * `memory KEY`: its bytes;
//! * `time KEY MS`: minimum and median over samples taken for about MS milliseconds, each of them many predictions long;
//! * `cold KEY COUNT`: the same over so many single predictions, before each of which all caches are overwritten;
//! * `threads KEY COUNT MS`: predictions in a second by so many threads, each with a network of its own.
//!
//! What cannot be done is answered by `{"error": WHY}`. The end of input ends it. `neural-bench` alone lists the
//! kernels that this CPU runs.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use neural_bench::cache::Flood;
use neural_bench::network::{to_floats, Network};
use neural_core::nnm::{self, DType};
use neural_core::plan::Scalar;
use neural_simd::{Features, Isa, NoSection, Set, Simd};

/// A sample is at least this long, so that reading the clock does not count.
const SAMPLE: Duration = Duration::from_micros(50);

/// Predictions of a thread between two looks at the clock.
const CALLS: u32 = 64;

struct Case {
    network: Network,
    input: Vec<u8>,
    /// Predictions in a sample, once it is known.
    count: Option<u32>,
}

fn load(dir: &Path, key: &str) -> Result<Case, String> {
    let read = |name: String| {
        let path = dir.join(name);
        std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let (stem, batch) = key.rsplit_once("_b").ok_or(format!("what is {key:?}?"))?;
    let samples = batch.parse().map_err(|_| format!("what is {key:?}?"))?;
    let mut file = read(format!("{stem}.nnm"))?;
    nnm::seal(&mut file);
    Ok(Case {
        network: Network::load(file, samples).map_err(|e| format!("{key}: {e}"))?,
        input: read(format!("{key}.in"))?,
        count: None,
    })
}

/// Elements as JSON.
fn elements(dtype: DType, bytes: &[u8]) -> String {
    match dtype {
        DType::Q16 => format!("{:?}", to_floats(bytes)),
        DType::F32 => {
            let floats = bytes.chunks_exact(4).map(|c| match c.try_into() {
                Ok(word) => f32::from_le_bytes(word),
                Err(_) => f32::NAN,
            });
            format!("{:?}", floats.collect::<Vec<_>>())
        }
        // CAST: the same bits, read as signed.
        _ => format!("{:?}", bytes.iter().map(|&b| b as i8).collect::<Vec<_>>()),
    }
}

/// Runs a case by the kernels that were chosen.
struct Runner {
    vector: Option<Simd<NoSection>>,
}

impl Runner {
    fn new(set: Set) -> Self {
        Runner {
            vector: (set.isa() != Isa::Scalar).then(|| Simd::new(Some(set), NoSection)),
        }
    }

    fn predict<'a>(&self, case: &'a mut Case) -> Result<&'a [u8], String> {
        let input = black_box(&case.input);
        match &self.vector {
            Some(kernels) => case.network.predict_by(kernels, input),
            None => case.network.predict_by(&Scalar, input),
        }
        .map_err(|e| e.to_string())
    }

    fn sample(&self, case: &mut Case, count: u32) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            // A failure would have shown in `answer`.
            black_box(self.predict(case).is_ok());
        }
        start.elapsed()
    }

    fn time(&self, case: &mut Case, budget: Duration) -> String {
        let mut count = case.count.unwrap_or(1);
        if case.count.is_none() {
            // The best of five: the first calls after another engine's turn are slow, and would make samples of one call.
            while (0..5).map(|_| self.sample(case, count)).min() < Some(SAMPLE) && count < 1 << 20 {
                count *= 2;
            }
            case.count = Some(count);
        }
        self.sample(case, count);
        let mut samples = Vec::new();
        let start = Instant::now();
        while start.elapsed() < budget || samples.len() < 5 {
            samples.push(self.sample(case, count).as_secs_f64() * 1e9 / f64::from(count));
        }
        summary(samples)
    }

    fn cold(&self, case: &mut Case, flood: &mut Flood, count: u32) -> String {
        let samples = (0..count).map(|_| {
            flood.run();
            self.sample(case, 1).as_secs_f64() * 1e9
        });
        summary(samples.collect())
    }
}

/// Predictions in a second, by all threads.
fn throughput(
    dir: &Path,
    key: &str,
    set: Set,
    threads: u32,
    budget: Duration,
) -> Result<String, String> {
    let ready = Barrier::new(threads as usize);
    let work = || -> Result<f64, String> {
        let loaded = load(dir, key);
        ready.wait();
        let (mut case, runner) = (loaded?, Runner::new(set));
        let (mut done, start) = (0.0, Instant::now());
        while start.elapsed() < budget {
            runner.sample(&mut case, CALLS);
            done += f64::from(CALLS);
        }
        Ok(done / start.elapsed().as_secs_f64())
    };
    let rates: Result<Vec<f64>, String> = thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = started.into_iter().map(|t| t.join());
        ended
            .map(|rate| rate.map_err(|_| "a thread died".to_string())?)
            .collect()
    });
    Ok(format!(
        r#"{{"per_second":{:.0}}}"#,
        rates?.iter().sum::<f64>()
    ))
}

fn summary(mut samples: Vec<f64>) -> String {
    samples.sort_by(f64::total_cmp);
    let at = |i: usize| samples.get(i).copied().unwrap_or(f64::NAN);
    format!(
        r#"{{"min_ns":{:.1},"med_ns":{:.1},"samples":{}}}"#,
        at(0),
        at(samples.len() / 2),
        samples.len()
    )
}

fn memory(case: &Case) -> String {
    let m = case.network.memory();
    format!(
        r#"{{"file_bytes":{},"weight_bytes":{},"scratch_bytes":{},"step_bytes":{}}}"#,
        m.file, m.weights, m.scratch, m.steps
    )
}

struct Session {
    dir: PathBuf,
    set: Set,
    runner: Runner,
    cases: HashMap<String, Case>,
    flood: Option<Flood>,
}

impl Session {
    fn obey(&mut self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [verb, key, rest @ ..] = words.as_slice() else {
            return Err(format!("what is {line:?}?"));
        };
        if !self.cases.contains_key(*key) {
            let case = load(&self.dir, key)?;
            self.cases.insert((*key).to_string(), case);
        }
        let case = self.cases.get_mut(*key).ok_or("lost")?;
        let number = |word: &str| {
            word.parse()
                .map_err(|_| format!("{word:?} is not a number"))
        };
        match (*verb, rest) {
            ("answer", []) => {
                let dtype = case.network.dtype();
                Ok(elements(dtype, self.runner.predict(case)?))
            }
            ("memory", []) => Ok(memory(case)),
            ("time", [ms]) => Ok(self
                .runner
                .time(case, Duration::from_millis(u64::from(number(ms)?)))),
            ("cold", [count]) => {
                let flood = self.flood.get_or_insert_with(Flood::new);
                Ok(self.runner.cold(case, flood, number(count)?))
            }
            ("threads", [count, ms]) => {
                let budget = Duration::from_millis(u64::from(number(ms)?));
                throughput(&self.dir, key, self.set, number(count)?, budget)
            }
            _ => Err(format!("what is {line:?}?")),
        }
    }
}

fn run() -> Result<(), String> {
    let features = Features::detect();
    let args: Vec<_> = std::env::args().skip(1).collect();
    let (dir, kernels) = match args.as_slice() {
        [] => {
            let isas = Isa::ALL.iter().filter(|isa| isa.runs_on(&features));
            let names: Vec<_> = isas.map(|isa| isa.name()).collect();
            println!("{}", names.join(" "));
            return Ok(());
        }
        [dir, kernels] => (dir, kernels),
        _ => return Err("usage: neural-bench [DIR KERNELS]".into()),
    };
    let isa = Isa::ALL.into_iter().find(|isa| isa.name() == kernels);
    let isa = isa.ok_or(format!("there are no kernels {kernels:?}"))?;
    let set =
        Set::select(&features, Some(isa)).ok_or(format!("this CPU does not run {kernels}"))?;
    let mut session = Session {
        dir: dir.into(),
        set,
        runner: Runner::new(set),
        cases: HashMap::new(),
        flood: None,
    };
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let answer = session
            .obey(&line)
            .unwrap_or_else(|why| format!("{{\"error\":{why:?}}}"));
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")
            .and_then(|()| out.flush())
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("neural-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
