# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # what is set here is read by the scenarios, and vm.sh sets the rest
# The whole system on the two machines: server and PN GW on "gateway", PNEs on "pnes", each on a radio
# of its own. Sourced by scenarios after vm.sh.
#
#   system_make [SETTING...]      configurations; more settings of pan.bluetooth; nothing runs yet
#                                 drop_ins: what the PN GW's unit has besides, of systemd/ (nap, bonds)
#                                 the manufacturer's list has a printed passphrase for $passphrase
#   system_up                     the server and the PN GW, which has its own EUKey and the user
#   gateway_up, server_up         gateway_log TEXT [SECONDS]: until the PN GW said it since it started
#   pne_up NAME RADIO OPTION...   plugs the radio, runs cpns-pne; pne_address NAME; pne_log NAME TEXT
#   pne_begin NAME RADIO OPTION...   the same for several at once; pnes_ready waits for all that were begun
#   gw COMMAND...                 a command of the PN GW, with the user's password
#   pne_type NAME TEXT            a line on its standard input: a password, an answer to a question
#   pair NAME [ANSWER]            "bluetooth pair", answering the first question with ANSWER; shows what was said
#   expect CODE TEXT COMMAND...   runs it: that exit code, and a line with TEXT ($scratch/out)
#   without SETTING RADIO...      plugs these radios of "pnes" and takes bredr or ssp from them: LE alone, PINs alone
#   find_pnes NAME...             the PN GW searches until it has found them all; found[NAME] is where
#   bond NAME, bond NAME yes      pairs what was found, in the second case by comparing numbers, and connects
#   key_table PROCEDURE NAME...   a table of fingerprints, one line each pair; fails where two are not the same
#   same_key NAME                 ends the PNE and compares its EUKey's fingerprint with the server's
#   same_keys NAME...             the same for several, which go on: what is not equal is told, on standard output

user=alice
password="correct horse battery staple"
server=cpns.example
gateway=gw-livingroom
room=/srv/pngw
drop_ins=()
challenge=00112233445566778899aabbccddeeff
passphrase=
declare -A radio_of=() found=() begun=()

system_make() {
	local setting
	mkdir -p "$scratch/room"
	"$vm_top/../make-certs" "$scratch/room/certs" localhost "$gateway" >"$scratch/make-certs" 2>&1 || return 1
	cat >"$scratch/room/server.conf" <<-CONF
		entity_id = "$server";
		listen = { address = "127.0.0.1"; port = 7443; path = "/cpns"; };
		tls = {
			certificate = "$room/certs/server.pem";
			key = "$room/certs/server.key";
			client_ca = "$room/certs/ca.pem";
		};
		database = "$room/server.db";
		key_file = "$room/server.key";
		iterations = 10000;
	CONF
	cat >"$scratch/room/pngw.conf" <<-CONF
		entity_id = "$gateway";
		iterations_floor = 10000;
		server = {
			entity_id = "$server";
			host = "127.0.0.1";
			verify_name = "localhost";
			port = 7443;
			path = "/cpns";
			tls = {
				ca = "$room/certs/ca.pem";
				certificate = "$room/certs/gateway.pem";
				key = "$room/certs/gateway.key";
			};
		};
		pan = {
			bluetooth = {
				enable = true;
				$(for setting in "$@"; do echo "$setting"; done)
			};
		};
		vault = { path = "$room/gateway.vault"; key_file = "$room/gateway.key"; };
	CONF
	{
		echo "entity_id,form,temporary_key"
		for ((i = 1; i <= 21; i++)); do
			if [ "headset-$i" = "${passphrase:-}" ]; then
				echo "headset-$i,passphrase,$(openssl rand -base64 18)"
			else
				echo "headset-$i,hex,$(printf '%064x' $((i * 7919)))"
			fi
		done
	} >"$scratch/room/keys.csv"
	cat >"$scratch/room/start" <<-START
		#!/bin/sh
		exec pngwctl "\$@" <<end
		$password
		end
	START
	chmod 711 "$scratch/room"
	chmod 700 "$scratch/room/start"
	chmod 600 "$scratch/room/keys.csv"
	put gateway /srv "$scratch/room" && on gateway mv /srv/room "$room" && gateway_unit || return 1
	on pnes mkdir -pm 700 "$room" && put pnes "$room" "$scratch/room/keys.csv" || return 1
	on gateway cpns-server-admin --config "$room/server.conf" import-temporary-keys "$room/keys.csv" \
		>"$scratch/import" 2>&1
}

