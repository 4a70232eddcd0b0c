# shellcheck shell=bash
# shellcheck disable=SC1091,SC2154 # run sources vm.sh first
# One device after the other is paired by every association model, by the PN GW's commands; wrong answers and
# refusals end in a verdict and leave nothing that hinders the next try.
scenario "Each way to pair, right and wrong, one device after another"
. "$vm_top/system.sh"

# model NAME RADIO AGENT [OPTION...]: the PNE that BlueZ's questions there go to from now on
model() {
	local name=$1 radio=$2 agent=$3
	shift 3
	pne_up "$name" "$radio" --agent "$agent" "$@" || failed "$name does not start"
}

# bond_is LEVEL TEXT NAME: what the PN GW says of the bond's stream
bond_is() {
	local address
	address=$(pne_address "$3")
	expect 0 "done" gw bluetooth connect "$address"
	gateway_log "$address: $1: $2" 20 || failed "$3: its level is not $1 ($2)"
	expect 0 "being disconnected" gw bluetooth disconnect "$address"
	# shellcheck disable=SC2016 # expanded there
	# BlueZ ends the connection some time later, and with it any stream that began meanwhile.
	await_that 20 on gateway sh -c 'bluetoothctl info "$0" | grep -q "Connected: no"' "$address" ||
		failed "$3 stays connected"
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
# The number in what the PN GW says last; what headset NAME said last after TEXT.
number_here() {
	grep -oE '\b[0-9]{6}\b' "$scratch/pair" | tail -n 1
}
number_there() {
	vm_journal pnes -u "cpns-$1" -o cat | sed -n "s/.*$2: \([0-9]*\).*/\1/p" | tail -n 1
}
system_make 'adapter = "hci0";'
system_up
# All that follow are found while the PN GW searches.
on gateway "$room/start" bluetooth scan 300 --all >/dev/null 2>&1 &

model headset-1 1 just-works
expect 0 "done" pair headset-1
bond_is encrypted "the bond's key is not authenticated" headset-1
expect 0 "done" gw figure7 "$user" headset-1
ok "just works: nothing is asked, the stream counts as encrypted only, Figure 7 gives the key"
unit_stop pnes cpns-headset-1

model headset-2 2 yes-no
pair_begins headset-2
question "does .* show [0-9]\{6\}?"
number=$(number_here)
[ -n "$number" ] && [ "$number" = "$(number_there headset-2 'the same number. yes or no')" ] ||
	failed "the numbers to be compared: \"$number\" and \"$(number_there headset-2 'the same number. yes or no')\""
answer headset-2 yes
pair_ends 0 "done"
bond_is authenticated "" headset-2
expect 0 "done" gw figure6 "$user" headset-2
ok "numeric comparison: the same number on both, the stream counts as authenticated, Figure 6 gives the key"
unit_stop pnes cpns-headset-2

model headset-3 3 yes-no --confirm no
pair_begins headset-3
question "does .* show [0-9]\{6\}?"
pair_ends 1 "the pairing was refused"
unit_stop pnes cpns-headset-3
model headset-3 3 yes-no
pair_begins headset-3
question "does .* show [0-9]\{6\}?"
answer headset-3 no
pair_ends 1 "the pairing was refused"
pair_begins headset-3
question "does .* show [0-9]\{6\}?"
answer headset-3 yes
pair_ends 0 "done"
ok "a comparison that is denied there, or here, ends in a verdict; the next try pairs"
unit_stop pnes cpns-headset-3

model headset-4 4 keyboard --confirm ask
pair_begins headset-4
question "type the passkey"
number=$(number_here)
pne_type headset-4 "$(printf %06d $(((10#$number + 1) % 1000000)))"
pair_ends 1 "the PIN or passkey is not that of the device"
pair_begins headset-4
question "type the passkey"
pne_log headset-4 "enter the 6 digits"
pne_type headset-4 "$(number_here)"
pair_ends 0 "done"
bond_is authenticated "" headset-4
ok "a passkey typed at the device: a wrong one pairs nothing, the right one authenticates"
unit_stop pnes cpns-headset-4
