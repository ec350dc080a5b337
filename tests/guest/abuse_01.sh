#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: both
#
# What no well-behaved program would send to /dev/neural; see uapi_abuse.c, which
# prints the results.

. "$(dirname "$0")/model.sh"

make_models
modprobe neural
uapi_abuse $FW/digits.nnm
status=$?
rmmod neural || status=1
exit $status
