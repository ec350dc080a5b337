// SPDX-License-Identifier: GPL-2.0

//! Tables of counters: whatever happens at the same time, every call is counted once, for what it was a
//! call of, or counted as lost.

mod common;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::Rng;
use neural_core::nnm::DType;
use neural_core::profile::{
    Clock, Counts, Dims, Entry, Key, Measure, Op, Report, Site, Status, Table, Timer,
};

/// Buckets of a large table.
const LARGE: usize = if cfg!(miri) { 128 } else { 1024 };

/// Threads that do something at the same time, and what each does; less under an interpreter.
const THREADS: u64 = if cfg!(miri) { 3 } else { 8 };
const CALLS: u64 = if cfg!(miri) { 60 } else { 200_000 };

fn memory(buckets: usize) -> Vec<AtomicU64> {
    (0..Table::words(buckets))
        .map(|_| AtomicU64::new(0))
        .collect()
}

/// One of many things, told apart by the network.
fn site(network: u32) -> Site {
    let key = Key {
        network,
        op: Op::Gemv,
        dtype: DType::I8,
        dims: Dims::new(&[128, 64]),
    };
    Site::new(key, 8192, 128)
}

/// So many calls, of as many cycles as the thing that is called says.
fn measure(network: u32, calls: u64) -> Measure<'static> {
    Measure {
        calls,
        cycles: cycles_of(network),
        events: None,
    }
}

fn cycles_of(network: u32) -> u64 {
    u64::from(network) * 3 + 7
}

/// Adds up what is in a table, and checks that nothing was counted for something else.
fn sum(tables: &[&Table<'_>]) -> HashMap<u32, u64> {
    let mut sums = HashMap::new();
    for table in tables {
        table.each(
            |_| true,
            |site, counts| {
                let network = site.key().network;
                whole(network, counts);
                *sums.entry(network).or_default() += counts.calls();
            },
        );
    }
    sums
}

fn whole(network: u32, counts: &Counts) {
    let cycles = cycles_of(network);
    assert_eq!((counts.min(), counts.max), (cycles, cycles), "{network}");
    assert_eq!(counts.cycles, cycles * counts.calls(), "{network}");
    assert_eq!(counts.average(), cycles);
}

#[test]
fn calls_are_counted_by_what_they_take() {
    let memory = memory(8);
    let table = Table::new(&memory).unwrap();
    let site = site(1);
    let events = [[5, 6, 7], [1, 2, 3]];
    for (cycles, calls) in [
        (0, 1),
        (1, 2),
        (2, 1),
        (1023, 5),
        (1 << 31, 1),
        (1 << 40, 1),
    ] {
        assert!(table.record(
            &site,
            &Measure {
                calls,
                cycles,
                events: None
            }
        ));
    }
    for events in &events {
        table.record(
            &site,
            &Measure {
                calls: 2,
                cycles: 1024,
                events: Some(events),
            },
        );
    }
    let mut seen = 0;
    table.each(
        |_| true,
        |_, counts| {
            seen += 1;
            assert_eq!(counts.calls(), 15);
            assert_eq!((counts.min(), counts.max), (0, 1 << 40));
            assert_eq!(counts.cycles, 2 + 2 + 5115 + 4096 + (1 << 31) + (1 << 40));
            let mut histogram = [0; 32];
            for (log, calls) in [(0, 3), (1, 1), (9, 5), (10, 4), (31, 2)] {
                histogram[log] = calls;
            }
            assert_eq!(counts.histogram, histogram);
            assert_eq!((counts.measured, counts.events), (4, [12, 16, 20]));
        },
    );
    assert_eq!((seen, table.used(), table.lost()), (1, 1, 0));
    // Only the networks that are meant.
    table.clear(|network| network != 1);
    table.each(|network| network != 1, |_, _| unreachable!());
    table.each(|_| true, |_, _| seen += 1);
    table.clear(|network| network == 1);
    table.each(|_| true, |_, _| unreachable!());
    assert_eq!(
        (seen, Counts::default().min(), Counts::default().average()),
        (2, 0, 0)
    );
}

#[test]
fn memory_that_is_no_table_is_refused() {
    for buckets in [8, 16, 128, LARGE] {
        let words = Table::words(buckets);
        let memory: Vec<_> = (0..words + 1).map(|_| AtomicU64::new(0)).collect();
        assert!(Table::new(&memory[..words]).is_some());
        assert!(Table::new(&memory).is_none());
        assert!(Table::new(&memory[1..words]).is_none());
    }
    assert!(Table::new(&memory(0)).is_none());
    assert!(Table::new(&memory(7)).is_none());
    assert!(Table::new(&memory(24)).is_none());
    assert!(Table::new(&[]).is_none());
}

#[test]
fn what_is_used_least_has_to_go_and_is_counted() {
    let memory = memory(8);
    let table = Table::new(&memory).unwrap();
    for network in 0..8 {
        table.record(&site(network), &measure(network, 100 - u64::from(network)));
    }
    assert_eq!((table.used(), table.lost()), (8, 0));
    table.record(&site(8), &measure(8, 1));
    assert_eq!(table.lost(), 93);
    table.record(&site(9), &measure(9, 50));
    assert_eq!(table.lost(), 94);
    let left = sum(&[&table]);
    let mut networks: Vec<u32> = left.keys().copied().collect();
    networks.sort_unstable();
    assert_eq!(networks, [0, 1, 2, 3, 4, 5, 6, 9]);
    table.clear_lost();
    assert_eq!(table.lost(), 0);
}

#[test]
fn what_falls_out_of_a_small_table_goes_to_the_large_one() {
    let mut rng = Rng::new();
    let (small, large) = (memory(16), memory(LARGE));
    let (small, large) = (Table::new(&small).unwrap(), Table::new(&large).unwrap());
    let mut want: HashMap<u32, u64> = HashMap::new();
    for _ in 0..if cfg!(miri) { 300 } else { 20_000 } {
        let (network, calls) = (rng.below(60) as u32, 1 + rng.below(3));
        small.record_local(&site(network), &measure(network, calls), &large);
        *want.entry(network).or_default() += calls;
    }
    assert_eq!(small.used(), 16);
    assert!(large.used() > 30);
    assert_eq!((small.lost(), large.lost()), (0, 0));
    assert_eq!(sum(&[&small, &large]), want);
}

/// Lets threads write, each of which gets its number, while another one looks at the tables.
fn write_while_reading(tables: &[Table<'_>], write: impl Fn(u64) + Sync) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for table in tables {
                    // Perhaps in the middle of a call, but never what belongs to others.
                    let check = |site: &Site, counts: &Counts| {
                        let cycles = cycles_of(site.key().network);
                        assert!([0, cycles].contains(&counts.max));
                        assert_eq!(counts.cycles % cycles, 0);
                    };
                    table.each(|_| true, check);
                }
            }
        });
        let write = &write;
        let writers: Vec<_> = (0..THREADS)
            .map(|i| scope.spawn(move || write(i)))
            .collect();
        let failed = writers
            .into_iter()
            .filter_map(|writer| writer.join().err())
            .count();
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().is_ok() && failed == 0);
    });
}

