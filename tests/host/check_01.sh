#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What qemu/check says of guests that run beside each other, with stand-ins for
# the guests: which of them has failed, and that none outlives the run.

# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/../guest/lib.sh"

top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
tree=$work/tree

# A checkout with two guest tests for each kernel, so two boots, and nothing to build.
mkdir -p "$tree/qemu" "$tree/tests/guest" "$work/cache"
cp "$top"/qemu/{check,lib.sh,ktap.py,packages,run-tests} "$tree/qemu/"
for name in one_01 two_01; do
	printf '# kernel: both\n' >"$tree/tests/guest/$name.sh"
done
stand_in() {
	cat >"$tree/qemu/$1"
	chmod +x "$tree/qemu/$1"
}
stand_in build <<'END'
#!/bin/sh
END
# The checks of a log run in the real build root.
stand_in inroot <<END
#!/bin/sh
cd "$top" && NEURAL_BIND=$work NEURAL_CACHE=${NEURAL_CACHE:-} exec $top/qemu/inroot "\$@"
END
# guest KERNEL ... --log CONSOLE ...; a test's word for each kernel is in $work.
stand_in guest <<END
#!/bin/bash
work=$work kernel=\$1
while [ "\$1" != --log ]; do shift; done
console=\$2
result() {
	printf 'KTAP version 1\n# script: %s\n1..2\nok 1 first\n%s 2 second\n# exit: %s\n' "\$1" "\$2" "\$3"
}
END
cat >>"$tree/qemu/guest" <<'END'
do=$(cat "$work/$kernel")
case $do in
sleeps)
	echo $$ >"$work/pid.$kernel"
	exec sleep 1000
	;;
meets)
	# Ends when the other one is there as well.
	: >"$work/here.$kernel"
	for _ in $(seq 300); do
		[ ! -e "$work/here.stock" ] || [ ! -e "$work/here.kunit" ] || break
		sleep 0.1
	done
	[ -e "$work/here.stock" ] && [ -e "$work/here.kunit" ] || exit 1
	;;
esac
result one_01 ok 0
case $do in
dies)
	printf '[    1.0] neural: alive\n' >"$console"
	printf 'KTAP version 1\n# script: two_01\n1..2\nok 1 first\n'
	echo "neural: the guest died; the end of its messages:" >&2
	exit 125
	;;
fails) result two_01 'not ok' 1 ;;
*) result two_01 ok 0 ;;
esac
printf '[    1.0] neural-guest: taint 12288\n[    1.0] neural-guest: exit 0\n' >"$console"
END

# run STOCK KUNIT: the check with guests that do this; its words are in $out and
# the log of the step in $log.
run() {
	echo "$1" >"$work/stock"
	echo "$2" >"$work/kunit"
	rc=0
	out=$(NEURAL_JOBS=2 NEURAL_CACHE=$work/cache "$tree/qemu/check" guest 2>&1) || rc=$?
	log=$(cat "$tree/build/check/guest")
}

# of KERNEL: what the step says of the boot of that kernel.
of() {
	sed -n "/^guest\.$1\..*:$/,/ passed, /p" <<<"$log"
}

ktap_plan 10
run meets meets
same "two guests run at once, and all is well" "0 8 passed, 0 failed, 0 skipped" "$rc $(tail -n 1 <<<"$out")"

run works dies
same "a guest that dies fails the run" 1 "$rc"
same "and the others are counted" "7 passed" "$(tail -n 1 <<<"$out" | cut -d, -f 1)"
t "its boot is named" grep -q "the guest died" <<<"$(of kunit)"
t "the test that it was in has not done what it planned" grep -q "two_01: 2 planned, 1 seen" <<<"$(of kunit)"
same "the other boot has not failed" "4 passed, 0 failed, 0 skipped" "$(of stock | tail -n 1)"
t "what has failed is shown" grep -q "did not reach its end" <<<"$out"

run fails works
same "a test that fails in one boot fails there only" "3 passed, 1 failed, 0 skipped 4 passed, 0 failed, 0 skipped" \
	"$(of stock | tail -n 1) $(of kunit | tail -n 1)"

# gone KERNEL: its guest has ended, in ten seconds.
gone() {
	local n

	for ((n = 0; n < 100; n++)); do
		kill -0 "$(cat "$work/pid.$1")" 2>/dev/null || return 0
		sleep 0.1
	done
	return 1
}

# KILL reaches the check alone, the terminal's INT all of its process group.
for signal in KILL INT; do
	rm -f "$work"/pid.*
	echo sleeps | tee "$work/stock" >"$work/kunit"
	# What a script starts in the background is deaf to INT.
	NEURAL_JOBS=2 NEURAL_CACHE=$work/cache setpriv --pdeathsig TERM setsid env --default-signal=INT "$tree/qemu/check" guest >/dev/null 2>&1 &
	check=$!
	until [ -s "$work/pid.stock" ] && [ -s "$work/pid.kunit" ]; do sleep 0.1; done
	target=$check
	[ "$signal" = KILL ] || target=-$check
	{ kill -"$signal" -- "$target" && wait "$check"; } 2>/dev/null
	t "no guest outlives a check that is ended by $signal" eval "gone stock && gone kunit"
	kill "$(cat "$work/pid.stock")" "$(cat "$work/pid.kunit")" 2>/dev/null
done
rm -rf "$work"
