#!/bin/bash
# Switches a host off that is a libvirtd of up.sh: what a power controller does to a real one. A command for berthd's "fence".
set -euo pipefail

usage() {
	cat <<'END'
usage: fence.sh DIR

Kills the libvirtd that up.sh started in DIR, if it runs, and then its QEMU processes, and looks that none is left. It ends with success only
when it has seen that, and says so in one line; if it cannot, it says why and fails, and may be called again. It is no error when nothing runs.

The processes are found by the mount namespace that they share, which nothing else is in, and not by what is written in DIR.
END
}

case "${1-}" in
-h | --help)
	usage
	exit 0
	;;
esac
if (($# != 1)); then
	usage >&2
	exit 2
fi
die() {
	echo "${0##*/}: $*" >&2
	exit 1
}
dir=$(cd "$1" 2>/dev/null && pwd) || die "there is no $1"
[[ -f $dir/berthage-libvirtd ]] || die "$dir was not made by up.sh"
((EUID == 0)) || die "only root sees whose processes they are"

# processes PROGRAM prints the numbers of the host's processes of that program. A process that ends meanwhile is none.
processes() {
	local p name
	for p in /proc/[0-9]*; do
		{ name=$(<"$p/comm"); } 2>/dev/null || continue
		[[ $name == "$1"* ]] || continue
		[[ $(sed -n 's/^State:\t\(.\).*/\1/p' "$p/status" 2>/dev/null) != Z ]] || continue
		grep -qF " $dir/lib " "$p/mountinfo" 2>/dev/null || continue
		echo "${p#/proc/}"
	done
}

# gone PROGRAM: whether none is left; waits for it.
gone() {
	for _ in $(seq 100); do
		[[ $(processes "$1") ]] || return 0
		sleep 0.1
	done
	return 1
}

# The daemon first, as it could start them again.
mapfile -t daemons < <(processes libvirtd)
((!${#daemons[@]})) || kill -KILL "${daemons[@]}" 2>/dev/null || true
gone libvirtd || die "libvirtd cannot be killed"
mapfile -t guests < <(processes qemu-system)
((!${#guests[@]})) || kill -KILL "${guests[@]}" 2>/dev/null || true
gone qemu-system || die "still there: QEMU $(processes qemu-system | tr '\n' ' ')"
rm -f "$dir/libvirtd.pid"
echo "${#guests[@]} QEMU processes killed, none is left, and no libvirtd"
