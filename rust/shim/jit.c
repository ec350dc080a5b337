// SPDX-License-Identifier: GPL-2.0
/*
 * Generated code in the module's text. The text stays read-only and executable;
 * it is written through a second mapping of the same pages, writable and not
 * executable, that lives for one copy.
 *
 * Context: task, may sleep.
 */
#include <linux/irq_work.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/security.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include <asm/sync_core.h>
#include <asm/text-patching.h>

#include "shim.h"

/* Who asks where it is may not know what it holds. */
const void *neural_shim_jit_arena(void)
{
	return neural_jit_arena;
}

/* Why this kernel must not get generated code now. */
unsigned int neural_shim_jit_refusal(void)
{
	if (IS_ENABLED(CONFIG_CFI) || IS_ENABLED(CONFIG_CFI_CLANG))
		return NEURAL_JIT_CFI;
	if (security_locked_down(LOCKDOWN_INTEGRITY_MAX))
		return NEURAL_JIT_LOCKED;
	return NEURAL_JIT_ALLOWED;
}

/*
 * How functions return here: true, and the thunk that they jump to, or NULL for
 * the instruction; false for something unknown.
 */
bool neural_shim_jit_return(const void **thunk)
{
	s32 distance;

	*thunk = NULL;
	if (neural_jit_return[0] == RET_INSN_OPCODE)
		return true;
	if (neural_jit_return[0] != JMP32_INSN_OPCODE)
		return false;
	memcpy(&distance, neural_jit_return + 1, sizeof(distance));
	*thunk = neural_jit_return + JMP32_INSN_SIZE + distance;
	return true;
}

static void sync(void *unused)
{
	sync_core();
}

/*
 * Writes a piece of the arena that nobody runs: code, or traps without code.
 * When it returns, every CPU fetches what was written.
 */
int neural_shim_jit_write(size_t at, const u8 *code, size_t len)
{
	struct page *pages[NEURAL_JIT_ARENA_BYTES / PAGE_SIZE];
	unsigned int first = at >> PAGE_SHIFT, count = 0;
	u8 *alias;

	if (!len || at >= NEURAL_JIT_ARENA_BYTES ||
	    len > NEURAL_JIT_ARENA_BYTES - at)
		return -EINVAL;
	for (; first + count <= (at + len - 1) >> PAGE_SHIFT; count++) {
		const u8 *page = neural_jit_arena +
				 ((size_t)(first + count) << PAGE_SHIFT);

		pages[count] = vmalloc_to_page(page);
		if (!pages[count])
			return -EFAULT;
	}
	alias = vmap(pages, count, VM_MAP, PAGE_KERNEL);
	if (!alias)
		return -ENOMEM;
	if (code)
		memcpy(alias + offset_in_page(at), code, len);
	else
		memset(alias + offset_in_page(at), INT3_INSN_OPCODE, len);
	vunmap(alias);
	/* No CPU may remember that these pages could be written. */
	vm_unmap_aliases();
	on_each_cpu(sync, NULL, true);
	return 0;
}

static struct workqueue_struct *queue;
static void (*pass)(void);
static DEFINE_MUTEX(running_lock);
static bool running;

static void pass_fn(struct work_struct *work)
{
	pass();
}

static DECLARE_WORK(pass_work, pass_fn);

static void kick_fn(struct irq_work *work)
{
	queue_work(queue, &pass_work);
}

static DEFINE_IRQ_WORK(kick_work, kick_fn);

/* From now on fn is called in a worker, by one at a time, after each kick. */
bool neural_shim_jit_start(void (*fn)(void))
{
	/* No code is made while the system is being suspended. */
	queue = alloc_workqueue("neural_jit", WQ_UNBOUND | WQ_FREEZABLE, 1);
	if (!queue)
		return false;
	mutex_lock(&running_lock);
	pass = fn;
	running = true;
	mutex_unlock(&running_lock);
	return true;
}

/* Any context, no lock. Between start and stop. */
void neural_shim_jit_kick(void)
{
	irq_work_queue(&kick_work);
}

/* As a kick, at any time. */
void neural_shim_jit_poke(void)
{
	mutex_lock(&running_lock);
	if (running)
		neural_shim_jit_kick();
	mutex_unlock(&running_lock);
}

/* Nobody kicks any more; waits for the worker. */
void neural_shim_jit_stop(void)
{
	mutex_lock(&running_lock);
	running = false;
	mutex_unlock(&running_lock);
	irq_work_sync(&kick_work);
	destroy_workqueue(queue);
}
