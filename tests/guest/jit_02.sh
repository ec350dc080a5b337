#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: stock
# mem: 896
#
# Generated code on a kernel that is being locked down, and the kernel's own look at its page tables.
# A guest of its own (by its memory): lockdown cannot be undone, and keeps every module out.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

S=/sys/kernel/security
WX=/sys/kernel/debug/check_wx_pages

ktap_plan 7

mount -t securityfs securityfs $S
before=$(cat $WX)
kernel_mark
modprobe neural neural_models=codes_mlp
t "the arena is there, and was tried" kernel_says "jit: 64 KiB for generated code"
same "generated code is on" on "$(field $D/jit state)"
same "no page can be written and executed" "$before" "$(cat $WX)"
t "nor was one before" sh -c "echo '$before' | grep -q SUCCESS"
write $S/lockdown integrity
same "on a kernel that is locked down it is off" "off: the kernel is locked down" "$(field $D/jit state)"
t "predictions go on" codes_predict codes_mlp $V/codes/codes_mlp.in $V/codes/codes_mlp.out 1 1
t "unload" rmmod neural
