// SPDX-License-Identifier: GPL-2.0
/*
 * Checks of the in-kernel API as another module sees it: every function, every
 * context that may predict, every refusal. Under KUnit where the kernel has it,
 * else when the module is loaded; loading fails when a check does. The
 * throughput, which is printed last, is not checked.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/firmware.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/ktime.h>
#include <linux/kthread.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/neural.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "plain_kunit.h"

#define IN 16
#define HIDDEN 24
#define OUT 4
#define RELU 1

static const u32 small[] = { IN, HIDDEN, OUT };
/* 512 * 1024 multiply-accumulates: more than NEURAL_ATOMIC_MACS. */
static const u32 large[] = { 512, 1024 };

static void fill_input(s32 *input, unsigned int dim, u32 seed)
{
	unsigned int i;

	for (i = 0; i < dim; i++) {
		seed = seed * 1664525u + 1013904223u;
		input[i] = (s32)seed >> 15; /* -1.0 to 1.0 */
	}
}

/* A condition without which a case cannot go on. */
static bool holds(struct kunit *test, bool condition)
{
	KUNIT_EXPECT_TRUE(test, condition);
	return condition;
}

static struct neural_network *make(struct kunit *test, const char *name)
{
	struct neural_network *nn =
		neural_network_create(name, small, ARRAY_SIZE(small), RELU, 7);

	KUNIT_EXPECT_TRUE(test, !IS_ERR_OR_NULL(nn));
	return IS_ERR_OR_NULL(nn) ? NULL : nn;
}

static void drop(struct kunit *test, struct neural_network *nn,
		 const char *name)
{
	KUNIT_EXPECT_EQ(test, neural_network_unload(name), 0);
	neural_network_put(nn);
}

static void a_network_is_found_by_name_until_it_is_unloaded(struct kunit *test)
{
	struct neural_network *nn = make(test, "t_name");
	struct neural_network *found;

	if (!holds(test, nn))
		return;
	KUNIT_EXPECT_EQ(test, neural_network_input_dim(nn), IN);
	KUNIT_EXPECT_EQ(test, neural_network_output_dim(nn), OUT);
	found = neural_network_get("t_name");
	KUNIT_EXPECT_PTR_EQ(test, found, nn);
	neural_network_put(found);
	drop(test, nn, "t_name");
	KUNIT_EXPECT_EQ(test, PTR_ERR(neural_network_get("t_name")), -ENOENT);
	KUNIT_EXPECT_EQ(test, neural_network_unload("t_name"), -ENOENT);
}

static void a_reference_outlives_the_unload(struct kunit *test)
{
	struct neural_network *nn = make(test, "t_ref");
	s32 in[IN], out[OUT];

	if (!holds(test, nn))
		return;
	fill_input(in, IN, 1);
	KUNIT_EXPECT_EQ(test, neural_network_unload("t_ref"), 0);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, out), 0);
	neural_network_put(nn);
}

