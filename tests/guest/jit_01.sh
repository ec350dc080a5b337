#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kernel: either
#
# Generated code: made for a network that predicts a lot, with the same answers before and after, under
# changes of everything that it depends on, and gone with the module.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.sh"

C=$V/codes
WX=/sys/kernel/debug/check_wx_pages
CPU1=/sys/devices/system/cpu/cpu1/online

# predict [THREADS ROUNDS]: 16 samples a round, one by one and as a batch.
predict() { codes_predict "${3:-codes_mlp}" $C/codes_mlp.in $C/codes_mlp.out "${1:-1}" "${2:-1}"; }
load() {
	modprobe neural neural_models=codes_mlp "$@"
	write $D/network_codes_mlp/config "cache_size 0"
}
jit() { field $D/jit "$1"; }
kernel() { sed -n "s/^kernel: .* $1=\([^ ]*\).*/\1/p" $D/jit | paste -sd' '; }
bytes() { od -A n -t x1 -v -j "$1" -N "$2" $D/jit_code | tr -d ' \n'; }
no_pages() { [ ! -e $WX ] || [ "$(cat $WX)" = SUCCESS ]; }

# becomes STATE: wait until the code of the only kernel is in this state.
becomes() {
	for _ in $(seq 100); do
		[ "$(kernel state)" != "$1" ] || return 0
		sleep 0.1
	done
	cat $D/jit
	return 1
}

# more_calls NETWORK: predictions of a network come to be made by generated code.
more_calls() {
	start=$(kernel calls)
	for _ in $(seq 100); do
		predict 1 1 "$1" || return
		[ "$(kernel calls)" = "$start" ] || return 0
	done
	return 1
}

ktap_plan 43

load neural_jit_gain=0
same "there is no code at first" "on 0 0" "$(jit state) $(jit kernels) $(jit used_bytes)"
t "vector code gives the answers" predict 1 2
same "for few of which no code is made" 0 "$(jit kernels)"
t "after 2000 of them" predict 1 80
t "there is code" becomes published
at=$(($(kernel address) - $(jit arena_address)))
length=$(kernel bytes)
same "for the shape" "kernel: chain_i8 64x128x8 " "$(sed -n 's/state=published.*//p' $D/jit)"
same "its slots are in use" "$(((length + 511) / 512 * 512))" "$(jit used_bytes)"
before=$(kernel calls)
t "generated code gives the answers" predict 1 2
same "in each of the single predictions" 1 "$(($(kernel calls) - before >= 32))"
same "it begins with endbr64" f30f1efa "$(bytes $at 4)"
last=$(bytes $((at + length - 8)) 8)
case $last in
????????c5f877c3 | c5f877e9????????) last=good ;;
esac
same "it ends with vzeroupper and a return" good "$last"
same "behind it are traps" "cc" "$(bytes $((at + length)) 1)"
same "the map has its address, length and name" "$(kernel address | sed s/0x//) $(printf %x "$length") neural_jit chain_i8 64x128x8" \
	"$(cat $D/jit_map)"
t "the kernel knows the arena by name" grep -q ' neural_jit_arena[[:space:]]*\[neural\]' /proc/kallsyms
t "no page can be written and executed" no_pages

write $P/neural_enable_jit 0
before=$(kernel calls)
same "switched off, that is said" "off: neural_enable_jit is 0" "$(jit state)"
t "the answers stay" predict 1 20
same "and generated code rests" "$before" "$(kernel calls)"
write $P/neural_enable_jit 1
t "switched on again, the answers stay" predict 1 20
same "by generated code" 1 "$(($(kernel calls) > before))"
write $D/network_codes_mlp/config "jit 0"
before=$(kernel calls)
t "switched off for the network, the answers stay" predict 1 20
same "and generated code rests" "$before" "$(kernel calls)"
write $D/network_codes_mlp/config "jit 1"
write $D/network_codes_mlp/config "simd 0"
before=$(kernel calls)
t "without vector code for the network, the answers stay" predict
same "by neither" "$before" "$(kernel calls)"
write $D/network_codes_mlp/config "simd 1"

t "another network of the same shape" neuralctl load $FW/codes_mlp.nnm --name twin
write $D/network_twin/config "cache_size 0"
t "predicts" predict 1 80 twin
t "and comes to use the same code" more_calls twin
same "of which there is no other" 1 "$(jit kernels)"
t "one of them goes" neuralctl unload twin
same "the code stays" published "$(kernel state)"

refuse "more code than there is room is refused" "Invalid argument" write $P/neural_jit_cache_kb 65
write $P/neural_jit_cache_kb 1
t "for less, code is evicted" becomes evicted
same "and its slots are free" 0 "$(jit used_bytes)"
same "and traps" cccccccc "$(bytes $at 4)"
t "the answers stay" predict
write $P/neural_jit_cache_kb 64
t "with more, it comes back" becomes published

# Code comes and goes, and so does a processor, while both processors predict.
while [ ! -e /tmp/enough ]; do predict 2 50 || exit; done >/tmp/answers 2>&1 &
runner=$!
used
turns=0
while [ $turns -lt 8 ] && kill -0 $runner 2>/dev/null; do
	[ $((turns % 4)) -ne 0 ] || write $CPU1 $((turns / 4 % 2))
	write $P/neural_jit_cache_kb $((turns % 2 * 64))
	case $((turns % 2)) in
	0) becomes evicted ;;
	1) becomes published ;;
	esac || break
	# The kernel may take seconds to look at all of its pages.
	[ $turns -ne 3 ] || no_pages || echo "a page" >>/tmp/pages
	turns=$((turns + 1))
done
touch /tmp/enough
write $CPU1 1
write $P/neural_jit_cache_kb 64
t "while code and a processor come and go, the answers stay" wait $runner
same "they came and went" 8 "$turns"
t "and never was there a page to write and execute" test ! -e /tmp/pages

codes_predict codes_mlp $C/codes_mlp.in $C/codes_mlp.out 2 100000 >/tmp/answers 2>&1 &
runner=$!
used
kill -9 $runner
wait $runner 2>/dev/null
t "who predicts is killed, and the module unloads at once" rmmod neural

load neural_jit_gain=1000 neural_jit_threshold=64
predict 1 10 >/dev/null
t "code that is not faster by enough is retired" becomes slow
same "and takes no room" 0 "$(jit used_bytes)"
rmmod neural

kernel_mark
load neural_force_isa=scalar
t "without vector code there is none" kernel_says "jit: off: there is no vector code"
rmmod neural
