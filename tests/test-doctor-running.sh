#!/usr/bin/env bash
# What the doctor finds of a PN GW that runs, each seen going wrong: its process, its files under it, its loop,
# its keys, its radio; and of a ledger, a clock and limits that are not as they were.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if ! command -v faketime >/dev/null; then
	echo "faketime is missing"
	exit 77
fi
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin doctor-running
# shellcheck source=tests/doctor.sh
. "$top/tests/doctor.sh"

# examine SCENE: pngwd that runs examines itself; its report as lines in $run/report
examine() {
	scene=$1
	ctl --json doctor >"$run/report.json" 2>"$run/report.err" || true
	table <"$run/report.json" >"$run/report" ||
		complain "$scene: no report: $(cat "$run/report.err" "$run/report.json")"
}
# offline SCENE COMMAND...: the same of one that does not run, begun by COMMAND
offline() {
	scene=$1
	shift
	"$@" "$(bin pngwd)" --config "$run/pngw.conf" --doctor --json >"$run/report.json" 2>"$run/report.err" || true
	/usr/bin/python3 "$top/tests/examined.py" <"$run/report.json" >"$run/report" ||
		complain "$scene: no report: $(cat "$run/report.err" "$run/report.json")"
}
mkdir "$run/medium"
sed -i "s|^vault = .*|vault = { path = \"$run/gateway.vault\"; key_file = \"$run/gateway.key\"; anchor = \"file:$run/medium/anchor\"; };\nkey_set = { count = 4; low_water = 2; lifetime = 30; };|" \
	"$run/pngw.conf"
cp "$run/pngw.conf" "$run/good.conf"
cp "$(bin pngwd)" "$run/pngwd"
launch_copy() {
	: >"$run/log"
	launch gateway "$run/pngwd" --config "$run/pngw.conf"
}
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_server
await "listening on"
launch_copy
await "WAN is up"
# The ledger's place is taken until its first entry is to be written.
mkdir "$run/gateway.vault.ledger"
launch_pne headset-2 pan-open none
await "headset-2 is connected"
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
examine "a folder where the ledger belongs"
is ledger.file failed "the ledger file is behind: Is a directory"
rmdir "$run/gateway.vault.ledger"
# As the server is before it has issued a set for the PNE.
/usr/bin/python3 -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))' "$run/server.db" "$run/older.db"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
examine "its place is free again"
is ledger.file ok
cp "$run/gateway.vault.ledger" "$run/older.ledger"
start figure7 "$user" headset-2 || complain "Figure 7: $(cat "$run/start.out")"
await "EUKeys proven to be held"

examine "all is well"
for id in program.current config.valid config.current control.bus process.core-limit process.dumpable process.loop pan.listen \
	wan.up vault.anchor ledger.file keys.revocations keys.reports keys.low keys.user keys.expiring; do
	is "$id" ok
done
! grep -q "malformed" "$run/log" || complain "the server was sent what it warns of: $(grep malformed "$run/log")"
# Begun by hand, it has no sandbox, and says so.
is process.no-new-privileges warning "NoNewPrivileges"
is process.seccomp warning "SystemCallFilter"
if [ "$(id -u)" = 0 ]; then
	is process.user warning "root"
	is process.capabilities warning "capabilities that it does not need"
fi

cp "$run/gateway.vault.ledger" "$run/newest.ledger"
cp "$run/older.ledger" "$run/gateway.vault.ledger"
examine "an older ledger was put back under it"
is ledger.proven ok
is ledger.head failed "the vault"
cp "$run/newest.ledger" "$run/gateway.vault.ledger"
stop gateway
# It is loaded before what the sanitizers want to be first.
asan=${ASAN_OPTIONS:-}:verify_asan_link_order=0
offline "a fortnight later" env ASAN_OPTIONS="$asan" faketime -f +14d
is keys.expiring ok
offline "four weeks later" env ASAN_OPTIONS="$asan" faketime -f +28d
is keys.expiring warning "1 of 1 pools has a key that expires soon: headset-2"
launch_copy
await "WAN is up"
await "headset-2 is connected"

