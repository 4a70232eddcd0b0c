#!/usr/bin/env bash
# What the service manager hears of the daemons: ready when they serve, and signs of life only while the loop
# turns and the vault, or the store, answers.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
folder=$(mktemp -d /tmp/pngw-notify.XXXXXX)
end() {
	trap - EXIT
	rm -f "$folder/hang"
	system_stop
	rm -rf "$folder"
}
trap end EXIT
touch "$folder/log"
exec 8>>"$folder/log"
system_make "$folder"

# listen NAME: its messages come to $run/NAME.notify
listen() {
	/usr/bin/python3 "$top/tests/notify-log.py" "$run/$1.socket" "$run/$1.notify" 2>&8 &
	pid_of[$1.notify]=$!
	hears "$1" listening
}

# hears NAME LINE [HOW OFTEN]: within 30 s
hears() {
	local i
	touch "$run/$1.notify"
	for ((i = 0; i < 600; i++)); do
		[ "$(grep -cxF -- "$2" "$run/$1.notify")" -ge "${3:-1}" ] && return
		sleep 0.05
	done
	complain "the manager of $1 never heard: $2"
	tail -n 5 "$run/$1.notify"
}
signs() {
	grep -c '^WATCHDOG=1$' "$run/$1.notify" || true
}
# alive NAME: three more signs of life come
alive() {
	hears "$1" WATCHDOG=1 $(($(signs "$1") + 3))
}
# dead NAME WHY: after one that was under way, no more come
dead() {
	local before
	sleep 0.3
	before=$(signs "$1")
	sleep 1.5
	[ "$(signs "$1")" = "$before" ] || complain "a sign of life of $1 although $2"
}

# watched NAME PROGRAM...: with 600 ms of patience
watched() {
	local name=$1
	shift
	# shellcheck disable=SC2016 # WATCHDOG_PID is the program's own
	launch "$name" env NOTIFY_SOCKET="$run/$name.socket" WATCHDOG_USEC=600000 PNGW_HANG="$run/hang" \
		ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD="$run/hang.so" \
		bash -c 'export WATCHDOG_PID=$$; exec "$@"' - "$@"
}
gcc -O1 -D_GNU_SOURCE -shared -fPIC -o "$run/hang.so" "$top/tests/hang-sync.c"

listen server
watched server "$(bin cpns-serverd)" --config "$run/server.conf"
hears server READY=1
grep -qF "listening on" "$run/log" || complain "the server is ready and does not listen"
alive server

# The vault cannot be made durable: not ready.
listen gateway
touch "$run/hang"
watched gateway "$(bin pngwd)" --config "$run/pngw.conf"
hears gateway "STATUS=opening the vault"
dead gateway "its vault is being opened"
! grep -q '^READY=1' "$run/gateway.notify" || complain "ready before the vault is open"
rm "$run/hang"
hears gateway READY=1
[ -S "$run/pan-secure" ] || complain "ready, and no PNE can connect"
alive gateway
await "WAN is up"
hears gateway "$(grep -o 'WAN is up.*' "$run/log" | head -n 1 | sed 's/^/STATUS=/')"

# Read again.
kill -HUP "${pid_of[gateway]}" "${pid_of[server]}"
for name in gateway server; do
	hears "$name" RELOADING=1
	hears "$name" READY=1 2
	[ "$(grep -xE 'RELOADING=1|READY=1' "$run/$name.notify" | tail -n 1)" = READY=1 ] || complain "$name: still reading"
done

# The loop does not turn.
kill -STOP "${pid_of[gateway]}"
dead gateway "it is stopped"
kill -CONT "${pid_of[gateway]}"
alive gateway

# A write to the vault hangs.
await "WAN is up"
touch "$run/hang"
start figure8 "$user" &
asked=$!
start register "$user" &
sleep 0.5
dead gateway "the vault's disk hangs"
rm "$run/hang"
wait "$asked" || true
alive gateway

# The vault is there no more.
mv "$run/gateway.vault" "$run/elsewhere"
hears gateway "STATUS=the vault cannot be read: its file was moved or removed"
dead gateway "its vault is gone"
mv "$run/elsewhere" "$run/gateway.vault"
alive gateway
mv "$run/server.db" "$run/elsewhere"
hears server "STATUS=the store cannot be read: its file was moved or removed"
dead server "its store is gone"
mv "$run/elsewhere" "$run/server.db"
alive server

stop gateway
hears gateway STOPPING=1
stop server
hears server STOPPING=1

# Of a manager that has no watchdog: ready, and nothing more.
rm -f "$run/gateway.socket"
stop gateway.notify
listen gateway
launch gateway env NOTIFY_SOCKET="$run/gateway.socket" "$(bin pngwd)" --config "$run/pngw.conf"
hears gateway READY=1
dead gateway "nobody asked"
[ "$(signs gateway)" = 0 ] || complain "signs of life that nobody asked for"
exit $bad
