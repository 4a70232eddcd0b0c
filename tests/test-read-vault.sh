#!/usr/bin/env bash
# tests/vectors/read-vault.py, a second reader written from the documents alone, opens the vaults of pngwd and of
# the PNEs after all that can happen to them, finds as many records as the programs, each as documented, and the
# same EUKeys; and it names what was altered.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
folder=$(mktemp -d /tmp/pngw-read-vault.XXXXXX)
end() {
	trap - EXIT
	kill -CONT "${pid_of[@]}" 2>/dev/null || true
	system_stop
	rm -rf "$folder"
}
trap end EXIT
touch "$folder/log"
exec 8>>"$folder/log"
system_make "$folder"
logs=0

# It ends with that code; what it says is in $run/read.out.
reader() { # CODE ARGUMENTS...
	local code=0 want=$1
	shift
	"$top/tests/vectors/read-vault.py" "$@" >"$run/read.out" 2>&1 || code=$?
	cat "$run/read.out" >>"$run/all.out"
	[ "$code" = "$want" ] || complain "the reader of $* ended with $code, not $want: $(cat "$run/read.out")"
}

said() { # LINE
	grep -qxF -- "$1" "$run/read.out" || complain "the reader does not say \"$1\" but: $(cat "$run/read.out")"
}

vault_of() { # VAULT OPTIONS... COMMAND
	"$(bin pngw-vault)" --vault "$@" 2>&1
}

# The reader opens all of it, and that is as much as pngw-vault finds.
agree() { # VAULT KEYFILE OPTIONS...
	local vault=$1 key=$2 line
	shift 2
	reader 0 "$vault" --key-file "$key" "$@"
	line=$(vault_of "$vault" --key-file "$key" scan | tail -n 1)
	[[ $line = *", damaged: 0" ]] || complain "pngw-vault scan $vault: $line"
	said "$line"
}

# A process stands still while the reader copies its vault.
reader_beside() { # NAME ARGUMENTS...
	kill -STOP "${pid_of[$1]}"
	[ ! -s "$gw-wal" ] || logs=$((logs + 1))
	reader 0 "${@:2}"
	kill -CONT "${pid_of[$1]}"
}

status() {
	ctl vault status | grep "^records: "
}

# The same while pngwd has it open, and each fingerprint is the one pngwd gives.
agree_live() { # OPTIONS...
	local line entity index fingerprint before after
	for _ in {1..20}; do
		before=$(status)
		reader_beside gateway "$gw" --of gateway --fingerprint "$challenge" --password-file "$run/password" "$@"
		after=$(status)
		[ "$before" = "$after" ] && break
	done
	said "$after, damaged: 0"
	for entity in "$gateway" headset-2 headset-3; do
		line=$(ctl fingerprint --challenge "$challenge" "$entity" 2>&1 | tail -n 1) || continue
		read -r _ _ index fingerprint <<<"$line"
		said "fingerprint \"$entity\" $index $fingerprint"
		echo "$entity" >>"$run/fingerprints"
	done
}

procedure() {
	start "$@" || complain "$*: $(cat "$run/start.out")"
}

mkdir -m 700 "$run/elsewhere" "$run/copy"
sed -i "s|^vault = { |&anchor = \"file:$run/elsewhere/anchor\"; |" "$run/pngw.conf"
gw=$run/gateway.vault
pne=$run/headset-1/headset-1.vault
printf '%s\n' "$password" >"$run/password"
challenge=$(openssl rand -hex 16)
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_server
await "listening on"
launch_gateway
await "WAN is up"
procedure register "$user"
procedure figure8 "$user"
stop gateway
reader 0 "$gw" --key-file "$run/gateway.key" --of gateway
: >"$run/log"
launch_gateway
await "WAN is up"
launch_pne headset-1 pan-secure authenticated
launch_pne headset-2 pan-open none
launch_pne headset-3 pan-open none
for name in headset-1 headset-2 headset-3; do
	await "$name is connected"
done
procedure figure7 "$user" headset-2 3
procedure figure7 "$user" headset-3 2
agree_live --key-file "$run/gateway.key"
grep -q "^entry .*entity=\"headset-3\" user=\"$user\"" "$run/read.out" || complain "no entry of headset-3"
grep "^entry .*=?" "$run/read.out" && complain "tags of nobody"

