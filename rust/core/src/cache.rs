// SPDX-License-Identifier: GPL-2.0

//! A prediction cache that any context may use, without locks.
//!
//! Set-associative: the hash of the input picks a set, and the input must then equal the whole key of
//! one of its entries; equal hashes are never enough. Each entry has a sequence number, odd while
//! somebody writes the entry. Nobody ever waits: a reader that meets a writer has a miss, and a writer
//! that meets another one leaves its answer out. So an interrupt may use the cache that it has
//! interrupted the use of.
//!
//! Entries carry the generation of the model that computed them. When a model is replaced, its number
//! is another one and no old entry can be found.
//!
//! Memory is touched from Rust only, so the memory model of Rust is enough. On x86-64 its relaxed,
//! acquire and release operations are those of the kernel's own model.

#[cfg(test)]
mod tests;

use core::sync::atomic::{fence, AtomicU64, Ordering};

use crate::error::Error;

/// The most entries of a cache.
pub const MAX_ENTRIES: u32 = 65536;

/// Entries of a set, unless there are fewer in all.
const WAYS: u32 = 4;

/// Words of an entry before its key.
const SEQUENCE: usize = 0;
const TAG: usize = 1;
const INSERTED: usize = 2;
const USED: usize = 3;
const HEAD_WORDS: usize = 4;

/// Words of a cache line; entries start on one.
const LINE_WORDS: usize = 8;

/// How much older, in ns, the last use of an entry must be before a hit writes it anew. It keeps
/// CPUs that hit the same entry from fighting for its cache line.
pub const USE_GRANULARITY_NS: u64 = 4096;

/// The size and shape of a cache.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Number of sets, a power of 2.
    pub sets: u32,
    /// Entries of a set.
    pub ways: u32,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value.
    pub value_bytes: u32,
}

impl Geometry {
    /// A cache of at least `entries` entries (rounded up to a power of 2).
    ///
    /// Fails with `Argument` when `entries` is not in 1..=65536, or a size not in 1..=2^20.
    pub fn new(entries: u32, key_bytes: usize, value_bytes: usize) -> Result<Self, Error> {
        let check = |name, have: u64, max: u32| {
            if have == 0 || have > u64::from(max) {
                return Err(Error::Argument {
                    name,
                    have,
                    min: 1,
                    max: u64::from(max),
                });
            }
            // CAST: at most `max`.
            Ok(have as u32)
        };
        let entries = check("cache entries", u64::from(entries), MAX_ENTRIES)?;
        let key_bytes = check("cache key bytes", key_bytes as u64, 1 << 20)?;
        let value_bytes = check("cache value bytes", value_bytes as u64, 1 << 20)?;
        // At most 65536, itself a power of 2.
        let entries = entries.checked_next_power_of_two().unwrap_or(MAX_ENTRIES);
        let ways = entries.min(WAYS);
        Ok(Geometry {
            sets: entries.checked_div(ways).unwrap_or(1),
            ways,
            key_bytes,
            value_bytes,
        })
    }

    /// Words of storage that the cache needs: at most 2^35. A multiple of 8.
    pub fn words(&self) -> usize {
        // CAST: u32 fits.
        (self.sets as usize).saturating_mul(self.set_words())
    }

    fn set_words(&self) -> usize {
        (self.ways as usize).saturating_mul(self.entry_words())
    }

    fn entry_words(&self) -> usize {
        let words = HEAD_WORDS
            .saturating_add(self.key_words())
            .saturating_add(self.value_words());
        words.saturating_add(LINE_WORDS - 1) & !(LINE_WORDS - 1)
    }

    fn key_words(&self) -> usize {
        (self.key_bytes as usize).div_ceil(8)
    }

    fn value_words(&self) -> usize {
        (self.value_bytes as usize).div_ceil(8)
    }
}

