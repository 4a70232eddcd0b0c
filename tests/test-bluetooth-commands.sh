#!/usr/bin/env bash
# The commands of Bluetooth as a technician gives them, against a bluetoothd of strings: search, pair
# with every kind of question, bonds, connections that fail, bluetoothd gone.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if ! command -v dbus-daemon >/dev/null || ! /usr/bin/python3 -c 'import dbus, gi.repository' 2>/dev/null; then
	echo "dbus-daemon, python3-dbus or python3-gi is missing"
	exit 77
fi
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
folder=$(mktemp -d /tmp/pngw-bluetooth.XXXXXX)
end() {
	trap - EXIT
	system_stop
	exec {to_fake}>&- {from_fake}<&-
	rm -rf "$folder"
}
touch "$folder/log"
exec 8>>"$folder/log"
system_make "$folder"
# shellcheck source=tests/doctor.sh
. "$top/tests/doctor.sh"
bad=0
complain() {
	echo "$1"
	sed 's/^/    /' "$run/start.out"
	bad=1
}

mkfifo "$run/to-fake" "$run/from-fake"
/usr/bin/python3 "$top/tests/bluez-shell.py" "unix:path=$run/bus" <"$run/to-fake" >"$run/from-fake" &
exec {to_fake}>"$run/to-fake" {from_fake}<"$run/from-fake"
trap end EXIT

# tell COMMAND...: the fake carries it out; its answer is in $answer
tell() {
	echo "$*" >&"$to_fake"
	read -r -t 20 answer <&"$from_fake"
	case $answer in
	ok*) answer=${answer#ok } ;;
	*)
		complain "the fake: $answer"
		return 1
		;;
	esac
}

# outcome CODE TEXT COMMAND...
outcome() {
	local code=0 wanted=$1 text=$2
	shift 2
	start "$@" || code=$?
	[ "$code" = "$wanted" ] || complain "$*: exit code $code instead of $wanted"
	grep -qF -- "$text" "$run/start.out" || complain "$*: not said: $text"
}

# shows TEXT COMMAND...: until the command, given again and again, says so
shows() {
	local i
	for ((i = 0; i < 200; i++)); do
		start "${@:2}" || true
		grep -qF -- "$1" "$run/start.out" && return 0
		sleep 0.05
	done
	complain "${*:2}: not said: $1"
}

# becomes OBJECT PROPERTY VALUE: until the fake has it so
becomes() {
	local i
	for ((i = 0; i < 200; i++)); do
		tell get "$1" "$2"
		[ "$answer" = "$3" ] && return 0
		sleep 0.05
	done
	complain "$2 of $1 is \"$answer\", not \"$3\""
}

# called TEXT: until the fake has been called so
called() {
	local i
	for ((i = 0; i < 200; i++)); do
		tell calls
		calls+="; $answer"
		[[ $calls == *"$1"* ]] && return 0
		sleep 0.05
	done
	complain "BlueZ was not called: $1"
}

# said TEXT: until the command in the background says so
said() {
	local i
	for ((i = 0; i < 200; i++)); do
		grep -qF -- "$1" "$run/background.out" && return 0
		sleep 0.05
	done
	cp "$run/background.out" "$run/start.out"
	complain "not said: $1"
}

background() {
	: >"$run/background.out"
	PNGW_BUS=unix:path=$run/bus "$(bin pngwctl)" "$@" >"$run/background.out" 2>&1 </dev/null &
	pid_of[background]=$!
}

# finished CODE TEXT
finished() {
	local code=0
	wait "${pid_of[background]}" || code=$?
	unset "pid_of[background]"
	said "$2"
	[ "$code" = "$1" ] || complain "exit code $code instead of $1"
}

# found ID STATE TEXT: that check of the doctor comes to that, soon
found() {
	local i
	scene=bluetooth
	for ((i = 0; i < 40; i++)); do
		ctl --json doctor >"$run/doctor.json" 2>"$run/start.out" || true
		# Nothing is said before pngwd is on the bus.
		table <"$run/doctor.json" >"$run/report" 2>"$run/start.out" || true
		grep -q "^$1	$2	.*$3" "$run/report" && break
		sleep 0.1
	done
	is "$@"
}

pne=AA2868B6-BFD3-4D5B-A859-87432EBA40BE
pne=${pne,,}
device=00:11:22:33:44:55
other=00:11:22:33:44:66
add() {
	tell device add "hci0/$1" "UUIDs=as:$pne" Class=u:0x240404 RSSI=n:-50 "Name=s:$2"
	tell model "hci0/$1" "${@:3}"
}

