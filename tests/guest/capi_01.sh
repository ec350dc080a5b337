#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: stock
# numa: 2
# cpus: 4
#
# The C API as another module uses it: modprobe neural_test runs its checks on a
# kernel without KUnit, and prints the throughput; on two nodes and four CPUs.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 12

# said: what neural_test has written since the last call of kernel_mark.
said() {
	dmesg | sed -n "/$KTAP_MARK\$/,\$s/.*neural_test: //p"
}

modprobe neural
kernel_mark
t "modprobe neural_test" modprobe neural_test
said >/tmp/said
same "its suite has passed" "ok 1 neural_capi" "$(grep '^[a-z ]*ok 1 neural_capi' /tmp/said)"
plan=$(sed -n 's/^    1\.\.//p' /tmp/said | head -n 1)
t "it has cases ($plan)" test "$plan" -ge 20
same "all of them have passed" "$plan" "$(grep -c '^    ok ' /tmp/said)"
same "none has failed" 0 "$(grep -c 'not ok' /tmp/said)"
same "memory was taken from both nodes" 1 "$(grep -c '^# nodes that memory was taken from: 2$' /tmp/said)"
same "the throughput of four networks is printed" 4 \
	"$(grep -cE '^# speed [0-9-]+: [1-9][0-9]* ns computed, [1-9][0-9]* ns cached$' /tmp/said)"
refuse "meanwhile neural stays" "temporarily unavailable" rmmod neural
rmmod neural_test
same "without it, no network is left" "networks: 0" "$(head -n 1 $D/stats)"

write $P/neural_numa_policy 2
for node in 0 1; do
	write $P/neural_numa_node $node
	kernel_mark
	modprobe neural_test
	said >/tmp/said
	same "neural_alloc_numa follows neural_numa_node=$node" "# node by the parameters: $node" \
		"$(grep '^# node by' /tmp/said)"
	rmmod neural_test
done
t "unload" rmmod neural
