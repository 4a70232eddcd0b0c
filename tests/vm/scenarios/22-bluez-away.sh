# shellcheck shell=bash
# shellcheck disable=SC1091,SC2034,SC2154 # run sources vm.sh first, system.sh uses what is set here
# What Bluetooth stands on goes away in the middle of a Figure 7, which is stopped at the PN GW until it is gone. The
# figure ends by itself or in a verdict, and in the end the key is the same on both ends; nothing of ours is started
# again. The PN GW uses one of two adapters, which comes after it.
scenario "bluetoothd is killed, the adapter is late, off, blocked, unplugged: each time it goes on, with the same key"
. "$vm_top/system.sh"
adapter=00:1B:DC:10:01:01

powered() {
	on gateway busctl set-property org.bluez "/org/bluez/$(radio_hci gateway 1)" org.bluez.Adapter1 Powered b "$1"
}
status_says() {
	gw bluetooth status >"$scratch/status"
	grep -qF -- "$1" "$scratch/status"
}
# amid COMMAND...: carries it out after the server has answered and before the PNE gets its EUKey; $code is how it ended
amid() {
	local pid
	halt gateway at "Fig. 7 step 5:"
	gw figure7 "$user" headset-1 >"$scratch/first" &
	pid=$!
	halt gateway wait 60 || failed "Figure 7 step 5 was not reached: $(cat "$scratch/first")"
	"$@" || failed "not done: $*"
	halt gateway go
	code=0
	wait "$pid" || code=$?
	[ "$code" = 0 ] || grep -qE "verdict: Figure 7 step [0-9]+, headset-1, leg PAN: .* Retry: (yes|later)" "$scratch/first" ||
		failed "$*: $(tail -n 1 "$scratch/first")"
}
# away WHAT STATUS: the figure ended in a verdict; so does the next, which says why
away() {
	[ "$code" = 2 ] || failed "$1: the figure ended with $code: $(tail -n 1 "$scratch/first")"
	await_that 30 status_says "$2" || failed "$1: the status is not \"$2\": $(cat "$scratch/status")"
	expect 2 "[PAN_BLUETOOTH_DOWN]" gw figure7 "$user" headset-1
	grep -qF "$2" "$scratch/out" || failed "$1: the verdict does not say \"$2\""
}
# back WHAT: with what was away, the same command finishes
back() {
	expect 0 "done" gw figure7 "$user" headset-1
	same_keys headset-1 || failed "$1: different keys"
	ok "$1: \"$(sed -n 's/.*leg PAN: \([^.]*\)\..*/\1/p' "$scratch/first")\", then a verdict that says why, then the same key"
}
# on_as_before WHAT: the stream stayed; the next one needs what is registered with bluetoothd
on_as_before() {
	[ "$code" = 0 ] || failed "$1: the figure ended with $code: $(tail -n 1 "$scratch/first")"
	same_keys headset-1 || failed "$1: different keys"
	expect 0 "being disconnected" gw bluetooth disconnect headset-1
	# BlueZ ends it some 2 s later, which who connects awaits.
	expect 0 "headset-1: done" gw bluetooth connect headset-1
	ok "$1: the figure went on by itself, with the same key; later headset-1 connects again"
}

halt_ready
system_make "adapter = \"$adapter\";" || failed "the configuration cannot be made"
pne_begin headset-1 1 --name headset-1 --agent yes-no
system_up
gateway_log "the Bluetooth adapter is not there" || failed "the other adapter is not refused"
expect 2 "[PAN_BLUETOOTH_DOWN]" gw bluetooth connect 00:1B:DC:10:02:01
radio_plug gateway 1 || failed "the second adapter cannot be plugged"
gateway_log "Bluetooth is ready: adapter $adapter" || failed "the adapter that comes late is not used"
pnes_ready
expect 0 "done" pair headset-1 yes
expect 0 "done" gw bluetooth connect "$(pne_address headset-1)"
ether list >"$scratch/links"
grep -q "^link .*gateway-1" "$scratch/links" && ! grep -q "^link .*gateway-0" "$scratch/links" ||
	failed "the wrong adapter is used: $(cat "$scratch/links")"
ok "the adapter that the configuration chooses is used when it comes; the one that is there is left alone"

# killed MACHINE UNIT: its bluetoothd
killed() {
	unit_kill "$1" "$2" && on "$1" sh -c 'while systemctl -q is-active "$0"; do sleep 0.1; done' "$2"
}
amid killed gateway bluetooth
await_that 30 status_says "bluetoothd does not run" || failed "the status does not say that bluetoothd is gone"
on gateway systemctl start bluetooth
await_that 30 status_says "Bluetooth is ready" || failed "Bluetooth is not ready again"
on_as_before "bluetoothd of the PN GW killed and started again"

ready_there() {
	[ "$(vm_journal pnes -u cpns-headset-1 --since "@$vm_since" -o cat | grep -c "Bluetooth is ready")" -ge 2 ]
}
amid killed pnes bluetooth@1
on pnes systemctl start bluetooth@1
await_that 60 ready_there || failed "headset-1 does not find its bluetoothd again"
on_as_before "bluetoothd of the PNE killed and started again"

amid powered false
away "the adapter is switched off" "the Bluetooth adapter is off"
powered true
back "the adapter was off"

amid on gateway rfkill block bluetooth
away "rfkill" "the Bluetooth adapter is blocked"
on gateway rfkill unblock bluetooth
back "Bluetooth was blocked by rfkill"

amid radio_unplug gateway 1
away "the adapter is unplugged" "the Bluetooth adapter is not there"
radio_plug gateway 1 || failed "the adapter cannot be plugged again"
back "the adapter was unplugged"
