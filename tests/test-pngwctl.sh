#!/usr/bin/env bash
# pngwctl's command line against real daemons on a bus of their own: what each command says in its three
# forms, exit codes, wrong usage, where secrets come from and where they do not go, Ctrl-C, --no-wait.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if ! command -v dbus-daemon >/dev/null || ! command -v dbus-send >/dev/null; then
	echo "dbus-daemon or dbus-send is missing"
	exit 77
fi
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
folder=$(mktemp -d /tmp/pngw-pngwctl.XXXXXX)
end() {
	trap - EXIT
	# One may have been stopped.
	kill -CONT "${pid_of[server]:-$$}" 2>/dev/null || true
	system_stop
	rm -rf "$folder"
}
trap end EXIT
touch "$folder/log"
exec 8>>"$folder/log"
iterations=100000
run=$folder
pngwctl=$(bin pngwctl)
bad=0
complain() {
	echo "$1"
	sed 's/^/    /' "$run/out" "$run/err"
	bad=1
}

# outcome CODE TEXT ARGUMENT...: that exit code, and TEXT in what it said
outcome() {
	local wanted=$1 text=$2 code=0
	shift 2
	ctl "$@" >"$run/out" 2>"$run/err" || code=$?
	[ "$code" = "$wanted" ] || complain "$*: exit code $code instead of $wanted"
	cat "$run/out" "$run/err" >"$run/both"
	grep -qF -- "$text" "$run/both" || complain "$*: not said: $text"
}

# json EXPRESSION ARGUMENT...: what it prints is one document d, and EXPRESSION holds of it
json() {
	local expression=$1
	shift
	ctl "$@" --json >"$run/out" 2>"$run/err" || true
	python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(0 if eval(sys.argv[2]) else 1)' "$run/out" "$expression" || complain "$* --json: not $expression"
}

# lines EXPRESSION ARGUMENT...: every line of --kv is a dictionary d; EXPRESSION holds of their list l
kv() {
	local expression=$1
	shift
	ctl "$@" --kv >"$run/out" 2>"$run/err" || true
	python3 -c 'import shlex, sys
l = [dict(w.split("=", 1) for w in shlex.split(line)) for line in open(sys.argv[1])]
sys.exit(0 if eval(sys.argv[2]) else 1)' "$run/out" "$expression" || complain "$* --kv: not $expression"
}

# Without a bus, without pngwd.
outcome 2 "Next: name the one that pngwd is on with --bus" status
DBUS_SYSTEM_BUS_ADDRESS=unix:path=$run/none outcome 2 "Next: systemctl status dbus pngwd" --bus system status
system_make "$folder"
outcome 2 "the PN GW is not on this bus" status
json 'd["result"] == "retry" and "not on this bus" in d["message"]' status

# What is wrong, and where.
outcome 64 'there is no command "asign"; did you mean "assign"?' asign
outcome 64 'there is no command "frobnicate"' frobnicate
outcome 64 'assign: argument 2 is missing: ENTITY' assign alice
outcome 64 'assign: argument 3 (ENTITY) "a b" is not an Entity ID' assign alice headset-1 "a b"
outcome 64 'register: argument 2 "bob" is one too many' register alice bob
outcome 64 'register: argument 1 (USER) "a:b" is not a User ID' register a:b
outcome 64 'figure7: argument 3 (COUNT) "65" is not a number of EUKeys' figure7 alice headset-2 65
outcome 64 'assign: --figure: "5" is not 6 or 7' assign --figure 5 alice headset-1
outcome 64 'assign: --count needs a value' assign alice headset-1 --count
outcome 64 'assign: --chain takes no value' assign alice headset-1 --chain=yes
outcome 64 'assign: there is no option --colour' assign alice headset-1 --colour
outcome 64 'status: there is no option --figure' --figure 6 status
outcome 64 'exclude each other' assign --chain --random alice headset-1
outcome 64 'with --figure none is' assign --figure 6 --explain alice headset-1
outcome 64 'it takes ENTITY..., or --user USER, or --all' revoke
outcome 64 'it takes ENTITY..., or --user USER, or --all' revoke --all headset-1
outcome 64 'vault rotate-wrap: argument 1 (SLOT) "x" is not' vault rotate-wrap x /key
outcome 64 'which command?'
json 'd["result"] == "usage" and "no command" in d["message"]' frobnicate
outcome 64 'a PIN or passkey is never typed here' answer 00:11:22:33:44:55 4711
if grep -q 4711 "$run/both"; then
	complain "a PIN at the wrong place was repeated"
