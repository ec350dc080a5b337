#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs a fuzz target: run.sh TARGET [SECONDS [LIBFUZZER OPTIONS]]; a target is a file in targets/.
#
# Needs a C++ compiler for libFuzzer. Any stable rustc will do: coverage is a pass of LLVM. What was
# found interesting stays in ../target/fuzz/corpus/TARGET, what made a target fail in
# ../target/fuzz/TARGET-*.
set -eu

cd "$(dirname "$0")"
target=${1:?usage: run.sh TARGET [SECONDS [LIBFUZZER OPTIONS]]}
seconds=${2:-60}
shift
[ $# -eq 0 ] || shift

export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares \
-Ccodegen-units=1"
# A target triple keeps the flags away from build scripts.
triple=$(rustc -vV | sed -n 's/^host: //p')
out=../target/fuzz
cargo build --quiet --release --target "$triple" --target-dir "$out" --bin "$target"

corpus=$out/corpus/$target
mkdir -p "$corpus"
# Files to begin with, for the targets that would take long to find one.
if [ -z "$(ls "$corpus")" ]; then
	case $target in
	model)
		# Coverage starts behind the header.
		env -u RUSTFLAGS cargo run --quiet --manifest-path ../Cargo.toml -p neural_core \
			--example seeds -- "$corpus"
		;;
	onnx | tflite)
		find ../../tests/vectors/"$target"* -name "*.$target" -size -8k -exec cp {} "$corpus" \;
		;;
	esac
fi
exec "$out/$triple/release/$target" -max_total_time="$seconds" -max_len=16384 -timeout=10 \
	-artifact_prefix="$out/$target-" "$@" "$corpus"
