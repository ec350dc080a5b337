#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# Networks of 8-bit codes: loaded, described, predicted, replaced.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

C=$V/codes

ktap_plan 13

make_models
modprobe neural neural_models=codes_mlp,codes_image
same "both are there" "codes_mlp codes_image" "$(names)"
t "the MLP gives the answers of the reference" codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out
t "so does the network on images" codes_predict codes_image $C/codes_image.in $C/codes_image.out
same "scales and zero points are told" \
	"64 -> 8 codes, input 0x3f000000 -3, output 0x3f000000 5: 32 answers, 0 wrong" \
	"$(codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out)"
same "those of another network, too" \
	"192 -> 10 codes, input 0x3f000000 -3, output 0x3b800000 -128: 32 answers, 0 wrong" \
	"$(codes_predict codes_image $C/codes_image.in $C/codes_image.out)"
t "an answer that is wrong is noticed" sh -c \
	"tr '\\000-\\377' '\\001-\\377\\000' <$C/codes_mlp.out >/tmp/wrong && ! codes_predict codes_mlp $C/codes_mlp.in /tmp/wrong"
t "from several threads" codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out 4 20
same "layers are listed" 3 "$(grep -cE '^[0-9]+ +(conv|depthwise|max)' $D/network_codes_image/layers)"
same "the cache answers, too" 1 "$(($(field $D/network_codes_mlp/stats cache_hits) > 0))"
t "a network of codes is replaced by itself" neuralctl replace codes_mlp
refuse "but not by one of other elements" "64" \
	sh -c "neuralctl new 64-8 --seed 1 -o $FW/q16.nnm >/dev/null && neuralctl replace $FW/q16.nnm --name codes_mlp"
t "it goes on as before" codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out
t "unload" rmmod neural
