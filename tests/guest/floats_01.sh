#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# Networks of single precision: loaded, described, predicted, replaced; refused
# where there is no vector code.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

F=$V/floats
all=floats_image,floats_mlp,floats_odd
image="1024 -> 10 numbers, input 0 0, output 0 0"

answers() { codes_predict "$1" "$F/$1.in" "$F/$1.out" "${2:-1}" "${3:-1}"; }
layers() { field $D/network_floats_mlp/layers "$1"; }
errors() { field $D/network_floats_mlp/stats errors_context; }

ktap_plan 33

make_models

modprobe neural neural_models=$all neural_force_isa=avx2
same "all are there" "floats_image floats_mlp floats_odd" "$(names)"
same "the MLP answers what AVX2 answers elsewhere, bit by bit" \
	"16 -> 8 numbers, input 0 0, output 0 0: 32 answers, 0 wrong" "$(answers floats_mlp)"
same "so does the network on images" "$image: 8 answers, 0 wrong" "$(answers floats_image)"
t "and another one, to infinities, denormal numbers and none at all" answers floats_odd
for n in floats_mlp floats_image floats_odd; do write $D/network_$n/config "cache_size 0"; done
t "from several threads" answers floats_mlp 4 20
t "those of the image, too" answers floats_image 3 3
write $D/network_floats_image/config "batch_spread 2"
t "spread over the CPUs" answers floats_image 1 3
{ head -c 508 $F/floats_mlp.out && printf '\1\2\3\4'; } >/tmp/wrong
refuse "an answer that is wrong is noticed" "2 wrong" codes_predict floats_mlp $F/floats_mlp.in /tmp/wrong
same "the cheap one runs in any context" "any avx2" "$(layers context) $(layers isa)"
same "the costly one only where one may sleep" may-sleep "$(field $D/network_floats_image/layers context)"
same "layers are listed as the model file has them" "dense layer_norm dense softmax" \
	"$(sed -n 's/^[0-9][0-9]* *\([a-z_]*\).*/\1/p' $D/network_floats_mlp/layers | paste -sd' ')"
same "and counted" "layers: 4" "$(neuralctl info floats_mlp | grep layers)"
same "neuralctl names the type" "element type: f32" "$(neuralctl info floats_mlp | grep type)"
t "the device has the feature" sh -c "neuralctl query | grep -w f32"
t "neuralctl predicts" sh -c \
	"echo 0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0 | neuralctl predict floats_mlp | grep -qE '^0[.][0-9]+(,0[.][0-9]+){7}$'"
t "and measures" neuralctl bench floats_mlp --seconds 0.3 --batch 8

t "it is replaced by itself" neuralctl replace floats_mlp
refuse "but not by one of other elements" "of f32" \
	sh -c "neuralctl new 16-8 --seed 1 -o $FW/q16.nnm >/dev/null && neuralctl replace $FW/q16.nnm --name floats_mlp"
t "it goes on as before" answers floats_mlp

write $D/network_floats_mlp/config "cache_size 64"
answers floats_mlp >/dev/null 2>&1
write $D/network_floats_mlp/config "reset stats"
t "the cache answers, too" answers floats_mlp
same "by the bytes of the sample" "32 0" \
	"$(field $D/network_floats_mlp/stats cache_hits) $(field $D/network_floats_mlp/stats cache_misses)"

write $D/network_floats_mlp/config "cache_size 0"
write $D/network_floats_mlp/config "simd 0"
refuse "without vector code there is no answer" "single precision needs vector code" \
	neuralctl bench floats_mlp --seconds 0.3
same "which is counted" 1 "$(($(errors) > 0))"
same "and shown" none "$(layers isa)"
write $D/network_floats_mlp/config "simd 1"
write $P/neural_enable_simd 0
refuse "nor when it is off for the module" "single precision needs vector code" \
	neuralctl bench floats_mlp --seconds 0.3
refuse "not for a costly one" "single precision needs vector code" \
	neuralctl bench floats_image --seconds 0.3
write $P/neural_enable_simd 1
t "switched on, there is" answers floats_mlp
t "for both" answers floats_image
rmmod neural

modprobe neural neural_force_isa=scalar
refuse "where there is no vector code, loading is refused" "single precision needs vector code" \
	neuralctl load floats_mlp
t "and the reason is kept" grep -q "single precision needs vector code" $D/last_error
same "the device does not have the feature" 0 "$(neuralctl query | grep -cw f32)"
t "other networks are loaded" neuralctl load codes_mlp
t "unload" rmmod neural
