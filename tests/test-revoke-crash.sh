#!/usr/bin/env bash
# Kill -9 of each process after each step of a revocation: once the PN GW has said that a device is revoked, it
# is carried through to the confirmed reset that the server knows of, without being asked again.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin revoke-crash
admin import-temporary-keys "$run/keys.csv" >/dev/null 2>&8

all_up() {
	: >"$run/log"
	launch_all headset-2
}
all_up
start register "$user"
start figure8 "$user"

cases=0
# try TEXT VICTIM: the process is killed when that is in the log.
try() {
	local text=$1 victim=$2 pid i
	cases=$((cases + 1))
	start figure7 "$user" headset-2 || {
		echo "Figure 7 before \"$text\", $victim: $(cat "$run/start.out")"
		bad=1
	}
	: >"$run/log"
	start revoke headset-2 &
	pid=$!
	for ((i = 0; i < 400; i++)); do
		grep -qF "$text" "$run/log" && break
		sleep 0.01
	done
	grep -qF "$text" "$run/log" || {
		echo "no \"$text\" in the log"
		bad=1
	}
	kill9 "$victim"
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	for name in server gateway headset-2; do
		kill9 "$name"
	done
	all_up
	for ((i = 0; i < 200; i++)); do
		start --kv revocations && grep -q "^entity=headset-2 .*reset=confirmed server_knows=true" "$run/start.out" && break
		sleep 0.1
	done
	if ((i == 200)); then
		echo "\"$text\", $victim killed: not carried through: $(cat "$run/start.out")"
		bad=1
	fi
	stop headset-2
	challenge=$(openssl rand -hex 16)
	if pne_fingerprint headset-2 >"$run/print.out" 2>&1; then
		echo "\"$text\", $victim killed: the PNE still has a key"
		bad=1
	fi
	: >"$run/log"
	launch_pne headset-2 pan-open none
	await "headset-2 is connected"
}

for victim in server gateway headset-2; do
	try "headset-2 is revoked" "$victim"
	try "done; reset: the user and the EUKey are erased" "$victim"
	try "headset-2: reset confirmed" "$victim"
done
stop gateway
if ! "$build/pngw-ledger" verify "$run/gateway.vault.ledger" >"$run/ledger.out" 2>&1; then
	echo "the ledger: $(cat "$run/ledger.out")"
	bad=1
fi
echo "$cases places to be killed at"
exit $bad
