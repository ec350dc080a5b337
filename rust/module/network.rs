// SPDX-License-Identifier: GPL-2.0

//! A network: a name, a model that can be replaced, its settings, its cache, its statistics.
//!
//! How it predicts stands in `predict`, how it is changed in `change`, what it tells in `report`.
//!
//! Lock order: `control` before anything in `sys`; held by whoever changes the network (replace,
//! configure), who may sleep. Predictions never take it.

mod change;
mod predict;
mod report;

use core::sync::atomic::{
    AtomicBool,
    AtomicU32,
    AtomicU64,
    AtomicU8, //
};

use kernel::{
    new_mutex,
    prelude::*,
    str::CStr,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use neural_core::{
    cache::Eviction,
    config::{
        NumaPolicy,
        Settings, //
    },
    name,
    nnm, //
};

use crate::{
    cache::PredictionCache,
    failure::{
        failure,
        Failure,
        Kind,
        Line,
        Outcome, //
    },
    model::{
        Model,
        Ports,
        Spread, //
    },
    profile,
    registry,
    sys::{
        cpu::{
            self,
            CpuSet, //
        },
        param,
        percpu::PerCpuCounters,
        rcu::RcuCell,
        slab::{
            Shared,
            SlabArc,
            SlabCache, //
        }, //
    }, //
};

/// Bytes of a name with its NUL (`NEURAL_NAME_LEN`).
pub(crate) const NAME_LEN: usize = name::FIELD_BYTES;

/// Stands in `Tuning::cache_timeout_ms` for: follow the module parameter.
const FOLLOW: u32 = u32::MAX;

/// Stands in `Tuning::profiling` for the same.
const FOLLOW_MODE: u8 = u8::MAX;

/// The name of a network: 1 to 31 characters, then NULs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name([u8; NAME_LEN]);

impl Name {
    /// Checks a name.
    pub(crate) fn new(text: &[u8]) -> Outcome<Self> {
        let text = name::check(text).map_err(|error| Failure::from_core(error, Kind::Model))?;
        let mut name = [0; NAME_LEN];
        if let Some(place) = name.get_mut(..text.len()) {
            place.copy_from_slice(text.as_bytes());
        }
        Ok(Name(name))
    }

    /// Checks a name as the user ABI has it: padded with NULs, and nothing after them.
    pub(crate) fn from_field(field: &[u8; NAME_LEN]) -> Outcome<Self> {
        let text = name::from_field(field);
        text.map_err(|error| Failure::from_core(error, Kind::Model))?;
        Ok(Name(*field))
    }

    /// All bytes, as the user ABI has them.
    pub(crate) fn bytes(&self) -> &[u8; NAME_LEN] {
        &self.0
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(0);
        core::str::from_utf8(self.0.get(..len).unwrap_or(&[])).unwrap_or("")
    }

    /// The text for C.
    pub(crate) fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// What predictions read of the settings.
struct Tuning {
    cache_timeout_ms: AtomicU32,
    eviction: AtomicU8,
    simd: AtomicBool,
    jit: AtomicBool,
    batch_spread: AtomicU32,
    profiling: AtomicU8,
}

/// What those who change the network share.
struct Control {
    settings: Settings,
    /// Whether `cache_timeout` was set for this network.
    own_timeout: bool,
    /// Whether `profiling` was.
    own_profiling: bool,
    generation: u32,
    last_error: Line,
}

/// The slab cache of networks.
pub(crate) static NETWORKS: SlabCache<Shared<Network>> = SlabCache::new();

/// A network.
#[pin_data(PinnedDrop)]
pub(crate) struct Network {
    model: RcuCell<SlabArc<Model>>,
    cache: RcuCell<Arc<PredictionCache>>,
    /// The CPUs on which work may be done; nothing for all.
    allowed: RcuCell<Arc<CpuSet>>,
    tuning: Tuning,
    counters: PerCpuCounters,
    /// Its id, never used again.
    pub(crate) id: u32,
    /// Bytes of an input; the same for every model that this network gets.
    pub(crate) input_bytes: usize,
    /// Bytes of an output.
    pub(crate) output_bytes: usize,
    /// What the first model took and gave; others take and give as many of the same type.
    pub(crate) ports: Ports,
    /// Its name.
    pub(crate) name: Name,
    memory_peak: AtomicU64,
    /// Whose turn it is among the allowed CPUs.
    turn: AtomicU32,
    #[pin]
    control: Mutex<Control>,
}

fn spread_of(policy: NumaPolicy, node: u32) -> Spread {
    match policy {
        NumaPolicy::Local => Spread::Local,
        NumaPolicy::Interleave => Spread::Interleave,
        // CAST: Checked by who set it to be a node number.
        NumaPolicy::Node => Spread::Node(node as i32),
    }
}

/// Whether the node has memory, if it is one that was asked for: node 0, which nobody asked for, need not have any.
fn check_node(settings: &Settings, asked: bool) -> Outcome {
    let node = i32::try_from(settings.numa_node).unwrap_or(-1);
    let counts = asked || settings.numa_policy == NumaPolicy::Node;
    if counts && !cpu::node_has_memory(node) {
        return Err(failure!(
            EINVAL,
            Config,
            "config: numa_node: {} is not a node with memory",
            settings.numa_node
        ));
    }
    Ok(())
}

/// The settings that the module parameters give to a new network.
pub(crate) fn default_settings() -> Settings {
    let mut settings = Settings::DEFAULT;
    settings.cache_timeout_ms = param::cache_timeout_ms();
    settings.cache_size = param::cache_size();
    settings.numa_policy = match param::numa_policy() {
        1 => NumaPolicy::Interleave,
        2 => NumaPolicy::Node,
        _ => NumaPolicy::Local,
    };
    // CAST: The parameter is a node number.
    settings.numa_node = param::numa_node() as u32;
    settings
}

/// The placement that the module parameters ask for.
pub(crate) fn default_spread() -> Spread {
    let settings = default_settings();
    spread_of(settings.numa_policy, settings.numa_node)
}

impl Network {
    /// A network of the given model file. Context: task, may sleep.
    #[inline(never)]
    pub(crate) fn new(id: u32, name: Name, file: &nnm::Model<'_>) -> Outcome<SlabArc<Self>> {
        let settings = default_settings();
        check_node(&settings, false)?;
        let spread = spread_of(settings.numa_policy, settings.numa_node);
        let model = Model::new(file, spread, id, 1)?;
        let (input_bytes, output_bytes) = (model.plan().input_bytes, model.plan().output_bytes);
        let cache = PredictionCache::new(
            settings.cache_size,
            input_bytes,
            output_bytes,
            spread.weights(),
        )?;
        let no_memory = |_| Failure::memory("a network", core::mem::size_of::<Self>());
        let counters = PerCpuCounters::new().map_err(no_memory)?;
        let network = NETWORKS
            .share(
                spread.weights().node(),
                pin_init!(Network {
                    id,
                    input_bytes,
                    output_bytes,
                    ports: model.ports,
                    name,
                    tuning: Tuning {
                        cache_timeout_ms: AtomicU32::new(FOLLOW),
                        eviction: AtomicU8::new(code_of(settings.cache_eviction)),
                        simd: AtomicBool::new(settings.simd),
                        jit: AtomicBool::new(settings.jit),
                        batch_spread: AtomicU32::new(settings.batch_spread),
                        profiling: AtomicU8::new(FOLLOW_MODE),
                    },
                    model: RcuCell::new(Some(model)),
                    cache: RcuCell::new(cache),
                    allowed: RcuCell::empty(),
                    counters,
                    memory_peak: AtomicU64::new(0),
                    turn: AtomicU32::new(0),
                    control <- new_mutex!(Control {
                        settings,
                        own_timeout: false,
                        own_profiling: false,
                        generation: 1,
                        last_error: Line::EMPTY,
                    }, "neural_network"),
                }),
            )
            .map_err(no_memory)?;
        network.note_memory(0);
        Ok(network)
    }
}

#[pinned_drop]
impl PinnedDrop for Network {
    fn drop(self: Pin<&mut Self>) {
        // What was counted since it was unloaded, by those who still had it.
        registry::retire(&self);
        if self.wants_profile() {
            profile::unwant();
        }
    }
}

/// The eviction policy as an atomic holds it.
fn code_of(eviction: Eviction) -> u8 {
    match eviction {
        Eviction::Lru => 0,
        Eviction::Fifo => 1,
        Eviction::Random => 2,
    }
}

fn eviction_of(code: u8) -> Eviction {
    match code {
        1 => Eviction::Fifo,
        2 => Eviction::Random,
        _ => Eviction::Lru,
    }
}
