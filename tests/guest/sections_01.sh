#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: kunit
#
# While a costly network is predicted, preemption is turned off for sections that
# have no more work than they may: where they begin is traced, with all else that
# turns it off meanwhile.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

F=$V/floats
T=/sys/kernel/tracing
# The most work of a section; a multiply-accumulate of single precision counts for two.
MOST=327680

ktap_plan 7

make_models
modprobe neural neural_models=floats_image
write $D/network_floats_image/config "cache_size 0"
macs=$(field $D/network_floats_image/layers macs)
head -c 4096 $F/floats_image.in >/tmp/one.in
head -c 40 $F/floats_image.out >/tmp/one.out

# trace COMMAND...: what it does with preemption, a line for each change.
trace() {
	echo nop >$T/current_tracer
	echo >$T/trace
	echo 1 >$T/events/preemptirq/preempt_disable/enable
	echo 1 >$T/events/preemptirq/preempt_enable/enable
	echo $$ >$T/set_event_pid
	echo 1 >$T/options/event-fork
	"$@"
	status=$?
	echo 0 >$T/events/preemptirq/enable
	echo >$T/set_event_pid
	return $status
}

before=$(field $D/stats sections)
t "one sample is predicted, alone and as a batch" trace codes_predict floats_image /tmp/one.in /tmp/one.out
sections=$(($(field $D/stats sections) - before))
sed -n 's/^ *\(codes_predict\)-[0-9]* .* \([0-9.]*\): preempt_\([a-z]*\): caller=\([^+ ]*\).* parent=\([^+ ]*\).*/\2 \3 \4 \5/p' \
	$T/trace >/tmp/changes
begun=$(grep -c 'disable.*kernel_fpu_begin' /tmp/changes)
same "every section is seen to begin" "$sections" "$begun"
least=$((2 * 2 * macs / MOST))
t "there are as many as its $macs multiply-accumulates ask for ($sections, at least $least)" \
	test "$sections" -ge "$least"
t "not many more" test "$sections" -le $((2 * least))
same "the statistics have the longest" 1 "$(($(field $D/stats section_max_ns) > 0))"
t "for programs, too" sh -c "grep -qE '\"sections\":[0-9]+,\"section_max_ns\":[1-9]' $D/stats.json"
awk '$2 == "disable" { at = $1; who = $4 } $2 == "enable" && who { us = ($1 - at) * 1e6
	if (us > most[who]) most[who] = us; count[who]++; who = "" }
	END { for (w in most) if (most[w] > 100) printf "# preemption off by %s: %d times, %d us at most\n", w, count[w], most[w] }' /tmp/changes
t "unload" rmmod neural
