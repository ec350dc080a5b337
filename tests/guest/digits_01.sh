#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# A trained network on the 360 rows that it has not seen: at least 97 % of the
# classes are right, and at least 99.5 % are those of the ONNX runtime; one by
# one, from the cache, as a batch, and spread over the CPUs.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 9

# at_least NAME WANT KEY: a number of the last summary is not below WANT.
at_least() {
	got=$(sed -n "s/.*\"$3\": *\([0-9.]*\).*/\1/p" /tmp/summary)
	if [ -n "$got" ] && awk "BEGIN { exit !($got >= $2) }"; then
		ok "$1"
	else
		diag "$3 is '$got', wanted at least $2"
		diag "$(cat /tmp/summary)"
		not_ok "$1"
	fi
}

predict() {
	neuralctl predict digits --input $V/digits_input.npy --output json --labels $V/digits_label.npy \
		--reference $V/digits_ort_output.npy --summary "$@" >/tmp/summary 2>/dev/null
}

make_models
modprobe neural neural_models=digits neural_cache_size=2048 neural_cache_timeout_ms=3600000
t "one by one" predict --batch 1
at_least "97 % of the classes are right" 97 accuracy_percent
at_least "99.5 % are those of the ONNX runtime" 358.2 reference_same_class
t "again, from the cache" predict --batch 1
at_least "97 % are right" 97 accuracy_percent
hits=$(field $D/network_digits/stats cache_hits)
t "the cache has answered" test "$hits" -ge 360
write $D/network_digits/config "workload throughput"
t "as a batch" predict --batch 360
at_least "97 % are right" 97 accuracy_percent
write $D/network_digits/config "reset stats"
# Each CPU takes part when the scheduler lets it.
for _ in $(seq 30); do
	neuralctl bench digits --batch 4096 --seconds 0.3 >/dev/null 2>&1
	grep -q ': 0$' $D/network_digits/cpus || break
done
t "on all CPUs" sh -c "! grep -q ': 0$' $D/network_digits/cpus"
rmmod neural
