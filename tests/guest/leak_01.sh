#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: both
#
# A thousand times load, replace, unload; two hundred times in and out with the
# module: no memory stays behind. On the kunit kernel, kmemleak looks too.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 6

# free_kb: memory that nobody uses and that is in no cache.
free_kb() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sed -n 's/^MemFree: *\([0-9]*\) kB/\1/p' /proc/meminfo
}

cycles=1000
modules=200
if [ -e /sys/kernel/debug/kmemleak ]; then
	cycles=100
	modules=10
fi

make_models
modprobe neural
nnm_cycle $FW/digits.nnm 20 >/dev/null
before=$(free_kb)
t "$cycles times load, replace, unload" nnm_cycle $FW/digits.nnm $cycles
same "the module holds no memory" 0 "$(field $D/stats memory_bytes)"
after=$(free_kb)
t "nor does anyone for it ($((before - after)) kB of 2048)" test $((before - after)) -lt 2048
rmmod neural

modprobe neural neural_models=digits && rmmod neural
before=$(free_kb)
bad=0
for _ in $(seq $modules); do
	modprobe neural neural_models=digits && rmmod neural || bad=$((bad + 1))
done
same "$modules times in and out" 0 $bad
after=$(free_kb)
t "leaves no memory behind ($((before - after)) kB of 4096)" test $((before - after)) -lt 4096
t "nor a slab cache" sh -c "! grep -q neural /proc/slabinfo"
