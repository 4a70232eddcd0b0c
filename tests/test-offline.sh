#!/usr/bin/env bash
# The PN GW is started with no WAN: it serves its PNEs from the pools, also across kill -9, and when the
# server comes back each receipt is reported exactly once and both sides hold the same key.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin offline
# No filling up in between: what is issued is what Figure 7 brought.
sed -i "s|^control = .*|&\nkey_set = { count = 4; low_water = 0; };|" "$run/pngw.conf"

admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_all headset-2
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
start figure7 "$user" headset-2 || complain "Figure 7: $(cat "$run/start.out")"
await "headset-2 of alice: done, key index 1; delivery report: 1 EUKeys proven to be held"
stop gateway
stop server

: >"$run/log"
launch_gateway
await "WAN is down"
await "headset-2 is connected"
start renew headset-2 || complain "renewal with no WAN: $(cat "$run/start.out")"
grep -q "key index 2" "$run/start.out" || complain "not index 2: $(cat "$run/start.out")"
start figure7 "$user" headset-2 || complain "Figure 7 with no WAN: $(cat "$run/start.out")"
grep -q "key index 3" "$run/start.out" || complain "not index 3: $(cat "$run/start.out")"
kill9 gateway
: >"$run/log"
launch_gateway
await "WAN is down"
await "headset-2 is connected"
start renew headset-2 || complain "renewal after kill -9: $(cat "$run/start.out")"
grep -q "key index 4" "$run/start.out" || complain "not index 4: $(cat "$run/start.out")"
if start renew headset-2; then
	complain "a fifth key from a pool of four: $(cat "$run/start.out")"
fi
grep -qF GATEWAY_POOL_EMPTY "$run/start.out" || complain "no such verdict: $(cat "$run/start.out")"
start pool headset-2 || complain "pool: $(cat "$run/start.out")"

: >"$run/log"
launch_server
await "WAN is up"
await "EUKeys proven to be held"
# A second session has nothing further to report.
stop server
await "WAN is down"
launch_server
sleep 1
proven=$(awk '/EUKeys proven to be held/ { for (i = 1; i < NF; i++) if ($(i + 1) == "EUKeys") n += $i } END { print n + 0 }' "$run/log")
[ "$proven" = 3 ] || complain "$proven receipts were reported in place of 3: $(grep -F proven "$run/log")"
# The pool is filled up without the user.
for ((i = 0; i < 100; i++)); do
	start --kv pool headset-2 && grep -q "left=4" "$run/start.out" && break
	sleep 0.1
done
grep -q "left=4" "$run/start.out" || complain "the pool is not filled up: $(cat "$run/start.out")"
start renew headset-2 || complain "renewal once the WAN is back: $(cat "$run/start.out")"
stop headset-2
challenge=$(openssl rand -hex 16)
same_key headset-2 "$(pne_fingerprint headset-2)" || complain "the server holds another key"

"$(bin pngw-ledger)" verify "$run/gateway.vault.ledger" >"$run/verify.out" 2>&1 ||
	complain "the ledger: $(cat "$run/verify.out")"

exit $bad
