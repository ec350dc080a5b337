// SPDX-License-Identifier: GPL-2.0

//! The settings of a network, as lines of text.
//!
//! A line is a key and a value with blanks between, as in `echo "cache_timeout 1000" > config`. Reading
//! the file gives lines that can be written back. The keys:
//!
//! ```text
//! workload        realtime | throughput | latency | custom   a preset, see PRESETS
//! cache_timeout   0..=3600000      ms that an answer stays valid; 0: no cache
//! cache_size      0..=65536        entries of the prediction cache; 0: no cache
//! cache_eviction  lru | fifo | random
//! simd            0 | 1            use vector code where the context allows it
//! jit             0 | 1            use generated code where it is faster
//! numa_policy     local | interleave | node   (or 0 | 1 | 2)
//! numa_node       0..=1023         for numa_policy node
//! allowed_cpus    all, or a list as 0-3,8      CPUs on which predictions are computed
//! batch_spread    0..=1048576      samples from which on a batch is spread over CPUs; 0: never
//! profiling       0 | 1 | 2        take no times, those of some predictions, those of all
//!                                  (or off | sampled | exact)
//! reset           stats            not a setting: sets the statistics to zero
//! ```

use core::fmt;

use crate::cache::{Eviction, MAX_ENTRIES};
use crate::error::{ConfigFault, Error, Text};

/// The longest time-out, in ms: an hour.
pub const MAX_TIMEOUT_MS: u32 = 3_600_000;

/// The highest NUMA node.
pub const MAX_NODE: u32 = 1023;

/// The most samples of a batch, which is `NEURAL_BATCH_MAX`.
pub const MAX_BATCH: u32 = 1 << 20;

/// Where the memory of a network lies.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NumaPolicy {
    /// On the node of the CPU that loads it.
    Local,
    /// In turn on all nodes.
    Interleave,
    /// On the node that `numa_node` names.
    Node,
}

/// Which predictions have the times of their operations taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Profiling {
    /// None.
    Off,
    /// Some, which stand for the others.
    Sampled,
    /// All.
    Exact,
}

/// A preset, or none.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Short and even times: a large cache, nothing on other CPUs.
    Realtime,
    /// Many predictions per second: no cache, memory on all nodes, batches spread early.
    Throughput,
    /// A short time for each: a cache that stays small, large batches spread.
    Latency,
    /// Set one by one.
    Custom,
}

/// One line of settings.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// `cache_timeout`, ms.
    CacheTimeoutMs(u32),
    /// `cache_size`, entries.
    CacheSize(u32),
    /// `cache_eviction`.
    CacheEviction(Eviction),
    /// `simd`.
    Simd(bool),
    /// `jit`.
    Jit(bool),
    /// `numa_policy`.
    NumaPolicy(NumaPolicy),
    /// `numa_node`.
    NumaNode(u32),
    /// `allowed_cpus`: `all` or a list of CPUs, made of digits, `,` and `-`, not checked further.
    AllowedCpus(&'a str),
    /// `batch_spread`, samples.
    BatchSpread(u32),
    /// `profiling`.
    Profiling(Profiling),
    /// `workload`.
    Workload(Workload),
    /// `reset stats`.
    Reset,
}

/// What a preset sets.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    /// ms that an answer stays valid.
    pub cache_timeout_ms: u32,
    /// Entries of the cache.
    pub cache_size: u32,
    /// Which entry goes.
    pub cache_eviction: Eviction,
    /// Use of vector code.
    pub simd: bool,
    /// Where memory lies.
    pub numa_policy: NumaPolicy,
    /// Samples from which on a batch is spread.
    pub batch_spread: u32,
}

/// The presets. They leave `numa_node`, `allowed_cpus` and `profiling` alone.
pub const PRESETS: [(Workload, Preset); 3] = [
    (
        Workload::Realtime,
        Preset {
            cache_timeout_ms: 60_000,
            cache_size: 4096,
            cache_eviction: Eviction::Lru,
            simd: true,
            numa_policy: NumaPolicy::Local,
            batch_spread: 0,
        },
    ),
    (
        Workload::Throughput,
        Preset {
            cache_timeout_ms: 0,
            cache_size: 0,
            cache_eviction: Eviction::Fifo,
            simd: true,
            numa_policy: NumaPolicy::Interleave,
            batch_spread: 32,
        },
    ),
    (
        Workload::Latency,
        Preset {
            cache_timeout_ms: 1000,
            cache_size: 1024,
            cache_eviction: Eviction::Lru,
            simd: true,
            numa_policy: NumaPolicy::Local,
            batch_spread: 256,
        },
    ),
];

/// All settings of a network but its CPUs, which the kernel keeps.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// ms that an answer stays valid; 0: no cache.
    pub cache_timeout_ms: u32,
    /// Entries of the cache; 0: no cache.
    pub cache_size: u32,
    /// Which entry goes.
    pub cache_eviction: Eviction,
    /// Use of vector code.
    pub simd: bool,
    /// Use of generated code.
    pub jit: bool,
    /// Where memory lies.
    pub numa_policy: NumaPolicy,
    /// The node for [`NumaPolicy::Node`].
    pub numa_node: u32,
    /// Samples from which on a batch is spread; 0: never.
    pub batch_spread: u32,
    /// Which predictions have the times of their operations taken.
    pub profiling: Profiling,
    /// The preset that all of this is, or `Custom`.
    pub workload: Workload,
}

