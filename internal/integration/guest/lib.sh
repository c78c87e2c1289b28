# shellcheck shell=bash
# What tiny.sh, debian.sh and check.sh have in common; sourced by them. They set the name of the program in $0 and `set -euo pipefail`.

log() { echo "${0##*/}: $*" >&2; }

die() {
	log "$*"
	exit 1
}

# need COMMAND PACKAGE ...: installs the Debian packages of the commands that are missing.
need() {
	local missing=()
	while (($# >= 2)); do
		command -v "$1" >/dev/null || missing+=("$2")
		shift 2
	done
	((${#missing[@]})) || return 0
	((EUID == 0)) || die "these Debian packages are missing and only root can install them: ${missing[*]}"
	log "installing ${missing[*]}"
	if ! install_packages "${missing[@]}"; then
		apt-get update -q >&2
		install_packages "${missing[@]}" || die "cannot install ${missing[*]}"
	fi
}

install_packages() {
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
}

# content_key FILE ...: a short hash of the files' names and contents, the same on every machine.
content_key() {
	local file
	for file in "$@"; do
		printf '%s %s\n' "${file##*/}" "$(sha256sum <"$file")"
	done | LC_ALL=C sort | sha256sum | cut -c1-12
}

# lock_cache DIR NAME: one build of NAME at a time; a second one waits and then finds the image of the first.
lock_cache() {
	mkdir -p "$1"
	exec 9>"$1/.$2.lock"
	if ! flock -n 9; then
		log "waiting for another build"
		flock 9
	fi
}

# publish FILE IMAGE LINK: moves a finished image to its place in one step and points LINK, in the same directory, to it.
publish() {
	local staged=$2.partial
	cp --sparse=always "$1" "$staged"
	chmod 0644 "$staged"
	mv -f "$staged" "$2"
	ln -sfn "${2##*/}" "$3.new"
	mv -fT "$3.new" "$3"
}

# poke FILE OFFSET BYTE ...: overwrites bytes, given as numbers.
poke() {
	local file=$1 offset=$2 bytes
	shift 2
	bytes=$(printf '\\x%02x' "$@")
	# shellcheck disable=SC2059 # the format is the bytes
	printf "$bytes" | dd of="$file" bs=1 seek="$offset" conv=notrunc status=none
}

# copy_at FILE IMAGE SECTOR: writes FILE into IMAGE from SECTOR on.
copy_at() {
	dd if="$1" of="$2" bs=512 seek="$3" conv=notrunc,sparse status=none
}

# install_grub DISK BOOT_IMG CORE_IMG SECTOR: makes the raw image DISK start GRUB's CORE_IMG, which is written at SECTOR, from a BIOS. The
# fields are those that grub-bios-setup fills in (GRUB's include/grub/i386/pc/boot.h), which wants a block device and this does not.
install_grub() {
	local disk=$1 work sectors sector=$4
	work=$(mktemp -d)
	cp "$2" "$work/boot.img"
	cp "$3" "$work/core.img"
	sectors=$((($(stat -c %s "$work/core.img") + 511) / 512))
	# In the master boot record: where core.img begins (64 bits), boot from the drive that the BIOS names, and no jump around the
	# drive check (two no-operations in place of it).
	poke "$work/boot.img" $((0x5c)) $((sector & 255)) $((sector >> 8 & 255)) 0 0 0 0 0 0
	poke "$work/boot.img" $((0x64)) 0xff
	poke "$work/boot.img" $((0x66)) 0x90 0x90
	# In the first sector of core.img: where the rest of it is (first sector, number of sectors, load segment 0x820).
	poke "$work/core.img" $((0x1f4)) $((sector + 1 & 255)) $((sector + 1 >> 8 & 255)) 0 0 0 0 0 0 \
		$((sectors - 1 & 255)) $((sectors - 1 >> 8)) 0x20 0x08
	# The first 440 bytes only: the partition table follows.
	head -c 440 "$work/boot.img" | dd of="$disk" conv=notrunc status=none
	copy_at "$work/core.img" "$disk" "$sector"
	rm -r "$work"
}
