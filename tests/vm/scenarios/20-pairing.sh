# shellcheck shell=bash
# shellcheck disable=SC1091,SC2154 # run sources vm.sh first
# One device after the other is paired by every association model, by the PN GW's commands; wrong answers and
# refusals end in a verdict and leave nothing that hinders the next try.
scenario "Each way to pair, right and wrong, one device after another"
. "$vm_top/system.sh"

# bond_is LEVEL TEXT NAME: what the PN GW says of the bond's stream
bond_is() {
	local address
	address=$(pne_address "$3")
	expect 0 "done" gw bluetooth connect "$address"
	gateway_log "$address: $1: $2" 20 || failed "$3: its level is not $1 ($2)"
}

# pair_begins NAME, question TEXT: "bluetooth pair" in the background; what it says, until it has said TEXT
pair_begins() {
	: >"$scratch/pair"
	gw bluetooth pair "$(pne_address "$1")" >"$scratch/pair" &
	pairing=$!
}
question() {
	await_that 60 grep -q -- "$1" "$scratch/pair" || failed "no \"$1\": $(cat "$scratch/pair")"
}
# pair_ends CODE TEXT
pair_ends() {
	local code=0
	wait "$pairing" || code=$?
	if [ "$code" != "$1" ] || ! grep -qF -- "$2" "$scratch/pair"; then
		cat "$scratch/pair"
		failed "the pairing: exit code $code, not $1, or no \"$2\""
	fi
}
answer() {
	expect 0 "answered" gw bluetooth answer "$(pne_address "$1")" "$2"
}
# The number in what the PN GW says last; what headset NAME has said after TEXT, when it has said it COUNT times.
number_here() {
	grep -oE '\b[0-9]{6}\b' "$scratch/pair" | tail -n 1
}
number_there() {
	local said
	said=$(on pnes vm-await said "cpns-$1" "$2" 20 "$3") && echo "${said##*[!0-9]}"
}
other() {
	printf %06d $(((10#$1 + 1) % 1000000))
}
# done_with NAME: one adapter holds no more than seven at a time
done_with() {
	expect 0 "being disconnected" gw bluetooth disconnect "$(pne_address "$1")"
}

radio_of=([headset-1]=1 [headset-2]=2 [headset-3]=3 [headset-4]=4 [headset-5]=5 [headset-6]=6 [headset-7]=7 [headset-8]=8)
# What a bond's key is worth is in BlueZ's folder.
drop_ins=(bonds)
system_make 'adapter = "hci0";'
# They come up while the first are being paired.
(
	start() {
		pne_up "$@" && touch "$scratch/ready-$1"
	}
	start headset-1 1 --agent just-works
	start headset-2 2 --agent yes-no
	start headset-3 3 --agent yes-no --confirm ask
	start headset-4 4 --agent keyboard --confirm ask
	without bredr 5
	start headset-5 5 --le --agent display
	without ssp 6
	start headset-6 6 --agent keyboard --pin 1234567890123456
	start headset-7 7 --agent yes-no --confirm no
	start headset-8 8 --agent yes-no
) &
is_up() {
	await_that 120 test -e "$scratch/ready-$1" || failed "$1 does not start"
}
system_up
# All that follow are found while the PN GW searches.
on gateway "$room/start" bluetooth scan 300 --all >/dev/null 2>&1 &

is_up headset-1
expect 0 "done" pair headset-1
bond_is encrypted "the bond's key is not authenticated" headset-1
expect 0 "done" gw figure7 "$user" headset-1
ok "just works: nothing is asked, the stream counts as encrypted only, Figure 7 gives the key"
done_with headset-1

is_up headset-2
pair_begins headset-2
question "does .* show [0-9]\{6\}?"
there=$(number_there headset-2 "the same number? yes or no: " 1) && [ "$(number_here)" = "$there" ] ||
	failed "the numbers to be compared: \"$(number_here)\" and \"$there\""
answer headset-2 yes
pair_ends 0 "done"
bond_is authenticated "" headset-2
expect 0 "done" gw figure6 "$user" headset-2
ok "numeric comparison: the same number on both, the stream counts as authenticated, Figure 6 gives the key"
done_with headset-2

is_up headset-3
pair_begins headset-3
question "does .* show [0-9]\{6\}?"
number_there headset-3 "yes or no: " 1 >/dev/null || failed "headset-3 is not asked"
pne_type headset-3 no
pair_ends 1 "the pairing was refused"
pair_begins headset-3
question "does .* show [0-9]\{6\}?"
answer headset-3 no
pair_ends 1 "the pairing was refused"
pair_begins headset-3
question "does .* show [0-9]\{6\}?"
number_there headset-3 "yes or no: " 3 >/dev/null || failed "headset-3 is not asked"
pne_type headset-3 yes
answer headset-3 yes
pair_ends 0 "done"
ok "a comparison that is denied there, or here, ends in a verdict; the next try pairs"

is_up headset-4
pair_begins headset-4
question "type the passkey"
number_there headset-4 "enter the 6 digits" 1 >/dev/null
pne_type headset-4 "$(other "$(number_here)")"
pair_ends 1 "the PIN or passkey is not that of the device"
pair_begins headset-4
question "type the passkey"
number_there headset-4 "enter the 6 digits" 2 >/dev/null
pne_type headset-4 "$(number_here)"
pair_ends 0 "done"
bond_is authenticated "" headset-4
ok "a passkey typed at the device: a wrong one pairs nothing, the right one authenticates"
done_with headset-4

# Over LE: over BR/EDR a side that has display and keyboard counts as one with yes and no.
is_up headset-5
pair_begins headset-5
question "which 6 digits does"
answer headset-5 "$(other "$(number_there headset-5 "passkey to enter there: " 1)")"
pair_ends 1 "the PIN or passkey is not that of the device"
pair_begins headset-5
question "which 6 digits does"
answer headset-5 "$(number_there headset-5 "passkey to enter there: " 2)"
pair_ends 0 "done"
bond_is authenticated "" headset-5
ok "a passkey typed at the PN GW: a wrong one pairs nothing, the right one authenticates"
done_with headset-5

is_up headset-6
pair_begins headset-6
question "wants its PIN"
answer headset-6 1234567890123457
pair_ends 1 "the PIN or passkey is not that of the device"
pair_begins headset-6
question "wants its PIN"
answer headset-6 1234567890123456
pair_ends 0 "done"
bond_is encrypted "the bond's key is not authenticated" headset-6
ok "a PIN, for a device without Secure Simple Pairing: a wrong one pairs nothing, the right one proves nobody's identity"
done_with headset-6

# out_of_band MACHINE RADIO: what this side would say over NFC, as options of btmgmt, which does not end by itself
out_of_band() {
	on "$1" bash -c 'sed "/R with P-256/q" < <(exec vm-radio manage "$1" local-oob 2>/dev/null)' - "$2" |
		sed -n 's/^Hash C from P-192:/-h/p; s/^Randomizer R with P-192:/-r/p
			s/^Hash C from P-256:/-H/p; s/^Randomizer R with P-256:/-R/p' | tr '\n' ' '
}
# hand_over MACHINE RADIO ADDRESS WORDS: and that the device at ADDRESS said them
hand_over() {
	on "$1" bash -c 'grep -q -m 1 "data added" < <(exec vm-radio manage "$1" remote-oob $2 "$3" 2>/dev/null)' - "$2" "$4" "$3"
}
is_up headset-7
there=$(pne_address headset-7)
here=$(radio_address gateway 0)
hand_over gateway 0 "$there" "$(out_of_band pnes 7)" && hand_over pnes 7 "$here" "$(out_of_band gateway 0)" ||
	failed "the data out of band cannot be handed over"
expect 0 "done" pair headset-7
bond_is authenticated "" headset-7
ok "out of band: with data that the kernel was given on both sides nothing is asked, the bond authenticates"
done_with headset-7

# The device begins: it searches the PN GW and pairs.
is_up headset-8
expect 0 "can be discovered" gw bluetooth discoverable 60
there=$(pne_address headset-8)
on pnes - >"$scratch/begins" 2>&1 <<-SCRIPT &
	export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus-8
	device=/org/bluez/$(radio_hci pnes 8)/dev_${here//:/_}
	bluetoothctl --timeout 40 scan on >/dev/null &
	for ((i = 0; i < 200; i++)); do
		busctl introspect org.bluez \$device 2>/dev/null | grep -q Pair && break
		sleep 0.2
	done
	kill %1
	busctl --timeout 60 call org.bluez \$device org.bluez.Device1 Pair
SCRIPT
begins=$!
asked() {
	gw bluetooth questions >"$scratch/questions"
	grep -q "does $there .* show $(number_there headset-8 "yes or no: " 1)" "$scratch/questions"
}
await_that 60 asked || failed "nobody here is asked about headset-8: $(cat "$scratch/questions" "$scratch/begins")"
answer headset-8 yes
wait $begins || failed "headset-8 cannot pair: $(cat "$scratch/begins")"
bond_is authenticated "" headset-8
ok "a pairing that the device begins: it is asked here too, and the same number is there"
