// SPDX-License-Identifier: GPL-2.0

//! The prediction cache of one network: memory for the lock-free table of the pure crate.
//!
//! Context: creation and drop: task, may sleep; all else: any.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use neural_core::cache::{
    Cache,
    Eviction,
    Geometry,
    Lookup, //
};

use crate::{
    failure::{
        Failure,
        Kind,
        Outcome, //
    },
    sys::buf::{
        AtomicBuf,
        Placement, //
    }, //
};

/// A table and its memory. It is replaced as a whole when its size changes.
pub(crate) struct PredictionCache {
    geometry: Geometry,
    memory: AtomicBuf,
}

/// Bytes of an input or an output up to which answers are remembered: keys are compared with
/// preemption off.
const MOST_BYTES: usize = 16 << 10;

impl PredictionCache {
    /// A table of at least `entries` entries; `None` when that is 0, and when inputs or outputs have more
    /// than [`MOST_BYTES`].
    pub(crate) fn new(
        entries: u32,
        input_bytes: usize,
        output_bytes: usize,
        placement: Placement,
    ) -> Outcome<Option<Arc<Self>>> {
        if entries == 0 || input_bytes.max(output_bytes) > MOST_BYTES {
            return Ok(None);
        }
        let geometry = Geometry::new(entries, input_bytes, output_bytes)
            .map_err(|error| Failure::from_core(error, Kind::Config))?;
        let bytes = geometry.words().saturating_mul(8);
        let no_memory = |_| Failure::memory("the prediction cache", bytes);
        let memory = AtomicBuf::new(geometry.words(), placement).map_err(no_memory)?;
        Arc::new(PredictionCache { geometry, memory }, GFP_KERNEL)
            .map(Some)
            .map_err(|_| Failure::memory("the prediction cache", bytes))
    }

    fn table(&self) -> Option<Cache<'_>> {
        Cache::new(self.geometry, self.memory.words()).ok()
    }

    /// Looks `key` up and writes what was predicted for it to `out`.
    pub(crate) fn lookup(
        &self,
        key: &[u8],
        generation: u32,
        now_ns: u64,
        timeout_ns: u64,
        out: &mut [u8],
    ) -> Lookup {
        match self.table() {
            Some(table) => table.lookup(key, generation, now_ns, timeout_ns, out),
            None => Lookup::Miss,
        }
    }

    /// Remembers what was predicted for `key`.
    pub(crate) fn insert(
        &self,
        key: &[u8],
        generation: u32,
        now_ns: u64,
        value: &[u8],
        eviction: Eviction,
    ) {
        if let Some(table) = self.table() {
            table.insert(key, generation, now_ns, value, eviction);
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.memory.buf().memory() + core::mem::size_of::<Self>()
    }
}
