#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Time the engine natively beside what runs networks in user space: set up, build, run bench.py. Its options are handed on.
#
#   tests/bench/run.sh [--publish] [--quick] [--icount FILE] [--rounds N] [--ms N] [--core N] [--json FILE] [--plot FILE]
#
# The engine is compiled by the compiler that builds the module, in the build root, and as the kernel compiles it as far
# as a user-space target allows: optimisation level, overflow checks, one codegen unit, no link-time optimisation,
# panic=abort, frame pointers, baseline x86-64, and no vectoriser. Vector code names the features that it needs, here as
# in the kernel. Vector registers are not forbidden, as they are in the kernel, because the standard library of the
# target needs them; how many instructions on the path of a scalar prediction use one is counted and printed.
#
# CARGO: a cargo of this machine to use instead of the build root's.
# NEURAL_DATA: a directory that has models of MLPerf Tiny, ad01 and kws, as .tflite; without it their works have no times.
# NEURAL_CACHE: where everything is kept, else ${XDG_CACHE_HOME:-~/.cache}/neural-kmod; results of the last run are in
# its directory bench.
# Exit status: 0, 4 when Python is missing (skipped), another one when something failed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${NEURAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/neural-kmod}
work=$cache/bench
mkdir -p "$work"

run_cargo() {
	if [ -n "${CARGO:-}" ]; then
		(cd "$top/rust" && "$CARGO" "$@")
	else
		"$top/qemu/build" cargo "$@"
	fi
}

python=$("$top/tests/vectors/venv.sh" "$here/requirements.txt")
venv=${python%/bin/python}
debs=$work/debs

# install PACKAGE: into the virtual environment, or unpacked into $debs from where apt of this machine finds it.
install() {
	case $1 in
	deb:*)
		mkdir -p "$debs" || return 1
		(
			cd "$debs"
			apt-get download "${1#deb:}" || { apt-get update && apt-get download "${1#deb:}"; }
		) && dpkg-deb -x "$debs/${1#deb:}"_*.deb "$debs"
		;;
	*) "$python" -m pip install -q --no-warn-script-location "$1" ;;
	esac
}

# What bench.py is told, besides this script's own arguments.
options=()

# Peers that may be missing, one by one; what does not install is tried again in the next run.
exec 9>"$cache/lock.venv"
flock 9
while read -r package; do
	done=$venv/installed.$package
	[ ! -e "$done" ] || continue
	echo "installing $package" >&2
	if install "$package" >"$work/install.log" 2>&1; then
		: >"$done"
	else
		why=$(grep -m 1 -E '^(E:|ERROR)' "$work/install.log" || tail -n 1 "$work/install.log")
		options+=(--said "skipped: $package: $why")
	fi
done < <(sed -n '/^[^#]/p' "$here/optional.txt")
flock -u 9

triple=x86_64-unknown-linux-gnu
target=$cache/bench-target
# Static, because the build root's C library may be newer than this machine's.
run_cargo build --quiet --release --target "$triple" --target-dir "$target" -p neural_bench -p neuralctl \
	--config 'profile.release.opt-level=2' \
	--config 'profile.release.overflow-checks=true' \
	--config 'profile.release.debug-assertions=false' \
	--config 'profile.release.codegen-units=1' \
	--config 'profile.release.lto="off"' \
	--config 'profile.release.panic="abort"' \
	--config "target.$triple.rustflags=['-Ctarget-cpu=x86-64', '-Ctarget-feature=+crt-static', '-Cforce-frame-pointers=yes', '-Cno-vectorize-loops', '-Cno-vectorize-slp']"
built=$target/$triple/release

build="$(run_cargo --version), kernel-like flags"
if command -v objdump >/dev/null; then
	vector=$(objdump -d --no-show-raw-insn -C "$built/neural-bench" | awk '
		/^[0-9a-f]+ <.*>:$/ { ours = /neural_core::(plan::(Step|Scalar|run|q16|int8)|scalar|act|fixed|int8)/ }
		ours { total++; if (/%[xyz]mm/) vector++ }
		END { printf "%d of %d instructions of scalar layers use a vector register", vector, total }')
	build="$build; $vector"
fi

# library NAME LIBRARY CC-ARGUMENT...: a peer that is called from C, if all that it needs is there.
library() {
	local name=$1 library=$2 program=$work/libs-$1

	if ! command -v cc >/dev/null; then
		options+=(--said "skipped: $name: there is no C compiler")
	elif cc -O2 -o "$program" "$here/libs/libs.c" "$here/libs/${name,,}.c" "${@:3}" -ldl -lm 2>"$program.log"; then
		options+=(--library "$name" "$program" "$library")
	else
		options+=(--said "skipped: $name: $(grep -m 1 error "$program.log")")
	fi
}
blas=$(find "$venv" -name 'libscipy_openblas64_.so')
dnnl=$venv/lib/libdnnl.so
ggml=$(find "$venv" -type d -name libggml)
usr=$debs/usr
lib=$usr/lib/x86_64-linux-gnu
xnnpack=$(find "$debs" -name 'libxnnpack0_*.deb' -exec dpkg-deb -f {} Version \;)
library OpenBLAS "$blas"
library oneDNN "$dnnl" "-I$venv/include" "$dnnl"
library LIBXSMM - "-I$usr/include" "$usr/lib/libxsmm.a" "$usr/lib/libxsmmnoblas.a" -lpthread
library ggml - "-I$ggml/include" "$ggml/lib64/libggml-cpu.so" "$ggml/lib64/libggml-base.so" "-Wl,-rpath,$ggml/lib64"
library XNNPACK "XNNPACK of Debian, $xnnpack" "-I$usr/include" "$lib/libXNNPACK.so.0" "-Wl,-rpath-link,$lib"

# tract needs a newer compiler than Debian has: that of this machine.
if (cd "$here/tract" && cargo build --quiet --release --locked --target-dir "$work/tract") 2>"$work/tract.log"; then
	options+=(--library tract "$work/tract/release/bench-tract" -)
else
	options+=(--said "skipped: tract: $(grep -m 1 error "$work/tract.log" || tail -n 1 "$work/tract.log")")
fi

# OpenBLAS takes CPUs that it does not know for old ones.
if grep -qw avx512_vnni /proc/cpuinfo; then
	export OPENBLAS_CORETYPE="${OPENBLAS_CORETYPE:-SkylakeX}"
fi
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
export LD_LIBRARY_PATH="$venv/lib:$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

exec "$python" "$here/bench.py" --ours "$built/neural-bench" --machine "$built/neural-machine" \
	--neuralctl "$built/neuralctl" --build "$build" --models "$work/models" \
	--json "$work/results.json" --plot "$work/results.svg" "${options[@]}" "$@"
