// SPDX-License-Identifier: GPL-2.0

//! The prediction cache: what it finds, what it throws out, and that no thread ever gets an answer
//! that belongs to another question.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use common::Rng;
use neural_core::cache::{Cache, Eviction, Geometry, Lookup, USE_GRANULARITY_NS};
use neural_core::init::SplitMix64;
use neural_core::Error;

const FOREVER: u64 = u64::MAX;

fn storage(geometry: &Geometry) -> Vec<AtomicU64> {
    (0..geometry.words()).map(|_| AtomicU64::new(0)).collect()
}

/// `n` bytes that depend on `id` and `salt`.
fn fill(id: u64, salt: u64, n: usize) -> Vec<u8> {
    let mut random = SplitMix64::new(id ^ salt << 32);
    (0..n).map(|_| random.next_u64() as u8).collect()
}

/// A cache with keys and values that are made of numbers.
struct Numbered<'a> {
    cache: Cache<'a>,
    key_bytes: usize,
    value_bytes: usize,
}

impl<'a> Numbered<'a> {
    fn new(geometry: Geometry, storage: &'a [AtomicU64]) -> Self {
        let cache = Cache::new(geometry, storage).unwrap();
        let sizes = (geometry.key_bytes as usize, geometry.value_bytes as usize);
        Numbered {
            cache,
            key_bytes: sizes.0,
            value_bytes: sizes.1,
        }
    }

    fn insert(&self, id: u64, generation: u32, now: u64, eviction: Eviction) -> bool {
        let value = fill(id, 1 + u64::from(generation), self.value_bytes);
        self.cache.insert(
            &fill(id, 0, self.key_bytes),
            generation,
            now,
            &value,
            eviction,
        )
    }

    /// Looks up, and checks the value of a hit.
    fn lookup(&self, id: u64, generation: u32, now: u64, timeout: u64) -> Lookup {
        let mut out = vec![0; self.value_bytes];
        let found = self.cache.lookup(
            &fill(id, 0, self.key_bytes),
            generation,
            now,
            timeout,
            &mut out,
        );
        if found == Lookup::Hit {
            assert_eq!(
                out,
                fill(id, 1 + u64::from(generation), self.value_bytes),
                "{id}"
            );
        }
        found
    }

    fn holds(&self, id: u64) -> bool {
        self.lookup(id, 0, 0, FOREVER) == Lookup::Hit
    }
}

#[test]
fn sizes_are_checked() {
    let wrong = |name, have, max| {
        Err(Error::Argument {
            name,
            have,
            min: 1,
            max,
        })
    };
    assert_eq!(Geometry::new(0, 4, 4), wrong("cache entries", 0, 65536));
    assert_eq!(
        Geometry::new(65537, 4, 4),
        wrong("cache entries", 65537, 65536)
    );
    assert_eq!(Geometry::new(1, 0, 4), wrong("cache key bytes", 0, 1 << 20));
    assert_eq!(
        Geometry::new(1, (1 << 20) + 1, 4),
        wrong("cache key bytes", (1 << 20) + 1, 1 << 20)
    );
    assert_eq!(
        Geometry::new(1, 4, 0),
        wrong("cache value bytes", 0, 1 << 20)
    );
    assert_eq!(
        Geometry::new(1, 4, usize::MAX),
        wrong("cache value bytes", u64::MAX, 1 << 20)
    );
    for (entries, sets, ways) in [
        (1, 1, 1),
        (2, 1, 2),
        (3, 1, 4),
        (4, 1, 4),
        (5, 2, 4),
        (1000, 256, 4),
        (65536, 16384, 4),
    ] {
        let geometry = Geometry::new(entries, 20, 12).unwrap();
        assert_eq!((geometry.sets, geometry.ways), (sets, ways), "{entries}");
        // 4 words before the key, 3 of key, 2 of value, rounded up to a line.
        assert_eq!(geometry.words(), (sets * ways) as usize * 16);
    }
    assert!(Geometry::new(65536, 1 << 20, 1 << 20).unwrap().words() < 1 << 35);
    let geometry = Geometry::new(4, 4, 4).unwrap();
    let storage = storage(&geometry);
    assert!(Cache::new(geometry, &storage).is_ok());
    let error = Error::Buffer {
        buffer: "cache words",
        have: 31,
        want: 32,
    };
    assert_eq!(Cache::new(geometry, &storage[..31]).unwrap_err(), error);
}