/// Which entry has to go when a set is full.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// The one that was not used for the longest time (to within [`USE_GRANULARITY_NS`]).
    Lru,
    /// The one that was inserted first.
    Fifo,
    /// Any.
    Random,
}

/// What [`Cache::lookup`] found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The answer, which is in `out`.
    Hit,
    /// Nothing; the content of `out` is undefined.
    Miss,
    /// An answer that is past its time-out; the content of `out` is undefined.
    Expired,
}

/// A cache in memory of the caller.
#[derive(Copy, Clone, Debug)]
pub struct Cache<'a> {
    geometry: Geometry,
    storage: &'a [AtomicU64],
}

/// The words of one entry.
#[derive(Copy, Clone)]
struct Entry<'a> {
    head: &'a [AtomicU64; HEAD_WORDS],
    key: &'a [AtomicU64],
    value: &'a [AtomicU64],
}

impl<'a> Cache<'a> {
    /// Takes `geometry.words()` words at the beginning of `storage`, all of them 0 or those of a cache
    /// of the same geometry. Cheap: it may be made anew for each call.
    ///
    /// Fails with `Buffer` when there are fewer.
    pub fn new(geometry: Geometry, storage: &'a [AtomicU64]) -> Result<Self, Error> {
        let want = geometry.words();
        match storage.get(..want) {
            Some(storage) if geometry.sets.is_power_of_two() => Ok(Cache { geometry, storage }),
            _ => {
                let have = storage.len() as u64;
                Err(Error::Buffer {
                    buffer: "cache words",
                    have,
                    want: want as u64,
                })
            }
        }
    }

    /// Its size and shape.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Looks for `key`, inserted with the same `generation` less than `timeout_ns` before `now_ns`.
    ///
    /// `key` and `out` have exactly the bytes of the geometry, else it is a miss. A time-out of 0 finds
    /// nothing. If the clock has gone backwards, an entry from the future counts as new, but only up to
    /// one time-out ahead, so no entry is ever found for longer than two.
    pub fn lookup(
        &self,
        key: &[u8],
        generation: u32,
        now_ns: u64,
        timeout_ns: u64,
        out: &mut [u8],
    ) -> Lookup {
        if !self.fits(key, out) {
            return Lookup::Miss;
        }
        let hash = hash(key);
        let tag = tag(hash, generation);
        let mut result = Lookup::Miss;
        for entry in self.set(hash) {
            // ORDERING: pairs with the release store at the end of a write: who sees its number sees
            // the words that it wrote.
            let sequence = entry.word(SEQUENCE).load(Ordering::Acquire);
            if sequence & 1 == 1 || entry.word(TAG).load(Ordering::Relaxed) != tag {
                continue;
            }
            if !entry.key_equals(key) {
                continue;
            }
            let inserted = entry.word(INSERTED).load(Ordering::Relaxed);
            let used = entry.word(USED).load(Ordering::Relaxed);
            let fresh = now_ns.abs_diff(inserted) < timeout_ns;
            if fresh {
                entry.read_value(out);
            }
            // ORDERING: the reads above come before the second read of the sequence number; pairs with
            // the release fence at the beginning of a write: who has read a word of a later write sees
            // its odd number.
            fence(Ordering::Acquire);
            if entry.word(SEQUENCE).load(Ordering::Relaxed) != sequence {
                continue;
            }
            if !fresh {
                result = Lookup::Expired;
                continue;
            }
            if now_ns.abs_diff(used) >= USE_GRANULARITY_NS {
                // May hit another entry that is being written here; it only looks more recently used.
                entry.word(USED).store(now_ns, Ordering::Relaxed);
            }
            return Lookup::Hit;
        }
        result
    }

