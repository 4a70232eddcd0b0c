#!/usr/bin/env bash
# The PN GW's disk fills up, turns read-only and breaks while it serves, really: a small tmpfs, and system
# calls that fail. Each has its verdict; when the disk is well again everything goes on without a restart,
# and nothing that was acknowledged is lost.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
folder=$(mktemp -d /tmp/pngw-disk.XXXXXX)
tracer=
end() {
	trap - EXIT
	[ -z "$tracer" ] || kill "$tracer" 2>/dev/null || true
	system_stop
	umount "$folder/state" 2>/dev/null || true
	rm -rf "$folder"
}
trap end EXIT
mkdir "$folder/state"
mount -t tmpfs -o size=4m,mode=0700 tmpfs "$folder/state" 2>"$folder/mount.out" || {
	echo "no right to mount a tmpfs here: $(cat "$folder/mount.out")"
	exit 77
}
command -v strace >/dev/null || {
	echo "strace is missing: no system call can be made to fail"
	exit 77
}
touch "$folder/log"
exec 8>>"$folder/log"
system_make "$folder"
sed -i "s|$run/gateway\.vault|$run/state/gateway.vault|" "$run/pngw.conf"
admin import-temporary-keys "$run/keys.csv" >/dev/null 2>&8
launch_server
await "listening on"
launch_gateway
await "WAN is up"
launch_pne headset-1 pan-secure authenticated
launch_pne headset-2 pan-open none
for name in headset-1 headset-2; do
	await "$name is connected"
done

bad=0
complain() {
	echo "$1; it said:"
	cat "$run/start.out"
	bad=1
}
good() {
	local name=$1
	shift
	if "$@"; then
		echo "ok: $name"
	else
		complain "$name: exit $?"
	fi
}
# Some command of several must meet the fault: a log that was moved into the vault has room for a while.
expect_soon() { # NAME VERDICT
	local i
	for ((i = 0; i < 4; i++)); do
		start figure7 "$user" headset-2 || break
	done
	if grep -qF "[$2]" "$run/start.out"; then
		echo "ok: $1 is $2"
	else
		complain "$1: wanted $2"
	fi
	kill -0 "${pid_of[gateway]}" || complain "$1: the PN GW is gone"
}
same_keys() { # WHEN
	local name line
	challenge=$(openssl rand -hex 16)
	for name in headset-1 headset-2; do
		stop "$name"
		line=$(pne_fingerprint "$name")
		same_key "$name" "$line" || complain "$1: $name holds a key that the server has not"
	done
	launch_pne headset-1 pan-secure authenticated
	launch_pne headset-2 pan-open none
}
# While it runs, calls on the vault's files fail with ERRNO.
break_calls() { # CALLS ERRNO
	strace -f -qq -o "$run/strace.out" -p "${pid_of[gateway]}" -P "$run/state/gateway.vault-wal" \
		-P "$run/state/gateway.vault" -e "trace=$1" -e "inject=$1:error=$2" 2>"$run/strace.err" &
	tracer=$!
	local i
	for ((i = 0; i < 100; i++)); do
		grep -q "^TracerPid:[[:space:]]*[1-9]" "/proc/${pid_of[gateway]}/status" && return 0
		kill -0 "$tracer" 2>/dev/null || break
		sleep 0.05
	done
	echo "strace cannot attach here: $(head -n 1 "$run/strace.err")"
	exit 77
}
mend_calls() {
	kill "$tracer"
	wait "$tracer" 2>/dev/null || true
	tracer=
}

good "registration" start register "$user"
good "Figure 8" start figure8 "$user"
good "Figure 6" start figure6 "$user" headset-1
good "Figure 7" start figure7 "$user" headset-2
pid=${pid_of[gateway]}

dd if=/dev/zero of="$run/state/filler" bs=4096 2>"$run/dd.out" || true
expect_soon "a full disk" GATEWAY_DISK_FULL
rm "$run/state/filler"
good "Figure 7, space was freed" start figure7 "$user" headset-2
good "Figure 6, space was freed" start figure6 "$user" headset-1

break_calls pwrite64 EROFS
expect_soon "a file system that turned read-only" GATEWAY_READ_ONLY
mend_calls
good "Figure 7, writable again" start figure7 "$user" headset-2

break_calls pwrite64 EIO
expect_soon "a write error" GATEWAY_DISK_ERROR
mend_calls
good "Figure 7 after write errors" start figure7 "$user" headset-2

break_calls fdatasync EIO
expect_soon "a flush error" GATEWAY_DISK_ERROR
mend_calls
good "Figure 7 after flush errors" start figure7 "$user" headset-2
good "Figure 6 after all of it" start figure6 "$user" headset-1
[ "$pid" = "${pid_of[gateway]}" ] && kill -0 "$pid"

kill9 gateway
: >"$run/log"
same_keys "after all of it and kill -9"
launch_gateway
await "WAN is up"
await "headset-2 is connected"
# The set that the vault keeps is still there: without the server a key of it is issued.
stop server
good "Figure 7 from the set, without the server" start figure7 "$user" headset-2
launch_server
same_keys "from the set"

# Started on a read-only file system it says so, and is fine afterwards.
stop gateway
mount -o remount,ro "$run/state"
: >"$run/log"
launch_gateway
code=0
wait "${pid_of[gateway]}" || code=$?
unset "pid_of[gateway]"
if [ "$code" = 0 ] || ! grep -qi "read-\?only" "$run/log"; then
	echo "started on a read-only file system: exit $code; it said:"
	cat "$run/log"
	bad=1
fi
mount -o remount,rw "$run/state"
: >"$run/log"
launch_gateway
await "WAN is up"
await "headset-2 is connected"
good "Figure 7, mounted writable" start figure7 "$user" headset-2
exit $bad
