# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # the variables are for those who source it
#
# What every script of this directory needs: where the cache is, how to speak,
# how to fail in one line, and how to take a lock. Sourced, never run.

set -euo pipefail

QEMU_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(dirname "$QEMU_DIR")
CACHE=${NEURAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/neural-kmod}
SUITE=trixie

# Elapsed seconds count from the first script of a run.
export NEURAL_BEGIN=${NEURAL_BEGIN:-$EPOCHSECONDS}
SECONDS=$((EPOCHSECONDS - NEURAL_BEGIN))

say() {
	printf '[%4ds] %s\n' "$SECONDS" "$*" >&2
}

die() {
	printf 'neural: %s\n' "$*" >&2
	exit 1
}

# Before a command: makes it end when its parent does, however that ends. What
# runs in the background does not hear the terminal's interrupt.
bound=(setpriv --pdeathsig TERM)

# Remember what to call this run, for whoever waits for its lock.
RUN_NAME=$(basename "$0")

# Take the lock NAME until this process ends. One line says who holds it; the
# wait is bounded so that a stuck run is noticed.
#   take_lock NAME
take_lock() {
	local file=$CACHE/lock.$1 wait=${NEURAL_LOCK_WAIT:-1800} holder

	mkdir -p "$CACHE" 2>/dev/null || die "cannot create $CACHE: set NEURAL_CACHE to a writable directory"
	exec 9<>"$file"
	if ! flock -n 9; then
		holder=$(head -n 1 "$file")
		if [ "$wait" -eq 0 ] || ! { say "waiting for ${holder:-another run} (lock $file)"; flock -w "$wait" 9; }; then
			die "${holder:-another run} holds $file: wait for it, or end it"
		fi
	fi
	printf 'pid %d (%s, since %s)\n' "$$" "$RUN_NAME" "$(date +%H:%M:%S)" >"$file"
}

drop_lock() {
	: >&9
	exec 9>&-
}

# Fail unless GIB gibibytes are free where the cache lies.
#   need_space GIB
need_space() {
	local kib

	mkdir -p "$CACHE" 2>/dev/null || die "cannot create $CACHE: set NEURAL_CACHE to a writable directory"
	# It may be removed as a whole.
	: >"$CACHE/.neural-kmod"
	kib=${NEURAL_FREE_KIB:-$(df -Pk "$CACHE" | awk 'NR == 2 { print $4 }')}
	[ "$kib" -ge $(($1 * 1024 * 1024)) ] ||
		die "$((kib / 1048576)) GB free in $CACHE, $1 GB needed: free some, or set NEURAL_CACHE to another disk"
}

need_root() {
	local tool

	for tool in unshare mount flock chroot; do
		command -v "$tool" >/dev/null || die "no $tool here: apt install util-linux mount coreutils"
	done
	[ "$(id -u)" -eq 0 ] ||
		die "the build root needs root (mount, chroot): run as root, or give KDIR=/path/to/kernel/build"
}

# The first words of a hash over standard input, for names in the cache.
key() {
	sha256sum | cut -c 1-12
}

# Say every minute how far the command is whose output goes to LOG. (`read`
# waits, not `sleep`: that would outlive its parent and keep its files open.)
progress() {
	local never

	exec 7<> <(:)
	while kill -0 "$$" 2>/dev/null; do
		read -r -t 60 -u 7 never || :
		say "    ... $(tail -n 1 "$1" | tr -d '\r' | cut -c 1-70)${never:-}"
	done
}

# A long, quiet command: its output goes to a log; if it fails the end of the
# log is shown, but for a package that is not there its name is enough.
#   logged LOG COMMAND...
logged() {
	local log=$1 rc=0 ticker lacks

	shift
	mkdir -p "$(dirname "$log")"
	progress "$log" 9>&- &
	ticker=$!
	"$@" >"$log" 2>&1 9>&- || rc=$?
	kill "$ticker" 2>/dev/null || :
	wait "$ticker" 2>/dev/null || :
	if [ "$rc" -ne 0 ]; then
		lacks=$(sed -nE "s/^E: (Unable to locate package|Version '.*' for|Package) '?([^' ]*).*/\\2/p" "$log" | sort -u | paste -sd' ')
		[ -z "$lacks" ] ||
			die "the mirror lacks $lacks: wait until it is complete, or configure apt with another (log: $log)"
		tail -n 30 "$log" | sed 's/^/    /' >&2
		return "$rc"
	fi
}

# Directory of the build root for the package list as it stands now.
root_dir() {
	printf '%s/root-%s\n' "$CACHE" "$(grep -v '^#' "$QEMU_DIR/packages" | { echo "$SUITE 1"; cat; } | key)"
}

# What a guest script says of itself: header SCRIPT KEY DEFAULT.
header() {
	local value

	value=$(sed -n "s/^# $2: *//p" "$1" | head -n 1)
	echo "${value:-$3}"
}

# guest_kernels SCRIPT [all]: the kernels that a guest script is for; those that
# are for either run on the kunit kernel only when all are asked for.
guest_kernels() {
	local kernels

	kernels=$(header "$1" kernel none)
	case $kernels,${2:-} in
	both,* | either,all) echo stock kunit ;;
	either,) echo stock ;;
	stock,* | kunit,*) echo "$kernels" ;;
	*) die "$1: no line '# kernel: stock|kunit|both|either'" ;;
	esac
}
