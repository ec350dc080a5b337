#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: stock
#
# TFLite files of one operator each: converted, loaded, and asked through the
# device for what TensorFlow Lite Micro answers. Whole models, too, where the
# guest has them.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

T=$V/tflite
M=/neural/models

# all CASE...: the networks give the answers that stand at the end of the golden files.
all() {
	for case; do
		if ! { neuralctl convert "$T/$case.tflite" -o "/tmp/$case.nnm" >/dev/null &&
			neuralctl load "/tmp/$case.nnm" >/dev/null &&
			codes_predict "$case" "$T/$case.gold"; }; then
			echo "$case: is wrong"
			return 1
		fi
		rm "/tmp/$case.nnm"
	done
	neuralctl unload "$@"
}

# model NAME: so does a model of MLPerf Tiny.
model() {
	neuralctl convert "$M/$1.tflite" -o "/tmp/$1.nnm" >/dev/null &&
		neuralctl load "/tmp/$1.nnm" >/dev/null &&
		codes_predict "$1" "$T/models_$1.in" "$T/models_$1.out" &&
		neuralctl unload "$1"
}

ktap_plan 27

t "the module is loaded" modprobe neural
# Those with a single input and no tensors between it and the output.
for number in 1 2 3 5 6 7 8 9; do
	t "sums, differences, products $number" all "add_$number" "sub_$number" "mul_$number"
done
for kind in fully_connected conv_2d depthwise_conv_2d; do
	t "$kind" all ${kind}_0 ${kind}_1 ${kind}_2 ${kind}_3 ${kind}_4 ${kind}_5 \
		${kind}_6 ${kind}_7 ${kind}_8 ${kind}_9 ${kind}_10 ${kind}_11
done
for kind in average_pool_2d max_pool_2d; do
	t "$kind" all ${kind}_0 ${kind}_1 ${kind}_2 ${kind}_3 ${kind}_4 ${kind}_5
done
t "mean" all mean_0 mean_1 mean_2 mean_3 mean_4 mean_5 mean_6
t "softmax" all softmax_0 softmax_1 softmax_2 softmax_3
t "pad, transpose" all pad_0 pad_1 transpose_0 transpose_1
t "reshape" all reshape_0 reshape_1 squeeze_0 squeeze_1 expand_dims_0 expand_dims_1
t "sigmoid, tanh" all logistic_0 logistic_1 logistic_2 tanh_0 tanh_1 tanh_2
t "ReLU" all relu_0 relu_1 relu_2 relu6_0 relu6_1 relu6_2 leaky_relu_0 leaky_relu_1 leaky_relu_2
t "hard swish, ELU" all hard_swish_0 hard_swish_1 hard_swish_2 elu_0 elu_1 elu_2
t "other scales" all quantize_0 quantize_2
t "long short-term memory" all lstm_0 lstm_1 lstm_2 lstm_3 lstm_4 lstm_5 lstm_6 lstm_7
refuse "an answer that is wrong is noticed" "2 answers, 2 wrong" sh -c "
	neuralctl convert $T/relu_0.tflite -o /tmp/relu.nnm >/dev/null && neuralctl load /tmp/relu.nnm >/dev/null &&
	head -c -1 $T/relu_0.gold >/tmp/wrong && echo >>/tmp/wrong && codes_predict relu /tmp/wrong"
for name in ad01_int8 kws_int8; do
	if [ -e "$M/$name.tflite" ]; then
		t "$name of MLPerf Tiny" model $name
	else
		skip "$name of MLPerf Tiny" "it is not in the tree: NEURAL_DATA names a directory with models/$name.tflite"
	fi
done
t "unload" rmmod neural
