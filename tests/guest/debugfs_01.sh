#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# The files of a network in debugfs: statistics, settings, layers; every key,
# the presets, what is refused; and that what is read can be written back.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 58

make_models
modprobe neural neural_models=digits
N=$D/network_digits
one_row() {
	head -n 1 $V/digits_input.csv | neuralctl predict digits >/dev/null 2>&1
}

t "cat network_*/stats" sh -c "cat $D/network_*/stats"
t 'echo "cache_timeout 1000" > network_*/config' bash -c "echo 'cache_timeout 1000' > $D/network_*/config"
same "it is set" 1000 "$(setting digits cache_timeout)"
t 'echo "simd 1" > network_*/config' bash -c "echo 'simd 1' > $D/network_*/config"
same "it is set" 1 "$(setting digits simd)"
t 'echo "simd 0" > network_*/config' write $N/config "simd 0"
same "it is set" 0 "$(setting digits simd)"

for line in "cache_size 64" "cache_size 0" "cache_size 128" "cache_eviction fifo" \
	"cache_eviction random" "cache_eviction lru" "numa_policy interleave" \
	"numa_policy local" "numa_node 0" "batch_spread 16" "allowed_cpus 0" "allowed_cpus 1" \
	"workload latency"; do
	write $N/config "$line"
	same "$line" "${line#* }" "$(setting digits "${line%% *}")"
done
write $N/config "allowed_cpus all"
same "allowed_cpus all" all "$(setting digits allowed_cpus)"

for w in realtime throughput latency; do
	write $N/config "workload $w"
	same "workload $w" $w "$(setting digits workload)"
done
write $N/config "workload throughput"
same "throughput interleaves" interleave "$(setting digits numa_policy)"
same "throughput has no cache" 0 "$(setting digits cache_size)"
write $N/config "cache_size 256"
same "a change of one setting makes it custom" custom "$(setting digits workload)"

write $N/config "workload latency"
cat $N/config >/tmp/before
write $N/config "workload realtime"
t "what was read is written back" sh -c "cat /tmp/before > $N/config"
t "and is the same" cmp -s /tmp/before $N/config

for line in "cache_timeout" "cache_timeout x" "cache_timeout 1 2" "nonsense 1" "simd 2" \
	"cache_eviction best" "numa_policy 7" "numa_node 7" "workload fast" "allowed_cpus 0-" ""; do
	refuse "'$line' is refused" "Invalid argument" write $N/config "$line"
	t "and the reason can be read" sh -c "grep -q '^config: .*${line%% *}' $N/last_error"
done
yes "cache_size 1" | head -n 400 >/tmp/long
refuse "too much text is refused" "Argument list too long" sh -c "cat /tmp/long >$N/config"
t "and the reason can be read" grep -q '^config: .* bytes are more than 4096' $N/last_error
t "nothing has changed" cmp -s /tmp/before $N/config

write $N/config "cache_timeout 3600000"
write $N/config "reset stats"
one_row
one_row
same "two predictions" 2 "$(field $N/stats predictions)"
same "one was a hit" 1 "$(field $N/stats cache_hits)"
same "one was a miss" 1 "$(field $N/stats cache_misses)"
write $N/config "cache_timeout 1"
sleep 0.1
one_row
same "an old answer has expired" 1 "$(field $N/stats cache_expired)"
rmmod neural
