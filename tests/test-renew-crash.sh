#!/usr/bin/env bash
# Kill -9 of the PN GW or the PNE in the middle of renewals from the pool, with no WAN: nothing is sent twice as another
# message, an interrupted renewal goes on by itself, and in the end all sides hold the same key.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin renew-crash
sed -i "s|^control = .*|&\nkey_set = { count = 30; low_water = 0; };|" "$run/pngw.conf"

admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_all headset-2
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure7 "$user" headset-2 || complain "Figure 7: $(cat "$run/start.out")"
stop server
await "WAN is down"

cases=0
# try TEXT VICTIM: it is killed when that is in the log, and comes back.
try() {
	local text=$1 victim=$2 pid i
	cases=$((cases + 1))
	: >"$run/log"
	start renew headset-2 &
	pid=$!
	for ((i = 0; i < 2000; i++)); do
		grep -qF "$text" "$run/log" && break
		sleep 0.002
	done
	kill9 "$victim"
	wait "$pid" 2>/dev/null || true
	: >"$run/log"
	if [ "$victim" = gateway ]; then
		launch_gateway
	else
		launch_pne headset-2 pan-open none
	fi
	await "headset-2 is connected"
	for ((i = 0; i < 200; i++)); do
		start --kv pool headset-2 && grep -q "unconfirmed=0" "$run/start.out" && break
		sleep 0.1
	done
	((i < 200)) || complain "\"$text\", $victim killed: not carried through: $(cat "$run/start.out")"
}

for _ in 1 2 3; do
	for victim in gateway headset-2; do
		try "Fig. 7 step 6" "$victim"
		try "Fig. 7 step 7" "$victim"
		try "headset-2 of alice: done, key index" "$victim"
	done
done
start renew headset-2 || complain "the last renewal: $(cat "$run/start.out")"
index=$(grep -o "key index [0-9]*" "$run/start.out" | tail -n 1 | tr -dc 0-9)
# Each renewal took one key at most: 1 by Figure 7, then one a renewal.
((index <= 2 + cases)) || complain "index $index after $cases renewals: keys were passed over"
((index > 2 + cases / 2)) || complain "index $index after $cases renewals: hardly any was done"

: >"$run/log"
launch_server
await "WAN is up"
await "EUKeys proven to be held"
stop headset-2
stop gateway
challenge=$(openssl rand -hex 16)
same_key headset-2 "$(pne_fingerprint headset-2)" || complain "the server holds another key"
"$(bin pngw-ledger)" verify "$run/gateway.vault.ledger" >"$run/verify.out" 2>&1 ||
	complain "the ledger: $(cat "$run/verify.out")"
echo "$cases places to be killed at"
exit $bad
