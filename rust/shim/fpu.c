// SPDX-License-Identifier: GPL-2.0
/*
 * What vector code needs to know of the CPU, and how long sections last in
 * which it may run.
 */
#include <linux/math64.h>
#include <linux/percpu.h>

#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include <asm/fpu/types.h>
#include <asm/tsc.h>

#include "shim.h"

struct sections {
	u64 count;
	u64 longest;
};

static DEFINE_PER_CPU(struct sections, sections);

/* A feature counts when the kernel also saves the registers that it uses. */
unsigned int neural_shim_cpu_features(void)
{
	unsigned int features = 0;

	if (!boot_cpu_has(X86_FEATURE_OSXSAVE) ||
	    !cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM, NULL))
		return 0;
	if (boot_cpu_has(X86_FEATURE_AVX) && boot_cpu_has(X86_FEATURE_AVX2))
		features |= NEURAL_CPU_AVX2;
	if (boot_cpu_has(X86_FEATURE_FMA))
		features |= NEURAL_CPU_FMA;
	if (boot_cpu_has(X86_FEATURE_AVX_VNNI))
		features |= NEURAL_CPU_AVX_VNNI;
	if (!cpu_has_xfeatures(XFEATURE_MASK_AVX512, NULL))
		return features;
	if (boot_cpu_has(X86_FEATURE_AVX512F))
		features |= NEURAL_CPU_AVX512F;
	if (boot_cpu_has(X86_FEATURE_AVX512BW))
		features |= NEURAL_CPU_AVX512BW;
	if (boot_cpu_has(X86_FEATURE_AVX512VL))
		features |= NEURAL_CPU_AVX512VL;
	if (boot_cpu_has(X86_FEATURE_AVX512_VNNI))
		features |= NEURAL_CPU_AVX512_VNNI;
	return features;
}

/* Counts a section that is about to end: preemption and softirqs are off. */
void neural_shim_section_count(u64 ticks)
{
	struct sections *here = this_cpu_ptr(&sections);

	WRITE_ONCE(here->count, here->count + 1);
	if (ticks > here->longest)
		WRITE_ONCE(here->longest, ticks);
}

/* Sections of all CPUs until now, and the ticks of the longest. */
void neural_shim_section_stats(u64 *count, u64 *longest)
{
	int cpu;

	*count = 0;
	*longest = 0;
	for_each_possible_cpu(cpu) {
		const struct sections *there = per_cpu_ptr(&sections, cpu);

		*count += READ_ONCE(there->count);
		*longest = max(*longest, READ_ONCE(there->longest));
	}
}

/* 0 where the frequency of the time stamp counter is not known. */
u64 neural_shim_ticks_to_ns(u64 ticks)
{
	return tsc_khz ? mul_u64_u32_div(ticks, 1000000, tsc_khz) : 0;
}
