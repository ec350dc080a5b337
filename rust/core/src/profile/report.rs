// SPDX-License-Identifier: GPL-2.0

//! What was counted, added up and in order, as text, as JSON and as folded stacks.

use core::fmt::{self, Write};

use super::table::Counts;
use super::{Dims, Key, Op, Site, EVENTS, EVENT_NAMES};
use crate::nnm::DType;

/// One thing that was counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub site: Site,
    /// How often, and how long it took.
    pub counts: Counts,
}

/// Writes the name of the network with this id.
pub type Names<'a> = &'a dyn Fn(u32, &mut dyn Write) -> fmt::Result;

/// What became of an operation.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing.
    Plain,
    /// It is worth code of its own.
    Candidate,
    /// It is done by code of its own.
    Compiled,
}

impl Status {
    /// As the table has it.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Plain => "-",
            Status::Candidate => "CAND",
            Status::Compiled => "JIT",
        }
    }
}

/// The name of an operation and its elements.
struct Title(Op, DType);

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())?;
        f.write_char('_')?;
        let upper = |c: char| f.write_char(c.to_ascii_uppercase());
        self.1.name().chars().try_for_each(upper)
    }
}

/// A quotient with two or three decimals.
struct Decimal {
    scaled: u64,
    scale: u64,
}

/// `part / whole`, in units of `1 / scale`, rounded down; 0 when `whole` is.
fn decimal(part: u64, whole: u64, scale: u64) -> Decimal {
    // A product of more than 64 bits needs a division that the kernel does not have. Scales have less
    // than 14 bits.
    let (part, whole) = match part.checked_mul(scale) {
        Some(part) => (part, whole),
        None => ((part >> 14).saturating_mul(scale), (whole >> 14).max(1)),
    };
    Decimal {
        scaled: part.checked_div(whole).unwrap_or(0),
        scale,
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (
            self.scaled.checked_div(self.scale).unwrap_or(0),
            self.scaled.checked_rem(self.scale).unwrap_or(0),
        );
        match self.scale {
            100 => write!(f, "{whole}.{rest:02}"),
            _ => write!(f, "{whole}.{rest:03}"),
        }
    }
}

impl Entry {
    /// The part of all cycles that is spent here, in hundredths of a percent.
    pub fn share_e4(&self, cycles: u64) -> u64 {
        decimal(self.counts.cycles, cycles, 10_000).scaled
    }

    fn key(&self) -> &Key {
        self.site.key()
    }

    fn macs_per_cycle(&self) -> Decimal {
        let macs = self.site.macs.saturating_mul(self.counts.calls());
        decimal(macs, self.counts.cycles, 1000)
    }

    fn cycles_per_element(&self) -> Decimal {
        decimal(self.counts.average(), self.site.elements, 1000)
    }

    /// Events of a call on average; `None` where hardware did not count them.
    fn events(&self) -> [Option<Decimal>; EVENTS] {
        let measured = self.counts.measured;
        let each = |count| (measured != 0).then(|| decimal(count, measured, 100));
        self.counts.events.map(each)
    }

    /// What entries are added up by: all but the network, or all.
    fn order(&self, by_network: bool) -> (u32, u8, u8, Dims) {
        let Key {
            network,
            op,
            dtype,
            dims,
        } = *self.key();
        let network = if by_network { network } else { 0 };
        (network, op.code(), dtype.code(), dims)
    }
}

/// What took how long, the longest first.
#[derive(Debug)]
pub struct Report<'a> {
    entries: &'a [Entry],
    cycles: u64,
    lost: u64,
}

impl<'a> Report<'a> {
    /// Adds up entries from several tables: those of the same operation and shape, of each network or
    /// of all together; `lost` are the calls that are in none of them.
    pub fn new(entries: &'a mut [Entry], by_network: bool, lost: u64) -> Self {
        entries.sort_unstable_by_key(|entry| entry.order(by_network));
        let mut kept = 0usize;
        let mut cycles = 0u64;
        for i in 0..entries.len() {
            let Some(entry) = entries.get(i).copied() else {
                break;
            };
            cycles = cycles.wrapping_add(entry.counts.cycles);
            let last = kept.checked_sub(1).and_then(|last| entries.get_mut(last));
            match last.filter(|last| last.order(by_network) == entry.order(by_network)) {
                Some(last) => last.counts.add(&entry.counts),
                None => {
                    if let Some(place) = entries.get_mut(kept) {
                        *place = entry;
                    }
                    kept = kept.saturating_add(1);
                }
            }
        }
        let entries = entries.get_mut(..kept).unwrap_or_default();
        entries.sort_unstable_by_key(|entry| {
            (
                u64::MAX.wrapping_sub(entry.counts.cycles),
                entry.order(true),
            )
        });
        Report {
            entries,
            cycles,
            lost,
        }
    }

