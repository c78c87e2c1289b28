#!/bin/bash
# Runs Debian's Postfix on free ports of the loopback interface until its standard input ends: postfix.sh CERTIFICATE KEY USER
#
# It prints where it listens and where it keeps mail, a name and a value a line: scram, plain and login begin in plain text and offer STARTTLS, and
# after it the mechanism that they are called by; implicit is encrypted from the beginning and offers SCRAM-SHA-256; box is a Maildir in which all that is for
# berth.example arrives; log is what it says; ready comes last. The user's password is in BERTHAGE_MAIL_PASSWORD. Nobody can send anything
# without it, and nothing leaves the computer. It needs root, since Postfix has its own users, and touches no other Postfix of the computer: all its files
# are in a temporary directory, which is removed in the end.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
die() {
	echo "${0##*/}: $*" >&2
	exit 1
}
(($# == 3)) || die "usage: ${0##*/} CERTIFICATE KEY USER"
((EUID == 0)) || die "needs root"
for program in postfix postmap saslpasswd2; do
	command -v "$program" >/dev/null || die "$program is not installed (Debian: postfix, sasl2-bin)"
done

dir=$(mktemp -d "${TMPDIR:-/tmp}/berthage-mail-XXXXXX")
finish() {
	trap - EXIT INT TERM HUP
	postfix -c "$dir/conf" stop >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP
chmod 0755 "$dir"
mkdir -p "$dir/conf/sasl" "$dir/queue" "$dir/data" "$dir/box"
chown postfix "$dir/data"
chown nobody "$dir/box"
install -m 0644 "$1" "$dir/conf/certificate.pem"
install -m 0600 "$2" "$dir/conf/key.pem"

port() {
	local p
	for _ in {1..50}; do
		p=$((20000 + RANDOM % 12000)) # below those that systems give to clients
		(exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || {
			echo "$p"
			return
		}
	done
	die "no free port"
}

saslpasswd2 -p -c -f "$dir/conf/sasl/passwords" -u mail.example "$3" <<<"$BERTHAGE_MAIL_PASSWORD"
chown -R postfix "$dir/conf/sasl"
cat >"$dir/conf/main.cf" <<END
compatibility_level = 3.6
queue_directory = $dir/queue
data_directory = $dir/data
maillog_file = $dir/log
maillog_file_prefixes = $dir
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example
myorigin = mail.example
mydestination =
mynetworks =
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = berth.example
virtual_mailbox_base = $dir
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:$(id -u nobody)
virtual_gid_maps = static:$(id -g nobody)
default_transport = error:nothing leaves this computer
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_helo_required = yes
smtpd_helo_restrictions = reject_invalid_helo_hostname
strict_rfc821_envelopes = yes
smtpd_tls_cert_file = $dir/conf/certificate.pem
smtpd_tls_key_file = $dir/conf/key.pem
smtpd_tls_security_level = encrypt
smtpd_tls_mandatory_protocols = >=TLSv1.2
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = mail.example
smtpd_sasl_tls_security_options = noanonymous
END
{
	for service in scram plain login implicit; do
		mechanism=${service^^}
		case $service in scram | implicit) mechanism=SCRAM-SHA-256 ;; esac
		printf '%s\n' "pwcheck_method: auxprop" "auxprop_plugin: sasldb" "sasldb_path: $dir/conf/sasl/passwords" "mech_list: $mechanism" >"$dir/conf/sasl/$service.conf"
		p=$(port)
		echo "127.0.0.1:$p inet n - n - - smtpd -o smtpd_sasl_path=$service $([[ $service != implicit ]] || echo "-o smtpd_tls_wrappermode=yes")"
		echo "$service 127.0.0.1:$p" >&3
	done
	cat <<-'END'
		cleanup unix n - n - 0 cleanup
		qmgr unix n - n 300 1 qmgr
		tlsmgr unix - - n 1000? 1 tlsmgr
		rewrite unix - - n - - trivial-rewrite
		bounce unix - - n - 0 bounce
		defer unix - - n - 0 bounce
		error unix - - n - - error
		virtual unix - n n - - virtual
		anvil unix - - n - 1 anvil
		proxymap unix - - n - - proxymap
		postlog unix-dgram n - n - 1 postlogd
	END
} 3>"$dir/ports" >"$dir/conf/master.cf"
postfix -c "$dir/conf" start >"$dir/start" 2>&1 || die "Postfix does not start: $(tail -n 3 "$dir/start" "$dir/log" 2>/dev/null)"
cat "$dir/ports"
echo "box $dir/box"
echo "log $dir/log"
echo "ready $(postconf -d -h mail_version)"
cat >/dev/null
