#!/bin/bash
# Stops a libvirtd that up.sh started, with everything that runs under it, and removes its directory.
set -euo pipefail

usage() {
	cat <<'END'
usage: down.sh DIR

Powers off all domains of the libvirtd that up.sh started in DIR, stops its networks, the daemon and its virtlogd, and removes DIR. It is
no error when there is nothing in DIR or no DIR. Processes are ended by the numbers that they wrote into DIR, never by name.
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
[[ -d $1 ]] || exit 0
dir=$(cd "$1" && pwd)
if [[ ! -f $dir/berthage-libvirtd ]]; then
	[[ -z $(ls -A "$dir") ]] && exit 0
	echo "${0##*/}: $dir was not made by up.sh" >&2
	exit 1
fi

# ours PID: whether the process is there and has to do with DIR, so that a number that was given to another process does no harm.
ours() {
	local p=/proc/$1
	[[ -d $p ]] && { tr '\0' '\n' <"$p/cmdline"; cat "$p/mountinfo"; } 2>/dev/null | grep -F "$dir/" >/dev/null
}

# end PIDFILE ...: ends the processes, by force after 10 s.
end() {
	local file pid
	for file in "$@"; do
		[[ -s $file ]] || continue
		pid=$(tr -cd 0-9 <"$file")
		if [[ ! $pid ]] || ! ours "$pid"; then
			continue
		fi
		kill -TERM "$pid" 2>/dev/null || true
		for _ in $(seq 100); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL "$pid" 2>/dev/null || true
	done
}

virsh_() { timeout 60 virsh -q -c "qemu+unix:///system?socket=$dir/run/libvirt-sock" "$@" </dev/null 2>/dev/null; }
bridge=
if [[ -S $dir/run/libvirt-sock ]] && virsh_ version >/dev/null; then
	for id in $(virsh_ list --id || true); do
		virsh_ destroy "$id" || true
	done
	virsh_ net-list --name | while read -r network; do
		[[ ! $network ]] || virsh_ net-destroy "$network" || true
	done || true
elif [[ -f $dir/network.xml ]]; then # the daemon is gone, and its bridge has stayed
	bridge=$(sed -n "s/.*bridge name='\(bth[0-9]*\)'.*/\1/p" "$dir/network.xml")
fi
shopt -s nullglob
end "$dir"/libvirtd.pid "$dir"/run/libvirtd.pid
# What a daemon that hung could not end: QEMU, dnsmasq.
end "$dir"/run/qemu/*.pid "$dir"/run/network/*.pid
end "$dir"/virtlogd.pid
if [[ $bridge && -e /sys/class/net/$bridge ]]; then
	ip link delete "$bridge" || true
fi
rm -rf "${dir:?}"
