#!/usr/bin/env bash
# pngwd --doctor: all is well on a healthy system; and what is broken, one thing after the other, is found
# out by its own check, with a remedy, while what depends on it says that and no more. And pngwd that runs
# examines itself after a procedure has failed.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin doctor
# shellcheck source=tests/doctor.sh
. "$top/tests/doctor.sh"

# Examines with $run/pngw.conf; the report as lines in $run/report.
examine() {
	code=0
	"$(bin pngwd)" --config "$run/pngw.conf" --doctor --json >"$run/report.json" 2>"$run/report.err" || code=$?
	/usr/bin/python3 "$top/tests/examined.py" <"$run/report.json" >"$run/report" ||
		complain "no report ($code): $(cat "$run/report.err" "$run/report.json")"
	cat "$run/report.json" >>"$run/reports"
}

# The configuration as it was, with changes by sed.
scene() {
	scene=$1
	shift
	sed "$@" "$run/good.conf" >"$run/pngw.conf"
}

# What is preloaded comes before what the sanitizers want to be first.
asan=${ASAN_OPTIONS:-}:verify_asan_link_order=0

# The table of the manual is made by the program.
awk '/^\| check \|/ { on = 1 } on' "$top/doc/doctor.md" >"$run/manual"
"$(bin pngwd)" --list-checks | cmp - "$run/manual" ||
	complain "doc/doctor.md: replace its table by what pngwd --list-checks says"

# A system in good order: three keys, an anchor, a ledger, a backup.
mkdir "$run/medium" "$run/empty"
printf 'a passphrase of the operator\n' >"$run/passphrase"
chmod 600 "$run/passphrase"
sed -i "s|^vault = .*|vault = { path = \"$run/gateway.vault\"; key_file = \"$run/gateway.key\"; second_key_file = \"$run/second.key\"; passphrase_file = \"$run/passphrase\"; anchor = \"file:$run/medium/anchor\"; };|" \
	"$run/pngw.conf"
cp "$run/pngw.conf" "$run/good.conf"
launch_server
await "listening on"
launch_gateway
await "WAN is up"
start register "$user" || complain "registration: $(cat "$run/start.out")"
# An older copy for later; its ledger has nothing yet.
stop gateway
cp "$run/gateway.vault" "$run/older.vault"
: >"$run/log"
launch_gateway
await "WAN is up"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
start vault backup "$run/backup" || complain "backup: $(cat "$run/start.out")"

# While pngwd runs the vault is its own, and that is no failure.
scene "pngwd runs" ''
examine
is vault.open not-applicable "pngwd has it open"
is keys.low not-applicable "the vault is not open"
[ "$code" = 0 ] || complain "exit code $code while pngwd runs"
stop gateway

scene "all is well" ''
examine
[ "$code" = 0 ] || complain "exit code $code of a healthy system"
grep -P "\t(warning|failed)\t" "$run/report" && complain "a healthy system has the above"
for id in program.current program.libraries process.owner process.core-limit process.dumpable \
	process.locked-memory process.open-files config.valid config.mode control.bus clock.build clock.last \
	files.folder files.vault disk.space disk.inodes disk.flush vault.open vault.key vault.second-key \
	vault.passphrase vault.wraps vault.wrap-rows vault.records vault.rekey vault.rollback vault.anchor \
	vault.backup ledger.file ledger.proven ledger.head ledger.size tls.ca tls.certificate tls.key \
	tls.match tls.chain tls.name network.resolve network.connect clock.server network.tls network.mutual \
	network.http network.answer pan.secure keys.revocations keys.reports keys.low keys.expiring; do
	is "$id" ok
done
for id in process.user process.seccomp config.current tls.psk wan.up bluetooth.bus bluetooth.nap pan.listen keys.user; do
	is "$id" not-applicable
