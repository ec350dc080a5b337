#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# What is too much is refused: no setting takes memory from others, and no model
# keeps a CPU for long where nobody may interrupt it.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 13

make_models
modprobe neural neural_cache_size=0
neuralctl new 4096-16-4096 -o /tmp/wide.nnm >/dev/null
neuralctl load /tmp/wide.nnm --name wide >/dev/null
sleep 1000 &
victim=$!
kernel_mark
refuse "a cache of more memory than there is" "allocate memory" \
	write $D/network_wide/config "cache_size 65536"
t "the reason can be read" grep -q "^memory: no .* bytes for the prediction cache" \
	$D/network_wide/last_error
same "it is counted as one of memory" "0 0 1 0 0 0" "$(error_kinds wide)"
t "nobody was killed for it" kill -0 $victim
same "and nobody was asked" "" "$(kernel_says oom-kill)"
kill $victim
t "a smaller one is taken" write $D/network_wide/config "cache_size 64"
neuralctl load small >/dev/null
neuralctl load large >/dev/null
t "a small network may be used anywhere" grep -q "^context: any" $D/network_small/layers
t "one of many multiplications may not" grep -q "^context: may-sleep" $D/network_large/layers
neuralctl new "$(yes '1-4096' | head -n 24 | paste -sd-)" --activation tanh -o /tmp/tanh.nnm >/dev/null
neuralctl load /tmp/tanh.nnm --name tanh >/dev/null
t "nor one of few, but many activations" grep -q "^context: may-sleep" $D/network_tanh/layers
t "one of few bytes that needs much memory is taken" neuralctl load $V/floats/floats_large.nnm
mib=$(($(field $D/network_floats_large/stats memory_bytes) >> 20))
t "and gets it once ($mib MiB), not for every CPU" test "$mib" -lt 200
refuse "several may not have more than half of what there is" "bytes for weights and scratch" \
	sh -c "for i in 1 2 3 4; do neuralctl load $V/floats/floats_large.nnm --name large\$i || exit; done"
t "unload" rmmod neural
