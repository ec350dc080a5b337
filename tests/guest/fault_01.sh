#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: kunit
#
# Each allocation of each request fails once; see fail_nth.c, which prints the
# results. What is left behind is found by kmemleak at the end.

. "$(dirname "$0")/model.sh"

make_models
modprobe neural
modprobe neural_test
for file in /sys/kernel/debug/fail*/verbose; do
	echo 0 >"$file"
done
for file in /sys/kernel/debug/fail*/ignore-gfp-wait; do
	echo N >"$file"
done
echo 0 >/sys/kernel/debug/fail_page_alloc/min-order
fail_nth $FW/digits.nnm
status=$?
rmmod neural_test || status=1
rmmod neural || status=1
exit $status
