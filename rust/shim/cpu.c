// SPDX-License-Identifier: GPL-2.0
/*
 * CPUs, contexts and NUMA nodes: macros and inline functions of the kernel as
 * functions that Rust can call.
 */
#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/nodemask.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>
#include <linux/topology.h>

#include "shim.h"

unsigned int neural_shim_context(void)
{
	if (in_nmi())
		return NEURAL_CONTEXT_NMI;
	if (in_hardirq())
		return NEURAL_CONTEXT_HARDIRQ;
	if (in_serving_softirq())
		return NEURAL_CONTEXT_SOFTIRQ;
	return NEURAL_CONTEXT_TASK;
}

#ifndef CONFIG_PREEMPT_COUNT
#error "without CONFIG_PREEMPT_COUNT nobody can tell who may sleep"
#endif

bool neural_shim_preemptible(void)
{
	return preemptible() && !rcu_preempt_depth();
}

void neural_shim_migrate_disable(void)
{
	migrate_disable();
}

void neural_shim_migrate_enable(void)
{
	migrate_enable();
}

bool neural_shim_irqs_disabled(void)
{
	return irqs_disabled();
}

void neural_shim_preempt_disable(void)
{
	preempt_disable();
}

void neural_shim_preempt_enable(void)
{
	preempt_enable();
}

unsigned int neural_shim_smp_processor_id(void)
{
	return raw_smp_processor_id();
}

bool neural_shim_cpu_online(unsigned int cpu)
{
	return cpu < nr_cpu_ids && cpu_online(cpu);
}

bool neural_shim_cpu_possible(unsigned int cpu)
{
	return cpu < nr_cpu_ids && cpu_possible(cpu);
}

int neural_shim_cpu_to_node(unsigned int cpu)
{
	return cpu_to_node(cpu);
}

int neural_shim_numa_node_id(void)
{
	return numa_node_id();
}

bool neural_shim_node_has_memory(int node)
{
	return node >= 0 && node < nr_node_ids && node_state(node, N_MEMORY);
}

unsigned int neural_shim_nr_node_ids(void)
{
	return nr_node_ids;
}

int neural_shim_call_on(unsigned int cpu, void (*fn)(void *), void *arg)
{
	return smp_call_function_single(cpu, fn, arg, true);
}

void neural_shim_cond_resched(void)
{
	cond_resched();
}

bool neural_shim_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

int neural_shim_cpulist_parse(const char *list, unsigned long *bits,
			      unsigned int nbits)
{
	return bitmap_parselist(list, bits, nbits);
}

int neural_shim_cpulist_print(const unsigned long *bits, unsigned int nbits,
			      char *buf, size_t size)
{
	return scnprintf(buf, size, "%*pbl", nbits, bits);
}
