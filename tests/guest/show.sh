# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# For demonstrations: each command is printed before it runs, so that it can be
# copied.

failed=

say() {
	printf '\n== %s\n' "$*"
}

# Shows a command and runs it; what matters goes on if it fails, but is told.
run() {
	printf '# %s\n' "$*"
	eval "$*" || failed=1
}

# Ends the demonstration if something has failed.
end_if_failed() {
	[ -n "$failed" ] || return 0
	say "Something above has failed."
	exit 1
}
