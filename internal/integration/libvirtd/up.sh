#!/bin/bash
# Starts a libvirtd of one's own: own configuration, sockets, logs, storage pools and NAT network, beside any other libvirtd of the host.
set -euo pipefail

usage() {
	cat <<'END'
usage: up.sh [--session] DIR

Starts a libvirtd whose files are all below DIR and prints the URIs to connect to, one a line, on standard output.

As root it is a system daemon with the QEMU driver in a mount namespace of its own (DIR/etc, lib, cache, run and log stand for libvirt's
directories), its own virtlogd, the storage pools "default" and "fast" below DIR/images, and the NAT network "default" with a bridge and
a subnet that nothing else uses. Any number of them run side by side.

With --session it is an unprivileged daemon for the test driver (test:///default and test:///path/node.xml), without QEMU, networks or
pools; root runs it as nobody. It listens on a Unix socket, on the loopback interface for TCP, and, where there is openssl, for TLS; DIR/pki
has the certificates of the authority, the server and a client, and DIR/pki/stranger those of a client that is not let in.

DIR is created. Its path has at most 60 bytes, because sockets lie below it, and other users can pass through its parents, because QEMU
does not run as root. down.sh DIR stops everything and removes DIR.
END
}

session=
case "${1-}" in
-h | --help)
	usage
	exit 0
	;;
--session)
	session=1
	shift
	;;
