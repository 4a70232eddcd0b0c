#!/usr/bin/env bash
# pngw-vault as somebody uses it who looks after a vault.
set -euo pipefail
build=${PNGW_BUILDDIR:-$PWD}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

die() {
	echo "FAIL: $*" >&2
	exit 1
}

# expect STATUS TEXT COMMAND...: exit status and a text somewhere in the output; standard input is $input
input=
expect() {
	local status=$1 text=$2 got=0
	shift 2
	printf '%b' "$input" | "$@" >out 2>&1 || got=$?
	[ "$got" = "$status" ] || die "$* gave $got, not $status: $(cat out)"
	grep -qF -- "$text" out || die "$* does not say '$text': $(cat out)"
}

tool() {
	"$build/pngw-vault" --vault vault "$@"
}

"$build/tests/make-vault" vault key 100

# Usage.
expect 64 "no command" "$build/pngw-vault"
expect 64 "no such command" tool --key-file key frobnicate
expect 64 "are needed" tool status
expect 64 "are needed" "$build/pngw-vault" --key-file key status
expect 64 "takes one argument" tool --key-file key backup
expect 64 "takes no argument" tool --key-file key status now
expect 64 "not a slot" tool --key-file key remove-wrap 9
expect 64 "either --new-key-file or" tool --key-file key add-wrap
expect 64 "wrong options" tool --key-file key --frob status
expect 0 "Usage" "$build/pngw-vault" --help

# What it says of a good vault and of wrong keys.
expect 0 "slot 1: key file, key" tool --key-file key wraps
expect 0 "generation 1" tool --key-file key status
expect 0 "it will open again" tool --key-file key check
expect 0 "damaged: 0" tool --key-file key scan
expect 1 "No such file" tool --key-file other status
openssl rand -hex 32 >other
expect 1 "open to others" tool --key-file other status
chmod 600 other
expect 1 "does not open it" tool --key-file other status
[ ! -e nowhere ] || die "made a vault"
expect 1 "No such file" "$build/pngw-vault" --vault nowhere --key-file key status

# A credential.
mkdir credentials
cp key credentials/vault-key
chmod 440 credentials/vault-key
export CREDENTIALS_DIRECTORY=$dir/credentials
expect 0 "generation 1" tool --key-file credential:vault-key status
unset CREDENTIALS_DIRECTORY

# Wraps: a second key file, a passphrase, each opens it alone.
expect 0 "slot 2: second" tool --key-file key --new-key-file second --label "in the safe" add-wrap
expect 0 "slot 2: key file, in the safe" tool --key-file second wraps
[ "$(stat -c %a second)" = 600 ] || die "mode of the new key file"
expect 1 "opens slot 2 already" tool --key-file key --new-key-file second add-wrap
input='correct horse\n'
expect 0 "slot 3" tool --key-file key --new-passphrase add-wrap
expect 0 "the passphrase opens slot 3" tool --passphrase check
expect 0 "slot 1 (key file, key file) was not tried" tool --passphrase check
input='wrong horse\n'
expect 1 "does not open it" tool --passphrase status
input=
expect 1 "reading the passphrase" tool --passphrase status
mv key key.away
expect 0 "slot 2" tool --key-file key --key-file second wraps
expect 1 "key DOES NOT OPEN IT" tool --key-file key --key-file second check
expect 1 "No such file" tool --key-file key wraps
mv key.away key
input='correct horse\nbattery staple\n'
expect 0 "slot 3: the new passphrase" tool --passphrase --new-passphrase rotate-wrap 3
input='correct horse\n'
expect 1 "does not open it" tool --passphrase wraps
input='battery staple\n'
expect 0 "slot 3" tool --passphrase wraps

# A backup of now; then everything under another master, and a wrap less.
input=
expect 0 "is a backup" tool --key-file key backup backup
expect 1 "the vault itself" tool --key-file key backup vault
expect 0 "generation 2: " tool --key-file key rekey
expect 0 "generation 2" tool --key-file second status
expect 0 "damaged: 0" tool --key-file second scan
input='battery staple\n'
expect 0 "it will open again" tool --passphrase check
input=
expect 0 "slot 1 is empty" tool --key-file second remove-wrap 1
expect 1 "there is no slot 1" tool --key-file second remove-wrap 1
expect 1 "does not open it" tool --key-file key wraps
expect 0 "slot 3 is empty" tool --key-file second remove-wrap 3
expect 1 "is the last" tool --key-file second remove-wrap 2

# Drill and restore.
expect 0 "backup opens, all" tool --key-file key restore --drill backup
expect 0 "generation 2" tool --key-file second status
expect 1 "does not open it" tool --key-file other restore --drill backup
cp backup bad
truncate -s 8192 bad
expect 1 "" tool --key-file key restore bad
expect 0 "generation 2" tool --key-file second status
expect 0 "kept as .replaced" tool --key-file key restore backup
[ -e vault.replaced ] || die "nothing kept"
expect 0 "generation 1" tool --key-file key status
expect 0 "damaged: 0" tool --key-file key scan
[ -z "$(find . -name 'vault.drill*' -o -name 'vault.restore*' -o -name '*.new')" ] || die "left: $(ls)"

# A spoiled record is named, the others are there.
python3 - <<'PY'
import sqlite3
db = sqlite3.connect("vault")
n, s = db.execute("SELECT name, sealed FROM record WHERE substr(name, 1, 1) = x'03' LIMIT 1").fetchone()
db.execute("UPDATE record SET sealed = ? WHERE name = ?", (s[:-1] + bytes([s[-1] ^ 1]), n))
db.commit()
db.close()
PY
expect 1 "damaged: kind 3, sequence" tool --key-file key scan
expect 1 "damaged: 1" tool --key-file key check
grep -qx "NOT GOOD" out || die "a damaged vault is good: $(cat out)"
expect 1 "damaged: 1" tool --key-file key rekey
expect 0 "is a backup" tool --key-file key backup spoiled
expect 1 "1 of" tool --key-file key restore --drill spoiled

# No secret was printed, and no passphrase lies about.
! grep -qr "battery staple" . || die "a passphrase in a file"
echo "ok"
