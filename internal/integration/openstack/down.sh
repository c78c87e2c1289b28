#!/bin/bash
# Stops the OpenStack that up.sh has started, and nothing else.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

case "${1-}" in
-h | --help)
	cat <<'END'
usage: down.sh [--wipe | --keep]

Stops every process that up.sh has started, found by number and time of start, never by name. The data stay, and servers come back as they
were with the next up.sh; --wipe removes them too, --keep is the default. It is no error when nothing runs.
END
	exit 0
	;;
esac

if [[ ! -e $mark ]]; then
	log "there is no OpenStack of ours in $state"
	exit 0
fi
only_one

# end NAME: ends a daemon with its process group, by force after 10 s.
end() {
	if runs "$1"; then
		local number
		number=$(pid "$1")
		kill -TERM -- "-$number" 2>/dev/null || true
		for _ in {1..100}; do
			runs "$1" || break
			sleep 0.1
		done
		if runs "$1"; then log "$1 is killed"; fi
		kill -KILL -- "-$number" 2>/dev/null || true # its children that have not heard
	fi
	rm -f "$run/$1"
}

# end_all NAME ...: at the same time.
end_all() {
	local name
	for name in "$@"; do
		[[ ! -e $run/$name ]] || end "$name" &
	done
	wait
}

shopt -s nullglob
computes=("$run"/compute-*)
end_all "${computes[@]##*/}"
end_all nova-api nova-scheduler nova-conductor neutron glance placement keystone
end_all rabbitmq
end_all mariadb
if [[ -s $state/ports ]] && command -v epmd >/dev/null; then # a daemon that Erlang starts by itself; the port is ours alone
	# shellcheck source=/dev/null
	. "$state/ports"
	ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd epmd -kill >/dev/null 2>&1 || true
fi
if [[ ${1-} == --wipe ]]; then
	rm -rf "${state:?}"
	log "stopped and removed"
else
	log "stopped; $state keeps the data"
fi
