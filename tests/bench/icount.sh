#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Counts the instructions of one neural_network_predict() in the guest, computed
# and answered by the cache: QEMU lets each instruction take 1 ns of the guest's
# time, so that what neural_test prints as time is a count. Everything that the
# prediction does in the kernel is in it: look-ups, statistics, clock reads.
# Then asks the module how much memory the same networks take, on two CPUs,
# without a prediction cache and with one of 256 entries.
#
#	tests/bench/icount.sh

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/count" <<'END'
modprobe neural_test
dmesg | sed -n 's/.*speed \(.*\): \([0-9]*\) ns computed, \([0-9]*\) ns cached/\1 \2 \3/p'
END
cat >"$work/weigh" <<'END'
modprobe neural
for model in /neural/bench/*.nnm; do
	echo 0 >/sys/module/neural/parameters/neural_cache_size
	neuralctl load "$model" --name one >/dev/null
	echo 256 >/sys/module/neural/parameters/neural_cache_size
	neuralctl load "$model" --name two >/dev/null
	for name in one two; do
		sed -n 's/^memory_bytes: //p' "/sys/kernel/debug/neural_network/network_$name/stats"
		neuralctl unload $name >/dev/null
	done | paste -sd ' '
done
END
python=$("$top/tests/vectors/venv.sh" "$here/requirements.txt")
mkdir "$work/bench"
(cd "$here" && PYTHONDONTWRITEBYTECODE=1 "$python" - "$work/bench") <<'END'
import struct
import sys
from pathlib import Path

from networks import mlp
from nnm_files import floats_file

from floats_net import crc32c

# In the order of neural_test.
for number, sizes in enumerate(((5, 15, 5, 4), (31, 256, 2), (64, 128, 10), (256, 256, 256))):
    model = floats_file(mlp("net", sizes), "q16")
    sealed = model[:24] + struct.pack("<I", crc32c(model)) + model[28:]
    Path(sys.argv[1], f"{number}.nnm").write_bytes(sealed)
END
"$top/qemu/setup" stock
"$top/qemu/build" stock
"$top/qemu/build" tools
"$top/qemu/guest" stock --icount --cpus 1 "$work/count" >"$work/counts"
"$top/qemu/guest" stock "$work/weigh" "$work/bench:/neural/bench" >"$work/bytes"
{
	echo network computed cached bytes with_cache
	paste -d ' ' "$work/counts" "$work/bytes"
} | column -t
