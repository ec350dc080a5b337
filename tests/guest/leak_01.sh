#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: both
#
# A thousand times load, replace, unload; two hundred times in and out with the
# module: no memory stays behind. Free memory moves by some MiB on its own, so a
# small leak is looked for in the slab, and on the kunit kernel, which does fewer
# rounds, by kmemleak when the guest ends.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 8

# kb KEY: a line of /proc/meminfo, when nothing is cached any more.
kb() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sleep 0.3
	sed -n "s/^$1: *\([0-9]*\) kB/\1/p" /proc/meminfo
}

# unchanged NAME: free memory and slab are what they were at the last `remember`.
remember() {
	free=$(kb MemFree)
	slab=$(kb SUnreclaim)
}

unchanged() {
	if [ -e /sys/kernel/debug/kmemleak ]; then
		skip "$1: pages" "kmemleak needs memory of its own"
		skip "$1: slab" "kmemleak needs memory of its own"
		return
	fi
	lost=$((free - $(kb MemFree)))
	t "$1: pages ($lost kB of 16384)" test $lost -lt 16384
	lost=$(($(kb SUnreclaim) - slab))
	t "$1: slab ($lost kB of 1024)" test $lost -lt 1024
}

cycles=1000
modules=200
if [ -e /sys/kernel/debug/kmemleak ]; then
	cycles=100
	modules=10
fi

make_models
modprobe neural
nnm_cycle $FW/digits.nnm 50
remember
t "$cycles times load, replace, unload" nnm_cycle $FW/digits.nnm $cycles
same "the module holds no memory" 0 "$(field $D/stats memory_bytes)"
unchanged "networks leave nothing behind"
rmmod neural

for _ in 1 2 3 4 5; do
	modprobe neural neural_models=digits && rmmod neural
done
remember
bad=0
for _ in $(seq $modules); do
	modprobe neural neural_models=digits && rmmod neural || bad=$((bad + 1))
done
same "$modules times in and out" 0 $bad
unchanged "the module leaves nothing behind"
t "nor a slab cache" sh -c "! grep -q neural /proc/slabinfo"
