# shellcheck shell=bash
# shellcheck disable=SC1091,SC2154 # run sources vm.sh first
# The box is replaced: what a new one has of its own, nothing but its settings, is what is left of this machine; the
# adapter is the one that was moved over. The headset is not paired again, and the old box is let in no more.
scenario "A new box takes the PN GW over: no headset is paired again, the old box is locked out"
. "$vm_top/system.sh"

handover() {
	on_with_input gateway pngw-handover --config "$room/pngw.conf" "$@" 2>&1 <<<"$transfer"
}

transfer=
system_make || failed "the configuration cannot be made"
pne_begin headset-1 0 --name headset-1 --agent just-works
system_up &
system=$!
pnes_ready
wait $system || exit 1
find_pnes headset-1
bond headset-1
expect 0 "done" gw figure7 "$user" headset-1
expect 0 "left=3 held=1" gw --kv pool headset-1
on gateway - <<-SCRIPT || failed "no copy of the old box"
	systemctl stop pngw-gateway && mkdir -m 700 /tmp/old && cp -a $room/gateway.* $room/certs /tmp/old/
SCRIPT
ok "headset-1 is bonded and has its EUKey, three more wait for it; a copy of the box is made"

begun=$SECONDS
expect 0 "transfer code" handover give /tmp/swap
transfer=$(sed -n 's/^ *\([0-9A-Z]\{4\}\(-[0-9A-Z]\{4\}\)\{6\}\)$/\1/p' "$scratch/out")
on gateway - <<-SCRIPT || failed "the new box is not empty"
	systemctl start bluetooth && rm -rf $room/gateway.* $room/certs/gateway.*
SCRIPT
expect 1 "systemctl stop bluetooth" handover take /tmp/swap
on gateway - <<-SCRIPT || failed "the new box is not empty"
	systemctl stop bluetooth && rm -rf /var/lib/bluetooth/*
SCRIPT
expect 1 "pair the headsets again" handover --drill --adapter 00:1B:DC:10:01:03 take /tmp/swap
expect 0 "bonds: 1" handover --drill take /tmp/swap
expect 0 "This box is $gateway" handover take /tmp/swap
on gateway systemctl start bluetooth || failed "bluetoothd does not start"
gateway_up || failed "the PN GW does not start"
gateway_log "this box is the PN GW: the CPNS Server took term 1" || failed "it is not the PN GW"
await_that 30 gw bluetooth connect headset-1 >/dev/null || failed "headset-1 cannot be connected to"
expect 0 "key index 2" gw renew headset-1
seconds=$((SECONDS - begun))
expect 0 "$(pne_address headset-1)" gw bluetooth bonds
same_keys headset-1 || failed "different keys"
expect 0 "done" gw figure7 "$user" headset-1
ok "handed over in $seconds s, drills included: headset-1, not paired again, is renewed from its pool and by Figure 7"
[ "$seconds" -le 60 ] || failed "that took $seconds s"

on gateway - <<-SCRIPT || failed "the old box does not come back"
	systemctl stop pngw-gateway && rm -f $room/gateway.* && cp -a /tmp/old/gateway.* $room/
SCRIPT
gateway_up || failed "the old box does not start"
gateway_log "[GATEWAY_HANDED_OVER]" || failed "the old box is not refused"
expect 1 "[GATEWAY_HANDED_OVER]" gw renew headset-1
expect 1 "[GATEWAY_HANDED_OVER]" gw figure7 "$user" headset-1
expect 0 "term 1" on gateway cpns-server-admin --config "$room/server.conf" list handovers
same_keys headset-1 || failed "different keys"
ok "the old box, which nobody had told of it, is refused by the server and issues nothing"
