#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: both
# numa: 2
# cpus: 4
#
# Weights and scratch memory lie where the placement says: asked of the kernel's
# page structures, on two nodes, at load and when the placement changes.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 18

# pages NETWORK NODE WHAT: pages of weights or scratch on a node.
pages() {
	sed -n "s/^node$2:.* $3_pages \([0-9]*\).*/\1/p" "$D/network_$1/numa"
}

# spread NETWORK WHAT: "node0 node1" pages.
spread() {
	echo "$(pages "$1" 0 "$2") $(pages "$1" 1 "$2")"
}

# even NETWORK: as many weight pages on one node as on the other, to one.
even() {
	a=$(pages "$1" 0 weights)
	b=$(pages "$1" 1 weights)
	[ "$a" -gt 0 ] && [ "$((a - b))" -le 1 ] && [ "$((b - a))" -le 1 ]
}

make_models
modprobe neural
same "the guest has two nodes" "0-1" "$(cat /sys/devices/system/node/has_memory)"

taskset -c 0 neuralctl load digits >/dev/null
all=$(pages digits 0 weights)
t "local: weights are on the node of the CPU that loads" test "$all" -gt 0
same "local: none are on the other" 0 "$(pages digits 1 weights)"
t "local: scratch is on the node of each CPU" test "$(pages digits 0 scratch)" -gt 0 -a \
	"$(pages digits 1 scratch)" -gt 0
last=$(($(nproc) - 1))
taskset -c $last neuralctl load $FW/digits.nnm --name far >/dev/null
same "local: loaded on the other node, they are there" "0 $all" "$(spread far weights)"

write $D/network_digits/config "numa_policy interleave"
t "interleave: weights are on both nodes evenly" even digits
write $D/network_digits/config "numa_node 1"
write $D/network_digits/config "numa_policy node"
same "node: all weights are on node 1" "0 $all" "$(spread digits weights)"
same "node: all scratch is on node 1" 0 "$(pages digits 0 scratch)"
t "predictions go on" sh -c "head -n 2 $V/digits_input.csv | neuralctl predict digits"
same "a replaced model lies there too" "0 $all" \
	"$(neuralctl replace digits >/dev/null; spread digits weights)"

write $P/neural_numa_policy 2
write $P/neural_numa_node 1
taskset -c 0 neuralctl load small >/dev/null
same "neural_numa_policy=2: a new network is on neural_numa_node" 0 "$(pages small 0 weights)"
t "and nowhere else" test "$(pages small 1 weights)" -gt 0
write $P/neural_numa_policy 1
taskset -c 0 neuralctl load large >/dev/null
t "neural_numa_policy=1: a new network is interleaved" even large
refuse "a node without memory is refused" "Invalid argument" \
	write $D/network_large/config "numa_node 7
numa_policy node"
t "and nothing has moved" even large
rmmod neural

taskset -c 0 modprobe neural neural_numa_policy=2 neural_numa_node=1 neural_models=digits
same "modprobe with neural_numa_policy=2 neural_numa_node=1: all weights are there" "0 $all" \
	"$(spread digits weights)"
same "and all scratch" 0 "$(pages digits 0 scratch)"
rmmod neural
taskset -c 0 modprobe neural neural_numa_policy=1 neural_models=large
t "modprobe with neural_numa_policy=1: a network is interleaved" even large
rmmod neural
