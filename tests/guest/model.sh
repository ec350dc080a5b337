# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# For guest tests: makes the models that they need, where the firmware loader
# looks, and names what they look at.

V=/neural/vectors
# shellcheck disable=SC2034 # not all scripts look at parameters
P=/sys/module/neural/parameters
D=/sys/kernel/debug/neural_network
FW=/lib/firmware/neural

# make_models: digits (64-128-10, trained), small (5-15-5-4) and large (512-1024-4).
make_models() {
	mkdir -p "$FW"
	neuralctl convert "$V/digits.onnx" -o "$FW/digits.nnm" >/dev/null 2>&1 &&
		neuralctl new 5-15-5-4 --activation sigmoid --seed 1 -o "$FW/small.nnm" >/dev/null &&
		neuralctl new 512-1024-4 --seed 2 -o "$FW/large.nnm" >/dev/null
}

# field FILE KEY: the value of a line "KEY: value" in a statistics file.
field() {
	sed -n "s/^$2: //p" "$1"
}

# error_kinds NETWORK: the numbers of its errors: of input, context, memory, model,
# interrupted, config.
error_kinds() {
	sed -n 's/^errors_.*: //p' "$D/network_$1/stats" | paste -sd' '
}

# setting NETWORK KEY: the value of a line "KEY value" in a config file.
setting() {
	sed -n "s/^$2 //p" "$D/network_$1/config"
}

# used: wait until the module is in use, i.e. until a program in the background has
# opened the device.
used() {
	until [ "$(cat /sys/module/neural/refcnt)" -gt 0 ]; do sleep 0.1; done
}

# predicting NETWORK: wait until it has made a prediction since its statistics were reset.
predicting() {
	until [ "$(field "$D/network_$1/stats" predictions)" -gt 0 ]; do sleep 0.1; done
}

# names: the loaded networks, in the order in which they were loaded.
names() {
	neuralctl list --json | grep -o '"name": *"[^"]*"' | sed 's/.*"\(.*\)"/\1/' | paste -sd' '
}
