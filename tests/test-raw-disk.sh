#!/usr/bin/env bash
# The vaults of a PN GW and of PNEs lie on a file system of their own. Its raw image, cut at any moment and
# with all that was deleted, holds no Entity ID, User ID, password or key, however it is written.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
folder=$(mktemp -d /tmp/pngw-raw.XXXXXX)
end() {
	trap - EXIT
	system_stop
	umount "$folder/state" 2>/dev/null || true
	rm -rf "$folder"
}
trap end EXIT
user=canary-user-7f21
gateway=canary-gateway-90c3
one=canary-headset-51aa
two=canary-headset-62bb
three=canary-headset-73cc
password="canary sings 5822 on the disk"

disk=$folder/disk
mkdir "$folder/state"
truncate -s 24M "$disk"
mkfs.ext4 -q -F -m 0 -J size=4 "$disk"
mount -o loop "$disk" "$folder/state" 2>"$folder/mount.out" || {
	echo "no right to mount an image here: $(cat "$folder/mount.out")"
	exit 77
}
touch "$folder/log"
exec 8>>"$folder/log"
system_make "$folder"
sed -i "s|$run/gateway\.vault|$run/state/gateway.vault|" "$run/pngw.conf"
cat >"$run/keys.csv" <<-CSV
	entity_id,form,temporary_key
	$two,hex,$(openssl rand -hex 32)
	$three,passphrase,$(openssl rand -base64 18)
CSV
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8

bad=0
do_start() {
	start "$@" || {
		echo "pngwctl $1 ended with:"
		cat "$run/start.out"
		bad=1
	}
}
headset() { # ENTITY SOCKET SECURITY
	launch "$1" "$(bin cpns-pne)" --entity "$1" --connect "unix:$run/$2" --security "$3" \
		--state "$run/state" --temporary-key-file "$run/keys.csv"
}
all_up() {
	: >"$run/log"
	launch_gateway
	await "WAN is up"
	headset "$one" pan-secure authenticated
	headset "$two" pan-open none
	headset "$three" pan-open none
	for name in "$one" "$two" "$three"; do
		await "$name is connected"
	done
}
look() { # FILE...
	python3 "$top/tests/find-secrets.py" "$run" "$password" --remember "$run/secrets" --name "$user" \
		--name "$gateway" --name "$server" --name "$one" --name "$two" --name "$three" "$@"
}
# What the disk would hold if the power went now: all that was written, flushed or not.
cut_and_look() { # WHEN
	sync -f "$run/state"
	cp --sparse=always "$disk" "$run/cut"
	look "$run/cut" >"$run/found" || {
		echo "found $1:"
		cat "$run/found"
		bad=1
	}
	echo "$1: $(tail -n 1 "$run/found")"
}

# What stands sealed in the vaults now, to be looked for later: all, or what of it is still there.
sealed() { # FILE
	mkdir "$run/copy"
	cp "$run/state/"*.vault* "$run/copy"
	python3 - "$1" "$run/copy/"*.vault <<-'PYTHON'
		import sqlite3
		import sys

		with open(sys.argv[1], "a", encoding="ascii") as out:
		    for path in sys.argv[2:]:
		        for (sealed,) in sqlite3.connect(path).execute("SELECT sealed FROM record"):
		            print(sealed.hex(), file=out)
	PYTHON
	rm -r "$run/copy"
}

launch_server
await "listening on"
all_up
do_start register "$user"
do_start figure8 "$user"
do_start figure6 "$user" "$one"
do_start figure7 "$user" "$two"
do_start figure7 "$user" "$three" 4
cut_and_look "while all serve"
sealed "$run/sealed.then"
do_start figure7 "$user" "$two"
do_start figure8 "$user"
do_start figure6 "$user" "$one"
do_start release "$three"
look >"$run/found"
for name in gateway "$one" "$two" "$three"; do
	kill9 "$name"
done
cut_and_look "after kill -9"
all_up
do_start figure7 "$user" "$three"
do_start figure7 "$user" "$two"
do_start release "$one"
cut_and_look "after a second run"
sealed "$run/sealed.then"
do_start figure7 "$user" "$two"
for name in gateway "$one" "$two" "$three"; do
	stop "$name"
done
sealed "$run/sealed.now"
[ -s "$run/state/gateway.vault" ] && [ -s "$run/state/$one.vault" ]
umount "$run/state"
cp --sparse=always "$disk" "$run/cut"
look "$run/cut" >"$run/found" || {
	echo "found after unmounting:"
	cat "$run/found"
	bad=1
}
echo "after unmounting: $(tail -n 1 "$run/found")"

# What was erased or replaced is nowhere on the disk, not even sealed.
python3 - "$run" <<-'PYTHON' || bad=1
	import sys

	run = sys.argv[1]
	with open(run + "/cut", "rb") as f:
	    disk = f.read()
	now = set(open(run + "/sealed.now", encoding="ascii").read().split())
	then = set(open(run + "/sealed.then", encoding="ascii").read().split())
	found = [s for s in now if bytes.fromhex(s)[:48] in disk]
	if len(found) != len(now) or len(now) < 5:
	    sys.exit(f"of {len(now)} sealed records only {len(found)} are found where they are")
	gone = then - now
	left = [s for s in gone if bytes.fromhex(s)[:24] in disk or bytes.fromhex(s)[24:48] in disk]
	print(f"sealed records: {len(now)} there, {len(gone)} erased or replaced, {len(left)} of them still on the disk")
	if left or len(gone) < 5:
	    sys.exit(1)
PYTHON

# What is there to be found is found, deleted or not.
mount -o loop "$disk" "$run/state"
cp "$run/keys.csv" "$run/state/planted"
printf '%s' "$one" | base64 >>"$run/state/planted"
printf '%s' "$user" >>"$run/state/planted"
sync -f "$run/state"
rm "$run/state/planted"
umount "$run/state"
if look "$disk" >"$run/found"; then
	echo "the search finds nothing where something was planted"
	bad=1
fi
for what in "printed Temporary Key" "the name $user, as it is" "the name $one, in base64"; do
	grep -qF "$what" "$run/found" || {
		echo "the search does not find $what where it was planted"
		bad=1
	}
done
exit $bad
