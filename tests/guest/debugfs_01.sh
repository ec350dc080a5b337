#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# The files of a network in debugfs: statistics, settings, layers; every key,
# the presets, what is refused; and that what is read can be written back.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 60

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

# preset WORKLOAD TIMEOUT SIZE EVICTION POLICY SPREAD: it sets these, whatever was before.
preset() {
	write $N/config "simd 0"
	write $N/config "workload $1"
	same "workload $1 sets all of the table" "workload $1
cache_timeout $2
cache_size $3
cache_eviction $4
simd 1
jit 1
numa_policy $5
numa_node 0
allowed_cpus all
batch_spread $6
profiling 0" "$(cat $N/config)"
}

preset realtime 60000 4096 lru local 0
preset latency 1000 1024 lru local 256
preset throughput 0 0 fifo interleave 32
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
same "each is counted as one of a setting" "0 0 0 0 0 11" "$(error_kinds digits)"
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
write $N/config "simd 2" 2>/dev/null
# number KEY: its value in the JSON twin.
number() {
	grep -o "\"$1\":[0-9.]*" $N/stats.json | cut -d: -f2
}
keys="predictions batches cache_hits cache_misses cache_expired simd_ops total_ns average_ns p50_ns
	p99_ns p999_ns memory_bytes memory_peak_bytes cache_hit_rate_percent"
same "stats.json has the numbers of stats" "$(for key in $keys; do field $N/stats "$key"; done)" \
	"$(for key in $keys; do number "$key"; done)"
same "the errors" "$(error_kinds digits)" \
	"$(grep -o '"errors":{[^}]*}' $N/stats.json | grep -o '[0-9]*' | paste -sd' ')"
same "and 40 buckets, of as many predictions" "40 3" "$(grep -o '"histogram":\[[^]]*' $N/stats.json |
	grep -o '[0-9]*' | awk '{ n += $1 } END { print NR, n }')"
rmmod neural
