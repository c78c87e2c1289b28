#!/bin/bash
# Builds a Debian 12 cloud image: real cloud-init, systemd, udev, OpenSSH, and its own GRUB, in about 150 MB.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

usage() {
	cat <<'EOF'
usage: debian.sh OUTDIR

Builds OUTDIR/debian12-VERSION.qcow2 with mmdebstrap, makes OUTDIR/debian12.qcow2 a link to it, and prints its path. VERSION names the
contents of this script; an image of the same version is not built again. Needs Debian (amd64), root, and 3 GB in TMPDIR (default /tmp),
which must allow devices and programs. Packages come from the mirror in the host's apt sources. No loop device is used.
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

lock_cache "$outdir" debian12
image=$(cd "$outdir" && pwd)/debian12-$(content_key "$here/debian.sh" "$here/lib.sh").qcow2
if [[ -s $image ]]; then
	log "found $image"
	echo "$image"
	exit 0
fi

((EUID == 0)) || die "only root can build this image"
need mmdebstrap mmdebstrap zstd zstd mke2fs e2fsprogs sfdisk fdisk qemu-img qemu-utils

# The mirrors of Debian and of its security updates, as this machine's apt knows them, whatever release it runs.
repository() {
	# shellcheck disable=SC2016 # the words in $(...) are apt's
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
		awk -F '|' -v label="$1" '$1 == "Debian" && $2 == label && !found++ { print $3 }'
}
mirror=$(repository Debian)
if [[ ! $mirror ]]; then
	apt-get update -q >&2
	mirror=$(repository Debian)
fi
[[ $mirror ]] || die "apt's configuration names no Debian mirror"
security=$(repository Debian-Security)
trust="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
sources="deb $trust $mirror bookworm main
deb $trust $mirror bookworm-updates main"
if [[ $security ]]; then
	sources+="
deb $trust $security bookworm-security main"
fi
options=()
proxy=$(apt-config dump --format '%v' Acquire::http::Proxy)
if [[ $proxy ]]; then
	options+=(--aptopt="Acquire::http::Proxy \"$proxy\"")
fi

work=$(mktemp -d)
# Should a mount of mmdebstrap's ever be left in there, its contents are not ours to remove.
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 0755 "$work"
root=$work/root

packages=(
	linux-image-cloud-amd64 grub-pc-bin zstd                             # boot
	systemd-sysv udev dbus acpid qemu-guest-agent                        # run, and be told to stop
	iproute2 netbase systemd-resolved openssh-server sudo                # be reached
	cloud-init cloud-guest-utils e2fsprogs fdisk                         # be made to measure
)

# before-packages: what the kernel's installation already reads. The initramfs has the drivers of a virtual machine and no others.
cat >"$work/before-packages" <<'EOF'
#!/bin/sh
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\nCOMPRESS=zstd\n' >"$1/etc/initramfs-tools/conf.d/berthage"
printf '%s\n' virtio_pci virtio_blk virtio_net ext4 >"$1/usr/share/initramfs-tools/modules.d/berthage"
EOF

# after-packages: the settings of an image whose machines are made by cloud-init. Network: DHCP by systemd-networkd, because that is up
# before cloud-init has found its seed; the client is known by its MAC address, so that a hypervisor's lease list finds it.
cat >"$work/after-packages" <<'EOF'
#!/bin/sh
set -eu
cat >"$1/etc/fstab" <<'END'
LABEL=root / ext4 defaults,errors=remount-ro 0 1
END
cat >"$1/etc/systemd/network/20-dhcp.network" <<'END'
[Match]
Name=en* eth*
[Network]
DHCP=yes
[DHCPv4]
ClientIdentifier=mac
END
cat >"$1/etc/cloud/cloud.cfg.d/90-berthage.cfg" <<'END'
datasource_list: [ NoCloud, None ]
network: {config: disabled}
manage_etc_hosts: true
# An RSA key takes long to find when the CPU is emulated.
ssh_genkeytypes: [ed25519, ecdsa]
apt: {preserve_sources_list: true}
# The only locale that is there; without this line cloud-init asks for another and fails.
locale: false
# GRUB is not run by packages here.
grub_dpkg: {enabled: false}
END
echo LANG=C.UTF-8 >"$1/etc/default/locale"
chroot "$1" systemctl enable systemd-networkd.service serial-getty@ttyS0.service
chroot "$1" systemctl disable apt-daily.timer apt-daily-upgrade.timer e2scrub_reap.service e2scrub_all.timer systemd-networkd-wait-online.service
ln -sfn "$(basename "$1"/boot/vmlinuz-*)" "$1/boot/vmlinuz"
ln -sfn "$(basename "$1"/boot/initrd.img-*)" "$1/boot/initrd.img"
mkdir -p "$1/boot/grub"
cat >"$1/boot/grub/grub.cfg" <<'END'
set timeout=0
serial --unit=0 --speed=115200
terminal_output serial
menuentry "Debian 12" {
	linux16 /boot/vmlinuz root=LABEL=root ro net.ifnames=0 console=tty0 console=ttyS0,115200 quiet
	initrd16 /boot/initrd.img
}
END
chroot "$1" grub-mkimage -O i386-pc -p '(,gpt2)/boot/grub' -o /boot/grub/core.img \
	biosdisk part_gpt ext2 linux linux16 normal serial terminal echo configfile search
rm -f "$1"/etc/ssh/ssh_host_*_key* "$1/etc/apt/apt.conf.d/99mmdebstrap" "$1/etc/hostname"
: >"$1/etc/machine-id"
rm -f "$1/var/lib/dbus/machine-id"
rm -rf "$1"/var/log/*.log "$1"/var/log/apt "$1"/var/cache/apt/*.bin
EOF
chmod +x "$work/before-packages" "$work/after-packages"

log "building the root file system"
mmdebstrap --mode=root --variant=minbase --components=main --include="$(IFS=,; echo "${packages[*]}")" "${options[@]}" \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	--essential-hook="$work/before-packages" --customize-hook="$work/after-packages" \
	bookworm "$root" - <<<"$sources" >&2

# A disk of 1536 MiB: partition table, a MiB for GRUB, the root file system from 2 MiB on, a MiB for the second partition table. cloud-init
# lets the root grow to the size of the machine's disk. Without a journal, as an image is read far more often than it crashes.
log "building the disk image"
mke2fs -q -t ext4 -L root -O ^has_journal,^metadata_csum_seed,^orphan_file -d "$root" "$work/fs" 1533M >&2
truncate -s 1536M "$work/disk"
sfdisk -q "$work/disk" >&2 <<'EOF'
label: gpt
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649
start=4096, size=3139584, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
EOF
copy_at "$work/fs" "$work/disk" 4096
install_grub "$work/disk" "$root/usr/lib/grub/i386-pc/boot.img" "$root/boot/grub/core.img" 2048

log "compressing"
qemu-img convert -q -f raw -O qcow2 -c -o compression_type=zstd "$work/disk" "$work/debian12.qcow2"
publish "$work/debian12.qcow2" "$image" "$(dirname "$image")/debian12.qcow2"
log "built $image ($(du -h --apparent-size "$image" | cut -f 1))"
echo "$image"
