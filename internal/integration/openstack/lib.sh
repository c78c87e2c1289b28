# shellcheck shell=bash
# What up.sh, down.sh and with.sh have in common; sourced by them. They set `set -euo pipefail`.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
begun=$SECONDS

log() { printf '%s: %4ds  %s\n' "${0##*/}" $((SECONDS - begun)) "$*" >&2; }

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# content_key: a hash of what a cloud is made from.
content_key() {
	(cd "$here" && find . -type f ! -name down.sh ! -name with.sh ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum | cut -c1-64
}

# The state directory. Sockets lie below it, and its path stands in configuration files and data bases.
state=${BERTHAGE_OPENSTACK_STATE:-${BERTHAGE_CACHE:-/var/cache/berthage}/openstack}
[[ $state == /* ]] || state=$PWD/$state
[[ $state =~ ^[A-Za-z0-9_./@%+=-]{1,85}$ ]] ||
	die "the state directory must have at most 85 characters, letters, digits and _ . / @ % + = - only: $state"
etc=$state/etc logs=$state/log run=$state/run data=$state/data
mark=$state/berthage-openstack

# birth PID prints what tells a process from a later one of the same number. Some of the daemons overwrite their own command line and
# environment, so that nothing else would.
birth() {
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	read -r -a stat <<<"${stat##*) }"
	echo "$(</proc/sys/kernel/random/boot_id) ${stat[19]}"
}

# runs NAME: whether the daemon of that name is there.
runs() {
	local pid since
	{ read -r pid && read -r since; } 2>/dev/null <"$run/$1" && [[ $(birth "$pid") == "$since" ]]
}

# pid NAME prints its number.
pid() { head -n 1 "$run/$1"; }

# only_one: one of these scripts at a time works on a state directory.
only_one() {
	exec 9>"$state/lock"
	flock -w 900 9 || die "another script holds $state/lock"
}
