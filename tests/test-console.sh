#!/usr/bin/env bash
# The console on a serial line, under a pseudo-terminal at 9600 baud: tests/console-person.py is the technician,
# who has no right but by his PIN.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if [ "$(id -u)" != 0 ]; then
	echo "only root can give the console a user of its own"
	exit 77
fi
if ! command -v dbus-daemon >/dev/null || ! command -v setpriv >/dev/null ||
	! /usr/bin/python3 -c 'import pexpect' 2>/dev/null; then
	echo "dbus-daemon, setpriv or python3-pexpect is missing"
	exit 77
fi
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
iterations=100000
system_begin console
sed -i 's|^control = { |&lockout = 600; |' "$run/pngw.conf"
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_all headset-1 headset-2
start register "$user"
admin add-user bob <<<"another password" >"$run/add-user.out" 2>&8
PIN="4711 and more"
password=$PIN ctl set-pin technician >"$run/start.out" 2>&1
# The console's user reaches the bus and its program, and nothing else of ours.
chmod 711 "$run"
chmod 666 "$run/bus"
cp "$(bin pngwctl)" "$run/pngwctl"
# As in test-pngwctl-shell.sh.
install -m 644 "$top/tests/lsan.supp" "$run/lsan.supp"
export LSAN_OPTIONS="suppressions=$run/lsan.supp:print_suppressions=0"
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}fast_unwind_on_malloc=0"
RUN=$run PASSWORD=$password PIN=$PIN BUS=unix:path=$run/bus CONSOLE=$run/pngwctl PNE=$(bin cpns-pne) \
	/usr/bin/python3 "$top/tests/console-person.py" &
person=$!
# It asks for a restart of pngwd, as after a cut of the power.
while kill -0 "$person" 2>/dev/null; do
	if [ -f "$run/lockout" ]; then
		kill9 gateway
		: >"$run/log"
		launch_gateway
		await "WAN is up"
		rm "$run/lockout"
	fi
	sleep 0.2
done
wait "$person" || exit 1
if grep -qF "$PIN" "$run/log" || grep -qF "$password" "$run/log"; then
	echo "a secret is in the log"
	exit 1
fi