# The PN GW runs as the unit that is installed, with its user and in its sandbox; only where its files are is
# another place, and it stays away when it is killed.
gateway_unit() {
	local unit=$scratch/unit/pngw-gateway.service name
	mkdir -p "$unit.d"
	sed "s,@sbindir@,/usr/local/bin,; s,@sysconfdir@/pngw/pngw.conf,$room/pngw.conf," \
		"$vm_top/../../systemd/pngwd.service.in" >"$unit"
	for name in "${drop_ins[@]}"; do
		cp "$vm_top/../../systemd/$name.conf" "$unit.d/"
	done
	cat >"$unit.d/room.conf" <<-CONF
		[Service]
		ReadWritePaths=$room
		Restart=no
	CONF
	# Who is stopped feeds no watchdog.
	[ -z "$vm_preload" ] || cat >"$unit.d/halt.conf" <<-CONF
		[Service]
		Environment=LD_PRELOAD=$vm_preload
		ExecPaths=$vm_preload
		ReadWritePaths=/run/halt
		WatchdogSec=0
	CONF
	put gateway /run/systemd/system "$unit" "$unit.d" "$vm_top/../../systemd/pngw.sysusers" &&
		put gateway /etc/dbus-1/system.d "$vm_top/../../gateway/dbus/org.pngw.conf" && on gateway - <<-SCRIPT
		systemd-sysusers /run/systemd/system/pngw.sysusers && chown -R pngw: $room/certs $room/pngw.conf &&
			chown pngw: $room && systemctl daemon-reload &&
			busctl -q call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig
	SCRIPT
}

server_up() {
	daemon gateway cpns-server cpns-serverd --config "$room/server.conf" &&
		await gateway cpns-server "listening on"
}

gateway_up() {
	on gateway systemctl start pngw-gateway && gateway_log "WAN is up" 60
}

gateway_log() {
	await gateway pngw-gateway "$1" "${2:-30}"
}

system_up() {
	server_up || failed "the CPNS Server does not start"
	gateway_up || failed "the PN GW does not start"
	gw register "$user" >"$scratch/out" || failed "the user cannot be registered: $(tail -n 1 "$scratch/out")"
	gw figure8 "$user" >"$scratch/out" || failed "Figure 8: $(tail -n 1 "$scratch/out")"
	ok "server and PN GW run, Figure 5 (the user) and Figure 8 are done"
}

# A PIN goes in by standard input like the password.
gw() {
	local said=$password
	if [ "$1 ${2:-}" = "bluetooth answer" ] && [ "$4" != yes ] && [ "$4" != no ]; then
		said=$4
		set -- answer "$3"
	fi
	on_with_input gateway pngwctl "$@" 2>&1 <<<"$said"
}

pne_up() {
	local name=$1 radio=$2
	shift 2
	radio_of[$name]=$radio
	[ "$radio" = 0 ] || radio_plug pnes "$radio" || return 1
	daemon pnes "cpns-$name" /usr/local/sbin/vm-typed "$name" vm-radio run "$radio" cpns-pne --entity "$name" --bearer bluez \
		--state "$room/$name" --temporary-key-file "$room/keys.csv" --iterations-floor 10000 "$@" &&
		pne_log "$name" "Bluetooth is ready" 120
}

pne_begin() {
	pne_up "$@" &
	begun[$1]=$!
	radio_of[$1]=$2
}

pnes_ready() {
	local name
	for name in "${!begun[@]}"; do
		wait "${begun[$name]}" ||
			failed "$name does not start: $(vm_journal pnes -u "cpns-$name" -u "bluetooth@${radio_of[$name]}" -n 4 -o cat)"
	done
	begun=()
}

pne_type() {
	on pnes sh -c 'echo "$1" >"/run/typed-$0"' "$1" "$2"
}

pne_log() {
	await pnes "cpns-$1" "$2" "${3:-30}"
}

pne_address() {
	radio_address pnes "${radio_of[$1]}"
}

pair() {
	local address pid=
	address=${found[$1]:-$(pne_address "$1")}
	if [ -n "${2:-}" ]; then
		(
			await_that 40 sh -c 'grep -q "answer:" "$1"' - "$scratch/pair" &&
				gw bluetooth answer "$address" "$2"
		) >"$scratch/answer" 2>&1 &
		pid=$!
	fi
	gw bluetooth pair "$address" >"$scratch/pair"
	local result=$?
	[ -z "$pid" ] || wait "$pid"
	cat "$scratch/pair"
	return $result
}

expect() {
	local code=$1 text=$2 got=0
	shift 2
	"$@" >"$scratch/out" 2>&1 || got=$?
	if [ "$got" != "$code" ] || ! grep -qF -- "$text" "$scratch/out"; then
		cat "$scratch/out"
		failed "$*: exit code $got, not $code, or no \"$text\""
	fi
}

same_key() {
	local ours theirs
	unit_stop pnes "cpns-$1"
	ours=$(on pnes cpns-pne --entity "$1" --state "$room/$1" --fingerprint "$challenge") || return 1
	theirs=$(on gateway cpns-server-admin --config "$room/server.conf" fingerprint --challenge "$challenge" \
		"$user" "$1" | awk -v i="$(awk '{ print $3 }' <<<"$ours")" '$(NF - 1) == i { print $NF }')
	[ -n "$theirs" ] && [ "$(awk '{ print $4 }' <<<"$ours")" = "$theirs" ]
}

