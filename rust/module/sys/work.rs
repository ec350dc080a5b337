// SPDX-License-Identifier: GPL-2.0

//! Work on chosen CPUs, on a queue that the module owns and that is empty when it unloads.
//!
//! Context: task, may sleep; the work itself runs in a worker of its CPU and may sleep too.

use core::{
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        Ordering::Relaxed, //
    }, //
};

use kernel::{
    bindings,
    ffi::c_void,
    prelude::*, //
};

use super::{
    cpu,
    ffi,
    gate::{
        Gate,
        Pass, //
    }, //
};

static QUEUE: Gate<bindings::workqueue_struct> = Gate::new();

/// The module's queue exists while this lives, and as long as somebody may queue work on it.
pub(crate) struct Queue(());

impl Queue {
    /// Creates the queue. Errors: `EBUSY` when there is one.
    pub(crate) fn new() -> Result<Self> {
        let queue = NonNull::new(ffi::neural_shim_queue_create()).ok_or(ENOMEM)?;
        QUEUE.open(queue).inspect_err(|_| {
            // SAFETY: Just created, nothing is queued.
            unsafe { bindings::destroy_workqueue(queue.as_ptr()) };
        })?;
        Ok(Queue(()))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.close() {
            // SAFETY: The queue was created by `new`, and nobody holds a pass to queue work on it.
            unsafe { bindings::destroy_workqueue(queue.as_ptr()) };
        }
    }
}

/// Room for work items, allocated beforehand so that running them allocates nothing.
///
/// # Invariants
///
/// `works` addresses `count` work items that this owns; none is queued outside of `run`.
pub(crate) struct WorkSet {
    queue: Pass<bindings::workqueue_struct>,
    works: *mut ffi::Work,
    count: usize,
}

// SAFETY: The items are plain memory that this owns.
unsafe impl Send for WorkSet {}
// SAFETY: A shared reference allows nothing.
unsafe impl Sync for WorkSet {}

/// # Safety
///
/// `arg` is an `F` that lives until the work is done.
unsafe extern "C" fn call<F: Fn() + Sync>(arg: *mut c_void) {
    // SAFETY: By this function's requirements.
    let func = unsafe { &*arg.cast::<F>() };
    func();
}

impl WorkSet {
    /// Room for `count` items.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let queue = QUEUE.enter().ok_or(ENODEV)?;
        let works = ffi::neural_shim_work_alloc(u32::try_from(count)?);
        if works.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: Just allocated, nothing queued.
        Ok(WorkSet {
            queue,
            works,
            count,
        })
    }

    /// Runs `func` once on each of `cpus` (as many as there is room for) and `here` on the calling
    /// CPU meanwhile; waits for all. When the task is being killed, `stop` is set and waited out.
    pub(crate) fn run<F: Fn() + Sync>(
        &mut self,
        cpus: impl Iterator<Item = usize>,
        func: &F,
        here: impl FnOnce(),
        stop: &AtomicBool,
    ) {
        let arg: *const F = func;
        let mut queued = 0;
        for cpu in cpus.filter(|&cpu| cpu::online(cpu)).take(self.count) {
            // CAST: CPU numbers and counts fit.
            // SAFETY: The queue exists as long as the pass. Item `queued` is ours, not queued, and
            // below `count`; `arg` outlives the wait below; the CPU is a possible one.
            unsafe {
                ffi::neural_shim_work_queue(
                    self.queue.as_ptr(),
                    self.works,
                    queued as u32,
                    cpu as u32,
                    call::<F>,
                    arg.cast_mut().cast(),
                )
            };
            queued += 1;
        }
        here();
        for item in 0..queued {
            // CAST: As above.
            // SAFETY: The item was queued above. A wait that ends early is followed by one that
            // ends with the work.
            unsafe {
                if !ffi::neural_shim_work_wait_killable(self.works, item as u32) {
                    stop.store(true, Relaxed);
                    ffi::neural_shim_work_wait(self.works, item as u32);
                }
            }
        }
    }
}

/// # Safety
///
/// `arg` is an `F` that nobody else uses until the work is done.
unsafe extern "C" fn call_once<F: FnMut() + Send>(arg: *mut c_void) {
    // SAFETY: By this function's requirements.
    let func = unsafe { &mut *arg.cast::<F>() };
    func();
}

/// Runs `func` in a worker of `cpu` and waits for it; allocates nothing. When the task is being
/// killed, `stop` is set and waited out. Errors: `ENXIO` when the CPU is not online.
///
/// Should the CPU go offline at this moment, the worker runs on another one.
pub(crate) fn once<F: FnMut() + Send>(cpu: usize, stop: &AtomicBool, mut func: F) -> Result {
    if !cpu::online(cpu) {
        return Err(ENXIO);
    }
    let queue = QUEUE.enter().ok_or(ENODEV)?;
    let arg: *mut F = &mut func;
    // SAFETY: The queue exists as long as the pass. `func` and `stop` outlive the call, which ends
    // with the work.
    unsafe {
        ffi::neural_shim_work_once(
            queue.as_ptr(),
            u32::try_from(cpu)?,
            call_once::<F>,
            arg.cast(),
            stop.as_ptr(),
        )
    };
    Ok(())
}

impl Drop for WorkSet {
    fn drop(&mut self) {
        // SAFETY: By the invariants.
        unsafe { ffi::neural_shim_work_free(self.works) };
    }
}

/// Number of work items that a batch can use: one for each CPU that can be there.
pub(crate) fn batch_items() -> usize {
    cpu::nr_cpu_ids()
}