#[test]
fn many_threads_in_one_table_lose_no_call_that_is_not_counted() {
    // Sets that are full all the time, sets that are full now and then, and room for all.
    for (buckets, networks) in [(8, 100), (32, 60), (LARGE, 60)] {
        let memory = memory(buckets);
        let table = Table::new(&memory).unwrap();
        write_while_reading(&[table], |_| {
            let mut rng = Rng::new();
            for _ in 0..CALLS {
                let network = rng.below(networks) as u32;
                table.record(&site(network), &measure(network, 1));
            }
        });
        let kept: u64 = sum(&[&table]).values().sum();
        assert_eq!(kept + table.lost(), THREADS * CALLS);
        assert_eq!(table.lost() == 0, buckets == LARGE);
    }
}

#[test]
fn threads_with_tables_of_their_own_lose_nothing_while_others_read() {
    let memory: Vec<_> = (0..THREADS)
        .map(|_| memory(16))
        .chain([memory(LARGE)])
        .collect();
    let tables: Vec<_> = memory
        .iter()
        .map(|words| Table::new(words).unwrap())
        .collect();
    let (large, small) = tables.split_last().unwrap();
    write_while_reading(&tables, |i| {
        let mut rng = Rng::new();
        for _ in 0..CALLS {
            let network = rng.below(30) as u32;
            small[i as usize].record_local(&site(network), &measure(network, 1), large);
        }
    });
    let all: Vec<_> = tables.iter().collect();
    let kept: u64 = sum(&all).values().sum();
    assert_eq!((kept, large.lost()), (THREADS * CALLS, 0));
}

