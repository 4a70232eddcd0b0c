#!/usr/bin/env bash
# What pngwctl shows of a label is read back by a QR decoder, on every kind of terminal.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if ! command -v zbarimg >/dev/null || ! command -v script >/dev/null; then
	echo "zbarimg or script is missing"
	exit 77
fi
folder=$(mktemp -d /tmp/pngw-qr.XXXXXX)
trap 'rm -rf "$folder"' EXIT
bad=0

# reads WANTED FILE [--inverted]: the decoder reads WANTED's first label text out of what FILE shows
reads() {
	local got
	python3 "$top/tests/qr-image.py" ${3:+"$3"} <"$2" >"$folder/picture.pgm"
	got=$(zbarimg -q --raw -Sdisable -Sqrcode.enable "$folder/picture.pgm" 2>/dev/null) || got="nothing"
	if [ "$got" != "$1" ]; then
		echo "$2: the decoder reads \"$got\" instead of \"$1\""
		bad=1
	fi
}

# shows WANTED FILE: the text below the code
shows() {
	[ "$(tail -n 1 "$2")" = "$1" ] || {
		echo "$2: the text is not $1"
		bad=1
	}
}

ctl() {
	"$build/pngwctl" "$@"
}

pne="pngw1:pne:e=headset-1;a=00:11:22:AA:BB:CC;c=$(printf 'pngw1:pne:e=headset-1;a=00:11:22:AA:BB:CC' |
	sha256sum | cut -c1-4 | tr a-f A-F)"
user="pngw1:user:u=J%C3%B6rg;c=$(printf 'pngw1:user:u=J%%C3%%B6rg' | sha256sum | cut -c1-4 | tr a-f A-F)"

LC_ALL=C.UTF-8 ctl qr pne headset-1 00:11:22:aa:bb:cc >"$folder/blocks"
grep -q "▀" "$folder/blocks"
reads "$pne" "$folder/blocks"
shows "$pne" "$folder/blocks"
[ "$(wc -l <"$folder/blocks")" -le 24 ] || {
	echo "the label does not fit on a screen"
	bad=1
}
LC_ALL=C ctl qr pne headset-1 00:11:22:AA:BB:CC >"$folder/ascii"
reads "$pne" "$folder/ascii"
if LC_ALL=C grep -q '[^ -~]' "$folder/ascii"; then
	echo "not ASCII in a locale without UTF-8"
	bad=1
fi
[ "$(awk '{ if (length > n) n = length } END { print n }' "$folder/ascii")" -le 82 ]
LC_ALL=C.UTF-8 ctl qr user "Jörg" --ascii --invert >"$folder/paper"
reads "$user" "$folder/paper" --inverted
LC_ALL=C.UTF-8 ctl qr user "Jörg" >"$folder/user"
reads "$user" "$folder/user"

# On a terminal of each kind.
for kind in dumb vt100 xterm-256color; do
	TERM=$kind LC_ALL=C.UTF-8 script -qec "'$build/pngwctl' qr pne headset-1 00:11:22:AA:BB:CC" /dev/null \
		</dev/null | tr -d '\r' >"$folder/$kind"
	reads "$pne" "$folder/$kind"
done
grep -q "##" "$folder/dumb" || {
	echo "a dumb terminal got no ASCII"
	bad=1
}

ctl --json qr user alice | python3 -c 'import json, sys
d = json.load(sys.stdin)
sys.exit(0 if d["label"].startswith("pngw1:user:u=alice;c=") and len(d["lines"]) > 10 else 1)' || {
	echo "--json: not a label and its lines"
	bad=1
}
code=0
ctl qr pne headset-1 00:11:22 2>"$folder/err" || code=$?
if [ "$code" != 64 ] || ! grep -q 'argument 2 (ADDRESS) "00:11:22" is not a Bluetooth address' "$folder/err"; then
	echo "a wrong address is not refused by its name"
	bad=1
fi
exit $bad
