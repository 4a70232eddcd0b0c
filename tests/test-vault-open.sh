#!/usr/bin/env bash
# What opens pngwd's vault: a systemd credential, a second key file when the first is lost, a passphrase.
# And what does not: then the daemon says why and ends. Opening runs off the loop: pngwd answers
# meanwhile and can be stopped.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin vault-open

# vault = { path = ...; $1 };
vault_settings() {
	sed -i "s|^vault = .*|vault = { path = \"$run/gateway.vault\"; $1 };|" "$run/pngw.conf"
}

# The daemon comes up, has the User ID's name in its vault ($1: yes), and goes in good order.
comes_up() {
	local status=0
	: >"$run/log"
	launch_gateway
	await "info: ready" || complain "$2: it does not come up"
	start status || complain "$2: $(cat "$run/start.out")"
	if [ "$1" = yes ] && ! grep -qx "owner: $user" "$run/start.out"; then
		complain "$2: the vault has forgotten whose the PN GW is"
	fi
	kill "${pid_of[gateway]}"
	wait "${pid_of[gateway]}" || status=$?
	unset "pid_of[gateway]"
	[ "$status" = 0 ] || complain "$2: it stopped with $status"
}

# It ends by itself, with $1 in its last line.
ends_with() {
	local status=0
	: >"$run/log"
	timeout 20 "$(bin pngwd)" --config "$run/pngw.conf" 2>>"$run/log" || status=$?
	[ "$status" = 1 ] || complain "status $status in place of 1: $(tail -n 2 "$run/log")"
	tail -n 1 "$run/log" | grep -qF -- "$1" || complain "no \"$1\" in: $(tail -n 1 "$run/log")"
}

# A credential as systemd shows it to a service that is not root: group-readable, read-only.
mkdir -m 700 "$run/credentials"
openssl rand -hex 32 >"$run/credentials/vault-key"
printf 'a passphrase that is long enough for anybody\n' >"$run/credentials/vault-words"
chmod 0440 "$run/credentials/"*
export CREDENTIALS_DIRECTORY=$run/credentials
mkdir -m 700 "$run/safe"
all="key_file = \"credential:vault-key\"; second_key_file = \"$run/safe/second.key\";"
all+=" passphrase_file = \"credential:vault-words\";"
vault_settings "$all"
comes_up no "made with a credential, a key file and a passphrase"
[ -s "$run/safe/second.key" ] || complain "the second key file was not made"

# Something to be found again: the owner, from Figure 5 and 8.
: >"$run/log"
launch_server
await "listening on"
launch_gateway
await "WAN is up"
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
stop gateway
stop server

comes_up yes "with all three"
vault_settings "key_file = \"credential:vault-key\";"
comes_up yes "with the credential alone"
vault_settings "key_file = \"$run/safe/second.key\";"
comes_up yes "with the second key file alone"
vault_settings "passphrase_file = \"credential:vault-words\";"
comes_up yes "with the passphrase alone"

# One is lost, the other opens; both are configured.
vault_settings "$all"
mv "$run/credentials/vault-key" "$run/lost"
comes_up yes "without the credential"
grep -q "warning: credential:vault-key does not open the vault" "$run/log" || complain "the lost one is not missed"
mv "$run/safe/second.key" "$run/lost-too"
comes_up yes "without both key files"
cp "$run/lost" "$run/credentials/vault-key"
mv "$run/credentials/vault-words" "$run/lost-words"
comes_up yes "without the passphrase"
grep -q "warning: .*vault-words" "$run/log" || complain "the lost passphrase is not missed"
rm "$run/credentials/vault-key"
mv "$run/lost-words" "$run/credentials/vault-words"

# None is left, or a wrong one.
vault_settings "key_file = \"$run/safe/second.key\";"
ends_with "$run/safe/second.key"
(umask 077 && openssl rand -hex 32 >"$run/safe/other.key")
vault_settings "key_file = \"$run/safe/other.key\";"
ends_with "pngwd: "
printf 'another passphrase\n' >"$run/words"
chmod 600 "$run/words"
vault_settings "passphrase_file = \"$run/words\";"
ends_with "pngwd: "
chmod 640 "$run/words"
ends_with "open to others"
vault_settings "passphrase_file = \"credential:none-such\";"
ends_with "passphrase file"

# Stopped in the middle of the opening, which the passphrase makes slow: in good order.
vault_settings "passphrase_file = \"credential:vault-words\";"
: >"$run/log"
stopped=0
for delay in 0 0.02 0.05 0.1; do
	launch_gateway
	for ((i = 0; i < 200; i++)); do
		grep -qF "this is org.pngw" "$run/log" && break
		sleep 0.005
	done
	sleep "$delay"
	start status || true
	grep -qF "state: opening" "$run/start.out" && stopped=1
	status=0
	kill "${pid_of[gateway]}"
	wait "${pid_of[gateway]}" || status=$?
	unset "pid_of[gateway]"
	[ "$status" = 0 ] || complain "stopped $delay s into the opening with $status"
done
[ "$stopped" = 1 ] || complain "it was never seen opening the vault: it blocks, or this test is too slow"
comes_up yes "after that"

# Stopped while the keys of a check are being stretched on another thread.
: >"$run/log"
launch_gateway
await "info: ready"
start vault check &
starter=$!
sleep 0.05
status=0
kill "${pid_of[gateway]}"
wait "${pid_of[gateway]}" || status=$?
unset "pid_of[gateway]"
[ "$status" = 0 ] || complain "stopped in the middle of a check with $status"
wait "$starter" || true

exit $bad
