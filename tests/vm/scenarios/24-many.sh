# shellcheck shell=bash
# shellcheck disable=SC1091,SC2154 # run sources vm.sh first
# As many PNEs as a piconet holds at once, and then more in turn (PNGW_VM_MANY, at most 20); nothing is started
# again. An eighth at once is left to the tests with a bluetoothd of strings: doc/bluetooth.md says why.
in_turn=${PNGW_VM_MANY:-9}
scenario "Seven PNEs at once, and $in_turn in turn"
. "$vm_top/system.sh"
at_once=7

system_make "pairing = \"accept\";" || failed "the configuration cannot be made"
# They come up one after the other, while those before them are served.
(
	for ((i = 1; i <= in_turn; i++)); do
		pne_up "headset-$i" "$i" --agent just-works && touch "$scratch/ready-$i"
	done
) &
system_up
on gateway "$room/start" bluetooth scan 600 --all >/dev/null 2>&1 &
# serve N: waits for headset-N, and pairs
serve() {
	radio_of[headset-$1]=$1
	await_that 120 test -e "$scratch/ready-$1" || failed "headset-$1 does not start"
	expect 0 "done" pair "headset-$1"
}
address_of() {
	printf '00:1B:DC:10:02:%02X' "$1"
}

links() {
	[ "$(ether list | grep -c "^link gateway-0 ")" = "$1" ]
}
for ((i = 1; i < at_once; i++)); do
	serve "$i"
	expect 0 "headset-$i: done" gw bluetooth connect "$(address_of "$i")"
done
serve $at_once
expect 0 "headset-$at_once: done" gw bluetooth connect "$(address_of $at_once)"
expect 0 "streams: $at_once" gw bluetooth status
figures=()
for ((i = 1; i <= at_once; i++)); do
	gw figure7 "$user" "headset-$i" >"$scratch/figure-$i" &
	figures+=($!)
done
for ((i = 1; i <= at_once; i++)); do
	wait "${figures[i - 1]}" || failed "headset-$i, at the same time as others: $(tail -n 1 "$scratch/figure-$i")"
done
expect 0 "streams: $at_once" gw bluetooth status
ok "seven are connected and get their EUKeys at the same time"

for ((i = at_once + 1; i <= in_turn; i++)); do
	expect 0 "being disconnected" gw bluetooth disconnect "headset-$((i - at_once))"
	await_that 30 links $((at_once - 1)) || failed "headset-$((i - at_once)) stays connected"
	serve "$i"
	expect 0 "headset-$i: done" gw bluetooth connect "$(address_of "$i")"
	expect 0 "done" gw figure7 "$user" "headset-$i"
done
ok "then each time one goes, the next is paired, connected and gets its EUKey, up to headset-$in_turn"
names=()
for ((i = 1; i <= in_turn; i++)); do
	names+=("headset-$i")
done
same_keys "${names[@]}" || failed "different keys"
ok "each of the $in_turn has the same key as the server"