    /// Inserts or renews an answer; tells whether it did.
    ///
    /// Takes, in this order: the entry that has this key, an empty one, one of another generation, the
    /// one that `eviction` picks. Does nothing when that entry is being written by someone else, or
    /// `key` or `value` do not have the bytes of the geometry.
    pub fn insert(
        &self,
        key: &[u8],
        generation: u32,
        now_ns: u64,
        value: &[u8],
        eviction: Eviction,
    ) -> bool {
        if !self.fits(key, value) {
            return false;
        }
        let hash = hash(key);
        let tag = tag(hash, generation);
        let Some((victim, sequence)) = self.victim(key, hash, tag, now_ns, eviction) else {
            return false;
        };
        victim.write(sequence, || {
            victim.word(TAG).store(tag, Ordering::Relaxed);
            victim.word(INSERTED).store(now_ns, Ordering::Relaxed);
            victim.word(USED).store(now_ns, Ordering::Relaxed);
            store_bytes(victim.key, key);
            store_bytes(victim.value, value);
        })
    }

    /// Empties the cache, except for entries that are being written at this moment.
    pub fn clear(&self) {
        for entry in self.entries(self.storage) {
            let sequence = entry.word(SEQUENCE).load(Ordering::Relaxed);
            entry.write(sequence, || entry.word(TAG).store(EMPTY, Ordering::Relaxed));
        }
    }

    fn fits(&self, key: &[u8], value: &[u8]) -> bool {
        key.len() == self.geometry.key_bytes as usize
            && value.len() == self.geometry.value_bytes as usize
    }

    /// The entry to write, and its sequence number when it was chosen.
    fn victim(
        &self,
        key: &[u8],
        hash: u64,
        tag: u64,
        now_ns: u64,
        eviction: Eviction,
    ) -> Option<(Entry<'a>, u64)> {
        // What changes from one insertion to the next, stirred by the golden ratio.
        let random = (now_ns ^ hash.rotate_left(32)).wrapping_mul(GOLDEN) >> 32;
        let mut random = random & u64::from(self.geometry.ways).wrapping_sub(1);
        let mut best: Option<(u64, Entry<'a>, u64)> = None;
        for entry in self.set(hash) {
            // ORDERING: as in `lookup`.
            let sequence = entry.word(SEQUENCE).load(Ordering::Acquire);
            let old = entry.word(TAG).load(Ordering::Relaxed);
            if old == tag && entry.key_equals(key) {
                // Being written right now or not: nobody needs a second entry for this key.
                return Some((entry, sequence));
            }
            // An age from the future is the oldest one, so that no such entry stays forever.
            let age = |word| now_ns.checked_sub(entry.word(word).load(Ordering::Relaxed));
            let rank = if old == EMPTY {
                u64::MAX
            } else if generation_of(old) != generation_of(tag) {
                u64::MAX - 1
            } else {
                let rank = match eviction {
                    Eviction::Lru => age(USED).unwrap_or(u64::MAX),
                    Eviction::Fifo => age(INSERTED).unwrap_or(u64::MAX),
                    Eviction::Random => u64::from(random == 0),
                };
                random = random.wrapping_sub(1);
                rank.min(u64::MAX - 2)
            };
            match best {
                Some((highest, ..)) if highest >= rank => {}
                _ => best = Some((rank, entry, sequence)),
            }
        }
        best.map(|(_, entry, sequence)| (entry, sequence))
    }

    fn set(&self, hash: u64) -> impl Iterator<Item = Entry<'a>> + '_ {
        let words = self.geometry.set_words();
        // CAST: the mask keeps it below the number of sets, so the product is within the storage.
        let set = (hash & u64::from(self.geometry.sets).wrapping_sub(1)) as usize;
        let start = set.saturating_mul(words);
        let storage = self
            .storage
            .get(start..)
            .and_then(|rest| rest.get(..words))
            .unwrap_or(&[]);
        self.entries(storage)
    }

    fn entries(&self, storage: &'a [AtomicU64]) -> impl Iterator<Item = Entry<'a>> + '_ {
        let (keys, values) = (self.geometry.key_words(), self.geometry.value_words());
        let entries = storage.chunks_exact(self.geometry.entry_words().max(1));
        entries.filter_map(move |words| {
            let (head, rest) = words.split_first_chunk::<HEAD_WORDS>()?;
            let (key, rest) = rest.split_at_checked(keys)?;
            Some(Entry {
                head,
                key,
                value: rest.get(..values)?,
            })
        })
    }
}

impl<'a> Entry<'a> {
    #[inline]
    fn word(&self, index: usize) -> &'a AtomicU64 {
        let [sequence, tag, inserted, used] = self.head;
        match index {
            SEQUENCE => sequence,
            TAG => tag,
            INSERTED => inserted,
            _ => used,
        }
    }

