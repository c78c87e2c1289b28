#!/bin/bash
# Runs a command with libvirt daemons of its own: daemons.sh COMMAND [ARGUMENT ...]
#
# BERTHAGE_LIBVIRT_URIS names them for the command, separated by commas: one for libvirt's test driver and, as root, two with QEMU;
# BERTHAGE_LIBVIRT_IMAGE is the tiny guest. What cannot be started is left out with a line "NOT RUN: ...", and the tests that need it say
# so too. Everything is stopped and removed at the end. BERTHAGE_CACHE (default /var/cache/berthage) keeps the guest.
set -uo pipefail
here=$(cd "$(dirname "$0")/../integration" && pwd)
work=$(mktemp -d /tmp/berthage-XXXXXX)
chmod 0755 "$work" # QEMU does not run as root

uris=()
finish() {
	trap - EXIT
	local d
	for d in nodes one two; do
		"$here/libvirtd/down.sh" "$work/$d" || echo "daemons.sh: $work/$d is not gone" >&2
	done
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

missing() { echo "NOT RUN: $1: $2"; }

# up NAME WHAT [OPTION]
up() {
	local found
	if found=$("$here/libvirtd/up.sh" ${3-} "$work/$1" 2>"$work/$1.log" </dev/null); then
		mapfile -t -O "${#uris[@]}" uris <<<"$found"
		echo "$found" | sed 's/^/daemons.sh: /' >&2
	else
		missing "$2" "$(tail -n 1 "$work/$1.log")"
		return 1
	fi
}

up nodes "libvirt's test driver" --session
if ((EUID == 0)); then
	if image=$("$here/guest/tiny.sh" "${BERTHAGE_CACHE:-/var/cache/berthage}" 2>"$work/guest.log" </dev/null); then
		export BERTHAGE_LIBVIRT_IMAGE=$image
		up one "libvirt with QEMU" && up two "a second libvirt with QEMU"
	else
		missing "libvirt with QEMU" "no tiny guest: $(tail -n 1 "$work/guest.log")"
	fi
else
	missing "libvirt with QEMU" "only root can start it"
fi

export BERTHAGE_LIBVIRT_URIS
BERTHAGE_LIBVIRT_URIS=$(IFS=,; echo "${uris[*]-}")

# What the command leaves behind when it is killed goes with the rest.
mkdir "$work/tmp"
chmod 0755 "$work/tmp"
export TMPDIR=$work/tmp

# The command is a process group of its own, all of which ends when this script is told to end.
set -m
"$@" </dev/null &
command=$!
trap 'kill -TERM -- "-$command" 2>/dev/null; wait "$command"; exit 130' INT TERM HUP
wait "$command"
