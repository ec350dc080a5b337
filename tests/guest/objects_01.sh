#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: both
# numa: 2
# cpus: 4
#
# The module's own objects: they have slab caches of their own, lie on the node of
# the placement, and are gone with the networks. And the device while the module
# comes and goes: whoever opens it has it or is told that it is not there.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 18

# objects CACHE: objects in use, or nothing when there is no such cache.
objects() {
	sed -n "s/^$1 *\([0-9]*\) .*/\1/p" /proc/slabinfo
}

# nodes NETWORK: the nodes of the network and of its model.
nodes() {
	echo "$(field "$D/network_$1/numa" network_node) $(field "$D/network_$1/numa" model_node)"
}

make_models
modprobe neural
for cache in neural_network neural_model neural_counters; do
	t "there is a slab cache $cache" test -n "$(objects $cache)"
done
same "there are no objects at first" "0 0" "$(objects neural_network) $(objects neural_model)"
last=$(($(nproc) - 1))
taskset -c 0 neuralctl load digits >/dev/null
taskset -c $last neuralctl load $FW/digits.nnm --name far >/dev/null
t "networks are objects of it" test "$(objects neural_network)" -ge 2
t "models are objects of it" test "$(objects neural_model)" -ge 2
same "local: they lie on the node of the CPU that loads" "0 0" "$(nodes digits)"
same "local: on the other node too" "1 1" "$(nodes far)"
write $D/network_digits/config "numa_node 1
numa_policy node"
same "node: a model that moves lies there" "0 1" "$(nodes digits)"
write $P/neural_numa_policy 2
write $P/neural_numa_node 1
taskset -c 0 neuralctl load small >/dev/null
same "neural_numa_policy=2: network and model lie on neural_numa_node" "1 1" "$(nodes small)"

echo 1 >/sys/kernel/tracing/events/neural/neural_predict/enable
head -n 9 $V/digits_input.csv | neuralctl predict digits >/dev/null
echo 0 >/sys/kernel/tracing/events/neural/neural_predict/enable
same "a batch is traced once" 1 "$(grep -c neural_predict: /sys/kernel/tracing/trace)"
t "with its samples" grep -q "neural_predict: .* samples=9 ret=0" /sys/kernel/tracing/trace
for network in digits far small; do
	neuralctl unload $network
done >/dev/null
same "without networks the module holds no memory" 0 "$(field $D/stats memory_bytes)"
rmmod neural
t "nor slab caches" sh -c "! grep -q neural /proc/slabinfo"

timeout 120 open_race &
race=$!
rounds=15
[ ! -e /sys/kernel/debug/kmemleak ] || rounds=5
t "the module comes and goes while the device is being opened" \
	module_cycle "$(modinfo -n neural)" "neural_models=digits neural_force_isa=scalar" $rounds
t "the module is gone" sh -c "! grep -q '^neural ' /proc/modules"
kill -TERM $race
wait $race
same "each open worked, or was told ENOENT, ENXIO or ENODEV" 0 $?
modprobe neural
t "it works as before" neuralctl load digits
rmmod neural
