#!/usr/bin/env bash
# Revocation from the shell: while the WAN is down it is queued and told later; a PNE that is away is
# "unconfirmed", a state one can see and act on, until it comes, is reset and confirms; the operator's
# revocation reaches the PN GW; afterwards each device can be given a new key.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin revoke

# The command ends with that code and says that.
says() { # CODE TEXT COMMAND...
	local code=0 want=$1 text=$2
	shift 2
	start "$@" || code=$?
	[ "$code" = "$want" ] || complain "$* ended with $code, not $want: $(cat "$run/start.out")"
	grep -qF -- "$text" "$run/start.out" || complain "$*: no \"$text\" in: $(cat "$run/start.out")"
}

# Until the list of revocations has that for the entity; 30 s at most.
await_revocation() { # ENTITY TEXT
	local i
	for ((i = 0; i < 300; i++)); do
		start --kv revocations && grep -qF -- "$2" <(grep "^entity=$1 " "$run/start.out") && return 0
		sleep 0.1
	done
	complain "no \"$2\" of $1 in: $(cat "$run/start.out")"
}

admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_all headset-1 headset-2 headset-3
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
start figure6 "$user" headset-1 || complain "Figure 6: $(cat "$run/start.out")"
start figure7 "$user" headset-2 || complain "Figure 7: $(cat "$run/start.out")"
start figure7 "$user" headset-3 || complain "Figure 7: $(cat "$run/start.out")"

says 64 "it takes ENTITY" revoke
says 1 "DEVICE_UNKNOWN" revoke never-seen
says 0 "nothing was revoked" revocations

# The PNE is there: confirmed at once.
says 0 "headset-3" revoke headset-3
await_revocation headset-3 "reset=confirmed"

# It is away and the WAN is down: unconfirmed, and not told yet.
stop headset-2
stop server
await "WAN is down"
says 2 "PNE_RESET_UNCONFIRMED" revoke headset-2
await_revocation headset-2 "reset=unconfirmed server_knows=false"
says 2 "PNE_RESET_UNCONFIRMED" reset headset-2
kill9 gateway
: >"$run/log"
launch_gateway
await "info: ready"
await_revocation headset-2 "reset=unconfirmed server_knows=false"
launch_server
await "WAN is up"
await_revocation headset-2 "server_knows=true"
: >"$run/log"
launch_pne headset-2 pan-open none
await "headset-2 is connected"
await_revocation headset-2 "reset=confirmed"

# The operator revokes: the PN GW hears of it when it next reports, here at its next session.
admin revoke headset-1 >"$run/admin.out" 2>&8 || complain "cpns-server-admin revoke: $(cat "$run/admin.out")"
kill9 gateway
: >"$run/log"
launch_gateway
await "headset-1 is connected"
await_revocation headset-1 "by=server"

# All three hold nothing any more; one is given a new key.
for name in headset-2 headset-3; do
	stop "$name"
	challenge=$(openssl rand -hex 16)
	if pne_fingerprint "$name" >"$run/print.out" 2>&1; then
		complain "$name still has a key after its reset"
	fi
done
: >"$run/log"
launch_pne headset-2 pan-open none
await "headset-2 is connected"
start figure7 "$user" headset-2 || complain "Figure 7 after the revocation: $(cat "$run/start.out")"
stop headset-2
same_key headset-2 "$(pne_fingerprint headset-2)" || complain "the server holds another key"

# Given up by the operator: no longer waited for.
says 2 "PNE_RESET_UNCONFIRMED" revoke headset-2
says 0 "no longer" forget headset-2
await_revocation headset-2 "reset=given-up"
says 1 "never revoked" forget never-seen

exit $bad
