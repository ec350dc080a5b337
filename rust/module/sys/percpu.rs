// SPDX-License-Identifier: GPL-2.0

//! Statistics of one network: a block of counters for each CPU, in memory of that CPU's node.

use kernel::prelude::*;
use neural_core::stats::{
    Counters,
    Snapshot, //
};

use super::{
    cpu,
    slab::{
        SlabBox,
        SlabCache, //
    }, //
};

/// The slab cache of the blocks.
pub(crate) static COUNTERS: SlabCache<Counters> = SlabCache::new();

/// For a CPU number without a block, which does not occur.
static SPARE: Counters = Counters::NEW;

/// Counters for each possible CPU.
pub(crate) struct PerCpuCounters {
    blocks: KVec<Option<SlabBox<Counters>>>,
}

impl PerCpuCounters {
    /// Zeroed counters. Context: task, may sleep.
    pub(crate) fn new() -> Result<Self> {
        let mut blocks = KVec::with_capacity(cpu::nr_cpu_ids(), GFP_KERNEL)?;
        for cpu in 0..cpu::nr_cpu_ids() {
            let block = if cpu::possible(cpu) {
                Some(COUNTERS.alloc(cpu::node_of(cpu), Counters::NEW)?)
            } else {
                None
            };
            blocks.push(block, GFP_KERNEL)?;
        }
        Ok(PerCpuCounters { blocks })
    }

    /// The block of a CPU: of the one that the caller runs on, to be quick. Any context.
    pub(crate) fn of(&self, cpu: usize) -> &Counters {
        match self.blocks.get(cpu) {
            Some(Some(block)) => block,
            _ => &SPARE,
        }
    }

    /// Moves the counters of all CPUs, which are zero afterwards, to `sum`.
    pub(crate) fn take(&self, sum: &mut Snapshot) {
        for block in self.blocks.iter().flatten() {
            sum.take(block);
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.blocks.iter().flatten().count() * core::mem::size_of::<Counters>()
    }

    /// Adds the counters of all CPUs to `sum`.
    pub(crate) fn add_to(&self, sum: &mut Snapshot) {
        for block in self.blocks.iter().flatten() {
            sum.add(block);
        }
    }
}
