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

look_into() { # WHEN NAME...
	local when=$1 name
	shift
	for name in "$@"; do
		gcore -o "$run/core.$when.$name" "${pid_of[$name]}" >"$run/gcore.out" 2>&1 || {
			echo "gcore cannot look into processes here:"
			tail -n 3 "$run/gcore.out"
			exit 77
		}
	done
}
look_into after "${!pid_of[@]}"
# And while they work on a password.
: >"$run/log"
start figure6 "$user" headset-1 &
starter=$!
await "Fig. 6 step 1:"
look_into during server gateway headset-1
wait "$starter" || true

find_secrets() {
	python3 "$top/tests/find-secrets.py" "$run" "$password" "$@"
}
# What is there to be found is found.
if find_secrets "$run/keys.csv" >"$run/found.out" || ! grep -qF "printed Temporary Key" "$run/found.out"; then
	echo "the search does not find a Temporary Key where it is"
	exit 1
fi
rm -f "$run/found.out"
# The key files and the manufacturer's list hold secrets by design.
mapfile -d '' files < <(find "$run" -type f ! -name '*.key' ! -name keys.csv ! -path "$run/certs/*" -print0)
find_secrets "${files[@]}"