cp "$run/pngwd" "$run/pngwd.new"
mv "$run/pngwd.new" "$run/pngwd"
examine "the program was replaced"
is program.current warning "restart pngwd"
sed -i 's/low_water = 2/low_water = 1/' "$run/pngw.conf"
examine "the file says something else"
is config.valid ok
is config.current warning "reload pngwd"
sed -i 's/^control/contrl/' "$run/pngw.conf"
examine "the file became invalid"
is config.valid failed "pngw.conf:"
is config.current not-applicable
cp "$run/good.conf" "$run/pngw.conf"
mv "$run/pan-secure" "$run/pan-moved"
examine "a socket was removed"
is pan.listen failed "restart pngwd"
mv "$run/pan-moved" "$run/pan-secure"

# A loop that turns for a moment at a time, and stands still in between; the examination outlasts a moment.
scene="the loop stands still"
ctl --json doctor >"$run/report.json" 2>"$run/report.err" &
asked=$!
while kill -0 "$asked" 2>/dev/null; do
	kill -STOP "${pid_of[gateway]}"
	sleep 0.8
	kill -CONT "${pid_of[gateway]}"
	sleep 0.05
done
wait "$asked" || true
table <"$run/report.json" >"$run/report"
is process.loop warning "takes the processor"

# With no WAN: keys are spent, what is to be told to the server waits, a revoked PNE is not there.
stop server
await "WAN is down"
mv "$run/medium" "$run/medium.away"
for n in 2 3; do
	start renew headset-2 || complain "renewal $n: $(cat "$run/start.out")"
done
examine "no WAN, no anchor"
is wan.up failed
is vault.anchor failed "bring the anchor's medium back"
is keys.reports warning "headset-2"
is keys.low warning "headset-2"
mv "$run/medium.away" "$run/medium"

# The server was restored from a copy that knows of no set.
rm "$run"/server.db*
cp "$run/older.db" "$run/server.db"
launch_server
for ((i = 0; i < 100; i++)); do
	examine "a server that forgot"
	grep -q "^keys.user	warning" "$run/report" && break
	sleep 0.1
done
is keys.user warning "1 of 1 pools waits for its user's password: headset-2"
stop server
await "WAN is down"
stop headset-2
await "headset-2 is gone"
start revoke pne headset-2 || true
examine "a PNE that is away was revoked"
is keys.revocations warning "bring these PNEs into reach"
stop gateway

offline "it was stopped" env
is process.user not-applicable
is ledger.head ok
cp "$run/gateway.vault.ledger" "$run/newest.ledger"
cp "$run/older.ledger" "$run/gateway.vault.ledger"
offline "an older ledger" env
is vault.open failed "is cut off at byte"
is ledger.proven ok
is ledger.head not-applicable
cp "$run/newest.ledger" "$run/gateway.vault.ledger"

export ASAN_OPTIONS=$asan
offline "ten days ago" faketime -f -10d
is clock.last failed "behind"
offline "the clock begins in 1970" faketime "1970-01-02 00:00:00"
is clock.build failed "the clock says 1970"

# Sealing anew meets a full disk, and goes on when there is space.
if ! unshare -m true 2>/dev/null; then
	echo "no mounts of its own here: vault.rekey was not tested with a full disk"
	exit "$bad"
fi
sed "s|^vault = .*|vault = { path = \"$run/medium/vault\"; key_file = \"$run/large.key\"; };|" "$run/good.conf" >"$run/pngw.conf"
: >"$run/log"
# shellcheck disable=SC2016 # for the shell in there
launch gateway unshare -m sh -c 'mount -t tmpfs -o size=4m,mode=700 none "$1/medium" &&
	"$2" "$1/medium/vault" "$1/large.key" 1000 && exec "$1/pngwd" --config "$1/pngw.conf"' \
	sh "$run" "$build/tests/make-vault"
await "ready"
there() {
	nsenter -m -t "${pid_of[gateway]}" "$@"
}
there sh -c "cat /dev/zero >$run/medium/rest; truncate -s -64k $run/medium/rest" 2>/dev/null
start vault rekey || true
examine "the disk is full"
is vault.rekey failed "records: No space left on device"
there rm "$run/medium/rest"
# The next write tries again.
start vault backup "$run/backup" || complain "backup: $(cat "$run/start.out")"
for ((i = 0; i < 100; i++)); do
	examine "there is space again"
	grep -q "^vault.rekey	ok" "$run/report" && break
	sleep 0.1
done
is vault.rekey ok
exit "$bad"
