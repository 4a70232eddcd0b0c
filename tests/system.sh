# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is read by those who source it
# A whole system in a temporary folder, for ./demo and the system tests: sourced, with $top (the source)
# and $build (where the programs are) set.
#
#   system_begin NAME       for a test: system_make in a new $folder, which goes when the test ends with what runs there
#   complain TEXT           for a test: what is wrong; it goes on, and ends with exit $bad
#   system_make DIR         certificates, configurations, the manufacturer's list, a bus; else nothing runs yet
#   launch NAME COMMAND...  a daemon; its events go to file descriptor 8
#   launch_server, launch_gateway, launch_pne NAME SOCKET SECURITY
#   launch_all HEADSET...   server, PN GW and these, until they are connected
#   await TEXT              until $run/log has a line with it, 30 s at most
#   ctl ARGUMENT...         pngwctl on that bus, with $password as standard input
#   start COMMAND...        a procedure at the PN GW, with $password; its lines go to $run/start.out
#   same_key ENTITY LINE    whether the server has the key whose fingerprint LINE ends with
#   stop NAME, kill9 NAME, system_stop

password="correct horse battery staple"
user=alice
server=cpns.example
gateway=gw-livingroom
: "${top:?}" "${build:?}"
challenge=
run=
address=
port=
declare -A pid_of=()

bin() {
	printf '%s/%s' "$build" "$1"
}

system_begin() {
	folder=$(mktemp -d "/tmp/pngw-$1.XXXXXX")
	trap system_end EXIT
	touch "$folder/log"
	exec 8>>"$folder/log"
	system_make "$folder"
}

system_end() {
	trap - EXIT
	system_stop
	rm -rf "$folder"
}

bad=0
complain() {
	echo "$1"
	bad=1
}

system_make() {
	run=$1
	touch "$run/log"
	chmod 700 "$run"
	"$top/tests/make-certs" "$run/certs" localhost "$gateway" >"$run/make-certs.out" 2>&1
	# Every running test has a loopback address of its own: none takes the port of a killed server.
	address=127.$((1 + ($$ >> 16))).$((($$ >> 8) & 255)).$(($$ & 255))
	port=$((20000 + RANDOM % 12000))
	while (exec 3<>"/dev/tcp/$address/$port") 2>/dev/null; do
		port=$((20000 + RANDOM % 12000))
	done

	cat >"$run/server.conf" <<-CONF
		entity_id = "$server";
		listen = { address = "$address"; port = $port; path = "/cpns"; };
		tls = {
			certificate = "$run/certs/server.pem";
			key = "$run/certs/server.key";
			client_ca = "$run/certs/ca.pem";
		};
		database = "$run/server.db";
		key_file = "$run/server.key";
		iterations = ${iterations:-600000};
	CONF

	cat >"$run/pngw.conf" <<-CONF
		entity_id = "$gateway";
		server = {
			entity_id = "$server";
			host = "$address";
			verify_name = "localhost";
			port = $port;
			path = "/cpns";
			tls = {
				ca = "$run/certs/ca.pem";
				certificate = "$run/certs/gateway.pem";
				key = "$run/certs/gateway.key";
			};
		};
		pan = {
			listen = (
				{ address = "unix:$run/pan-secure"; security = "authenticated"; },
				{ address = "unix:$run/pan-open"; security = "none"; }
			);
		};
		vault = { path = "$run/gateway.vault"; key_file = "$run/gateway.key"; };
		control = { bus = "unix:path=$run/bus"; };
	CONF
	bus_up

	# What the manufacturer burnt into two headsets, and the list the operator was sent.
	cat >"$run/keys.csv" <<-CSV
		entity_id,form,temporary_key
		headset-2,hex,$(openssl rand -hex 32)
		headset-3,passphrase,$(openssl rand -base64 18)
	CSV
	chmod 600 "$run/keys.csv"
}

# A bus of our own, on which anybody may do anything; it stops with the rest.
bus_up() {
	cat >"$run/bus.conf" <<-CONF
		<busconfig><type>session</type><listen>unix:path=$run/bus</listen><auth>EXTERNAL</auth>
		<policy context='default'><allow user='*'/><allow send_destination='*' eavesdrop='true'/>
		<allow eavesdrop='true'/><allow own='*'/></policy></busconfig>
	CONF
	pid_of[bus]=$(dbus-daemon --config-file "$run/bus.conf" --fork --print-pid 2>"$run/bus.out")
}

ctl() {
	PNGW_BUS="unix:path=$run/bus" "$(bin pngwctl)" "$@" <<<"$password"
}

launch() {
	local name=$1
	shift
	"$@" 2>&8 >"$run/$name.out" </dev/null &
	pid_of[$name]=$!
}

launch_server() {
	launch server "$(bin cpns-serverd)" --config "$run/server.conf"
}

launch_gateway() {
	launch gateway "$(bin pngwd)" --config "$run/pngw.conf"
}

launch_pne() {
	launch "$1" "$(bin cpns-pne)" --entity "$1" --connect "unix:$run/$2" --security "$3" \
		--state "$run/$1" --temporary-key-file "$run/keys.csv"
}

await() {
	local i
	for ((i = 0; i < 600; i++)); do
		grep -qF -- "$1" "$run/log" && return 0
		sleep 0.05
	done
	echo "waited 30 s for \"$1\"; the processes said:" >&2
	tail -n 20 "$run/log" >&2
	return 1
}

# The server, the PN GW and these headsets: headset-1 on the secure PAN, the others on the open one.
launch_all() {
	local name
	launch_server
	await "listening on"
	launch_gateway
	await "WAN is up"
	for name; do
		case $name in
		headset-1) launch_pne "$name" pan-secure authenticated ;;
		*) launch_pne "$name" pan-open none ;;
		esac
	done
	for name; do
		await "$name is connected"
	done
}

start() {
	ctl "$@" >"$run/start.out" 2>&1
}

admin() {
	"$(bin cpns-server-admin)" --config "$run/server.conf" "$@"
}

pne_fingerprint() {
	"$(bin cpns-pne)" --entity "$1" --state "$run/$1" --fingerprint "$challenge"
}

# Sets index, fingerprint, theirs. LINE is "... INDEX FINGERPRINT", over $challenge.
same_key() {
	index=$(awk '{ print $(NF - 1) }' <<<"$2")
	fingerprint=$(awk '{ print $NF }' <<<"$2")
	theirs=$(admin fingerprint --challenge "$challenge" "$user" "$1" |
		awk -v i="$index" '$(NF - 1) == i { print $NF }')
	[ -n "$fingerprint" ] && [ "$fingerprint" = "$theirs" ]
}

stop() {
	[ -n "${pid_of[$1]:-}" ] || return 0
	kill "${pid_of[$1]}" 2>/dev/null || true
	wait "${pid_of[$1]}" 2>/dev/null || true
	unset "pid_of[$1]"
}

kill9() {
	[ -n "${pid_of[$1]:-}" ] || return 0
	kill -9 "${pid_of[$1]}" 2>/dev/null || true
	wait "${pid_of[$1]}" 2>/dev/null || true
	unset "pid_of[$1]"
}

system_stop() {
	local name
	for name in "${!pid_of[@]}"; do
		stop "$name"
	done
}
