// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters that can be read and, where it makes sense, written at run
 * time in /sys/module/neural/parameters.
 *
 * A value that is refused leaves the old one in place; why it was refused is
 * logged and kept for the debugfs file last_error, because sysfs can only
 * return an error number.
 *
 * Context: task, may sleep. Writers hold the kernel's parameter lock of this
 * module; readers use READ_ONCE and take no lock.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/moduleparam.h>
#include <linux/nodemask.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "shim.h"

struct neural_uint_param {
	unsigned int value;
	unsigned int max;
};

static bool neural_enable_simd = true;
static struct neural_uint_param placement_policy = { 0, 2 };
static struct neural_uint_param placement_node = { 0, MAX_NUMNODES - 1 };
static struct neural_uint_param cache_timeout_ms = { 500, 3600000 };
static struct neural_uint_param cache_size = { 256, 65536 };
static struct neural_uint_param profiling = { 0, 2 };
static bool neural_enable_jit = true;
static struct neural_uint_param jit_threshold = { 1000, INT_MAX };
static struct neural_uint_param jit_cache_kb = { NEURAL_JIT_ARENA_KB,
						 NEURAL_JIT_ARENA_KB };
static struct neural_uint_param jit_share = { 1, 100 };
static struct neural_uint_param jit_gain = { 5, 1000 };
static char *neural_models = "";
static char *neural_force_isa = "auto";

static DEFINE_SPINLOCK(error_lock);
static char error_line[160];

static void param_refuse(const struct kernel_param *kp, const char *value,
			 const char *why)
{
	char line[sizeof(error_line)];
	char *c;

	scnprintf(line, sizeof(line), "parameter %s: '%.*s' %s", kp->name,
		  (int)strcspn(value, "\n"), value, why);
	/* What a terminal would take for a command is only shown. */
	for (c = line; *c; c++) {
		if (!isascii(*c) || !isprint(*c))
			*c = '?';
	}
	pr_err("%s\n", line);
	spin_lock(&error_lock);
	strscpy(error_line, line, sizeof(error_line));
	spin_unlock(&error_lock);
}

/* The last parameter value that was refused, or nothing; the text ends with a NUL. */
void neural_shim_param_error(char *buf, size_t size)
{
	spin_lock(&error_lock);
	strscpy(buf, error_line, size);
	spin_unlock(&error_lock);
}

static int uint_set(const char *value, const struct kernel_param *kp)
{
	struct neural_uint_param *p = kp->arg;
	unsigned int number;
	char why[48];

	if (kstrtouint(value, 0, &number) || number > p->max) {
		scnprintf(why, sizeof(why), "is not a number from 0 to %u",
			  p->max);
		param_refuse(kp, value, why);
		return -EINVAL;
	}
	if (p == &placement_node && !neural_shim_node_has_memory(number)) {
		param_refuse(kp, value, "is not a node with memory");
		return -EINVAL;
	}
	if (p == &profiling) {
		int ret = neural_profile_param(number);

		if (ret) {
			param_refuse(kp, value, "needs memory for the tables");
			return ret;
		}
	}
	WRITE_ONCE(p->value, number);
	if (p == &jit_cache_kb || p == &jit_threshold || p == &jit_share)
		neural_shim_jit_poke();
	return 0;
}

static int uint_get(char *buf, const struct kernel_param *kp)
{
	struct neural_uint_param *p = kp->arg;

	return sysfs_emit(buf, "%u\n", READ_ONCE(p->value));
}

static const struct kernel_param_ops uint_ops = {
	.set = uint_set,
	.get = uint_get,
};

static int bool_set(const char *value, const struct kernel_param *kp)
{
	int ret = param_set_bool(value, kp);

	if (ret)
		param_refuse(kp, value, "is neither 0 nor 1");
	if (kp->arg == &neural_enable_jit)
		neural_shim_jit_poke();
	return ret;
}

static const struct kernel_param_ops bool_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = bool_set,
	.get = param_get_bool,
};

module_param_cb(neural_enable_simd, &bool_ops, &neural_enable_simd, 0644);
MODULE_PARM_DESC(neural_enable_simd,
		 "use vector code where it exists (default 1)");
