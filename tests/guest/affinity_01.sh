#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
# numa: 2
# cpus: 4
#
# allowed_cpus: predictions are made on allowed CPUs, wherever the caller sits;
# batches are spread over them.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 17

# on NETWORK: the CPUs that have made predictions since the statistics were reset.
on() {
	sed -n 's/^cpu\([0-9]*\): [1-9].*/\1/p' "$D/network_$1/cpus" | paste -sd,
}

# from CPU NETWORK INPUT ARGS...: predicts with the caller on one CPU, and prints
# the CPUs that did it.
from() {
	cpu=$1 net=$2 input=$3
	shift 3
	write "$D/network_$net/config" "reset stats"
	taskset -c "$cpu" neuralctl predict "$net" --input "$input" "$@" >/dev/null 2>&1 || echo failed
	on "$net"
}

# spread CPU NETWORK WANTED: batches until these CPUs have taken part, which each does
# when the scheduler lets it; and prints which have. One that should not have stays.
spread() {
	write "$D/network_$2/config" "reset stats"
	for _ in $(seq 100); do
		taskset -c "$1" neuralctl bench "$2" --batch 512 --seconds 0.2 >/dev/null 2>&1 || echo failed
		[ "$(on "$2")" != "$3" ] || break
	done
	on "$2"
}

make_models
for i in 1 2 3 4 5 6 7 8 9 10; do
	seq -s, 1 512 | sed "s/^1,/0.$i,/"
done >/tmp/large.csv
modprobe neural neural_models=digits,large neural_cache_size=0
t "four CPUs" test "$(nproc)" -eq 4
same "anywhere: where the caller is" 2 "$(from 2 digits $V/digits_input.npy --batch 1)"
write $D/network_digits/config "allowed_cpus 1"
same "a cheap one: on the allowed CPU" 1 "$(from 3 digits $V/digits_input.npy --batch 1)"
same "where the caller is, if that is allowed" 1 "$(from 1 digits $V/digits_input.npy --batch 1)"
write $D/network_large/config "allowed_cpus 2"
same "a costly one: on the allowed CPU" 2 "$(from 0 large /tmp/large.csv --batch 1)"
write $D/network_digits/config "batch_spread 2"
same "a batch: on the allowed CPU" 1 "$(from 0 digits $V/digits_input.npy --batch 360)"
write $D/network_digits/config "allowed_cpus 1,3"
same "spread batches: on the allowed ones only" 1,3 "$(spread 0 digits 1,3)"
write $D/network_digits/config "batch_spread 0"
write $D/network_digits/config "allowed_cpus all"
same "a batch that is not spread: where the caller is" 2 \
	"$(from 2 digits $V/digits_input.npy --batch 360)"
write $D/network_large/config "allowed_cpus 1-3"
write $D/network_large/config "batch_spread 2"
same "spread batches of a costly one: on all of them" 1,2,3 "$(spread 0 large 1,2,3)"

# A model that is cheap, then costly, then cheap again, under a mask.
neuralctl new 64-128-10 -o /tmp/cheap.nnm >/dev/null
neuralctl new 64-4096-10 -o /tmp/costly.nnm >/dev/null
neuralctl load /tmp/cheap.nnm --name mixed >/dev/null
write $D/network_mixed/config "allowed_cpus 1"
taskset -c 0 neuralctl bench mixed --seconds 1 >/tmp/bench 2>&1 &
for _ in 1 2 3 4 5 6 7 8 9 10; do
	neuralctl replace /tmp/costly.nnm --name mixed >/dev/null || echo failed
	neuralctl replace /tmp/cheap.nnm --name mixed >/dev/null || echo failed
done >/tmp/out
wait
same "a cheap model is replaced by a costly one and back" "" "$(cat /tmp/out)"
same "and no prediction fails" "0 0 0" "$(for e in context input interrupted; do
	field $D/network_mixed/stats errors_$e
done | paste -sd' ')"

refuse "a CPU that is not there is refused" "out of range" write $D/network_digits/config \
	"allowed_cpus 64"
same "and nothing changes" all "$(setting digits allowed_cpus)"
echo 0 >/sys/devices/system/cpu/cpu3/online
write $D/network_digits/config "allowed_cpus 3"
write $D/network_digits/config "reset stats"
echo 1 >/sys/kernel/tracing/events/neural/neural_predict/enable
refuse "an allowed CPU that is offline is no error of the caller" "ENXIO" \
	neuralctl predict digits --input $V/digits_input.npy --batch 1
echo 0 >/sys/kernel/tracing/events/neural/neural_predict/enable
same "it is counted as one of the context" "0 1 0 0 0 0" "$(error_kinds digits)"
same "and traced with its error number" "samples=1 ret=-6" \
	"$(sed -n 's/.*neural_predict: .* \(samples=.*\)/\1/p' /sys/kernel/tracing/trace)"
echo 1 >/sys/devices/system/cpu/cpu3/online
same "when it is back, it works" 3 "$(from 0 digits $V/digits_input.npy --batch 1)"
rmmod neural