/// Entries of two networks: a thing that both do, and things that one does.
fn entries() -> Vec<Entry> {
    let memory = memory(64);
    let table = Table::new(&memory).unwrap();
    let record = |network, op, dtype, dims: &[u32], (macs, elements), calls, cycles| {
        let dims = Dims::new(dims);
        let key = Key {
            network,
            op,
            dtype,
            dims,
        };
        let events = (network == 2).then_some(&[1, 2, 3000]);
        table.record(
            &Site::new(key, macs, elements),
            &Measure {
                calls,
                cycles,
                events,
            },
        );
    };
    record(
        1,
        Op::LstmGates,
        DType::F32,
        &[128, 192],
        (98_304, 128),
        10_000,
        1000,
    );
    record(1, Op::Gemv, DType::I8, &[128, 64], (8192, 128), 3, 100);
    record(2, Op::Gemv, DType::I8, &[128, 64], (8192, 128), 1, 500);
    record(2, Op::Gemv, DType::F32, &[128, 64], (8192, 128), 1, 0);
    record(
        2,
        Op::Chain,
        DType::I8,
        &[64, 1, 128, 9, 10],
        (10_000, 148),
        1,
        4_000,
    );
    let mut entries = vec![];
    table.each(
        |_| true,
        |site, counts| {
            entries.push(Entry {
                site: *site,
                counts: *counts,
            });
        },
    );
    entries
}

fn status(entry: &Entry) -> Status {
    match entry.site.key().op {
        Op::LstmGates => Status::Compiled,
        Op::Chain => Status::Candidate,
        _ => Status::Plain,
    }
}

#[test]
fn a_report_adds_up_what_is_the_same_and_puts_the_longest_first() {
    let mut entries = entries();
    let report = Report::new(&mut entries, false, 5);
    assert_eq!((report.entries().len(), report.cycles()), (4, 10_004_800));
    let mut text = String::new();
    report.write_text(&status, &mut text).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0][..7],
        [
            "Operation",
            "Dims",
            "Calls",
            "Total",
            "Cycles",
            "Avg",
            "Cycles"
        ]
    );
    assert_eq!(rows[0][7..11], ["Status", "Share", "Min", "Max"]);
    let want = [
        "LSTM_GATES_F32 128x192 10000 10000000 1000 JIT 99.95 1000 1000 98.304 7.812 - - -",
        "CHAIN_I8 64x1x128x..x10 1 4000 4000 CAND 0.03 4000 4000 2.500 27.027 1.00 2.00 3000.00",
        "GEMV_I8 128x64 4 800 200 - 0.00 100 500 40.960 1.562 1.00 2.00 3000.00",
        "GEMV_F32 128x64 1 0 0 - 0.00 0 0 0.000 0.000 1.00 2.00 3000.00",
        "lost: 5",
    ];
    for (row, want) in rows[1..].iter().zip(want) {
        assert_eq!(row.join(" "), want);
    }
    assert_eq!(rows.len(), 1 + want.len());
    // The columns stand below each other.
    let ends: Vec<usize> = text.lines().take(5).map(str::len).collect();
    assert!(ends.iter().all(|&end| end == ends[0]), "{ends:?}");
}

#[test]
fn a_report_by_network_names_them() {
    let mut entries = entries();
    let report = Report::new(&mut entries, true, 0);
    assert_eq!(report.entries().len(), 5);
    let names = |network: u32, out: &mut dyn std::fmt::Write| write!(out, "net{network}");
    let mut text = String::new();
    report.write_folded(&names, &mut text).unwrap();
    let want = "net1;LSTM_GATES_F32 128x192 10000000\n\
                net2;CHAIN_I8 64x1x128x..x10 4000\n\
                net2;GEMV_I8 128x64 500\n\
                net1;GEMV_I8 128x64 300\n\
                net2;GEMV_F32 128x64 0\n";
    assert_eq!(text, want);

    let mut text = String::new();
    report.write_json(Some(&names), &status, &mut text).unwrap();
    let objects: Vec<&str> = text.split("{\"network\":").collect();
    assert_eq!(
        objects[0],
        "{\"cycles\":10004800,\"lost\":0,\"operations\":["
    );
    let histogram = |log: usize, calls: &str| {
        let mut counts = ["0"; 32];
        counts[log] = calls;
        counts.join(",")
    };
    let lstm = format!(
        "\"net1\",\"operation\":\"LSTM_GATES_F32\",\"dims\":[128,192],\"calls\":10000,\
         \"cycles\":10000000,\"average\":1000,\"min\":1000,\"max\":1000,\"status\":\"JIT\",\
         \"share_percent\":99.95,\"macs_per_cycle\":98.304,\"cycles_per_element\":7.812,\
         \"cache_misses\":null,\"tlb_misses\":null,\"instructions\":null,\"histogram\":[{}]}},",
        histogram(9, "10000")
    );
    assert_eq!(objects[1], lstm);
    assert!(
        objects[5].contains("\"cache_misses\":1.00,\"tlb_misses\":2.00,\"instructions\":3000.00")
    );
    assert!(objects[5].ends_with(&format!("[{}]}}]}}", histogram(0, "1"))));
    let mut plain = String::new();
    report.write_json(None, &status, &mut plain).unwrap();
    assert!(plain.contains("[{\"operation\":\"LSTM_GATES_F32\""));
    let mut none = String::new();
    Report::new(&mut [], true, 0)
        .write_json(None, &status, &mut none)
        .unwrap();
    assert_eq!(none, "{\"cycles\":0,\"lost\":0,\"operations\":[]}");
}