static void bad_arguments_get_their_errno(struct kunit *test)
{
	static const u32 zero[] = { 4, 0 }, huge[] = { 4, 4097 };
	struct neural_network *nn = make(test, "t_bad");
	s32 in[IN], out[OUT];
	u8 rubbish[64] = { 1, 2, 3 };

	if (!holds(test, nn))
		return;
	KUNIT_EXPECT_EQ(
		test,
		PTR_ERR(neural_network_create("t_bad", small, 3, RELU, 1)),
		-EEXIST);
	KUNIT_EXPECT_EQ(
		test,
		PTR_ERR(neural_network_create("t bad", small, 3, RELU, 1)),
		-EINVAL);
	KUNIT_EXPECT_EQ(test,
			PTR_ERR(neural_network_create(".t", small, 3, RELU, 1)),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			PTR_ERR(neural_network_create("", small, 3, RELU, 1)),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			PTR_ERR(neural_network_create("t1", small, 1, RELU, 1)),
			-EINVAL);
	KUNIT_EXPECT_TRUE(
		test, IS_ERR(neural_network_create("t1", zero, 2, RELU, 1)));
	KUNIT_EXPECT_TRUE(
		test, IS_ERR(neural_network_create("t1", huge, 2, RELU, 1)));
	KUNIT_EXPECT_TRUE(
		test, IS_ERR(neural_network_create("t1", small, 3, 999, 1)));
	KUNIT_EXPECT_EQ(
		test,
		PTR_ERR(neural_network_load("t1", rubbish, sizeof(rubbish))),
		-EBADMSG);
	KUNIT_EXPECT_TRUE(test, IS_ERR(neural_network_load("t1", rubbish, 0)));
	KUNIT_EXPECT_EQ(test,
			neural_network_replace(nn, rubbish, sizeof(rubbish)),
			-EBADMSG);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, NULL, out), -EINVAL);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "cache_timeout"),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "no_such_key 1"),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, ""), -EINVAL);
	KUNIT_EXPECT_TRUE(test, !neural_batch_create(0, IN, OUT));
	KUNIT_EXPECT_TRUE(test, !neural_batch_create(1, 0, OUT));
	KUNIT_EXPECT_TRUE(test, !neural_batch_create(1, IN, 4097));
	KUNIT_EXPECT_TRUE(test, !neural_alloc_numa(0, NEURAL_NODE_POLICY));
	KUNIT_EXPECT_TRUE(test, !neural_alloc_numa(PAGE_SIZE, 12345));
	neural_batch_free(NULL);
	neural_free_numa(NULL);
	drop(test, nn, "t_bad");
}

/* ---- Contexts ---------------------------------------------------------------------------- */

struct call {
	struct neural_network *nn;
	s32 *in;
	s32 *out;
	int ret;
	bool done;
	struct tasklet_struct tasklet;
	struct irq_work irq_work;
};

static void call_in_softirq(struct tasklet_struct *tasklet)
{
	struct call *call = container_of(tasklet, struct call, tasklet);

	call->ret = neural_network_predict(call->nn, call->in, call->out);
	/* Publishes ret and the output to whoever sees done. */
	smp_store_release(&call->done, true);
}

static void call_in_hardirq(struct irq_work *work)
{
	struct call *call = container_of(work, struct call, irq_work);

	call->ret = neural_network_predict(call->nn, call->in, call->out);
	/* Publishes ret and the output to whoever sees done. */
	smp_store_release(&call->done, true);
}

static int predict_in_softirq(struct neural_network *nn, s32 *in, s32 *out)
{
	struct call call = { .nn = nn, .in = in, .out = out };

	tasklet_setup(&call.tasklet, call_in_softirq);
	tasklet_schedule(&call.tasklet);
	/* Pairs with the release in call_in_softirq(). */
	while (!smp_load_acquire(&call.done))
		cond_resched();
	tasklet_kill(&call.tasklet);
	return call.ret;
}

static int predict_in_hardirq(struct neural_network *nn, s32 *in, s32 *out)
{
	struct call call = { .nn = nn, .in = in, .out = out };

	call.irq_work = IRQ_WORK_INIT_HARD(call_in_hardirq);
	irq_work_queue(&call.irq_work);
	irq_work_sync(&call.irq_work);
	return call.done ? call.ret : -ETIMEDOUT;
}

static void all_contexts_give_the_same_answer(struct kunit *test)
{
	struct neural_network *nn = make(test, "t_ctx");
	s32 in[IN], want[OUT], out[OUT];
	unsigned long flags;
	int ret;

	if (!holds(test, nn))
		return;
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "cache_size 0"), 0);
	fill_input(in, IN, 2);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, want), 0);

	memset(out, 0x55, sizeof(out));
	KUNIT_EXPECT_EQ(test, predict_in_softirq(nn, in, out), 0);
	KUNIT_EXPECT_EQ(test, memcmp(out, want, sizeof(out)), 0);

	memset(out, 0x55, sizeof(out));
	KUNIT_EXPECT_EQ(test, predict_in_hardirq(nn, in, out), 0);
	KUNIT_EXPECT_EQ(test, memcmp(out, want, sizeof(out)), 0);

	memset(out, 0x55, sizeof(out));
	local_irq_save(flags);
	ret = neural_network_predict(nn, in, out);
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, memcmp(out, want, sizeof(out)), 0);
	drop(test, nn, "t_ctx");
}

