// SPDX-License-Identifier: GPL-2.0

//! What only those can test who know the hash.

use super::*;

/// Two keys that the hash cannot tell apart.
fn twins() -> [[u8; 40]; 2] {
    // Both first words leave another state of the first lane; the fifth words, which meet that
    // state, make up for it.
    let state = |word: u64| (GOLDEN ^ word).wrapping_mul(GOLDEN).rotate_left(29);
    [[1u64, 0, 0, 0, 0], [2, 0, 0, 0, state(1) ^ state(2)]].map(|words| {
        let mut key = [0; 40];
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        key
    })
}

#[test]
fn equal_hashes_are_not_enough() {
    let [first, second] = twins();
    assert_ne!(first, second);
    assert_eq!(hash(&first), hash(&second));
    let geometry = Geometry::new(4, 40, 8).unwrap();
    let storage: Vec<_> = (0..geometry.words()).map(|_| AtomicU64::new(0)).collect();
    let cache = Cache::new(geometry, &storage).unwrap();
    let mut out = [0; 8];
    assert!(cache.insert(&first, 1, 1, &[1; 8], Eviction::Lru));
    assert_eq!(cache.lookup(&second, 1, 1, 100, &mut out), Lookup::Miss);
    assert!(cache.insert(&second, 1, 1, &[2; 8], Eviction::Lru));
    for (key, value) in [(&first, [1; 8]), (&second, [2; 8])] {
        assert_eq!(cache.lookup(key, 1, 1, 100, &mut out), Lookup::Hit);
        assert_eq!(out, value);
    }
}
