#!/usr/bin/env bash
# pngwd on its own: refuses a wrong configuration with file and line, hosts a PNE (PNE + PN GW mode),
# reads its configuration again on SIGHUP, stops cleanly, and uses TLS-PSK in place of a certificate.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin daemon

cat >>"$run/pngw.conf" <<CONF
pne = {
	entity_id = "settop-pne";
	vault_path = "$run/hosted.vault";
	vault_key_file = "$run/hosted.key";
};
CONF
"$(bin pngwd)" --config "$run/pngw.conf" --check-config || complain "a good configuration was refused"

sed 's/^control = .*/contrl = "x";/' "$run/pngw.conf" >"$run/wrong.conf"
line=$(grep -n '^contrl' "$run/wrong.conf" | cut -d: -f1)
if "$(bin pngwd)" --config "$run/wrong.conf" --check-config >"$run/said" 2>&1; then
	complain "an unknown setting was taken"
fi
grep -qF "wrong.conf:$line" "$run/said" || complain "no file and line: $(cat "$run/said")"

launch_server
await "listening on"
launch_gateway
await "WAN is up"
await "settop-pne is connected"
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
start figure6 "$user" settop-pne || complain "Figure 6 with the hosted PNE: $(cat "$run/start.out")"

# A backup while it serves; a relative path is that of whoever asks, the vault's own is refused.
start vault backup "$run/backup" || complain "backup: $(cat "$run/start.out")"
[ -s "$run/backup" ] || complain "no backup: $(cat "$run/start.out")"
(cd "$run/certs" && start vault backup relative) || complain "relative: $(cat "$run/start.out")"
[ -s "$run/certs/relative" ] || complain "the relative path is not taken from here"
code=0
start vault backup "$run/gateway.vault" || code=$?
[ "$code" = 1 ] || complain "the vault's own path got exit code $code: $(cat "$run/start.out")"
code=0
start vault back "$run/x" || code=$?
[ "$code" = 64 ] || complain "an unknown command got exit code $code"

kill -HUP "${pid_of[gateway]}"
await "configuration read again"
start figure6 "$user" settop-pne || complain "Figure 6 after SIGHUP: $(cat "$run/start.out")"

# What is open stays what is told of, and the doctor says what a restart is needed for.
cp "$run/pngw.conf" "$run/conf.before"
sed -i "s|\"$run/gateway.vault\"|\"$run/other.vault\"|" "$run/pngw.conf"
kill -HUP "${pid_of[gateway]}"
await "vault.path and the like need a restart"
start vault status || complain "vault status: $(cat "$run/start.out")"
grep -q "$run/gateway.vault" "$run/start.out" || complain "vault status tells of another file: $(cat "$run/start.out")"
start doctor || true
grep -q "vault.path is another one in the file than what runs: only a restart takes it" "$run/start.out" ||
	complain "the doctor on what needs a restart: $(grep -A2 config.current "$run/start.out")"
mv "$run/conf.before" "$run/pngw.conf"

# A control bus that is not there is told of once, and found when it comes.
sed "s|unix:path=$run/bus|unix:path=$run/late|; s|$run/gateway\.|$run/late.|g; s|$run/hosted|$run/late-hosted|g; s|$run/pan-|$run/late-|g" \
	"$run/pngw.conf" >"$run/late.conf"
launch late "$(bin pngwd)" --config "$run/late.conf"
await "control bus: unix:path=$run/late cannot be reached: No such file or directory"
# Attempts follow after 0.25 s, 0.5 s, 1 s.
sleep 1
[ "$(grep -c "cannot be reached" "$run/log")" = 1 ] || complain "it was told again: $(grep "cannot be reached" "$run/log")"
sed "s|unix:path=$run/bus|unix:path=$run/late|" "$run/bus.conf" >"$run/late-bus.conf"
: >"$run/log"
pid_of[late-bus]=$(dbus-daemon --config-file "$run/late-bus.conf" --fork --print-pid 2>"$run/bus.out")
await "control bus: this is org.pngw"
kill "${pid_of[late-bus]}"
unset "pid_of[late-bus]"
await "control bus: the connection is lost"
await "control bus: unix:path=$run/late cannot be reached"
stop late

# A clean stop is exit status 0: every handle was closed; being told again and again changes nothing.
for name in gateway server; do
	while kill "${pid_of[$name]}" 2>/dev/null; do
		sleep 0.001
	done &
	status=0
	wait "${pid_of[$name]}" || status=$?
	unset "pid_of[$name]"
	[ "$status" = 0 ] || complain "$name stopped with $status"
done

# 3GPP GBA in place of the certificate: the server ties the B-TID to the PN GW.
psk=$(openssl rand -hex 32)
(
	umask 077
	echo "btid@bsf.example $psk $gateway" >"$run/server.psk"
	echo "btid@bsf.example $psk" >"$run/gateway.psk"
)
sed -i "s|client_ca = .*|&\npsk_file = \"$run/server.psk\";|" "$run/server.conf"
sed -i "s|^ca = .*|psk_file = \"$run/gateway.psk\";|; /certs\/gateway\./d" "$run/pngw.conf"
: >"$run/log"
launch_server
await "listening on"
launch_gateway
await "WAN is up: HTTP/2, mutually authenticated"
await "settop-pne is connected"
start figure6 "$user" settop-pne || complain "Figure 6 over TLS-PSK: $(cat "$run/start.out")"

exit $bad
