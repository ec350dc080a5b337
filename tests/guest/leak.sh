# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Memory before and after. Free memory moves by some MiB on its own, so a small
# leak is looked for in the slab.

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
