#!/bin/bash
# Boots a guest image with plain QEMU and looks whether it does what the drivers need of it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

usage() {
	cat <<'EOF'
usage: check.sh IMAGE USER

Boots a copy-on-write overlay of IMAGE on a user-mode network, with a NoCloud seed and two new disks (serial numbers berthage-d1 and
berthage-d2), waits until USER can log in by SSH with a new key, prints what the guest says of itself, pauses and resumes it, powers it
off by its power button, boots it a second time and compares file systems and host key with the first boot. Then a new machine gets the old
disks, whose file systems must still be the same. Fails if anything differs from what is asked. Everything it makes is removed.

Environment:
  BERTHAGE_VIRT_TYPE  kvm, or qemu for emulation (default)
  CHECK_MACHINE       QEMU machine type (default q35)
  CHECK_MEMORY        MiB of memory (default 512)
  CHECK_SEED_BUS      virtio (default), ide or scsi: how the seed is attached
  CHECK_TIMEOUT       seconds to wait for each boot (default 600)
EOF
}

case "${1-}" in
-h | --help)
	usage
	exit 0
	;;
esac
if (($# != 2)); then
	usage >&2
	exit 2
fi
image=$(realpath -e "$1")
user=$2
timeout=${CHECK_TIMEOUT:-600}

need qemu-system-x86_64 qemu-system-x86 qemu-img qemu-utils genisoimage genisoimage ssh openssh-client

work=$(mktemp -d)
qemu=
cleanup() {
	if [[ $qemu ]]; then
		kill "$qemu" 2>/dev/null || true
		wait "$qemu" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap cleanup EXIT

ssh-keygen -q -t ed25519 -N '' -C check -f "$work/key"
mkdir "$work/seed"
cat >"$work/seed/user-data" <<EOF
#cloud-config
hostname: "web-1"
users: [{"name":"$user","groups":"sudo","shell":"/bin/sh","sudo":"ALL=(ALL) NOPASSWD:ALL","lock_passwd":true,"ssh_authorized_keys":["$(<"$work/key.pub")"]}]
fs_setup: [{"label":"berthage-d1","filesystem":"ext4","device":"/dev/disk/by-id/virtio-berthage-d1","partition":"auto","overwrite":false},{"label":"berthage-d2","filesystem":"ext4","device":"/dev/disk/by-id/virtio-berthage-d2","partition":"auto","overwrite":false}]
mounts: [["/dev/disk/by-id/virtio-berthage-d1","/data","auto","defaults,nofail","0","2"],["/dev/disk/by-id/virtio-berthage-d2","/srv/more","auto","defaults,nofail","0","2"]]
EOF

# new_machine ID: a fresh root disk, and a seed with another instance id, so that cloud-init runs as on the first boot of its life. The image is
# not padded: a seed may be smaller than the 64 KiB that some programs read at once.
new_machine() {
	printf 'instance-id: "%s"\nlocal-hostname: "web-1"\n' "$1" >"$work/seed/meta-data"
	genisoimage -quiet -V cidata -R -no-pad -o "$work/seed.iso" "$work/seed"
	rm -f "$work/disk.qcow2" "$work/known-hosts"
	qemu-img create -q -f qcow2 -F qcow2 -b "$image" "$work/disk.qcow2" 4G
}

truncate -s 256M "$work/d1" "$work/d2"

case "${BERTHAGE_VIRT_TYPE:-qemu}" in
kvm) accel=(-accel kvm -cpu host) ;;
qemu) accel=(-accel tcg -cpu max) ;;
*) die "BERTHAGE_VIRT_TYPE is $BERTHAGE_VIRT_TYPE; it is kvm or qemu" ;;
esac
case "${CHECK_SEED_BUS:-virtio}" in
virtio) seed=(-drive "file=$work/seed.iso,format=raw,if=virtio,readonly=on") ;;
ide) seed=(-drive "file=$work/seed.iso,format=raw,media=cdrom,if=ide") ;;
scsi) seed=(-device virtio-scsi-pci -drive "file=$work/seed.iso,format=raw,media=cdrom,if=none,id=seed" -device "scsi-cd,drive=seed") ;;
*) die "CHECK_SEED_BUS is $CHECK_SEED_BUS; it is virtio, ide or scsi" ;;
esac

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

monitor() { echo "$*" >&8; }

guest() {
	ssh -q -p "$port" -i "$work/key" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout="${patience:-60}" \
		-o UserKnownHostsFile="$work/known-hosts" -o StrictHostKeyChecking=accept-new "$user@127.0.0.1" "$@"
}

running() { kill -0 "$qemu" 2>/dev/null; }

# give_up MESSAGE: ends the check with the end of the console, where the reason stands.
give_up() {
	tail -n 40 "$work/console" >&2
	die "$*"
}

