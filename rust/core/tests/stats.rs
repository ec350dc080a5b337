// SPDX-License-Identifier: GPL-2.0

//! Statistics: nothing is lost, percentiles are right, and both formats say the same.

mod common;

use common::Rng;
use neural_core::stats::{bucket_of, Counters, Snapshot, BUCKETS, ERROR_KINDS, ERROR_NAMES};

fn snapshot(counters: &Counters) -> Snapshot {
    let mut sum = Snapshot::ZERO;
    sum.add(counters);
    sum
}

#[test]
fn buckets_are_powers_of_two() {
    assert_eq!([0, 1, 2, 3, 4].map(bucket_of), [0, 0, 1, 1, 2]);
    for log in 1..BUCKETS {
        assert_eq!(
            [bucket_of((1 << log) - 1), bucket_of(1 << log)],
            [log - 1, log]
        );
    }
    assert_eq!(
        [
            bucket_of((1 << 40) - 1),
            bucket_of(1 << 40),
            bucket_of(u64::MAX)
        ],
        [39; 3]
    );
}

#[test]
fn layout_is_a_multiple_of_cache_lines() {
    assert_eq!(
        (align_of::<Counters>(), size_of::<Counters>() % 64),
        (64, 0)
    );
}

#[test]
fn everything_that_is_counted_shows() {
    let counters = Counters::NEW;
    assert_eq!(snapshot(&counters), Snapshot::ZERO);
    counters.record_predict(1000);
    counters.record_predict(3000);
    counters.record_hit(100);
    counters.record_miss();
    counters.record_expired();
    counters.record_simd(7);
    counters.record_batch();
    (0..ERROR_KINDS).for_each(|kind| (0..=kind).for_each(|_| counters.record_error(kind)));
    counters.record_error(ERROR_KINDS);
    counters.record_error(usize::MAX);
    let mut histogram = [0; BUCKETS];
    (histogram[6], histogram[9], histogram[11]) = (1, 1, 1);
    let want = Snapshot {
        predictions: 3,
        batches: 1,
        cache_hits: 1,
        cache_misses: 2,
        cache_expired: 1,
        simd_ops: 7,
        total_ns: 4100,
        errors: [1, 2, 3, 4, 5, 6],
        histogram,
        ..Snapshot::ZERO
    };
    assert_eq!(snapshot(&counters), want);
    assert_eq!((want.average_ns(), want.hit_rate_e4()), (1366, 3333));

    // Into what counts already, and holds memory.
    let mut sum = Snapshot {
        memory_bytes: 5,
        memory_peak_bytes: 6,
        ..want
    };
    sum.add(&counters);
    let mut taken = Snapshot {
        memory_bytes: 5,
        memory_peak_bytes: 6,
        ..want
    };
    taken.take(&counters);
    assert_eq!(taken, sum);
    assert_eq!(sum.predictions, 2 * want.predictions);
    assert_eq!((sum.memory_bytes, sum.memory_peak_bytes), (5, 6));
    assert_eq!(snapshot(&counters), Snapshot::ZERO);
    sum.count_error(5);
    sum.count_error(6);
    assert_eq!(sum.errors, [2, 4, 6, 8, 10, 13]);
}

#[test]
fn nothing_divides_by_zero_or_overflows() {
    let zero = Snapshot::ZERO;
    assert_eq!(
        (
            zero.average_ns(),
            zero.hit_rate_e4(),
            zero.percentile_ns(5000)
        ),
        (0, 0, 0)
    );
    let full = Snapshot {
        predictions: u64::MAX,
        cache_hits: u64::MAX,
        cache_misses: u64::MAX,
        total_ns: u64::MAX,
        histogram: [u64::MAX; BUCKETS],
        ..zero
    };
    assert_eq!(full.average_ns(), 1);
    let counters = Counters::NEW;
    counters.record_hit(u64::MAX);
    let mut sum = full;
    sum.add(&counters);
    for e4 in [0, 1, 5000, 9990, 10_000, 10_001, u32::MAX] {
        full.percentile_ns(e4);
    }
    let mut text = String::new();
    full.write_text(&mut text).unwrap();
    full.write_json("full", 1, &mut text).unwrap();
    // Hits alone are all of the look-ups.
    assert_eq!(
        Snapshot {
            cache_hits: u64::MAX,
            ..zero
        }
        .hit_rate_e4(),
        10_000
    );
    assert_eq!(
        Snapshot {
            cache_hits: 1,
            cache_misses: 2,
            ..zero
        }
        .hit_rate_e4(),
        3333
    );
    let half = Snapshot {
        cache_hits: 1 << 62,
        cache_misses: 1 << 62,
        ..zero
    };
    assert_eq!(half.hit_rate_e4(), 5000);
}

#[test]
fn percentiles_lie_in_the_bucket_of_their_rank() {
    let mut rng = Rng::new();
    for _ in 0..500 {
        let counters = Counters::NEW;
        let top = 1 + rng.below(38);
        let mut times: Vec<u64> = (0..1 + rng.below(2000))
            .map(|_| rng.u64() >> (63 - rng.below(top)))
            .collect();
        times.iter().for_each(|&ns| counters.record_predict(ns));
        times.sort_unstable();
        let sum = snapshot(&counters);
        assert_eq!(sum.total_ns, times.iter().sum::<u64>());
        let mut last = 0;
        for e4 in [0, 1, 100, 2500, 5000, 9000, 9900, 9990, 9999, 10_000] {
            let rank = (times.len() * e4 as usize).div_ceil(10_000).max(1);
            let exact = times[rank - 1];
            let got = sum.percentile_ns(e4);
            let low = if exact < 2 { 0 } else { 1 << bucket_of(exact) };
            assert!(
                low <= got && got <= 2 << bucket_of(exact),
                "{e4}: {got} for {exact}"
            );
            assert!(got >= last);
            last = got;
        }
    }
}

