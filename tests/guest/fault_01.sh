#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: kunit
#
# Each allocation of each request fails once; see fail_nth.c, which prints the
# results. What is left behind is found by kmemleak at the end.

. "$(dirname "$0")/model.sh"

make_models
modprobe neural
for point in failslab fail_page_alloc; do
	echo 0 >/sys/kernel/debug/$point/verbose
	echo N >/sys/kernel/debug/$point/ignore-gfp-wait
done
echo 0 >/sys/kernel/debug/fail_page_alloc/min-order
fail_nth $FW/digits.nnm
status=$?
rmmod neural || status=1
exit $status
