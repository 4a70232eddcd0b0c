#!/usr/bin/env bash
# cpns-serverd is told to stop while it computes a password hash: it stops cleanly, the PN GW lives on,
# and the same registration succeeds once the server is back.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=2000000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
folder=$(mktemp -d)
touch "$folder/log"
exec 8>>"$folder/log"
trap 'system_stop; rm -rf "$folder"' EXIT

die() {
	echo "FAILED: $*"
	tail -n 30 "$folder/log"
	exit 1
}

system_make "$folder"
launch_server
await "listening on"
launch_gateway
await "WAN is up"
start register "$user" &
first=$!
await "Fig. 5 step 2"
sleep 0.3
kill -TERM "${pid_of[server]}"
code=0
wait "${pid_of[server]}" || code=$?
unset "pid_of[server]"
[ "$code" = 0 ] || die "the server stopped with $code"
grep -q "SERVER $server: info: stopped" "$folder/log" || die "no clean stop"
launch_server
wait "$first" || true
kill -0 "${pid_of[gateway]}" || die "the PN GW has gone away"
again=no
for _ in 1 2 3 4 5; do
	if start register "$user"; then
		again=yes
		break
	fi
	sleep 1
done
[ "$again" = yes ] || die "the registration does not succeed afterwards"
echo "server stop: all good"
