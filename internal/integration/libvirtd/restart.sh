#!/bin/bash
# Ends a libvirtd that up.sh started, as an upgrade or a crash would, and starts it anew. Its machines go on running.
set -euo pipefail

usage() {
	cat <<'END'
usage: restart.sh [--kill | --stop] DIR

Restarts the system daemon that up.sh started in DIR, or starts it where it has ended, in the mount namespace that its virtlogd keeps. With
--kill it is killed instead of asked to end; with --stop it is asked to end, and is not started again. Daemons of --session are not restarted.
END
}

signal=TERM start=1
case "${1-}" in
-h | --help)
	usage
	exit 0
	;;
--kill)
	signal=KILL
	shift
	;;
--stop)
	start=
	shift
	;;
esac
if (($# != 1)) || [[ ! -s $1/virtlogd.pid ]]; then
	usage >&2
	exit 2
fi
dir=$(cd "$1" && pwd)
if [[ -s $dir/libvirtd.pid ]]; then # it removes that itself when it is asked to end
	pid=$(tr -cd 0-9 <"$dir/libvirtd.pid")
	if tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -F "$dir/" >/dev/null; then
		kill "-$signal" "$pid"
		for _ in $(seq 600); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
		if kill -0 "$pid" 2>/dev/null; then
			echo "${0##*/}: libvirtd has not ended within a minute" >&2
			exit 1
		fi
	fi
	rm -f "$dir/libvirtd.pid"
fi
[[ $start ]] || exit 0
nsenter -t "$(tr -cd 0-9 <"$dir/virtlogd.pid")" -m libvirtd -d -p "$dir/libvirtd.pid" </dev/null >>"$dir/start.log" 2>&1
