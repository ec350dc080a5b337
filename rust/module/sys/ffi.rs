// SPDX-License-Identifier: GPL-2.0

//! The functions of `rust/shim/shim.h`, declared by hand: bindgen is not run for this module.

use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_ulong,
        c_void, //
    }, //
};

/// `struct page`, only ever seen behind a pointer.
#[repr(C)]
pub(super) struct Page {
    _opaque: [u8; 0],
}

/// `struct neural_shim_work`, only ever seen behind a pointer.
#[repr(C)]
pub(super) struct Work {
    _opaque: [u8; 0],
}

/// `struct module`, only ever seen behind a pointer.
#[repr(C)]
struct Module {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    static __this_module: Module;
}

/// `THIS_MODULE`, to own files. What the `module!` macro makes of it has another name and place in
/// each kernel; the symbol is the same in all.
pub(super) const fn this_module() -> *mut bindings::module {
    (&raw const __this_module).cast_mut().cast()
}

pub(super) const CONTEXT_TASK: c_uint = 0;
pub(super) const CONTEXT_SOFTIRQ: c_uint = 1;
pub(super) const CONTEXT_HARDIRQ: c_uint = 2;

pub(super) const CPU_AVX2: c_uint = 1 << 0;
pub(super) const CPU_AVX_VNNI: c_uint = 1 << 1;
pub(super) const CPU_AVX512F: c_uint = 1 << 2;
pub(super) const CPU_AVX512BW: c_uint = 1 << 3;
pub(super) const CPU_AVX512_VNNI: c_uint = 1 << 4;
pub(super) const CPU_FMA: c_uint = 1 << 5;
pub(super) const CPU_AVX512VL: c_uint = 1 << 6;

pub(super) const JIT_ARENA_BYTES: usize = 65536;
pub(super) const JIT_ALLOWED: c_uint = 0;
pub(super) const JIT_CFI: c_uint = 2;

