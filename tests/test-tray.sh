#!/usr/bin/env bash
# A tray of 50 headsets, over a secure PAN and one that is not: pngwctl is killed midway, then pngwd, and the
# work goes on. Every unit passes once, no key is given twice, the sheet shows when it was altered. And manifests
# that are not right: each error with its line, and nothing is begun.
set -euo pipefail
top=${PNGW_SRCDIR:?}
# shellcheck disable=SC2034 # system.sh reads it
build=${PNGW_BUILDDIR:?}
if ! command -v dbus-daemon >/dev/null || ! command -v script >/dev/null; then
	echo "dbus-daemon or script is missing"
	exit 77
fi
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
folder=$(mktemp -d /tmp/pngw-tray.XXXXXX)
end() {
	trap - EXIT
	system_stop
	rm -rf "$folder"
}
trap end EXIT
touch "$folder/log"
exec 8>>"$folder/log"
# Many passwords are hashed here; how slow that is to be is shown elsewhere.
iterations=1000
run=$folder
bad=0
complain() {
	echo "$1"
	sed 's/^/    /' "$run/out"
	bad=1
}

# refused CODE TEXT ARGUMENT...: tray ends with that code, and says TEXT
refused() {
	local wanted=$1 text=$2 code=0
	shift 2
	ctl tray "$@" >"$run/out" 2>&1 || code=$?
	[ "$code" = "$wanted" ] || complain "tray $*: exit code $code instead of $wanted"
	grep -qF -- "$text" "$run/out" || complain "tray $*: not said: $text"
}

# manifest TEXT: what is wrong with it is told, and nothing is begun
manifest() {
	printf '%b' "$2" >"$run/wrong.csv"
	refused 64 "$1" "$run/wrong.csv" --user "$user" --sheet "$run/wrong"
	grep -q "nothing was begun" "$run/out" || complain "it is not said that nothing was begun"
	[ ! -e "$run/wrong/wrong.journal" ] || complain "there is a journal of a wrong manifest"
}

system_make "$folder"
mkdir "$run/wrong"
echo "iterations_floor = $iterations;" >>"$run/pngw.conf"

manifest 'line 3: a is there twice' 'entity_id\na\na\n'
manifest 'line 2: "a b" is not an Entity ID' 'entity_id,label\na b,x\nc,y\n'
manifest 'line 3: "00:11" is not a Bluetooth address' 'entity_id,address\na,00:11:22:33:44:55\nb,00:11\n'
manifest 'line 2: the user of a is not a User ID' 'entity_id,user\na,x:y\n'
manifest 'line 2: it has 1 fields where the header has 2' 'entity_id,label\na\n'
manifest 'line 1: the columns are not right' 'entity,label\na,b\n'
manifest 'line 1: the columns are not right' 'entity_id,entity_id\na,b\n'
manifest 'line 1: the columns are not right' 'label\na\n'
manifest 'line 2: a quote' 'entity_id\n"a"b\n'
manifest 'there is no headset in it' 'entity_id\n'
manifest 'there is no headset in it' ''
manifest 'there are 201 headsets in it; a tray has at most 200' "entity_id\n$(printf '%s\\n' u-{1..201})"
printf 'entity_id\na\n' >"$run/wrong.csv"
refused 64 'line 2: a has no user' "$run/wrong.csv" --sheet "$run/wrong"
printf 'entity_id\na b\nc\nc\n' >"$run/wrong.csv"
refused 64 'line 2' "$run/wrong.csv" --user "$user" --sheet "$run/wrong"
grep -q 'line 4: c is there twice' "$run/out" || complain "the second error is not told"
manifest 'this is no PSKC file' '<KeyContainer/>'
sed 's,<SerialNo>headset-2</SerialNo>,,' "$top/tests/data/temporary-keys.pskc" >"$run/wrong.csv"
refused 64 'line 30: this key package has no serial number' "$run/wrong.csv" --user "$user" --sheet "$run/wrong"
printf 'pngw1:pne:e=headset-1;c=0000\n' >"$run/labels"
password_was=$password
printf '%s\n' "$password" >"$run/password"
chmod 600 "$run/password"
password=$(cat "$run/labels")
refused 64 'line 1: character 25: the check is not that of this text' - --user "$user" --sheet "$run/wrong" \
	--password-file "$run/password"
refused 64 'give it with --password-file' - --user "$user" --sheet "$run/wrong"
# A folder that cannot be written to is told before the first label is scanned.
password=a-label-that-is-none refused 1 'nothing was begun' - --user "$user" --sheet /proc/self/fdinfo \
	--password-file "$run/password"