done
"$(bin pngwd)" --config "$run/pngw.conf" --doctor >"$run/text"
grep -q "^ok       vault.open: " "$run/text" || complain "no text: $(cat "$run/text")"
grep -q "^[0-9]* checks: .* 0 warnings, 0 failed" "$run/text" || complain "no summary: $(tail -1 "$run/text")"
ls "$run"/*.examined 2>/dev/null && complain "the file that was flushed was left behind"

scene "modes" ''
chmod 666 "$run/pngw.conf"
chmod 755 "$run"
chmod 640 "$run/gateway.vault"
chmod 644 "$run/certs/gateway.key"
examine
[ "$code" = 1 ] || complain "exit code $code with failed checks"
is config.mode failed "go-w"
is files.folder failed "chmod 0700"
is files.vault failed "chmod 0600"
is tls.key failed "chmod 0600"
is tls.match ok
chmod 644 "$run/pngw.conf"
chmod 700 "$run"
chmod 600 "$run/gateway.vault" "$run/certs/gateway.key"

# What main does comes to nothing, and core files are wanted.
preload_build
ulimit -S -c "$(ulimit -H -c)"
scene "an old library, nothing is hardened" ''
ASAN_OPTIONS=$asan LD_PRELOAD=$run/preload.so examine
is program.libraries failed "libuv is 1.2.3, and pngwd was built with "
is process.dumpable failed "others of its user can read its memory"
if [ "$(ulimit -c)" = 0 ]; then
	echo "no core file is allowed here: process.core-limit was not tested"
else
	is process.core-limit failed "the limit of core files is not 0"
fi
ulimit -S -c 0

scene "no authorities, no pre-shared key" "s|ca = \"[^\"]*\";|ca = \"$run/passphrase\"; psk_file = \"$run/certs/none\";|"
examine
is tls.ca failed "holds no PEM certificate"
is tls.chain not-applicable
is tls.psk failed "0600"
is network.resolve not-applicable
is network.tls not-applicable
is vault.open ok

scene "an expired certificate of somebody else" "s|certificate = \"[^\"]*\"|certificate = \"$run/certs/expired-server.pem\"|"
examine
is tls.certificate failed "expired 1 days ago"
is tls.match failed "does not match"
is tls.name failed "CN"

openssl req -x509 -key "$run/certs/gateway.key" -days 20 -subj "/CN=$gateway" -out "$run/certs/soon.pem" 2>/dev/null
cp "$run/certs/soon.pem" "$run/certs/soon-ca.pem"
scene "a certificate of an unknown authority that expires soon" \
	"s|certificate = \"[^\"]*\"|certificate = \"$run/certs/soon.pem\"|"
examine
is tls.certificate warning "expires in"
is tls.chain warning "does not lead to"
is tls.match ok
is tls.name ok
is network.answer failed

scene "another authority" "s|ca = \"[^\"]*\"|ca = \"$run/certs/other-ca.pem\"|"
examine
is tls.ca ok
is network.connect ok
is network.tls failed "unknown CA"
is network.answer not-applicable "no TLS connection"

scene "another path" 's|path = "/cpns"|path = "/elsewhere"|'
examine
is network.tls ok
is network.answer failed "404"

scene "no such name" "s|host = \"[^\"]*\"|host = \"$(printf 'x%.0s' {1..70}).invalid\"|"
examine
is network.resolve failed "name servers"
is network.connect not-applicable

# A server of another kind, of another time.
other() { # CERTIFICATE KEY STATUS
	stop other
	rm -f "$run/other.port"
	/usr/bin/python3 "$top/tests/https-server.py" "$address" "$run/certs/$1" "$run/certs/$2" "$3" \
		>"$run/other.port" 2>&8 &
	pid_of[other]=$!
	for ((i = 0; i < 600; i++)); do
		[ -s "$run/other.port" ] && break
		sleep 0.05
	done
	other_port=$(cat "$run/other.port")
}
other server.pem server.key 503
scene "a server of another kind" "s|port = $port|port = $other_port|"
examine
is clock.server ok
is network.mutual warning "ask for certificates"
is network.http warning "ALPN"
is network.answer failed "503"
other expired-server.pem server.key 200
scene "a server of another time" "s|port = $port|port = $other_port|"
examine
is clock.server failed "set the clock"
is network.tls failed "expired"
is network.answer not-applicable
stop other

stop server
scene "no server" ''
examine
is network.resolve ok
is network.connect failed "whether the server runs"
is network.connect failed ": connection refused"
is clock.server not-applicable "no connection"
launch_server

openssl rand -hex 32 >"$run/wrong.key"
printf 'another one\n' >"$run/wrong.passphrase"
chmod 600 "$run/wrong.key" "$run/wrong.passphrase"
scene "the first key is another" "s|key_file = \"[^\"]*gateway.key\"|key_file = \"$run/wrong.key\"|"
examine
is vault.open ok
is vault.key failed "wrong.key does not open it"
is vault.second-key ok
scene "the others are wrong" "s|$run/second.key|$run/none.key|;s|$run/passphrase|$run/wrong.passphrase|"
examine
is vault.key ok
is vault.second-key failed "none.key"
is vault.passphrase failed "it fits no slot"
scene "no key is right" "s|$run/gateway.key|$run/wrong.key|;s|$run/second.key|$run/wrong.key|;s|$run/passphrase|$run/wrong.passphrase|"
examine
is vault.open failed "doc/vault.md"
is vault.key not-applicable
is ledger.head not-applicable

scene "no control bus" "s|unix:path=$run/bus|unix:path=$run/no-bus|"
examine
is control.bus failed "unix:path=$run/no-bus cannot be reached: No such file or directory"
is network.answer ok

scene "no PNE can be keyed in Figure 6" 's|security = "authenticated"|security = "none"|'
examine
is pan.secure warning "pan.secure_level"

if [ "$(id -u)" = 0 ]; then
	chown 65534 "$run/gateway.vault"
	scene "a vault of somebody else" ''
	examine
	is process.owner failed
	is vault.open failed "belongs to another user"
	chown 0 "$run/gateway.vault"
fi

scene "a configuration that is none" 's|^control|contrl|'
if "$(bin pngwd)" --config "$run/pngw.conf" --doctor >"$run/said" 2>&1; then
	complain "a wrong configuration was examined"
fi
grep -q "pngw.conf:[0-9]*: " "$run/said" || complain "no file and line: $(cat "$run/said")"

# Damage, always to a copy.
keep=("$run"/gateway.vault "$run"/gateway.vault.ledger "$run"/medium/anchor)
mkdir "$run/kept"
cp "${keep[@]}" "$run/kept"
restore() {
	rm -f "$run"/gateway.vault*
	cp "$run"/kept/gateway.vault* "$run"
	cp "$run/kept/anchor" "$run/medium"
}

scene "damaged records" ''
/usr/bin/python3 - "$run/gateway.vault" <<-'PY'
	import sqlite3, sys
	db = sqlite3.connect(sys.argv[1])
	db.execute("UPDATE record SET sealed = zeroblob(length(sealed))"
	           " WHERE name IN (SELECT name FROM record ORDER BY sequence DESC LIMIT 2)")
	db.execute("UPDATE wrap SET label = 'x' WHERE slot = 3")
	db.commit()
PY
examine
is vault.open ok
is vault.records failed "damaged"
is vault.passphrase failed
restore

scene "a vault of a newer pngwd" ''
/usr/bin/python3 -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version = 3")' "$run/gateway.vault"
newer="was made by a newer pngwd (schema 3, this one knows 2): install that again, or restore the backup from before"
examine
is vault.open failed "$newer"
for program in "$(bin pngwd) --config $run/pngw.conf" \
	"$(bin pngw-vault) --vault $run/gateway.vault --key-file $run/gateway.key check"; do
	# shellcheck disable=SC2086 # words
	$program >"$run/said" 2>&1 && complain "$program opened a vault of a newer pngwd"
	grep -qF "$newer" "$run/said" || complain "$program: $(cat "$run/said")"
done
restore

# The keys by which a new master key would be sealed are the records of their size.
scene "wraps that a new master key could not be sealed for" ''
/usr/bin/python3 - "$run/gateway.vault" <<-'PY'
	import sqlite3, sys
	db = sqlite3.connect(sys.argv[1])
	size, = min(db.execute("SELECT length(sealed) FROM record GROUP BY 1 HAVING count(*) >= 3"))
	db.execute("UPDATE record SET sealed = zeroblob(length(sealed)) WHERE length(sealed) = ?", (size,))
	db.commit()
PY
examine
is vault.open ok
is vault.wrap-rows failed "could not be given a new master"
restore

# Killed in the middle of sealing anew, at a moment that is looked for.
scene "sealing anew" "s|$run/gateway.vault|$run/large|;s|$run/gateway.key|$run/large.key|;s|anchor = [^;]*;||"
(cd "$run" && "$build/tests/make-vault" large large.key 3000)
for ((ms = 5; ms < 1000; ms += 1 + ms / 4)); do
	{
		timeout -s KILL "0.$(printf %03d "$ms")" "$(bin pngw-vault)" --vault "$run/large" \
			--key-file "$run/large.key" rekey >"$run/out" 2>&1 || true
	} 2>/dev/null
	examine
	grep -q "^vault.rekey	ok" "$run/report" || break
done
is vault.rekey warning "goes on, 0 records are done"

scene "a damaged ledger" ''
printf 'x' | dd of="$run/gateway.vault.ledger" bs=1 seek=200 conv=notrunc 2>/dev/null
examine
is ledger.proven failed "pngw-ledger verify"
is ledger.head not-applicable
restore

scene "an older copy" ''
cp "$run/older.vault" "$run/gateway.vault"
examine
is vault.rollback failed "older copy"
restore

scene "the anchor is gone" ''
rm "$run/medium/anchor"
examine
is vault.open failed anchor
restore

scene "no second key, no anchor, no backup" "s|second_key_file = [^;]*;||;s|passphrase_file = [^;]*;||;s|anchor = [^;]*;||;s|$run/gateway.vault|$run/fresh/vault|;s|$run/gateway.key|$run/fresh/key|"
mkdir -m 700 "$run/fresh"
: >"$run/log"
launch_gateway
await "WAN is up"
stop gateway
examine
is vault.second-key not-applicable
is vault.passphrase not-applicable
is vault.anchor not-applicable
is vault.wraps warning "keep it elsewhere"
is vault.backup warning "vault backup"
is ledger.proven not-applicable "no ledger yet"
is clock.last ok

# Small disks, other limits, other files of the kernel: in name spaces of its own.
inside() { # SCENE COMMANDS: then the same examination, there
	scene=$1
	code=0
	unshare -rm bash -c "set -e; mount --make-rprivate /; $2; exec \"\$@\"" inside \
		"$(bin pngwd)" --config "$run/pngw.conf" --doctor --json >"$run/report.json" 2>"$run/report.err" || code=$?
	/usr/bin/python3 "$top/tests/examined.py" <"$run/report.json" >"$run/report" ||
		complain "$1: no report ($code): $(cat "$run/report.err")"
}
if unshare -rm mount -t tmpfs none "$run/empty" 2>/dev/null; then
	scene "" "s|$run/gateway.vault|$run/empty/vault|"
	inside "a small disk" "mount -t tmpfs -o size=2m,nr_inodes=14,mode=700 none $run/empty; cp $run/kept/gateway.vault $run/empty/vault; ulimit -n 32"
	is disk.space failed
	is disk.inodes failed "small files"
	is process.open-files failed "LimitNOFILE"
	inside "a disk that is nearly full" "mount -t tmpfs -o size=40m,nr_inodes=500,mode=700 none $run/empty; cp $run/kept/gateway.vault $run/empty/vault; ulimit -n 600"
	is disk.space warning
	is disk.inodes warning
	is process.open-files warning "pan.max_links"
	inside "a disk that takes nothing" "mount -t tmpfs -o mode=700 none $run/empty; cp $run/kept/gateway.vault $run/empty/vault; mount -o remount,ro $run/empty"
	is disk.flush failed "kernel's log"
	is vault.open failed
	printf 'Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n' >"$run/swaps"
	printf 'MemTotal: 100000 kB\nMemAvailable: 9000 kB\n' >"$run/meminfo"
	cp "$run/good.conf" "$run/pngw.conf"
	scene "" "s|$run/gateway.vault|$run/empty/vault|"
	inside "a disk that the ledger will fill" "mount -t tmpfs -o size=1m,mode=700 none $run/empty; cp $run/kept/gateway.vault $run/empty/vault; cp $run/kept/gateway.vault.ledger $run/empty/vault.ledger; head -c 1m /dev/zero >$run/empty/rest 2>/dev/null || true"
	is ledger.size warning "0 KiB are left"
	printf '|/usr/lib/systemd/systemd-coredump %%P\n' >"$run/handler"
	cp "$run/good.conf" "$run/pngw.conf"
	inside "a core handler" "mount --bind $run/handler /proc/sys/kernel/core_pattern"
	is system.core-pattern ok "pngwd is not dumpable"
	inside "a core handler, and pngwd is dumpable" "mount --bind $run/handler /proc/sys/kernel/core_pattern; export ASAN_OPTIONS=$asan LD_PRELOAD=$run/preload.so"
	is system.core-pattern failed "a core handler would get a dump"
	inside "swap space, little memory" "mount --bind $run/swaps /proc/swaps; mount --bind $run/meminfo /proc/meminfo"
	is system.memory failed
	is system.swap ok "locked memory"
	# A sanitizer's build locks none.
	if [ -z "${PNGW_SANITIZERS:-}" ]; then
		inside "no memory can be locked" "ulimit -l 0; mount --bind $run/swaps /proc/swaps"
		is process.locked-memory failed "cannot be locked"
		is system.swap failed "memory cannot be locked"
	fi
else
	echo "unshare is not allowed: disks and limits were not tested"
fi

# pngwd that runs examines itself: a procedure fails because there is no server.
cp "$run/good.conf" "$run/pngw.conf"
stop server
: >"$run/log"
launch_gateway
await "ready"
start figure8 "$user" && complain "Figure 8 without a server"
await "examined: network.connect failed: port $port"
await "examined: wan.up failed"
grep -q "examined: .*Remedy: check the network" "$run/log" || complain "no remedy in the log"
grep -q "examined: vault" "$run/log" && complain "what does not concern the WAN was logged"
# Not again within doctor.interval.
start figure8 "$user" && complain "Figure 8 without a server"
kill "${pid_of[gateway]}"
wait "${pid_of[gateway]}" || complain "pngwd did not end cleanly"
unset "pid_of[gateway]"
[ "$(grep -c "examined: network.connect" "$run/log")" = 1 ] || complain "it examined itself again at once"

# It can be switched off; and it ends at once while it examines itself.
echo 'doctor = { interval = 0; };' >>"$run/pngw.conf"
: >"$run/log"
launch_gateway
await "ready"
start figure8 "$user" && complain "Figure 8 without a server"
kill "${pid_of[gateway]}"
wait "${pid_of[gateway]}" || complain "pngwd did not end cleanly"
unset "pid_of[gateway]"
grep -q "examined: " "$run/log" && complain "it examined itself, and should not have"

# Nothing secret in any report.
for secret in "$(cat "$run/gateway.key")" "$(cat "$run/second.key")" "$(cat "$run/passphrase")" "$password"; do
	grep -qF -- "$secret" "$run/reports" && complain "a secret is in a report"
done

# Every check was seen going wrong, here or in another test.
while IFS='|' read -r _ id _; do
	id=${id//[\` ]/}
	grep -qE "^[[:space:]]*(is|found) ${id//./\\.} (warning|failed)" "$top"/tests/test-*.sh ||
		complain "no test sees $id fail"
done < <("$(bin pngwd)" --list-checks | tail -n +3)
exit "$bad"
