// SPDX-License-Identifier: GPL-2.0

//! A hash table of counters that any context may use, without locks.
//!
//! The hash of what is counted picks a set of eight buckets; the bucket is the one that has all of its
//! key. When all eight are taken, the one with the fewest calls is given to the newcomer.
//!
//! A bucket that somebody counts in must not be given away meanwhile. There are two ways to see to it:
//!
//! * [`Table::record`], for a table that several CPUs write: whoever uses a bucket holds a pin on it, which
//!   is a part of the word that names its owner, so that giving it away fails;
//! * [`Table::record_local`], for a table that one CPU writes: pins would be most of what counting
//!   costs. Here those who nest on the CPU (an interrupt in the middle of a task's counting) know of each
//!   other by a depth, and only the outermost gives buckets away, to the shared table.
//!
//! No call is lost on the way from one table to the other. Calls that leave the shared table are counted
//! as lost; so are those that find all eight buckets pinned. Two CPUs that count the same thing for the
//! first time at once may get a bucket each; readers add them up. A reader may see a call in one number
//! and not yet in another.
//!
//! All-zero memory is an empty table.

use core::sync::atomic::{
    compiler_fence, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use super::{Key, Site, BUCKETS, EVENTS};

/// Words of a bucket: six cache lines.
const BUCKET_WORDS: usize = 48;

/// Buckets of a set.
const WAYS: usize = 8;

/// Words before the buckets.
const HEAD_WORDS: usize = 8;
const LOST: usize = 0;
pub(super) const DEPTH: usize = 1;

/// What stands in a bucket: who owns it, its key, then counts; the histogram is the rest.
const OWNER: usize = 0;
const KEY: usize = 1;
const CYCLES: usize = 4;
/// The complement, so that zero is that nothing was seen.
const MIN: usize = 5;
const MAX: usize = 6;
const MACS: usize = 7;
const ELEMENTS: usize = 8;
const MEASURED: usize = 9;
const EVENT: usize = 10;
const HISTOGRAM: usize = BUCKET_WORDS - BUCKETS;

/// The bits of [`OWNER`] that count pins; the others are those of the hash, with one that is always set.
const PINS: u64 = 0xffff;
const OWNED: u64 = 1 << 16;

/// The owner of a bucket that is being given away; no hash.
const NOBODY: u64 = 1 << 17;

/// Some calls of one thing.
#[derive(Copy, Clone, Debug)]
pub struct Measure<'a> {
    /// How many calls this stands for.
    pub calls: u64,
    /// The cycles of each.
    pub cycles: u64,
    /// How many events there were in one call, where they were counted.
    pub events: Option<&'a [u64; EVENTS]>,
}

/// What was counted.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cycles of all calls. Wraps at 2^64, as all sums do.
    pub cycles: u64,
    /// The fewest cycles of a call, complemented.
    least: u64,
    /// The most cycles of a call.
    pub max: u64,
    /// Calls in which events were counted.
    pub measured: u64,
    /// The events of these, see [`EVENT_NAMES`](super::EVENT_NAMES).
    pub events: [u64; EVENTS],
    /// Calls by cycles, see [`BUCKETS`].
    pub histogram: [u64; BUCKETS],
}

impl Counts {
    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        let add = |sum: u64, count: &u64| sum.wrapping_add(*count);
        self.histogram.iter().fold(0, add)
    }

    /// The fewest cycles of a call; 0 without calls.
    pub fn min(&self) -> u64 {
        match self.least {
            0 => 0,
            least => !least,
        }
    }

    /// Cycles of a call on average, rounded down; 0 without calls.
    pub fn average(&self) -> u64 {
        self.cycles.checked_div(self.calls()).unwrap_or(0)
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Counts) {
        self.cycles = self.cycles.wrapping_add(other.cycles);
        self.least = self.least.max(other.least);
        self.max = self.max.max(other.max);
        self.measured = self.measured.wrapping_add(other.measured);
        let sums = self.histogram.iter_mut().chain(&mut self.events);
        for (sum, count) in sums.zip(other.histogram.iter().chain(&other.events)) {
            *sum = sum.wrapping_add(*count);
        }
    }
}

/// The bucket of a number of cycles.
#[inline]
const fn bucket_of(cycles: u64) -> usize {
    // CAST: below 64.
    let log = (cycles | 1).ilog2() as usize;
    if log < BUCKETS {
        log
    } else {
        BUCKETS - 1
    }
}

