#!/usr/bin/env bash
# The units as systemd reads them: nothing to complain of, and exposed no more than promised.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
folder=$(mktemp -d /tmp/pngw-units.XXXXXX)
trap 'rm -rf "$folder"' EXIT
bad=0
complain() {
	echo "$1"
	bad=1
}

make -s -C "$build" systemd/pngwd.service systemd/cpns-serverd.service systemd/pngw-console@.service
# exposed UNIT AT-MOST: systemd-analyze's verdict, in tenths
exposed() {
	local at
	for ((at = 0; at < 100; at++)); do
		SYSTEMD_LOG_LEVEL=err systemd-analyze security --offline=true --no-pager --threshold="$at" \
			"$folder/$1" >"$folder/verdict" 2>&1 && break
	done
	echo "$1: exposure $((at / 10)).$((at % 10))"
	[ "$at" -le "$2" ] || complain "$1: $(grep '✗' "$folder/verdict")"
	[ "$at" -ge 5 ] || complain "$1: too good to be true: $(cat "$folder/verdict")"
}

for unit in pngwd cpns-serverd; do
	# Not installed here: the programs are those of the build.
	sed "s,^\(ExecStart=\)[^ ]*/,\1$build/," "$build/systemd/$unit.service" >"$folder/$unit.service"
	said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no --recursive-errors=no "$folder/$unit.service" 2>&1) ||
		complain "$unit.service: verify failed"
	[ -z "$said" ] || complain "$unit.service: $said"
	! grep '@[a-z]*@' "$folder/$unit.service" || complain "$unit.service: a folder is not filled in"
	exposed "$unit.service" 15
done
# The template, as an instance; its user has no folder and no file.
sed "s,^\(ExecStart=\)[^ ]*/,\1$build/," "$build/systemd/pngw-console@.service" >"$folder/pngw-console@ttyS1.service"
said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no --recursive-errors=no \
	"$folder/pngw-console@ttyS1.service" 2>&1) || complain "pngw-console@.service: verify failed"
[ -z "$said" ] || complain "pngw-console@.service: $said"
! grep '@[a-z]*@' "$folder/pngw-console@ttyS1.service" || complain "pngw-console@.service: a folder is not filled in"
exposed "pngw-console@ttyS1.service" 15

# What verify says can be heard.
sed 's/^WatchdogSec=.*/WatchdogSec=soon/' "$folder/pngwd.service" >"$folder/wrong.service"
said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no --recursive-errors=no "$folder/wrong.service" 2>&1) || true
[[ $said == *"Failed to parse"* ]] || complain "verify has nothing against a wrong unit: $said"

# The drop-ins add what they say, and stay below what a drop-in may cost.
for dropin in bonds nap tpm; do
	cat "$folder/pngwd.service" "$top/systemd/$dropin.conf" >"$folder/$dropin.service"
	said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no --recursive-errors=no "$folder/$dropin.service" 2>&1) ||
		complain "$dropin.conf: verify failed"
	[ -z "$said" ] || complain "$dropin.conf: $said"
	exposed "$dropin.service" 25
done

# Users and folders.
for name in pngw cpns-server; do
	mkdir -p "$folder/root/etc"
	: >"$folder/root/etc/passwd"
	: >"$folder/root/etc/group"
	systemd-sysusers --root="$folder/root" "$top/systemd/$name.sysusers" >"$folder/said" 2>&1 ||
		complain "$name.sysusers: $(cat "$folder/said")"
	grep -q "^$name:.*:/var/lib/$name:/usr/sbin/nologin$" "$folder/root/etc/passwd" ||
		complain "$name.sysusers: $(cat "$folder/root/etc/passwd")"
	grep -q "^User=$name$" "$folder"/*.service || complain "no unit has the user $name"
	if [ "$(id -u)" = 0 ]; then
		systemd-tmpfiles --root="$folder/root" --create "$top/systemd/$name.tmpfiles" >"$folder/said" 2>&1 ||
			complain "$name.tmpfiles: $(cat "$folder/said")"
		[ "$(stat -c %a "$folder/root/var/lib/$name")" = 700 ] || complain "/var/lib/$name is not 0700"
	fi
done
exit $bad