impl Settings {
    /// What a network starts with.
    pub const DEFAULT: Settings = Settings {
        cache_timeout_ms: 500,
        cache_size: 256,
        cache_eviction: Eviction::Lru,
        simd: true,
        jit: true,
        numa_policy: NumaPolicy::Local,
        numa_node: 0,
        batch_spread: 64,
        profiling: Profiling::Off,
        workload: Workload::Custom,
    };

    /// Applies a setting; tells whether it was one that stands here (the caller sees to
    /// `AllowedCpus` and `Reset`).
    ///
    /// A value that differs from the preset in force makes the workload `Custom`.
    pub fn apply(&mut self, setting: &Setting<'_>) -> bool {
        match *setting {
            Setting::CacheTimeoutMs(ms) => self.cache_timeout_ms = ms,
            Setting::CacheSize(entries) => self.cache_size = entries,
            Setting::CacheEviction(eviction) => self.cache_eviction = eviction,
            Setting::Simd(on) => self.simd = on,
            Setting::Jit(on) => self.jit = on,
            Setting::NumaPolicy(policy) => self.numa_policy = policy,
            Setting::NumaNode(node) => self.numa_node = node,
            Setting::BatchSpread(samples) => self.batch_spread = samples,
            Setting::Profiling(profiling) => self.profiling = profiling,
            Setting::Workload(workload) => self.set_workload(workload),
            Setting::AllowedCpus(_) | Setting::Reset => return false,
        }
        if preset_of(self.workload).is_some_and(|preset| *preset != self.as_preset()) {
            self.workload = Workload::Custom;
        }
        true
    }

    fn set_workload(&mut self, workload: Workload) {
        let Some(preset) = preset_of(workload) else {
            return; // `workload custom`, as reading the file may show it
        };
        self.cache_timeout_ms = preset.cache_timeout_ms;
        self.cache_size = preset.cache_size;
        self.cache_eviction = preset.cache_eviction;
        self.simd = preset.simd;
        self.numa_policy = preset.numa_policy;
        self.batch_spread = preset.batch_spread;
        self.workload = workload;
    }

    fn as_preset(&self) -> Preset {
        Preset {
            cache_timeout_ms: self.cache_timeout_ms,
            cache_size: self.cache_size,
            cache_eviction: self.cache_eviction,
            simd: self.simd,
            numa_policy: self.numa_policy,
            batch_spread: self.batch_spread,
        }
    }

    /// Writes a line per key, which [`parse_line`] takes back. The workload comes first, so that all of
    /// them, written back in order, give the same settings.
    pub fn write(&self, allowed_cpus: &dyn fmt::Display, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "workload {}", word_of(&WORKLOADS, self.workload))?;
        writeln!(out, "cache_timeout {}", self.cache_timeout_ms)?;
        writeln!(out, "cache_size {}", self.cache_size)?;
        writeln!(
            out,
            "cache_eviction {}",
            word_of(&EVICTIONS, self.cache_eviction)
        )?;
        writeln!(out, "simd {}", word_of(&SWITCH, self.simd))?;
        writeln!(out, "jit {}", word_of(&SWITCH, self.jit))?;
        writeln!(
            out,
            "numa_policy {}",
            word_of(&NUMA_POLICIES, self.numa_policy)
        )?;
        writeln!(out, "numa_node {}", self.numa_node)?;
        writeln!(out, "allowed_cpus {allowed_cpus}")?;
        writeln!(out, "batch_spread {}", self.batch_spread)?;
        writeln!(out, "profiling {}", word_of(&PROFILING, self.profiling))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings::DEFAULT
    }
}

fn preset_of(workload: Workload) -> Option<&'static Preset> {
    PRESETS
        .iter()
        .find(|(of, _)| *of == workload)
        .map(|(_, preset)| preset)
}

