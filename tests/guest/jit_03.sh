#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# What gets generated code: by its share of the time, as the profile has it, and
# operations other than the layers at the beginning of a network.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

C=$V/codes

# status [FILE]: what the profile says of the layers of codes_mlp.
status() { awk '$1 == "CHAIN_I8" && $2 == "64x128x8" { print $6 }' "${1:-$D/hotspots}"; }

# calls CODE: how often it was called.
calls() { sed -n "s/^kernel: $1 .* calls=\([0-9]*\).*/\1/p" $D/jit; }

# made CODE: wait until predictions use it.
made() {
	for _ in $(seq 100); do
		! grep -q "^kernel: $1 state=published" $D/jit || return 0
		sleep 0.1
	done
	cat $D/jit
	return 1
}

ktap_plan 21

# What the profile says of it. A share of all time is out of reach beside another network.
modprobe neural neural_models=codes_mlp,codes_image neural_jit_gain=0 neural_jit_share=100 neural_profiling=2
t "another network takes a part of the time" codes_predict codes_image $C/codes_image.in $C/codes_image.out 1 1
write $D/network_codes_mlp/config "cache_size 0"
t "what takes less than its share" codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out 1 80
same "gets no code" 0 "$(field $D/jit kernels)"
same "and is no candidate" - "$(status)"
write $P/neural_enable_jit 0
write $P/neural_jit_share 1
same "for a smaller share it is one" CAND "$(status)"
write $P/neural_enable_jit 1
t "and gets code" made "chain_i8 64x128x8"
same "which the profile says, of all networks and of one" "JIT JIT" \
	"$(status) $(status $D/network_codes_mlp/hotspots)"
t "as JSON, too" grep -q '"operation":"CHAIN_I8",.*"status":"JIT"' $D/hotspots.json
write $P/neural_enable_jit 0
same "while it is not used, it is a candidate" CAND "$(status)"
rmmod neural

# Single layers of codes, and products of numbers: of several positions, and in a recurrent cell.
modprobe neural neural_models=codes_image,floats_transformer,floats_cells neural_jit_gain=0 neural_jit_threshold=64
while read -r net folder code; do
	write "$D/network_$net/config" "cache_size 0"
	files="$V/$folder/$net.in $V/$folder/$net.out"
	# shellcheck disable=SC2086 # two files
	t "$net by vector code" codes_predict "$net" $files 1 8
	t "gets code for $code" made "$code"
	before=$(calls "$code")
	# shellcheck disable=SC2086
	t "which gives the same answers" codes_predict "$net" $files 1 1
	same "and is called" 1 "$(($(calls "$code") > before))"
done <<'END'
codes_image codes gemm_i8 1x384x10
floats_transformer floats gemm_f32 8x16x24
floats_cells floats gemm_f32 1x10x24
END
rmmod neural
