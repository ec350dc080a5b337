#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What `make demo` shows, in the guest.

set -e
uname -sr
modprobe neural
lsmod
dmesg | grep neural:
rmmod neural
