# What the driver runs on a host: one request at a time, of which either the last line of the reply says how it ended, or nobody
# knows. It needs a POSIX shell, coreutils, util-linux and /proc. A machine is a directory machines/ID with
#
#	tag      whose it is; it is there as soon as the directory is
#	spec     one line: revision, millicores, bytes of memory, name, bytes of each disk
#	boot     the program, a copy of the image
#	disk0... sparse files
#	console  what the program has written
#	run      locked by the program as long as it runs, so that it cannot run twice
#
# All of it is one function, so that a script that arrives only in part does nothing.
main() {
	set -u
	umask 077
	op=$1 dir=$2 id=$3 tag=$4 spec=$5 arg=$6 until=$7
	m=$dir/machines/$id

	# Where the directory is not mounted, an empty list would say that no machine exists.
	[ -d "$dir/machines" ] && [ -d "$dir/images" ] || end unavailable "$dir has no machines and images"
	exec 9>>"$dir/lock"
	flock -w 10 9 || end unavailable "the host is busy"

	case $op in
	host) host ;;
	machines) machines ;;
	sample)
		host
		machines
		use
		;;
	create)
		[ ! -e "$m" ] || end exists
		[ -f "$dir/images/$arg" ] || end refused "there is no image $arg"
		# The directory gets its name last and at once: nobody ever sees a machine without its tag.
		new=$dir/machines/.new-$id
		rm -rf "$new" && mkdir "$new" && printf '%s\n' "$tag" >"$new/tag" && printf '%s\n' "$spec" >"$new/spec" &&
			cp "$dir/images/$arg" "$new/boot" && disks "$new" && in_time && mv -T "$new" "$m" || {
			rm -rf "$new"
			end refused "it could not be made, or not in time"
		}
		;;
	start)
		ours
		case $(power "$m") in
		stopped) boot ;;
		suspended) await now running CONT || end unknown "it does not go on" ;;
		esac
		;;
	stop) # arg is a signal; the driver asks again until the machine has stopped
		ours
		signal "$arg"
		signal CONT # what is suspended obeys then
		printf 'power\t%s\n' "$(power "$m")"
		;;
	suspend | resume)
		ours
		[ "$(power "$m")" != stopped ] || end wrong-power
		case $op in
		suspend) await now suspended STOP || end unknown "it does not pause" ;;
		resume) await now running CONT || end unknown "it does not go on" ;;
		esac
		;;
	resize)
		ours
		resize
		;;
	destroy)
		if [ -e "$m" ]; then
			ours
			await now stopped KILL || end unknown "it does not end"
			# Half of a machine must not be listed, least of all without its tag.
			rm -rf "$dir/machines/.gone-$id" && mv -T "$m" "$dir/machines/.gone-$id" || end unknown "it could not be removed"
		fi
		rm -rf "$dir/machines/.new-$id" "$dir/machines/.gone-$id" || end unknown "something is left of it"
		;;
	esac
	end ok
}

# end says how the request ended.
end() {
	printf 'end\t%s\t%s\n' "$1" "${2-}"
	exit
}

ours() {
	[ -e "$m" ] || end not-found
	[ "$(cat "$m/tag" 2>/dev/null)" = "$tag" ] || end foreign
}

in_time() { [ "$(date +%s)" -lt "$until" ]; }

# disks makes a machine's disks as large as its spec says.
disks() {
	read -r _ _ _ _ sizes <"$1/spec"
	n=0
	for size in $sizes; do
		truncate -s ">$size" "$1/disk$n" || return
		n=$((n + 1))
	done
}

# boot starts the program. It keeps the host's lock, descriptor 9, until it has the machine's: nothing can come between.
boot() {
	disks "$m" || end refused "no room for its disks"
	read -r _ _ memory name _ <"$m/spec"
	rm -f "$m/started"
	(cd "$m" && ulimit -v $((memory / 1024)) && exec env -i "PATH=$PATH" "NAME=$name" "BERTH_MACHINE=$m" \
		setsid flock -F -n run sh -c 'exec 9>&-; : >started; exec sh ./boot') </dev/null >>"$m/console" 2>&1 &
	await test -e "$m/started" || end unknown "it has not started"
}

# resize replaces the spec, which is what counts; the disks follow, if need be at the next start.
resize() {
	read -r revision was <"$m/spec"
	[ "${spec%% *}" -ge "$revision" ] || end refused "a later order has been carried out"
	read -r _ _ _ _ sizes <"$m/spec"
	# shellcheck disable=SC2086 # one word per size
	set -- $spec
	shift 4
	for size in $sizes; do
		[ $# -gt 0 ] && [ "$1" -ge "$size" ] || end invalid "a disk cannot shrink or go"
		shift
	done
	[ $# = 0 ] || end invalid "a resize adds no disk"
	[ "${spec#* }" = "$was" ] || [ "$(power "$m")" = stopped ] || end wrong-power
	printf '%s\n' "$spec" >"$m/.spec" && mv "$m/.spec" "$m/spec" && disks "$m" || end unknown "its disks could not grow"
}

# processes lists those of a machine, however they were started: they have inherited its name.
processes() { grep -lsFxz "BERTH_MACHINE=$1" /proc/[0-9]*/environ | cut -d / -f 3; }

signal() { for p in $(processes "$m"); do kill -s "$1" "$p" 2>/dev/null; done; }

power() {
	if [ ! -e "$1/run" ] || flock -n "$1/run" true; then
		echo stopped
		return
	fi
	case $(for p in $(processes "$1"); do sed -n 's/^State:.\(.\).*/\1/p' "/proc/$p/status" 2>/dev/null; done) in
	*[RSD]*) echo running ;;
	*T*) echo suspended ;;
	*) echo running ;;
	esac
}

# now says whether the machine is in a power state, and sends it a signal if it is not.
now() {
	[ "$(power "$m")" = "$1" ] && return
	signal "$2"
	false
}

# await repeats a question for some seconds.
await() {
	for _ in $(seq 100); do
		"$@" && return
		sleep 0.05
	done
	return 1
}

host() {
	printf 'host\t%s\t%s\t%s\n' "$(nproc)" "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)" "$(df -B1 --output=size "$dir" | tail -n 1)"
}

machines() {
	for m in "$dir"/machines/*; do
		[ -e "$m" ] || continue # the pattern itself, where there are none
		tag= spec=
		if [ -e "$m/tag" ]; then
			tag=$(head -n 1 "$m/tag") && spec=$(head -n 1 "$m/spec") || end unavailable "$m cannot be read"
		fi
		case ${m##*/} in *[[:cntrl:]]*) end unavailable "a name that looks like more than one line" ;; esac
		printf 'machine\t%s\t%s\t%s\t%s\n' "${m##*/}" "$(power "$m")" "$tag" "$spec"
	done
}

# use prints what /proc says of the host and of the processes of its machines; of these not what they call themselves, which may
# be anything.
use() {
	printf 'unit\t%s\t%s\n' "$(getconf CLK_TCK)" "$(getconf PAGESIZE)"
	sed -n 's/^cpu  /cpu\t/p' /proc/stat
	printf 'free\t%s\t%s\n' "$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)" "$(df -B1 --output=avail "$dir" | tail -n 1)"
	for m in "$dir"/machines/*; do
		for p in $(processes "$m"); do
			stat=$(cat "/proc/$p/stat" 2>/dev/null) && printf 'process\t%s\t%s\t%s\n' "${m##*/}" "$p" "${stat##*) }"
		done
	done
}