# Off by default.
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$run/bus
launch_gateway
await "ready"
outcome 1 "set pan.bluetooth.enable" bluetooth status
stop gateway
: >"$run/log"

sed -i 's,^pan = {,&\n\tbluetooth = { enable = true; adapter = "hci0"; bonds = "/nowhere"; };,' "$run/pngw.conf"
DBUS_SYSTEM_BUS_ADDRESS=unix:path=$run/nowhere launch_gateway
await "ready"
found bluetooth.bus failed "no D-Bus system bus answers"
found bluetooth.daemon not-applicable "there is no D-Bus"
stop gateway
: >"$run/log"
launch_gateway
await "ready"
outcome 2 "[PAN_BLUETOOTH_DOWN]" bluetooth scan 1
outcome 2 "Bluetooth: " bluetooth bonds
outcome 2 "verdict: $device" bluetooth pair "$device"
outcome 2 "verdict: $device" bluetooth connect "$device"
found bluetooth.bus ok ""
found bluetooth.daemon failed "start the service bluetooth"
found bluetooth.adapter not-applicable ""
tell daemon start
outcome 2 "" bluetooth discoverable 60
found bluetooth.daemon ok ""
found bluetooth.adapter failed "plug it in"
tell adapter add hci0 00:AA:01:00:00:00
becomes hci0 Powered true
found bluetooth.powered ok ""
found bluetooth.bonds warning "let pngwd read"
tell rfkill hci0 on
found bluetooth.powered failed "bluetoothctl power on"
tell rfkill hci0 off
for ((i = 0; i < 100; i++)); do
	tell set hci0 Powered=b:true
	start bluetooth status
	grep -q "READY\|ready" "$run/start.out" && break
	sleep 0.05
done
found bluetooth.powered ok ""
tell set hci0 Powered=b:false PowerState=s:off-blocked
found bluetooth.rfkill failed "rfkill blocks it"
found bluetooth.powered not-applicable "the adapter is blocked"
tell set hci0 Powered=b:true PowerState=s:on
found bluetooth.powered ok ""
found bluetooth.features ok "bluetoothd has everything"
tell set hci0 Modalias=s:usb:v1D6Bp0246d0542
found bluetooth.features ok "bluetoothd 5.66 has everything"
tell set hci0 Modalias=s:usb:v1D6Bp0246d0537
found bluetooth.features warning "bluetoothd 5.55 has everything, but is older"
tell lacks AgentManager1
found bluetooth.features failed "bluetoothd 5.55 lacks AgentManager1"
tell set hci0 Modalias=s:usb:v0000p0246d0537
for name in ProfileManager1 AgentManager1 LEAdvertisingManager1; do
	tell lacks "$name"
	found bluetooth.features failed "bluetoothd lacks $name"
done
tell lacks
outcome 0 "no bonds" bluetooth bonds
outcome 0 "no devices" bluetooth devices
outcome 0 "no questions" bluetooth questions
outcome 0 "for 60 s" bluetooth discoverable 60
outcome 64 "discoverable: argument 1 (SECONDS)" bluetooth discoverable now
for words in "pair" "pair nobody@@" "answer" "answer $device 4711" "unbond" "connect" "disconnect" "scan 0" \
	"scan --near" "scan --near 200" "scan --what" "bonds x" "status x"; do
	# shellcheck disable=SC2086 # words
	outcome 64 "" bluetooth $words
done
outcome 1 "no such device" bluetooth pair some-headset

# Search: what comes while it runs, what is there already; names that try to be something else.
background bluetooth scan 2
add "$device" '"Headset one"' just-works
said "$device rssi=-50 PNE"
said "name=Headset one"
outcome 0 "a search is on already" bluetooth scan 1
finished 0 "$device rssi=-50 PNE"
outcome 0 "address=$device name=\"Headset one\" entity=\"\" rssi=-50 pne=true" --kv bluetooth devices
outcome 0 "$device" bluetooth scan 1 --name HEAD
outcome 0 "0 found" bluetooth scan 1 --near -40
outcome 0 "0 found" bluetooth scan 1 --name other
tell device add "hci0/$other" RSSI=n:-70 'Name=s:"x\nEND 0\e[2J"'
outcome 0 "$other rssi=-70 LE name=x?END 0?[2J" bluetooth scan 1 --all

