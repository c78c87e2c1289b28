#!/bin/bash
# Runs a command with an OpenStack of its own: with.sh COMMAND [ARGUMENT ...]
#
# The variables of up.sh name the cloud for the command. It is started if it does not run, and then stopped at the end, its data removed; one
# that runs already goes on. Where it cannot be started a line "NOT RUN: ..." says so, and the command's own tests say what they miss.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

end=
if ! runs nova-api; then end=--wipe; fi
finish() {
	trap - EXIT
	[[ ! $end ]] || "$here/down.sh" "$end" || echo "with.sh: down.sh has failed" >&2
	rm -f "${said-}"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

said=$(mktemp)
if "$here/up.sh" >"$said"; then
	# shellcheck source=/dev/null
	. "$said"
else
	echo "NOT RUN: OpenStack: it could not be started; see $logs"
	end=${end:+--keep} # the logs
	exit 1
fi
set -m
"$@" </dev/null &
command=$!
set +m
trap 'kill -TERM -- "-$command" 2>/dev/null; wait "$command"; exit 130' INT TERM HUP
wait "$command"