# Figure 6 while the server does not answer the PNE: it is under way in both vaults.
kill -STOP "${pid_of[headset-1]}"
start figure6 "$user" headset-1 &
starter=$!
await "Fig. 6 step 4"
kill -STOP "${pid_of[server]}"
kill -CONT "${pid_of[headset-1]}"
await "Fig. 6 step 9"
reader_beside headset-1 "$pne" --key-file "$run/headset-1/headset-1.key" --of pne
agree_live --key-file "$run/gateway.key"
kill -CONT "${pid_of[server]}"
wait "$starter" || complain "Figure 6: $(cat "$run/start.out")"
reader_beside headset-1 "$pne" --key-file "$run/headset-1/headset-1.key" --of pne --fingerprint "$challenge" \
	--password-file "$run/password"
cp "$run/read.out" "$run/pne.out"
said "proven password: \"$user\""

# A renewal and a revocation while the WAN is down and the device away; a second wrap, all sealed anew.
cp "$gw" "$gw-wal" "$gw.ledger" "$run/copy"
stop headset-3
stop server
await "WAN is down"
procedure renew headset-2
start revoke headset-3 || true
agree_live --key-file "$run/gateway.key" --before "$run/copy/gateway.vault"
said "proven CPNS P1 reset: \"headset-3\" 1"
said "proven CPNS P1 reset done: \"headset-3\" 1"
procedure vault add-wrap "$run/second.key"
procedure vault rekey
printf 'a passphrase of the operator: cafe\314\201, \302\265\n' >"$run/words"
password=$(cat "$run/words") procedure vault add-passphrase safe
for _ in {1..100}; do
	start --kv vault status && grep -q "rekeying=false" "$run/start.out" && break
	sleep 0.05
done
agree_live --passphrase-file "$run/words"
agree_live --key-file "$run/gateway.key" --key-file "$run/second.key" --passphrase-file "$run/words"
said "master generation=2 opened=yes"
[ "$(grep -c "^wrap .*generation=2 .*opened=yes" "$run/read.out")" = 3 ] || complain "not all wraps open"
procedure vault backup "$run/backup"
kill9 gateway
((logs > 0)) || complain "no log was read"
reader 0 "$gw" --key-file "$run/gateway.key" --of gateway
crashed=$(grep "^records: " "$run/read.out")
agree "$gw" "$run/gateway.key" --of gateway
said "$crashed"
[ ! -s "$gw-wal" ] || complain "the log was not emptied"
for name in "$gateway" headset-2 headset-3; do
	grep -qx "$name" "$run/fingerprints" || complain "no fingerprint of $name was compared"
done

# A backup, and one that was put back.
agree "$run/backup" "$run/second.key" --of gateway --ledger "$gw.ledger"
vault_of "$gw" --key-file "$run/second.key" restore "$run/backup" >"$run/restore.out" ||
	complain "restore: $(cat "$run/restore.out")"
reader 0 "$gw" --key-file "$run/second.key" --of gateway

# A PNE's, by key file and by passphrase, sealed anew and with a second wrap.
stop headset-1
said_of_pne=$(pne_fingerprint headset-1)
read -r _ _ index fingerprint <<<"$said_of_pne"
cp "$run/pne.out" "$run/read.out"
said "fingerprint \"headset-1\" $index $fingerprint"
vault_of "$pne" --key-file "$run/headset-1/headset-1.key" --new-passphrase add-wrap <"$run/words" >"$run/out"
vault_of "$pne" --key-file "$run/headset-1/headset-1.key" rekey >>"$run/out" || complain "$(cat "$run/out")"
agree "$pne" "$run/headset-1/headset-1.key" --of pne
reader 0 "$pne" --passphrase-file "$run/words" --of pne --fingerprint "$challenge"
said "fingerprint \"headset-1\" $index $fingerprint"
said "master generation=2 opened=yes"

# Every kind of the document was among them.
for kind in 1 2 3 5 6 7 8 9 10 11 129 130 131; do
	grep -q "^record kind=$kind " <(grep -v 'owner="headset-1" item="figure 6"' "$run/all.out") || complain "no record of kind $kind"
done
for what in "kind=4 user" "kind=5 answer" "kind=8 procedure owner=\"headset-1\""; do
	grep -qF "record $what" "$run/all.out" || complain "no record $what"
done

