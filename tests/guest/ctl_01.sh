#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# neuralctl against the module: its statistics are those of debugfs, as text and
# as JSON, it shows and changes settings, and its exit status says what was wrong.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

ktap_plan 42

N=$D/network_digits

# status COMMAND...: its exit status.
status() {
	"$@" >/dev/null 2>&1
	echo $?
}

# packed: JSON without blanks; a program may write 0.50 as 0.5.
packed() {
	tr -d ' \n' | sed -E 's/(_percent":[0-9]+\.[0-9])0,/\1,/'
}

# own FILE: without what only debugfs has: the sections of vector code.
own() {
	sed -E '/^section/d; s/"sections":[0-9]+,"section_max_ns":[0-9]+,//' "$1"
}

# rows N: the first N rows of the digits are predicted, one by one.
rows() {
	head -n "$1" $V/digits_input.csv | neuralctl predict digits --batch 1 >/dev/null 2>&1
}

make_models
same "without the module: status 3" 3 "$(status neuralctl list)"
refuse "which says what to do" "modprobe neural" neuralctl list
modprobe neural neural_models=digits,small
same "an unknown command: status 2" 2 "$(status neuralctl nonsense)"
same "an unknown option: status 2" 2 "$(status neuralctl list --nonsense)"
same "a value that is missing: status 2" 2 "$(status neuralctl unload)"
same "a network that is not loaded: status 1" 1 "$(status neuralctl unload nothere)"
same "a model that is not there: status 1" 1 "$(status neuralctl load nothere)"
same "a setting that is refused: status 1" 1 "$(status neuralctl config digits simd 2)"
same "all is well: status 0" 0 "$(status neuralctl list)"

neuralctl config digits cache_timeout 3600000
write $N/config "reset stats"
rows 3
rows 2
neuralctl predict digits --input $V/digits_input.npy --batch 64 >/dev/null 2>&1
write $N/config "nonsense 1" 2>/dev/null
neuralctl stats digits >/tmp/text
same "stats of a network: the text of debugfs" "$(cat $N/stats)" "$(cat /tmp/text)"
same "stats --json of a network: the JSON of debugfs" "$(packed <$N/stats.json)" \
	"$(neuralctl stats digits --json | packed)"
same "stats of all: the text of debugfs" "$(own $D/stats)" "$(neuralctl stats)"
same "stats --json of all: the JSON of debugfs" "$(own $D/stats.json | packed)" \
	"$(neuralctl stats --json | packed)"
# 3 + 2 rows one by one, of which 2 are in the cache, 360 as a batch, of which 3 are.
same "predictions are counted" 365 "$(field /tmp/text predictions)"
same "and batches" 6 "$(field /tmp/text batches)"
same "hits, misses" "5 360" "$(field /tmp/text cache_hits) $(field /tmp/text cache_misses)"
same "and errors" "0 0 0 0 0 1" "$(error_kinds digits)"
same "the histogram has all predictions" 365 \
	"$(sed -n 's/^histogram_ns .*: //p' /tmp/text | awk '{ n += $1 } END { print n }')"
same "times are in order" "$(for p in p50 p99 p999; do field /tmp/text ${p}_ns; done)" \
	"$(for p in p50 p99 p999; do field /tmp/text ${p}_ns; done | sort -n)"
same "the average is the sum by the predictions" "$(($(field /tmp/text total_ns) / 365))" \
	"$(field /tmp/text average_ns)"
same "JSON has the number of a network" "$(field /tmp/text id)" \
	"$(packed <$N/stats.json | sed 's/.*"id":\([0-9]*\),.*/\1/')"
refuse "stats of a network that is not loaded" "nothere" neuralctl stats nothere

neuralctl top --once >/tmp/top
t "top shows each network" sh -c "grep -q '^digits ' /tmp/top && grep -q '^small ' /tmp/top"
same "with its predictions" 365 "$(awk '$1 == "digits" { print $4 }' /tmp/top)"
neuralctl list --json >/tmp/list
same "list --json has each network" 2 "$(grep -c '"name"' /tmp/list)"
same "list shows the memory of stats" "$(field $N/stats memory_bytes)" \
	"$(packed </tmp/list | sed 's/.*"name":"digits"[^}]*"memory_bytes":\([0-9]*\).*/\1/')"
t "query" sh -c "neuralctl query | grep -q '^networks: 2'"

same "config: the text of debugfs" "$(cat $N/config)" "$(neuralctl config digits)"
t "config takes a setting" neuralctl config digits cache_timeout 77
same "shows it" 77 "$(neuralctl config digits cache_timeout)"
same "and debugfs has it" 77 "$(setting digits cache_timeout)"
t "config takes a CPU" neuralctl config digits allowed_cpus 1
same "config --json has it" '"1"' \
	"$(neuralctl config digits --json | sed -n 's/.*"allowed_cpus": //p' | tr -d ,)"
refuse "a value that is out of range is named" "3600001" neuralctl config digits cache_timeout 3600001
refuse "a negative one, too" '"-5"' neuralctl config digits cache_timeout -5
refuse "a key that is none, too" "nokey" neuralctl config digits nokey
same "then nothing has changed" 77 "$(setting digits cache_timeout)"

t "bash takes the completions" sh -c "neuralctl completions bash | bash -n"
t "they have the commands" sh -c "neuralctl completions bash | grep -q replace"
mkdir -p /tmp/man
t "man pages are written" neuralctl man -o /tmp/man
t "one for each command" test -s /tmp/man/neuralctl.1 -a -s /tmp/man/neuralctl-stats.1
t "unload" rmmod neural
