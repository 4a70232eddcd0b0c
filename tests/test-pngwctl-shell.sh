#!/usr/bin/env bash
# pngwctl's shell under a pseudo-terminal, with real daemons behind it: tests/pngwctl-shell.py types.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if ! command -v dbus-daemon >/dev/null || ! command -v dbus-send >/dev/null ||
	! /usr/bin/python3 -c 'import pexpect' 2>/dev/null; then
	echo "dbus-daemon, dbus-send or python3-pexpect is missing"
	exit 77
fi
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
iterations=100000
system_begin shell
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_all headset-1 headset-2
ctl register "$user" >"$run/start.out" 2>&1
ctl figure7 "$user" headset-2 >"$run/start.out" 2>&1
code=0
# The suppressions name a library, which only the slow unwinder finds: libedit has no frame pointers.
export LSAN_OPTIONS="suppressions=$top/tests/lsan.supp:print_suppressions=0"
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}fast_unwind_on_malloc=0"
PNGW_BUS=unix:path=$run/bus RUN=$run PASSWORD=$password PNGWCTL=$(bin pngwctl) PNGWD=$(bin pngwd) PNE=$(bin cpns-pne) \
	GATEWAY=${pid_of[gateway]} HEADSET_1=${pid_of[headset-1]} HEADSET_2=${pid_of[headset-2]} \
	/usr/bin/python3 "$top/tests/pngwctl-shell.py" || code=$?
# It has ended that one and started another.
unset "pid_of[gateway]"
[ ! -f "$run/gateway.pid" ] || pid_of[gateway]=$(cat "$run/gateway.pid")
exit $code
