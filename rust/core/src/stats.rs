// SPDX-License-Identifier: GPL-2.0

//! Statistics that cost next to nothing to keep.
//!
//! Each CPU counts into its own [`Counters`]; a prediction costs two atomic additions (three when the
//! cache answered), because what can be derived is derived when somebody looks: a [`Snapshot`] adds
//! the counters of all CPUs up. Names and meaning are those of `struct neural_stats` in
//! `include/uapi/linux/neural.h`.
//!
//! Atomic operations are needed even though a CPU has its own counters: an interrupt may count in the
//! middle of an addition, and a task may move to another CPU.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Buckets of the latency histogram: bucket `i` counts `[2^i, 2^(i+1))` ns, bucket 0 also 0 ns, the
/// last one all above.
pub const BUCKETS: usize = 40;

/// Kinds of errors, `NEURAL_ERR_*`.
pub const ERROR_KINDS: usize = 6;

/// The names of the kinds of errors.
pub const ERROR_NAMES: [&str; ERROR_KINDS] = [
    "input",
    "context",
    "memory",
    "model",
    "interrupted",
    "config",
];

/// The counters of one CPU. All-zero memory is a valid value.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Counters {
    total_ns: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    cache_expired: AtomicU64,
    simd_ops: AtomicU64,
    batches: AtomicU64,
    errors: [AtomicU64; ERROR_KINDS],
    histogram: [AtomicU64; BUCKETS],
}

impl Counters {
    /// Counters at zero.
    #[allow(clippy::declare_interior_mutable_const)] // To initialise with, as `AtomicU64::new(0)` is.
    pub const NEW: Counters = Counters {
        total_ns: AtomicU64::new(0),
        cache_hits: AtomicU64::new(0),
        cache_misses: AtomicU64::new(0),
        cache_expired: AtomicU64::new(0),
        simd_ops: AtomicU64::new(0),
        batches: AtomicU64::new(0),
        errors: [const { AtomicU64::new(0) }; ERROR_KINDS],
        histogram: [const { AtomicU64::new(0) }; BUCKETS],
    };

    /// Counts a prediction that was computed in `ns`.
    #[inline]
    pub fn record_predict(&self, ns: u64) {
        self.record_predictions(1, ns);
    }

    /// Counts predictions that were computed in `each_ns` each.
    #[inline]
    pub fn record_predictions(&self, count: u64, each_ns: u64) {
        if let Some(bucket) = self.histogram.get(bucket_of(each_ns)) {
            bucket.fetch_add(count, Relaxed);
        }
        let ns = count.wrapping_mul(each_ns);
        self.total_ns.fetch_add(ns, Relaxed);
    }

    /// Counts a prediction that the cache answered in `ns`.
    #[inline]
    pub fn record_hit(&self, ns: u64) {
        self.cache_hits.fetch_add(1, Relaxed);
        self.record_predict(ns);
    }

    /// Counts a look-up that found nothing.
    #[inline]
    pub fn record_miss(&self) {
        self.cache_misses.fetch_add(1, Relaxed);
    }

    /// Counts a look-up that found an answer past its time-out; it counts as a miss, too.
    #[inline]
    pub fn record_expired(&self) {
        self.cache_expired.fetch_add(1, Relaxed);
    }

    /// Counts operations done by vector code.
    #[inline]
    pub fn record_simd(&self, operations: u64) {
        self.simd_ops.fetch_add(operations, Relaxed);
    }

    /// Counts a batch call.
    #[inline]
    pub fn record_batch(&self) {
        self.batches.fetch_add(1, Relaxed);
    }

