#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Vector registers are used in one object of the module, which is entered in
# sections only, and nowhere else.

# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/../guest/lib.sh"

top=$(cd "$(dirname "$0")/../.." && pwd)
leaf=$top/build/stock/rust/simd/src/leaf.o

# vectors OBJECT: its instructions that name a vector register.
vectors() { "$top/qemu/inroot" objdump -d --no-show-raw-insn "$1" | grep -E '%[xyz]mm[0-9]'; }

none() { ! vectors "$1"; }

ktap_plan 3

t "the module is built" "$top/qemu/build" stock
t "the leaf object uses vector registers" vectors "$leaf"
others=()
while read -r object; do others+=("$object"); done < <(find "$top/build/stock/rust" -name '*.o' ! -path "$leaf")
if [ ${#others[@]} -lt 8 ]; then
	not_ok "there are others: ${#others[@]}"
else
	all() { for object in "${others[@]}"; do none "$object" || { echo "$object"; return 1; }; done; }
	t "no other object does" all
fi
