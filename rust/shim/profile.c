// SPDX-License-Identifier: GPL-2.0
/*
 * Whether anything is profiled: a jump in the code of predictions that is
 * patched when it changes. Rust reads it with static_branch_unlikely!, which
 * wants the key to be a field of something.
 */
#include <linux/jump_label.h>

#include "shim.h"

struct neural_profile_switch {
	struct static_key_false key;
};

struct neural_profile_switch neural_profile_switch = {
	.key = STATIC_KEY_FALSE_INIT,
};

/* Context: task, may sleep. */
void neural_shim_profile_switch(bool on)
{
	if (on)
		static_branch_enable(&neural_profile_switch.key);
	else
		static_branch_disable(&neural_profile_switch.key);
}
