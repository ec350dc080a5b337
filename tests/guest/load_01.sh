#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: both
#
# The module loads by name, shows itself, and unloads again, twice.

# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

ktap_plan 5
t "loads" modprobe neural
t "is listed" grep -q '^neural ' /proc/modules
t "unloads" rmmod neural
t "loads again" modprobe neural
t "unloads again" rmmod neural
