// SPDX-License-Identifier: GPL-2.0

//! `bench`: predictions per second and latency, as a caller in user space sees them.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use neural_core::init::SplitMix64;
use serde_json::json;

use crate::cli;
use crate::dev::Device;
use crate::error::{Error, Result};
use crate::{out, uapi};

/// Durations in buckets of at most 1/32 of their size.
#[derive(Clone)]
struct Histogram {
    buckets: Vec<u64>,
    max_ns: u64,
}

const SUB: u64 = 32;

impl Histogram {
    fn new() -> Self {
        Self {
            buckets: vec![0; 64 * SUB as usize],
            max_ns: 0,
        }
    }

    fn bucket(ns: u64) -> usize {
        let ns = ns.max(1);
        let shift = ns.ilog2().saturating_sub(SUB.ilog2());
        // CAST: below 64 * SUB
        (u64::from(shift) * SUB + (ns >> shift)) as usize
    }

    /// The largest duration of a bucket.
    fn top(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        if bucket < 2 * SUB {
            return bucket;
        }
        let shift = bucket / SUB - 1;
        let mantissa = bucket % SUB + SUB;
        (mantissa << shift) | ((1 << shift) - 1)
    }

    fn record(&mut self, ns: u64) {
        if let Some(n) = self.buckets.get_mut(Self::bucket(ns)) {
            *n += 1;
        }
        self.max_ns = self.max_ns.max(ns);
    }

    fn add(&mut self, other: &Self) {
        for (a, b) in self.buckets.iter_mut().zip(&other.buckets) {
            *a += b;
        }
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The duration that `permille` of all do not exceed.
    fn percentile(&self, permille: u64) -> u64 {
        let want = (self.count() * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= want {
                return Self::top(i).min(self.max_ns);
            }
        }
        self.max_ns
    }
}

/// `bench`; every thread opens the device for itself.
pub(super) fn run<D: Device>(
    open: &(dyn Fn() -> Result<D> + Sync),
    args: &cli::Bench,
    out: &mut dyn Write,
) -> Result<()> {
    let info = open()?.info(&args.net)?;
    let mut bar = out::progress((args.seconds * 10.0) as u64, "measuring"); // CAST: tenths of a second
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let (total, elapsed) = std::thread::scope(|scope| -> Result<_> {
        let workers: Vec<_> = (0..args.threads)
            .map(|seed| {
                let (stop, info) = (&stop, &info);
                scope.spawn(move || {
                    let done = worker(open, args, info, u64::from(seed), stop);
                    if done.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    done
                })
            })
            .collect();
        let end = started + Duration::from_secs_f64(args.seconds);
        while !stop.load(Ordering::Relaxed) && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(50)));
            bar.set((started.elapsed().as_secs_f64() * 10.0) as u64);
        }
        stop.store(true, Ordering::Relaxed);
        let elapsed = started.elapsed();
        let mut total = Histogram::new();
        for worker in workers {
            let histogram = worker
                .join()
                .map_err(|_| Error::refused("bench", "a thread ended early"))??;
            total.add(&histogram);
        }
        Ok((total, elapsed))
    })?;
    drop(bar);
    report(args, &total, elapsed, out)
}

