#!/usr/bin/env bash
# Records of one device in the PN GW's vault are altered: pngwd names the device and what mends it, serves all
# others, and is whole again after that.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin damage
admin import-temporary-keys "$run/keys.csv" >/dev/null 2>&8
launch_server
await "listening on"
launch_gateway
await "WAN is up"
launch_pne headset-2 pan-open none
launch_pne headset-3 pan-open none
await "headset-2 is connected"
await "headset-3 is connected"
start register "$user"
start figure8 "$user"
start figure7 "$user" headset-2 6
start figure7 "$user" headset-3 3
stop gateway

# Names in the file are hashes: headset-2 is the owner with the most EUKeys (kind 3).
python3 - "$run/gateway.vault" <<-'PYTHON'
	import sqlite3
	import sys

	db = sqlite3.connect(sys.argv[1])
	owner, count = db.execute("SELECT substr(name, 1, 17), count(*) FROM record WHERE substr(name, 1, 1) = x'03' "
	                          "GROUP BY 1 ORDER BY 2 DESC LIMIT 1").fetchone()
	assert count >= 5, count
	for name, sealed in db.execute("SELECT name, sealed FROM record WHERE substr(name, 1, 17) = ?", (owner,)).fetchall():
	    altered = bytearray(sealed)
	    altered[len(sealed) // 2] ^= 4
	    db.execute("UPDATE record SET sealed = ? WHERE name = ?", (bytes(altered), name))
	db.commit()
PYTHON

: >"$run/log"
launch_gateway
await "WAN is up"
await "damaged records (EUKeys) of headset-2: run Figure"
if grep "damaged" "$run/log" | grep -v headset-2; then
	echo "more is called damaged than is"
	bad=1
fi
if ! start vault status || ! grep -q "damaged records (EUKeys) of headset-2" "$run/start.out"; then
	echo "vault status does not name it: $(cat "$run/start.out")"
	bad=1
fi
await "headset-2 is connected"
await "headset-3 is connected"
# Without the server headset-3 is served from its pool, and headset-2 has the right verdict.
stop server
if ! start figure7 "$user" headset-3; then
	echo "headset-3, without the server:"
	cat "$run/start.out"
	bad=1
fi
if start figure7 "$user" headset-2 || ! grep -qF "[GATEWAY_VAULT_DAMAGED]" "$run/start.out"; then
	echo "headset-2, without the server:"
	cat "$run/start.out"
	bad=1
fi
launch_server
for ((i = 0; i < 100; i++)); do
	start figure8 "$user" && break
	sleep 0.1
done
for name in headset-3 headset-2; do
	if ! start figure7 "$user" "$name"; then
		echo "$name, afterwards:"
		cat "$run/start.out"
		bad=1
	fi
done
stop gateway
: >"$run/log"
launch_gateway
await "WAN is up"
if grep damaged "$run/log"; then
	echo "Figure 7 did not mend it"
	bad=1
fi
exit $bad
