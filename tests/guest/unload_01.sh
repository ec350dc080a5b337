#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: both
#
# Unloading while in use: of the module, refused under an open device; of a
# network under a benchmark; and the death of whoever uses it.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 16

make_models
modprobe neural neural_models=digits,large
same "/dev/neural is root's alone" "600 0" "$(stat -c '%a %u' /dev/neural)"
exec 3<>/dev/neural
refuse "rmmod while the device is open is refused" "temporarily unavailable" rmmod neural
exec 3>&-
exec 3<$D/stats
refuse "rmmod while a file in debugfs is open is refused" "temporarily unavailable" rmmod neural
exec 3<&-
exec 3<$D/network_digits/stats
t "a network is unloaded while its statistics are open" neuralctl unload digits
refuse "which can then not be read" "" cat <&3
refuse "rmmod while it is still open is refused" "temporarily unavailable" rmmod neural
exec 3<&-
rounds=50
[ ! -e /sys/kernel/debug/kmemleak ] || rounds=8
for _ in $(seq $rounds); do
	neuralctl load digits >/dev/null 2>&1 &
	neuralctl load digits >/dev/null 2>&1
	wait
	[ -e $D/network_digits/stats ] || echo "no files"
	neuralctl unload digits >/dev/null 2>&1 || echo "not loaded"
done >/tmp/out
same "a network that many load at once is there once, with its files" "" "$(cat /tmp/out)"
neuralctl load digits >/dev/null

neuralctl bench digits --seconds 1000 --threads 2 >/dev/null 2>&1 &
bench=$!
used
refuse "rmmod under a benchmark is refused" "temporarily unavailable" rmmod neural
for _ in 1 2 3 4 5 6 7 8 9 10; do
	neuralctl replace digits >/dev/null || echo failed
done >/tmp/out
same "replacing under a benchmark works" "" "$(cat /tmp/out)"
t "unloading under a benchmark works" neuralctl unload digits
wait $bench
same "the benchmark ends with an error, not with the machine" 1 "$(($? == 1))"

# So large that it cannot end of itself before the signal.
neuralctl bench large --seconds 1000 --batch 32768 >/dev/null 2>&1 &
bench=$!
predicting large
t "a long batch is interrupted by a signal" kill -TERM $bench
wait $bench
same "which was the first, and was cut" "1 1" \
	"$(field $D/network_large/stats batches) $(field $D/network_large/stats errors_interrupted)"
same "it is counted as interrupted, once" "0 0 0 0 1 0" "$(error_kinds large)"
write $D/network_large/config "reset stats"
neuralctl bench large --seconds 1000 --threads 4 >/dev/null 2>&1 &
bench=$!
predicting large
kill -9 $bench
wait $bench 2>/dev/null
t "a killed process leaves nothing" neuralctl unload large
t "the module unloads" rmmod neural
