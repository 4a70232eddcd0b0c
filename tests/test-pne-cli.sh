#!/usr/bin/env bash
# cpns-pne as a user meets it: exit codes, what it refuses, and that it stops cleanly.
set -euo pipefail
pne=${PNGW_BUILDDIR:?}/cpns-pne
folder=$(mktemp -d /tmp/test-pne-cli.XXXXXX)
trap 'rm -rf "$folder"' EXIT
failed=0

expect() { # EXIT-CODE WHAT COMMAND...
	local want=$1 what=$2 got=0
	shift 2
	"$@" >"$folder/out" 2>&1 || got=$?
	if [ "$got" != "$want" ]; then
		echo "$what: exit code $got, not $want:"
		cat "$folder/out"
		failed=1
	fi
}

says() { # WHAT TEXT
	if ! grep -qF -- "$2" "$folder/out"; then
		echo "$1: does not say '$2' but:"
		cat "$folder/out"
		failed=1
	fi
}

online=(--entity h --state "$folder/state" --connect "unix:$folder/pan")
printf 'entity_id,form,temporary_key\nh-1,hex,00112233445566778899aabbccddeeff\n' >"$folder/keys"
printf 'h-2,passphrase,"canary, ""quoted"""\n' >>"$folder/keys"

expect 64 "no arguments" "$pne"
expect 64 "an option it does not know" "$pne" "${online[@]}" --frobnicate
expect 64 "an address of no form" "$pne" --entity h --state "$folder/state" --connect nowhere
expect 64 "an Entity ID of the wrong characters" "$pne" --entity 'h/1' --state "$folder/state" --connect unix:/x
expect 64 "a level that is none" "$pne" "${online[@]}" --security maximal
expect 64 "a UI without a user" "$pne" "${online[@]}" --ui
expect 64 "a count of nothing" "$pne" "${online[@]}" --count 0

bluez=(--entity h --state "$folder/state" --bearer bluez)
expect 64 "a bearer that is none" "$pne" --entity h --state "$folder/state" --bearer pigeon
expect 64 "an agent that is none" "$pne" "${bluez[@]}" --agent parrot
expect 64 "a PN GW of no Bluetooth address" "$pne" "${bluez[@]}" --gateway 00:11
expect 64 "a PIN of 17 characters" "$pne" "${bluez[@]}" --agent keyboard --pin 12345678901234567
expect 64 "a local address on Bluetooth" "$pne" "${bluez[@]}" --connect "unix:$folder/pan"
expect 64 "a Bluetooth address on a local bearer" "$pne" "${online[@]}" --gateway 00:1B:DC:10:01:00
expect 64 "an adapter that can never be" "$pne" "${bluez[@]}" --adapter "h c"
says "an adapter that can never be" "no adapter can be called that"

# started WHAT TEXT COMMAND...: in the background as $pid, until it has said TEXT into $folder/log.
started() {
	local what=$1 text=$2 i
	shift 2
	"$@" 2>"$folder/log" &
	pid=$!
	for ((i = 0; i < 1200; i++)); do
		grep -qF -- "$text" "$folder/log" && return 0
		sleep 0.05
	done
	echo "$what: does not say '$text' but:"
	cat "$folder/log"
	failed=1
}

# stops WHAT: it does, with exit code 0, however often it is told to.
stops() {
	local got=0
	while kill -TERM "$pid" 2>/dev/null; do
		sleep 0.001
	done &
	wait "$pid" || got=$?
	[ "$got" = 0 ] || { echo "$1: SIGTERM: exit code $got"; cat "$folder/log"; failed=1; }
}

started "Bluetooth without a D-Bus" "no D-Bus system bus" \
	env DBUS_SYSTEM_BUS_ADDRESS="unix:path=$folder/bus" "$pne" "${bluez[@]}" --agent just-works
stops "Bluetooth without a D-Bus"

chmod 644 "$folder/keys"
expect 64 "a key file that others can read" "$pne" "${online[@]}" --temporary-key-file "$folder/keys"
says "a key file that others can read" "0600"
chmod 600 "$folder/keys"
printf 'h-1,hex,0011\n' >"$folder/short"
chmod 600 "$folder/short"
expect 64 "a Temporary Key that is too short" "$pne" "${online[@]}" --count 1 --temporary-key-file "$folder/short"
says "a Temporary Key that is too short" "line 1"

# Stops cleanly on a signal, with its Temporary Keys burnt in.
started "two PNEs" "cannot be reached" "$pne" "${online[@]}" --count 2 --temporary-key-file "$folder/keys"
expect 2 "a vault that another process has open" "$pne" --entity h-1 --state "$folder/state" --fingerprint 00
stops "two PNEs"
for name in h-1 h-2; do
	for file in "$folder/state/$name.vault" "$folder/state/$name.key"; do
		[ "$(stat -c %a "$file")" = 600 ] || { echo "$file is not 0600"; failed=1; }
	done
done
[ "$(stat -c %a "$folder/state")" = 700 ] || { echo "the state folder is not 0700"; failed=1; }

expect 1 "a fingerprint of no key" "$pne" --entity h-1 --state "$folder/state" --fingerprint 00
says "a fingerprint of no key" "holds no EUKey"
expect 0 "a reset" "$pne" --entity h --count 2 --state "$folder/state" --reset
expect 1 "a reset of nothing" "$pne" --entity h-3 --state "$folder/state" --reset

# shellcheck disable=SC2317 # called through expect
password() {
	printf 'canary-password\n' | "$@"
}
expect 2 "no PN GW until the deadline" password "$pne" "${online[@]}" --ui --user alice --once --deadline 1
says "no PN GW until the deadline" "PAN_LOST"
# shellcheck disable=SC2317 # called through expect
no_password() {
	"$@" </dev/null
}
expect 64 "no password" no_password "$pne" "${online[@]}" --ui --user alice --once

if grep -rqa 'canary' "$folder/log" "$folder/out" "$folder/state"; then
	echo "a secret is in a log or in a file"
	failed=1
fi
exit $failed
