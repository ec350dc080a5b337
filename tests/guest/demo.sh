#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What `make demo` shows, in the guest: a trained network, loaded by modprobe,
# classifies handwritten digits that it has not seen.

# shellcheck source=SCRIPTDIR/model.sh
. "$(dirname "$0")/tests/model.sh"
# shellcheck source=SCRIPTDIR/show.sh
. "$(dirname "$0")/tests/show.sh"

say "This is $(uname -sr), Debian's own kernel, in QEMU without hardware support: times here are of no account."
mkdir -p "$FW"
say "A network trained with scikit-learn, as ONNX, becomes a model file"
run "neuralctl convert $V/digits.onnx -o $FW/digits.nnm --samples $V/digits_samples.csv"

say "The module loads it from the firmware path"
run "modprobe neural neural_models=digits"
run "neuralctl list"
run "cat $D/network_digits/layers"

say "360 handwritten digits that were not used in training, beside the ONNX runtime's answers"
run "neuralctl predict digits --input $V/digits_input.npy --labels $V/digits_label.npy \
--reference $V/digits_ort_output.npy --summary 2>/dev/null"

say "How fast, system call included (emulated: on a real machine, run this yourself)"
run "neuralctl bench digits --seconds 1"

say "Settings change while it runs"
run "echo 'cache_timeout 1000' > $D/network_digits/config"
run "cat $D/network_digits/config"

say "Statistics"
run "cat $D/network_digits/stats"

run "rmmod neural"
end_if_failed
cat <<'END'

== How to go on
make shell                      this guest, with a prompt; all of the above works there
make modules modules_install    on Debian with a backports kernel 7.2 or newer, then: modprobe neural
make check                      all tests
make bench                      native times beside ONNX Runtime and LiteRT
Documentation/                  admin guide, API, file format, design
END
