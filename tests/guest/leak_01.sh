#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# A thousand times load, replace, unload: no memory stays behind. On the kunit
# kernel, which does fewer rounds, kmemleak looks when the guest ends.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"
. "$(dirname "$0")/leak.sh"

ktap_plan 5

cycles=1000
[ ! -e /sys/kernel/debug/kmemleak ] || cycles=100

make_models
modprobe neural
nnm_cycle $FW/digits.nnm 50
remember
t "$cycles times load, replace, unload" nnm_cycle $FW/digits.nnm $cycles
same "the module holds no memory" 0 "$(field $D/stats memory_bytes)"
unchanged "networks leave nothing behind"
rmmod neural
t "nor a slab cache" sh -c "! grep -q neural /proc/slabinfo"
