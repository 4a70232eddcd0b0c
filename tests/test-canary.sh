#!/usr/bin/env bash
# No password, password hash, EUKey or Temporary Key is in a log, in a state file, in the ledger, in a
# backup or in a core image of a process that worked with it; no name of a user or device is in a vault, its
# log, its ledger, its anchor or its backup.
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
mkdir -m 700 "$run/elsewhere"
sed -i "s|^vault = { |&anchor = \"file:$run/elsewhere/anchor\"; second_key_file = \"$run/second.key\"; |" \
	"$run/pngw.conf"
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_all headset-1 headset-2 headset-3
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

# The messages of renewal, refill, revocation and reset, and the keys changed in between.
all_figures renew headset-2
all_figures vault rekey
all_figures renew headset-2
for ((i = 0; i < 100; i++)); do
	start --kv pool headset-2 && grep -q "left=4" "$run/start.out" && break
	sleep 0.1
done
grep -q "left=4" "$run/start.out" || {
	echo "the pool is not filled up: $(cat "$run/start.out")"
	exit 1
}
all_figures revoke headset-3
all_figures vault backup "$run/elsewhere/vault.backup"

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

mapfile -t vaults < <(find "$run" -type f \( -path "*vault*" -o -name anchor \) ! -name "core.*" ! -name "*.key")
for file in gateway.vault gateway.vault-wal gateway.vault.ledger elsewhere/vault.backup elsewhere/anchor; do
	[ -s "$run/$file" ] || {
		echo "$file is not there to be looked into"
		exit 1
	}
done
for name in "$user" "$gateway" headset-1 headset-2 headset-3 tablet-1; do
	if ! grep -qaF "$name" "$run"/server.db*; then
		echo "the search does not find $name where it is"
		exit 1
	fi
	if grep -laF "$name" "${vaults[@]}"; then
		echo "the name $name is in these files"
		exit 1
	fi
done

find_secrets() {
	python3 "$top/tests/find-secrets.py" "$run" "$password" \
		--vault "$run/elsewhere/vault.backup" "$run/gateway.key" "$@"
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