#[test]
fn what_was_inserted_is_found_whatever_its_size() {
    for key_bytes in [1, 4, 7, 8, 9, 31, 32, 33, 256, 16384] {
        for value_bytes in [1, 4, 8, 12, 40] {
            let geometry = Geometry::new(64, key_bytes, value_bytes).unwrap();
            let storage = storage(&geometry);
            let cache = Numbered::new(geometry, &storage);
            assert_eq!(cache.lookup(5, 0, 10, FOREVER), Lookup::Miss);
            assert!(cache.insert(5, 0, 10, Eviction::Lru));
            assert_eq!(cache.lookup(5, 0, 10, FOREVER), Lookup::Hit);
            assert_eq!(cache.lookup(6, 0, 10, FOREVER), Lookup::Miss);
            // A key that differs in one bit only, at any place, is another key.
            let mut key = fill(5, 0, key_bytes);
            let mut out = vec![0; value_bytes];
            for bit in (0..8 * key_bytes).step_by(if key_bytes > 300 { 1001 } else { 1 }) {
                key[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    cache.cache.lookup(&key, 0, 10, FOREVER, &mut out),
                    Lookup::Miss
                );
                key[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(
                cache.cache.lookup(&key, 0, 10, FOREVER, &mut out),
                Lookup::Hit
            );
            cache.cache.clear();
            assert_eq!(cache.lookup(5, 0, 10, FOREVER), Lookup::Miss);
        }
    }
}

#[test]
fn keys_and_values_of_another_size_are_left_out() {
    let geometry = Geometry::new(4, 8, 8).unwrap();
    let storage = storage(&geometry);
    let cache = Cache::new(geometry, &storage).unwrap();
    for (key, value) in [(7, 8), (9, 8), (8, 7), (8, 9), (0, 8), (8, 0)] {
        assert!(!cache.insert(&vec![0; key], 0, 0, &vec![0; value], Eviction::Lru));
        assert_eq!(
            cache.lookup(&vec![0; key], 0, 0, FOREVER, &mut vec![0; value]),
            Lookup::Miss
        );
    }
    // A shorter key is not the longer one with zeros.
    assert!(cache.insert(&[0; 8], 0, 0, &[1; 8], Eviction::Lru));
    assert_eq!(
        cache.lookup(&[0; 7], 0, 0, FOREVER, &mut [0; 8]),
        Lookup::Miss
    );
}

#[test]
fn entries_expire_to_the_nanosecond() {
    let geometry = Geometry::new(4, 8, 8).unwrap();
    let storage = storage(&geometry);
    let cache = Numbered::new(geometry, &storage);
    let now = 1 << 40;
    cache.insert(1, 0, now, Eviction::Lru);
    assert_eq!(cache.lookup(1, 0, now, 0), Lookup::Expired);
    assert_eq!(cache.lookup(1, 0, now, 1), Lookup::Hit);
    assert_eq!(cache.lookup(1, 0, now + 999, 1000), Lookup::Hit);
    assert_eq!(cache.lookup(1, 0, now + 1000, 1000), Lookup::Expired);
    // A hit does not make it younger.
    assert_eq!(cache.lookup(1, 0, now + 1000, 1001), Lookup::Hit);
    assert_eq!(cache.lookup(1, 0, now + 1001, 1001), Lookup::Expired);
    // Inserting again does.
    cache.insert(1, 0, now + 1001, Eviction::Lru);
    assert_eq!(cache.lookup(1, 0, now + 2001, 1001), Lookup::Hit);
}

#[test]
fn a_clock_that_goes_backwards_makes_nothing_immortal() {
    let geometry = Geometry::new(4, 8, 8).unwrap();
    let storage = storage(&geometry);
    let cache = Numbered::new(geometry, &storage);
    let now = 1 << 40;
    cache.insert(1, 0, now, Eviction::Lru);
    assert_eq!(cache.lookup(1, 0, now - 999, 1000), Lookup::Hit);
    assert_eq!(cache.lookup(1, 0, now - 1000, 1000), Lookup::Expired);
    assert_eq!(cache.lookup(1, 0, 0, 1000), Lookup::Expired);
    // Nor does an entry from the future keep its place when others come.
    for eviction in [Eviction::Lru, Eviction::Fifo] {
        cache.cache.clear();
        cache.insert(1, 0, now, eviction);
        (2..=5).for_each(|id| assert!(cache.insert(id, 0, 5000 * id, eviction)));
        assert!(
            !cache.holds(1) && (2..=5).all(|id| cache.holds(id)),
            "{eviction:?}"
        );
    }
}

#[test]
fn an_entry_of_another_generation_never_hits_and_goes_first() {
    let geometry = Geometry::new(4, 8, 8).unwrap();
    let storage = storage(&geometry);
    let cache = Numbered::new(geometry, &storage);
    for generation in [0, 1, 2, u32::MAX - 1, u32::MAX] {
        cache.insert(1, generation, 100, Eviction::Lru);
        for other in [0, 1, 2, u32::MAX - 1, u32::MAX] {
            let want = if other == generation {
                Lookup::Hit
            } else {
                Lookup::Miss
            };
            assert_eq!(cache.lookup(1, other, 100, FOREVER), want);
        }
        cache.cache.clear();
    }
    // Three of the old generation, then four of the new one: all of the new one are there.
    (1..=3).for_each(|id| assert!(cache.insert(id, 7, 1 << 30, Eviction::Lru)));
    (1..=4).for_each(|id| assert!(cache.insert(id, 8, id, Eviction::Lru)));
    assert!((1..=4).all(|id| cache.lookup(id, 8, 10, FOREVER) == Lookup::Hit));
    assert!((1..=3).all(|id| cache.lookup(id, 7, 10, FOREVER) == Lookup::Miss));
}

#[test]
fn lru_keeps_what_was_used_and_fifo_what_is_new() {
    let geometry = Geometry::new(4, 8, 8).unwrap();
    let step = USE_GRANULARITY_NS;
    for (eviction, gone) in [(Eviction::Lru, 2), (Eviction::Fifo, 1)] {
        let storage = storage(&geometry);
        let cache = Numbered::new(geometry, &storage);
        (1..=4).for_each(|id| assert!(cache.insert(id, 0, id * step, eviction)));
        assert_eq!(cache.lookup(1, 0, 5 * step, FOREVER), Lookup::Hit);
        assert!(cache.insert(5, 0, 6 * step, eviction));
        for id in 1..=5 {
            assert_eq!(cache.holds(id), id != gone, "{eviction:?} {id}");
        }
        // Renewing takes no other entry's place.
        assert!(cache.insert(5, 0, 7 * step, eviction));
        assert_eq!((1..=5).filter(|&id| cache.holds(id)).count(), 4);
    }
}

#[test]
fn random_eviction_takes_every_way_about_as_often() {
    let geometry = Geometry::new(4, 8, 8).unwrap();
    let mut rng = Rng::new();
    let mut gone = [0; 4];
    for _ in 0..4000 {
        let storage = storage(&geometry);
        let cache = Numbered::new(geometry, &storage);
        let now = rng.u64() >> 20;
        (0..4).for_each(|id| assert!(cache.insert(id, 0, now + id, Eviction::Random)));
        assert!(cache.insert(
            4 + rng.u64() % 1000,
            0,
            now + rng.below(1 << 20),
            Eviction::Random
        ));
        let lost: Vec<usize> = (0..4).filter(|&id| !cache.holds(id as u64)).collect();
        assert_eq!(lost.len(), 1);
        gone[lost[0]] += 1;
    }
    // 1000 each, with a standard deviation of 27.
    assert!(gone.iter().all(|&n| (800..1200).contains(&n)), "{gone:?}");
}

#[test]
fn sets_are_used_evenly() {
    let mut rng = Rng::new();
    for key_bytes in [4, 20, 256] {
        let geometry = Geometry::new(4096, key_bytes, 4).unwrap();
        let storage = storage(&geometry);
        let cache = Cache::new(geometry, &storage).unwrap();
        // Keys as inputs are: small numbers in Q16.16, many of them equal.
        let keys: Vec<Vec<u8>> = (0..4096u32)
            .map(|i| {
                let mut key = common::bytes(&vec![0; key_bytes / 4]);
                let at = rng.below(key_bytes as u64 / 4) as usize * 4;
                key[at..at + 4].copy_from_slice(&(i << 4).to_le_bytes());
                key
            })
            .collect();
        keys.iter()
            .for_each(|key| assert!(cache.insert(key, 0, 1, &[0; 4], Eviction::Fifo)));
        let found = |key: &&Vec<u8>| cache.lookup(key, 0, 1, FOREVER, &mut [0; 4]) == Lookup::Hit;
        let kept = keys.iter().filter(found).count();
        // A random spread of 4096 keys over 1024 sets of 4 keeps 80 %: sum of min(k, 4) p(k).
        assert!(kept > 4096 * 77 / 100, "{key_bytes}: {kept}");
    }
}

/// Threads insert and look up at the same time, with few sets, so that they meet all the time; all
/// values are derived from the keys and the generation, and every hit is checked.
fn hammer(geometry: Geometry, eviction: Eviction, rounds: u64) {
    let storage = storage(&geometry);
    let hits = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let seed = Rng::new().u64();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|thread| {
                let (storage, hits) = (&storage, &hits);
                scope.spawn(move || {
                    let cache = Numbered::new(geometry, storage);
                    let mut rng = Rng::seeded(seed + thread);
                    for round in 0..rounds {
                        let (id, generation) = (rng.below(24), rng.below(3) as u32);
                        let now = round * 100;
                        match cache.lookup(id, generation, now, 50_000) {
                            Lookup::Hit => _ = hits.fetch_add(1, Relaxed),
                            _ => _ = cache.insert(id, generation, now, eviction),
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let cache = Numbered::new(geometry, &storage);
            while !stop.load(Relaxed) {
                cache.cache.clear();
                (0..100).for_each(|_| std::thread::yield_now());
            }
        });
        let fine = workers.into_iter().all(|worker| worker.join().is_ok());
        stop.store(true, Relaxed);
        assert!(fine);
    });
    assert!(
        hits.into_inner() > rounds / 100,
        "hardly any hit: nothing was tested"
    );
}

#[test]
#[cfg_attr(miri, ignore)] // Too long; the next test is for Miri.
fn threads_never_see_a_wrong_value() {
    for eviction in [Eviction::Lru, Eviction::Fifo, Eviction::Random] {
        hammer(Geometry::new(8, 64, 40).unwrap(), eviction, 100_000);
        hammer(Geometry::new(1, 8, 1024).unwrap(), eviction, 100_000);
    }
}

/// Short enough for Miri, which reorders memory accesses as far as the memory model allows:
/// `MIRIFLAGS=-Zmiri-many-seeds=0..64 cargo +nightly miri test -p neural_core --test cache order`.
#[test]
fn the_memory_order_is_enough() {
    let geometry = Geometry::new(1, 8, 16).unwrap();
    let storage = storage(&geometry);
    let value = |id: u64| [id as u8 + 1; 16];
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let cache = Cache::new(geometry, &storage).unwrap();
            scope.spawn(move || {
                for now in 0..12 {
                    let id = (thread + now) % 2;
                    cache.insert(&[id as u8; 8], 0, now, &value(id), Eviction::Lru);
                }
            });
        }
        let cache = Cache::new(geometry, &storage).unwrap();
        for id in (0..40).map(|i| i % 2) {
            let mut out = [0; 16];
            if cache.lookup(&[id as u8; 8], 0, 5, FOREVER, &mut out) == Lookup::Hit {
                assert_eq!(out, value(id));
            }
        }
    });
}

#[test]
fn a_writer_that_was_interrupted_blocks_nobody() {
    let geometry = Geometry::new(1, 8, 8).unwrap();
    let storage = storage(&geometry);
    let cache = Numbered::new(geometry, &storage);
    assert!(cache.insert(1, 0, 1, Eviction::Lru));
    // As if a writer had been stopped in the middle: its sequence number is odd.
    let sequence = storage[0].fetch_add(1, Relaxed);
    assert_eq!(sequence % 2, 0);
    assert_eq!(cache.lookup(1, 0, 1, FOREVER), Lookup::Miss);
    assert!(!cache.insert(1, 0, 1, Eviction::Lru));
    assert!(!cache.insert(2, 0, 1, Eviction::Lru));
    cache.cache.clear();
    assert_eq!(storage[0].load(Relaxed), sequence + 1);
    storage[0].fetch_add(1, Relaxed);
    assert_eq!(cache.lookup(1, 0, 1, FOREVER), Lookup::Hit);
}