! grep -qF "line 1" "$run/out" || complain "the labels were scanned, and then the folder was tried"
password=$password_was
if grep -rqF -e AAECAwQF "$run/wrong"; then
	complain "a key of a PSKC file was written down"
fi
[ -z "$(find "$run/wrong" -type f)" ] || complain "something was begun"

# 25 headsets on the secure PAN, 25 on the other, each 25 in one process.
{
	echo "entity_id,form,temporary_key"
	for i in {1..25}; do
		echo "open-$i,hex,$(printf '%064x' $((i + 1000)))"
	done
} >"$run/keys.csv"
{
	printf 'label,entity_id\r\n'
	for i in {1..25}; do
		printf '"slot %d, left",safe-%d\r\nslot %d,open-%d\r\n' "$i" "$i" "$i" "$i"
	done
} >"$run/headsets.csv"
admin add-user "$user" <<<"$password" >"$run/add-user.out" 2>&8
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_server
await "listening on"
launch_gateway
await "WAN is up"
launch safe "$(bin cpns-pne)" --entity safe --count 25 --connect "unix:$run/pan-secure" --security authenticated \
	--state "$run/safe" --iterations-floor "$iterations"
launch open "$(bin cpns-pne)" --entity open --count 25 --connect "unix:$run/pan-open" --security none \
	--state "$run/open" --iterations-floor "$iterations" --temporary-key-file "$run/keys.csv"
await "safe-25 is connected"
await "open-25 is connected"

journal=$run/trays/headsets.journal
passed() {
	[ -e "$journal" ] || {
		echo 0
		return
	}
	awk '/"is":"passed"/ { n++ } END { print n + 0 }' "$journal"
}
# until N have passed
until_passed() {
	local i
	for ((i = 0; i < 1200; i++)); do
		[ "$(passed)" -ge "$1" ] && return 0
		sleep 0.02
	done
	echo "waited for $1 units"
	cat "$run/tray.out"
	return 1
}
tray=("$(bin pngwctl)" tray "$run/headsets.csv" --user "$user" --sheet "$run/trays" --parallel 6 --password-file
	"$run/password")
export PNGW_BUS=unix:path=$run/bus

"${tray[@]}" >"$run/tray.out" 2>&1 &
first=$!
until_passed 8
# Another one does not take it up meanwhile.
refused 2 "another pngwctl works on it" "$run/headsets.csv" --user "$user" --sheet "$run/trays"
kill -9 $first
wait $first 2>/dev/null || true
before=$(passed)
[ "$before" -lt 50 ] || complain "pngwctl was killed too late to show anything"
# The power went while a line was being written.
printf '{"unit":3,"is":"pas' >>"$journal"

"${tray[@]}" --resume --json >"$run/tray.out" 2>&1 &
second=$!
until_passed $((before + 10))
kill9 gateway
launch_gateway
code=0
wait $second || code=$?
cp "$run/tray.out" "$run/out"
[ "$code" = 0 ] || complain "resumed: exit code $code"

# Each unit passed once; those that passed before the kill were left alone.
python3 - "$journal" "$run/tray.out" "$run/trays/headsets.json" "$before" <<'PYTHON' || complain "the journal or the sheet is not right"
import json
import sys

journal = [json.loads(line) for line in open(sys.argv[1])]
events = [json.loads(line) for line in open(sys.argv[2]) if line.startswith("{")]
sheet = json.load(open(sys.argv[3]))["sheet"]
before = int(sys.argv[4])
moves = journal[51:]
passes = [m["unit"] for m in moves if m["is"] == "passed"]
assert sorted(passes) == list(range(50)), "each unit passes once"
for unit in range(50):
    states = [m["is"] for m in moves if m["unit"] == unit]
    assert states[-1] == "passed" and states[0] == "begun", (unit, states)
early = {journal[1 + u]["entity"] for u in passes[:before]}
assert not [e for e in events if e["event"] == "unit" and e["entity"] in early], "a unit that passed was begun again"
assert sheet["passed"] == 50 and sheet["failed"] == 0 and len(sheet["units"]) == 50
assert sheet["units"][0]["label"] == "slot 1, left" and sheet["units"][0]["entity"] == "safe-1"
assert all(u["result"] == "pass" and u["text"] for u in sheet["units"])
assert events[-1]["event"] == "tray" and events[-1]["passed"] == 50
json.dump([u for u in sheet["units"] if u["fingerprint"]], open(sys.argv[3] + ".prints", "w"))
PYTHON
rm -f "$run/out" && touch "$run/out"

