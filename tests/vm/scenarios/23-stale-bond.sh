# shellcheck shell=bash
# shellcheck disable=SC1091,SC2154 # run sources vm.sh first
# A bond that one side has forgotten: a verdict with the remedy, nothing is removed that a person has not removed.
# And a link that loses its encryption.
scenario "A bond that one side has forgotten, and encryption that ends: told, with the remedy"
. "$vm_top/system.sh"

halt_ready
system_make || failed "the configuration cannot be made"
pne_begin headset-1 0 --name headset-1 --agent yes-no
pne_begin headset-2 1 --name headset-2 --agent just-works
system_up
pnes_ready
on gateway "$room/start" bluetooth scan 100 --all >/dev/null 2>&1 &
here=$(radio_address gateway 0)
# forgets NAME: its bond with the PN GW
forgets() {
	local hci
	hci=$(radio_hci pnes "${radio_of[$1]}")
	on pnes vm-radio run "${radio_of[$1]}" busctl call org.bluez "/org/bluez/$hci" org.bluez.Adapter1 RemoveDevice o \
		"/org/bluez/$hci/dev_${here//:/_}" || failed "$1 cannot forget"
}
is_bonded() {
	expect 0 "$(pne_address "$1")" gw bluetooth bonds
}
for name in headset-1 headset-2; do
	expect 0 "done" pair "$name" "$([ $name = headset-2 ] || echo yes)"
	expect 0 "done" gw bluetooth connect "$(pne_address "$name")"
	expect 0 "being disconnected" gw bluetooth disconnect "$name"
	gateway_log "$name is gone" || failed "$name stays"
done

forgets headset-1
forgets headset-2
expect 1 "[PAN_BOND_STALE]" gw bluetooth connect headset-1
grep -qF "bluetooth unbond" "$scratch/out" || failed "no remedy: $(cat "$scratch/out")"
expect 1 "[PAN_BOND_STALE]" gw figure7 "$user" headset-2
is_bonded headset-1
is_bonded headset-2
expect 1 "it is bonded already" gw bluetooth pair "$(pne_address headset-1)"
ok "forgotten by the PNE: a verdict with the remedy, for a command and for a figure; the bonds here are left alone"

for name in headset-1 headset-2; do
	expect 0 "the bond here is removed" gw bluetooth unbond "$name"
	expect 0 "done" pair "$name" "$([ $name = headset-2 ] || echo yes)"
done
expect 0 "done" gw figure6 "$user" headset-1
expect 1 "[PAN_INSECURE]" gw figure6 "$user" headset-2
expect 0 "done" gw figure7 "$user" headset-2
ok "paired anew: Figure 6 over the bond that authenticates, Figure 7 over the other"

expect 0 "the bond here is removed" gw bluetooth unbond headset-1
expect 1 "[PAN_UNKNOWN_DEVICE]" gw figure6 "$user" headset-1
pair headset-1 yes >/dev/null
grep -qF "[PAN_PAIRING_REFUSED]" "$scratch/pair" || failed "headset-1, which is bonded, is paired anew: $(cat "$scratch/pair")"
pne_log headset-1 "it is bonded here, but has forgotten that" || failed "headset-1 does not say why it refuses"
forgets headset-1
expect 0 "done" pair headset-1 yes
expect 0 "done" gw figure6 "$user" headset-1
ok "forgotten by the PN GW: the PNE lets nobody replace its bond, and says so; once it has forgotten too, they pair"

halt gateway at "Fig. 6 step 4:"
gw figure6 "$user" headset-1 >"$scratch/first" &
figure=$!
halt gateway wait 60 || failed "Figure 6 step 4 was not reached: $(cat "$scratch/first")"
since=$(on pnes date +%s)
ether encryption gateway-0 pnes-0 off >/dev/null || failed "no link whose encryption could end"
halt gateway go
! wait $figure || failed "Figure 6 goes on without encryption"
grep -q "verdict: Figure 6 step [0-9]*, headset-1, leg PAN: .*\[PAN_\(INSECURE\|LOST\)\]" "$scratch/first" ||
	failed "Figure 6, when encryption ends: $(tail -n 1 "$scratch/first")"
# Linux ends such a link, perhaps before it can be read how safe it is.
noticed() {
	vm_journal pnes -u cpns-headset-1 --since "@$since" -o cat |
		grep -q -e ": none: the link is not encrypted" -e "the stream to the PN GW failed: Permission denied"
}
await_that 30 noticed || failed "headset-1 does not notice the end of encryption"
expect 0 "done" gw figure6 "$user" headset-1
same_keys headset-1 headset-2 || failed "different keys"
ok "encryption ends amid Figure 6: noticed, the figure ends; the same command finishes over a new stream, the same keys"
