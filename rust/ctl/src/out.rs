// SPDX-License-Identifier: GPL-2.0

//! What goes to the user: tables, numbers for people, progress.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::error::{Error, Result};

/// A failure to write output.
pub fn failed(e: io::Error) -> Error {
    Error::io("output", &e)
}

/// Writes aligned columns, the first to the left, the others to the right.
pub fn table(out: &mut dyn Write, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = header.iter().map(|h| h.len()).collect();
    for row in rows {
        for (w, cell) in widths.iter_mut().zip(row) {
            *w = (*w).max(cell.len());
        }
    }
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (i, (cell, width)) in cells.zip(&widths).enumerate() {
            if i == 0 {
                text.push_str(&format!("{cell:<width$}"));
            } else {
                text.push_str(&format!("  {cell:>width$}"));
            }
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(&mut header.iter().copied())?;
    for row in rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// Writes JSON for programs, one document.
pub fn json(out: &mut dyn Write, value: &Value) -> Result<()> {
    writeln!(out, "{value:#}").map_err(failed)
}

/// A number of bytes, for people.
pub fn bytes(n: u64) -> String {
    scaled(n, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A duration in ns, for people.
pub fn nanoseconds(n: u64) -> String {
    scaled(n, 1000, &["ns", "us", "ms", "s"])
}

fn scaled(n: u64, step: u64, units: &[&str]) -> String {
    let (mut unit, mut divisor, mut units) = ("", 1u64, units.iter().peekable());
    while let Some(u) = units.next() {
        unit = u;
        if n / divisor < step || units.peek().is_none() {
            break;
        }
        divisor = divisor.saturating_mul(step);
    }
    if divisor == 1 {
        format!("{n} {unit}")
    } else {
        format!("{:.1} {unit}", n as f64 / divisor as f64)
    }
}

/// `part` of `whole` in percent, 0 of nothing.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

/// Work that ends sooner shows no progress bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// A progress bar on standard error, unless that is no terminal or the work ends at once.
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
    done: u64,
    length: u64,
    shown: bool,
}

/// Begins work of `length` steps.
pub fn progress(length: u64, what: &'static str) -> Progress {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(what);
    Progress {
        bar,
        begun: Instant::now(),
        done: 0,
        length,
        shown: false,
    }
}

impl Progress {
    /// `steps` more are done.
    pub fn add(&mut self, steps: u64) {
        self.set(self.done.saturating_add(steps));
    }

    /// `done` steps are done in all.
    pub fn set(&mut self, done: u64) {
        self.done = done;
        self.bar.set_position(done);
        if !self.shown && self.due(self.begun.elapsed()) {
            self.shown = true;
            self.bar
                .set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn due(&self, elapsed: Duration) -> bool {
        elapsed >= PATIENCE && self.done < self.length
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(nanoseconds(999), "999 ns");
        assert_eq!(nanoseconds(1500), "1.5 us");
        assert_eq!(nanoseconds(90_000_000_000), "90.0 s");
        assert_eq!(percent(1, 0), 0.0);
        assert_eq!(percent(1, 8), 12.5);
    }

    #[test]
    fn a_bar_is_shown_only_where_there_is_something_to_wait_for() {
        let mut single = progress(1, "x");
        assert!(single.bar.is_hidden() && !single.due(PATIENCE / 2));
        single.add(1);
        assert!(!single.due(PATIENCE * 9) && !single.shown);
        let mut many = progress(1000, "x");
        many.add(3);
        many.add(4);
        assert_eq!(many.bar.position(), 7);
        assert!(!many.due(PATIENCE / 2) && many.due(PATIENCE));
        many.begun = many.begun.checked_sub(PATIENCE).unwrap();
        many.set(8);
        assert!(many.shown);
    }

    #[test]
    fn columns_are_aligned() {
        let mut out = Vec::new();
        let rows = [
            vec!["a".to_owned(), "10".to_owned()],
            vec!["long".to_owned(), "1".to_owned()],
        ];
        table(&mut out, &["NAME", "N"], &rows).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "NAME   N\na     10\nlong   1\n"
        );
    }
}