struct storm {
	struct hrtimer timer;
	struct neural_network *nn;
	s32 in[IN];
	s32 want[OUT];
	unsigned int calls;
	unsigned int wrong;
	bool stop;
};

static enum hrtimer_restart storm_tick(struct hrtimer *timer)
{
	struct storm *storm = container_of(timer, struct storm, timer);
	s32 out[OUT];

	if (neural_network_predict(storm->nn, storm->in, out) ||
	    memcmp(out, storm->want, sizeof(out)))
		storm->wrong++;
	storm->calls++;
	if (READ_ONCE(storm->stop))
		return HRTIMER_NORESTART;
	hrtimer_forward_now(timer, ns_to_ktime(200000));
	return HRTIMER_RESTART;
}

static void
interrupts_do_not_disturb_the_prediction_they_interrupt(struct kunit *test)
{
	struct neural_network *nn = make(test, "t_storm");
	struct storm *storm = kzalloc(sizeof(*storm), GFP_KERNEL);
	s32 in[IN], want[OUT], out[OUT];
	unsigned int i, wrong = 0;

	if (!holds(test, nn && storm))
		return;
	/* A tiny cache, so that its entries are fought for. */
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "cache_size 1\n"),
			0);
	storm->nn = nn;
	fill_input(storm->in, IN, 3);
	fill_input(in, IN, 4);
	KUNIT_EXPECT_EQ(test,
			neural_network_predict(nn, storm->in, storm->want), 0);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, want), 0);
	hrtimer_setup(&storm->timer, storm_tick, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_HARD);
	hrtimer_start(&storm->timer, ns_to_ktime(200000),
		      HRTIMER_MODE_REL_HARD);
	for (i = 0; i < 20000; i++) {
		if (neural_network_predict(nn, in, out) ||
		    memcmp(out, want, sizeof(out)))
			wrong++;
		if (i % 1000 == 0)
			cond_resched();
	}
	WRITE_ONCE(storm->stop, true);
	hrtimer_cancel(&storm->timer);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_EQ(test, storm->wrong, 0);
	KUNIT_EXPECT_NE(test, storm->calls, 0);
	kfree(storm);
	drop(test, nn, "t_storm");
}

static void a_costly_network_needs_a_caller_that_may_sleep(struct kunit *test)
{
	struct neural_network *nn =
		neural_network_create("t_large", large, 2, RELU, 1);
	s32 *in = kcalloc(512, sizeof(s32), GFP_KERNEL);
	s32 *out = kcalloc(1024, sizeof(s32), GFP_KERNEL);
	int ret;

	if (!holds(test, !IS_ERR(nn) && in && out))
		return;
	fill_input(in, 512, 5);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, out), 0);
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "cache_size 0"), 0);
	preempt_disable();
	ret = neural_network_predict(nn, in, out);
	preempt_enable();
	KUNIT_EXPECT_EQ(test, ret, -EAGAIN);
	KUNIT_EXPECT_EQ(test, predict_in_hardirq(nn, in, out), -EAGAIN);
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "allowed_cpus 0"),
			0);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, out), 0);
	kfree(in);
	kfree(out);
	drop(test, nn, "t_large");
}

/* ---- Codes ------------------------------------------------------------------------------- */

#define CODES_IN 64
#define CODES_OUT 8
#define CODES 16

/* A network, samples and answers: the files that tests/vectors/codes has. */
struct codes {
	struct neural_network *nn;
	s8 in[CODES][CODES_IN];
	s8 out[CODES][CODES_OUT];
};