fi

# Help, completion and the man page are the table of commands.
outcome 0 "pngwctl assign --explain alice headset-1" help assign
outcome 0 "also: gateway-key" figure8 --help
json 'len(d) > 45 and all(c["meaning"] for c in d)' help
outcome 0 "pngwctl register alice" help assign register "vault" add-wrap
grep -q "pngwctl vault add-wrap" "$run/out" || complain "help of several commands: not the last one"
outcome 64 'help: there is no command "asign"' help register asign
json '[c["command"] for c in d] == ["assign", "figure8"]' help assign gateway-key
outcome 64 'is not a public key: 32 bytes in hex' tray --verify "$run/none" --signer 0011223344556677
ctl help | awk 'length > 80 { print "longer than 80: " $0; bad = 1 } END { exit bad }' ||
	complain "help is wider than 80 columns"
"$pngwctl" --man | cmp - "$top/console/pngwctl.1" ||
	complain "console/pngwctl.1 is out of date: pngwctl --man >console/pngwctl.1"
if command -v mandoc >/dev/null; then
	mandoc -T lint -W warning "$top/console/pngwctl.1" >"$run/out" 2>"$run/err" || complain "the man page has faults"
fi
candidates() {
	"$pngwctl" --complete --bus "unix:path=$run/bus" "$@" | sort | tr '\n' ' '
}
completes() {
	local wanted=$1
	shift
	[ "$(candidates "$@")" = "$wanted" ] || {
		candidates "$@" >"$run/out"
		complain "completion of $*: not $wanted"
	}
}
completes "register release renew reset revocations revoke " re
completes "add-passphrase add-wrap " vault add
completes "--figure " assign --fi
completes "6 7 " assign --figure ""
completes "administrator " set-pin a
completes "pair " bluetooth pa

