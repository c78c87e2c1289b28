#!/bin/bash
# Builds the tiny guest: a disk image of about 20 MB that boots in seconds, even emulated, and does what our cloud-init seeds ask for.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

usage() {
	cat <<'EOF'
usage: tiny.sh OUTDIR

Builds OUTDIR/tiny-VERSION.qcow2 from Debian packages, makes OUTDIR/tiny.qcow2 a link to it, and prints its path. VERSION names the kernel
package and the contents of this directory; an image of the same version is not built again. Needs Debian (amd64), a Go toolchain, and
root only to install missing packages. Packages come from the host's apt sources.
EOF
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
outdir=$1

# version sets kernel, the name of the kernel package, and key, which changes whenever the image would.
version() {
	local record inputs
	record=$(apt-cache show --no-all-versions linux-image-cloud-amd64 2>/dev/null) || return 1
	kernel=$(sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' <<<"$record")
	[[ $kernel ]] || return 1
	mapfile -d '' -t inputs < <(find "$here/tiny.sh" "$here/lib.sh" "$here/tinyroot" "$here/tinyseed" "$here/seed" \
		-type f ! -name '*_test.go' ! -path '*/testdata/*' -print0)
	key=$(sed -n 's/^Version: //p' <<<"$record" | tr -c 'A-Za-z0-9.\n' '-')-$(content_key "${inputs[@]}")
}

if ! version; then
	log "apt knows no kernel package yet, updating its lists"
	((EUID == 0)) || die "only root can update apt's lists"
	apt-get update -q >&2
	version || die "apt offers no linux-image-cloud-amd64: this needs a Debian (amd64) source in apt's configuration"
fi

lock_cache "$outdir" tiny
image=$(cd "$outdir" && pwd)/tiny-$key.qcow2
if [[ -s $image ]]; then
	log "found $image"
	echo "$image"
	exit 0
fi

need cpio cpio zstd zstd mke2fs e2fsprogs sfdisk fdisk qemu-img qemu-utils
command -v go >/dev/null || die "go is not in the PATH; the guest's seed reader is built with it"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/debs" "$work/tree" "$work/root" "$work/boot"

# With an empty list of installed packages apt fetches every library that the programs need, whatever is installed here. The kernel's own
# dependencies (tools that make an initramfs) are of no use in the guest. An apt that runs as root would drop to a user who cannot
# read the private build directory.
log "fetching packages ($kernel)"
: >"$work/no-packages"
apt=(apt-get -qq -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
fetch() {
	"${apt[@]}" -o Dir::State::status="$work/no-packages" -o Dir::Cache::archives="$work/debs" install -y --no-install-recommends --download-only \
		busybox-static dropbear-bin e2fsprogs grub-common grub-pc-bin >&2 && (cd "$work/debs" && "${apt[@]}" download "$kernel" >&2)
}
if ! fetch; then
	# Most likely the lists are older than what the mirror still has: begin again with new ones, once.
	if [[ ${TINY_LISTS_UPDATED-} ]] || ((EUID != 0)); then
		die "cannot fetch the packages"
	fi
	apt-get update -q >&2
	rm -rf "$work"
	TINY_LISTS_UPDATED=1 exec "$0" "$outdir"
fi
for deb in "$work"/debs/*.deb; do
	dpkg-deb -x "$deb" "$work/tree"
done
# The packages of one release may disagree on whether /bin and /lib are links to /usr/bin and /usr/lib.
for dir in bin sbin lib lib64; do
	if [[ -d $work/tree/$dir && ! -L $work/tree/$dir ]]; then
		mkdir -p "$work/tree/usr/$dir"
		cp -a "$work/tree/$dir/." "$work/tree/usr/$dir/"
		rm -r "${work:?}/tree/$dir"
	fi
	ln -sfn "usr/$dir" "$work/tree/$dir"
done
tree=$work/tree/usr
busybox=$tree/bin/busybox
loader=$tree/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
libraries=$tree/lib/x86_64-linux-gnu
release=${kernel#linux-image-}

log "building the initramfs"
root=$work/root
mkdir -p "$root"/usr/{bin,sbin,lib64,lib/x86_64-linux-gnu} "$root"/{dev,etc/dropbear,home,mnt,proc,root,run,sys,tmp,var/log,var/run}
for dir in bin sbin lib lib64; do
	ln -s "usr/$dir" "$root/$dir"
done
cp -r "$here/tinyroot/." "$root"
echo 'root:*:::::::' >"$root/etc/shadow"
chmod 0600 "$root/etc/shadow"
ln -s bin/busybox "$root/init"
cp "$busybox" "$root/usr/bin/busybox"
while read -r applet; do
	ln -s busybox "$root/usr/bin/$applet"
done < <("$busybox" --list | grep -vx -e busybox -e mke2fs)
(cd "$here" && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -trimpath -ldflags '-s -w -buildid=' -o "$root/usr/bin/tinyseed" ./tinyseed)

# Programs, and the libraries that the loader finds for them in the unpacked packages.
for program in sbin/dropbear bin/dropbearkey sbin/mke2fs; do
	cp "$tree/$program" "$root/usr/bin/"
	while read -r library; do
		cp -Ln "$libraries/$library" "$root/usr/lib/x86_64-linux-gnu/"
	done < <("$loader" --library-path "$libraries" --list "$tree/$program" | sed -n 's/^[[:space:]]*\([^ /]*\) => .*/\1/p')
done
cp -L "$loader" "$root/usr/lib64/"
cp "$work/tree/etc/mke2fs.conf" "$root/etc/"

# The drivers, with those that they depend on. depmod reads every module once to find out.
"$busybox" depmod -b "$work/tree" "$release"
for module in virtio_pci virtio_blk virtio_net virtio_balloon virtio-rng isofs button evdev ata_piix virtio_scsi sr_mod; do
	line=$(grep -e "/$module.ko:" "$tree/lib/modules/$release/modules.dep") || die "$kernel has no module $module"
	for file in ${line/:/ }; do
		install -D -m 0644 "$tree/lib/modules/$release/$file" "$root/usr/lib/modules/$release/$file"
	done
done
"$busybox" depmod -b "$root" "$release"

(cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio --quiet -0 -o -H newc -R 0:0) | zstd -q -19 >"$work/boot/initrd"
cp "$work/tree/boot/vmlinuz-$release" "$work/boot/vmlinuz"

# One partition with the kernel, the initramfs and room for the host key. No journal: it is written once in a guest's life.
log "building the disk image"
mib=$((($(stat -c %s "$work/boot/vmlinuz") + $(stat -c %s "$work/boot/initrd")) / 1048576 + 2))
truncate -s "${mib}M" "$work/fs"
mke2fs -q -t ext2 -b 4096 -m 0 -N 64 -O ^resize_inode -L berthage-boot -E root_owner=0:0 -d "$work/boot" "$work/fs"
truncate -s "$((mib + 1))M" "$work/disk"
echo '2048,,L,*' | sfdisk -q --label dos "$work/disk"
copy_at "$work/fs" "$work/disk" 2048

# GRUB without its menu: the commands are built in. linux16 and not linux: the latter loads a kernel of this size elsewhere and moves it byte by byte,
# which takes two seconds when the CPU is emulated.
cat >"$work/grub.cfg" <<'EOF'
linux16 /vmlinuz console=tty0 console=ttyS0 quiet panic=5
initrd16 /initrd
boot
EOF
"$loader" --library-path "$libraries" "$tree/bin/grub-mkimage" -d "$tree/lib/grub/i386-pc" -O i386-pc -p '(,msdos1)/' \
	-c "$work/grub.cfg" -o "$work/core.img" biosdisk part_msdos ext2 linux16
install_grub "$work/disk" "$tree/lib/grub/i386-pc/boot.img" "$work/core.img" 1

qemu-img convert -q -f raw -O qcow2 "$work/disk" "$work/tiny.qcow2"
publish "$work/tiny.qcow2" "$image" "$(dirname "$image")/tiny.qcow2"
log "built $image ($(du -h --apparent-size "$image" | cut -f 1))"
echo "$image"