static int read_codes(struct device *dev, const char *name, void *to,
		      size_t size)
{
	const struct firmware *fw;
	int ret = request_firmware(&fw, name, dev);

	if (ret)
		return ret;
	if (fw->size == size)
		memcpy(to, fw->data, size);
	else
		ret = -EINVAL;
	release_firmware(fw);
	return ret;
}

static struct codes *make_codes(struct kunit *test, const char *name)
{
	struct codes *codes = kzalloc(sizeof(*codes), GFP_KERNEL);
	struct device *dev = root_device_register("neural_test");
	const struct firmware *fw;
	int ret = -ENOMEM;

	if (codes && !IS_ERR(dev))
		ret = request_firmware(&fw, "neural/codes_mlp.nnm", dev);
	if (!ret) {
		codes->nn = neural_network_load(name, fw->data, fw->size);
		release_firmware(fw);
		ret = PTR_ERR_OR_ZERO(codes->nn);
	}
	if (!ret)
		ret = read_codes(dev, "neural/codes_mlp.in", codes->in,
				 sizeof(codes->in));
	if (!ret)
		ret = read_codes(dev, "neural/codes_mlp.out", codes->out,
				 sizeof(codes->out));
	if (!IS_ERR(dev))
		root_device_unregister(dev);
	KUNIT_EXPECT_EQ(test, ret, 0);
	return ret ? NULL : codes;
}

static void drop_codes(struct kunit *test, struct codes *codes,
		       const char *name)
{
	drop(test, codes->nn, name);
	kfree(codes);
}

static void codes_are_counted_in_bytes(struct kunit *test)
{
	struct codes *codes = make_codes(test, "t_codes");
	struct neural_batch *batch, *wide;
	unsigned int i, bad = 0;

	if (!holds(test, codes))
		return;
	KUNIT_EXPECT_EQ(test, neural_network_dtype(codes->nn), NEURAL_DTYPE_I8);
	KUNIT_EXPECT_EQ(test, neural_network_input_dim(codes->nn), CODES_IN);
	KUNIT_EXPECT_EQ(test, neural_network_output_dim(codes->nn), CODES_OUT);
	KUNIT_EXPECT_EQ(test, neural_network_input_bytes(codes->nn), CODES_IN);
	KUNIT_EXPECT_EQ(test, neural_network_output_bytes(codes->nn),
			CODES_OUT);
	batch = neural_batch_create_for(codes->nn, CODES);
	wide = neural_batch_create(CODES, CODES_IN, CODES_OUT);
	if (!holds(test, batch && wide))
		return;
	for (i = 0; i < CODES; i++)
		memcpy(batch->inputs[i], codes->in[i], CODES_IN);
	KUNIT_EXPECT_EQ(test, neural_batch_predict(codes->nn, batch), 0);
	for (i = 0; i < CODES; i++)
		bad += !!memcmp(batch->outputs[i], codes->out[i], CODES_OUT);
	KUNIT_EXPECT_EQ(test, bad, 0);
	KUNIT_EXPECT_EQ(test, neural_batch_predict(codes->nn, wide), -EINVAL);
	KUNIT_EXPECT_TRUE(test, !neural_batch_create_for(codes->nn, 0));
	neural_batch_free(wide);
	neural_batch_free(batch);
	drop_codes(test, codes, "t_codes");
}