# One after another, nothing restarted.
outcome 0 "verdict: $device: done" bluetooth pair "$device"
outcome 0 "bonded=true trusted=true" --kv bluetooth bonds
found bluetooth.stale warning "connect to these devices once"
found bluetooth.unbonded ok "0 known PNEs"
tell join "hci0/$device" efabb950-aaf8-4076-967a-f4c3d1a248c7 "$run/joined"
launch_pne headset-1 joined none
await "headset-1 is connected"
found bluetooth.stale ok "1 bonded PNEs are known"
found bluetooth.unbonded ok "1 known PNEs"
stop headset-1
outcome 1 "bonded already" bluetooth pair "$device"
tell pair-in "hci0/$device"
await "has forgotten that and wants to pair anew"
outcome 0 "the bond here is removed" bluetooth unbond "$device"
outcome 0 "no bonds" bluetooth bonds
found bluetooth.unbonded warning "1 of 1 known PNEs have no bond: headset-1"
outcome 1 "BlueZ knows no device $device" bluetooth unbond "$device"

add "$device" Headset confirm 4711
for reply in no yes; do
	background bluetooth pair "$device"
	said "does $device (Headset) show 004711?"
	outcome 0 "show 004711?" bluetooth questions
	outcome 2 "being paired already" bluetooth pair "$device"
	outcome 64 "is not yes or no" bluetooth answer "$device" perhaps
	password=perhaps outcome 64 "does not answer" bluetooth answer "$device"
	outcome 1 "no question" bluetooth answer "$other" yes
	outcome 0 "answered" bluetooth answer "$device" "$reply"
	if [ "$reply" = yes ]; then
		finished 0 "done"
	else
		finished 1 "[PAN_PAIRING_REFUSED]"
	fi
done
outcome 0 removed bluetooth unbond "$device"

add "$device" Headset enter-pin 0042
background bluetooth pair "$device"
said "wants its PIN"
password=0043 outcome 0 answered bluetooth answer "$device"
finished 1 "[PAN_WRONG_PIN]"
background bluetooth pair "$device"
said "wants its PIN"
password=12345678901234567 outcome 64 "does not answer" bluetooth enter "$device"
password=0042 outcome 0 answered bluetooth enter "$device"
finished 0 "done"
outcome 0 removed bluetooth unbond "$device"

add "$device" Headset enter-passkey 123
background bluetooth pair "$device"
said "which 6 digits"
password=000123 outcome 0 answered bluetooth answer "$device"
finished 0 "done"
outcome 0 removed bluetooth unbond "$device"

for model in show-pin show-passkey; do
	add "$device" Headset "$model" 123456
	background bluetooth pair "$device"
	said "123456 on $device (Headset)"
	tell typed "hci0/$device"
	finished 0 "done"
	outcome 0 removed bluetooth unbond "$device"
done
grep -qF "is to be typed on $device (Headset)" "$run/log" || complain "the log does not tell of what is typed on a device"
grep -qF 123456 "$run/log" && complain "what is typed on a device is in the log"

# Whoever begins a pairing without an agent, detached or not: the default agent is asked.
agent() {
	mkfifo "$run/agent-in"
	: >"$run/background.out"
	"$@" <"$run/agent-in" >"$run/background.out" 2>&1 &
	pid_of[agent]=$!
	exec {to_agent}>"$run/agent-in"
	rm "$run/agent-in"
	said "ready"
}
agent_ends() {
	exec {to_agent}>&-
	wait "${pid_of[agent]}" || complain "the agent failed"
	unset "pid_of[agent]"
	said "end"
}
cp "$top/tests/pairing-agent.py" "$run"
chmod 755 "$run/pairing-agent.py"
for how in pair detach; do
	add "$device" Headset confirm 4711
	agent /usr/bin/python3 "$run/pairing-agent.py" "unix:path=$run/bus" "$how" "$device"
	said "asked $device compare 004711"
	becomes "hci0/$device" Trusted true
	agent_ends
	outcome 0 removed bluetooth unbond "$device"
done

# Who has logged out is asked no more.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	password=4711-technician start set-pin technician
	chmod 711 "$run"
	chmod 666 "$run/bus"
	add "$device" Headset confirm 4711
	agent setpriv --reuid 65534 --regid 65534 --clear-groups env PIN=4711-technician \
		/usr/bin/python3 "$run/pairing-agent.py" "unix:path=$run/bus" --login
	tell pair-in "hci0/$device"
	shows "show 004711?" bluetooth questions
	agent_ends
	outcome 0 answered bluetooth answer "$device" no
	tell device remove "hci0/$device"
	! grep -q asked "$run/background.out" || complain "asked after Logout: $(cat "$run/background.out")"
