#!/usr/bin/env bash
# cpns-server-admin revokes while cpns-serverd runs; a PN GW, here curl with its certificate, learns of it
# with its next GatewayStateReport, and is told when its vault is an older copy.
set -euo pipefail
# shellcheck source=tests/server-alone.sh
. "${PNGW_SRCDIR:?}/tests/server-alone.sh"

# assign ENTITY USER: Figure 5 by HTTP digest; prints what post() does.
assign() {
	cat >"$run/request" <<XML
<EUKeyAssignmentRequest xmlns="urn:pngw:cpns:binding:1"><Envelope><Version>1</Version><Profile>P1</Profile>
<MessageID>$(openssl rand -hex 16)</MessageID><Source>$1</Source><Target>cpns.example</Target></Envelope>
<UserID>$2</UserID><EntityID>$1</EntityID><Mode>PNE</Mode></EUKeyAssignmentRequest>
XML
	post "$run/request" >/dev/null
	cat >"$run/credentials" <<CURL
user = "$2:$(python3 - "$password" "$(element Salt)" 20000 <<'PY'
import hashlib, sys
print(hashlib.pbkdf2_hmac("sha256", sys.argv[1].encode(), bytes.fromhex(sys.argv[2]), int(sys.argv[3])).hex())
PY
	)"
CURL
	post "$run/request" --digest -K "$run/credentials"
}

# state SEQUENCE HEAD ENTITY...: a GatewayStateReport of gw-1, which knows of no revocation.
state() {
	local sequence=$1 head=$2 entity
	shift 2
	{
		cat <<XML
<GatewayStateReport xmlns="urn:pngw:cpns:binding:1"><Envelope><Version>1</Version><Profile>P1</Profile>
<MessageID>$(openssl rand -hex 16)</MessageID><Source>gw-1</Source><Target>cpns.example</Target></Envelope>
<VaultState><VaultID>000102030405060708090a0b0c0d0e0f</VaultID><Sequence>$sequence</Sequence>
<Head>$(printf "$head%.0s" {1..32})</Head></VaultState>
XML
		for entity in "$@"; do
			printf '<ElementState><EntityID>%s</EntityID><Epoch>0</Epoch><KeyIndex>0</KeyIndex>' "$entity"
			printf '<Reset>None</Reset></ElementState>\n'
		done
		printf '</GatewayStateReport>\n'
	} >"$run/state"
	post "$run/state" --cert "$run/certs/gateway.pem" --key "$run/certs/gateway.key"
}

# damage TABLE COLUMN WHERE: one sealed value, also while the server runs.
damage() {
	python3 - "$run/server.db" "$@" <<'PY'
import sqlite3, sys
table, column, where = sys.argv[2:5]
store = sqlite3.connect(sys.argv[1], timeout=10)
changed = store.execute(f"UPDATE {table} SET {column} = zeroblob(length({column})) WHERE {where}").rowcount
store.commit()
sys.exit(changed != 1)
PY
}

printf '%s\n' "$password" | admin add-user alice
printf '%s\n' "$password" | admin add-user bob
start

for pne in tablet phone watch; do
	expect "$(assign $pne alice)" "200 2" "a key for $pne"
done
expect "$(assign camera bob)" "200 2" "a key for camera"
expect "$(state 7 aa tablet phone)" "200 2" "the first state report"
[ -z "$(element EntityID)" ] || die "a device is told of that nobody revoked"
expect "$(element Sequence)" "" "a state of before"

# One device.
admin revoke tablet >"$run/out"
grep -q "^tablet	revoked, epoch 1	key index 1	reset unconfirmed$" "$run/out" || die "$(cat "$run/out")"
admin revoke tablet | grep -q "nothing to revoke" || die "revoked twice"
code=0
admin revoke nobody-has-it 2>"$run/err" || code=$?
[ "$code" = 1 ] && grep -q "no such record" "$run/err" || die "an unknown device was revoked"
expect "$(state 8 bb tablet phone)" "200 2" "the state report after it"
expect "$(element Sequence)" 7 "what the server knew"
expect "$(element EntityID) $(element Epoch) $(element KeyIndex) $(element Reset)" "tablet 1 1 Unconfirmed" "the news"
grep -q "gw-1 learns of the revocation of tablet: epoch 1" "$run/log" || die "the journal of it"
admin list keys | grep -q tablet && die "a revoked key is kept"
admin list revocations >"$run/out"
grep -Eq '^tablet	epoch 1	key index 1	reset unconfirmed	since 20[0-9-]*T[0-9:]*Z$' "$run/out" || die "$(cat "$run/out")"
expect "$(assign tablet alice)" "200 2" "a new key after a revocation"
expect "$(element KeyIndex)" 2 "its index"

# An older copy of the vault, and another one of the same age.
for copy in "5 cc" "8 cc"; do
	# shellcheck disable=SC2086 # two words
	expect "$(state $copy)" "200 2" "the state report of an older copy"
	expect "$(element Sequence)" 8 "what the server knew"
done
[ "$(grep -c 'GATEWAY_ROLLED_BACK' "$run/log")" = 2 ] || die "no verdict on the older copies"
expect "$(state 9 dd)" "200 2" "the state report of a vault that went on"
[ "$(grep -c 'GATEWAY_ROLLED_BACK' "$run/log")" = 2 ] || die "a verdict where there is nothing wrong"

