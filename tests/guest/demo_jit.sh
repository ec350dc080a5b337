#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What `make demo-jit` shows, in the guest: a network becomes hot, gets code of
# its own, gives the same answers before and after, and goes back to vector code
# when told to. The end is for the host: the code, to be disassembled there.

# shellcheck source=SCRIPTDIR/model.sh
. "$(dirname "$0")/tests/model.sh"
# shellcheck source=SCRIPTDIR/show.sh
. "$(dirname "$0")/tests/show.sh"

C=$V/codes
SHAPES='gemm_64x64x64 gemv_128x64 lstm_128x192 content_256x64'

# status OPERATION DIMS: as the profile has it.
status() { awk -v op="$1" -v dims="$2" '$1 == op && $2 == dims { print $6 }' $D/hotspots; }

# of KERNEL KEY: what the file jit says of code.
of() { sed -n "s/^kernel: $1 .* $2=\([^ ]*\).*/\1/p" $D/jit; }

# settle: wait until no code is being made, and none is to be.
settle() {
	for _ in $(seq 60); do
		sleep 0.5
		grep -q 'state=\(candidate\|compiling\|verified\)' $D/jit || return 0
	done
}

# answer NETWORK INPUTS: what it says to numbers from -1 to 1.
answer() {
	awk -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s%.4f", i ? "," : "", i * 37 % 64 / 32 - 1; print "" }' |
		neuralctl predict "$1"
}

# inputs NETWORK
inputs() { case $1 in gemm_*) echo 4096 ;; *) echo 64 ;; esac; }

say "This is $(uname -sr) in QEMU without hardware support: times here are of no account, so code is kept in any case."
run "modprobe neural neural_models=codes_mlp neural_profiling=2 neural_jit_gain=0"
run "echo 'cache_size 0' > $D/network_codes_mlp/config"
run "dmesg | grep -o 'jit: .*'"

say "A network of 8-bit codes, 64-128-8: its answers are those in the file"
run "codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out 1 2"
run "cut -c1-92 $D/hotspots"

say "2000 predictions, one by one and in batches"
run "codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out 1 63"
settle
run "cut -c1-92 $D/hotspots"
[ "$(status CHAIN_I8 64x128x8)" = JIT ] || failed=1

say "By generated code: the same answers, bit by bit"
run "codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out 1 2"

say "Back to vector code, live"
run "echo 0 > $P/neural_enable_jit"
before=$(of 'chain_i8 64x128x8' calls)
run "codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out 1 2"
[ "$(of 'chain_i8 64x128x8' calls)" = "$before" ] || failed=1
[ "$(status CHAIN_I8 64x128x8)" = CAND ] || failed=1
run "echo 1 > $P/neural_enable_jit"

say "Single precision: the same answers before and after, digit by digit"
run "echo 100 > $P/neural_jit_threshold"
for shape in $SHAPES; do
	run "neuralctl load $FW/$shape.nnm"
	echo "cache_size 0" >"$D/network_$shape/config"
	answer "$shape" "$(inputs "$shape")" >"/tmp/$shape.before" || failed=1
	neuralctl bench "$shape" --seconds 2 >/dev/null 2>&1 || failed=1
done
settle
for shape in $SHAPES; do
	answer "$shape" "$(inputs "$shape")" >"/tmp/$shape.after" || failed=1
	run "cmp /tmp/$shape.before /tmp/$shape.after"
done

say "What takes the time (ticks of an emulated machine)"
run "cut -c1-92 $D/hotspots"
run "cat $D/jit"
at=$(($(of 'chain_i8 64x128x8' address) - $(field $D/jit arena_address)))
length=$(of 'chain_i8 64x128x8' bytes)
address=$(of 'chain_i8 64x128x8' address)
tail -c +$((at + 1)) $D/jit_code | head -c "$length" >/tmp/code
run "rmmod neural"
end_if_failed
printf '\ncode %s\n' "$address"
base64 /tmp/code
