#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The scripts of qemu/ fail in one line that says what to do, when the machine
# is not what they need. Each case changes one thing about the machine.

# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/../guest/lib.sh"

top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
cache=${NEURAL_CACHE:-}
export NEURAL_CACHE=$work/cache
# As if there were enough, however full the disk is.
export NEURAL_FREE_KIB=99999999

# A machine that lacks one command: every other one is linked.
machine_without() {
	local dir=$work/without-$1 path

	mkdir -p "$dir"
	for path in /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
		find "$path" -maxdepth 1 -exec ln -sf -t "$dir" {} + 2>/dev/null
	done
	rm "$dir/$1"
	echo "$dir"
}

# A machine where COMMAND does TEXT.
machine_where() {
	local dir=$work/where-$1

	mkdir -p "$dir"
	printf '#!/bin/sh\n%s\n' "$2" >"$dir/$1"
	chmod +x "$dir/$1"
	echo "$dir:$PATH"
}

# says_one_line NAME TEXT COMMAND...: it fails with TEXT in the one line it says.
# Make without what it says of its own when a command fails.
# shellcheck disable=SC2317 # called by says_one_line
make_quietly() {
	make -s -C "$top" "$@" 2> >(grep -v '^make' >&2)
}

says_one_line() {
	local name=$1 text=$2 out rc=0

	shift 2
	out=$("$@" 2>&1 >/dev/null </dev/null | grep -v '^\[ *[0-9]*s\]'; exit "${PIPESTATUS[0]}") || rc=$?
	if [ "$rc" -ne 0 ] && [[ $out == "neural: "*"$text"* ]] && [ "$(wc -l <<<"$out")" -eq 1 ]; then
		ok "$name"
	else
		diag "status $rc, wanted one line with: $text" "$out"
		not_ok "$name"
	fi
}

ktap_plan 12
says_one_line "no root" "needs root" \
	env PATH="$(machine_where id 'echo 1000')" "$top/qemu/mkroot"
says_one_line "no apt" "no apt here" \
	env PATH="$(machine_without apt-get)" "$top/qemu/mkroot"
says_one_line "little space" "8 GB needed" \
	env NEURAL_FREE_KIB=7340032 "$top/qemu/mkroot"
says_one_line "a cache that cannot be written" "NEURAL_CACHE" \
	env NEURAL_CACHE=/proc/neural "$top/qemu/mkroot"
says_one_line "no Debian mirror" "no Debian mirror" \
	env PATH="$(machine_where apt-get 'exit 0')" "$top/qemu/mkroot"
says_one_line "a mirror that lacks a package" "the mirror lacks bindgen rustc: " \
	env PATH="$(machine_where mmdebstrap 'echo "E: Unable to locate package rustc" >&2
		echo "E: Package '"'bindgen'"' has no installation candidate" >&2
		exit 100')" "$top/qemu/mkroot"
says_one_line "a kernel without Rust" "$work is no build of a kernel with Rust" \
	make_quietly KDIR="$work" modules
mkdir "$work/other"
says_one_line "a cache that is none is not removed" "nothing was removed" \
	env NEURAL_CACHE="$work/other" "$top/qemu/uncache"
says_one_line "no such option" "unknown option" \
	"$top/qemu/boot" --nosuch

# Somebody else at work.
mkdir -p "$NEURAL_CACHE"
(
	exec 9<>"$NEURAL_CACHE/lock.cache"
	flock 9
	echo "pid 4711 (make demo, since 12:00:00)" >&9
	sleep 30
) &
holder=$!
sleep 0.3
says_one_line "a second run" "pid 4711 (make demo, since 12:00:00) holds" \
	env NEURAL_LOCK_WAIT=0 "$top/qemu/mkroot"
kill "$holder" 2>/dev/null
wait "$holder" 2>/dev/null

# A build root that was cut off must not be taken for a finished one.
# The braces are for "Killed", which the shell says.
# shellcheck disable=SC2016 # expanded by the stand-in
{ env PATH="$(machine_where mmdebstrap 'for d; do case $d in */tmp.root.*) mkdir -p "$d/usr" ;; esac; done
	kill -9 $PPID')" "$top/qemu/mkroot" >/dev/null || :; } 2>/dev/null
same "an unfinished build root stays apart" "tmp.root" \
	"$(cd "$NEURAL_CACHE" && find . -maxdepth 1 -name '*root*' | sed 's,^\./,,; s/\.[0-9]*$//')"

# Where a clone was made must not matter.
below_tmp=$(mktemp -d /tmp/neural.XXXXXX)
same "the build root sees a directory below /tmp" "$below_tmp" \
	"$(cd "$below_tmp" && NEURAL_CACHE=$cache "$top/qemu/inroot" pwd 2>&1)"
rm -rf "$below_tmp" "$work"