same_keys() {
	local name held bad=0 pid
	on pnes - >"$scratch/held" <<-SCRIPT &
		for name in $*; do
			cp -r "$room/\$name" /tmp/copy
			cpns-pne --entity "\$name" --state /tmp/copy --fingerprint "$challenge" || echo "\$name holds no EUKey"
			rm -rf /tmp/copy
		done
	SCRIPT
	pid=$!
	on gateway - >"$scratch/issued" <<-SCRIPT || return 1
		for name in $*; do
			cpns-server-admin --config "$room/server.conf" fingerprint --challenge "$challenge" "$user" "\$name" |
				sed "s/^/\$name /"
		done
	SCRIPT
	wait $pid || return 1
	for name in "$@"; do
		held=$(awk -v name="$name" '$1 == name { print $3, $4 }' "$scratch/held")
		if ! grep -qxF "$name $held" "$scratch/issued"; then
			echo "$name holds \"$held\", which is none of the server's keys"
			bad=1
		fi
	done
	return $bad
}

# The kernel says that it has switched SSP off while powered, and does not.
without() {
	local setting=$1
	shift
	on pnes - <<-SCRIPT
		take() {
			[ "\$1" = 0 ] || vm-radio plug "\$1" || return 1
			for setting in "power off" "$setting off" "power on"; do
				vm-radio manage "\$1" \$setting || return 1
			done >/dev/null
		}
		for radio in $*; do
			take \$radio &
		done
		for radio in $*; do
			wait -n || exit 1
		done
	SCRIPT
}

find_pnes() {
	local name missing=
	on gateway - >"$scratch/scan" <<-SCRIPT || failed "the search: $(cat "$scratch/scan")"
		declare -A left=()
		for name in $*; do
			left[\$name]=yes
		done
		exec 3< <(exec $room/start bluetooth scan 60 2>&1)
		while [ \${#left[@]} -gt 0 ] && read -r line; do
			echo "\$line"
			[[ \$line != *PNE*" name="* ]] || unset "left[\${line##* name=}]"
		done <&3
		kill -INT \$! 2>/dev/null
		cat <&3
	SCRIPT
	for name in "$@"; do
		found[$name]=$(sed -n "s/^ *\([0-9A-F:]\{17\}\) .*PNE.* name=$name\$/\1/p" "$scratch/scan" | tail -n 1)
		[ -n "${found[$name]}" ] || missing+=" $name"
	done
	[ -z "$missing" ] || failed "not found:$missing: $(cat "$scratch/scan")"
}

bond() {
	expect 0 "done; paired" pair "$@"
	reach "$1"
}

# reach NAME: connects to it; once more where the verdict says that it may, as a person would.
reach() {
	gw bluetooth connect "${found[$1]}" >"$scratch/reach" || true
	if grep -F "Retry: yes" "$scratch/reach"; then
		gw bluetooth connect "${found[$1]}" >"$scratch/reach" || true
	fi
	expect 0 "$1: done" cat "$scratch/reach"
}

key_table() {
	local procedure name rest index print theirs same result=0 names=() pid
	while [ $# -gt 0 ]; do
		names+=("$1" "$2")
		shift 2
	done
	printf '%s\n' "${names[@]}" | awk 'NR % 2 == 0' >"$scratch/names"
	on pnes - >"$scratch/held" <<-SCRIPT &
		for name in $(tr '\n' ' ' <"$scratch/names"); do
			[ -d "$room/\$name" ] || continue
			cp -r "$room/\$name" /tmp/copy
			cpns-pne --entity "\$name" --state /tmp/copy --fingerprint "$challenge"
			rm -rf /tmp/copy
		done
	SCRIPT
	pid=$!
	on gateway - >"$scratch/issued" <<-SCRIPT
		for name in $(tr '\n' ' ' <"$scratch/names"); do
			cpns-server-admin --config "$room/server.conf" fingerprint --challenge "$challenge" "$user" "\$name" |
				sed "s/^/\$name /"
		done
		echo "own \$($room/start fingerprint --challenge "$challenge")"
	SCRIPT
	wait $pid
	printf '  %-34s %-13s %3s %-16s %-16s %s\n' procedure entity key "entity's" "server's" same
	set -- "${names[@]}"
	while [ $# -gt 0 ]; do
		procedure=$1
		name=$2
		shift 2
		if [ "$name" = "$gateway" ]; then
			rest=$(sed -n 's/^own //p' "$scratch/issued")
		else
			rest=$(awk -v name="$name" '$1 == name' "$scratch/held")
		fi
		index=$(awk '{ print $(NF - 1) }' <<<"$rest")
		print=$(awk '{ print $NF }' <<<"$rest")
		theirs=$(awk -v name="$name" -v i="$index" '$1 == name && $(NF - 1) == i { print $NF }' "$scratch/issued")
		same=yes
		if [ -z "$print" ] || [ "$print" != "$theirs" ]; then
			same=NO
			result=1
		fi
		printf '  %-34s %-13s %3s %-16s %-16s %s\n' "$procedure" "$name" "$index" "$print" "${theirs:-none}" "$same"
	done
	return $result
}