# The operator has it forgotten: what comes next is believed. Not by a slip.
vault=000102030405060708090a0b0c0d0e0f
# refused CODE TEXT ARGUMENT...: forget-vault fails so
refused() {
	local code=0 want=$1 text=$2
	shift 2
	admin forget-vault "$@" >"$run/out" 2>"$run/err" || code=$?
	[ "$code" = "$want" ] && grep -qF -- "$text" "$run/err" || die "forget-vault $*: $code, $(cat "$run/out" "$run/err")"
}
refused 1 "gw-9 has told of no vault" gw-9
refused 1 "gw-1 has told of no such vault" gw-1 "${vault/0f/ff}"
refused 2 "32 hex digits" gw-1 "${vault}0f"
refused 2 "32 hex digits" gw-1 mine
admin list vaults >"$run/out"
grep -Eq "^gw-1	$vault	ledger at 9	told 20[0-9-]*T[0-9:]*Z\$" "$run/out" || die "list vaults: $(cat "$run/out")"
expect "$(state 5 cc)" "200 2" "the state report of an older copy"
[ "$(grep -c 'GATEWAY_ROLLED_BACK' "$run/log")" = 3 ] || die "no verdict before it was forgotten"
grep -q "see 'list vaults' and 'forget-vault'.*GATEWAY_ROLLED_BACK" "$run/log" || die "the verdict names no remedy"
admin forget-vault gw-1 "$vault" | grep -q "^gw-1: 1 vaults forgotten$" || die "the vault was not forgotten"
[ -z "$(admin list vaults)" ] || die "it is listed still: $(admin list vaults)"
expect "$(state 0 cc)" "200 2" "a question"
[ -z "$(admin list vaults)" ] || die "a question was kept"
expect "$(state 5 cc)" "200 2" "the state report of what was forgotten"
expect "$(element Sequence)" "" "a state of before it was forgotten"
expect "$(state 6 dd)" "200 2" "the next one"
expect "$(element Sequence)" 5 "what the server knew"
[ "$(grep -c 'GATEWAY_ROLLED_BACK' "$run/log")" = 3 ] || die "a verdict on what was forgotten"
admin forget-vault gw-1 >/dev/null || die "not every vault of gw-1 was forgotten"
[ -z "$(admin list vaults)" ] || die "one is listed still: $(admin list vaults)"

# A damaged key is named, and in nobody's way.
damage eukey key "entity = 'phone'"
admin list keys | grep -q "^alice	phone	1	damaged$" || die "the damaged key: $(admin list keys)"
[ "$(admin fingerprint --challenge 00 alice watch | wc -l)" = 1 ] || die "the fingerprint of another key"
code=0
admin fingerprint --challenge 00 alice phone 2>"$run/err" || code=$?
[ "$code" = 1 ] && grep -q "EUKey 1 is damaged" "$run/err" || die "the damaged key's fingerprint: $code, $(cat "$run/err")"

# A user: locked out as if nobody knew her, every device taken.
admin revoke-user alice >"$run/out" 2>"$run/err" || die "revoke-user: $(cat "$run/err")"
grep -q "phone: 1 EUKeys were damaged" "$run/err" || die "nothing about the damaged key: $(cat "$run/err")"
grep -q "^alice is locked out, 3 devices revoked$" "$run/out" || die "$(cat "$run/out")"
expect "$(assign phone alice)" "401 2" "a key for a user who is locked out"
expect "$(element Status)" Unauthorized "what she is told"
admin list users | grep -q "^alice	.*blocked" || die "she is not listed as locked out"
admin list keys | grep -q alice && die "a key of hers is kept"
[ "$(admin list elements | grep -c '(nobody)')" = 3 ] || die "a device of hers is kept"
printf '%s\n' "$password" | admin add-user carol
damage account ph "user = 'carol'"
admin revoke-user carol | grep -q "^carol is locked out, 0 devices revoked$" || die "a user whose password's hash is damaged"
code=0
admin revoke-user nobody 2>/dev/null || code=$?
[ "$code" = 1 ] || die "an unknown user was revoked"
expect "$(assign phone bob)" "200 2" "the device for somebody else"
expect "$(element KeyIndex)" 2 "its index goes on"
admin allow-user alice
expect "$(assign watch alice)" "200 2" "a key after she was let in again"

# Everything, but not by a slip.
code=0
admin revoke-all 2>"$run/err" || code=$?
[ "$code" = 2 ] && grep -q -- "--yes" "$run/err" || die "everything was revoked by a slip"
[ "$(admin list keys | wc -l)" = 3 ] || die "revoked without --yes"
# One device whose record makes no sense, before all others: it is said, and the others are revoked.
python3 - "$run/server.db" <<'PY'
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], timeout=10)
store.execute("INSERT INTO element (entity, mode, owner, last_index) VALUES ('a-device', 0, ?, 1)", ("x" * 300,))
store.commit()
PY
code=0
admin revoke-all --yes >"$run/out" 2>"$run/err" || code=$?
grep -q "^3 devices revoked$" "$run/out" || die "revoke-all: $(cat "$run/out" "$run/err")"
[ "$code" = 1 ] && grep -q "record is damaged" "$run/err" || die "revoke-all, of the damaged device: $code"
python3 - "$run/server.db" <<'PY'
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], timeout=10)
store.execute("DELETE FROM element WHERE entity = 'a-device'")
store.commit()
PY
[ "$(admin list keys | wc -l)" = 0 ] || die "revoke-all keeps keys"
[ "$(admin list revocations | wc -l)" = 4 ] || die "revocations: $(admin list revocations)"
expect "$(assign camera bob)" "200 2" "a key after everything was revoked"
expect "$(element KeyIndex)" 2 "its index"
kill -TERM "$pid"
wait "$pid" || die "it stopped with $?"
pid=
echo "server revoke: all good"
