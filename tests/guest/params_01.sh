#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# Module parameters: read and written at run time, refused when wrong, and what
# they do.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 40

make_models
for bad in neural_numa_policy=3 neural_numa_node=63 neural_cache_timeout_ms=x neural_enable_simd=2; do
	kernel_mark
	refuse "modprobe refuses $bad" "neural" modprobe neural $bad
	t "and the kernel's log names it" kernel_says "parameter ${bad%=*}: '${bad#*=}' is n"
done
modprobe neural
for p in neural_enable_simd neural_numa_policy neural_numa_node neural_cache_timeout_ms \
	neural_cache_size neural_models; do
	t "$p can be read" cat $P/$p
done
same "vector code is on at first" Y "$(cat $P/neural_enable_simd)"
t "echo 1 > neural_enable_simd" write $P/neural_enable_simd 1
t "echo 0 > neural_enable_simd" write $P/neural_enable_simd 0
same "reads back" N "$(cat $P/neural_enable_simd)"
refuse "neural_enable_simd takes no word" "Invalid argument" write $P/neural_enable_simd maybe
t "and says so" grep -q "neural_enable_simd: 'maybe'" $D/last_error
t "neural_numa_policy takes 1" write $P/neural_numa_policy 1
same "reads back" 1 "$(cat $P/neural_numa_policy)"
refuse "neural_numa_policy ends at 2" "Invalid argument" write $P/neural_numa_policy 3
same "and stays" 1 "$(cat $P/neural_numa_policy)"
t "and says so" grep -q "neural_numa_policy: '3' is not a number from 0 to 2" $D/last_error
refuse "neural_numa_node must have memory" "Invalid argument" write $P/neural_numa_node 63
t "and says so" grep -q "neural_numa_node: '63' is not a node with memory" $D/last_error
t "neural_numa_node takes 0" write $P/neural_numa_node 0
refuse "neural_cache_timeout_ms takes no negative number" "Invalid argument" \
	write $P/neural_cache_timeout_ms -1
refuse "nor more than an hour" "Invalid argument" write $P/neural_cache_timeout_ms 3600001
t "but 500" write $P/neural_cache_timeout_ms 500
refuse "neural_cache_size ends at 65536" "Invalid argument" write $P/neural_cache_size 65537
refuse "neural_models is set at load only" "Permission denied" write $P/neural_models x

neuralctl load digits >/dev/null
same "a network follows the time-out" 500 "$(setting digits cache_timeout)"
write $P/neural_cache_timeout_ms 700
same "also when it changes" 700 "$(setting digits cache_timeout)"
write $D/network_digits/config "cache_timeout 900"
write $P/neural_cache_timeout_ms 800
same "until it gets its own" 900 "$(setting digits cache_timeout)"
same "a network takes the placement" interleave "$(setting digits numa_policy)"
write $P/neural_cache_size 0
neuralctl load small >/dev/null
same "a new network takes the cache size" 0 "$(setting small cache_size)"
same "vector code is off where the module says so" "simd: 0" "$(grep simd $D/network_small/layers)"
t "unload" rmmod neural
