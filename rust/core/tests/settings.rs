// SPDX-License-Identifier: GPL-2.0

//! Settings, names, errors and initial weights.

mod common;

use common::{numbers, Rng};
use neural_core::cache::Eviction;
use neural_core::config::{
    parse_line, NumaPolicy, Profiling, Setting, Settings, Workload, PRESETS,
};
use neural_core::error::{ConfigFault, Fault, NameFault, Place, Text, MAX_LINE};
use neural_core::init::{xavier, xavier_bound, SplitMix64};
use neural_core::{name, Class, Error};

fn line(text: &str) -> Result<Setting<'_>, Error> {
    parse_line(text.as_bytes())
}

/// The line that the user sees.
fn refused(text: &str) -> (String, Class) {
    let error = line(text).expect_err(text);
    (error.to_string(), error.class())
}

#[test]
fn every_key_takes_its_whole_range() {
    type Make = fn(u32) -> Setting<'static>;
    let numbers: [(&str, u32, Make); 4] = [
        ("cache_timeout", 3_600_000, Setting::CacheTimeoutMs),
        ("cache_size", 65536, Setting::CacheSize),
        ("numa_node", 1023, Setting::NumaNode),
        ("batch_spread", 1 << 20, Setting::BatchSpread),
    ];
    for (key, max, setting) in numbers {
        for value in [0, 1, max - 1, max] {
            assert_eq!(line(&format!("{key} {value}")), Ok(setting(value)));
        }
        for value in [u64::from(max) + 1, 1 << 32, u64::MAX, 8_589_934_600] {
            let (text, class) = refused(&format!("{key} {value}"));
            assert_eq!(
                text,
                format!("config: {key}: {value} is out of range 0..={max}")
            );
            assert_eq!(class, Class::Range);
        }
        for value in ["", "-1", "+1", "1.0", "0x10", "1e3", "ten", "1_000"] {
            let (text, class) = refused(&format!("{key} {value}"));
            let want = match value {
                "" => format!("config: {key}: value is missing, allowed is a number"),
                _ => format!("config: {key}: \"{value}\" is not a number in 0..={max}"),
            };
            assert_eq!((text, class), (want, Class::Invalid));
        }
    }
    // A number may have as many zeros and digits as it likes.
    assert_eq!(
        line("cache_size 0000000000000007"),
        Ok(Setting::CacheSize(7))
    );
    let (text, _) = refused(&format!("cache_size {}", "9".repeat(4000)));
    assert_eq!(
        text,
        format!(
            "config: cache_size: {}... is out of range 0..=65536",
            "9".repeat(24)
        )
    );
}

