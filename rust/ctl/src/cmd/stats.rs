// SPDX-License-Identifier: GPL-2.0

//! `stats`: the statistics of a network, or of all.

use std::fmt;
use std::io::Write;

use neural_core::stats::Snapshot;
use serde_json::Value;

use crate::cli;
use crate::dev::Device;
use crate::error::{Error, Result};
use crate::out;
use crate::uapi;

/// `stats`
pub(super) fn run(dev: &dyn Device, args: &cli::Stats, out: &mut dyn Write) -> Result<()> {
    let id = match &args.net {
        Some(name) => dev.find(name)?,
        None => uapi::ID_TOTAL,
    };
    let name = args.net.as_deref().unwrap_or_default();
    let stats = snapshot(&dev.stats(id)?);
    let mut text = String::new();
    if args.json {
        stats.write_json(name, id, &mut text).map_err(failed)?;
        let document: Value = serde_json::from_str(&text).map_err(failed)?;
        return out::json(out, &document);
    }
    match &args.net {
        Some(name) => text.push_str(&format!("network: {name}\nid: {id}\n")),
        None => text.push_str(&format!("networks: {}\n", dev.query()?.networks)),
    }
    stats.write_text(&mut text).map_err(failed)?;
    out.write_all(text.as_bytes()).map_err(out::failed)
}

fn failed(e: impl fmt::Display) -> Error {
    Error::refused("stats", e)
}

/// The statistics as the module writes them to its own files, so that both have the same keys and
/// the same derived values.
fn snapshot(s: &uapi::Stats) -> Snapshot {
    let mut snapshot = Snapshot::ZERO;
    snapshot.predictions = s.predictions;
    snapshot.batches = s.batches;
    snapshot.cache_hits = s.cache_hits;
    snapshot.cache_misses = s.cache_misses;
    snapshot.cache_expired = s.cache_expired;
    snapshot.simd_ops = s.simd_ops;
    snapshot.total_ns = s.total_ns;
    snapshot.memory_bytes = s.memory_bytes;
    snapshot.memory_peak_bytes = s.memory_peak_bytes;
    snapshot.errors = s.errors;
    snapshot.histogram = s.histogram;
    snapshot
}

/// Cache hits in percent of all look-ups.
pub(super) fn hit_rate(s: &uapi::Stats) -> f64 {
    out::percent(s.cache_hits, s.cache_hits.saturating_add(s.cache_misses))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn stats(fake: &Fake, net: Option<&str>, json: bool) -> Result<String> {
        let args = cli::Stats {
            net: net.map(str::to_owned),
            json,
        };
        let mut out = Vec::new();
        run(fake, &args, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn counters_are_shown_for_one_and_for_all() {
        let fake = Fake::with("tiny");
        fake.predict(1, true, 2, &[0; 32], &mut [0; 24]).unwrap();
        let text = stats(&fake, Some("tiny"), false).unwrap();
        for line in [
            "network: tiny",
            "id: 1",
            "predictions: 2",
            "average_ns: 750",
            "cache_hit_rate_percent: 75.00",
            "errors_model: 2",
            "histogram_ns 512-1023: 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(stats(&fake, None, false)
            .unwrap()
            .starts_with("networks: 1\npredictions: "));
        assert!(stats(&fake, Some("none"), false).is_err());
    }

    #[test]
    fn json_is_what_the_module_writes_to_its_own_file() {
        let fake = Fake::with("tiny");
        let v: Value = serde_json::from_str(&stats(&fake, Some("tiny"), true).unwrap()).unwrap();
        let of_kernel = snapshot(&fake.stats(1).unwrap());
        let mut text = String::new();
        of_kernel.write_json("tiny", 1, &mut text).unwrap();
        assert_eq!(v, serde_json::from_str::<Value>(&text).unwrap());
        assert_eq!((&v["name"], &v["id"]), (&"tiny".into(), &1.into()));
        assert_eq!(v["cache_hit_rate_percent"], 75.0);
        assert_eq!(v["p99_ns"], 1024);
        assert_eq!(v["errors"]["model"], 2);
        assert_eq!(v["histogram"].as_array().unwrap().len(), uapi::HIST_BUCKETS);
        let all: Value = serde_json::from_str(&stats(&fake, None, true).unwrap()).unwrap();
        assert_eq!((&all["name"], &all["id"]), (&"".into(), &0.into()));
    }

    #[test]
    fn every_counter_of_the_abi_is_shown() {
        let mut s = uapi::Stats {
            predictions: 101,
            batches: 102,
            cache_hits: 103,
            cache_misses: 104,
            cache_expired: 105,
            simd_ops: 106,
            total_ns: 107,
            memory_bytes: 108,
            memory_peak_bytes: 109,
            ..Default::default()
        };
        s.errors = [111, 112, 113, 114, 115, 116];
        s.histogram[uapi::HIST_BUCKETS - 1] = 121;
        let mut text = String::new();
        snapshot(&s).write_text(&mut text).unwrap();
        for n in (101..110).chain(111..117).chain([121]) {
            assert!(text.contains(&format!(": {n}\n")), "{n} in {text}");
        }
    }
}