    #[inline]
    fn key_equals(&self, key: &[u8]) -> bool {
        words_of(key)
            .zip(self.key)
            .all(|(word, stored)| stored.load(Ordering::Relaxed) == word)
    }

    fn read_value(&self, out: &mut [u8]) {
        for (to, from) in out.chunks_mut(8).zip(self.value) {
            let bytes = from.load(Ordering::Relaxed).to_le_bytes();
            if let Some(whole) = to.first_chunk_mut() {
                *whole = bytes;
            } else {
                to.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            }
        }
    }

    /// Runs `store` as the only writer, unless the entry has been written or is being written since
    /// its number was `sequence`.
    fn write(&self, sequence: u64, store: impl FnOnce()) -> bool {
        let odd = sequence.wrapping_add(1);
        // ORDERING: acquire, so that what is stored comes after the entry was taken.
        let taken = sequence & 1 == 0
            && self
                .word(SEQUENCE)
                .compare_exchange(sequence, odd, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !taken {
            return false;
        }
        // ORDERING: the odd number is visible before any word that is stored now; pairs with the
        // acquire fence in `lookup`.
        fence(Ordering::Release);
        store();
        // ORDERING: all words are visible before the even number; pairs with the acquire load in
        // `lookup`.
        self.word(SEQUENCE)
            .store(sequence.wrapping_add(2), Ordering::Release);
        true
    }
}

/// The tag of an entry that holds nothing.
const EMPTY: u64 = 0;

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What is compared before the key: generation and part of the hash; never [`EMPTY`].
fn tag(hash: u64, generation: u32) -> u64 {
    (u64::from(generation) << 32) | (hash >> 32) | 1
}

fn generation_of(tag: u64) -> u64 {
    tag >> 32
}

/// A hash of all bits of a key. Its quality matters for speed only.
///
/// Four independent chains of "add a word, multiply by an odd number, rotate", so that the
/// multiplications overlap; at the end they are joined and stirred.
fn hash(key: &[u8]) -> u64 {
    let mut lanes = [
        GOLDEN,
        !GOLDEN,
        GOLDEN.rotate_left(21),
        GOLDEN.rotate_left(42),
    ];
    let step = |lane: u64, word: u64| (lane ^ word).wrapping_mul(GOLDEN).rotate_left(29);
    let blocks = key.chunks_exact(32);
    let rest = blocks.remainder();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(words_of(block)) {
            *lane = step(*lane, word);
        }
    }
    for (lane, word) in lanes.iter_mut().zip(words_of(rest)) {
        *lane = step(*lane, word);
    }
    let joined = lanes.into_iter().fold(0, step);
    let joined = (joined ^ (joined >> 32)).wrapping_mul(GOLDEN);
    joined ^ (joined >> 29)
}

/// The words of some bytes, the last one filled up with zeros.
#[inline]
fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks(8).map(|chunk| match chunk.first_chunk() {
        Some(whole) => u64::from_le_bytes(*whole),
        None => chunk
            .iter()
            .rev()
            .fold(0, |word, &byte| (word << 8) | u64::from(byte)),
    })
}

fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    for (word, value) in words.iter().zip(words_of(bytes)) {
        word.store(value, Ordering::Relaxed);
    }
}
