# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# For guest tests: KTAP on standard output, and no test that passes because
# nothing was looked at. A script sources it, says how many tests it has with
# ktap_plan, and then calls ok, not_ok, skip, t, refuse or same once for each.
# A failed test does not end the script: the others may still tell something.

KTAP_N=0
KTAP_BAD=0

# ktap_plan N: how many tests follow.
ktap_plan() {
	echo "KTAP version 1"
	echo "# script: $(basename "$0" .sh)"
	echo "1..$1"
	KTAP_LOG=$(mktemp)
	trap ktap_end EXIT
}

# The status of a script is that of its tests.
ktap_end() {
	rm -f "$KTAP_LOG"
	[ "$KTAP_BAD" -eq 0 ] || exit 1
}

# diag TEXT...: a note, for whoever reads the log of a failure.
diag() {
	printf '%s\n' "$*" | sed 's/^/# /'
}

ok() {
	KTAP_N=$((KTAP_N + 1))
	echo "ok $KTAP_N $*"
}

not_ok() {
	KTAP_N=$((KTAP_N + 1))
	KTAP_BAD=$((KTAP_BAD + 1))
	echo "not ok $KTAP_N $*"
}

# skip NAME WHY...: what cannot be tested here, and why.
skip() {
	name=$1
	shift
	KTAP_N=$((KTAP_N + 1))
	echo "ok $KTAP_N $name # SKIP $*"
}

# t NAME COMMAND...: the command succeeds.
t() {
	name=$1
	shift
	if "$@" >"$KTAP_LOG" 2>&1; then
		ok "$name"
	else
		diag "status $?: $*"
		sed 's/^/#   /' "$KTAP_LOG"
		not_ok "$name"
	fi
}

# refuse NAME TEXT COMMAND...: the command fails and says TEXT (a fixed string,
# such as "Invalid argument").
refuse() {
	name=$1
	text=$2
	shift 2
	if "$@" >"$KTAP_LOG" 2>&1; then
		diag "succeeded: $*"
		not_ok "$name"
	elif grep -qF -- "$text" "$KTAP_LOG"; then
		ok "$name"
	else
		diag "failed without saying '$text': $*"
		sed 's/^/#   /' "$KTAP_LOG"
		not_ok "$name"
	fi
}

# same NAME WANT GOT: two strings are equal.
same() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		diag "want: $2"
		diag "got:  $3"
		not_ok "$1"
	fi
}

# write FILE TEXT: write at once, as an administrator's echo does; for t and refuse.
write() {
	/bin/echo "$2" >"$1"
}

# kernel_says TEXT: the kernel's log has TEXT (a fixed string) since the last
# call of kernel_mark.
kernel_mark() {
	KTAP_MARK="neural-test: mark $$ $KTAP_N"
	echo "$KTAP_MARK" >/dev/kmsg
}

kernel_says() {
	dmesg | sed -n "/$KTAP_MARK\$/,\$p" | grep -F -- "$1"
}