/// Words and what they mean; of several words for the same, the first is written.
type Words<T, const N: usize> = [(&'static str, T); N];

const WORKLOADS: Words<Workload, 4> = [
    ("realtime", Workload::Realtime),
    ("throughput", Workload::Throughput),
    ("latency", Workload::Latency),
    ("custom", Workload::Custom),
];
const EVICTIONS: Words<Eviction, 3> = [
    ("lru", Eviction::Lru),
    ("fifo", Eviction::Fifo),
    ("random", Eviction::Random),
];
const SWITCH: Words<bool, 2> = [("0", false), ("1", true)];
const NUMA_POLICIES: Words<NumaPolicy, 6> = [
    ("local", NumaPolicy::Local),
    ("interleave", NumaPolicy::Interleave),
    ("node", NumaPolicy::Node),
    ("0", NumaPolicy::Local),
    ("1", NumaPolicy::Interleave),
    ("2", NumaPolicy::Node),
];
const PROFILING: Words<Profiling, 6> = [
    ("0", Profiling::Off),
    ("1", Profiling::Sampled),
    ("2", Profiling::Exact),
    ("off", Profiling::Off),
    ("sampled", Profiling::Sampled),
    ("exact", Profiling::Exact),
];
const RESETS: Words<(), 1> = [("stats", ())];

fn word_of<T: Copy + PartialEq, const N: usize>(words: &Words<T, N>, value: T) -> &'static str {
    words
        .iter()
        .find(|(_, of)| *of == value)
        .map_or("", |(word, _)| word)
}

/// Reads one line, with or without its newline; blanks at both ends do not count.
///
/// Fails with `Config`, which names the key, the value and what is allowed.
pub fn parse_line(line: &[u8]) -> Result<Setting<'_>, Error> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut words = line
        .split(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        .filter(|word| !word.is_empty());
    let Some(key) = words.next() else {
        return Err(Error::Config(ConfigFault::Empty));
    };
    let value = Value {
        text: words.next(),
        extra: words.next(),
    };
    match key {
        b"cache_timeout" => Ok(Setting::CacheTimeoutMs(
            value.number("cache_timeout", MAX_TIMEOUT_MS)?,
        )),
        b"cache_size" => Ok(Setting::CacheSize(value.number("cache_size", MAX_ENTRIES)?)),
        b"cache_eviction" => {
            let eviction = value.word("cache_eviction", &EVICTIONS, "lru, fifo, random")?;
            Ok(Setting::CacheEviction(eviction))
        }
        b"simd" => Ok(Setting::Simd(value.word("simd", &SWITCH, "0, 1")?)),
        b"jit" => Ok(Setting::Jit(value.word("jit", &SWITCH, "0, 1")?)),
        b"numa_policy" => {
            let policy = value.word("numa_policy", &NUMA_POLICIES, "local, interleave, node")?;
            Ok(Setting::NumaPolicy(policy))
        }
        b"numa_node" => Ok(Setting::NumaNode(value.number("numa_node", MAX_NODE)?)),
        b"allowed_cpus" => Ok(Setting::AllowedCpus(value.cpus("allowed_cpus")?)),
        b"batch_spread" => Ok(Setting::BatchSpread(
            value.number("batch_spread", MAX_BATCH)?,
        )),
        b"profiling" => {
            let profiling = value.word("profiling", &PROFILING, "0, 1, 2")?;
            Ok(Setting::Profiling(profiling))
        }
        b"workload" => {
            let allowed = "realtime, throughput, latency, custom";
            Ok(Setting::Workload(
                value.word("workload", &WORKLOADS, allowed)?,
            ))
        }
        b"reset" => value
            .word("reset", &RESETS, "stats")
            .map(|()| Setting::Reset),
        _ => Err(Error::Config(ConfigFault::UnknownKey {
            key: Text::new(key),
        })),
    }
}

/// What stands after the key.
struct Value<'a> {
    text: Option<&'a [u8]>,
    extra: Option<&'a [u8]>,
}

impl<'a> Value<'a> {
    fn only(&self, key: &'static str, allowed: &'static str) -> Result<&'a [u8], Error> {
        match (self.text, self.extra) {
            (None, _) => Err(Error::Config(ConfigFault::NoValue { key, allowed })),
            (_, Some(text)) => Err(Error::Config(ConfigFault::Extra {
                key,
                text: Text::new(text),
            })),
            (Some(text), None) => Ok(text),
        }
    }

    fn word<T: Copy, const N: usize>(
        &self,
        key: &'static str,
        words: &Words<T, N>,
        allowed: &'static str,
    ) -> Result<T, Error> {
        let text = self.only(key, allowed)?;
        let found = words.iter().find(|(word, _)| word.as_bytes() == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            Error::Config(ConfigFault::Word {
                key,
                value: Text::new(text),
                allowed,
            })
        })
    }

    /// A decimal number in `0..=max`, of digits only.
    fn number(&self, key: &'static str, max: u32) -> Result<u32, Error> {
        let text = self.only(key, "a number")?;
        let value = Text::new(text);
        let mut number = 0u32;
        for &byte in text {
            if !byte.is_ascii_digit() {
                return Err(Error::Config(ConfigFault::NotANumber {
                    key,
                    value,
                    min: 0,
                    max,
                }));
            }
            number = number
                .saturating_mul(10)
                .saturating_add(u32::from(byte & 0xf));
        }
        if number > max {
            return Err(Error::Config(ConfigFault::OutOfRange {
                key,
                value,
                min: 0,
                max,
            }));
        }
        Ok(number)
    }

    /// `all`, or something that looks like a list of CPUs.
    fn cpus(&self, key: &'static str) -> Result<&'a str, Error> {
        const ALLOWED: &str = "all, or a list as 0-3,8";
        let text = self.only(key, ALLOWED)?;
        let is_list = text
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b',' | b'-'));
        match core::str::from_utf8(text) {
            Ok(text) if is_list || text == "all" => Ok(text),
            _ => Err(Error::Config(ConfigFault::Word {
                key,
                value: Text::new(text),
                allowed: ALLOWED,
            })),
        }
    }
}