    /// Counts an error of the kind `NEURAL_ERR_*`; other numbers count nothing.
    #[inline]
    pub fn record_error(&self, kind: usize) {
        if let Some(counter) = self.errors.get(kind) {
            counter.fetch_add(1, Relaxed);
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Counters::NEW
    }
}

/// The bucket of a latency.
#[inline]
pub const fn bucket_of(ns: u64) -> usize {
    // CAST: below 64.
    let log = (ns | 1).ilog2() as usize;
    if log < BUCKETS {
        log
    } else {
        BUCKETS - 1
    }
}

/// Where the last bucket begins.
const LAST_BUCKET_NS: u64 = 1 << (BUCKETS - 1);

/// First value and width of each bucket, in ns.
fn ranges() -> impl Iterator<Item = (u64, u64)> {
    // CAST: 40 fits.
    (0..BUCKETS as u32).map(|log| match 1u64.wrapping_shl(log) {
        1 => (0, 2),
        power => (power, power),
    })
}

/// Sums of counters, as `struct neural_stats` has them. All sums wrap at 2^64.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Predictions made, those from the cache included.
    pub predictions: u64,
    /// Batch calls.
    pub batches: u64,
    /// Predictions answered by the cache.
    pub cache_hits: u64,
    /// Look-ups that found nothing, or something past its time-out.
    pub cache_misses: u64,
    /// Look-ups that found something past its time-out.
    pub cache_expired: u64,
    /// Operations done by vector code.
    pub simd_ops: u64,
    /// Time spent in predictions, in ns.
    pub total_ns: u64,
    /// Memory held now; set by the caller.
    pub memory_bytes: u64,
    /// The most memory held at any time; set by the caller.
    pub memory_peak_bytes: u64,
    /// Errors by kind, see [`ERROR_NAMES`].
    pub errors: [u64; ERROR_KINDS],
    /// Latency histogram, see [`BUCKETS`].
    pub histogram: [u64; BUCKETS],
}

impl Default for Snapshot {
    fn default() -> Self {
        Snapshot::ZERO
    }
}

impl Snapshot {
    /// Nothing counted.
    pub const ZERO: Snapshot = Snapshot {
        predictions: 0,
        batches: 0,
        cache_hits: 0,
        cache_misses: 0,
        cache_expired: 0,
        simd_ops: 0,
        total_ns: 0,
        memory_bytes: 0,
        memory_peak_bytes: 0,
        errors: [0; ERROR_KINDS],
        histogram: [0; BUCKETS],
    };

    /// Adds the counters of a CPU.
    pub fn add(&mut self, counters: &Counters) {
        self.add_by(counters, |counter| counter.load(Relaxed));
    }

    /// Moves the counters of a CPU here: they are zero afterwards, and each event is counted either
    /// here or there.
    pub fn take(&mut self, counters: &Counters) {
        self.add_by(counters, |counter| counter.swap(0, Relaxed));
    }

    fn add_by(&mut self, counters: &Counters, read: impl Fn(&AtomicU64) -> u64) {
        let add = |sum: &mut u64, counter: &AtomicU64| {
            let value = read(counter);
            *sum = sum.wrapping_add(value);
            value
        };
        add(&mut self.batches, &counters.batches);
        add(&mut self.cache_hits, &counters.cache_hits);
        add(&mut self.cache_misses, &counters.cache_misses);
        let expired = add(&mut self.cache_expired, &counters.cache_expired);
        self.cache_misses = self.cache_misses.wrapping_add(expired);
        add(&mut self.simd_ops, &counters.simd_ops);
        add(&mut self.total_ns, &counters.total_ns);
        for (sum, counter) in self.errors.iter_mut().zip(&counters.errors) {
            add(sum, counter);
        }
        for (sum, counter) in self.histogram.iter_mut().zip(&counters.histogram) {
            let count = add(sum, counter);
            self.predictions = self.predictions.wrapping_add(count);
        }
    }

    /// Counts an error of the kind `NEURAL_ERR_*`; other numbers count nothing.
    pub fn count_error(&mut self, kind: usize) {
        if let Some(sum) = self.errors.get_mut(kind) {
            *sum = sum.wrapping_add(1);
        }
    }

    /// Average time of a prediction, in ns, rounded down; 0 without predictions.
    pub fn average_ns(&self) -> u64 {
        self.total_ns.checked_div(self.predictions).unwrap_or(0)
    }

    /// Look-ups that hit, in hundredths of a percent, rounded down; 0 without look-ups.
    pub fn hit_rate_e4(&self) -> u64 {
        ratio(
            10_000,
            self.cache_hits,
            self.cache_hits.saturating_add(self.cache_misses),
        )
    }

    /// The time in ns that the given part of the predictions took at most; `e4` is in ten-thousandths
    /// (5000 is the median, 9990 is p99.9; above 10000 counts as 10000). 0 without predictions.
    ///
    /// The rank is exact; within its bucket the predictions are taken to be spread evenly.
    pub fn percentile_ns(&self, e4: u32) -> u64 {
        let total = self
            .histogram
            .iter()
            .fold(0u64, |sum, &count| sum.saturating_add(count));
        let rank = part_up(total, e4.min(10_000)).max(1);
        let mut before = 0u64;
        for (&count, (low, width)) in self.histogram.iter().zip(ranges()) {
            let position = rank.saturating_sub(before);
            if count > 0 && position <= count {
                return low.saturating_add(ratio(width, position, count));
            }
            before = before.saturating_add(count);
        }
        0
    }

