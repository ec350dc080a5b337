#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# The profile: off, sampled and exact, for one network and for all; what the
# files in debugfs show of it, and what neuralctl does.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 38

# row FILE OPERATION DIMS: its line of a table, cells with one blank between.
row() {
	awk -v op="$2" -v dims="$3" '$1 == op && $2 == dims { $1 = $1; print }' "$1"
}

# cell N: the Nth word of what is read.
cell() {
	cut -d' ' -f"$1"
}

# rows N: the first N rows of the digits are predicted, one by one.
rows() {
	head -n "$1" $V/digits_input.csv | neuralctl predict digits >/dev/null
}

mkdir -p $FW
neuralctl convert $V/digits.onnx -o $FW/digits.nnm >/dev/null 2>&1
refuse "modprobe refuses neural_profiling=3" "neural" modprobe neural neural_profiling=3
modprobe neural neural_models=digits,codes_mlp
N=$D/network_digits
write $N/config "cache_size 0"
same "profiling is off at first" "0 0" "$(cat $P/neural_profiling) $(setting digits profiling)"
rows 2
same "then nothing is counted" "0" "$(grep -c GEMV $D/hotspots)"

t "echo 2 > neural_profiling" write $P/neural_profiling 2
same "networks follow it" 2 "$(setting digits profiling)"
rows 5
same "each layer was called as often as predictions were made" "5 5" \
	"$(row $D/hotspots GEMV_Q16 128x64 | cell 3) $(row $D/hotspots GEMV_Q16 10x128 | cell 3)"
same "few calls make no candidate" - "$(row $D/hotspots GEMV_Q16 128x64 | cell 6)"
same "what no hardware counts is not 0" "- - -" "$(row $D/hotspots GEMV_Q16 128x64 | cell 12-14)"
same "the average is the sum by the calls" "$(row $D/hotspots GEMV_Q16 128x64 | awk '{ print int($4 / $3) }')" \
	"$(row $D/hotspots GEMV_Q16 128x64 | cell 5)"
same "it is between the least and the most" ordered \
	"$(row $D/hotspots GEMV_Q16 128x64 | awk '0 < $8 && $8 <= $5 && $5 <= $9 { print "ordered" }')"
same "the largest layer comes first" GEMV_Q16 "$(sed -n '2s/ .*//p' $D/hotspots)"
same "shares are of all" 99 "$(awk '/GEMV/ { sum += $7 } END { print int(sum) }' $D/hotspots)"
same "nothing was lost" "lost: 0" "$(tail -n 1 $D/hotspots)"
same "the network has the same" "$(row $D/hotspots GEMV_Q16 128x64)" "$(row $N/hotspots GEMV_Q16 128x64)"
same "another one has nothing" "lost: 0" "$(sed 1d $D/network_codes_mlp/hotspots)"
t "JSON has the same" grep -q '"network":"digits","operation":"GEMV_Q16","dims":\[128,64\],"calls":5,' $N/hotspots.json
t "and null for what no hardware counts" grep -q '"cache_misses":null,"tlb_misses":null,"instructions":null' $D/hotspots.json
t "stacks are folded" grep -qx "digits;GEMV_Q16 128x64 $(row $D/hotspots GEMV_Q16 128x64 | cell 4)" $D/hotspots.folded

write $N/config "profiling 0"
rows 3
same "a network can be left out" 5 "$(row $N/hotspots GEMV_Q16 128x64 | cell 3)"
write $P/neural_profiling 0
write $N/config "profiling 2"
cat $N/config >/tmp/before
rows 3
same "and be the only one" 8 "$(row $N/hotspots GEMV_Q16 128x64 | cell 3)"
write $P/neural_profiling 1
same "it keeps its own setting" "2 1" "$(setting digits profiling) $(setting codes_mlp profiling)"
write $N/config "profiling off"
t "what was read is written back" sh -c "cat /tmp/before > $N/config"
t "and is the same" cmp -s /tmp/before $N/config
refuse "'profiling 3' is refused" "Invalid argument" write $N/config "profiling 3"
refuse "'nonsense' is no way to start anew" "Invalid argument" write $D/hotspots nonsense
same "what can be read and what can be written" "600 400 400" \
	"$(stat -c %a $N/hotspots $N/hotspots.json $N/hotspots.folded | paste -sd' ')"

write $N/config "workload throughput"
write $N/config "reset stats"
t "echo reset > hotspots of a network" write $N/hotspots reset
same "it starts anew" 0 "$(grep -c GEMV $N/hotspots)"
neuralctl bench digits --batch 64 --seconds 0.4 --threads 2 >/dev/null
same "batches on all CPUs are counted sample by sample" "$(field $N/stats predictions)" \
	"$(row $N/hotspots GEMV_Q16 128x64 | cell 3)"
same "many calls make a candidate" CAND "$(row $N/hotspots GEMV_Q16 128x64 | cell 6)"
neuralctl bench codes_mlp --seconds 0.5 >/dev/null
calls=$(row $D/hotspots CHAIN_I8 64x128x8 | cell 3)
made=$(field $D/network_codes_mlp/stats predictions)
same "of a sample, each call counts for 64" 0 "$((calls % 64))"
same "which is about as many as were made" about \
	"$(awk -v a="$calls" -v b="$made" 'BEGIN { print (a < 2 * b && b < 2 * a) ? "about" : a " of " b }')"

t "neuralctl top --ops shows it" sh -c "neuralctl top --ops --once | grep -q '^GEMV_Q16 *128x64 .* CAND'"
same "of one network" "$(grep -c GEMV $N/hotspots)" "$(neuralctl top --ops digits --once | grep -c GEMV)"
id=$(field $N/stats id)
t "a network that is profiled can be unloaded" neuralctl unload digits
t "what it took is still known" grep -q "^gone-$id;GEMV_Q16 128x64 " $D/hotspots.folded
t "echo reset > hotspots" write $D/hotspots reset
same "all starts anew" "lost: 0" "$(sed 1d $D/hotspots)"
rmmod neural
