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

# What is wrong with what the settings name: a sed expression, and what is said behind FILE:LINE, which is the line
# of the text between the first two slashes.
printf 'no key\n' >"$run/no.key"
chmod 600 "$run/no.key"
refused() {
	local line code=0 text=${1#*|}
	sed "$1" "$run/pngw.conf" >"$run/wrong.conf"
	cmp -s "$run/pngw.conf" "$run/wrong.conf" && complain "$1 changes nothing"
	"$(bin pngwd)" --config "$run/wrong.conf" --check-config >"$run/said" 2>&1 || code=$?
	line=$(grep -n -m 1 -- "${text%%|*}" "$run/pngw.conf" | cut -d: -f1)
	[ "$code" = 78 ] || complain "$1: exit code $code"
	grep -qF -- "wrong.conf:$line: $2" "$run/said" || complain "$1: not said: $line: $2, but: $(cat "$run/said")"
}
refused "s|unix:path=$run/bus|nonsense|" 'control.bus: expected "system", "session" or "unix:path=/..."'
refused "s|unix:path=$run/bus|tcp:host=0.0.0.0,port=9|" 'control.bus: expected'
refused "s|host = \"[^\"]*\"|host = \"http://cpns.example/\"|" 'server.host: expected a name or an address alone'
refused "s|path = \"/cpns\"|path = \"cpns\"|" 'server.path: expected a path'
refused "s|$run/pan-open|$run/pan-secure|" "pan.listen.address: unix:$run/pan-secure is there twice"
refused "s|$run/certs/ca.pem|/nonex|" 'server.tls.ca: /nonex: No such file or directory'
refused "s|$run/certs/gateway.pem|/nonex|" 'server.tls.certificate: /nonex: No such file or directory'
refused "s|$run/certs/gateway.key|/nonex|" 'server.tls.key: /nonex: No such file or directory'
refused "s|$run/certs/gateway.key|$run/certs/server.key|" 'server.tls.key: the key in'
refused "s|$run/gateway.vault|/nonex/vault|" 'vault.path: the folder /nonex: No such file or directory'
refused "s|$run/gateway.key\"; }|$run/gateway.key\"; second_key_file = \"$run/no.key\"; }|" 'vault.second_key_file: '
refused "s|$run/gateway.key\"; }|$run/gateway.key\"; passphrase_file = \"/nonex\"; }|" 'vault.passphrase_file: '
refused "s|$run/gateway.key\"; }|$run/gateway.key\"; anchor = \"foo\"; }|" 'vault.anchor: anchor foo: neither file:PATH nor tpm:HANDLE'
refused "s|$run/gateway.key\"; }|$run/gateway.key\"; anchor = \"tpm:zz\"; }|" 'vault.anchor: anchor '
refused "s|$run/gateway.key\"; }|credential:a/b\"; }|" 'vault.key_file: '
refused "s|$run/hosted.key|$run/no.key|" 'pne.vault_key_file: '

# A credential is there in the service alone: that is said, and the rest is looked at.
sed "s|$run/gateway.key|credential:vault-key|; s|$run/certs/gateway.key|credential:gateway-key|" "$run/pngw.conf" >"$run/service.conf"
env -u CREDENTIALS_DIRECTORY "$(bin pngwd)" --config "$run/service.conf" --check-config >"$run/said" 2>&1 ||
	complain "outside of the service: $(cat "$run/said")"
for place in server.tls.key:gateway-key vault.key_file:vault-key; do
	grep -qE "service.conf:[0-9]+: ${place%:*}: not looked at: credential:${place#*:} is there in the service alone" "$run/said" ||
		complain "not noted: $place: $(cat "$run/said")"
done
grep -q "service.conf: good" "$run/said" || complain "outside of the service: $(cat "$run/said")"
mkdir "$run/credentials"
if CREDENTIALS_DIRECTORY=$run/credentials "$(bin pngwd)" --config "$run/service.conf" --check-config >"$run/said" 2>&1; then
	complain "credentials that are missing in the service were taken"
fi
grep -qE "service.conf:[0-9]+: server.tls.key: $run/credentials/gateway-key: No such file" "$run/said" ||
	complain "not said which credential is missing: $(cat "$run/said")"

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