    /// Writes `key: value` lines; then a line for each bucket of the histogram that is not empty.
    pub fn write_text(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        for (key, value) in self.values() {
            writeln!(out, "{key}: {value}")?;
        }
        let rate = self.hit_rate_e4();
        writeln!(
            out,
            "cache_hit_rate_percent: {}.{:02}",
            rate / 100,
            rate % 100
        )?;
        for (key, value) in ERROR_NAMES.iter().zip(&self.errors) {
            writeln!(out, "errors_{key}: {value}")?;
        }
        for (count, (low, width)) in self.histogram.iter().zip(ranges()) {
            if *count == 0 {
                continue;
            }
            write!(out, "histogram_ns {low}-")?;
            if low < LAST_BUCKET_NS {
                write!(out, "{}", low.wrapping_add(width).wrapping_sub(1))?;
            }
            writeln!(out, ": {count}")?;
        }
        Ok(())
    }

    /// Writes one JSON object without a newline: `name` and `id` of the network, then the keys of
    /// [`write_text`](Self::write_text), with `errors` as an object and all buckets of the histogram as
    /// an array.
    pub fn write_json(&self, name: &str, id: u32, out: &mut dyn fmt::Write) -> fmt::Result {
        self.write_json_with(name, id, &[], out)
    }

    /// [`write_json`](Self::write_json) with more numbers behind those of `self`.
    pub fn write_json_with(
        &self,
        name: &str,
        id: u32,
        more: &[(&str, u64)],
        out: &mut dyn fmt::Write,
    ) -> fmt::Result {
        write!(out, "{{\"name\":\"{}\",\"id\":{id}", Name(name))?;
        for (key, value) in self.values().iter().chain(more) {
            write!(out, ",\"{key}\":{value}")?;
        }
        let rate = self.hit_rate_e4();
        write!(
            out,
            ",\"cache_hit_rate_percent\":{}.{:02}",
            rate / 100,
            rate % 100
        )?;
        let mut separator = ",\"errors\":{";
        for (key, value) in ERROR_NAMES.iter().zip(&self.errors) {
            write!(out, "{separator}\"{key}\":{value}")?;
            separator = ",";
        }
        separator = "},\"histogram\":[";
        for count in &self.histogram {
            write!(out, "{separator}{count}")?;
            separator = ",";
        }
        out.write_str("]}")
    }

    fn values(&self) -> [(&'static str, u64); 13] {
        [
            ("predictions", self.predictions),
            ("batches", self.batches),
            ("cache_hits", self.cache_hits),
            ("cache_misses", self.cache_misses),
            ("cache_expired", self.cache_expired),
            ("simd_ops", self.simd_ops),
            ("total_ns", self.total_ns),
            ("average_ns", self.average_ns()),
            ("p50_ns", self.percentile_ns(5000)),
            ("p99_ns", self.percentile_ns(9900)),
            ("p999_ns", self.percentile_ns(9990)),
            ("memory_bytes", self.memory_bytes),
            ("memory_peak_bytes", self.memory_peak_bytes),
        ]
    }
}

/// `floor(factor * part / whole)`, 0 when `whole` is; for `part <= whole`. When the product needs more
/// than 64 bits, low bits of `part` and `whole` are left out: a division of 128 bits is a library call
/// that the kernel does not have.
fn ratio(factor: u64, part: u64, whole: u64) -> u64 {
    let shift = (64 - factor.leading_zeros()).saturating_sub(whole.leading_zeros());
    let whole = whole.checked_shr(shift).unwrap_or(0);
    let part = part.checked_shr(shift).unwrap_or(0).min(whole);
    factor.saturating_mul(part).checked_div(whole).unwrap_or(0)
}

/// `ceil(total * e4 / 10000)`.
fn part_up(total: u64, e4: u32) -> u64 {
    let e4 = u64::from(e4);
    // No overflow for e4 <= 10000: the first term is at most `total`, the second below 10^8.
    let rest = (total % 10_000).saturating_mul(e4);
    (total / 10_000)
        .saturating_mul(e4)
        .saturating_add(rest.div_ceil(10_000))
}

/// A name as it may stand in JSON, whatever it holds.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            let plain = c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            fmt::Write::write_char(f, if plain { c } else { '?' })?;
        }
        Ok(())
    }
}
