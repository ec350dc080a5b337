// SPDX-License-Identifier: GPL-2.0

//! Where code runs: context, CPU, NUMA node, time; and running it on another CPU.

use core::marker::PhantomData;

use kernel::{
    bindings,
    ffi::c_void,
    prelude::*, //
};

use super::ffi;

/// The context that code runs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Context {
    /// A task, whether or not it may be preempted.
    Task,
    /// A softirq.
    Softirq,
    /// A hard interrupt.
    Hardirq,
    /// A non-maskable interrupt.
    Nmi,
}

/// Contexts that may interrupt each other on one CPU and predict: task, softirq, hardirq.
pub(crate) const LEVELS: usize = 3;

impl Context {
    /// The context of the caller.
    pub(crate) fn current() -> Self {
        match ffi::neural_shim_context() {
            ffi::CONTEXT_TASK => Context::Task,
            ffi::CONTEXT_SOFTIRQ => Context::Softirq,
            ffi::CONTEXT_HARDIRQ => Context::Hardirq,
            _ => Context::Nmi,
        }
    }
}

/// Whether the caller may be preempted and is in no RCU read side, and so may sleep.
pub(crate) fn preemptible() -> bool {
    ffi::neural_shim_preemptible()
}

/// Whether interrupts are off.
pub(crate) fn irqs_disabled() -> bool {
    ffi::neural_shim_irqs_disabled()
}

/// Whether the current task is being killed.
pub(crate) fn dying() -> bool {
    ffi::neural_shim_fatal_signal_pending()
}

/// Lets others run. Context: task, may sleep.
pub(crate) fn cond_resched() {
    ffi::neural_shim_cond_resched();
}

/// Lets others run; whether to go on with long work, since nobody is killing the task. Context:
/// task, may sleep.
pub(crate) fn pause() -> bool {
    cond_resched();
    !dying()
}

