// SPDX-License-Identifier: GPL-2.0

//! `stats`: the statistics of a network, or of all.

use std::io::{self, Write};

use serde_json::{json, Map, Value};

use crate::cli;
use crate::dev::Device;
use crate::error::Result;
use crate::out;
use crate::uapi;

/// `stats`
pub(super) fn run(dev: &dyn Device, args: &cli::Stats, out: &mut dyn Write) -> Result<()> {
    let (id, name) = match &args.net {
        Some(name) => (dev.find(name)?, name.as_str()),
        None => (uapi::ID_TOTAL, "all networks"),
    };
    let stats = dev.stats(id)?;
    if args.json {
        out::json(out, &to_json(args.net.as_deref(), &stats))
    } else {
        write(name, &stats, out).map_err(out::failed)
    }
}

/// The counters, by the names they have in the ABI.
fn counters(s: &uapi::Stats) -> [(&'static str, u64); 12] {
    [
        ("predictions", s.predictions),
        ("batches", s.batches),
        ("cache_hits", s.cache_hits),
        ("cache_misses", s.cache_misses),
        ("cache_expired", s.cache_expired),
        ("simd_ops", s.simd_ops),
        ("total_ns", s.total_ns),
        ("p50_ns", s.p50_ns),
        ("p99_ns", s.p99_ns),
        ("p999_ns", s.p999_ns),
        ("memory_bytes", s.memory_bytes),
        ("memory_peak_bytes", s.memory_peak_bytes),
    ]
}

/// Cache hits in percent of all look-ups.
pub(super) fn hit_rate(s: &uapi::Stats) -> f64 {
    out::percent(s.cache_hits, s.cache_hits.saturating_add(s.cache_misses))
}

fn average_ns(s: &uapi::Stats) -> u64 {
    s.total_ns.checked_div(s.predictions).unwrap_or(0)
}

fn write(name: &str, s: &uapi::Stats, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "network: {name}")?;
    for (key, value) in counters(s) {
        writeln!(out, "{key}: {value}")?;
    }
    writeln!(out, "average_ns: {}", average_ns(s))?;
    writeln!(out, "cache_hit_percent: {:.2}", hit_rate(s))?;
    for (kind, n) in uapi::ERR_NAMES.iter().zip(s.errors) {
        writeln!(out, "errors_{kind}: {n}")?;
    }
    for (i, n) in s.histogram.iter().enumerate().filter(|(_, n)| **n != 0) {
        let from = if i == 0 { 0 } else { 1u64 << i };
        if i + 1 == uapi::HIST_BUCKETS {
            writeln!(out, "histogram {} and more: {n}", out::nanoseconds(from))?;
        } else {
            writeln!(
                out,
                "histogram {} to {}: {n}",
                out::nanoseconds(from),
                out::nanoseconds(2 << i)
            )?;
        }
    }
    Ok(())
}

fn to_json(name: Option<&str>, s: &uapi::Stats) -> Value {
    let mut map = Map::new();
    map.insert("network".to_owned(), json!(name));
    map.insert("id".to_owned(), json!(s.id));
    for (key, value) in counters(s) {
        map.insert(key.to_owned(), json!(value));
    }
    let errors: Map<String, Value> = uapi::ERR_NAMES
        .iter()
        .zip(s.errors)
        .map(|(kind, n)| ((*kind).to_owned(), json!(n)))
        .collect();
    map.insert("errors".to_owned(), Value::Object(errors));
    map.insert("histogram".to_owned(), json!(s.histogram.as_slice()));
    Value::Object(map)
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
        fake.predict(1, true, 2, &[0; 8], &mut [0; 6]).unwrap();
        let text = stats(&fake, Some("tiny"), false).unwrap();
        for line in [
            "network: tiny",
            "predictions: 2",
            "average_ns: 750",
            "cache_hit_percent: 75.00",
            "errors_model: 2",
            "histogram 512 ns to 1.0 us: 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(stats(&fake, None, false)
            .unwrap()
            .starts_with("network: all networks\n"));
        assert!(stats(&fake, Some("none"), false).is_err());
    }

    #[test]
    fn json_has_the_names_of_the_abi() {
        let fake = Fake::with("tiny");
        let v: Value = serde_json::from_str(&stats(&fake, Some("tiny"), true).unwrap()).unwrap();
        assert_eq!(v["p99_ns"], 700);
        assert_eq!(v["errors"]["model"], 2);
        assert_eq!(v["histogram"].as_array().unwrap().len(), uapi::HIST_BUCKETS);
        let all: Value = serde_json::from_str(&stats(&fake, None, true).unwrap()).unwrap();
        assert!(all["network"].is_null());
    }

    #[test]
    fn the_ends_of_the_histogram_have_their_own_words() {
        let mut s = uapi::Stats::default();
        s.histogram[0] = 1;
        s.histogram[uapi::HIST_BUCKETS - 1] = 2;
        let mut out = Vec::new();
        write("x", &s, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("histogram 0 ns to 2 ns: 1\n"), "{text}");
        assert!(text.contains("histogram 549.8 s and more: 2\n"), "{text}");
        assert!(text.contains("average_ns: 0\n"), "{text}");
    }
}
