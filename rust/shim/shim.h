/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What Rust cannot express: inline kernel functions, macros and per-CPU
 * variables, behind one plain function each. No decisions are made here.
 * The Rust side of these declarations is rust/module/sys/ffi.rs.
 */
#ifndef NEURAL_SHIM_H
#define NEURAL_SHIM_H

/* What the arena for generated code is built with. */
#define NEURAL_JIT_ARENA_KB 64
#define NEURAL_JIT_ARENA_BYTES (NEURAL_JIT_ARENA_KB * 1024)

#ifndef __ASSEMBLER__

#include <linux/types.h>

struct cpumask;
struct page;

/* Where a caller stands. */
#define NEURAL_CONTEXT_TASK 0
#define NEURAL_CONTEXT_SOFTIRQ 1
#define NEURAL_CONTEXT_HARDIRQ 2
#define NEURAL_CONTEXT_NMI 3

/* cpu.c */
unsigned int neural_shim_context(void);
bool neural_shim_preemptible(void);
void neural_shim_migrate_disable(void);
void neural_shim_migrate_enable(void);
bool neural_shim_irqs_disabled(void);
void neural_shim_preempt_disable(void);
void neural_shim_preempt_enable(void);
unsigned int neural_shim_smp_processor_id(void);
bool neural_shim_cpu_online(unsigned int cpu);
bool neural_shim_cpu_possible(unsigned int cpu);
int neural_shim_cpu_to_node(unsigned int cpu);
int neural_shim_numa_node_id(void);
bool neural_shim_node_has_memory(int node);
unsigned int neural_shim_nr_node_ids(void);
int neural_shim_call_on(unsigned int cpu, void (*fn)(void *), void *arg);
void neural_shim_cond_resched(void);
bool neural_shim_fatal_signal_pending(void);
int neural_shim_cpulist_parse(const char *list, unsigned long *bits,
			      unsigned int nbits);
int neural_shim_cpulist_print(const unsigned long *bits, unsigned int nbits,
			      char *buf, size_t size);

/* What vector code can use. */
#define NEURAL_CPU_AVX2 (1U << 0)
#define NEURAL_CPU_AVX_VNNI (1U << 1)
#define NEURAL_CPU_AVX512F (1U << 2)
#define NEURAL_CPU_AVX512BW (1U << 3)
#define NEURAL_CPU_AVX512_VNNI (1U << 4)
#define NEURAL_CPU_FMA (1U << 5)
#define NEURAL_CPU_AVX512VL (1U << 6)

/* fpu.c */
unsigned int neural_shim_cpu_features(void);
void neural_shim_section_count(u64 ticks);
void neural_shim_section_stats(u64 *count, u64 *longest);
u64 neural_shim_ticks_to_ns(u64 ticks);

/* memory.c */
struct page *neural_shim_alloc_page_node(int node, bool exact);
unsigned long neural_shim_totalram_pages(void);
void neural_shim_free_page(struct page *page);
void *neural_shim_vmap(struct page **pages, unsigned int count);
void *neural_shim_vmap_owned(struct page **pages, unsigned int count);
unsigned int neural_shim_vunmap_owned(void *addr);
void neural_shim_vunmap(const void *addr);
int neural_shim_page_to_nid(const struct page *page);
int neural_shim_addr_to_nid(const void *addr);
void *neural_shim_page_address(const struct page *page);

/* work.c */
struct neural_shim_work;
struct workqueue_struct;
struct workqueue_struct *neural_shim_queue_create(void);
struct neural_shim_work *neural_shim_work_alloc(unsigned int count);
void neural_shim_work_free(struct neural_shim_work *works);
void neural_shim_work_queue(struct workqueue_struct *queue,
			    struct neural_shim_work *works, unsigned int i,
			    unsigned int cpu, void (*fn)(void *), void *arg);
bool neural_shim_work_wait_killable(struct neural_shim_work *works,
				    unsigned int i);
void neural_shim_work_wait(struct neural_shim_work *works, unsigned int i);
void neural_shim_work_once(struct workqueue_struct *queue, unsigned int cpu,
			   void (*fn)(void *), void *arg, bool *stop);

/* profile.c */
struct neural_profile_switch;
extern struct neural_profile_switch neural_profile_switch;
void neural_shim_profile_switch(bool on);

/* In Rust, rust/module/sys/profile.rs: an error number, or 0 and it is done. */
int neural_profile_param(unsigned int mode);

/* Why there is no generated code. */
#define NEURAL_JIT_ALLOWED 0
#define NEURAL_JIT_LOCKED 1
#define NEURAL_JIT_CFI 2

/* jit_arena.S */
extern const u8 neural_jit_arena[];
extern const u8 neural_jit_return[];

/* jit.c */
const void *neural_shim_jit_arena(void);
unsigned int neural_shim_jit_refusal(void);
bool neural_shim_jit_return(const void **thunk);
int neural_shim_jit_write(size_t at, const u8 *code, size_t len);
bool neural_shim_jit_start(void (*fn)(void));
void neural_shim_jit_kick(void);
void neural_shim_jit_poke(void);
void neural_shim_jit_stop(void);

/* params.c */
unsigned int neural_shim_param_profiling(void);
bool neural_shim_param_enable_simd(void);
int neural_shim_param_numa_policy(void);
int neural_shim_param_numa_node(void);
unsigned int neural_shim_param_cache_timeout_ms(void);
unsigned int neural_shim_param_cache_size(void);
bool neural_shim_param_enable_jit(void);
unsigned int neural_shim_param_jit_threshold(void);
unsigned int neural_shim_param_jit_cache_kb(void);
unsigned int neural_shim_param_jit_share(void);
unsigned int neural_shim_param_jit_gain(void);
const char *neural_shim_param_models(void);
const char *neural_shim_param_force_isa(void);
void neural_shim_param_error(char *buf, size_t size);

/* trace.c */
void neural_shim_trace_load(const char *name, u32 id, u32 generation,
			    u64 bytes);
void neural_shim_trace_unload(const char *name, u32 id);
void neural_shim_trace_predict(u32 id, u64 ns, u32 samples, int ret);
void neural_shim_trace_cache(u32 id, u32 result);

#endif /* __ASSEMBLER__ */

#endif /* NEURAL_SHIM_H */
