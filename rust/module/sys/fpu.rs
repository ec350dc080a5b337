// SPDX-License-Identifier: GPL-2.0

//! Sections in which vector registers may be used, and what vector registers the CPU has.
//!
//! Within a section preemption and softirqs are off, so sections are short; how long the longest was
//! is measured. They do not nest, and there is none in an NMI, nor in a hard interrupt that has
//! interrupted one. Context: any.

use core::marker::PhantomData;

use kernel::bindings;
use neural_simd::Features;

use super::{
    cpu::Context,
    ffi, //
};

/// `KFPU_MXCSR`: the control register of vector arithmetic gets its initial value.
const MXCSR: u32 = 1 << 1;

/// Ticks of the time stamp counter.
pub(crate) fn ticks() -> u64 {
    // SAFETY: Every x86-64 CPU has the instruction, and the kernel may use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ticks as ns; 0 where nobody knows how fast they are.
pub(crate) fn ticks_to_ns(ticks: u64) -> u64 {
    ffi::neural_shim_ticks_to_ns(ticks)
}

/// What the CPU has and the kernel saves.
pub(crate) fn features() -> Features {
    let bits = ffi::neural_shim_cpu_features();
    let has = |bit| bits & bit != 0;
    Features {
        avx2: has(ffi::CPU_AVX2),
        fma: has(ffi::CPU_FMA),
        avx_vnni: has(ffi::CPU_AVX_VNNI),
        avx512f: has(ffi::CPU_AVX512F),
        avx512bw: has(ffi::CPU_AVX512BW),
        avx512_vnni: has(ffi::CPU_AVX512_VNNI),
    }
}

/// Whether the CPU has, and the kernel saves, vectors of 128 and 256 bits for instructions of AVX-512.
pub(crate) fn has_avx512vl() -> bool {
    ffi::neural_shim_cpu_features() & ffi::CPU_AVX512VL != 0
}

/// How many sections of predictions there were on all CPUs, and how many ns the longest took.
pub(crate) fn section_stats() -> (u64, u64) {
    let (mut count, mut longest) = (0, 0);
    // SAFETY: Both are valid for writes.
    unsafe { ffi::neural_shim_section_stats(&mut count, &mut longest) };
    (count, ticks_to_ns(longest))
}

/// An open section: vector registers may be used while this lives, by the task or interrupt that
/// opened it, which must not sleep.
pub(crate) struct FpuGuard {
    start: u64,
    _not_send: PhantomData<*mut ()>,
}

impl FpuGuard {
    /// Opens a section; `None` where vector registers cannot be had.
    pub(crate) fn new() -> Option<Self> {
        if Context::current() == Context::Nmi {
            return None;
        }
        // SAFETY: Any context but NMI. A task that is moved to another CPU right after it asked
        // runs there, so that no section is open there either.
        if !unsafe { bindings::irq_fpu_usable() } {
            return None;
        }
        // SAFETY: Vector registers can be had; `drop` ends the section.
        unsafe { bindings::kernel_fpu_begin_mask(MXCSR) };
        Some(FpuGuard {
            start: ticks(),
            _not_send: PhantomData,
        })
    }

    /// When it was opened.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Closes the section, now, and counts it for [`section_stats`].
    pub(crate) fn count(self, now: u64) {
        let age = now.saturating_sub(self.start);
        // SAFETY: Preemption and softirqs are off until `self` is dropped, and a hard interrupt
        // opens no section meanwhile, so that nobody else counts on this CPU.
        unsafe { ffi::neural_shim_section_count(age) };
    }
}

impl Drop for FpuGuard {
    fn drop(&mut self) {
        // SAFETY: Ends what `new` began, in the same context: the guard is not `Send`.
        unsafe { bindings::kernel_fpu_end() };
    }
}