fn worker<D: Device>(
    open: &(dyn Fn() -> Result<D> + Sync),
    args: &cli::Bench,
    info: &uapi::Info,
    seed: u64,
    stop: &AtomicBool,
) -> Result<Histogram> {
    let dev = open()?;
    let batch = args.batch as usize;
    let mut random = SplitMix64::new(seed);
    let each = match info.dtype {
        uapi::DTYPE_I8 => 1,
        uapi::DTYPE_I16 => 2,
        _ => size_of::<i32>(),
    };
    let bytes = |dim: u32| (dim as usize).saturating_mul(each);
    let (from, to) = (bytes(info.input_dim), bytes(info.output_dim));
    let mut input = vec![0; batch.saturating_mul(from)];
    let mut output = vec![0; batch.saturating_mul(to)];
    if input.is_empty() || output.is_empty() {
        return Err(Error::refused(&args.net, "has no inputs or no outputs"));
    }
    // From -1 to 1, or any code. CAST: the upper bits, kept in 17.
    let number = |random: u64| {
        let q16 = (random >> 47) as i32 - 0x1_0000;
        match info.dtype {
            uapi::DTYPE_F32 => (q16 as f32 / 65536.0).to_le_bytes(),
            _ => q16.to_le_bytes(),
        }
    };
    let fill = |element: &mut [u8], random: u64| {
        for (to, from) in element.iter_mut().zip(number(random)) {
            *to = from;
        }
    };
    for element in input.chunks_exact_mut(each) {
        fill(element, random.next_u64());
    }
    let mut histogram = Histogram::new();
    while !stop.load(Ordering::Relaxed) {
        if !args.same {
            // One other number in each sample makes an input that was not seen before.
            for sample in input.chunks_mut(from) {
                let at = random.below(u64::from(info.input_dim)) as usize; // CAST: below the length
                if let Some(element) = sample.chunks_exact_mut(each).nth(at) {
                    fill(element, random.next_u64());
                }
            }
        }
        let before = Instant::now();
        dev.predict(info.id, args.batch > 1, args.batch, &input, &mut output)
            .map_err(|e| e.within(&args.net))?;
        histogram.record(u64::try_from(before.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(histogram)
}

fn report(
    args: &cli::Bench,
    total: &Histogram,
    elapsed: Duration,
    out: &mut dyn Write,
) -> Result<()> {
    let calls = total.count();
    let samples = calls.saturating_mul(u64::from(args.batch));
    let rate = samples as f64 / elapsed.as_secs_f64().max(1e-9);
    let percentiles =
        [("p50", 500), ("p99", 990), ("p99.9", 999)].map(|(name, at)| (name, total.percentile(at)));
    if args.json {
        let [p50, p99, p999] = percentiles.map(|(_, ns)| ns);
        return out::json(
            out,
            &json!({
                "network": args.net,
                "seconds": elapsed.as_secs_f64(),
                "threads": args.threads,
                "batch": args.batch,
                "same_input": args.same,
                "calls": calls,
                "predictions": samples,
                "predictions_per_second": rate,
                "call_p50_ns": p50,
                "call_p99_ns": p99,
                "call_p999_ns": p999,
                "call_max_ns": total.max_ns,
                "includes_system_call": true,
            }),
        );
    }
    let latency: Vec<String> = percentiles
        .iter()
        .map(|(name, ns)| format!("{name} {}", out::nanoseconds(*ns)))
        .collect();
    writeln!(
        out,
        "{}: {rate:.0} predictions/s ({samples} in {:.2} s, {} threads, {} a call)\n\
         latency of a call: {}, max {}\n\
         These times include the system call and the copying of input and output.",
        args.net,
        elapsed.as_secs_f64(),
        args.threads,
        args.batch,
        latency.join(", "),
        out::nanoseconds(total.max_ns)
    )
    .map_err(out::failed)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn buckets_hold_what_they_say() {
        let mut last = 0;
        for exponent in 0..64u32 {
            for ns in [1u64 << exponent, (1u64 << exponent) + (1 << exponent >> 1)] {
                let bucket = Histogram::bucket(ns);
                assert!(bucket >= last && bucket < 64 * SUB as usize, "{ns}");
                last = bucket;
                assert!(Histogram::top(bucket) >= ns, "{ns}");
                assert!(Histogram::top(bucket) - ns <= ns / 16, "{ns}");
                assert!(bucket < 2 || Histogram::top(bucket - 1) < ns, "{ns}");
            }
        }
        assert!(Histogram::bucket(u64::MAX) < 64 * SUB as usize);
        assert_eq!(Histogram::top(Histogram::bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn percentiles_are_those_of_the_recorded() {
        let mut h = Histogram::new();
        assert_eq!(h.percentile(500), 0);
        for ns in 1..=1000u64 {
            h.record(ns);
        }
        for (permille, ns) in [(500, 500u64), (990, 990), (999, 999), (1000, 1000)] {
            let p = h.percentile(permille);
            assert!(p >= ns && p <= ns + ns / 16, "{permille}: {p}");
        }
        let mut sum = Histogram::new();
        sum.add(&h);
        sum.add(&h);
        assert_eq!((sum.count(), sum.max_ns), (2000, 1000));
    }

    #[test]
    fn a_short_run_counts_calls_and_samples() {
        let args = cli::Bench {
            net: "tiny".to_owned(),
            seconds: 0.1,
            batch: 4,
            threads: 2,
            same: false,
            json: true,
        };
        let mut out = Vec::new();
        run(&|| Ok(Fake::with("tiny")), &args, &mut out).unwrap();
        let v: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let calls = v["calls"].as_u64().unwrap();
        assert!(calls > 0);
        assert_eq!(v["predictions"].as_u64(), Some(4 * calls));
        assert!(v["call_p50_ns"].as_u64() <= v["call_max_ns"].as_u64());
        let mut out = Vec::new();
        let args = cli::Bench {
            json: false,
            same: true,
            ..args
        };
        run(&|| Ok(Fake::with("tiny")), &args, &mut out).unwrap();
        assert!(String::from_utf8(out)
            .unwrap()
            .contains("include the system call"));
    }

    #[test]
    fn a_failure_in_a_thread_ends_the_run() {
        let args = cli::Bench {
            net: "none".to_owned(),
            seconds: 60.0,
            batch: 1,
            threads: 2,
            same: false,
            json: true,
        };
        assert!(run(&|| Ok(Fake::with("tiny")), &args, &mut Vec::new()).is_err());
        // Here it is a thread that fails, and the run must not go on for its minute.
        let args = cli::Bench {
            net: "tiny".to_owned(),
            ..args
        };
        let opened = AtomicBool::new(false);
        let once = || match opened.swap(true, Ordering::Relaxed) {
            false => Ok(Fake::with("tiny")),
            true => Err(Error::refused("device", "went away")),
        };
        let before = Instant::now();
        assert!(run(&once, &args, &mut Vec::new()).is_err());
        assert!(before.elapsed() < Duration::from_secs(20));
    }
}