/// A place for the counts of one key.
#[derive(Copy, Clone)]
pub(super) struct Bucket<'a>(&'a [AtomicU64; BUCKET_WORDS]);

impl Bucket<'_> {
    fn owner(&self) -> u64 {
        // ORDERING: Pairs with the release in `publish`: who sees the owner sees the key.
        self.0[OWNER].load(Acquire) & !PINS
    }

    #[inline]
    fn is_of(&self, site: &Site) -> bool {
        let [a, b, c] = site.words;
        self.owner() == owner_of(site)
            && self.0[KEY].load(Relaxed) == a
            && self.0[KEY + 1].load(Relaxed) == b
            && self.0[KEY + 2].load(Relaxed) == c
    }

    fn pin(&self) {
        // ORDERING: What is read while the bucket is pinned is read after this.
        self.0[OWNER].fetch_add(1, Acquire);
    }

    fn unpin(&self) {
        // ORDERING: Pairs with the acquire in `take_over`: who takes the bucket over sees all counts.
        self.0[OWNER].fetch_sub(1, Release);
    }

    /// Pins the bucket if it is there for `site`.
    fn pin_for(&self, site: &Site) -> bool {
        if !self.is_of(site) {
            return false;
        }
        self.pin();
        // Perhaps it was given away just before.
        let still = self.is_of(site);
        if !still {
            self.unpin();
        }
        still
    }

    /// Takes a bucket that has this owner and no pins; it then has one.
    fn take_over(&self, owner: u64) -> bool {
        // ORDERING: See `unpin`.
        let taken = self.0[OWNER].compare_exchange(owner, NOBODY | 1, Acquire, Relaxed);
        taken.is_ok()
    }

    /// Names the owner of a bucket that was taken over, whose counts are zero.
    fn publish(&self, site: &Site) {
        let [a, b, c] = site.words;
        self.0[KEY].store(a, Relaxed);
        self.0[KEY + 1].store(b, Relaxed);
        self.0[KEY + 2].store(c, Relaxed);
        self.0[MACS].store(site.macs, Relaxed);
        self.0[ELEMENTS].store(site.elements, Relaxed);
        // ORDERING: See `owner`. Others may hold pins for a moment, which stay.
        self.0[OWNER].fetch_xor(NOBODY ^ owner_of(site), Release);
    }

    /// What is counted here; `None` in a bucket that is being given away.
    fn site(&self) -> Option<Site> {
        let [_, a, b, c, ..] = self.0;
        let key = Key::from_words([a, b, c].map(|word| word.load(Relaxed)))?;
        let [macs, elements] = [&self.0[MACS], &self.0[ELEMENTS]].map(|word| word.load(Relaxed));
        Some(Site::new(key, macs, elements))
    }

    fn histogram(&self) -> impl Iterator<Item = &AtomicU64> {
        self.0.iter().skip(HISTOGRAM)
    }

    fn calls(&self) -> u64 {
        self.histogram()
            .fold(0, |sum, count| sum.wrapping_add(count.load(Relaxed)))
    }

    #[inline]
    fn record(&self, measure: &Measure<'_>) {
        let Measure {
            calls,
            cycles,
            events,
        } = *measure;
        if let Some(count) = self.0.get(HISTOGRAM.wrapping_add(bucket_of(cycles))) {
            count.fetch_add(calls, Relaxed);
        }
        self.0[CYCLES].fetch_add(calls.wrapping_mul(cycles), Relaxed);
        self.most(MIN, !cycles);
        self.most(MAX, cycles);
        if let Some(events) = events {
            self.0[MEASURED].fetch_add(calls, Relaxed);
            for (sum, count) in self.0.iter().skip(EVENT).zip(events) {
                sum.fetch_add(calls.wrapping_mul(*count), Relaxed);
            }
        }
    }

    /// Raises a word, which is rare.
    #[inline]
    fn most(&self, word: usize, value: u64) {
        if let Some(word) = self.0.get(word) {
            if word.load(Relaxed) < value {
                word.fetch_max(value, Relaxed);
            }
        }
    }

    fn counts_by(&self, read: impl Fn(&AtomicU64) -> u64) -> Counts {
        let mut counts = Counts {
            cycles: read(&self.0[CYCLES]),
            least: read(&self.0[MIN]),
            max: read(&self.0[MAX]),
            measured: read(&self.0[MEASURED]),
            ..Counts::default()
        };
        let events = self.0.iter().skip(EVENT);
        for (count, from) in counts.events.iter_mut().zip(events) {
            *count = read(from);
        }
        for (count, from) in counts.histogram.iter_mut().zip(self.histogram()) {
            *count = read(from);
        }
        counts
    }

    fn counts(&self) -> Counts {
        self.counts_by(|word| word.load(Relaxed))
    }

    /// The counts, which are zero afterwards.
    fn take(&self) -> Counts {
        self.counts_by(|word| word.swap(0, Relaxed))
    }

    fn add(&self, counts: &Counts) {
        self.0[CYCLES].fetch_add(counts.cycles, Relaxed);
        self.most(MIN, counts.least);
        self.most(MAX, counts.max);
        self.0[MEASURED].fetch_add(counts.measured, Relaxed);
        for (sum, count) in self.0.iter().skip(EVENT).zip(&counts.events) {
            sum.fetch_add(*count, Relaxed);
        }
        for (sum, count) in self.histogram().zip(&counts.histogram) {
            sum.fetch_add(*count, Relaxed);
        }
    }
}

