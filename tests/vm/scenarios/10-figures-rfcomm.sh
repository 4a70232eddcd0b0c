# shellcheck shell=bash
# shellcheck disable=SC2154 # run sources vm.sh first, system.sh sets the rest
# Figures 5 to 8 over RFCOMM: devices are found, not typed, and what a bond is worth decides between
# Figures 6 and 7.
# shellcheck source=tests/vm/system.sh
. "$vm_top/system.sh"
scenario "Figures 5, 6, 7 and 8 over RFCOMM, with PNEs that are found, not typed"
system_make || failed "the configuration cannot be made"
system_up &
system=$!
pne_begin headset-1 0 --name headset-1 --agent yes-no
pne_begin headset-2 1 --name headset-2 --agent just-works
pne_begin tablet-1 2 --name tablet-1 --agent just-works --gateway "$(radio_address gateway 0)" --ui --user "$user" --deadline 300
await_that 120 on pnes test -p /run/typed-tablet-1 && pne_type tablet-1 "$password"
pnes_ready
wait $system || exit 1

find_pnes headset-1 headset-2 tablet-1
ok "a search finds the three by the service they offer; no Entity ID and no address is typed"

bond headset-1 yes
gateway_log "${found[headset-1]}: authenticated:" || failed "headset-1 is not seen as authenticated"
bond headset-2
gateway_log "${found[headset-2]}: encrypted: " ||
	failed "headset-2 is not seen as Just Works"
ok "headset-1 is bonded by comparing numbers, headset-2 and its Just Works bond is not worth as much"

# The tablet connects by itself; its user has entered ID and password on its screen.
expect 0 "done; paired" pair tablet-1
pne_log tablet-1 "verdict: Figure 5 step 13" 60 || failed "tablet-1 gets no EUKey"
ok "Figure 5: tablet-1, which has a screen, connects and gets its EUKey"

expect 0 "done" gw figure6 "$user" headset-1
ok "Figure 6: headset-1, over a PAN that is secure"
expect 1 "[PAN_INSECURE]" gw figure6 "$user" headset-2
ok "Figure 6 is refused to headset-2: $(sed -n 's/.*leg PAN: \(.*\) Retry.*/\1/p' "$scratch/out")"
expect 0 "done" gw figure7 "$user" headset-2
ok "Figure 7: headset-2, over a PAN that is not"

expect 0 "entity=headset-1" gw bluetooth devices --kv
expect 0 "being disconnected" gw bluetooth disconnect headset-1
gateway_log "headset-1 is gone" || failed "headset-1 stays"
unit_stop gateway pngw-gateway
gateway_up || failed "the PN GW does not start again"
await_that 30 gw bluetooth connect headset-1 >"$scratch/out" || failed "headset-1: $(cat "$scratch/out")"
ok "later, and after a restart, its Entity ID is enough to connect to it"
vm_journal gateway PNGW_VERDICT=PAN_INSECURE -o cat >"$scratch/out"
grep -q "Figure 6.*headset-2" "$scratch/out" || failed "the journal has no field for the verdict: $(cat "$scratch/out")"
ok "the journal is searched by verdict"

key_table "Figure 5, RFCOMM" tablet-1 "Figure 6, authenticated bond" headset-1 \
	"Figure 7, Just Works bond" headset-2 "Figure 8" "$gateway" || failed "not the same key on both sides"
ok "each EUKey is the same on both sides"
