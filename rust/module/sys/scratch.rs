// SPDX-License-Identifier: GPL-2.0

//! Scratch memory for predictions that may not sleep: one slot for each CPU and context, so that
//! one is always free.
//!
//! A task with preemption off, the softirq that interrupts it and the hard interrupt that
//! interrupts both each have their own; that of tasks may be larger. A slot is taken twice only when something predicts from
//! within a prediction on the same CPU and level (a breakpoint handler, say): it gets none.

use core::{
    ops::{
        Deref,
        DerefMut, //
    },
    sync::atomic::{
        AtomicBool,
        Ordering::{
            Acquire,
            Release, //
        }, //
    }, //
};

use kernel::prelude::*;

use super::{
    buf::{
        NodeBuf,
        Placement, //
    },
    cpu::{
        self,
        Context,
        PreemptGuard,
        LEVELS, //
    }, //
};

/// Whether each slot of a CPU is taken; a cache line of its own, which no other CPU writes.
#[repr(align(64))]
struct Taken([AtomicBool; LEVELS]);

/// Scratch slots for every CPU and context.
pub(crate) struct CpuScratch {
    /// The memory for each CPU; `None` for a CPU that cannot be there.
    memory: KVec<Option<NodeBuf>>,
    taken: KVec<Taken>,
    /// Bytes of the slots of a CPU, which lie one behind the other.
    sizes: [usize; LEVELS],
}

impl CpuScratch {
    /// Slots of `bytes` bytes, for tasks of `task_bytes`; with `placement`, or on the node of each
    /// CPU. Context: task, may sleep.
    pub(crate) fn new(
        bytes: usize,
        task_bytes: usize,
        placement: Option<Placement>,
    ) -> Result<Self> {
        let sizes = [task_bytes, bytes, bytes];
        let all = sizes
            .iter()
            .try_fold(0usize, |sum, &bytes| sum.checked_add(bytes))
            .ok_or(EOVERFLOW)?;
        let mut memory = KVec::with_capacity(cpu::nr_cpu_ids(), GFP_KERNEL)?;
        let mut taken = KVec::with_capacity(cpu::nr_cpu_ids(), GFP_KERNEL)?;
        for cpu in 0..cpu::nr_cpu_ids() {
            let place = placement.unwrap_or(Placement::Near(cpu::node_of(cpu)));
            let buf = if cpu::possible(cpu) {
                Some(NodeBuf::new(all, place)?)
            } else {
                None
            };
            memory.push(buf, GFP_KERNEL)?;
            taken.push(
                Taken([const { AtomicBool::new(false) }; LEVELS]),
                GFP_KERNEL,
            )?;
        }
        Ok(CpuScratch {
            memory,
            taken,
            sizes,
        })
    }

    /// The slot of this CPU and context; `None` in an NMI or when it is taken.
    pub(crate) fn take<'a>(&'a self, guard: &'a PreemptGuard) -> Option<Slot<'a>> {
        let level = match Context::current() {
            Context::Task => 0,
            Context::Softirq => 1,
            Context::Hardirq => 2,
            Context::Nmi => return None,
        };
        let buf = self.memory.get(guard.cpu())?.as_ref()?;
        let taken = self.taken.get(guard.cpu())?.0.get(level)?;
        // ORDERING: Acquire and release order the uses of the slot by one CPU after the other.
        if taken.swap(true, Acquire) {
            return None;
        }
        let start = self.sizes.iter().take(level).sum();
        let size = self.sizes[level];
        // SAFETY: The slot lies within the buffer, whose length is the sum of `sizes`, and belongs
        // to the caller alone until `taken` is cleared in `Slot::drop`.
        let bytes = unsafe { core::slice::from_raw_parts_mut(buf.as_ptr().add(start), size) };
        Some(Slot { bytes, taken })
    }

    /// Bytes of memory that the slots take.
    pub(crate) fn memory(&self) -> usize {
        self.memory.iter().flatten().map(NodeBuf::memory).sum()
    }

    /// Adds the number of pages on each node to `counts`.
    pub(crate) fn count_nodes(&self, counts: &mut [u32]) {
        self.memory
            .iter()
            .flatten()
            .for_each(|buf| buf.count_nodes(counts));
    }
}

/// A slot that is taken until this is dropped.
pub(crate) struct Slot<'a> {
    bytes: &'a mut [u8],
    taken: &'a AtomicBool,
}

impl Deref for Slot<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl DerefMut for Slot<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        // ORDERING: See `take`.
        self.taken.store(false, Release);
    }
}