/// Monotonic time in ns. Any context.
pub(crate) fn now_ns() -> u64 {
    // SAFETY: May be called from any context.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}

/// The CPU that runs this; it may be another one right after, unless preemption is off.
pub(crate) fn current_cpu() -> usize {
    ffi::neural_shim_smp_processor_id() as usize
}

/// One more than the highest possible CPU number.
pub(crate) fn nr_cpu_ids() -> usize {
    kernel::cpu::nr_cpu_ids() as usize
}

/// Whether a CPU can ever be there.
pub(crate) fn possible(cpu: usize) -> bool {
    matches!(u32::try_from(cpu), Ok(cpu) if ffi::neural_shim_cpu_possible(cpu))
}

/// Whether a CPU runs now.
pub(crate) fn online(cpu: usize) -> bool {
    matches!(u32::try_from(cpu), Ok(cpu) if ffi::neural_shim_cpu_online(cpu))
}

/// Number of CPUs that run now, at least 1.
pub(crate) fn online_count() -> usize {
    (0..nr_cpu_ids()).filter(|&cpu| online(cpu)).count().max(1)
}

/// The node of a possible CPU, else of the current one.
pub(crate) fn node_of(cpu: usize) -> i32 {
    match u32::try_from(cpu) {
        // SAFETY: The CPU is possible, so that it has a node.
        Ok(cpu) if possible(cpu as usize) => unsafe { ffi::neural_shim_cpu_to_node(cpu) },
        _ => current_node(),
    }
}

/// The node of the current CPU.
pub(crate) fn current_node() -> i32 {
    ffi::neural_shim_numa_node_id()
}

/// Number of possible node numbers.
pub(crate) fn nr_nodes() -> usize {
    ffi::neural_shim_nr_node_ids() as usize
}

/// Whether a node has memory of its own.
pub(crate) fn node_has_memory(node: i32) -> bool {
    ffi::neural_shim_node_has_memory(node)
}

/// The next node with memory after `node`, around the end; `node` when there is no other.
pub(crate) fn next_memory_node(node: i32) -> i32 {
    // CAST: Node numbers are below MAX_NUMNODES (1024).
    let count = nr_nodes() as i32;
    (1..=count)
        .map(|step| node.wrapping_add(step).rem_euclid(count.max(1)))
        .find(|&next| node_has_memory(next))
        .unwrap_or(node)
}

/// Keeps the caller on its CPU: preemption is off while this lives.
pub(crate) struct PreemptGuard {
    cpu: usize,
    _not_send: PhantomData<*mut ()>,
}

impl PreemptGuard {
    /// Turns preemption off.
    pub(crate) fn new() -> Self {
        ffi::neural_shim_preempt_disable();
        PreemptGuard {
            cpu: current_cpu(),
            _not_send: PhantomData,
        }
    }

    /// The CPU.
    pub(crate) fn cpu(&self) -> usize {
        self.cpu
    }
}

impl Drop for PreemptGuard {
    fn drop(&mut self) {
        // SAFETY: Undoes the call in `new`, on the same task: the guard is not `Send`.
        unsafe { ffi::neural_shim_preempt_enable() };
    }
}

/// Keeps the caller on its CPU, though it may be preempted there. Context: task, may sleep.
pub(crate) struct MigrateGuard(PhantomData<*mut ()>);

impl MigrateGuard {
    /// Stays on the CPU.
    pub(crate) fn new() -> Self {
        ffi::neural_shim_migrate_disable();
        MigrateGuard(PhantomData)
    }
}

impl Drop for MigrateGuard {
    fn drop(&mut self) {
        // SAFETY: Undoes the call in `new`, on the same task: the guard is not `Send`.
        unsafe { ffi::neural_shim_migrate_enable() };
    }
}

/// # Safety
///
/// `arg` is an `F` that nobody else uses meanwhile.
unsafe extern "C" fn call<F: FnMut() + Send>(arg: *mut c_void) {
    // SAFETY: By this function's requirements.
    let func = unsafe { &mut *arg.cast::<F>() };
    func();
}

/// Runs `func` on `cpu` by an interrupt there, and waits for it.
///
/// `func` runs in hardirq context and must be short. Context: task with interrupts on; does not
/// sleep. Errors: `ENXIO` when the CPU is not online.
pub(crate) fn call_on<F: FnMut() + Send>(cpu: usize, func: &mut F) -> Result {
    let arg: *mut F = func;
    // SAFETY: `arg` outlives the call, which waits for `call` to end.
    kernel::error::to_result(unsafe {
        ffi::neural_shim_call_on(u32::try_from(cpu)?, call::<F>, arg.cast())
    })
}

/// A set of CPUs, which never changes.
pub(crate) struct CpuSet {
    words: KVec<u64>,
}

impl CpuSet {
    /// All possible CPUs.
    fn all() -> Result<Self> {
        let mut words = KVec::with_capacity(nr_cpu_ids().div_ceil(64), GFP_KERNEL)?;
        for word in 0..nr_cpu_ids().div_ceil(64) {
            let bits = (0..64)
                .filter(|bit| possible(word * 64 + bit))
                .fold(0u64, |bits, bit| bits | 1 << bit);
            words.push(bits, GFP_KERNEL)?;
        }
        Ok(CpuSet { words })
    }

    /// The CPUs of a list as the kernel writes it (`0-3,8`). Errors: `EINVAL` for a malformed list,
    /// `ERANGE` for a CPU that cannot be there or an empty list.
    pub(crate) fn parse(list: &CStr) -> Result<Self> {
        let mut set = CpuSet::all()?;
        let possible = CpuSet::all()?;
        // SAFETY: `words` has room for `nr_cpu_ids` bits, in words of the size of an `unsigned
        // long`.
        let ret = unsafe {
            ffi::neural_shim_cpulist_parse(
                list.as_char_ptr(),
                set.words.as_mut_ptr().cast(),
                kernel::cpu::nr_cpu_ids(),
            )
        };
        kernel::error::to_result(ret)?;
        let mut any = 0;
        for (bits, allowed) in set.words.iter().zip(possible.words.iter()) {
            if bits & !allowed != 0 {
                return Err(ERANGE);
            }
            any |= bits;
        }
        if any == 0 {
            return Err(ERANGE);
        }
        Ok(set)
    }

    /// Whether `cpu` is in the set.
    pub(crate) fn contains(&self, cpu: usize) -> bool {
        self.words
            .get(cpu / 64)
            .is_some_and(|bits| bits & (1 << (cpu % 64)) != 0)
    }

    /// Whether every possible CPU is in the set.
    pub(crate) fn is_all(&self) -> bool {
        (0..nr_cpu_ids()).all(|cpu| !possible(cpu) || self.contains(cpu))
    }
}

/// The CPUs that are online, in order; of `set`, or of all without one.
pub(crate) fn online_of(set: Option<&CpuSet>) -> impl Iterator<Item = usize> + '_ {
    (0..nr_cpu_ids()).filter(move |&cpu| set.is_none_or(|set| set.contains(cpu)) && online(cpu))
}

impl core::fmt::Display for CpuSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Room for the list of as many CPUs as there are, at its longest.
        let room = nr_cpu_ids().saturating_mul(6).max(64);
        let mut text = KVVec::from_elem(0u8, room, GFP_KERNEL).map_err(|_| core::fmt::Error)?;
        // SAFETY: `words` has room for `nr_cpu_ids` bits; `text` is valid for its size.
        let len = unsafe {
            ffi::neural_shim_cpulist_print(
                self.words.as_ptr().cast(),
                kernel::cpu::nr_cpu_ids(),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        let text = usize::try_from(len).ok().and_then(|len| text.get(..len));
        f.write_str(core::str::from_utf8(text.unwrap_or(b"")).unwrap_or(""))
    }
}
