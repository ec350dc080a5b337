#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Counts the instructions of one neural_network_predict() in the guest, computed
# and answered by the cache: QEMU lets each instruction take 1 ns of the guest's
# time, so that what neural_test prints as time is a count. Everything that the
# prediction does in the kernel is in it: look-ups, statistics, clock reads.
#
#	tests/bench/icount.sh

set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
script=$(mktemp)
trap 'rm -f "$script"' EXIT
cat >"$script" <<'END'
modprobe neural_test
dmesg | sed -n 's/.*speed \(.*\): \([0-9]*\) ns computed, \([0-9]*\) ns cached/\1 \2 \3/p'
END
"$top/qemu/setup" stock
"$top/qemu/build" stock
counts=$("$top/qemu/guest" stock --icount --cpus 1 "$script")
printf 'network computed cached\n%s\n' "$counts" | column -t
