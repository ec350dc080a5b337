#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# Vector code: chosen, forced, switched off and on while predictions run, with
# the same answers; sections are counted, and the longest is measured.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

C=$V/codes
T=/sys/kernel/tracing

predict() { codes_predict "$1" "$C/$1.in" "$C/$1.out" "${2:-1}" "${3:-1}"; }
no_cache() { for n in codes_mlp codes_image; do write $D/network_$n/config "cache_size 0"; done; }
ops() { field $D/network_codes_mlp/stats simd_ops; }
isa() { field $D/isa "$1"; }

ktap_plan 31

kernel_mark
refuse "an unknown instruction set is refused" "Invalid argument" modprobe neural neural_force_isa=sse9
t "and named" kernel_says "neural_force_isa: 'sse9' is not auto, scalar, avx2"
if grep -qw avx512bw /proc/cpuinfo; then
	skip "one that the CPU lacks is refused" "this CPU has AVX-512"
	skip "and named" "this CPU has AVX-512"
else
	refuse "one that the CPU lacks is refused" "No such device" modprobe neural neural_force_isa=avx512
	t "and named" kernel_says "neural_force_isa: this CPU has no avx512"
fi

for force in scalar avx2; do
	kernel_mark
	modprobe neural neural_models=codes_mlp,codes_image neural_force_isa=$force
	no_cache
	t "$force is said to be used" kernel_says "using $force"
	same "and shown" $force "$(isa chosen)"
	t "$force gives the answers for the MLP" predict codes_mlp
	t "$force gives the answers for images" predict codes_image
	if [ $force = scalar ]; then
		same "nothing is done by vector code" "0 0" "$(ops) $(isa sections)"
	else
		same "something is done by vector code" 1 "$(($(ops) > 0 && $(isa sections) > 0))"
	fi
	rmmod neural
done

kernel_mark
modprobe neural neural_models=codes_mlp,codes_image
no_cache
same "the choice is logged once" 1 "$(kernel_says "neural: using" | wc -l)"
t "the measurement is shown" grep -qE '^crossover_macs: [0-9]+$' $D/isa
t "so are the variants" grep -q '^variant: gemm_i8 avx2 .* runs$' $D/isa
same "a network says what computes it" "$(isa chosen)" "$(field $D/network_codes_mlp/layers isa)"
t "chosen code gives the answers" predict codes_mlp
same "by vector code" 1 "$(($(ops) > 0))"

write $D/network_codes_mlp/config "simd 0"
before=$(ops)
t "switched off for the network, the answers stay" predict codes_mlp
same "and vector code rests" "$before scalar" "$(ops) $(field $D/network_codes_mlp/layers isa)"
write $D/network_codes_mlp/config "simd 1"
write $P/neural_enable_simd 0
t "switched off for the module, the answers stay" predict codes_mlp
same "and vector code rests" "$before" "$(ops)"
write $P/neural_enable_simd 1

rounds=200
[ ! -e /sys/kernel/debug/kmemleak ] || rounds=60
predict codes_mlp 4 $rounds >/tmp/answers 2>&1 &
runner=$!
predict codes_image 2 $((rounds / 10)) >/tmp/images 2>&1 &
images=$!
toggles=0
while kill -0 $runner 2>/dev/null; do
	write $D/network_codes_mlp/config "simd $((toggles % 2))"
	write $P/neural_enable_simd $((toggles % 3 > 0))
	toggles=$((toggles + 1))
done
t "switched while four threads predict, the answers stay" wait $runner
same "it was switched" 1 "$((toggles > 1))"
t "those of another network, too" wait $images
write $D/network_codes_mlp/config "simd 1"
write $P/neural_enable_simd 1

t "sections have a greatest length" grep -qE '^section_max_ns: [1-9]' $D/isa
if grep -qw preemptoff $T/available_tracers 2>/dev/null; then
	echo preemptoff >$T/current_tracer
	echo 0 >$T/tracing_max_latency
	t "the answers stay under the tracer of preemption" predict codes_image
	same "which saw preemption off" 1 "$(($(cat $T/tracing_max_latency) > 0))"
	diag "preemption was off for at most $(cat $T/tracing_max_latency) us"
	echo nop >$T/current_tracer
else
	skip "the answers stay under the tracer of preemption" "this kernel has none"
	skip "which saw preemption off" "this kernel has none"
fi
diag "longest section: $(isa section_max_ns) ns"
t "unload" rmmod neural
