#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Print the Python of a virtual environment that has what REQUIREMENTS pin; make the environment first if need be.
#
#   venv.sh REQUIREMENTS...
#
# It stands in ${XDG_CACHE_HOME:-~/.cache}/neural-kmod, keyed by the files' text and the Python version, is built under
# another name and renamed, so that an interrupt leaves none that is half built. Exit status 4: this machine's Python
# cannot make one.
set -eu

cache=${NEURAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/neural-kmod}
mkdir -p "$cache"

version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || {
	echo "SKIP: python3 is missing: apt-get install python3 python3-venv" >&2
	exit 4
}
key=$({ echo "$version" && cat "$@"; } | sha256sum | cut -c1-12)
venv=$cache/venv-$key

exec 9>"$cache/lock.venv"
flock 9
if [ ! -x "$venv/bin/python" ]; then
	echo "installing Python packages (some hundred MB) to $venv" >&2
	rm -rf "$venv.part"
	if ! python3 -m venv "$venv.part" >"$venv.log" 2>&1; then
		echo "SKIP: python3 cannot make a virtual environment: apt-get install python3-venv (see $venv.log)" >&2
		exit 4
	fi
	for file; do
		if ! "$venv.part/bin/python" -m pip install -q -r "$file" >>"$venv.log" 2>&1; then
			echo "error: pip cannot install $file: $(tail -n 1 "$venv.log")" >&2
			exit 1
		fi
	done
	rm -f "$venv.log"
	mv "$venv.part" "$venv"
fi
echo "$venv/bin/python"
