#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Time the engine natively beside ONNX Runtime and LiteRT: set up, build, run bench.py. Its options are handed on.
#
#   tests/bench/run.sh [--rounds N] [--ms N] [--core N] [--json FILE]
#
# The engine is compiled by the compiler that builds the module, in the build root, and as the kernel compiles it as far
# as a user-space target allows: optimisation level, overflow checks, one codegen unit, no link-time optimisation,
# panic=abort, frame pointers, baseline x86-64, and no vectoriser. Vector registers are not forbidden, as they are in
# the kernel, because the standard library of the target needs them; how many instructions on the path of a prediction
# use one is counted and printed.
#
# CARGO: a cargo of this machine to use instead of the build root's.
# Everything is kept in ${XDG_CACHE_HOME:-~/.cache}/neural-kmod.
# Exit status: 0, 4 when Python is missing (skipped), another one when something failed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/neural-kmod

run_cargo() {
	if [ -n "${CARGO:-}" ]; then
		(cd "$top/rust" && "$CARGO" "$@")
	else
		"$top/qemu/build" cargo "$@"
	fi
}

python=$("$top/tests/vectors/venv.sh" "$here/requirements.txt")

triple=x86_64-unknown-linux-gnu
target=$cache/bench-target
# Static, because the build root's C library may be newer than this machine's.
run_cargo build --quiet --release --target "$triple" --target-dir "$target" -p neural_bench \
	--config 'profile.release.opt-level=2' \
	--config 'profile.release.overflow-checks=true' \
	--config 'profile.release.debug-assertions=false' \
	--config 'profile.release.codegen-units=1' \
	--config 'profile.release.lto="off"' \
	--config 'profile.release.panic="abort"' \
	--config "target.$triple.rustflags=['-Ctarget-cpu=x86-64', '-Ctarget-feature=+crt-static', '-Cforce-frame-pointers=yes', '-Cno-vectorize-loops', '-Cno-vectorize-slp']"
ours=$target/$triple/release/neural-bench

build="$(run_cargo --version), kernel-like flags"
if command -v objdump >/dev/null; then
	vector=$(objdump -d --no-show-raw-insn -C "$ours" | awk '
		/^[0-9a-f]+ <.*>:$/ { ours = /neural_core::(plan::(Step|Scalar|run)|scalar|act|fixed)/ }
		ours { total++; if (/%[xyz]mm/) vector++ }
		END { printf "%d of %d instructions of layers and activations use a vector register", vector, total }')
	build="$build; $vector"
fi

mkdir -p "$cache/bench"
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/bench.py" --ours "$ours" --models "$cache/bench/models" \
	--json "$cache/bench/results.jsonl" --build "$build" "$@"