static void codes_are_the_same_in_all_contexts(struct kunit *test)
{
	struct codes *codes = make_codes(test, "t_codes_ctx");
	unsigned int i, bad = 0;
	unsigned long flags;
	s8 out[CODES_OUT];

	if (!holds(test, codes))
		return;
	KUNIT_EXPECT_EQ(test,
			neural_network_configure(codes->nn, "cache_size 0"), 0);
	for (i = 0; i < CODES; i++) {
		void *in = codes->in[i];

		memset(out, 0x55, sizeof(out));
		bad += neural_network_predict(codes->nn, in, out) ||
		       memcmp(out, codes->out[i], sizeof(out));
		memset(out, 0x55, sizeof(out));
		bad += predict_in_softirq(codes->nn, in, (s32 *)out) ||
		       memcmp(out, codes->out[i], sizeof(out));
		memset(out, 0x55, sizeof(out));
		bad += predict_in_hardirq(codes->nn, in, (s32 *)out) ||
		       memcmp(out, codes->out[i], sizeof(out));
		memset(out, 0x55, sizeof(out));
		local_irq_save(flags);
		bad += neural_network_predict(codes->nn, in, out) ||
		       memcmp(out, codes->out[i], sizeof(out));
		local_irq_restore(flags);
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
	drop_codes(test, codes, "t_codes_ctx");
}

struct codes_storm {
	struct hrtimer timer;
	struct codes *codes;
	unsigned int calls;
	unsigned int wrong;
	bool stop;
};

static enum hrtimer_restart codes_storm_tick(struct hrtimer *timer)
{
	struct codes_storm *storm =
		container_of(timer, struct codes_storm, timer);
	unsigned int i = storm->calls++ % CODES;
	s8 out[CODES_OUT];

	if (neural_network_predict(storm->codes->nn, storm->codes->in[i],
				   out) ||
	    memcmp(out, storm->codes->out[i], sizeof(out)))
		storm->wrong++;
	if (READ_ONCE(storm->stop))
		return HRTIMER_NORESTART;
	hrtimer_forward_now(timer, ns_to_ktime(100000));
	return HRTIMER_RESTART;
}

/* A hard interrupt finds the vector registers in use by what it interrupts. */
static void interrupts_predict_codes_over_a_batch_of_codes(struct kunit *test)
{
	struct codes *codes = make_codes(test, "t_codes_storm");
	struct codes_storm *storm = kzalloc(sizeof(*storm), GFP_KERNEL);
	struct neural_batch *batch;
	unsigned int i, k, bad = 0;

	if (!holds(test, codes && storm))
		return;
	KUNIT_EXPECT_EQ(test,
			neural_network_configure(codes->nn, "cache_size 0"), 0);
	batch = neural_batch_create_for(codes->nn, CODES);
	if (!holds(test, batch))
		return;
	for (i = 0; i < CODES; i++)
		memcpy(batch->inputs[i], codes->in[i], CODES_IN);
	storm->codes = codes;
	hrtimer_setup(&storm->timer, codes_storm_tick, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_HARD);
	hrtimer_start(&storm->timer, ns_to_ktime(100000),
		      HRTIMER_MODE_REL_HARD);
	for (k = 0; k < 500; k++) {
		for (i = 0; i < CODES; i++)
			memset(batch->outputs[i], 0x55, CODES_OUT);
		bad += !!neural_batch_predict(codes->nn, batch);
		for (i = 0; i < CODES; i++)
			bad += !!memcmp(batch->outputs[i], codes->out[i],
					CODES_OUT);
	}
	WRITE_ONCE(storm->stop, true);
	hrtimer_cancel(&storm->timer);
	KUNIT_EXPECT_EQ(test, bad, 0);
	KUNIT_EXPECT_EQ(test, storm->wrong, 0);
	KUNIT_EXPECT_NE(test, storm->calls, 0);
	neural_batch_free(batch);
	kfree(storm);
	drop_codes(test, codes, "t_codes_storm");
}

/* ---- CPUs, batches, memory ----------------------------------------------------------------- */

static void work_is_done_on_an_allowed_cpu(struct kunit *test)
{
	struct neural_network *nn = make(test, "t_cpu");
	unsigned int last = cpumask_last(cpu_online_mask);
	s32 in[IN], want[OUT], out[OUT];
	char line[32];
	int ret;

	if (!holds(test, nn))
		return;
	fill_input(in, IN, 6);
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "cache_size 0"), 0);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, want), 0);
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "allowed_cpus 9999"),
			-ERANGE);
	scnprintf(line, sizeof(line), "allowed_cpus %u", last);
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, line), 0);
	if (last) {
		/* From a CPU that is not allowed: CPU 0. */
		set_cpus_allowed_ptr(current, cpumask_of(0));
		ret = neural_network_predict(nn, in, out);
		KUNIT_EXPECT_EQ(test, ret, 0);
		KUNIT_EXPECT_EQ(test, memcmp(out, want, sizeof(out)), 0);
		KUNIT_EXPECT_EQ(test, predict_in_hardirq(nn, in, out), -EXDEV);
		set_cpus_allowed_ptr(current, cpu_possible_mask);
	}
	drop(test, nn, "t_cpu");
}

