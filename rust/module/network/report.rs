// SPDX-License-Identifier: GPL-2.0

//! What a network tells about itself. Context: task, may sleep.

use core::sync::atomic::Ordering::Relaxed;

use neural_core::{
    config::Settings,
    stats::Snapshot, //
};

use super::Network;
use crate::{
    failure::Line,
    model::Model,
    settings::Allowed,
    sys::{
        param,
        slab::SlabArc, //
    }, //
};

impl Network {
    /// The model now.
    pub(crate) fn model(&self) -> Option<SlabArc<Model>> {
        self.model.get()
    }

    /// The settings now, and the allowed CPUs.
    pub(crate) fn settings(&self) -> (Settings, Allowed) {
        let mut settings = self.control.lock().settings;
        // CAST: At most an hour.
        settings.cache_timeout_ms = self.timeout_ms() as u32;
        settings.profiling = self.profiling();
        (settings, self.allowed.get())
    }

    /// Whether vector code may be used: by the network's setting and the module's.
    pub(crate) fn simd(&self) -> bool {
        self.tuning.simd.load(Relaxed) && param::enable_simd()
    }

    /// Whether generated code may be used: by the network's setting and the module's.
    pub(crate) fn jit(&self) -> bool {
        self.tuning.jit.load(Relaxed) && param::enable_jit()
    }

    /// The line that says which setting was refused last.
    pub(crate) fn last_error(&self) -> Line {
        self.control.lock().last_error
    }

    /// Bytes of memory that the network holds now.
    pub(crate) fn memory(&self) -> usize {
        let model = self.model.get().map_or(0, |model| model.memory());
        let cache = self.cache.get().map_or(0, |cache| cache.memory());
        core::mem::size_of::<Self>() + self.counters.memory() + model + cache
    }

    /// Remembers the peak of memory, with `more` bytes that are about to take the place of others.
    pub(super) fn note_memory(&self, more: usize) {
        let now = (self.memory() + more) as u64;
        self.memory_peak.fetch_max(now, Relaxed);
    }

    /// Predictions by the CPU that made them.
    pub(crate) fn predictions_of(&self, cpu: usize) -> u64 {
        let mut snapshot = Snapshot::ZERO;
        snapshot.add(self.counters.of(cpu));
        snapshot.predictions
    }

    /// Moves what was counted to `sum`; called by the registry, which keeps it.
    pub(crate) fn take_counts(&self, sum: &mut Snapshot) {
        self.counters.take(sum);
    }

    /// Adds what was counted to `sum`.
    pub(crate) fn add_counts(&self, sum: &mut Snapshot) {
        self.counters.add_to(sum);
    }

    /// The statistics.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::ZERO;
        self.counters.add_to(&mut snapshot);
        self.note_memory(0);
        snapshot.memory_bytes = self.memory() as u64;
        snapshot.memory_peak_bytes = self.memory_peak.load(Relaxed);
        snapshot
    }
}
