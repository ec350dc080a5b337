#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: stock
#
# ONNX files as networks of codes: the device gives what neuralctl computes by
# itself, for those that come quantised and for one that is quantised here.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

C=$V/onnx_codes

# answers NAME: both give the same for all inputs of a case.
answers() {
	neuralctl convert "$C/$1.onnx" -o "/tmp/$1.nnm" >/dev/null &&
		neuralctl load "/tmp/$1.nnm" >/dev/null &&
		neuralctl predict "/tmp/$1.nnm" --input "$C/$1_input.npy" >/tmp/want &&
		neuralctl predict "$1" --input "$C/$1_input.npy" >/tmp/have &&
		[ -s /tmp/want ] && cmp /tmp/want /tmp/have && neuralctl unload "$1"
}

ktap_plan 15

t "the module is loaded" modprobe neural
for name in conv_u8 conv_depthwise_s8 conv_1d_u8 matmul_rows_s8 residual_u8 squeeze_excite_s8 \
	average_pool_u8 clip_both_u8 concat_channels_u8 keywords_s8; do
	t "$name" answers $name
done
t "a network of floats is quantised" neuralctl convert $V/digits.onnx --type i8 \
	--samples $V/digits_samples.csv -o /tmp/digits8.nnm
t "and loaded" neuralctl load /tmp/digits8.nnm
neuralctl predict digits8 --input $V/digits_input.npy --labels $V/digits_label.npy --summary >/tmp/summary
same "its accuracy" "accuracy: 98.61 % (355 of 360)" "$(grep accuracy /tmp/summary)"
t "unload" rmmod neural