# start: boots the machine and waits for SSH. The port is the kernel's choice, so that no other program can take it in between.
start() {
	local begin=$EPOCHREALTIME ready='' attempt=0
	: >"$work/console"
	rm -f "$work/monitor"
	mkfifo "$work/monitor"
	qemu-system-x86_64 -machine "${CHECK_MACHINE:-q35}" "${accel[@]}" -m "${CHECK_MEMORY:-512}" -display none -no-reboot \
		-drive "file=$work/disk.qcow2,format=qcow2,if=none,id=root" -device virtio-blk-pci,drive=root,bootindex=0 "${seed[@]}" \
		-drive "file=$work/d1,format=raw,if=none,id=d1" -device virtio-blk-pci,drive=d1,serial=berthage-d1 \
		-drive "file=$work/d2,format=raw,if=none,id=d2" -device virtio-blk-pci,drive=d2,serial=berthage-d2 \
		-nic user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:0-:22 \
		-serial "file:$work/console" -monitor stdio <"$work/monitor" >"$work/monitor-out" 2>&1 &
	qemu=$!
	exec 8>"$work/monitor"
	port=
	while [[ ! $port ]]; do
		running || give_up "QEMU ended at once: $(tail -n 3 "$work/monitor-out")"
		(($(seconds_since "$begin" | cut -d. -f1) < 60)) || give_up "QEMU does not say which port it listens on"
		monitor info usernet
		sleep 0.2
		port=$(awk '/HOST_FORWARD/ { print $4; exit }' "$work/monitor-out")
	done
	while :; do
		running || give_up "QEMU ended while the guest was booting"
		if [[ ! $ready ]] && grep -q 'berthage-guest ready' "$work/console"; then
			ready=$(seconds_since "$begin")
		fi
		# A guest without an address leaves a connection hanging: short attempts first, longer ones for a slow guest.
		if patience=$((2 + attempt / 5)) guest true; then
			break
		fi
		(($(seconds_since "$begin" | cut -d. -f1) < timeout)) || give_up "no SSH after $timeout s"
		attempt=$((attempt + 1))
		sleep 0.2
	done
	echo "SSH answered after $(seconds_since "$begin") s${ready:+ (console: ready after $ready s)}"
}

# stop: presses the power button and waits for the machine to end.
stop() {
	local begin=$EPOCHREALTIME
	monitor system_powerdown
	while running; do
		(($(seconds_since "$begin" | cut -d. -f1) < 120)) || give_up "still running 120 s after the power button was pressed"
		sleep 0.1
	done
	wait "$qemu" || give_up "QEMU failed: $(tail -n 3 "$work/monitor-out")"
	qemu=
	exec 8>&-
	echo "powered off after $(seconds_since "$begin") s"
}

# settle: waits for real cloud-init, which SSH does not; the tiny guest is finished before it listens.
settle() {
	local begin=$EPOCHREALTIME
	# shellcheck disable=SC2016 # expanded in the guest
	guest 'command -v cloud-init >/dev/null || exit 0; cloud-init status --wait >/dev/null; cloud-init status --long' || give_up "cloud-init failed"
	echo "settled after another $(seconds_since "$begin") s"
}

# expect WHAT WANT GOT
expect() {
	[[ $2 == "$3" ]] || give_up "$1: want \"$2\", got \"$3\""
	echo "$1: $3"
}

# file_systems: one line per data disk: mount point, type, and when its file system was made, which no second one would share.
file_systems() {
	# shellcheck disable=SC2016 # expanded in the guest
	guest 'for p in /data /srv/more; do grep " $p " /proc/mounts | cut -d " " -f 2,3; stat -f -c "%i" $p; stat -c "%Z" $p/lost+found; done' | xargs -n 4
}

echo "image: $(stat -Lc %s "$image") bytes; load average: $(cut -d ' ' -f 1-3 /proc/loadavg); ${accel[*]}"
echo "== first boot"
new_machine check-1
start
settle
expect "host name" web-1 "$(guest hostname)"
expect "user" "$user" "$(guest whoami)"
guest uptime
guest df -h /data /srv/more
first=$(file_systems)
expect "file systems" "/data ext4, /srv/more ext4" "$(cut -d ' ' -f 1,2 <<<"$first" | paste -s -d , | sed 's/,/, /')"
monitor stop
sleep 2
monitor cont
expect "after pausing and resuming" "web-1" "$(guest hostname)"
stop
echo "== second boot (the same disks; a changed host key would be refused)"
start
settle
expect "file systems as before" "$first" "$(file_systems)"
stop
echo "== a new machine with the old data disks"
new_machine check-2
start
settle
expect "file systems as before" "$first" "$(file_systems)"
stop
echo "== all as asked; load average: $(cut -d ' ' -f 1-3 /proc/loadavg)"
