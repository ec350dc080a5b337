/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Room for generated code, as a part of the module's text: so its addresses are
 * the module's for whoever looks them up, in reach of the kernel's thunks, and
 * executable without anybody asking for executable memory. Until code is put
 * there, and after it was taken away, it traps.
 *
 * Generated code never touches the stack pointer: one hint for the unwinder is
 * true at each of its instructions.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>

#include <asm/nospec-branch.h>
#include <asm/unwind_hints.h>

#include "shim.h"

	.section .text.neural_jit_arena, "ax"
	.balign 4096
SYM_CODE_START_NOALIGN(neural_jit_arena)
	ANNOTATE_NOENDBR
	UNWIND_HINT_FUNC
	.fill NEURAL_JIT_ARENA_BYTES, 1, 0xcc
SYM_CODE_END(neural_jit_arena)
	ud2

/*
 * How this kernel returns: by an instruction, or by a jump to a thunk that it
 * chose for this CPU. Nobody calls this; it is read after the kernel has patched
 * it. In the first half of a cache line the kernel takes no exceptions.
 */
	.text
	.balign 64
SYM_CODE_START_NOALIGN(neural_jit_return)
	ANNOTATE_NOENDBR
	UNWIND_HINT_FUNC
	RET
SYM_CODE_END(neural_jit_return)
