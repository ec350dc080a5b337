// SPDX-License-Identifier: GPL-2.0
/*
 * Checks of the in-kernel API as another module sees it: every function, every
 * context that may predict, every refusal. Under KUnit where the kernel has it,
 * else when the module is loaded; loading fails when a check does. The
 * throughput, which is printed last, is not checked.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/firmware.h>
#include <linux/hardirq.h>
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

#include <asm/fpu/api.h>

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
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, in), -EINVAL);
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

/* As an NMI would: the kernel takes this CPU to be in one. */
static int predict_in_nmi(struct neural_network *nn, s32 *in, s32 *out)
{
	unsigned long flags;
	int ret;

	local_irq_save(flags);
	__nmi_enter();
	ret = neural_network_predict(nn, in, out);
	__nmi_exit();
	local_irq_restore(flags);
	return ret;
}

static void no_prediction_is_made_in_an_nmi(struct kunit *test)
{
	struct neural_network *nn = make(test, "t_nmi");
	s32 in[IN], want[OUT], out[OUT];

	if (!holds(test, nn))
		return;
	fill_input(in, IN, 9);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, want), 0);
	memset(out, 0x55, sizeof(out));
	/* Not even from the cache. */
	KUNIT_EXPECT_EQ(test, predict_in_nmi(nn, in, out), -EBUSY);
	KUNIT_EXPECT_EQ(test, out[0], 0x55555555);
	KUNIT_EXPECT_EQ(test, neural_network_predict(nn, in, out), 0);
	KUNIT_EXPECT_EQ(test, memcmp(out, want, sizeof(out)), 0);
	drop(test, nn, "t_nmi");
}

struct search {
	struct irq_work irq_work;
	const char *name;
	struct neural_network *found;
};

static void search_in_hardirq(struct irq_work *work)
{
	struct search *search = container_of(work, struct search, irq_work);

	search->found = neural_network_get(search->name);
}

static struct neural_network *get_in_hardirq(const char *name)
{
	struct search search = { .name = name };

	search.irq_work = IRQ_WORK_INIT_HARD(search_in_hardirq);
	irq_work_queue(&search.irq_work);
	irq_work_sync(&search.irq_work);
	return search.found;
}

static void a_network_is_found_in_a_hard_interrupt(struct kunit *test)
{
	struct neural_network *nn = make(test, "t_irq");
	struct neural_network *found;
	s32 in[IN], out[OUT];

	if (!holds(test, nn))
		return;
	found = get_in_hardirq("t_irq");
	if (!holds(test, found == nn))
		return;
	KUNIT_EXPECT_EQ(test, PTR_ERR(get_in_hardirq("t_no")), -ENOENT);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get_in_hardirq("t no")), -EINVAL);
	/* What was found there is a reference like others. */
	drop(test, nn, "t_irq");
	fill_input(in, IN, 10);
	KUNIT_EXPECT_EQ(test, neural_network_predict(found, in, out), 0);
	neural_network_put(found);
	KUNIT_EXPECT_EQ(test, PTR_ERR(get_in_hardirq("t_irq")), -ENOENT);
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

