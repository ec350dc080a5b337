// SPDX-License-Identifier: GPL-2.0

//! `top --ops`: which operations take the time, as the module's profile in debugfs says.

use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;

use super::top::again;
use crate::error::{Error, Result};
use crate::{cli, out};

/// The profile at one moment.
struct Look(Value);

/// `top --ops`
pub(super) fn run(args: &cli::Top, out: &mut dyn Write) -> Result<()> {
    if args.once {
        return show(&look(args)?, None, out).map_err(out::failed);
    }
    let show =
        |now: &Look, since: Option<(Duration, &Look)>, text: &mut Vec<u8>| show(now, since, text);
    again(args.interval, || look(args), show, out)
}

fn look(args: &cli::Top) -> Result<Look> {
    let mut path = args.debugfs.clone();
    if let Some(net) = &args.net {
        path.push(format!("network_{net}"));
    }
    path.push("hotspots.json");
    let text = fs::read_to_string(&path).map_err(|e| Error::io(path.display(), &e))?;
    let value = serde_json::from_str(&text);
    value
        .map(Look)
        .map_err(|e| Error::refused(path.display(), e))
}

impl Look {
    fn operations(&self) -> &[Value] {
        let list = self.0.get("operations").and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    /// Calls of the same operation as `entry`; 0 if it was not there.
    fn calls_of(&self, entry: &Value) -> u64 {
        let same = |other: &&Value| {
            ["network", "operation", "dims"]
                .iter()
                .all(|key| other.get(key) == entry.get(key))
        };
        let found = self.operations().iter().find(same);
        found.map_or(0, |entry| number(entry, "calls"))
    }
}

fn number(entry: &Value, key: &str) -> u64 {
    entry.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// A cell as the profile has it; `-` for what is not known.
fn cell(entry: &Value, key: &str) -> String {
    match entry.get(key) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(value) => value.to_string(),
    }
}

fn dims(entry: &Value) -> String {
    let list = entry.get("dims").and_then(Value::as_array);
    let sizes: Vec<String> = list.into_iter().flatten().map(Value::to_string).collect();
    sizes.join("x")
}

/// Calls a second since the look before.
fn rate(entry: &Value, since: Option<(Duration, &Look)>) -> Option<f64> {
    let (elapsed, before) = since?;
    // The counters may have been reset in between.
    let made = number(entry, "calls").checked_sub(before.calls_of(entry))?;
    (!elapsed.is_zero()).then(|| made as f64 / elapsed.as_secs_f64())
}

fn show(look: &Look, since: Option<(Duration, &Look)>, out: &mut dyn Write) -> io::Result<()> {
    let header = [
        "OPERATION",
        "DIMS",
        "CALLS/S",
        "CALLS",
        "CYCLES",
        "AVG",
        "MIN",
        "MAX",
        "MACS/CYC",
        "SHARE%",
        "MISSES",
        "STATUS",
    ];
    let row = |entry: &Value| {
        vec![
            cell(entry, "operation"),
            dims(entry),
            rate(entry, since).map_or("-".to_owned(), |r| format!("{r:.0}")),
            cell(entry, "calls"),
            cell(entry, "cycles"),
            cell(entry, "average"),
            cell(entry, "min"),
            cell(entry, "max"),
            cell(entry, "macs_per_cycle"),
            cell(entry, "share_percent"),
            cell(entry, "cache_misses"),
            cell(entry, "status"),
        ]
    };
    let rows: Vec<Vec<String>> = look.operations().iter().map(row).collect();
    out::table(out, &header, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(calls: u64) -> Look {
        Look(serde_json::json!({
            "cycles": 1000,
            "lost": 0,
            "operations": [
                {
                    "operation": "GEMV_I8", "dims": [128, 64], "calls": calls, "cycles": 900,
                    "average": 90, "min": 80, "max": 100, "status": "CAND",
                    "share_percent": 90.00, "macs_per_cycle": 91.02, "cache_misses": null
                },
                {
                    "operation": "COPY_I8", "dims": [64], "calls": 10, "cycles": 100,
                    "average": 10, "min": 1, "max": 20, "status": "-",
                    "share_percent": 10.00, "macs_per_cycle": 6.4, "cache_misses": 1.5
                }
            ]
        }))
    }

    fn rows(look: &Look, since: Option<(Duration, &Look)>) -> Vec<Vec<String>> {
        let mut text = Vec::new();
        show(look, since, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(cells).collect()
    }

    #[test]
    fn operations_are_shown_as_the_module_orders_them() {
        let rows = rows(&profile(10), None);
        assert_eq!(
            rows[0].join(" "),
            "OPERATION DIMS CALLS/S CALLS CYCLES AVG MIN MAX MACS/CYC SHARE% MISSES STATUS"
        );
        assert_eq!(
            rows[1].join(" "),
            "GEMV_I8 128x64 - 10 900 90 80 100 91.02 90.0 - CAND"
        );
        assert_eq!(
            rows[2].join(" "),
            "COPY_I8 64 - 10 100 10 1 20 6.4 10.0 1.5 -"
        );
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let two_seconds = Duration::from_secs(2);
        let rate = |now: u64, before: u64| {
            rows(&profile(now), Some((two_seconds, &profile(before))))[1][2].clone()
        };
        assert_eq!(rate(30, 10), "10");
        assert_eq!(rate(10, 30), "-");
        // Each by its own calls.
        let second = rows(&profile(30), Some((two_seconds, &profile(10))));
        assert_eq!(second[2][2], "0");
        let none = Look(Value::Null);
        assert_eq!(rows(&profile(8), Some((two_seconds, &none)))[1][2], "4");
        assert_eq!(rows(&none, None).len(), 1);
    }
}
