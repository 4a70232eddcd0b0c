#!/usr/bin/env bash
# Bad input and bad luck between real processes: each gets its verdict and exit status, and leaves
# nothing half-done: afterwards the same procedure, done right, succeeds.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin faults
admin import-temporary-keys "$run/keys.csv" >/dev/null 2>&8
launch_all headset-1 headset-2 headset-9

# expect NAME EXIT VERDICT COMMAND...
expect() {
	local name=$1 exit=$2 verdict=$3 got=0
	shift 3
	"$@" || got=$?
	if [ "$got" != "$exit" ] || ! grep -qF "[$verdict]" "$run/start.out"; then
		echo "$name: exit $got, wanted $exit with $verdict; it said:"
		cat "$run/start.out"
		bad=1
	else
		echo "ok: $name"
	fi
}
good() {
	local name=$1
	shift
	if "$@"; then
		echo "ok: $name"
	else
		echo "$name: exit $?; it said:"
		cat "$run/start.out"
		bad=1
	fi
}
with_password() {
	local password=$1
	shift
	start "$@"
}

expect "a user nobody registered" 1 WRONG_PASSWORD start figure7 nobody headset-2
good "registration" start register "$user"
good "registration again, same password" start register "$user"
expect "registration again, other password" 1 USER_TAKEN with_password "not the same" register "$user"
expect "wrong password, Figure 8" 1 WRONG_PASSWORD with_password "wrong" figure8 "$user"
good "Figure 8" start figure8 "$user"
expect "wrong password, Figure 7" 1 WRONG_PASSWORD with_password "wrong" figure7 "$user" headset-2
expect "no Temporary Key" 1 SERVER_NO_TEMPORARY_KEY start figure7 "$user" headset-9
expect "Figure 6 where the PAN is not secure" 1 PAN_INSECURE start figure6 "$user" headset-2
expect "a PNE that is not there" 2 PNE_UNKNOWN start figure7 "$user" headset-77
printf 'bob password\n' | admin add-user bob >/dev/null 2>&8
expect "another user than the PN GW's owner" 1 GATEWAY_NOT_OWNER with_password "bob password" figure6 bob headset-1
good "Figure 7" start figure7 "$user" headset-2
good "Figure 6" start figure6 "$user" headset-1

stop server
expect "server down before the request" 2 WAN_REFUSED start figure8 "$user"
good "the next key of the set is issued without the WAN" start figure7 "$user" headset-2
launch_server
await_up() {
	local i
	for ((i = 0; i < 100; i++)); do
		start figure8 "$user" && return 0
		sleep 0.1
	done
	return 1
}
good "the same once the server is back" await_up

# Whoever does not speak the binding loses the link and nothing else happens.
printf 'GET / HTTP/1.1\r\n\r\n' | timeout 5 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.stdin.buffer.read())
s.settimeout(4)
while s.recv(4096):
    pass
' "$run/pan-open" || { echo "garbage on the PAN: the PN GW kept the link"; bad=1; }
good "Figure 7 after garbage on the PAN" start figure7 "$user" headset-2

# Nobody on the PAN may be the PN GW, nor push a PNE off its secure link from a link that is not.
pretend() {
	launch pretender "$(bin cpns-pne)" --entity "$1" --connect "unix:$run/pan-open" --security none \
		--state "$run/pretender-$1"
	await "$2" || bad=1
	stop pretender
}
pretend "$gateway" "calls itself by the PN GW's Entity ID is refused"
pretend headset-1 "a less secure link of a PNE that is connected is refused"
good "Figure 6 after somebody pretended to be headset-1" start figure6 "$user" headset-1

if grep -qF "$password" "$run/log"; then
	echo "the password is in a log"
	bad=1
fi
exit $bad