    /// The entries.
    pub fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// Cycles of all of them.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Writes a table.
    pub fn write_text(
        &self,
        status: &dyn Fn(&Entry) -> Status,
        out: &mut dyn Write,
    ) -> fmt::Result {
        writeln!(
            out,
            "{:<18} {:<18} {:>12} {:>18} {:>14}  {:<6} {:>6} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>12}",
            "Operation",
            "Dims",
            "Calls",
            "Total Cycles",
            "Avg Cycles",
            "Status",
            "Share",
            "Min",
            "Max",
            "MACs/cyc",
            "Cyc/elem",
            "Cache-miss",
            "TLB-miss",
            "Instructions"
        )?;
        for entry in self.entries {
            let Key {
                op, dtype, dims, ..
            } = *entry.key();
            let counts = &entry.counts;
            write!(
                out,
                "{:<18} {:<18} {:>12} {:>18} {:>14}  {:<6} {:>6} {:>12} {:>12} {:>10} {:>10}",
                Padded(&Title(op, dtype)),
                Padded(&dims),
                counts.calls(),
                counts.cycles,
                counts.average(),
                status(entry).name(),
                Padded(&decimal(entry.share_e4(self.cycles), 100, 100)),
                counts.min(),
                counts.max,
                Padded(&entry.macs_per_cycle()),
                Padded(&entry.cycles_per_element()),
            )?;
            for (events, width) in entry.events().iter().zip([10, 10, 12]) {
                match events {
                    Some(events) => write!(out, " {:>width$}", Padded(events))?,
                    None => write!(out, " {:>width$}", "-")?,
                }
            }
            out.write_char('\n')?;
        }
        writeln!(out, "lost: {}", self.lost)
    }

    /// Writes one JSON object without a newline; with `names`, each entry tells its network.
    pub fn write_json(
        &self,
        names: Option<Names<'_>>,
        status: &dyn Fn(&Entry) -> Status,
        out: &mut dyn Write,
    ) -> fmt::Result {
        write!(
            out,
            "{{\"cycles\":{},\"lost\":{},\"operations\":[",
            self.cycles, self.lost
        )?;
        for (i, entry) in self.entries.iter().enumerate() {
            let Key {
                network,
                op,
                dtype,
                dims,
            } = *entry.key();
            let counts = &entry.counts;
            out.write_str(if i == 0 { "{" } else { ",{" })?;
            if let Some(names) = names {
                out.write_str("\"network\":\"")?;
                names(network, out)?;
                out.write_str("\",")?;
            }
            write!(out, "\"operation\":\"{}\",\"dims\":[", Title(op, dtype))?;
            list(dims.sizes().map(u64::from), out)?;
            write!(
                out,
                "],\"calls\":{},\"cycles\":{},\"average\":{},\"min\":{},\"max\":{},\"status\":\"{}\"",
                counts.calls(),
                counts.cycles,
                counts.average(),
                counts.min(),
                counts.max,
                status(entry).name()
            )?;
            write!(
                out,
                ",\"share_percent\":{},\"macs_per_cycle\":{},\"cycles_per_element\":{}",
                decimal(entry.share_e4(self.cycles), 100, 100),
                entry.macs_per_cycle(),
                entry.cycles_per_element()
            )?;
            for (name, events) in EVENT_NAMES.iter().zip(entry.events()) {
                match events {
                    Some(events) => write!(out, ",\"{name}\":{events}")?,
                    None => write!(out, ",\"{name}\":null")?,
                }
            }
            out.write_str(",\"histogram\":[")?;
            list(counts.histogram.iter().copied(), out)?;
            out.write_str("]}")?;
        }
        out.write_str("]}")
    }

    /// Writes a line `network;operation dims cycles` for each entry, as programs that draw flame graphs
    /// read them.
    pub fn write_folded(&self, names: Names<'_>, out: &mut dyn Write) -> fmt::Result {
        for entry in self.entries {
            let Key {
                network,
                op,
                dtype,
                dims,
            } = *entry.key();
            names(network, out)?;
            writeln!(out, ";{} {dims} {}", Title(op, dtype), entry.counts.cycles)?;
        }
        Ok(())
    }
}

fn list(numbers: impl Iterator<Item = u64>, out: &mut dyn Write) -> fmt::Result {
    for (i, number) in numbers.enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}{number}")?;
    }
    Ok(())
}

/// A short text that keeps to the width that is asked for.
struct Padded<'a>(&'a dyn fmt::Display);

impl fmt::Display for Padded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Text::default();
        write!(text, "{}", self.0)?;
        f.pad(text.as_str())
    }
}

/// Up to so many bytes of text; the rest is left out.
struct Text {
    bytes: [u8; 64],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Text {
            bytes: [0; 64],
            len: 0,
        }
    }
}

impl Text {
    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let rest = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (place, byte) in rest.iter_mut().zip(text.bytes()) {
            *place = byte;
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}
