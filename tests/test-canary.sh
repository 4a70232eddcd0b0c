#!/usr/bin/env bash
# No password, password hash, EUKey or Temporary Key is in a log, in a state file or in a core image of a
# process that worked with it.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
command -v gcore >/dev/null || {
	echo "gcore is missing (package gdb): nothing to look into"
	exit 77
}
folder=$(mktemp -d /tmp/pngw-canary.XXXXXX)
end() {
	trap - EXIT
	system_stop
	rm -rf "$folder"
}
trap end EXIT
touch "$folder/log"
exec 8>>"$folder/log"
password="canary sings 4711 in the mine"
system_make "$folder"
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_server
await "listening on"
launch_gateway
await "WAN is up"
launch_pne headset-1 pan-secure authenticated
launch_pne headset-2 pan-open none
launch_pne headset-3 pan-open none
for name in headset-1 headset-2 headset-3; do
	await "$name is connected"
done
all_figures() {
	start "$@" || {
		cat "$run/start.out"
		exit 1
	}
	cat "$run/start.out" >>"$run/starts.out"
}
all_figures register "$user"
all_figures figure8 "$user"
printf '%s\n' "$password" | "$(bin cpns-pne)" --entity tablet-1 --connect "unix:$run/pan-open" \
	--security none --state "$run/tablet-1" --ui --user "$user" --once 2>&8 >"$run/tablet-1.out"
all_figures figure6 "$user" headset-1
all_figures figure7 "$user" headset-2
all_figures figure7 "$user" headset-3

for name in "${!pid_of[@]}"; do
	gcore -o "$run/core.$name" "${pid_of[$name]}" >"$run/gcore.out" 2>&1 || {
		echo "gcore cannot look into processes here:"
		tail -n 3 "$run/gcore.out"
		exit 77
	}
done
# The key files and the manufacturer's list hold secrets by design.
find "$run" -type f ! -name '*.key' ! -name keys.csv ! -path "$run/certs/*" -print0 |
	xargs -0 python3 "$top/tests/find-secrets.py" "$run" "$password"
