// SPDX-License-Identifier: GPL-2.0

//! Runs networks in single precision with tract for bench.py, which says on standard input what to do, as it does to
//! neural-bench: `bench-tract - DIR` answers `version`, `answer KEY` and `time KEY MS`.

#![forbid(unsafe_code)]

use std::collections::hash_map::{Entry, HashMap};
use std::fs;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;

/// A sample is at least this long, so that reading the clock does not count.
const SAMPLE: Duration = Duration::from_micros(50);

struct Network {
    state: TypedSimpleState,
    inputs: TVec<TValue>,
    count: u32,
}

/// Reads `KEY.onnx`, and `KEY.in` for the input `x`; the states of a recurrent layer start as zeros.
fn load(dir: &Path, key: &str) -> TractResult<Network> {
    let model = tract_onnx::onnx()
        .model_for_path(dir.join(format!("{key}.onnx")))?
        .into_optimized()?;
    let mut inputs = tvec!();
    for outlet in model.input_outlets()? {
        let fact = model.outlet_fact(*outlet)?;
        let shape: Vec<usize> = fact.shape.as_concrete().unwrap_or_default().to_vec();
        let tensor = match model.node(outlet.node).name.as_str() {
            "x" => {
                let bytes = fs::read(dir.join(format!("{key}.in")))?;
                let words = bytes.chunks_exact(4).filter_map(|c| c.try_into().ok());
                let values: Vec<f32> = words.map(f32::from_le_bytes).collect();
                Tensor::from_shape(&shape, &values)?
            }
            "h0" | "c0" => Tensor::zero::<f32>(&shape)?,
            name => return Err(TractError::msg(format!("no values for the input {name}"))),
        };
        inputs.push(tensor.into_tvalue());
    }
    Ok(Network {
        state: model.into_runnable()?.spawn()?,
        inputs,
        count: 0,
    })
}

impl Network {
    fn sample(&mut self) -> TractResult<Duration> {
        let start = Instant::now();
        for _ in 0..self.count {
            black_box(self.state.run(self.inputs.clone())?);
        }
        Ok(start.elapsed())
    }

    /// Minimum and median over samples of a time in all.
    fn time(&mut self, budget: Duration) -> TractResult<String> {
        while self.count == 0 || (self.count < 1 << 20 && self.best()? < SAMPLE) {
            self.count = (2 * self.count).max(1);
        }
        self.sample()?;
        let (mut samples, start) = (Vec::new(), Instant::now());
        while start.elapsed() < budget || samples.len() < 5 {
            samples.push(self.sample()?.as_secs_f64() * 1e9 / f64::from(self.count));
        }
        samples.sort_by(f64::total_cmp);
        let (least, median) = (samples[0], samples[samples.len() / 2]);
        Ok(format!(
            r#"{{"min_ns":{least:.1},"med_ns":{median:.1},"samples":{}}}"#,
            samples.len()
        ))
    }

    /// The best of five: the first calls after another engine's turn are slow.
    fn best(&mut self) -> TractResult<Duration> {
        let mut least = Duration::MAX;
        for _ in 0..5 {
            least = least.min(self.sample()?);
        }
        Ok(least)
    }

    fn answer(&mut self) -> TractResult<String> {
        let outputs = self.state.run(self.inputs.clone())?;
        let values = outputs[0].to_plain_array_view::<f32>()?;
        Ok(format!("{:?}", values.iter().collect::<Vec<_>>()))
    }
}

fn obey(line: &str, dir: &Path, networks: &mut HashMap<String, Network>) -> TractResult<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, key, rest @ ..] = words.as_slice() else {
        return Ok(r#""tract 0.23.9""#.into());
    };
    let network = match networks.entry((*key).into()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => place.insert(load(dir, key)?),
    };
    match rest {
        [ms] => network.time(Duration::from_millis(ms.parse()?)),
        _ => network.answer(),
    }
}

fn main() -> io::Result<()> {
    let dir = std::env::args().nth(2).unwrap_or_default();
    let mut networks = HashMap::new();
    for line in io::stdin().lock().lines() {
        let reply = obey(&line?, Path::new(&dir), &mut networks);
        let mut out = io::stdout().lock();
        match reply {
            Ok(text) => writeln!(out, "{text}")?,
            Err(why) => writeln!(out, "{{\"error\":{:?}}}", why.root_cause().to_string())?,
        }
        out.flush()?;
    }
    Ok(())
}