#[test]
fn percentiles_are_interpolated() {
    let mut sum = Snapshot::ZERO;
    sum.histogram[10] = 4;
    // Four in [1024, 2048), spread evenly: the ends of their quarters.
    assert_eq!(
        [2500, 5000, 7500, 10_000].map(|e4| sum.percentile_ns(e4)),
        [1280, 1536, 1792, 2048]
    );
    sum.histogram[0] = 4;
    assert_eq!(
        [2500, 5000, 7500].map(|e4| sum.percentile_ns(e4)),
        [1, 2, 1536]
    );
    // With counts that need all of 64 bits.
    sum.histogram = [0; BUCKETS];
    (sum.histogram[3], sum.histogram[39]) = (1 << 62, 1 << 62);
    assert_eq!(
        [2500, 5000, 7500].map(|e4| sum.percentile_ns(e4)),
        [12, 16, 3 << 38]
    );
}

#[test]
fn threads_lose_no_count() {
    const EACH: u64 = if cfg!(miri) { 100 } else { 8_000_000 };
    let start = std::sync::Barrier::new(4);
    let counters = Counters::NEW;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                for i in 0..EACH {
                    match i % 4 {
                        0 => counters.record_hit(i),
                        1 => counters.record_miss(),
                        2 => counters.record_error(i as usize % ERROR_KINDS),
                        _ => counters.record_predict(i),
                    }
                }
            });
        }
    });
    let sum = snapshot(&counters);
    assert_eq!(
        (sum.predictions, sum.cache_hits, sum.cache_misses),
        (2 * EACH, EACH, EACH)
    );
    assert_eq!(sum.errors.iter().sum::<u64>(), EACH);
    let times: u64 = (0..EACH).filter(|i| i % 4 == 0 || i % 4 == 3).sum();
    assert_eq!(sum.total_ns, 4 * times);
}

#[test]
fn text_has_a_line_for_each_value() {
    let counters = Counters::NEW;
    counters.record_hit(0);
    counters.record_predict(1500);
    counters.record_predict(u64::MAX >> 1);
    counters.record_miss();
    counters.record_error(3);
    let mut sum = snapshot(&counters);
    (sum.memory_bytes, sum.memory_peak_bytes) = (4096, 8192);
    let mut text = String::new();
    sum.write_text(&mut text).unwrap();
    let want = "\
predictions: 3
batches: 0
cache_hits: 1
cache_misses: 1
cache_expired: 0
simd_ops: 0
total_ns: 9223372036854777307
average_ns: 3074457345618259102
p50_ns: 2048
p99_ns: 1099511627776
p999_ns: 1099511627776
memory_bytes: 4096
memory_peak_bytes: 8192
cache_hit_rate_percent: 50.00
errors_input: 0
errors_context: 0
errors_memory: 0
errors_model: 1
errors_interrupted: 0
errors_config: 0
histogram_ns 0-1: 1
histogram_ns 1024-2047: 1
histogram_ns 549755813888-: 1
";
    assert_eq!(text, want);
}

#[test]
fn json_has_the_same_values() {
    let mut rng = Rng::new();
    let counters = Counters::NEW;
    (0..100).for_each(|_| counters.record_predict(rng.below(1 << 30)));
    counters.record_error(0);
    let sum = snapshot(&counters);
    let (mut text, mut json) = (String::new(), String::new());
    sum.write_text(&mut text).unwrap();
    sum.write_json("a.b-c_1", 42, &mut json).unwrap();
    let mut more = String::new();
    sum.write_json_with("a.b-c_1", 42, &[("sections", 9)], &mut more)
        .unwrap();
    let with = json.replace(",\"cache_hit_rate", ",\"sections\":9,\"cache_hit_rate");
    assert_eq!(more, with);
    assert!(more.contains(":9,"));
    assert!(
        json.starts_with("{\"name\":\"a.b-c_1\",\"id\":42,\"predictions\":100,"),
        "{json}"
    );
    assert!(json.ends_with("]}") && !json.contains('\n'));
    for line in text
        .lines()
        .filter(|line| !line.starts_with("histogram_ns"))
    {
        let (key, value) = line.split_once(": ").unwrap();
        let key = key.strip_prefix("errors_").unwrap_or(key);
        assert!(
            json.contains(&format!("\"{key}\":{value}")),
            "{line} in {json}"
        );
    }
    let histogram = sum.histogram.map(|count| count.to_string()).join(",");
    assert!(json.contains(&format!("\"histogram\":[{histogram}]")));
    assert!(ERROR_NAMES.iter().all(|name| json.contains(name)));
    // Nothing in a name can leave its string.
    json.clear();
    sum.write_json("a\"},\n\\é", 0, &mut json).unwrap();
    assert!(
        json.starts_with("{\"name\":\"a??????\",\"id\":0,"),
        "{json}"
    );
}
