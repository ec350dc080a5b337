// SPDX-License-Identifier: GPL-2.0
/*
 * Work on a chosen CPU: a queue that the module owns, so that unloading it
 * waits for all that was queued.
 */
#include <linux/completion.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "shim.h"

struct neural_shim_work {
	struct work_struct work;
	struct completion done;
	void (*fn)(void *arg);
	void *arg;
};

static void neural_shim_work_fn(struct work_struct *work)
{
	struct neural_shim_work *w =
		container_of(work, struct neural_shim_work, work);

	w->fn(w->arg);
	complete(&w->done);
}

struct workqueue_struct *neural_shim_queue_create(void)
{
	/* The work is computing: on the CPU it was queued on, for as long as it takes. */
	return alloc_workqueue("neural", WQ_PERCPU | WQ_CPU_INTENSIVE, 0);
}

struct neural_shim_work *neural_shim_work_alloc(unsigned int count)
{
	return kvcalloc(count, sizeof(struct neural_shim_work),
			GFP_KERNEL | __GFP_NOWARN);
}

void neural_shim_work_free(struct neural_shim_work *works)
{
	kvfree(works);
}

void neural_shim_work_queue(struct workqueue_struct *queue,
			    struct neural_shim_work *works, unsigned int i,
			    unsigned int cpu, void (*fn)(void *), void *arg)
{
	struct neural_shim_work *w = &works[i];

	INIT_WORK(&w->work, neural_shim_work_fn);
	init_completion(&w->done);
	w->fn = fn;
	w->arg = arg;
	queue_work_on(cpu, queue, &w->work);
}

void neural_shim_work_wait(struct neural_shim_work *works, unsigned int i)
{
	wait_for_completion(&works[i].done);
}

/*
 * Whether the work is done; if not, the task is being killed, and the work must
 * be waited for all the same.
 */
bool neural_shim_work_wait_killable(struct neural_shim_work *works,
				    unsigned int i)
{
	return wait_for_completion_killable(&works[i].done) == 0;
}

/* One piece of work, without memory of its own; *stop is set when the task is being killed. */
void neural_shim_work_once(struct workqueue_struct *queue, unsigned int cpu,
			   void (*fn)(void *), void *arg, bool *stop)
{
	struct neural_shim_work w = { .fn = fn, .arg = arg };

	INIT_WORK_ONSTACK(&w.work, neural_shim_work_fn);
	init_completion(&w.done);
	queue_work_on(cpu, queue, &w.work);
	if (wait_for_completion_killable(&w.done)) {
		WRITE_ONCE(*stop, true);
		wait_for_completion(&w.done);
	}
	flush_work(&w.work);
	destroy_work_on_stack(&w.work);
}
