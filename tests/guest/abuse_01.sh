#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: both
#
# What no well-behaved program would send to /dev/neural; see uapi_abuse.c, which
# prints the results; among it are random requests, fewer where each is checked.

. "$(dirname "$0")/model.sh"

make_models
requests=50000
[ ! -e /sys/kernel/debug/kmemleak ] || requests=10000
modprobe neural
uapi_abuse $FW/digits.nnm $requests
status=$?
rmmod neural || status=1
exit $status
