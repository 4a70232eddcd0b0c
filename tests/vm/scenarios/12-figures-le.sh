# shellcheck shell=bash
# shellcheck disable=SC2154 # run sources vm.sh first, system.sh sets the rest
# Figures 5 to 7 over LE, with PNEs that have no BR/EDR: found by the service they advertise, connected to over an
# L2CAP channel.
# shellcheck source=tests/vm/system.sh
. "$vm_top/system.sh"
scenario "Figures 5, 6 and 7 over LE, with PNEs that have no BR/EDR"
system_make || failed "the configuration cannot be made"
system_up &
system=$!
without bredr 1 2 3 || failed "BR/EDR cannot be switched off"
pne_begin headset-1 1 --le --name headset-1 --agent yes-no
pne_begin headset-2 2 --le --name headset-2 --agent just-works
pne_begin tablet-1 3 --le --name tablet-1 --agent just-works --ui --user "$user" --deadline 300
await_that 120 on pnes test -p /run/typed-tablet-1 && pne_type tablet-1 "$password"
pnes_ready
wait $system || exit 1

find_pnes headset-1 headset-2 tablet-1
ok "a search finds the three by the service they advertise"

bond headset-1 yes
gateway_log "bluetooth-le ${found[headset-1]}: authenticated:" || failed "headset-1 is not seen as authenticated"
bond headset-2
gateway_log "bluetooth-le ${found[headset-2]}: encrypted: " ||
	failed "headset-2 is not seen as Just Works"
ok "headset-1 is bonded by comparing numbers, headset-2 by Just Works"

expect 0 "done" gw figure6 "$user" headset-1
ok "Figure 6: headset-1, over a PAN that is secure"
expect 1 "[PAN_INSECURE]" gw figure6 "$user" headset-2
expect 0 "done" gw figure7 "$user" headset-2
ok "Figure 7: headset-2, over a PAN that is not; Figure 6 is refused to it"
bond tablet-1
pne_log tablet-1 "verdict: Figure 5 step 13" 60 || failed "tablet-1 gets no EUKey"
ok "Figure 5: tablet-1, which has a screen"

unit_kill pnes cpns-headset-1
gateway_log "headset-1 is gone" || failed "headset-1 stays though it was killed"
gw bluetooth connect headset-1 >"$scratch/again" &
again=$!
gateway_log "${found[headset-1]} refuses a channel" || failed "nothing refuses the channel: $(cat "$scratch/again")"
pne_up headset-1 1 --le --name headset-1 --agent yes-no || failed "headset-1 does not start again"
wait $again || failed "refused once, and given up: $(cat "$scratch/again")"
ok "a channel that is refused, as nobody listens, is opened over a new link when somebody does"

key_table "Figure 5, LE" tablet-1 "Figure 6, authenticated bond, LE" headset-1 \
	"Figure 7, Just Works bond, LE" headset-2 "Figure 8" "$gateway" || failed "not the same key on both sides"
ok "each EUKey is the same on both sides"
