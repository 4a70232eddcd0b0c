#!/usr/bin/env bash
# The control API of a whole PN GW, with its server and two PNEs, on a bus of its own.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if ! command -v dbus-daemon >/dev/null || ! /usr/bin/python3 -c 'import dbus, gi.repository' 2>/dev/null; then
	echo "dbus-daemon, python3-dbus or python3-gi is missing"
	exit 77
fi
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
folder=$(mktemp -d /tmp/pngw-api.XXXXXX)
trap 'system_stop; rm -rf "$folder"' EXIT
touch "$folder/log"
exec 8>>"$folder/log"
iterations=100000
system_make "$folder"
# The bus comes later, and lets other users in too.
stop bus
sed -i "s|<allow own='\*'/>|&<allow user='*'/>|" "$run/bus.conf"
sed -i 's|^control = { bus = .*"; };|control = { bus = "unix:path='"$run"'/bus"; agent_wait = 1000; lockout = 2; };|' \
	"$run/pngw.conf"
# Clients of another user get as far as the bus.
chmod 711 "$run"
export PNGW_TEST_REPLAY
PNGW_TEST_REPLAY=$(bin pngw-replay)
export PNGW_TEST_RUN=$run PNGW_TEST_CHALLENGE=0011223344556677 PNGW_TEST_CANARY=$password
launch_server
# A wrong PIN of more than a quarter of an hour ago does not count.
echo "65534 1 0 $(($(date +%s) - 1000)) 0" >"$run/pins.wrong"
launch_gateway
await "ready"
launch_pne headset-2 pan-secure authenticated
launch_pne headset-3 pan-open none
await "PNE headset-2 is connected"
await "PNE headset-3 is connected"
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&1
export PNGW_TEST_PNE=${pid_of[headset-2]}
/usr/bin/python3 "$top/tests/api-client.py" "$top/doc/control-api.md" || {
	tail -n 40 "$run/log"
	exit 1
}
if grep -qF "$password" "$run/log" "$run"/*.out; then
	echo "the password is in an output"
	exit 1
fi