esac
if (($# != 1)); then
	usage >&2
	exit 2
fi

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

command -v libvirtd >/dev/null || die "libvirtd is not installed (Debian: libvirt-daemon-system libvirt-clients)"
command -v virsh >/dev/null || die "virsh is not installed (Debian: libvirt-clients)"

[[ ! -e $1 ]] || [[ -d $1 && -z $(ls -A "$1") ]] || die "$1 is there already; down.sh removes one of ours"
umask 022
mkdir -p "$1"
chmod 0755 "$1"
dir=$(cd "$1" && pwd)
((${#dir} <= 60)) || die "$dir: the path is longer than 60 bytes"
echo "made by up.sh" >"$dir/berthage-libvirtd"

# wait_for SOCKET PIDFILE LOG
wait_for() {
	for _ in $(seq 300); do
		[[ -S $1 ]] && return 0
		if [[ -s $2 ]] && ! kill -0 "$(<"$2")" 2>/dev/null; then
			break
		fi
		sleep 0.1
	done
	tail -n 20 "$3" >&2 || true
	die "no socket $1"
}

if [[ $session ]]; then
	mkdir "$dir/home" "$dir/run"
	run=()
	if ((EUID == 0)); then
		command -v setpriv >/dev/null || die "setpriv is not installed (Debian: util-linux)"
		chown -R nobody: "$dir/home" "$dir/run"
		run=(setpriv --reuid nobody --regid nogroup --clear-groups)
	fi
	chmod 0700 "$dir/run"

	# free_port FROM prints a TCP port that nothing listens on, one of the 6000 from FROM.
	free_port() {
		local p
		while :; do
			p=$(($1 + RANDOM % 6000))
			(exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || break
		done
		echo "$p"
	}
	tcp=$(free_port 20000) tls=
	if command -v openssl >/dev/null; then
		tls=$(free_port 26000)
	fi
	cat >"$dir/libvirtd.conf" <<END
listen_addr = "127.0.0.1"
listen_tcp = 1
tcp_port = "$tcp"
auth_tcp = "none"
listen_tls = $((tls > 0))
END
	if [[ $tls ]]; then
		mkdir -p "$dir/pki/stranger"
		new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
		# certificate FILE NAME: one for 127.0.0.1, signed by the authority.
		certificate() {
			openssl req "${new[@]}" -subj "/CN=$2" -keyout "$dir/pki/$1key.pem" -out "$dir/request.pem"
			openssl x509 -req -in "$dir/request.pem" -CA "$dir/pki/cacert.pem" -CAkey "$dir/pki/cakey.pem" -CAcreateserial -days 30 \
				-out "$dir/pki/$1cert.pem" -extfile <(printf '%s\n' subjectAltName=IP:127.0.0.1 keyUsage=digitalSignature,keyEncipherment \
				extendedKeyUsage=serverAuth,clientAuth)
		}
		{
			openssl req -x509 "${new[@]}" -days 30 -subj /CN=authority -keyout "$dir/pki/cakey.pem" -out "$dir/pki/cacert.pem" \
				-addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign
			certificate server server
			certificate client client
			certificate stranger/client stranger
			cp "$dir/pki/cacert.pem" "$dir/pki/stranger/"
		} >"$dir/pki.log" 2>&1 || die "no certificates: $(tail -n 1 "$dir/pki.log")"
		chmod 0644 "$dir"/pki/*.pem "$dir"/pki/stranger/*.pem
		cat >>"$dir/libvirtd.conf" <<END
tls_port = "$tls"
auth_tls = "none"
key_file = "$dir/pki/serverkey.pem"
cert_file = "$dir/pki/servercert.pem"
ca_file = "$dir/pki/cacert.pem"
tls_allowed_dn_list = [ "CN=client" ]
END
	fi
	env -i PATH="$PATH" HOME="$dir/home" XDG_RUNTIME_DIR="$dir/run" "${run[@]}" \
		libvirtd -l -f "$dir/libvirtd.conf" -d -p "$dir/run/libvirtd.pid" >"$dir/start.log" 2>&1 </dev/null || die "libvirtd did not start: $(<"$dir/start.log")"
	wait_for "$dir/run/libvirt/libvirt-sock" "$dir/run/libvirtd.pid" "$dir/start.log"
	echo "test+unix:///default?socket=$dir/run/libvirt/libvirt-sock"
	echo "test+tcp://127.0.0.1:$tcp/default"
	[[ ! $tls ]] || echo "test+tls://127.0.0.1:$tls/default?pkipath=$dir/pki"
	exit 0
fi

((EUID == 0)) || die "only root can start a daemon with QEMU; --session is for others"
command -v virtlogd >/dev/null || die "virtlogd is not installed (Debian: libvirt-daemon-system)"
command -v qemu-system-x86_64 >/dev/null || die "QEMU is not installed (Debian: qemu-system-x86)"
command -v ip >/dev/null || die "ip is not installed (Debian: iproute2)"

for d in etc lib cache run log images images/default images/fast; do
	mkdir "$dir/$d"
done
cp -a /etc/libvirt/. "$dir/etc/"
rm -rf "$dir"/etc/qemu/*.xml "$dir"/etc/qemu/autostart "$dir"/etc/qemu/networks "$dir"/etc/storage
mkdir -p /etc/libvirt /var/lib/libvirt /var/cache/libvirt /run/libvirt /var/log/libvirt

# A number that gives bridge, subnet and the range of VNC ports. The lock keeps two of these scripts from taking the same one; it is held
# until the bridge is there to be seen.
exec 9>/run/lock/berthage-libvirtd.lock
flock -w 120 9 || die "another up.sh holds the lock for too long"
number=
for n in $(seq 1 200); do
	if [[ ! -e /sys/class/net/bth$n ]] && ! ip -4 route show table all | grep -q "10\.213\.$n\." && ! ip -4 -o addr | grep -q "10\.213\.$n\."; then
		number=$n
		break
	fi
done
[[ $number ]] || die "no free subnet among 10.213.1.0/24 to 10.213.200.0/24"

cat >>"$dir/etc/libvirtd.conf" <<END
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
auth_unix_rw = "none"
END
cat >>"$dir/etc/qemu.conf" <<END
cgroup_controllers = []
remote_display_port_min = $((6000 + 100 * number))
remote_display_port_max = $((6099 + 100 * number))
END

# Where /dev/kvm is there but not for QEMU's user, libvirt finds its knowledge of QEMU outdated at every definition and start, and
# gathers it again for seconds. A node of our own, in our own mount namespace only, keeps that away.
if [[ -c /dev/kvm ]]; then
	mknod -m 0666 "$dir/kvm" c 10 232 || true
fi

cat >"$dir/start" <<'END'
set -e
dir=$1
mount --bind "$dir/etc" /etc/libvirt
mount --bind "$dir/lib" /var/lib/libvirt
mount --bind "$dir/cache" /var/cache/libvirt
mount --bind "$dir/run" /run/libvirt
mount --bind "$dir/log" /var/log/libvirt
if [ -c "$dir/kvm" ]; then
	mount --bind "$dir/kvm" /dev/kvm
fi
virtlogd -d -p "$dir/virtlogd.pid"
libvirtd -d -p "$dir/libvirtd.pid"
END
unshare -m --propagation private sh "$dir/start" "$dir" >"$dir/start.log" 2>&1 </dev/null 9>&- ||
	die "libvirtd did not start: $(<"$dir/start.log")"
wait_for "$dir/run/libvirt-sock" "$dir/libvirtd.pid" "$dir/start.log"

virsh_() { virsh -q -c "qemu+unix:///system?socket=$dir/run/libvirt-sock" "$@" >&2; }
for p in default fast; do
	virsh_ pool-define-as "$p" dir --target "$dir/images/$p"
	virsh_ pool-start "$p"
	virsh_ pool-autostart "$p"
done
cat >"$dir/network.xml" <<END
<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='bth$number' stp='off' delay='0'/>
  <ip address='10.213.$number.1' netmask='255.255.255.0'>
    <dhcp><range start='10.213.$number.2' end='10.213.$number.254'/></dhcp>
  </ip>
</network>
END
virsh_ net-define "$dir/network.xml"
virsh_ net-start default
virsh_ net-autostart default

echo "qemu+unix:///system?socket=$dir/run/libvirt-sock"