#[test]
fn every_word_is_taken_and_no_other() {
    let words: [(&str, Setting<'_>); 29] = [
        ("cache_eviction lru", Setting::CacheEviction(Eviction::Lru)),
        (
            "cache_eviction fifo",
            Setting::CacheEviction(Eviction::Fifo),
        ),
        (
            "cache_eviction random",
            Setting::CacheEviction(Eviction::Random),
        ),
        ("simd 0", Setting::Simd(false)),
        ("simd 1", Setting::Simd(true)),
        ("jit 0", Setting::Jit(false)),
        ("jit 1", Setting::Jit(true)),
        ("numa_policy local", Setting::NumaPolicy(NumaPolicy::Local)),
        (
            "numa_policy interleave",
            Setting::NumaPolicy(NumaPolicy::Interleave),
        ),
        ("numa_policy node", Setting::NumaPolicy(NumaPolicy::Node)),
        ("numa_policy 0", Setting::NumaPolicy(NumaPolicy::Local)),
        ("numa_policy 1", Setting::NumaPolicy(NumaPolicy::Interleave)),
        ("numa_policy 2", Setting::NumaPolicy(NumaPolicy::Node)),
        ("profiling 0", Setting::Profiling(Profiling::Off)),
        ("profiling 1", Setting::Profiling(Profiling::Sampled)),
        ("profiling 2", Setting::Profiling(Profiling::Exact)),
        ("profiling off", Setting::Profiling(Profiling::Off)),
        ("profiling sampled", Setting::Profiling(Profiling::Sampled)),
        ("profiling exact", Setting::Profiling(Profiling::Exact)),
        ("workload realtime", Setting::Workload(Workload::Realtime)),
        (
            "workload throughput",
            Setting::Workload(Workload::Throughput),
        ),
        ("workload latency", Setting::Workload(Workload::Latency)),
        ("workload custom", Setting::Workload(Workload::Custom)),
        ("allowed_cpus all", Setting::AllowedCpus("all")),
        ("allowed_cpus 0", Setting::AllowedCpus("0")),
        ("allowed_cpus 0-3,8", Setting::AllowedCpus("0-3,8")),
        ("reset stats", Setting::Reset),
        ("  simd\t1  \n", Setting::Simd(true)),
        ("simd 1\r\n", Setting::Simd(true)),
    ];
    for (text, setting) in words {
        assert_eq!(line(text), Ok(setting), "{text:?}");
    }
    let wrong = [
        ("simd 2", "config: simd: \"2\" is not one of 0, 1"),
        (
            "profiling 3",
            "config: profiling: \"3\" is not one of 0, 1, 2",
        ),
        ("jit 2", "config: jit: \"2\" is not one of 0, 1"),
        ("simd on", "config: simd: \"on\" is not one of 0, 1"),
        ("simd", "config: simd: value is missing, allowed is 0, 1"),
        (
            "simd 1 2",
            "config: simd: \"2\" after the value is too much",
        ),
        (
            "simd 1\nsimd 0",
            "config: simd: \"0\" after the value is too much",
        ),
        (
            "cache_eviction LRU",
            "config: cache_eviction: \"LRU\" is not one of lru, fifo, random",
        ),
        (
            "numa_policy 3",
            "config: numa_policy: \"3\" is not one of local, interleave, node",
        ),
        (
            "workload fast",
            "config: workload: \"fast\" is not one of realtime, throughput, latency, custom",
        ),
        ("reset", "config: reset: value is missing, allowed is stats"),
        ("reset all", "config: reset: \"all\" is not one of stats"),
        (
            "allowed_cpus",
            "config: allowed_cpus: value is missing, allowed is all, or a list as 0-3,8",
        ),
        (
            "allowed_cpus 0x3",
            "config: allowed_cpus: \"0x3\" is not one of all, or a list as 0-3,8",
        ),
        (
            "allowed_cpus \u{e9}",
            "config: allowed_cpus: \"??\" is not one of all, or a list as 0-3,8",
        ),
        ("", "config: empty line, expected \"key value\""),
        (" \t\n", "config: empty line, expected \"key value\""),
        ("Simd 1", "config: unknown key \"Simd\""),
        ("simd=1", "config: unknown key \"simd=1\""),
        ("\0 1", "config: unknown key \"?\""),
        (
            "cache_timeout_ms 1",
            "config: unknown key \"cache_timeout_ms\"",
        ),
    ];
    for (text, want) in wrong {
        assert_eq!(refused(text), (want.into(), Class::Invalid), "{text:?}");
    }
}

#[test]
fn what_is_written_gives_the_same_settings() {
    let mut text = String::new();
    Settings::default().write(&"0-3", &mut text).unwrap();
    let want = "\
workload custom
cache_timeout 500
cache_size 256
cache_eviction lru
simd 1
jit 1
numa_policy local
numa_node 0
allowed_cpus 0-3
batch_spread 64
profiling 0
";
    assert_eq!(text, want);

    let mut rng = Rng::new();
    for _ in 0..2000 {
        let mut settings = Settings::default();
        for _ in 0..rng.below(6) {
            let number = rng.below(1000) as u32;
            settings.apply(&match rng.below(10) {
                0 => Setting::CacheTimeoutMs(number),
                1 => Setting::CacheSize(number),
                2 => Setting::CacheEviction(rng.pick(&[
                    Eviction::Lru,
                    Eviction::Fifo,
                    Eviction::Random,
                ])),
                3 => Setting::Simd(number % 2 == 0),
                8 => Setting::Jit(number % 2 == 0),
                4 => Setting::NumaPolicy(rng.pick(&[
                    NumaPolicy::Local,
                    NumaPolicy::Interleave,
                    NumaPolicy::Node,
                ])),
                5 => Setting::NumaNode(number),
                6 => Setting::BatchSpread(number),
                7 => Setting::Profiling(rng.pick(&[
                    Profiling::Off,
                    Profiling::Sampled,
                    Profiling::Exact,
                ])),
                _ => Setting::Workload(PRESETS[number as usize % 3].0),
            });
        }
        let (mut text, mut copy) = (String::new(), Settings::default());
        settings.write(&"all", &mut text).unwrap();
        for written in text.lines() {
            let setting = line(written).unwrap();
            assert_eq!(copy.apply(&setting), setting != Setting::AllowedCpus("all"));
        }
        assert_eq!(copy, settings);
    }
}

#[test]
fn the_presets_are_those_of_the_guide() {
    let presets = [
        "\
workload realtime
cache_timeout 60000
cache_size 4096
cache_eviction lru
simd 1
jit 1
numa_policy local
numa_node 0
allowed_cpus all
batch_spread 0
profiling 0
",
        "\
workload throughput
cache_timeout 0
cache_size 0
cache_eviction fifo
simd 1
jit 1
numa_policy interleave
numa_node 0
allowed_cpus all
batch_spread 32
profiling 0
",
        "\
workload latency
cache_timeout 1000
cache_size 1024
cache_eviction lru
simd 1
jit 1
numa_policy local
numa_node 0
allowed_cpus all
batch_spread 256
profiling 0
",
    ];
    for want in presets {
        let mut settings = Settings {
            simd: false,
            ..Settings::default()
        };
        let chosen = want.lines().next().unwrap();
        assert!(settings.apply(&line(chosen).unwrap()));
        let mut text = String::new();
        settings.write(&"all", &mut text).unwrap();
        assert_eq!(text, want);
    }
}

#[test]
fn a_preset_holds_until_a_value_differs() {
    for (workload, preset) in PRESETS {
        let mut settings = Settings {
            numa_node: 3,
            ..Settings::default()
        };
        assert!(settings.apply(&Setting::Workload(workload)));
        assert_eq!((settings.workload, settings.numa_node), (workload, 3));
        assert_eq!(settings.cache_timeout_ms, preset.cache_timeout_ms);
        assert_eq!(settings.cache_size, preset.cache_size);
        assert_eq!(settings.cache_eviction, preset.cache_eviction);
        assert_eq!(
            (settings.simd, settings.numa_policy),
            (preset.simd, preset.numa_policy)
        );
        assert_eq!(settings.batch_spread, preset.batch_spread);
        // The same value, one that the preset does not set, and "custom" change nothing.
        settings.apply(&Setting::CacheSize(preset.cache_size));
        settings.apply(&Setting::NumaNode(9));
        settings.apply(&Setting::Profiling(Profiling::Exact));
        settings.apply(&Setting::Workload(Workload::Custom));
        assert_eq!(settings.workload, workload);
        settings.apply(&Setting::CacheSize(preset.cache_size + 1));
        assert_eq!(settings.workload, Workload::Custom);
        settings.apply(&Setting::Workload(workload));
        assert_eq!(settings.workload, workload);
    }
    let mut settings = Settings::default();
    assert!(!settings.apply(&Setting::Reset) && !settings.apply(&Setting::AllowedCpus("0")));
    assert_eq!(settings, Settings::DEFAULT);
}

#[test]
fn no_error_has_a_longer_line_than_allowed() {
    const LONG: u64 = u64::MAX;
    let text = Text::new(&[b'x'; 100]);
    let places = [
        Place::File,
        Place::TensorTable,
        Place::Tensor(u32::MAX),
        Place::Op(u32::MAX),
    ];
    let faults = [
        Fault::Truncated {
            have: LONG,
            want: LONG,
        },
        Fault::Trailing {
            have: LONG,
            want: LONG,
        },
        Fault::Magic,
        Fault::Version {
            major: u16::MAX,
            minor: u16::MAX,
        },
        Fault::Checksum {
            have: u32::MAX,
            want: u32::MAX,
        },
        Fault::Field {
            field: "input 1 (weights)",
            have: LONG,
            min: LONG - 1,
            max: LONG,
        },
        Fault::Field {
            field: "input 1 (weights)",
            have: LONG,
            min: LONG,
            max: LONG,
        },
        Fault::Signed {
            field: "params[2] (zero point of a constant b)",
            have: i32::MIN,
            min: i32::MIN,
            max: i32::MIN,
        },
        Fault::Scale { bits: u32::MAX },
        Fault::Type {
            operand: "input 1 (weights)",
            have: "q16",
            want: "f32",
        },
        Fault::OpType {
            op: "depthwise_conv_2d",
            have: "q16",
        },
        Fault::Reserved { offset: u32::MAX },
        Fault::Limit {
            field: "multiply-accumulates",
            have: LONG,
            max: LONG,
        },
        Fault::Unsupported {
            field: "tensor kind",
            have: LONG,
        },
        Fault::Unaligned {
            field: "data_offset",
            have: LONG,
        },
        Fault::OutOfFile {
            offset: LONG,
            bytes: LONG,
            file: LONG,
        },
        Fault::Overlap {
            other: Place::TensorTable,
        },
        Fault::Order { other: u32::MAX },
        Fault::DataBytes {
            have: LONG,
            want: LONG,
        },
        Fault::Kind {
            operand: "input 1 (weights)",
            tensor: u32::MAX,
            want: "written by any op",
        },
        Fault::Shape {
            operand: "input 1 (weights)",
            dim: 3,
            have: u32::MAX,
            want: u32::MAX,
        },
        Fault::Rank {
            operand: "input 1 (weights)",
            have: u32::MAX,
            want: u32::MAX,
        },
        Fault::Cycle {
            tensor: u32::MAX,
            writer: u32::MAX,
        },
        Fault::WrittenTwice {
            tensor: u32::MAX,
            writer: u32::MAX,
        },
        Fault::WritesInput { tensor: u32::MAX },
        Fault::NeverWritten,
        Fault::RowTooLarge { row: u32::MAX },
        Fault::Mismatch,
    ];
    let (key, value) = ("cache_eviction", text);
    let (min, max) = (u32::MAX - 1, u32::MAX);
    let allowed = "realtime, throughput, latency, custom";
    let config = [
        ConfigFault::Empty,
        ConfigFault::UnknownKey { key: text },
        ConfigFault::NoValue { key, allowed },
        ConfigFault::Extra { key, text },
        ConfigFault::Word {
            key,
            value,
            allowed,
        },
        ConfigFault::NotANumber {
            key,
            value,
            min,
            max,
        },
        ConfigFault::OutOfRange {
            key,
            value,
            min,
            max,
        },
    ];
    let names = [
        NameFault::Empty,
        NameFault::TooLong,
        NameFault::Byte { at: 0, byte: 255 },
    ];
    let models = places
        .iter()
        .flat_map(|&place| faults.map(|fault| Error::Model { place, fault }));
    let others = [
        Error::Buffer {
            buffer: "scratch bytes",
            have: LONG,
            want: LONG,
        },
        Error::Argument {
            name: "cache value bytes",
            have: LONG,
            min: LONG,
            max: LONG,
        },
        Error::Interrupted,
    ];
    let all = models
        .chain(config.map(Error::Config))
        .chain(names.map(Error::Name))
        .chain(others);
    let mut longest = 0;
    for error in all {
        let line = error.to_string();
        assert!(line.len() <= MAX_LINE, "{} bytes: {line}", line.len());
        assert!(line.contains(": ") && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        longest = longest.max(line.len());
    }
    println!("the longest line has {longest} bytes");
    // Errors are copied on the kernel's stack.
    assert!(size_of::<Error>() <= 80, "{}", size_of::<Error>());
}

#[test]
fn user_text_in_errors_is_short_and_printable() {
    assert_eq!(Text::new(b"").to_string(), "");
    assert_eq!(Text::new(&[b'a'; 24]).to_string(), "a".repeat(24));
    assert_eq!(Text::new(&[b'a'; 25]).to_string(), "a".repeat(24) + "...");
    assert_eq!(Text::new(b"a b\x1b[31m\xff~").to_string(), "a?b?[31m?~");
}

#[test]
fn names_are_checked_at_both_ends() {
    assert_eq!(name::check(&[b'n'; 31]), Ok("n".repeat(31).as_str()));
    assert_eq!(
        name::check(&[b'n'; 32]),
        Err(Error::Name(NameFault::TooLong))
    );
    assert_eq!(name::check(b""), Err(Error::Name(NameFault::Empty)));
    for byte in 0..=255u8 {
        let inside = byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let first = inside && byte != b'.' && byte != b'-';
        assert_eq!(name::check(&[b'a', byte]).is_ok(), inside);
        assert_eq!(name::check(&[byte, b'a']).is_ok(), first);
    }
    let mut field = [0; 32];
    assert_eq!(name::from_field(&field), Err(Error::Name(NameFault::Empty)));
    field[..3].copy_from_slice(b"a-1");
    assert_eq!(name::from_field(&field), Ok("a-1"));
    field[31] = 1;
    assert_eq!(
        name::from_field(&field),
        Err(Error::Name(NameFault::Byte { at: 31, byte: 1 }))
    );
}

#[test]
fn splitmix_gives_the_published_sequence() {
    // The first numbers of seed 1234567, as in the reference of the authors.
    let mut random = SplitMix64::new(1234567);
    let want = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ];
    assert_eq!([(); 5].map(|()| random.next_u64()), want);
    assert_eq!([0, 1].map(|bound| random.below(bound)), [0, 0]);
    assert!((0..1000).all(|_| random.below(3) < 3));
}

#[test]
fn xavier_has_the_bound_and_the_variance_of_the_rule() {
    for (inputs, outputs) in [(1, 1), (1, 4096), (4096, 4096), (64, 128), (31, 256)] {
        let exact = (6.0 / f64::from(inputs + outputs)).sqrt() * 65536.0;
        let bound = xavier_bound(inputs, outputs).unwrap();
        assert_eq!(bound, exact.floor() as i32);
        let mut bytes = vec![0; 4 * 100_000];
        xavier(inputs, outputs, 42, &mut bytes).unwrap();
        let weights = numbers(&bytes);
        assert!(weights.iter().all(|w| w.abs() <= bound));
        let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / 1e5;
        let variance = weights.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / 1e5;
        // The mean of 10^5 uniform numbers has a deviation of 0.18 % of the bound.
        assert!(mean.abs() < 0.01 * exact, "{mean}");
        assert!(
            (variance / (exact * exact / 3.0) - 1.0).abs() < 0.02,
            "{variance}"
        );
        let mut again = vec![1; bytes.len()];
        xavier(inputs, outputs, 42, &mut again).unwrap();
        assert_eq!(again, bytes);
        xavier(inputs, outputs, 43, &mut again).unwrap();
        assert_ne!(again, bytes);
    }
    // Both ends of a small range come up.
    let mut bytes = vec![0; 4 * 1_000_000];
    xavier(4096, 4096, 1, &mut bytes).unwrap();
    let bound = xavier_bound(4096, 4096).unwrap();
    let weights = numbers(&bytes);
    assert!([bound, -bound, 0].iter().all(|w| weights.contains(w)));
    for (inputs, outputs, name) in [
        (0, 1, "inputs"),
        (1, 0, "outputs"),
        (4097, 1, "inputs"),
        (1, u32::MAX, "outputs"),
    ] {
        let have = u64::from(if name == "inputs" { inputs } else { outputs });
        let error = Error::Argument {
            name,
            have,
            min: 1,
            max: 4096,
        };
        assert_eq!(xavier(inputs, outputs, 1, &mut bytes), Err(error));
    }
}