# Labels from a scanner, typed into a terminal that can do nothing, one of them misread. First a wrong password: it
# ends the work, no headset has failed.
label() {
	ctl qr "$@" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["label"])'
}
{
	label user "$user"
	label pne open-1
	echo "pngw1:pne:e=open-2;c=0000"
	label pne safe-2
	label pne open-1
	label pne open-3
	echo .
} >"$run/labels"
echo "wrong" >"$run/wrong-password"
chmod 600 "$run/wrong-password"
scan() {
	TERM=dumb script -qec "'$(bin pngwctl)' tray - $*" /dev/null <"$run/labels" >"$run/typed" || true
	tr -d '\r' <"$run/typed" >"$run/out"
}
scan --sheet "'$run/scanned'" --password-file "'$run/wrong-password'"
grep -qE "WRONG_PASSWORD|USER_TAKEN" "$run/out" || complain "a wrong password is not told"
grep -qF "line 3: character 22: the check is not that of this" "$run/out" || complain "a misread label is not told"
grep -qF "line 5: open-1 is there twice" "$run/out" || complain "a label that was scanned twice is not told"
! grep -q '"is":"failed"' "$run"/scanned/*.journal || complain "a wrong password has failed a headset"
[ "$(grep -c '"is":"begun"' "$run"/scanned/*.journal)" = 1 ] || complain "a wrong password was tried for another headset"
: >"$run/labels"
begun=$EPOCHSECONDS
scan --resume --sheet "'$run/scanned'" --password-file "'$run/password'"
took=$((EPOCHSECONDS - begun + 1))
grep -q "3 passed, 0 failed; signed sheet" "$run/out" || complain "the scanned tray is not done"
lines=$(grep -c '^\[[#-]*\] ' "$run/out" || true)
[ "$lines" -ge 1 ] && [ "$lines" -le $((took + 1)) ] || complain "$lines lines of progress in $took s"
! LC_ALL=C grep -q "$(printf '\033')" "$run/out" || complain "a dumb terminal got escape sequences"
[ "$(awk '{ if (length > n) n = length } END { print n }' "$run/out")" -le 80 ] || complain "wider than the terminal"
verify() {
	"$(bin pngwctl)" tray --verify "$@" >"$run/out" 2>&1
}
verify "$run"/scanned/*.json || complain "the sheet of the scanned tray does not verify"

# A headset that somebody else is at work on is waited for.
until_said() {
	local i
	for ((i = 0; i < 600; i++)); do
		! grep -qF -- "$1" "$2" || return 0
		sleep 0.05
	done
}
kill -STOP "${pid_of[open]}"
ctl renew open-5 >"$run/renew.out" 2>&1 &
other=$!
until_said "step 6" "$run/renew.out"
printf 'entity_id\nopen-5\n' >"$run/one.csv"
"$(bin pngwctl)" tray "$run/one.csv" --user "$user" --sheet "$run/trays" --password-file "$run/password" \
	>"$run/out" 2>&1 &
one=$!
until_said BUSY_WITH_PNE "$run/out"
kill -CONT "${pid_of[open]}"
wait $one || complain "the headset that was busy has failed"
wait $other || complain "the renewal beside the tray has failed"
grep -qF BUSY_WITH_PNE "$run/out" || complain "the headset was not busy: nothing is shown"

# A manufacturer's PSKC file as the manifest, to its signed sheet. Its keys are in no file, as text, in hex or as bytes.
sed 's,headset-1<,safe-24<,; s,headset-2<,open-24<,' "$top/tests/data/temporary-keys.pskc" >"$run/factory.pskc"
"$(bin pngwctl)" tray "$run/factory.pskc" --user "$user" --sheet "$run/pskc" --password-file "$run/password" --json \
	>"$run/out" 2>&1 || complain "the tray of a PSKC file is not done"
python3 -c 'import json, sys
sheet = json.load(open(sys.argv[1]))["sheet"]
units = [(u["entity"], u["result"], u["user"], u["figure"]) for u in sheet["units"]]
assert units == [("safe-24", "pass", "alice", 6), ("open-24", "pass", "alice", 7)], units' "$run/pskc/factory.json" ||
	complain "the sheet of a PSKC file is not right"
verify "$run/pskc/factory.json" || complain "the sheet of a PSKC file does not verify"
keys=$(grep -rlaP --exclude=factory.pskc --exclude=wrong.csv 'AAECAwQF|(?i)0001020304|\x00\x01\x02\x03\x04\x05\x06\x07' "$run" || true)
[ -z "$keys" ] || complain "keys of a PSKC file are in $keys"
grep -qF AAECAwQF "$run/factory.pskc" || complain "there were no keys in the PSKC file"

# The fingerprints in the sheet are the server's and, of a few, the PNE's.
challenge=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["sheet"]["challenge"])' "$run/trays/headsets.json")
stop open
stop safe
python3 -c 'import json, sys
for u in json.load(open(sys.argv[1])):
    print(u["entity"], u["key_index"], u["fingerprint"])' "$run/trays/headsets.json.prints" >"$run/prints"
[ "$(wc -l <"$run/prints")" -ge 20 ] || complain "only $(wc -l <"$run/prints") fingerprints in the sheet"
for n in 4 9 17; do
	line=$(sed -n "${n}p" "$run/prints")
	entity=${line%% *}
	same_key "$entity" "$line" || complain "$entity: the server has another key than the sheet says"
	[ "$("$(bin cpns-pne)" --entity "$entity" --state "$run/open" --fingerprint "$challenge" | awk '{ print $NF }')" = \
		"${line##* }" ] || complain "$entity: the PNE has another key than the sheet says"
done
for entity in safe-1 safe-13 safe-25; do
	line=$("$(bin cpns-pne)" --entity "$entity" --state "$run/safe" --fingerprint "$challenge")
	same_key "$entity" "$line" || complain "$entity: the server has another key than the PNE"
done

# Run again, it gives no key: everything has passed.
entries() {
	ctl vault status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["ledger_entries"])'
}
await "WAN is up"
count=$(entries)
"${tray[@]}" >"$run/out" 2>&1 || complain "run once more: not done"
[ "$(entries)" = "$count" ] || complain "run once more: the ledger has grown"
[ "$(passed)" = 50 ] || complain "run once more: a unit passed again"

# The sheet is as it was signed, by the key of the ledger.
stop gateway
"$(bin pngw-ledger)" verify "$run/gateway.vault.ledger" >"$run/out" || complain "the ledger is not sound"
sheet=$run/trays/headsets.json
key=$(od -An -v -tx1 -j32 -N32 "$run/gateway.vault.ledger" | tr -d ' \n')
unset PNGW_BUS
verify "$sheet" || complain "the sheet does not verify"
grep -q "nothing shows yet that the key is that PN GW's" "$run/out" || complain "it is not said what is not proven"
verify "$sheet" --signer "$key" || complain "the sheet was not signed with the ledger's key"
! verify "$sheet" --signer "${key%??}$(printf '%02x' $((0x${key: -2} ^ 1)))" ||
	complain "the sheet verifies with another key"
altered() {
	mkdir -p "$run/altered"
	cp "$run/trays/headsets.txt" "$run/altered/headsets.txt"
	sed "$1" "$sheet" >"$run/altered/headsets.json"
	! cmp -s "$sheet" "$run/altered/headsets.json" || complain "not altered: $1"
	! verify "$run/altered/headsets.json" || complain "an altered sheet verifies: $1"
	grep -qF -- "$2" "$run/out" || complain "$1: not said: $2"
}
altered 's/"entity":"safe-7"/"entity":"safe-8"/' "the sheet was altered"
altered 's/"result":"pass"/"result":"fail"/' "the sheet was altered"
altered 's/"technician":"/"technician":"x/' "the sheet was altered"
altered 's/"units":/"units": /' "it is not written as the sheet was"
altered 's/"sheet":{/"sheet":{"failed":9,/' "it is not written as the sheet was"
altered 's/"time":\([0-9]*\),"ledger_entries"/"time":1\1,"ledger_entries"/' "the signature does not belong to it"
altered "s/\"public_key\":\"${key:0:4}/\"public_key\":\"0000/" "the signature does not belong to it"
altered '1,$d' "it is no sheet"
cp "$sheet" "$run/altered/headsets.json"
sed 's/PASS  safe-7/PASS  safe-8/' "$run/trays/headsets.txt" >"$run/altered/headsets.txt"
! verify "$run/altered/headsets.json" || complain "an altered page verifies"
[ "$(awk '{ if (length > n) n = length } END { print n }' "$run/trays/headsets.txt")" -le 160 ] ||
	complain "the page is too wide"
if grep -rqF -e "$password" "$run/trays"; then
	complain "the password is in a file of the tray"
fi
exit $bad
