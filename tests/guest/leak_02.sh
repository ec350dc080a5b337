#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: stock
#
# Two hundred times in and out with the module: no memory stays behind. On one
# processor, since each time patches code, for which the others are stopped; and
# without vector code, which is measured at load for longer than all the rest takes.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"
. "$(dirname "$0")/leak.sh"

ktap_plan 4

make_models
online=/sys/devices/system/cpu/cpu1/online
echo 0 >$online
module=$(modinfo -n neural)
parameters="neural_models=digits neural_force_isa=scalar"
module_cycle "$module" neural_models=digits 5
module_cycle "$module" "$parameters" 5
remember
t "200 times in and out" module_cycle "$module" "$parameters" 200
unchanged "the module leaves nothing behind"
t "nor a slab cache" sh -c "! grep -q neural /proc/slabinfo"
echo 1 >$online
