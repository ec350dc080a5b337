#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: stock
#
# Every operation and type of elements through the device: networks of single
# precision that have all operations together, what takes no arithmetic in
# Q16.16 and in codes, and a trained network in codes of 16 bits.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

F=$V/floats
C=$V/codes

ktap_plan 21

# all NAME...: as the parameter wants them.
all() { echo "$@" | tr ' ' ,; }
# wrong NAME DIRECTORY: answers that are wrong.
wrong() { codes_predict "$1" "$2/$1.in" "$2/$1.out" | sed 's/.*, //'; }

numbers="floats_sequences floats_transformer floats_cells floats_tokens floats_computer
	floats_windows floats_forecast floats_functions floats_lookups floats_running"
codes="codes_any_q16 codes_any_i8 codes_any_i16"
# shellcheck disable=SC2086 # several words
t "all are loaded" modprobe neural neural_force_isa=avx2 neural_models="$(all $numbers $codes)"
for name in $numbers; do
	same "$name gives what AVX2 gives elsewhere, bit by bit" "0 wrong" "$(wrong "$name" $F)"
done
for name in $codes; do
	same "$name gives what integers give" "0 wrong" "$(wrong "$name" $C)"
done
cp $F/floats_tokens.out /tmp/wrong
printf '\1\2\3\4' | dd of=/tmp/wrong bs=1 seek=64 conv=notrunc 2>/dev/null
refuse "an answer that is wrong is noticed" "2 wrong" codes_predict floats_tokens $F/floats_tokens.in /tmp/wrong

t "a network of floats becomes codes of 16 bits" neuralctl convert $V/digits.onnx --type i16 \
	--samples $V/digits_samples.csv -o /tmp/digits16.nnm
t "and is loaded" neuralctl load /tmp/digits16.nnm
same "neuralctl names the type" "element type: i16" "$(neuralctl info digits16 | grep type)"
neuralctl predict /tmp/digits16.nnm --input $V/digits_input.npy >/tmp/want
neuralctl predict digits16 --input $V/digits_input.npy >/tmp/have
t "the device gives what neuralctl computes" cmp /tmp/want /tmp/have
neuralctl predict digits16 --input $V/digits_input.npy --labels $V/digits_label.npy --summary >/tmp/summary
same "its accuracy" "accuracy: 98.89 % (356 of 360)" "$(grep accuracy /tmp/summary)"
t "unload" rmmod neural