#[test]
fn shares_do_not_overflow() {
    let table = memory(8);
    let table = Table::new(&table).unwrap();
    let cycles = u64::MAX / 3;
    for network in 0..2 {
        let events = None;
        table.record(
            &site(network),
            &Measure {
                calls: 1,
                cycles,
                events,
            },
        );
    }
    let mut entries = vec![];
    table.each(
        |_| true,
        |&site, &counts| entries.push(Entry { site, counts }),
    );
    let report = Report::new(&mut entries, true, 0);
    for entry in report.entries() {
        assert_eq!(entry.share_e4(report.cycles()), 5000);
    }
}

#[test]
fn all_operations_have_names_of_their_own() {
    for (i, op) in Op::ALL.iter().enumerate() {
        assert!(Op::ALL[..i].iter().all(|other| other.name() != op.name()));
    }
}

/// A clock that only goes on when told to, and counts how often it is looked at.
#[derive(Default)]
struct Hand {
    time: Cell<u64>,
    looks: Cell<u32>,
}

impl Clock for &Hand {
    fn ticks(&self) -> u64 {
        self.looks.set(self.looks.get() + 1);
        self.time.get()
    }
}

#[test]
fn a_step_takes_from_the_end_of_the_one_before_to_its_own() {
    let hand = Hand::default();
    let timer = Timer::new(&hand);
    let after = |ticks: u64| hand.time.set(hand.time.get() + ticks);
    after(1000);
    timer.restart();
    timer.begin(false);
    after(100);
    // Opened at 1090, as is known.
    timer.ready(Some(1090));
    after(50);
    timer.ready(None);
    assert_eq!(timer.end(7), 60);
    // Counting it, then the next one.
    after(7);
    timer.begin(false);
    after(30);
    timer.aside(|| after(500));
    after(3);
    assert_eq!(timer.end(7), 33);
    assert_eq!((timer.now(), hand.looks.get()), (1690, 4));
    // Less than what counting usually takes.
    after(5);
    timer.begin(true);
    assert_eq!(timer.end(7), 0);
    timer.begin(false);
    after(10);
    assert_eq!((timer.now(), hand.looks.get()), (1705, 6));
}

#[test]
fn the_first_step_of_a_run_begins_when_it_can() {
    let hand = Hand::default();
    let timer = Timer::new(&hand);
    hand.time.set(500);
    timer.restart();
    timer.begin(true);
    hand.time.set(540);
    assert_eq!(timer.end(0), 40);
    timer.restart();
    timer.begin(false);
    timer.aside(|| hand.time.set(600));
    timer.ready(None);
    hand.time.set(650);
    assert_eq!(timer.end(0), 50);
    // One that has begun before a section opens, which is told only once.
    timer.restart();
    timer.begin(true);
    hand.time.set(660);
    timer.ready(Some(655));
    timer.ready(Some(670));
    hand.time.set(690);
    assert_eq!(timer.end(0), 35);
    timer.begin(false);
    timer.ready(Some(695));
    hand.time.set(700);
    assert_eq!(timer.end(0), 10);
    // One that does nothing at all.
    timer.restart();
    timer.begin(false);
    hand.time.set(750);
    assert_eq!(timer.end(0), 0);
}
