#!/bin/bash
# Starts a real OpenStack of one's own, from Debian packages, on the loopback interface.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

usage() {
	cat <<'END'
usage: up.sh

Starts Keystone, Placement, Glance, Neutron and Nova with five compute services, whose hypervisor is Nova's fake one, beside MariaDB and RabbitMQ
of their own, as plain processes on free ports of 127.0.0.1. Nothing else on the computer is touched but the Debian packages, which are installed
where they are missing. What runs already is left alone, what is set up is not set up again. At the end it prints the variables that name the
cloud, as shell assignments.

The state directory is BERTHAGE_OPENSTACK_STATE, or "openstack" below BERTHAGE_CACHE (/var/cache/berthage). One that other versions of these
scripts have made is stopped, removed and made anew. It holds clouds.yaml with the clouds "member" and "admin", and the logs in log/. down.sh stops everything. It needs Debian 12, and root.
END
}

case "${1-}" in
-h | --help)
	usage
	exit 0
	;;
esac
(($# == 0)) || {
	usage >&2
	exit 2
}

# Five computers: name, cores, MiB of memory, GiB of disk. The name "compute" means something of its own to the fake hypervisor.
nodes=("node1 16 65536 500" "node2 16 65536 500" "node3 32 131072 1000" "node4 8 16384 200" "node5 8 16384 200")

packages=(python3-keystone python3-placement python3-glance python3-nova python3-neutron python3-pymysql python3-requests
	rabbitmq-server mariadb-server-core mariadb-client uwsgi-core uwsgi-plugin-python3)

((EUID == 0)) || die "only root can start it"
command -v apt-get >/dev/null || die "it is made of Debian's packages, and there is no apt-get"

if [[ -d $state && ! -e $mark && -n $(ls -A "$state") ]]; then die "$state is not empty and not ours"; fi
key=$(content_key)
if [[ -e $mark && $(<"$mark") != "$key" ]]; then
	log "$state was made by another version"
	"$here/down.sh" --wipe
fi
umask 077
mkdir -p "$etc" "$logs" "$run" "$data"/{nova,neutron,glance,locks,rabbitmq,keystone/{fernet,credential}}
echo "$key" >"$mark"
only_one
cd "$data" # where a daemon may leave something behind when it is broken off

# install: the daemons' own packages would bring init scripts, questions, libvirt and more; these are the libraries, which have all the code.
install() {
	local policy=
	if [[ ! -e /usr/sbin/policy-rc.d ]]; then # or RabbitMQ's package would start one
		policy=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	local apt=(nice apt-get -q -y -o DPkg::Lock::Timeout=900 -o Dpkg::Options::=--force-confold) ok=1
	DEBIAN_FRONTEND=noninteractive "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends "${packages[@]}" || ok=
	[[ -z $policy ]] || rm -f $policy
	[[ $ok ]]
}
if ! dpkg-query -W -f '${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | awk '$1 != "installed" { n++ } END { exit n || NR < '${#packages[@]}' }'; then
	log "installing packages, 120 MB to fetch; see $logs/install.log"
	install >"$logs/install.log" 2>&1 9>&- </dev/null || die "the packages cannot be installed; see $logs/install.log: $(tail -n 1 "$logs/install.log")"
fi

# Ports are free ones when the cloud is first set up; then its data bases know them.
if [[ ! -s $state/ports ]]; then
	taken=
	for service in keystone placement glance nova neutron mariadb rabbitmq epmd erlang; do
		while :; do
			port=$((20000 + RANDOM % 12000)) # below those that systems give to clients
			[[ $taken != *" $port "* ]] && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
		done
		taken+=" $port "
		echo "$service=$port"
	done >"$state/ports"
fi
# shellcheck source=/dev/null
. "$state/ports"

# Nothing of the caller's environment goes into a daemon: proxies, another Python.
clean=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$data" LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1)
python=/usr/bin/python3

# start NAME COMMAND ...: in the background, as a process group of its own.
start() {
	local name=$1
	shift
	if runs "$name"; then return; fi
	printf '%(%F %T)T started\n' -1 >>"$logs/$name.log"
	setsid "${clean[@]}" "$@" >>"$logs/$name.log" 2>&1 </dev/null 9>&- &
	printf '%s\n' $! "$(birth $!)" >"$run/$name"
}

# failed NAME WHY
failed() { die "$1 $2; see $logs/$1.log: $(grep -v '^ *$' "$logs/$1.log" | tail -n 1)"; }

# ready NAME COMMAND ...: waits until it succeeds.
ready() {
	local name=$1
	shift
	for _ in {1..1800}; do
		! "$@" >/dev/null 2>&1 || return 0
		runs "$name" || failed "$name" "has ended"
		sleep 0.1
	done
	failed "$name" "is not ready after 3 minutes"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# once NAME COMMAND ...: a step of the first start.
once() {
	local name=$1
	shift
	[[ ! -e $run/done-$name ]] || return 0
	log "$name"
	"${clean[@]}" "$@" >>"$logs/$name.log" 2>&1 </dev/null 9>&- || die "$name has failed; see $logs/$name.log: $(tail -n 1 "$logs/$name.log")"
	: >"$run/done-$name"
}

# main MODULE ARGUMENT ...: a Python program that the packages have no script for.
main() {
	local module=$1
	shift
	printf '%s\n' "$python" -c "import sys; from $module import main; sys.argv[0] = '$module'; sys.exit(main())" "$@"
}

# Configuration, written anew each time.
auth=$(sed "s/@keystone@/$keystone/" "$here/conf/auth.conf")
render() {
	local text
	text=$(cat "$@")
	text=${text//@auth@/$auth}
	for name in keystone placement glance nova neutron rabbitmq etc data; do text=${text//@$name@/${!name}}; done
	text=${text//@database@/mysql+pymysql://cloud:cloud-secret@127.0.0.1:$mariadb}
	echo "${text//@messages@/rabbit:\/\/guest:guest@127.0.0.1:$rabbitmq/}"
}
for name in keystone rabbitmq; do render "$here/conf/$name.conf" >"$etc/$name.conf"; done
for name in placement glance nova neutron; do render "$here/conf/common.conf" "$here/conf/$name.conf" >"$etc/$name.conf"; done
cp "$here"/conf/*-paste.ini "$etc/"
echo '{}' >"$etc/policy.yaml"
echo '[].' >"$etc/enabled_plugins"
: >"$etc/rabbitmq-env.conf"

log "starting in $state"
if ! runs mariadb; then
	once mariadb-install mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$data/mariadb" --auth-root-authentication-method=normal --skip-test-db
	# The data need not survive a crash of the computer.
	start mariadb mariadbd --no-defaults --user="$(id -un)" --datadir="$data/mariadb" --socket="$run/mariadb.sock" --pid-file="$data/mariadb.pid" \
		--bind-address=127.0.0.1 --port="$mariadb" --skip-name-resolve --skip-log-bin --max-connections=400 --performance-schema=OFF \
		--innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync --innodb-doublewrite=0 \
		--character-set-server=utf8mb3 --collation-server=utf8mb3_general_ci
fi
start rabbitmq HOME="$data/rabbitmq" ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$epmd" RABBITMQ_NODENAME="berthage-$epmd@localhost" \
	RABBITMQ_CONFIG_FILE="$etc/rabbitmq" RABBITMQ_CONF_ENV_FILE="$etc/rabbitmq-env.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$etc/enabled_plugins" \
	RABBITMQ_MNESIA_BASE="$data/rabbitmq/mnesia" RABBITMQ_LOG_BASE="$logs" RABBITMQ_LOGS=- RABBITMQ_DIST_PORT="$erlang" \
	RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none" /usr/lib/rabbitmq/bin/rabbitmq-server
sql=(mariadb --no-defaults --socket="$run/mariadb.sock" -uroot)
ready mariadb "${sql[@]}" -e 'select 1'
databases=
for name in keystone placement glance nova nova_api nova_cell0 neutron; do databases+="CREATE DATABASE IF NOT EXISTS $name;"; done
once databases "${sql[@]}" -e "$databases CREATE USER IF NOT EXISTS 'cloud'@'127.0.0.1' IDENTIFIED BY 'cloud-secret'; GRANT ALL ON *.* TO 'cloud'@'127.0.0.1'"

# Schemas, on two processors where there are as many.
ks=(keystone-manage --config-file "$etc/keystone.conf")
owner=(--keystone-user "$(id -un)" --keystone-group "$(id -gn)")
url=http://127.0.0.1:$keystone/v3
(
	once keystone-schema "${ks[@]}" db_sync
	once keystone-tokens "${ks[@]}" fernet_setup "${owner[@]}"
	once keystone-credentials "${ks[@]}" credential_setup "${owner[@]}"
	once keystone-admin "${ks[@]}" bootstrap --bootstrap-password admin-secret --bootstrap-region-id RegionOne \
		--bootstrap-public-url "$url" --bootstrap-internal-url "$url" --bootstrap-admin-url "$url"
	once placement-schema placement-manage --config-file "$etc/placement.conf" db sync
	mapfile -t command < <(main glance.cmd.manage --config-file "$etc/glance.conf" db_sync)
	once glance-schema "${command[@]}"
	mapfile -t command < <(main neutron.db.migration.cli --config-file "$etc/neutron.conf" upgrade heads)
	once neutron-schema PYTHONPATH="$here/bind" "${command[@]}"
) &
schemas=$!
mapfile -t manage < <(main nova.cmd.manage --config-file "$etc/nova.conf")
once nova-api-schema "${manage[@]}" api_db sync
once nova-cell0 "${manage[@]}" cell_v2 map_cell0 --database_connection "mysql+pymysql://cloud:cloud-secret@127.0.0.1:$mariadb/nova_cell0"
once nova-cell1 "${manage[@]}" cell_v2 create_cell --name cell1
once nova-schema "${manage[@]}" db sync
wait "$schemas" || exit 1

# wsgi NAME PORT FILE SETTING: uWSGI closes kept connections without a word, so it keeps none.
wsgi() {
	start "$1" "$4" uwsgi --plugin python3 --http-socket "127.0.0.1:$2" --wsgi-file "$3" --master --lazy-apps --enable-threads --processes 2 \
		--need-app --die-on-term --buffer-size 65535 --disable-logging --add-header "Connection: close"
}
wsgi keystone "$keystone" /usr/bin/keystone-wsgi-public OS_KEYSTONE_CONFIG_FILES="$etc/keystone.conf"
wsgi placement "$placement" /usr/bin/placement-api OS_PLACEMENT_CONFIG_DIR="$etc"
ready rabbitmq listens "$rabbitmq"
ready keystone listens "$keystone"

# seed WHAT ARGUMENT ...: through the cloud's own interfaces.
seed() {
	"${clean[@]}" "$python" "$here/seed.py" "$state" "$@" >>"$logs/seed.log" 2>&1 </dev/null 9>&- ||
		die "seed.py $1 has failed; see $logs/seed.log: $(tail -n 1 "$logs/seed.log")"
}
log "users, endpoints"
seed identity # the services log in when they start
log "services"
mapfile -t command < <(main glance.cmd.api --config-file "$etc/glance.conf")
start glance "${command[@]}"
mapfile -t command < <(main neutron.cmd.eventlet.server --config-file "$etc/neutron.conf")
start neutron PYTHONPATH="$here/bind" "${command[@]}"
for name in conductor scheduler api_os_compute; do
	mapfile -t command < <(main "nova.cmd.$name" --config-file "$etc/nova.conf")
	[[ $name != api_os_compute ]] || name=api
	start "nova-$name" "${command[@]}"
done
names=()
for node in "${nodes[@]}"; do
	read -r name cores memory disk <<<"$node"
	names+=("$name")
	mkdir -p "$data/nova-$name"
	printf '[DEFAULT]\nhost = %s\nstate_path = %s\n' "$name" "$data/nova-$name" >"$etc/compute-$name.conf"
	start "compute-$name" FAKE_VCPUS="$cores" FAKE_MEMORY_MB="$memory" FAKE_DISK_GB="$disk" \
		"$python" "$here/compute.py" --config-file "$etc/nova.conf" --config-file "$etc/compute-$name.conf"
done
for name in placement glance neutron; do ready "$name" listens "${!name}"; done
ready nova-api listens "$nova"
log "compute nodes"
seed computes "${names[@]}"
once nova-hosts "${manage[@]}" cell_v2 discover_hosts
log "flavors, images, network, credentials"
seed content "${names[@]}"
for name in "$run"/*; do
	name=${name##*/}
	[[ $name == done-* || $name == *.sock ]] || runs "$name" || failed "$name" "has ended"
done
log "ready; the logs are in $logs"
cat "$state/env"