# Killed in the middle of sealing anew: two generations.
(cd "$run" && "$build/tests/make-vault" large large.key 3000)
generations=
for ((ms = 5; ms < 1000; ms += 1 + ms / 4)); do
	{
		timeout -s KILL "0.$(printf %03d "$ms")" "$(bin pngw-vault)" --vault "$run/large" \
			--key-file "$run/large.key" rekey >"$run/out" 2>&1 || true
	} 2>/dev/null
	[ -s "$run/large-wal" ] || continue
	reader 0 "$run/large" --key-file "$run/large.key"
	said "records: 3001, damaged: 0"
	generations=$(grep -o "^record .*generation=[0-9]*" "$run/read.out" | sed 's/.*=//' | sort -u | wc -l)
	[ "$generations" = 2 ] && break
done
[ "$generations" = 2 ] || complain "no kill -9 came in the middle of sealing anew"
[ "$(grep -c "^master generation=.* opened=yes" "$run/read.out")" = 2 ] || complain "not two master keys"
agree "$run/large" "$run/large.key"

# The fixtures.
data=$top/tests/data
printf "the fixture's passphrase\n" >"$run/fixture"
reader 0 "$data/vault-schema-1.db" --key-file "$data/vault-schema-1.key"
said "records: 14, damaged: 0"
for secret in "--key-file=$data/vault-schema-2.key" "--passphrase-file=$run/fixture"; do
	reader 0 "$data/vault-schema-2.db" "$secret" --ledger "$data/vault-schema-2.ledger"
	said "records: 16, damaged: 0"
done

# What does not open it.
(umask 077 && openssl rand -hex 32 >"$run/wrong.key")
printf 'another passphrase\n' >"$run/wrong.words"
reader 2 "$gw" --key-file "$run/wrong.key"
reader 2 "$gw" --passphrase-file "$run/wrong.words"
reader 2 "$data/vault-schema-1.db" --key-file "$run/wrong.key"

# What was altered: nonce, text, tag, sequence, generation, two exchanged; then what is not served at all.
for name in records ledger label master schema; do
	cp "$gw" "$run/altered-$name"
	cp "$gw.ledger" "$run/altered-$name.ledger"
done
python3 - "$run/altered-" <<-'PYTHON'
	import sqlite3
	import sys


	def flip(data, at):
	    at %= len(data)
	    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


	db = {name: sqlite3.connect(sys.argv[1] + name) for name in ("records", "label", "master", "schema")}
	rows = db["records"].execute("SELECT name, sequence, generation, sealed FROM record"
	                             " WHERE name < x'80' ORDER BY name").fetchall()
	for i, at in enumerate((0, 12, 30, -17, -1)):
	    rows[i] = (*rows[i][:3], flip(rows[i][3], at))
	rows[5] = (rows[5][0], rows[5][1] - 2000, *rows[5][2:])
	rows[6] = (*rows[6][:2], rows[6][2] - 1, rows[6][3])
	rows[7:9] = [(rows[7][0], *rows[8][1:]), (rows[8][0], *rows[7][1:])]
	db["records"].executemany("REPLACE INTO record (name, sequence, generation, sealed) VALUES (?, ?, ?, ?)", rows[:9])
	db["label"].execute("UPDATE wrap SET label = 'another'")
	sealed, = db["master"].execute("SELECT sealed FROM master").fetchone()
	db["master"].execute("UPDATE master SET sealed = ?", (flip(sealed, 20),))
	db["schema"].execute("PRAGMA user_version = 3")
	for each in db.values():
	    each.commit()
	with open(sys.argv[1] + "ledger.ledger", "r+b") as file:
	    file.seek(128 + 152 + 20)
	    file.write(b"x")
PYTHON
reader 1 "$run/altered-records" --key-file "$run/second.key" --of gateway
vault_of "$run/altered-records" --key-file "$run/second.key" scan >"$run/scan.out" &&
	complain "pngw-vault sees nothing that was altered"
[ "$(grep -c "^damaged: kind " "$run/read.out")" = 9 ] || complain "not nine damaged: $(cat "$run/read.out")"
while read -r line; do
	said "$line"
done <"$run/scan.out"
reader 1 "$run/altered-ledger" --key-file "$run/second.key"
said "DEVIATION $run/altered-ledger.ledger byte 280: its signature"
for name in label master schema; do
	reader 2 "$run/altered-$name" --key-file "$run/second.key"
done

# And no secret was among all it printed.
{
	cat "$run"/*.key "$run"/headset-1/*.key
	sed 's/.*,//' "$run/keys.csv" | tail -n +2
	printf '%s\n' "$password" "$(cat "$run/words")"
} >"$run/secrets"
grep -F -f "$run/secrets" "$run/all.out" && complain "that is secret"
exit $bad
