#!/bin/bash
# Ends a libvirtd that up.sh started, as an upgrade or a crash would, and starts it anew. Its machines go on running.
set -euo pipefail

usage() {
	cat <<'END'
usage: restart.sh [--kill] DIR

Restarts the system daemon that up.sh started in DIR, in the mount namespace that its virtlogd keeps. With --kill it is killed instead of
asked to end. Daemons of --session are not restarted.
END
}

signal=TERM
case "${1-}" in
-h | --help)
	usage
	exit 0
	;;
--kill)
	signal=KILL
	shift
	;;
esac
if (($# != 1)) || [[ ! -s $1/libvirtd.pid || ! -s $1/virtlogd.pid ]]; then
	usage >&2
	exit 2
fi
dir=$(cd "$1" && pwd)
pid=$(tr -cd 0-9 <"$dir/libvirtd.pid")
if tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -F "$dir/" >/dev/null; then
	kill "-$signal" "$pid"
	for _ in $(seq 600); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
fi
rm -f "$dir/libvirtd.pid"
nsenter -t "$(tr -cd 0-9 <"$dir/virtlogd.pid")" -m libvirtd -d -p "$dir/libvirtd.pid" </dev/null >>"$dir/start.log" 2>&1