module_param_cb(neural_numa_policy, &uint_ops, &placement_policy, 0644);
MODULE_PARM_DESC(
	neural_numa_policy,
	"placement of new networks: 0 local node, 1 interleaved, 2 neural_numa_node");
module_param_cb(neural_numa_node, &uint_ops, &placement_node, 0644);
MODULE_PARM_DESC(neural_numa_node, "node for neural_numa_policy=2");
module_param_cb(neural_cache_timeout_ms, &uint_ops, &cache_timeout_ms, 0644);
MODULE_PARM_DESC(
	neural_cache_timeout_ms,
	"how long a cached prediction is good, in ms; for networks that set none of their own (default 500)");
module_param_cb(neural_cache_size, &uint_ops, &cache_size, 0644);
MODULE_PARM_DESC(
	neural_cache_size,
	"entries of the prediction cache of new networks, 0 for none (default 256)");
module_param_cb(neural_profiling, &uint_ops, &profiling, 0644);
MODULE_PARM_DESC(
	neural_profiling,
	"times of operations, for networks that do not say it themselves: 0 none, 1 of some predictions, 2 of all (default 0)");
module_param_cb(neural_enable_jit, &bool_ops, &neural_enable_jit, 0644);
MODULE_PARM_DESC(neural_enable_jit,
		 "use generated code where it is faster (default 1)");
module_param_cb(neural_jit_threshold, &uint_ops, &jit_threshold, 0644);
MODULE_PARM_DESC(
	neural_jit_threshold,
	"predictions of a network after which code is generated for it (default 1000)");
module_param_cb(neural_jit_share, &uint_ops, &jit_share, 0644);
MODULE_PARM_DESC(
	neural_jit_share,
	"per cent of all cycles from which on code is generated, for what is profiled (default 1)");
module_param_cb(neural_jit_cache_kb, &uint_ops, &jit_cache_kb, 0644);
MODULE_PARM_DESC(neural_jit_cache_kb,
		 "the most KiB of generated code (default and limit 64)");
module_param_cb(neural_jit_gain, &uint_ops, &jit_gain, 0644);
MODULE_PARM_DESC(
	neural_jit_gain,
	"per cent by which generated code must be faster, 0 to keep it in any case (default 5)");
module_param(neural_force_isa, charp, 0444);
MODULE_PARM_DESC(
	neural_force_isa,
	"code to use: auto, scalar, avx2, avxvnni, avx512 or avx512vnni (default auto)");
module_param(neural_models, charp, 0444);
MODULE_PARM_DESC(
	neural_models,
	"models to load from the firmware path, as neural/NAME.nnm, separated by commas");

bool neural_shim_param_enable_simd(void)
{
	return READ_ONCE(neural_enable_simd);
}

bool neural_shim_param_enable_jit(void)
{
	return READ_ONCE(neural_enable_jit);
}

unsigned int neural_shim_param_jit_threshold(void)
{
	return READ_ONCE(jit_threshold.value);
}

unsigned int neural_shim_param_jit_cache_kb(void)
{
	return READ_ONCE(jit_cache_kb.value);
}

unsigned int neural_shim_param_jit_share(void)
{
	return READ_ONCE(jit_share.value);
}

unsigned int neural_shim_param_jit_gain(void)
{
	return READ_ONCE(jit_gain.value);
}

int neural_shim_param_numa_policy(void)
{
	return READ_ONCE(placement_policy.value);
}

int neural_shim_param_numa_node(void)
{
	return READ_ONCE(placement_node.value);
}

unsigned int neural_shim_param_cache_timeout_ms(void)
{
	return READ_ONCE(cache_timeout_ms.value);
}

unsigned int neural_shim_param_cache_size(void)
{
	return READ_ONCE(cache_size.value);
}

unsigned int neural_shim_param_profiling(void)
{
	return READ_ONCE(profiling.value);
}

const char *neural_shim_param_models(void)
{
	return neural_models;
}

const char *neural_shim_param_force_isa(void)
{
	return neural_force_isa;
}