static void a_batch_gives_what_single_predictions_give(struct kunit *test)
{
	static const char *const spread[] = { "batch_spread 0",
					      "batch_spread 2" };
	struct neural_network *nn = make(test, "t_batch");
	struct neural_batch *batch = neural_batch_create(100, IN, OUT);
	struct neural_batch *wrong = neural_batch_create(2, IN + 1, OUT);
	unsigned int i, k, bad = 0;
	s32 out[OUT];

	if (!holds(test, nn && batch && wrong))
		return;
	KUNIT_EXPECT_EQ(test, batch->batch_size, 100);
	for (k = 0; k < ARRAY_SIZE(spread); k++) {
		KUNIT_EXPECT_EQ(test, neural_network_configure(nn, spread[k]),
				0);
		for (i = 0; i < batch->batch_size; i++) {
			fill_input(batch->inputs[i], IN, 100 * k + i);
			memset(batch->outputs[i], 0x55, sizeof(out));
		}
		KUNIT_EXPECT_EQ(test, neural_batch_predict(nn, batch), 0);
		for (i = 0; i < batch->batch_size; i++) {
			if (neural_network_predict(nn, batch->inputs[i], out) ||
			    memcmp(out, batch->outputs[i], sizeof(out)))
				bad++;
		}
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
	KUNIT_EXPECT_EQ(test, neural_batch_predict(nn, wrong), -EINVAL);
	neural_batch_free(wrong);
	neural_batch_free(batch);
	drop(test, nn, "t_batch");
}

static void memory_lies_on_the_node_that_was_asked_for(struct kunit *test)
{
	unsigned int nodes = 0;
	int node;

	for_each_node_state(node, N_MEMORY) {
		u8 *mem = neural_alloc_numa(3 * PAGE_SIZE + 1, node);
		unsigned int i;

		if (!holds(test, mem))
			return;
		KUNIT_EXPECT_EQ(test,
				(unsigned long)mem % NEURAL_CACHE_LINE_SIZE, 0);
		for (i = 0; i < 4; i++) {
			KUNIT_EXPECT_EQ(test,
					page_to_nid(vmalloc_to_page(
						mem + i * PAGE_SIZE)),
					node);
			KUNIT_EXPECT_EQ(test, mem[i * PAGE_SIZE], 0);
			mem[i * PAGE_SIZE] = 1;
		}
		neural_free_numa(mem);
		nodes++;
	}
	KUNIT_EXPECT_NE(test, nodes, 0);
}

/* ---- Throughput, last --------------------------------------------------------------------- */

#define SIGMOID 3
#define SPEED_CALLS 20
#define SPEED_ROUNDS 9

static int compare_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* The median over rounds of the time of one prediction. */
static u64 speed_of(struct neural_network *nn, s32 *in, s32 *out)
{
	u64 ns[SPEED_ROUNDS];
	unsigned int i, k;

	for (i = 0; i < SPEED_ROUNDS; i++) {
		u64 start;

		/* The console prints in a thread, which must not be timed. */
		preempt_disable();
		start = ktime_get_ns();
		for (k = 0; k < SPEED_CALLS; k++)
			neural_network_predict(nn, in, out);
		ns[i] = div_u64(ktime_get_ns() - start, SPEED_CALLS);
		preempt_enable();
		cond_resched();
	}
	sort(ns, SPEED_ROUNDS, sizeof(ns[0]), compare_u64, NULL);
	return ns[SPEED_ROUNDS / 2];
}

static void throughput(struct kunit *test)
{
	static const struct {
		const char *name;
		u32 dims[4];
		unsigned int n;
		unsigned int activation;
	} nets[] = {
		{ "5-15-5-4", { 5, 15, 5, 4 }, 4, SIGMOID },
		{ "31-256-2", { 31, 256, 2 }, 3, RELU },
		{ "64-128-10", { 64, 128, 10 }, 3, RELU },
		{ "256-256-256", { 256, 256, 256 }, 3, RELU },
	};
	s32 *in = kcalloc(256, sizeof(s32), GFP_KERNEL);
	s32 *out = kcalloc(256, sizeof(s32), GFP_KERNEL);
	unsigned int i;

	if (!holds(test, in && out))
		return;
	fill_input(in, 256, 8);
	for (i = 0; i < ARRAY_SIZE(nets); i++) {
		struct neural_network *nn =
			neural_network_create("t_speed", nets[i].dims,
					      nets[i].n, nets[i].activation, 3);
		u64 computed, cached;

		if (!holds(test, !IS_ERR(nn)))
			return;
		KUNIT_EXPECT_EQ(
			test, neural_network_configure(nn, "cache_size 0"), 0);
		computed = speed_of(nn, in, out);
		KUNIT_EXPECT_EQ(
			test, neural_network_configure(nn, "cache_size 64"), 0);
		KUNIT_EXPECT_EQ(
			test,
			neural_network_configure(nn, "cache_timeout 3600000"),
			0);
		cached = speed_of(nn, in, out);
		kunit_info(test, "speed %s: %llu ns computed, %llu ns cached\n",
			   nets[i].name, computed, cached);
		drop(test, nn, "t_speed");
	}
	kfree(in);
	kfree(out);
}

/* ---- A batch in the task that writes its size, where allocations can be made to fail ------- */

static int batch_set(const char *value, const struct kernel_param *kp)
{
	struct neural_batch *batch;
	unsigned int size;
	int ret = kstrtouint(value, 0, &size);

	if (ret)
		return ret;
	batch = neural_batch_create(size, IN, OUT);
	if (!batch)
		return -ENOMEM;
	neural_batch_free(batch);
	return 0;
}

static const struct kernel_param_ops batch_ops = {
	.set = batch_set,
};

module_param_cb(batch, &batch_ops, NULL, 0200);
MODULE_PARM_DESC(batch, "make and free a batch of this many samples");

static struct kunit_case neural_capi_cases[] = {
	KUNIT_CASE(a_network_is_found_by_name_until_it_is_unloaded),
	KUNIT_CASE(a_reference_outlives_the_unload),
	KUNIT_CASE(bad_arguments_get_their_errno),
	KUNIT_CASE(all_contexts_give_the_same_answer),
	KUNIT_CASE(interrupts_do_not_disturb_the_prediction_they_interrupt),
	KUNIT_CASE(a_costly_network_needs_a_caller_that_may_sleep),
	KUNIT_CASE(codes_are_counted_in_bytes),
	KUNIT_CASE(codes_are_the_same_in_all_contexts),
	KUNIT_CASE(interrupts_predict_codes_over_a_batch_of_codes),
	KUNIT_CASE(work_is_done_on_an_allowed_cpu),
	KUNIT_CASE(a_batch_gives_what_single_predictions_give),
	KUNIT_CASE(memory_lies_on_the_node_that_was_asked_for),
	KUNIT_CASE(throughput),
	{}
};

static struct kunit_suite neural_capi_suite = {
	.name = "neural_capi",
	.test_cases = neural_capi_cases,
};

kunit_test_suite(neural_capi_suite);

MODULE_DESCRIPTION("Checks of the in-kernel API of the neural module");
MODULE_LICENSE("GPL");
