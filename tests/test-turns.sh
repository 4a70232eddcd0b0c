#!/usr/bin/env bash
# A vault with very many records: what walks over all of them does so in many turns of the loop, and others are
# served in between. It counts processor time, so a busy machine does not matter.
#   tests/test-turns.sh [RECORDS]     4000; half as many PNEs
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
records=${1:-4000}
if ! command -v dbus-daemon >/dev/null || ! /usr/bin/python3 -c 'import dbus' 2>/dev/null; then
	echo "dbus-daemon or python3-dbus is missing"
	exit 77
fi
iterations=20000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin turns
"$build/tests/make-vault" "$run/gateway.vault" "$run/gateway.key" "$records" pnes
gcc -O1 -D_GNU_SOURCE -shared -fPIC -o "$run/turns.so" "$top/tests/preload-turns.c"
truncate -s 24 "$run/turns"
launch gateway env LD_PRELOAD="$run/turns.so" PNGW_TURNS="$run/turns" "$(bin pngwd)" --config "$run/pngw.conf"
await "ready"
await "control bus: this is"
# What it has is looked at once after it is ready.
start elements || complain "elements: $(cat "$run/start.out")"
/usr/bin/python3 "$top/tests/turns.py" "unix:path=$run/bus" "$run/turns" 0.35 >"$run/turns.out" 2>&1 ||
	complain "turns: $(cat "$run/turns.out")"
cat "$run/turns.out"
devices=$((records / 2))
grep -q "^ListElements: $devices;" "$run/turns.out" || complain "not every PNE is listed"
grep -q "^ListPools: $devices;" "$run/turns.out" || complain "not every pool is listed"
grep -q "^Examine: $devices of $devices pools" "$run/turns.out" || complain "not every pool is examined"
grep -q "^RevokeAll: $((devices < 1024 ? devices : 1024)) verdicts kept, asked [1-9]" "$run/turns.out" ||
	complain "the verdicts that are kept"
[ "$(grep -c "verdict: headset-" "$run/log")" = "$devices" ] || complain "not every PNE is revoked"
exit "$bad"
