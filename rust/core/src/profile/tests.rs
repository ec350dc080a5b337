// SPDX-License-Identifier: GPL-2.0

//! What only those can test who know the words of a table.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::table::DEPTH;
use super::*;

fn memory(buckets: usize) -> Vec<AtomicU64> {
    let words = 0..Table::words(buckets);
    words.map(|_| AtomicU64::new(0)).collect()
}

fn site(network: u32) -> Site {
    let key = Key {
        network,
        op: Op::Gemv,
        dtype: DType::I8,
        dims: Dims::new(&[10, 20]),
    };
    Site::new(key, 200, 10)
}

const ONE: Measure<'static> = Measure {
    calls: 1,
    cycles: 5,
    events: None,
};

fn calls(table: &Table<'_>, network: u32) -> u64 {
    let mut calls = 0;
    let add = |_: &Site, counts: &Counts| calls += counts.calls();
    table.each(|other| other == network, add);
    calls
}

#[test]
fn who_counts_in_the_middle_of_counting_takes_no_bucket_away() {
    let (small, large) = (memory(8), memory(8));
    let (small, large) = (Table::new(&small).unwrap(), Table::new(&large).unwrap());
    for network in 0..8 {
        small.record_local(&site(network), &ONE, &large);
    }
    // An interrupt, as it finds the table.
    small.head[DEPTH].store(1, Relaxed);
    small.record_local(&site(8), &ONE, &large);
    small.record_local(&site(3), &ONE, &large);
    assert_eq!(small.head[DEPTH].load(Relaxed), 1);
    assert_eq!((calls(&small, 8), calls(&large, 8)), (0, 1));
    assert_eq!((calls(&small, 3), large.used()), (2, 1));
    small.head[DEPTH].store(0, Relaxed);
    small.record_local(&site(9), &ONE, &large);
    assert_eq!((calls(&small, 9), large.used()), (1, 2));
}

#[test]
fn a_bucket_with_a_pin_stays() {
    let (small, large) = (memory(8), memory(8));
    let (small, large) = (Table::new(&small).unwrap(), Table::new(&large).unwrap());
    for network in 0..8 {
        small.record_local(&site(network), &ONE, &large);
        large.record(&site(network), &ONE);
    }
    let mut inner = 0;
    // While a reader is at each of them in turn.
    small.each(
        |_| true,
        |held, _| {
            let before = calls(&small, held.key().network);
            small.record_local(&site(100), &ONE, &large);
            assert!(calls(&small, held.key().network) >= before);
            inner += 1;
        },
    );
    assert!(inner >= 8);
    large.pinned(
        |_| true,
        |_, held| {
            let before = calls(&large, held.key().network);
            large.record(&site(200), &ONE);
            assert!(calls(&large, held.key().network) >= before);
        },
    );
}

#[test]
fn equal_hashes_are_not_enough() {
    let table = memory(8);
    let table = Table::new(&table).unwrap();
    let (first, mut second) = (site(1), site(2));
    second.hash = first.hash;
    table.record(&first, &ONE);
    table.record(&second, &ONE);
    assert_eq!(
        (calls(&table, 1), calls(&table, 2), table.used()),
        (1, 1, 2)
    );
}
