#!/usr/bin/env bash
# Strangers flood cpns-serverd and do not read its answers, each in a way of its own (tests/flood.py): it stays small,
# serves an honest client meanwhile, and gets rid of them.
set -euo pipefail
# shellcheck source=tests/server-alone.sh
. "${PNGW_SRCDIR:?}/tests/server-alone.sh"

echo 'idle_seconds = 5;' >>"$run/server.conf"
start
grown_max=24576 # KiB
peak() {
	awk '/^VmHWM/ { print $2 }' "/proc/$pid/status"
}
before=$(peak)

flooders=()
for flood in "get 1" "post 1" "end 1" "key-update 1" "ping 1" "settings 1" "streams 1" "reset 1" "bodies 16"; do
	read -r kind connections <<<"$flood"
	python3 "$PNGW_SRCDIR/tests/flood.py" 127.0.0.1 "$port" "$run/certs/ca.pem" "$kind" "$connections" 64000000 40 \
		>"$run/$kind.out" 2>&1 &
	flooders+=("$! $kind")
done
printf 'x' >"$run/honest"
for _ in $(seq 4); do
	status=$(post "$run/honest") || die "no answer in the flood"
	expect "$status" "400 2" "an honest client in the flood"
	sleep 0.3
done
bad=0
for flooder in "${flooders[@]}"; do
	read -r flooder kind <<<"$flooder"
	wait "$flooder" || bad=1
	cat "$run/$kind.out"
done
grown=$(($(peak) - before))
echo "the server has grown by $grown KiB"
[ "$bad" = 0 ] || die "a connection that nothing closed"
[ "$grown" -lt "$grown_max" ] || die "the server has grown by $grown KiB"
expect "$(post "$run/honest")" "400 2" "an honest client after the flood"
kill "$pid"
wait "$pid" || die "the server did not stop cleanly"
pid=
echo "flood: all good"
