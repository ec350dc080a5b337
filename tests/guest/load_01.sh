#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# Models come and go: by modprobe, by name from the firmware path, from a file;
# they are listed, replaced, unloaded, and traced.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 39

t "models are made" make_models
t "modprobe loads the models it is told to" modprobe neural neural_models=digits,small
same "both are there" "digits small" "$(names)"
same "the parameter can be read back" "digits,small" "$(cat $P/neural_models)"
t "a model is loaded by name from the firmware path" neuralctl load large
refuse "a name is given once" "EEXIST" neuralctl load large
t "a model is loaded from a file under another name" neuralctl load $FW/digits.nnm --name second
refuse "a model that is not there is named" "nothere.nnm" neuralctl load nothere
refuse "a path as a name is refused" "name" neuralctl load $FW/digits.nnm --name ../x
t "a loaded network can be looked at" neuralctl info digits
t "its layers are in debugfs" grep -q "^0 *dense *64 *128 *relu *8192" $D/network_digits/layers
t "the last one too" grep -q "^1 *dense *128 *10 *softmax *1280" $D/network_digits/layers
same "it has its first generation" "generation: 1" "$(grep generation $D/network_digits/layers)"
t "it is replaced from the firmware path" neuralctl replace digits
same "which makes a new generation" "generation: 2" "$(grep generation $D/network_digits/layers)"
t "it is replaced from a file" neuralctl replace $FW/digits.nnm --name second
refuse "not by one of another shape" "64 inputs" neuralctl replace $FW/small.nnm --name digits
same "then nothing changes" "generation: 2" "$(grep generation $D/network_digits/layers)"
t "a network is unloaded" neuralctl unload second
refuse "only once" "ENOENT" neuralctl unload second
t "its directory goes with it" test ! -e $D/network_second
t "several are unloaded at once" neuralctl unload digits small large
same "none is left" "networks: 0" "$(head -n 1 $D/stats)"

T=/sys/kernel/tracing
echo 1 >$T/events/neural/enable
neuralctl load digits >/dev/null
neuralctl config digits cache_timeout 3600000
for n in 3 2; do
	head -n $n $V/digits_input.csv | neuralctl predict digits >/dev/null 2>&1
done
neuralctl config digits cache_timeout 1
sleep 0.1
head -n 1 $V/digits_input.csv | neuralctl predict digits >/dev/null 2>&1
neuralctl replace digits >/dev/null
neuralctl unload digits >/dev/null
echo 0 >$T/events/neural/enable
t "loading is traced" grep -q "neural_load: name=digits id=[0-9]* generation=1 bytes=[0-9]*" $T/trace
t "predicting is traced" grep -q "neural_predict: id=[0-9]* ns=[0-9]* samples=[0-9]* ret=0" $T/trace
same "each look-up is traced" "miss miss miss hit hit expired" \
	"$(sed -n 's/.*neural_cache: id=[0-9]* result=//p' $T/trace | paste -sd' ')"
same "each batch is, with its samples" "3 2 1" \
	"$(sed -n 's/.*neural_predict: .* samples=\([0-9]*\) .*/\1/p' $T/trace | paste -sd' ')"
same "replacing is traced" "generation=1 generation=2" \
	"$(sed -n 's/.*neural_load: .*\(generation=[0-9]*\) .*/\1/p' $T/trace | paste -sd' ')"
t "unloading is traced" grep -q "neural_unload: name=digits" $T/trace
same "all of it of one network" 1 \
	"$(sed -n 's/.*neural_[a-z]*: .*id=\([0-9]*\).*/\1/p' $T/trace | sort -u | wc -l)"

t "the module is unloaded" rmmod neural
kernel_mark
refuse "a model that is missing fails the load of the module" "neural" \
	modprobe neural neural_models=digits,nothere
t "and is named" kernel_says "firmware: neural/nothere.nnm cannot be read"
t "and leaves nothing behind" test ! -e /sys/module/neural
for bad in ../digits digits,.x "digits,$(printf 'n%.0s' $(seq 32))" digits,digits; do
	kernel_mark
	refuse "so does the name in '$bad'" "neural" modprobe neural "neural_models=$bad"
done
t "it loads without models" modprobe neural
rmmod neural