# Bash's own completion, with its helpers for colons and without.
in_bash() { # WITH WANTED WORD...: what TAB offers after those words
	local with=$1 wanted=$2 said
	shift 2
	# shellcheck disable=SC2016 # the other bash's
	said=$(PATH="$build:$PATH" PNGW_BUS="unix:path=$run/bus" bash --norc -c '
		[ "$1" = plain ] || . /usr/share/bash-completion/bash_completion
		. "$2"/console/pngwctl.bash
		shift 2
		[[ $(complete -p pngwctl) == *" -F _pngwctl pngwctl" ]] || echo "not registered"
		COMP_WORDS=(pngwctl "$@") COMP_CWORD=$# COMP_LINE="pngwctl $*"
		COMP_POINT=${#COMP_LINE} COMP_TYPE=9
		_pngwctl
		printf "%s\n" "${COMPREPLY[@]}"' bash "$with" "$top" "$@" 2>"$run/err" | sort | tr '\n' ' ')
	[ "$said" = "$wanted" ] || {
		echo "$said" >"$run/out"
		complain "completion in bash ($with) of $*: not $wanted"
	}
}
ways=plain
[ ! -f /usr/share/bash-completion/bash_completion ] || ways="plain helpers"
for way in $ways; do
	in_bash "$way" "register release renew reset revocations revoke " re
	in_bash "$way" "add-passphrase add-wrap " vault add
	in_bash "$way" "6 7 " assign --figure ""
	in_bash "$way" "--figure " assign --fi
done

# Figures, and the choice between them.
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_all headset-1 headset-2

json 'd["entity"] == "gw-livingroom" and d["wan"] == "up" and d["links"] == 2' status
outcome 0 "mutually authenticated" wan
outcome 0 "Fig. 5 step 2: PN GW sends IDPWDRegistrationRequest" register "$user"
outcome 0 "done, key index 1" gateway-key "$user"
outcome 1 "[WRONG_PASSWORD]" figure7 nobody headset-2
admin add-user bob <<<"$password" >"$run/add-user.out" 2>&8
outcome 1 "(this PN GW is alice's)" figure7 bob headset-2
outcome 64 "headset-2 is given twice" renew headset-2 headset-2
outcome 1 "[PAN_INSECURE]" figure6 "$user" headset-2
outcome 2 "[PNE_UNKNOWN]" figure7 "$user" headset-77
json '[(r["entity"], r["figure"]) for r in d] == [("headset-1", 6), ("headset-2", 7)] and d[0]["why"]' \
	assign --explain "$user" headset-1 headset-2
outcome 0 "headset-2: Figure 7: " assign "$user" headset-1 headset-2
grep -q "^headset-1: Figure 6: " "$run/out" || complain "why Figure 6 was chosen is not said"
json 'd["result"] == "done" and d["verdicts"][0]["id"] == "DONE" and d["steps"][-1]["figure"] == 7' \
	assign --figure 7 --count 6 --chain "$user" headset-2
kv 'l[-1] == {"event": "ended", "result": "done"} and any(d["event"] == "step" and d["step"] == "14" or
	d["event"] == "verdict" and d["id"] == "DONE" for d in l)' figure6 "$user" headset-1
outcome 0 "key index" figure7 "$user" headset-2 3
PNGW_BUS=unix:path=$run/bus "$pngwctl" --json --follow status >"$run/followed" 2>/dev/null &
follower=$!
for ((i = 0; i < 200; i++)); do
	[ -s "$run/followed" ] && break
	sleep 0.05
done
outcome 0 "done" notify headset-2
kv 'any(d["event"] == "verdict" for d in l)' renew headset-2
for ((i = 0; i < 200; i++)); do
	grep -q '"event":"verdict"' "$run/followed" && break
	sleep 0.05
done
kill -INT "$follower"
wait "$follower" || complain "status --follow did not end with 0"
python3 -c 'import json, sys
e = [json.loads(line) for line in open(sys.argv[1])]
sys.exit(0 if e[0]["entity"] == "gw-livingroom" and any(d.get("event") == "verdict" for d in e) else 1)' \
	"$run/followed" || complain "status --follow: no verdict of another"

# Does it show the same key as the PNE and the server?
challenge=$(openssl rand -hex 16)
stop headset-2
line=$(ctl fingerprint --challenge "$challenge" headset-2 | tail -n 1)
[ "$(awk '{ print $NF }' <<<"$line")" = "$(awk '{ print $NF }' <<<"$(pne_fingerprint headset-2)")" ] ||
	complain "the fingerprint is not the PNE's: $line"
same_key headset-2 "$line" || complain "the fingerprint is not the server's: $line"
: >"$run/log"
launch_pne headset-2 pan-open none
await "headset-2 is connected"

# Figure 6 in its parts.
outcome 0 "Fig. 6 step 1" subscribe "$user"
outcome 0 "Fig. 6 step 4" install "$user" headset-1
outcome 0 "Fig. 6 step 7" trigger "$user" headset-1

# Where secrets come from.
printf '%s\n' "$password" >"$run/password"
chmod 644 "$run/password"
outcome 1 "others than its owner may read it" --password-file "$run/password" figure7 "$user" headset-2
chmod 600 "$run/password"
outcome 0 "done" --password-file "$run/password" figure7 "$user" headset-2 </dev/null
password='' outcome 2 "(nothing was entered)" figure7 "$user" headset-2
grep -qF "[PASSWORD_NOT_GIVEN]" "$run/out" || complain "no password: not the verdict"
grep -qF -- "--password-file FILE" "$run/err" || complain "a script is not told how to give a password"

# Ctrl-C while the server does not answer; it is cancelled there, not only left.
kill -STOP "${pid_of[server]}"
PNGW_BUS=unix:path=$run/bus "$pngwctl" --password-file "$run/password" figure8 "$user" >"$run/out" 2>"$run/err" \
	</dev/null &
client=$!
for ((i = 0; i < 400; i++)); do
	grep -q "Fig. 8 step 2" "$run/out" && break
	sleep 0.05
done
kill -INT "$client"
code=0
wait "$client" || code=$?
[ "$code" = 2 ] || complain "a cancelled figure8 ended with $code"
grep -q "^cancelled" "$run/out" || complain "Ctrl-C: it does not say that it cancelled"
grep -q "verdict: .*CANCEL" "$run/out" || complain "Ctrl-C: no verdict"
kv 'l[0]["procedures"] == "0"' status
kill -CONT "${pid_of[server]}"

# Started and left: it goes on.
json '"/org/pngw/procedure/" in d["procedure"]' --no-wait --password-file "$run/password" figure7 "$user" headset-2 1
for ((i = 0; i < 400; i++)); do
	[ "$(grep -c "verdict: Figure 7 step 7, headset-2" "$run/log")" -ge 2 ] && break
	sleep 0.05
done
[ "$i" -lt 400 ] || complain "what was started with --no-wait did not end: $(tail -n 5 "$run/log")"

# What there is.
kv '{d["entity"] for d in l} == {"headset-1", "headset-2"}' elements
# A key of Figure 6 only passed through: it is told of as held, and whose fingerprint it is not.
json '{d["entity"]: (d["held"] > 0, d["relayed"] > 0) for d in d} == {"headset-1": (False, True), "headset-2": (True, False)}' elements
outcome 0 "(relayed)" elements
grep -qE "^headset-1 .* [1-9][0-9]* \(relayed\) " "$run/out" || complain "elements: not which key headset-1 took"
grep -qE "^headset-2 .* [1-9][0-9]* +[0-9]+ +- " "$run/out" || complain "elements: not which key headset-2 holds"
outcome 1 "its key only passed through here" fingerprint headset-1
json 'd[0]["user"] == "alice" and d[0]["owns_gateway"] is True' users
kv 'l[0]["entity"] == "headset-2" and int(l[0]["held"]) > 0' pool headset-2
json 'd["schema"] == 2 and d["rekeying"] is False and d["ledger_entries"] > 5' vault
json 'd[0]["slot"] == 1 and d[0]["kind"] == "key file"' vault wraps
outcome 0 "gateway.key opens slot 1" vault check
outcome 0 "restore --drill proves" vault backup "$run/backup"
[ -s "$run/backup" ] || complain "no backup"
outcome 0 "slot 2" vault add-wrap "$run/second.key" spare
outcome 0 "slot 2" vault rotate-wrap 2 "$run/third.key"
password="a passphrase of the operator's own" outcome 0 "slot 3" vault add-passphrase safe
outcome 0 "removed" vault remove-wrap 3
outcome 1 "there is no slot 5). Next: " vault remove-wrap 5
outcome 0 "" vault rekey
json 'len(d) == 5 and d[-1]["sequence"] > d[0]["sequence"]' ledger 5
json 'any("WAN is up" in line for line in d)' log 500
outcome 0 "" log 3
[ "$(wc -l <"$run/out")" = 3 ] || complain "log 3: not 3 lines"

# What is wrong with it, and what is given away.
outcome 0 " 0 failed" doctor
grep -q "^ok .*vault.backup" "$run/out" || complain "doctor: vault.backup is not ok"
json 'len(d) >= 40 and all(set(c) == {"id", "title", "state", "finding", "remedy"} for c in d)' doctor
kv '{"id", "state"} <= set(l[0]) and not any(d["state"] == "failed" for d in l)' doctor
chmod 755 "$run"
outcome 1 " 1 failed" doctor
json '[c["id"] for c in d if c["state"] == "failed"] == ["files.folder"]' doctor
chmod 700 "$run"
outcome 0 "" trace 5
[ "$(wc -l <"$run/out")" = 5 ] || complain "trace 5: not 5 lines"
json 'len(d) == 7 and all(set(e) == {"time", "text"} and e["text"] for e in d)' trace 7
outcome 0 "pngw_wan_up 1" metrics
/usr/bin/python3 "$top/tests/check-metrics.py" "$run/out" "$top/doc/metrics.md" >"$run/samples" ||
	complain "metrics: not in the format"
json 'list(d) == ["metrics"] and "\npngw_wan_up 1\n" in d["metrics"]' metrics
outcome 0 "nothing secret in it" bundle "$run/bundle"
[ "$(stat -c %a "$run/bundle")" = 600 ] || complain "others may read the bundle"
"$(bin pngw-replay)" --verify "$run/bundle" >"$run/out" 2>"$run/err" || complain "the bundle cannot be replayed"
for secret in "$password" "a passphrase of the operator's own" "$(cat "$run/gateway.key")" "$(cat "$run/third.key")" \
	"$(awk -F, 'NR == 2 { print $3 }' "$run/keys.csv")"; do
	if grep -qF -- "$secret" "$run/bundle"; then
		complain "a secret is in the bundle"
	fi
done
cp "$run/bundle" "$run/kept"
outcome 1 "File exists" bundle "$run/bundle"
cmp "$run/bundle" "$run/kept" || complain "an existing file was overwritten"
json 'd["result"] == "done"' bundle "$run/bundle-2"
"$(bin pngw-replay)" --verify "$run/bundle-2" >"$run/out" 2>"$run/err" || complain "the second bundle cannot be replayed"
outcome 0 "rights: look, pair, assign, administer" whoami
outcome 1 "Next: set pan.bluetooth.enable" adapters
outcome 1 "Bluetooth is not configured" scan 1

# Revocation, and what follows from it.
outcome 0 "" revoke headset-2
for ((i = 0; i < 200; i++)); do
	ctl --kv revocations | grep -q "entity=headset-2 .*reset=confirmed" && break
	sleep 0.05
done
kv 'l[0]["entity"] == "headset-2" and l[0]["reset"] == "confirmed"' revocations
outcome 1 "[NOT_REVOKED]" forget headset-1
outcome 0 "released" release headset-1
outcome 1 "[DEVICE_UNKNOWN]" release headset-9
outcome 1 "[DEVICE_UNKNOWN]" pool headset-2 headset-9

# PINs: set, used, wrong, removed.
password=4711 outcome 0 "set" set-pin technician
printf '4711\n' >"$run/pin"
chmod 600 "$run/pin"
json 'd["role"] == "technician"' --pin-file "$run/pin" whoami
printf '4712\n' >"$run/pin"
outcome 1 "" --pin-file "$run/pin" whoami
outcome 0 "removed" set-pin technician --remove

# pngwd goes in the middle.
kill -STOP "${pid_of[server]}"
PNGW_BUS=unix:path=$run/bus "$pngwctl" --password-file "$run/password" figure8 "$user" >"$run/out" 2>"$run/err" \
	</dev/null &
client=$!
for ((i = 0; i < 400; i++)); do
	grep -q "Fig. 8 step 2" "$run/out" && break
	sleep 0.05
done
kill9 gateway
code=0
wait "$client" || code=$?
[ "$code" = 2 ] || complain "figure8 ended with $code when pngwd was killed"
grep -q "gone away" "$run/err" || complain "it is not said that the PN GW has gone away"
exit $bad