const fn owner_of(site: &Site) -> u64 {
    site.hash & !PINS | OWNED
}

/// A table in memory of the caller.
#[derive(Copy, Clone, Debug)]
pub struct Table<'a> {
    pub(super) head: &'a [AtomicU64; HEAD_WORDS],
    buckets: &'a [AtomicU64],
}

impl<'a> Table<'a> {
    /// Words of memory that a table of so many buckets needs: a power of 2, at least 8.
    pub const fn words(buckets: usize) -> usize {
        buckets
            .saturating_mul(BUCKET_WORDS)
            .saturating_add(HEAD_WORDS)
    }

    /// The table in this memory, which starts as zeros and at a cache line, and is as large as
    /// [`words`](Self::words) says; `None` if it is not.
    #[inline]
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        let (head, buckets) = words.split_first_chunk()?;
        let sets = buckets.len() / (BUCKET_WORDS * WAYS);
        let whole = sets.is_power_of_two() && buckets.len() % (BUCKET_WORDS * WAYS) == 0;
        whole.then_some(Table { head, buckets })
    }

    #[inline]
    fn set_of(&self, site: &Site) -> impl Iterator<Item = Bucket<'a>> + Clone {
        let sets = self.buckets.len() / (BUCKET_WORDS * WAYS);
        // CAST: 64 bits, as on every target of the module; not the bits that name the owner.
        let set = (site.hash as usize & PINS as usize) & sets.wrapping_sub(1);
        let start = set.wrapping_mul(BUCKET_WORDS * WAYS);
        let words = self.buckets.get(start..).unwrap_or_default();
        all(words).take(WAYS)
    }

    /// Counts calls in a table that any CPU may write; `false` if they are lost, which is counted.
    pub fn record(&self, site: &Site, measure: &Measure<'_>) -> bool {
        self.with_pinned(site, measure.calls, |bucket| bucket.record(measure))
    }

    /// Counts calls in the table of this CPU; `shared` takes what it has no room for.
    ///
    /// The caller stays on this CPU, and nobody else runs on it meanwhile but interrupts, which may
    /// do the same.
    #[inline]
    pub fn record_local(&self, site: &Site, measure: &Measure<'_>, shared: &Table<'_>) {
        let depth = self.head[DEPTH].load(Relaxed);
        self.head[DEPTH].store(depth.wrapping_add(1), Relaxed);
        // ORDERING: Interrupts see the depth before anything that follows.
        compiler_fence(SeqCst);
        match self.set_of(site).find(|bucket| bucket.is_of(site)) {
            Some(bucket) => bucket.record(measure),
            None => self.record_new(site, measure, shared, depth == 0),
        }
        // ORDERING: And the other way round.
        compiler_fence(SeqCst);
        self.head[DEPTH].store(depth, Relaxed);
    }

    /// Counts calls that have no bucket in the table of this CPU yet.
    #[cold]
    #[inline(never)]
    fn record_new(&self, site: &Site, measure: &Measure<'_>, shared: &Table<'_>, outermost: bool) {
        let mut set = self.set_of(site);
        if let Some(bucket) = set.clone().find(|bucket| bucket.take_over(0)) {
            bucket.publish(site);
            bucket.record(measure);
            bucket.unpin();
            return;
        }
        // Fails when a reader is at it.
        let least = set.clone().map(|bucket| bucket.calls()).min();
        let victim = set.find(|bucket| {
            let owner = bucket.owner();
            let fewest = outermost && Some(bucket.calls()) == least;
            fewest && owner != NOBODY && bucket.take_over(owner)
        });
        let Some(bucket) = victim else {
            shared.record(site, measure);
            return;
        };
        let (old, counts) = (bucket.site(), bucket.take());
        bucket.publish(site);
        bucket.record(measure);
        bucket.unpin();
        if let Some(old) = old {
            let calls = counts.calls();
            shared.with_pinned(&old, calls, |bucket| bucket.add(&counts));
        }
    }

    /// Calls `use_it` with the bucket for `site`, which others may write as well. `false`, and so many
    /// calls are lost, if all are pinned.
    fn with_pinned(&self, site: &Site, calls: u64, use_it: impl FnOnce(&Bucket<'a>)) -> bool {
        let mut set = self.set_of(site);
        let found = set.clone().find(|bucket| bucket.pin_for(site));
        let found = found.or_else(|| {
            let free = set.find(|bucket| bucket.take_over(0));
            let bucket = free.or_else(|| self.make_room(site))?;
            bucket.publish(site);
            Some(bucket)
        });
        match found {
            Some(bucket) => {
                use_it(&bucket);
                bucket.unpin();
            }
            None => self.lose(calls),
        }
        found.is_some()
    }

    /// Takes over the bucket with the fewest calls; others may be about to do the same.
    fn make_room(&self, site: &Site) -> Option<Bucket<'a>> {
        let least = || {
            let owners = self
                .set_of(site)
                .map(|bucket| (bucket, bucket.0[OWNER].load(Relaxed)));
            owners
                .filter(|(_, owner)| owner & PINS == 0 && *owner != 0)
                .min_by_key(|(bucket, _)| bucket.calls())
        };
        let bucket = (0..WAYS).find_map(|_| {
            let (bucket, owner) = least()?;
            bucket.take_over(owner).then_some(bucket)
        })?;
        self.lose(bucket.take().calls());
        Some(bucket)
    }

    fn lose(&self, calls: u64) {
        self.head[LOST].fetch_add(calls, Relaxed);
    }

    /// Calls that are not in the table any more, or never were.
    pub fn lost(&self) -> u64 {
        self.head[LOST].load(Relaxed)
    }

    /// How many buckets are taken.
    pub fn used(&self) -> usize {
        all(self.buckets)
            .filter(|bucket| bucket.owner() != 0)
            .count()
    }

    /// Calls `show` with everything that has calls; of those networks only that `wanted` tells.
    pub fn each(&self, wanted: impl Fn(u32) -> bool, mut show: impl FnMut(&Site, &Counts)) {
        self.pinned(wanted, |bucket, site| {
            let counts = bucket.counts();
            if counts.calls() != 0 {
                show(site, &counts);
            }
        });
    }

    /// Forgets what was counted, of those networks only that `wanted` tells. A call that is being
    /// counted meanwhile may stay, in full or in part.
    pub fn clear(&self, wanted: impl Fn(u32) -> bool) {
        self.pinned(wanted, |bucket, _| {
            bucket.take();
        });
    }

    /// Forgets how much was lost.
    pub fn clear_lost(&self) {
        self.head[LOST].store(0, Relaxed);
    }

    pub(super) fn pinned(
        &self,
        wanted: impl Fn(u32) -> bool,
        mut use_it: impl FnMut(&Bucket<'_>, &Site),
    ) {
        for bucket in all(self.buckets) {
            let owner = bucket.owner();
            if owner == 0 || owner == NOBODY {
                continue;
            }
            bucket.pin();
            // It may have been given away just before, and to the same owner again: the key is that of
            // the owner who is there now.
            let site = match bucket.owner() == owner {
                true => bucket.site(),
                false => None,
            };
            if let Some(site) = site.filter(|site| wanted(site.key().network)) {
                use_it(&bucket, &site);
            }
            bucket.unpin();
        }
    }
}

fn all(buckets: &[AtomicU64]) -> impl Iterator<Item = Bucket<'_>> + Clone {
    buckets
        .chunks_exact(BUCKET_WORDS)
        .filter_map(|words| words.try_into().ok().map(Bucket))
}
