# shellcheck shell=bash
# shellcheck disable=SC1091,SC2154 # run sources vm.sh first
# As many PNEs as a piconet holds at once, and then more in turn (PNGW_VM_MANY, at most 20); nothing is started
# again. Then a tray of those that are there, killed midway. An eighth at once is left to the tests with a bluetoothd
# of strings: doc/bluetooth.md says why.
in_turn=${PNGW_VM_MANY:-9}
scenario "Seven PNEs at once, $in_turn in turn, and a tray"
. "$vm_top/system.sh"
at_once=7

system_make "pairing = \"accept\";" || failed "the configuration cannot be made"
(
	for ((i = 1; i <= in_turn; i++)); do
		pne_up "headset-$i" "$i" --name "headset-$i" --agent just-works || exit 1
	done
) &
pnes=$!
system_up
wait $pnes || failed "they do not start"
names=()
for ((i = 1; i <= in_turn; i++)); do
	names+=("headset-$i")
	radio_of[headset-$i]=$i
done
find_pnes "${names[@]}"
ok "all $in_turn are found"
# They are not forgotten while a search is on.
on gateway "$room/start" bluetooth scan 600 --all >/dev/null 2>&1 &

links() {
	[ "$(ether list | grep -c "^link gateway-0 ")" = "$1" ]
}
for ((i = 1; i <= at_once; i++)); do
	bond "headset-$i"
done
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
	bond "headset-$i"
	expect 0 "done" gw figure7 "$user" "headset-$i"
done
ok "then each time one goes, the next is paired, connected and gets its EUKey, up to headset-$in_turn"

# A tray of the last six, of which two are not connected and one's address is in the manifest: killed while the third gets its key, then resumed.
on gateway pkill -INT -f 'scan [6]00'
tray=("${names[@]: -6}")
for name in "${tray[0]}" "${tray[4]}"; do
	expect 0 "being disconnected" gw bluetooth disconnect "$name"
done
await_that 30 links $((at_once - 2)) || failed "two stay connected"
{
	echo "entity_id,address,label"
	for name in "${tray[@]}"; do
		echo "$name,$([ "$name" != "${tray[0]}" ] || echo "${found[$name]}"),slot ${name#headset-}"
	done
} >"$scratch/headsets.csv"
put gateway "$room" "$scratch/headsets.csv"
on gateway - >"$scratch/tray" 2>&1 <<-SCRIPT || failed "the tray cannot be cut: $(cat "$scratch/tray")"
	$room/start tray $room/headsets.csv --user $user --sheet $room/trays --parallel 1 >/tmp/tray 2>&1 &
	for ((i = 0; i < 1200; i++)); do
		if [ "\$(grep -c '"is":"begun"' $room/trays/headsets.journal 2>/dev/null)" = 3 ]; then
			kill -9 %1
			grep -c '"is":"passed"' $room/trays/headsets.journal
			[ ! -e $room/trays/headsets.json ]
			exit
		fi
		sleep 0.02
	done
	cat /tmp/tray
	exit 1
SCRIPT
grep -qx 2 "$scratch/tray" || failed "not cut after two of six: $(cat "$scratch/tray")"
expect 0 "${tray[5]}" gw tray "$room/headsets.csv" --resume --user "$user" --sheet "$room/trays"
get gateway "$room/trays" "$scratch" || failed "no sheet"
python3 - "$scratch/trays" "${tray[@]}" <<'PYTHON' || failed "the journal or the sheet is not right"
import json, sys
folder, names = sys.argv[1], sys.argv[2:]
moves = [json.loads(line) for line in open(folder + "/headsets.journal")][1 + len(names):]
sheet = json.load(open(folder + "/headsets.json"))["sheet"]
assert sorted(m["unit"] for m in moves if m["is"] == "passed") == list(range(len(names))), moves
for unit in (0, 1):
    assert [m["is"] for m in moves if m["unit"] == unit] == ["begun", "passed"], "a unit that passed was begun again"
assert (sheet["passed"], sheet["failed"]) == (len(names), 0)
assert [u["entity"] for u in sheet["units"]] == names and all(u["figure"] == 7 and u["fingerprint"] for u in sheet["units"]), sheet
PYTHON
expect 0 "" on gateway pngwctl tray --verify "$room/trays/headsets.json"
ok "a tray of six, killed after two: resumed it connects to those it has to, each passes once, the signed sheet has all"
same_keys "${names[@]}" || failed "different keys"
ok "each of the $in_turn has the same key as the server"
