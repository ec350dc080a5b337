// SPDX-License-Identifier: GPL-2.0

//! Times the engine for `tests/bench/bench.py`, which says on standard input what to do.
//!
//! `neural-bench DIR`: DIR has, for each case, `CASE.layers` (see `load`), `CASE_weights.npy` and `CASE_input.npy`.
//! A line in, a line of JSON out: `answer CASE` its output, `memory CASE` its bytes, `time CASE MS` the minimum and the
//! median over samples taken for about MS milliseconds, each of them many predictions long. The end of input ends it.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use neural_bench::network::{dense, to_bytes, to_floats, Network};
use neural_bench::npy;
use neural_core::act::Activation;

/// A sample is at least this long, so that reading the clock does not count.
const SAMPLE: Duration = Duration::from_micros(50);

struct Case {
    network: Network,
    input: Vec<u8>,
}

/// Reads `CASE.layers`: the size of the input, then a line `SIZE ACTIVATION` for each layer.
fn load(dir: &Path, name: &str) -> Result<Case, String> {
    let path = dir.join(format!("{name}.layers"));
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let wrong = |line: &str| format!("{}: what is {line:?}?", path.display());
    let (mut dims, mut activations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        dims.push(
            words
                .next()
                .and_then(|w| w.parse::<u32>().ok())
                .ok_or_else(|| wrong(line))?,
        );
        activations.push(match words.next() {
            None if dims.len() == 1 => continue,
            Some("linear") => Activation::Linear,
            Some("relu") => Activation::Relu,
            Some("sigmoid") => Activation::Sigmoid,
            Some("tanh") => Activation::Tanh,
            Some("softmax") => Activation::Softmax,
            _ => return Err(wrong(line)),
        });
    }
    let floats =
        |what: &str| npy::read::<f32>(&dir.join(format!("{name}_{what}.npy"))).map(|a| a.values);
    let network = Network::new("bench", &dense(&dims, &activations), &floats("weights")?);
    let input = to_bytes(&floats("input")?).map_err(|e| e.to_string())?;
    Ok(Case {
        network: network.map_err(|e| format!("{name}: {e}"))?,
        input,
    })
}

impl Case {
    fn answer(&mut self) -> Result<String, String> {
        let output = self
            .network
            .predict(&self.input)
            .map_err(|e| e.to_string())?;
        Ok(format!("{:?}", to_floats(output)))
    }

    fn memory(&self) -> String {
        let m = self.network.memory();
        format!(
            r#"{{"file_bytes":{},"weight_bytes":{},"scratch_bytes":{},"step_bytes":{}}}"#,
            m.file, m.weights, m.scratch, m.steps
        )
    }

    fn sample(&mut self, count: u32) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            // A failure would have shown in `answer`.
            black_box(self.network.predict(black_box(&self.input)).is_ok());
        }
        start.elapsed()
    }

    fn time(&mut self, budget: Duration) -> String {
        let mut count = 1u32;
        // The best of five: the first calls after another engine's turn are slow, and would make samples of one call.
        while (0..5).map(|_| self.sample(count)).min() < Some(SAMPLE) && count < 1 << 20 {
            count *= 2;
        }
        let mut samples = Vec::new();
        let start = Instant::now();
        while start.elapsed() < budget || samples.len() < 9 {
            samples.push(self.sample(count).as_secs_f64() * 1e9 / f64::from(count));
        }
        samples.sort_by(f64::total_cmp);
        let (min, med) = (samples[0], samples[samples.len() / 2]);
        format!(
            r#"{{"min_ns":{min:.1},"med_ns":{med:.1},"samples":{}}}"#,
            samples.len()
        )
    }
}

fn obey(dir: &Path, cases: &mut HashMap<String, Case>, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [verb, name, rest @ ..] = words.as_slice() else {
        return Err(format!("what is {line:?}?"));
    };
    if !cases.contains_key(*name) {
        cases.insert((*name).to_string(), load(dir, name)?);
    }
    let case = cases.get_mut(*name).ok_or("lost")?;
    match (*verb, rest) {
        ("answer", []) => case.answer(),
        ("memory", []) => Ok(case.memory()),
        ("time", [ms]) => {
            let ms = ms
                .parse()
                .map_err(|_| format!("{ms:?} is no number of milliseconds"))?;
            Ok(case.time(Duration::from_millis(ms)))
        }
        _ => Err(format!("what is {line:?}?")),
    }
}

fn run() -> Result<(), String> {
    let mut args = std::env::args_os().skip(1);
    let (Some(dir), None) = (args.next(), args.next()) else {
        return Err("usage: neural-bench DIR".into());
    };
    let (dir, mut cases) = (PathBuf::from(dir), HashMap::new());
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let answer = obey(&dir, &mut cases, &line)?;
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
