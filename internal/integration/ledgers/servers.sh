#!/bin/bash
# Runs a command with database servers of its own: servers.sh COMMAND [ARGUMENT ...]
#
# BERTHAGE_POSTGRESQL and BERTHAGE_MARIADB name them for the command, as their Go drivers want it; of a server that cannot be started
# BERTHAGE_POSTGRESQL_MISSING or BERTHAGE_MARIADB_MISSING says why. They listen on free ports of the loopback interface, flush every commit to
# the disk, keep their data in a temporary directory, and run as "nobody" where this script runs as root. They end with this script,
# however it ends, and so does the command.
set -uo pipefail
work=$(mktemp -d "${TMPDIR:-/tmp}/berthage-ledgers-XXXXXX")
pids=() child=

finish() {
	trap - EXIT INT TERM HUP
	local pid
	[[ -z $child ]] || kill -TERM -- "-$child" 2>/dev/null
	for pid in "${pids[@]-}"; do [[ -z $pid ]] || kill -KILL "$pid" 2>/dev/null; done # their data is not needed any more
	wait 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# as SIGNAL COMMAND: runs it without root's rights; it gets the signal when its parent dies.
as() {
	local signal=$1 user=()
	shift
	((EUID != 0)) || user=(--reuid=nobody --regid="$(id -g nobody)" --clear-groups)
	cd / && exec setpriv "${user[@]}" --pdeathsig "$signal" "$@"
}

# port: a port of the loopback interface on which nobody listens.
port() {
	local p
	for _ in {1..50}; do
		p=$((20000 + RANDOM % 12000)) # below those that systems give to clients
		(exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || {
			echo "$p"
			return
		}
	done
	return 1
}

# ready PID COMMAND: waits until the command succeeds or the process has died.
ready() {
	local pid=$1
	shift
	for _ in {1..600}; do
		kill -0 "$pid" 2>/dev/null || return 1
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	return 1
}

own() { ((EUID != 0)) || chown nobody "$@"; }

# The servers' defaults are unlike what the ledgers need where they may be: time zones, character sets, a forgiving sql_mode.

postgresql() {
	local dir=$work/postgresql log=$work/postgresql.log bin p pid
	bin=$(command -v postgres || find /usr/lib/postgresql -name postgres -path '*/bin/*' 2>/dev/null | sort -V | tail -n 1)
	bin=$(dirname "$(readlink -f "$bin")")
	[[ -x $bin/postgres ]] || {
		why="postgres is not installed"
		return 1
	}
	mkdir "$dir" && own "$dir"
	(as KILL "$bin/initdb" --pgdata="$dir" --username=berthage --auth=trust --encoding=UTF8 --locale=C) >"$log" 2>&1 </dev/null || return 1
	for _ in {1..5}; do
		p=$(port) || return 1
		(as QUIT "$bin/postgres" -D "$dir" -p "$p" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=400 \
			-c fsync=on -c synchronous_commit=on -c full_page_writes=on -c timezone=America/St_Johns) >>"$log" 2>&1 </dev/null &
		pid=$!
		if ready "$pid" "$bin/pg_isready" -q -h 127.0.0.1 -p "$p"; then
			pids+=("$pid")
			export BERTHAGE_POSTGRESQL="postgres://berthage@127.0.0.1:$p/postgres?sslmode=disable"
			why="$("$bin/postgres" --version), process $pid"
			return
		fi
		kill -KILL "$pid" 2>/dev/null
	done
	return 1
}

mariadb() {
	local dir=$work/mariadb log=$work/mariadb.log bin p pid
	bin=$(PATH=$PATH:/usr/sbin command -v mariadbd) || {
		why="mariadbd is not installed"
		return 1
	}
	mkdir "$dir" && own "$dir"
	# It makes tables with the server's own bootstrap, which needs no flushing: it is made anew each time.
	(as KILL mariadb-install-db --no-defaults --datadir="$dir" --auth-root-authentication-method=normal --skip-test-db \
		--skip-name-resolve --innodb-flush-log-at-trx-commit=0) >"$log" 2>&1 </dev/null || return 1
	for _ in {1..5}; do
		p=$(port) || return 1
		(as KILL "$bin" --no-defaults --datadir="$dir" --port="$p" --bind-address=127.0.0.1 --socket="$dir/socket" --pid-file="$dir/pid" \
			--skip-name-resolve --max-connections=400 --innodb-flush-log-at-trx-commit=1 --innodb-doublewrite=1 \
			--default-time-zone=-03:30 --character-set-server=latin1 --collation-server=latin1_swedish_ci --sql-mode=) >>"$log" 2>&1 </dev/null &
		pid=$!
		if ready "$pid" bash -c "exec 3<>/dev/tcp/127.0.0.1/$p"; then
			pids+=("$pid")
			export BERTHAGE_MARIADB="root@tcp(127.0.0.1:$p)/"
			why="$("$bin" --version), process $pid"
			return
		fi
		kill -KILL "$pid" 2>/dev/null
	done
	return 1
}

# up FUNCTION VARIABLE
up() {
	why=
	if "$1"; then
		echo "servers.sh: $why: ${!2}" >&2
	else
		[[ -n $why ]] || why="it could not be started: $(grep -v '^ *$' "$work/$1.log" 2>/dev/null | tail -n 1)"
		export "$2_MISSING=$why"
		echo "NOT RUN: $1: $why"
	fi
}

if ((EUID == 0)); then chmod 0711 "$work"; fi
if [[ $(uname -s) == Linux ]] && command -v setpriv >/dev/null; then
	up postgresql BERTHAGE_POSTGRESQL
	up mariadb BERTHAGE_MARIADB
else
	export BERTHAGE_POSTGRESQL_MISSING="servers.sh needs Linux and setpriv" BERTHAGE_MARIADB_MISSING="servers.sh needs Linux and setpriv"
	echo "NOT RUN: postgresql, mariadb: servers.sh needs Linux and setpriv"
fi

# In a process group of its own, so that all of it can be ended; in the background, so that a signal is answered at once.
set -m
"$@" </dev/null &
child=$!
set +m
wait "$child"
status=$?
child=
exit "$status"