unsafe extern "C" {
    // cpu.c
    pub(super) safe fn neural_shim_context() -> c_uint;
    pub(super) safe fn neural_shim_preemptible() -> bool;
    pub(super) safe fn neural_shim_irqs_disabled() -> bool;
    pub(super) safe fn neural_shim_preempt_disable();
    pub(super) fn neural_shim_preempt_enable();
    pub(super) safe fn neural_shim_smp_processor_id() -> c_uint;
    pub(super) safe fn neural_shim_cpu_online(cpu: c_uint) -> bool;
    pub(super) safe fn neural_shim_cpu_possible(cpu: c_uint) -> bool;
    pub(super) fn neural_shim_cpu_to_node(cpu: c_uint) -> c_int;
    pub(super) safe fn neural_shim_numa_node_id() -> c_int;
    pub(super) safe fn neural_shim_node_has_memory(node: c_int) -> bool;
    pub(super) safe fn neural_shim_nr_node_ids() -> c_uint;
    pub(super) fn neural_shim_call_on(
        cpu: c_uint,
        func: unsafe extern "C" fn(*mut c_void),
        arg: *mut c_void,
    ) -> c_int;
    pub(super) safe fn neural_shim_cond_resched();
    pub(super) safe fn neural_shim_fatal_signal_pending() -> bool;
    pub(super) safe fn neural_shim_migrate_disable();
    pub(super) fn neural_shim_migrate_enable();
    pub(super) fn neural_shim_cpulist_parse(
        list: *const c_char,
        bits: *mut c_ulong,
        nbits: c_uint,
    ) -> c_int;
    pub(super) fn neural_shim_cpulist_print(
        bits: *const c_ulong,
        nbits: c_uint,
        buf: *mut u8,
        size: usize,
    ) -> c_int;

    // fpu.c
    pub(super) safe fn neural_shim_cpu_features() -> c_uint;
    pub(super) fn neural_shim_section_count(ticks: u64);
    pub(super) fn neural_shim_section_stats(count: *mut u64, longest: *mut u64);
    pub(super) safe fn neural_shim_ticks_to_ns(ticks: u64) -> u64;

    // memory.c
    pub(super) safe fn neural_shim_alloc_page_node(node: c_int, exact: bool) -> *mut Page;
    pub(super) safe fn neural_shim_totalram_pages() -> c_ulong;
    pub(super) fn neural_shim_free_page(page: *mut Page);
    pub(super) fn neural_shim_vmap(pages: *const *mut Page, count: c_uint) -> *mut c_void;
    pub(super) fn neural_shim_vmap_owned(pages: *const *mut Page, count: c_uint) -> *mut c_void;
    pub(super) fn neural_shim_vunmap_owned(addr: *mut c_void) -> c_uint;
    pub(super) fn neural_shim_vunmap(addr: *const c_void);
    pub(super) fn neural_shim_page_to_nid(page: *const Page) -> c_int;
    pub(super) fn neural_shim_addr_to_nid(addr: *const c_void) -> c_int;
    pub(super) fn neural_shim_page_address(page: *const Page) -> *mut c_void;

    // work.c
    pub(super) safe fn neural_shim_queue_create() -> *mut bindings::workqueue_struct;
    pub(super) safe fn neural_shim_work_alloc(count: c_uint) -> *mut Work;
    pub(super) fn neural_shim_work_free(works: *mut Work);
    pub(super) fn neural_shim_work_queue(
        queue: *mut bindings::workqueue_struct,
        works: *mut Work,
        i: c_uint,
        cpu: c_uint,
        func: unsafe extern "C" fn(*mut c_void),
        arg: *mut c_void,
    );
    pub(super) fn neural_shim_work_wait(works: *mut Work, i: c_uint);
    pub(super) fn neural_shim_work_wait_killable(works: *mut Work, i: c_uint) -> bool;
    pub(super) fn neural_shim_work_once(
        queue: *mut bindings::workqueue_struct,
        cpu: c_uint,
        func: unsafe extern "C" fn(*mut c_void),
        arg: *mut c_void,
        stop: *mut bool,
    );

    // profile.c
    pub(super) safe fn neural_shim_profile_switch(on: bool);

    // jit.c
    pub(super) safe fn neural_shim_jit_arena() -> *const c_void;
    pub(super) safe fn neural_shim_jit_refusal() -> c_uint;
    pub(super) fn neural_shim_jit_return(thunk: *mut *const c_void) -> bool;
    pub(super) fn neural_shim_jit_write(at: usize, code: *const u8, len: usize) -> c_int;
    pub(super) fn neural_shim_jit_start(pass: extern "C" fn()) -> bool;
    pub(super) fn neural_shim_jit_kick();
    pub(super) fn neural_shim_jit_stop();

    // params.c
    pub(super) safe fn neural_shim_param_profiling() -> c_uint;
    pub(super) safe fn neural_shim_param_enable_simd() -> bool;
    pub(super) safe fn neural_shim_param_numa_policy() -> c_int;
    pub(super) safe fn neural_shim_param_numa_node() -> c_int;
    pub(super) safe fn neural_shim_param_cache_timeout_ms() -> c_uint;
    pub(super) safe fn neural_shim_param_cache_size() -> c_uint;
    pub(super) safe fn neural_shim_param_enable_jit() -> bool;
    pub(super) safe fn neural_shim_param_jit_threshold() -> c_uint;
    pub(super) safe fn neural_shim_param_jit_cache_kb() -> c_uint;
    pub(super) safe fn neural_shim_param_jit_share() -> c_uint;
    pub(super) safe fn neural_shim_param_jit_gain() -> c_uint;
    pub(super) safe fn neural_shim_param_models() -> *const c_char;
    pub(super) safe fn neural_shim_param_force_isa() -> *const c_char;
    pub(super) fn neural_shim_param_error(buf: *mut u8, size: usize);

    // trace.c
    pub(super) fn neural_shim_trace_load(name: *const c_char, id: u32, generation: u32, bytes: u64);
    pub(super) fn neural_shim_trace_unload(name: *const c_char, id: u32);
    pub(super) safe fn neural_shim_trace_predict(id: u32, ns: u64, samples: u32, ret: c_int);
    pub(super) safe fn neural_shim_trace_cache(id: u32, result: u32);
}
