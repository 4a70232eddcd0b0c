#!/usr/bin/env bash
# The vault's keys while pngwd serves: "will it still open?", wraps added, replaced and removed, everything
# sealed anew while Figure 7 runs for two PNEs; what was taken away opens it no more, and no EUKey is lost.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin vault-keys

# The command ends with that code and says that.
says() { # CODE TEXT COMMAND...
	local code=0 want=$1 text=$2
	shift 2
	start "$@" || code=$?
	[ "$code" = "$want" ] || complain "$* ended with $code, not $want: $(cat "$run/start.out")"
	grep -qF -- "$text" "$run/start.out" || complain "$*: no \"$text\" in: $(cat "$run/start.out")"
}

opens_with() { # KEYFILE
	"$(bin pngw-vault)" --vault "$run/gateway.vault" --key-file "$1" check >"$run/check.out" 2>&1
}

# The processor time in ticks of the gateway's loop, and of its other threads.
ticks_of() { # loop|others
	local pid=${pid_of[gateway]} task sum=0
	for task in "/proc/$pid/task"/*; do
		if [ "$1" = loop ] && [ "${task##*/}" != "$pid" ]; then continue; fi
		if [ "$1" = others ] && [ "${task##*/}" = "$pid" ]; then continue; fi
		sum=$((sum + $(awk '{ print $14 + $15 }' "$task/stat")))
	done
	echo "$sum"
}

# Like says, of a command for which a passphrase is derived: that takes long, and not on the loop.
says_off_loop() {
	local loop others
	loop=$(ticks_of loop)
	others=$(ticks_of others)
	says "$@"
	loop=$(($(ticks_of loop) - loop))
	others=$(($(ticks_of others) - others))
	if [ "$others" -lt 4 ] || [ "$loop" -ge "$others" ]; then
		complain "${*:3}: $loop ticks on the loop, $others on other threads"
	fi
}

admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_server
await "listening on"
launch_gateway
await "WAN is up"
launch_pne headset-2 pan-open none
launch_pne headset-3 pan-open none
await "headset-2 is connected"
await "headset-3 is connected"
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"

says 0 "damaged: 0" vault check
says 0 'slot=1 kind="key file"' --kv vault wraps
says 0 "slot 2" vault add-wrap "$run/second.key" spare
[ -s "$run/second.key" ] || complain "the second key file was not made"
says 1 "" vault add-wrap "$run/second.key"
passphrase="a passphrase of the operator's own"
password=$passphrase says_off_loop 0 "slot 3" vault add-passphrase safe
(umask 077 && echo "$passphrase" >"$run/passphrase")
cp "$run/pngw.conf" "$run/conf.before"
sed -i "s|key_file = |passphrase_file = \"$run/passphrase\"; key_file = |" "$run/pngw.conf"
kill -HUP "${pid_of[gateway]}"
await "configuration read again"
says_off_loop 0 "damaged: 0" vault check
mv "$run/conf.before" "$run/pngw.conf"
: >"$run/log"
kill -HUP "${pid_of[gateway]}"
await "configuration read again"
await "WAN is up"
: >"$run/log"
says 0 "slot=3 kind=passphrase label=safe" --kv vault wraps
says 0 'slot=2 kind="key file" label=spare' --kv vault wraps
says 0 "generation: " vault status
grep -q "^schema: 2$" "$run/start.out" || complain "no schema in: $(cat "$run/start.out")"
grep -q "^records: [1-9]" "$run/start.out" || complain "no records in: $(cat "$run/start.out")"
says 64 "vault add-wrap: argument 1 (KEYFILE)" vault add-wrap relative.key
says 64 "a slot is 1 to 8" vault remove-wrap 9

# Sealed anew while the figures run.
figures() { # ENTITY
	local i
	for ((i = 0; i < 4; i++)); do
		ctl figure7 "$user" "$1" >>"$run/$1.figures" 2>&1 || echo "FAILED" >>"$run/$1.figures"
	done
}
figures headset-2 &
first=$!
figures headset-3 &
second=$!
for generation in 2 3 4; do
	says 0 "generation $generation: " vault rekey
done
wait "$first" "$second"
cat "$run"/headset-*.figures | grep -q FAILED && complain "a figure failed: $(cat "$run"/headset-*.figures)"
says 0 "generation: 4" vault status
says 0 "damaged: 0" vault check

# The first key file is taken away, the second put in the place of the passphrase's; then sealed anew.
cp "$run/gateway.vault" "$run/copy-before"
says 0 "removed" vault remove-wrap 1
says 0 "slot 3" vault rotate-wrap 3 "$run/third.key"
says 0 "generation 5: " vault rekey
says 1 "[GATEWAY_VAULT_CHECK]" vault check
sed -i "s|$run/gateway.key|$run/second.key|" "$run/pngw.conf"
kill -HUP "${pid_of[gateway]}"
await "configuration read again"
says 0 "damaged: 0" vault check
await "WAN is up"
says 0 "removed" vault remove-wrap 2
says 1 "is the last" vault remove-wrap 3
says 0 "slot 1" vault add-wrap "$run/second.key"
stop headset-2
stop headset-3
stop gateway
if opens_with "$run/gateway.key"; then
	complain "the key file that was taken away opens it"
fi
opens_with "$run/second.key" || complain "the second key file: $(cat "$run/check.out")"
opens_with "$run/third.key" || complain "the third key file: $(cat "$run/check.out")"

# kill -9 in the middle: it goes on when it is open again.
: >"$run/log"
launch_gateway
await "info: ready"
start vault rekey &
rekey=$!
sleep 0.03
kill9 gateway
wait "$rekey" || true
launch_gateway
await "WAN is up"
for ((i = 0; i < 100; i++)); do
	start --kv vault status && grep -q "rekeying=false" "$run/start.out" && break
	sleep 0.1
done
grep -q "rekeying=false" "$run/start.out" || complain "re-keying does not end: $(cat "$run/start.out")"
says 0 "damaged: 0" vault check

challenge=$(openssl rand -hex 16)
for name in headset-2 headset-3; do
	same_key "$name" "$(pne_fingerprint "$name")" || complain "$name and the server hold different keys"
	theirs_at_gateway=$(ctl fingerprint --challenge "$challenge" "$name" | tail -n 1)
	[ "$(awk '{ print $NF }' <<<"$theirs_at_gateway")" = "$fingerprint" ] ||
		complain "the vault has another key of $name"
done

exit $bad