fi

# The technician goes away: so does the pairing, and the search.
add "$device" Headset confirm 1
background bluetooth pair "$device"
said "show 000001"
stop background
shows "no questions" bluetooth questions
background bluetooth scan 600
said "$device"
# A tray finds what another's search has found, and does not wait for its end.
printf 'entity_id\nheadset-9\n' >"$run/unknown.csv"
(umask 077; printf secret >"$run/password")
PNGW_BUS=unix:path=$run/bus timeout 120 "$(bin pngwctl)" tray "$run/unknown.csv" --user "$user" --sheet "$run/trays" \
	--password-file "$run/password" >"$run/tray.out" 2>&1 && complain "a headset that is nowhere has passed"
grep -q "headset-9: failed: no such device was seen yet" "$run/tray.out" || complain "the tray waits for another search: $(cat "$run/tray.out")"
stop background
becomes hci0 Discovering false

# A device that begins: answered by whoever looks.
tell model "hci0/$device" just-works
tell pair-in "hci0/$device"
shows "$device (Headset) wants to be paired" bluetooth questions
outcome 0 answered bluetooth answer "$device" yes
becomes "hci0/$device" Trusted true

# Connections that come to nothing, and what they say.
tell fail ConnectProfile Failed br-connection-page-timeout
outcome 2 "[PAN_OUT_OF_REACH]" bluetooth connect "$device"
tell fail ConnectProfile Failed br-connection-concurrent-connection-limit
outcome 2 "[PAN_FULL]" bluetooth connect "$device"
tell fail ConnectProfile Failed br-connection-canceled
outcome 2 "[PAN_LOST]" bluetooth connect "$device"
tell fail ConnectProfile Failed br-connection-key-missing
outcome 1 "[PAN_BOND_STALE]" bluetooth connect "$device"
grep -qF "bluetooth unbond" "$run/start.out" || complain "no remedy for a stale bond"
outcome 0 "$device" bluetooth bonds
outcome 1 "not connected" bluetooth disconnect "$other"
tell set "hci0/$device" Connected=b:true
tell hold Disconnect
shows "being disconnected" bluetooth disconnect "$device"

# What connects before BlueZ has disconnected the device would be disconnected too.
calls=
called "hci0/$device Disconnect"
calls=
tell fail ConnectProfile Failed br-connection-page-timeout
background bluetooth connect "$device"
for ((i = 0; i < 20; i++)); do
	tell calls
	[[ $answer != *ConnectProfile* ]] || complain "connected to while BlueZ disconnects it"
	sleep 0.05
done
tell release Disconnect
becomes "hci0/$device" Connected false
called "hci0/$device ConnectProfile"
finished 2 "[PAN_OUT_OF_REACH]"

# bluetoothd goes in the middle.
outcome 0 removed bluetooth unbond "$device"
add "$device" Headset confirm 1
background bluetooth pair "$device"
said "show 000001"
tell daemon stop
finished 2 "[PAN_BLUETOOTH_DOWN]"

# And so does the PN GW.
tell daemon start
tell adapter add hci0 00:AA:01:00:00:00
add "$device" Headset confirm 1
shows "$device" bluetooth devices
background bluetooth pair "$device"
said "show 000001"
kill "${pid_of[gateway]}"
status=0
wait "${pid_of[gateway]}" || status=$?
unset "pid_of[gateway]"
[ "$status" = 0 ] || complain "the PN GW stopped with $status: $(tail -n 30 "$run/log")"

# A Network Access Point, in a network of its own: its bridge is removed, and then somebody else's.
if ! unshare -nm mount -t sysfs none /sys 2>"$run/start.out"; then
	echo "no network of its own here: bluetooth.nap was not tested"
	exit $bad
fi
sed -i 's,enable = true;,& nap = { enable = true; };,' "$run/pngw.conf"
: >"$run/log"
launch gateway unshare -nm sh -c 'mount -t sysfs none /sys && exec "$@"' sh "$(bin pngwd)" --config "$run/pngw.conf"
await "ready"
inside() {
	nsenter -n -t "${pid_of[gateway]}" "$@"
}
found bluetooth.nap ok "pngw0 is there"
inside ip link del pngw0
found bluetooth.nap failed "there is no bridge pngw0"
inside ip link add pngw0 type bridge
found bluetooth.nap failed "pngw0 is somebody else's"
tell lacks NetworkServer1
found bluetooth.features failed "bluetoothd lacks NetworkServer1"
exit $bad