static int read_file(struct device *dev, const char *name, void *to,
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

/* Loads the model NAME.nnm and reads its samples and answers from NAME.in and NAME.out. */
static int read_known(struct neural_network **nn, const char *network,
		      const char *name, void *in, size_t in_bytes, void *out,
		      size_t out_bytes)
{
	struct device *dev = root_device_register("neural_test");
	const struct firmware *fw;
	char path[64];
	int ret;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	scnprintf(path, sizeof(path), "neural/%s.nnm", name);
	ret = request_firmware(&fw, path, dev);
	if (!ret) {
		*nn = neural_network_load(network, fw->data, fw->size);
		release_firmware(fw);
		ret = PTR_ERR_OR_ZERO(*nn);
	}
	scnprintf(path, sizeof(path), "neural/%s.in", name);
	if (!ret)
		ret = read_file(dev, path, in, in_bytes);
	scnprintf(path, sizeof(path), "neural/%s.out", name);
	if (!ret)
		ret = read_file(dev, path, out, out_bytes);
	root_device_unregister(dev);
	return ret;
}

static struct codes *make_codes(struct kunit *test, const char *name)
{
	struct codes *codes = kzalloc(sizeof(*codes), GFP_KERNEL);
	int ret = -ENOMEM;

	if (codes)
		ret = read_known(&codes->nn, name, "codes_mlp", codes->in,
				 sizeof(codes->in), codes->out,
				 sizeof(codes->out));
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

static void
a_batch_of_any_size_gives_the_codes_of_single_ones(struct kunit *test)
{
	static const char *const settings[] = { "cache_size 0", "cache_size 4",
						"batch_spread 2" };
	struct codes *codes = make_codes(test, "t_codes_sizes");
	unsigned int size, i, k, bad = 0;

	if (!holds(test, codes))
		return;
	for (k = 0; k < ARRAY_SIZE(settings); k++) {
		KUNIT_EXPECT_EQ(
			test, neural_network_configure(codes->nn, settings[k]),
			0);
		for (size = 1; size <= 2 * CODES + 2; size++) {
			struct neural_batch *batch =
				neural_batch_create_for(codes->nn, size);

			if (!holds(test, batch))
				return;
			for (i = 0; i < size; i++) {
				/* Some again and again, for the cache. */
				memcpy(batch->inputs[i],
				       codes->in[i * i % CODES], CODES_IN);
				memset(batch->outputs[i], 0x55, CODES_OUT);
			}
			bad += !!neural_batch_predict(codes->nn, batch);
			for (i = 0; i < size; i++)
				bad += !!memcmp(batch->outputs[i],
						codes->out[i * i % CODES],
						CODES_OUT);
			neural_batch_free(batch);
		}
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
	drop_codes(test, codes, "t_codes_sizes");
}

/* The samples of codes_any_q16. */
#define ANY_IN 8
#define ANY_OUT 40
#define ANY 16

/* Loads a model file over that of a network. */
static int replace_by(struct neural_network *nn, const char *path)
{
	struct device *dev = root_device_register("neural_test");
	const struct firmware *fw;
	int ret;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	ret = request_firmware(&fw, path, dev);
	if (!ret) {
		ret = neural_network_replace(nn, fw->data, fw->size);
		release_firmware(fw);
	}
	root_device_unregister(dev);
	return ret;
}

/* How many samples of the model codes_any_q16 the network does not answer as that does. */
static unsigned int other_answers(struct neural_network *nn,
				  s32 in[ANY][ANY_IN], s32 known[ANY][ANY_OUT])
{
	unsigned int i, other = 0;
	s32 out[ANY_OUT];

	for (i = 0; i < ANY; i++)
		other += neural_network_predict(nn, in[i], out) ||
			 memcmp(out, known[i], sizeof(out));
	return other;
}

static void a_model_is_replaced_by_one_of_the_same_shape(struct kunit *test)
{
	static const u32 dims[] = { ANY_IN, ANY_OUT };
	static s32 in[ANY][ANY_IN], known[ANY][ANY_OUT];
	struct neural_network *any = NULL, *nn;
	int ret = read_known(&any, "t_any", "codes_any_q16", in, sizeof(in),
			     known, sizeof(known));

	nn = neural_network_create("t_replace", dims, 2, RELU, 11);
	if (!holds(test, !ret && !IS_ERR(nn)))
		return;
	drop(test, any, "t_any");
	KUNIT_EXPECT_EQ(test, other_answers(nn, in, known), ANY);
	/* Another shape is refused, and nothing changes. */
	KUNIT_EXPECT_EQ(test, replace_by(nn, "neural/codes_mlp.nnm"), -EINVAL);
	KUNIT_EXPECT_EQ(test, other_answers(nn, in, known), ANY);
	KUNIT_EXPECT_EQ(test, replace_by(nn, "neural/codes_any_q16.nnm"), 0);
	KUNIT_EXPECT_EQ(test, other_answers(nn, in, known), 0);
	drop(test, nn, "t_replace");
}

/* Samples that are no whole number of words. */
static void samples_of_codes_lie_without_gaps(struct kunit *test)
{
	struct device *dev = root_device_register("neural_test");
	struct neural_network *nn = ERR_PTR(-ENODEV);
	struct neural_batch *batch;
	const struct firmware *fw;
	unsigned int i, bad = 0;
	s8 out[10];

	if (!holds(test, !IS_ERR(dev)))
		return;
	if (!request_firmware(&fw, "neural/codes_image.nnm", dev)) {
		nn = neural_network_load("t_gaps", fw->data, fw->size);
		release_firmware(fw);
	}
	root_device_unregister(dev);
	if (!holds(test, !IS_ERR(nn)))
		return;
	KUNIT_EXPECT_EQ(test, neural_network_output_bytes(nn), sizeof(out));
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "cache_size 0"), 0);
	batch = neural_batch_create_for(nn, 5);
	if (!holds(test, batch))
		return;
	for (i = 0; i < 5; i++)
		memset(batch->inputs[i], 40 * i - 100,
		       neural_network_input_bytes(nn));
	KUNIT_EXPECT_EQ(test, neural_batch_predict(nn, batch), 0);
	for (i = 0; i < 5; i++)
		bad += neural_network_predict(nn, batch->inputs[i], out) ||
		       memcmp(out, batch->outputs[i], sizeof(out));
	KUNIT_EXPECT_EQ(test, bad, 0);
	neural_batch_free(batch);
	drop(test, nn, "t_gaps");
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

/* ---- Single precision --------------------------------------------------------------------- */

#define FLOATS_IN 16
#define FLOATS_OUT 8
#define FLOATS 16

/* The bits of numbers: the files that tests/vectors/floats has. */
struct floats {
	struct neural_network *nn;
	s32 in[FLOATS][FLOATS_IN];
	s32 known[FLOATS][FLOATS_OUT];
	/* What this CPU answers, whose vector code may add in another order. */
	s32 out[FLOATS][FLOATS_OUT];
};

static void drop_floats(struct kunit *test, struct floats *floats,
			const char *name)
{
	drop(test, floats->nn, name);
	kfree(floats);
}

/* Returns NULL, and the test is over, where no vector code is to be had. */
static struct floats *make_floats(struct kunit *test, const char *name)
{
	struct floats *floats = kzalloc(sizeof(*floats), GFP_KERNEL);
	unsigned int i, bad = 0;
	int ret = -ENOMEM;

	if (floats)
		ret = read_known(&floats->nn, name, "floats_mlp", floats->in,
				 sizeof(floats->in), floats->known,
				 sizeof(floats->known));
	if (ret == -EOPNOTSUPP && !boot_cpu_has(X86_FEATURE_AVX2)) {
		kfree(floats);
		return NULL;
	}
	KUNIT_EXPECT_EQ(test, ret, 0);
	if (ret)
		return NULL;
	KUNIT_EXPECT_EQ(
		test, neural_network_configure(floats->nn, "cache_size 0"), 0);
	for (i = 0; i < FLOATS; i++)
		bad += !!neural_network_predict(floats->nn, floats->in[i],
						floats->out[i]);
	KUNIT_EXPECT_EQ(test, bad, 0);
	return floats;
}

static void numbers_are_counted_in_bytes(struct kunit *test)
{
	struct floats *floats = make_floats(test, "t_floats");
	struct neural_batch *batch;
	unsigned int i, k, bad = 0;

	if (!floats)
		return;
	KUNIT_EXPECT_EQ(test, neural_network_dtype(floats->nn),
			NEURAL_DTYPE_F32);
	KUNIT_EXPECT_EQ(test, neural_network_input_dim(floats->nn), FLOATS_IN);
	KUNIT_EXPECT_EQ(test, neural_network_output_dim(floats->nn),
			FLOATS_OUT);
	KUNIT_EXPECT_EQ(test, neural_network_input_bytes(floats->nn),
			sizeof(floats->in[0]));
	KUNIT_EXPECT_EQ(test, neural_network_output_bytes(floats->nn),
			sizeof(floats->out[0]));
	batch = neural_batch_create_for(floats->nn, FLOATS);
	if (!holds(test, batch))
		return;
	for (i = 0; i < FLOATS; i++)
		memcpy(batch->inputs[i], floats->in[i], sizeof(floats->in[i]));
	KUNIT_EXPECT_EQ(test, neural_batch_predict(floats->nn, batch), 0);
	for (i = 0; i < FLOATS; i++)
		bad += !!memcmp(batch->outputs[i], floats->out[i],
				sizeof(floats->out[i]));
	KUNIT_EXPECT_EQ(test, bad, 0);
	/* Positive numbers: their bits are in the order of the numbers. */
	for (i = 0; i < FLOATS; i++)
		for (k = 0; k < FLOATS_OUT; k++)
			bad += abs(floats->out[i][k] - floats->known[i][k]) >
			       64;
	KUNIT_EXPECT_EQ(test, bad, 0);
	neural_batch_free(batch);
	drop_floats(test, floats, "t_floats");
}

static int predict_while_softirqs_are_off(struct neural_network *nn, s32 *in,
					  s32 *out)
{
	struct call call = { .nn = nn, .in = in, .out = out };

	call.irq_work = IRQ_WORK_INIT_HARD(call_in_hardirq);
	local_bh_disable();
	irq_work_queue(&call.irq_work);
	/* Pairs with the release in call_in_hardirq(). */
	while (!smp_load_acquire(&call.done))
		cpu_relax();
	local_bh_enable();
	irq_work_sync(&call.irq_work);
	return call.ret;
}

static void
numbers_are_the_same_wherever_vector_code_may_run(struct kunit *test)
{
	struct floats *floats = make_floats(test, "t_floats_ctx");
	s32 out[FLOATS_OUT];
	unsigned int i, bad = 0;
	unsigned long flags;
	int ret;

	if (!floats)
		return;
	for (i = 0; i < FLOATS; i++) {
		s32 *in = floats->in[i];

		memset(out, 0x55, sizeof(out));
		bad += predict_in_softirq(floats->nn, in, out) ||
		       memcmp(out, floats->out[i], sizeof(out));
		memset(out, 0x55, sizeof(out));
		bad += predict_in_hardirq(floats->nn, in, out) ||
		       memcmp(out, floats->out[i], sizeof(out));
		memset(out, 0x55, sizeof(out));
		local_irq_save(flags);
		bad += neural_network_predict(floats->nn, in, out) ||
		       memcmp(out, floats->out[i], sizeof(out));
		local_irq_restore(flags);
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
	kernel_fpu_begin();
	ret = neural_network_predict(floats->nn, floats->in[0], out);
	kernel_fpu_end();
	KUNIT_EXPECT_EQ(test, ret, -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test,
			predict_while_softirqs_are_off(floats->nn,
						       floats->in[0], out),
			-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, neural_network_configure(floats->nn, "simd 0"),
			0);
	KUNIT_EXPECT_EQ(test,
			neural_network_predict(floats->nn, floats->in[0], out),
			-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, neural_network_configure(floats->nn, "simd 1"),
			0);
	memset(out, 0x55, sizeof(out));
	KUNIT_EXPECT_EQ(test,
			neural_network_predict(floats->nn, floats->in[0], out),
			0);
	KUNIT_EXPECT_EQ(test, memcmp(out, floats->out[0], sizeof(out)), 0);
	drop_floats(test, floats, "t_floats_ctx");
}

/* ---- All at once -------------------------------------------------------------------------- */

#define CROWD_ROUNDS 2000
#define CROWD_OUT 64

/* A network with samples and answers, and all who predict with it. */
struct crowd {
	struct neural_network *nn;
	const u8 *in;
	const u8 *out;
	size_t in_bytes;
	size_t out_bytes;
	unsigned int samples;
	/* Where an interrupt may find no section for vector code. */
	bool needs_vector;
	atomic_t wrong;
	atomic_t interrupts;
	atomic_t refused;
};

/* A task on a CPU, and a timer that interrupts it. */
struct member {
	struct crowd *crowd;
	struct hrtimer timer;
	struct completion done;
	unsigned int turn;
	bool stop;
};

static void check_one(struct crowd *crowd, unsigned int turn, bool interrupt)
{
	unsigned int i = turn % crowd->samples;
	u8 out[CROWD_OUT];
	int ret;

	memset(out, 0x55, sizeof(out));
	ret = neural_network_predict(crowd->nn, crowd->in + i * crowd->in_bytes,
				     out);
	if (interrupt && crowd->needs_vector && ret == -EOPNOTSUPP)
		atomic_inc(&crowd->refused);
	else if (ret || memcmp(out, crowd->out + i * crowd->out_bytes,
			       crowd->out_bytes))
		atomic_inc(&crowd->wrong);
}

static enum hrtimer_restart crowd_tick(struct hrtimer *timer)
{
	struct member *member = container_of(timer, struct member, timer);

	check_one(member->crowd, member->turn++, true);
	atomic_inc(&member->crowd->interrupts);
	if (READ_ONCE(member->stop))
		return HRTIMER_NORESTART;
	hrtimer_forward_now(timer, ns_to_ktime(150000));
	return HRTIMER_RESTART;
}

static int crowd_task(void *arg)
{
	struct member *member = arg;
	unsigned int i;

	hrtimer_setup(&member->timer, crowd_tick, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_PINNED_HARD);
	hrtimer_start(&member->timer, ns_to_ktime(150000),
		      HRTIMER_MODE_REL_PINNED_HARD);
	for (i = 0; i < CROWD_ROUNDS; i++) {
		check_one(member->crowd, i + raw_smp_processor_id(), false);
		cond_resched();
	}
	WRITE_ONCE(member->stop, true);
	hrtimer_cancel(&member->timer);
	kthread_complete_and_exit(&member->done, 0);
}

static void run_crowd(struct kunit *test, struct crowd *crowd)
{
	struct member *members =
		kcalloc(nr_cpu_ids, sizeof(*members), GFP_KERNEL);
	cpumask_var_t started;
	unsigned int cpu;

	if (!holds(test, members && zalloc_cpumask_var(&started, GFP_KERNEL)) ||
	    !holds(test, crowd->out_bytes <= CROWD_OUT))
		return;
	for_each_online_cpu(cpu) {
		struct task_struct *task;

		members[cpu].crowd = crowd;
		init_completion(&members[cpu].done);
		task = kthread_create_on_cpu(crowd_task, &members[cpu], cpu,
					     "neural_test/%u");
		if (IS_ERR(task))
			break;
		wake_up_process(task);
		cpumask_set_cpu(cpu, started);
	}
	for_each_cpu(cpu, started)
		wait_for_completion(&members[cpu].done);
	KUNIT_EXPECT_TRUE(test, cpumask_equal(started, cpu_online_mask));
	KUNIT_EXPECT_EQ(test, atomic_read(&crowd->wrong), 0);
	KUNIT_EXPECT_NE(test, atomic_read(&crowd->interrupts), 0);
	kunit_info(test, "%d interrupts, %d without vector code\n",
		   atomic_read(&crowd->interrupts),
		   atomic_read(&crowd->refused));
	free_cpumask_var(started);
	kfree(members);
}

static void all_cpus_and_interrupts_predict_codes(struct kunit *test)
{
	struct codes *codes = make_codes(test, "t_codes_crowd");
	struct crowd crowd = { .in_bytes = CODES_IN,
			       .out_bytes = CODES_OUT,
			       .samples = CODES };

	if (!holds(test, codes))
		return;
	KUNIT_EXPECT_EQ(test,
			neural_network_configure(codes->nn, "cache_size 0"), 0);
	crowd.nn = codes->nn;
	crowd.in = (u8 *)codes->in;
	crowd.out = (u8 *)codes->out;
	run_crowd(test, &crowd);
	drop_codes(test, codes, "t_codes_crowd");
}

static void all_cpus_and_interrupts_predict_numbers(struct kunit *test)
{
	struct floats *floats = make_floats(test, "t_floats_crowd");
	struct crowd crowd = { .in_bytes = sizeof(floats->in[0]),
			       .out_bytes = sizeof(floats->out[0]),
			       .samples = FLOATS,
			       .needs_vector = true };

	if (!floats)
		return;
	crowd.nn = floats->nn;
	crowd.in = (u8 *)floats->in;
	crowd.out = (u8 *)floats->out;
	run_crowd(test, &crowd);
	drop_floats(test, floats, "t_floats_crowd");
}

static void all_cpus_and_interrupts_predict_q16(struct kunit *test)
{
	struct neural_network *nn = make(test, "t_crowd");
	struct crowd crowd = { .in_bytes = IN * sizeof(s32),
			       .out_bytes = OUT * sizeof(s32),
			       .samples = 8 };
	s32 in[8][IN], out[8][OUT];
	unsigned int i, bad = 0;

	if (!holds(test, nn))
		return;
	KUNIT_EXPECT_EQ(test, neural_network_configure(nn, "cache_size 0"), 0);
	for (i = 0; i < 8; i++) {
		fill_input(in[i], IN, i);
		bad += !!neural_network_predict(nn, in[i], out[i]);
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
	crowd.nn = nn;
	crowd.in = (u8 *)in;
	crowd.out = (u8 *)out;
	run_crowd(test, &crowd);
	drop(test, nn, "t_crowd");
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
	/* Whoever boots a machine of several nodes looks for it. */
	kunit_info(test, "nodes that memory was taken from: %u\n", nodes);
}

static void memory_follows_the_parameters_without_a_node(struct kunit *test)
{
	void *mem = neural_alloc_numa(PAGE_SIZE, NEURAL_NODE_POLICY);

	if (!holds(test, mem))
		return;
	kunit_info(test, "node by the parameters: %d\n",
		   page_to_nid(vmalloc_to_page(mem)));
	neural_free_numa(mem);
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
	KUNIT_CASE(no_prediction_is_made_in_an_nmi),
	KUNIT_CASE(a_network_is_found_in_a_hard_interrupt),
	KUNIT_CASE(interrupts_do_not_disturb_the_prediction_they_interrupt),
	KUNIT_CASE(a_costly_network_needs_a_caller_that_may_sleep),
	KUNIT_CASE(codes_are_counted_in_bytes),
	KUNIT_CASE(a_batch_of_any_size_gives_the_codes_of_single_ones),
	KUNIT_CASE(a_model_is_replaced_by_one_of_the_same_shape),
	KUNIT_CASE(samples_of_codes_lie_without_gaps),
	KUNIT_CASE(codes_are_the_same_in_all_contexts),
	KUNIT_CASE(interrupts_predict_codes_over_a_batch_of_codes),
	KUNIT_CASE(numbers_are_counted_in_bytes),
	KUNIT_CASE(numbers_are_the_same_wherever_vector_code_may_run),
	KUNIT_CASE(all_cpus_and_interrupts_predict_q16),
	KUNIT_CASE(all_cpus_and_interrupts_predict_codes),
	KUNIT_CASE(all_cpus_and_interrupts_predict_numbers),
	KUNIT_CASE(work_is_done_on_an_allowed_cpu),
	KUNIT_CASE(a_batch_gives_what_single_predictions_give),
	KUNIT_CASE(memory_lies_on_the_node_that_was_asked_for),
	KUNIT_CASE(memory_follows_the_parameters_without_a_node),
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
