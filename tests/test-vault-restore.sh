#!/usr/bin/env bash
# An older copy of the vault is put back: from a backup after a drill, with an anchor to tell, and behind
# everybody's back with only the server to tell. Either way it is found out and said, no EUKey that was
# spent is issued again, the devices go on with the keys they hold, and the ledger proves all that.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin vault-restore

# The command ends with that code and says that.
says() { # CODE TEXT COMMAND...
	local code=0 want=$1 text=$2
	shift 2
	start "$@" || code=$?
	[ "$code" = "$want" ] || complain "$* ended with $code, not $want: $(cat "$run/start.out")"
	grep -qF -- "$text" "$run/start.out" || complain "$*: no \"$text\" in: $(cat "$run/start.out")"
}

vault_tool() {
	"$(bin pngw-vault)" --vault "$run/gateway.vault" --key-file "$run/gateway.key" "$@" >"$run/tool.out" 2>&1
}

# Every index that was ever issued to the PNE, once each.
issued_once() {
	local twice
	twice=$(grep -h "PNE headset-2: verdict: .*done, key index" "$run/log" "$run"/log.* |
		grep -o "key index [0-9]*" | sort | uniq -d)
	[ -z "$twice" ] || complain "issued twice: $twice"
}

await_pool() { # TEXT
	local i
	for ((i = 0; i < 300; i++)); do
		start --kv pool headset-2 && grep -qF -- "$1" "$run/start.out" && return 0
		sleep 0.1
	done
	complain "no \"$1\" in: $(cat "$run/start.out")"
}

# Until the server was told that the ledger has that many entries.
await_told() { # ENTRIES
	local i told
	for ((i = 0; i < 600; i++)); do
		told=$(sed -n 's/.*state report, its ledger is at \([0-9]*\).*/\1/p' "$run/log" | sort -n | tail -n 1)
		[ "${told:-0}" -ge "$1" ] && return 0
		sleep 0.05
	done
	complain "the server was told of ${told:-no} entries, there are $1"
}

turn_log() {
	cp "$run/log" "$run/log.$1"
	: >"$run/log"
}

mkdir -m 700 "$run/elsewhere"
sed -i "s|^vault = { |&anchor = \"file:$run/elsewhere/anchor\"; |" "$run/pngw.conf"
sed -i "s|^control = .*|&\nkey_set = { count = 4; low_water = 0; };|" "$run/pngw.conf"
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_all headset-2
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
start figure7 "$user" headset-2 || complain "Figure 7: $(cat "$run/start.out")"
await_pool "left=3 held=1"

says 0 "damaged: 0" vault check
says 0 "done" vault backup "$run/elsewhere/backup"
vault_tool restore --drill "$run/elsewhere/backup" || complain "the drill: $(cat "$run/tool.out")"
grep -q "opens, all" "$run/tool.out" || complain "the drill: $(cat "$run/tool.out")"
cp "$run/elsewhere/backup" "$run/elsewhere/spoiled"
dd if=/dev/urandom of="$run/elsewhere/spoiled" bs=4096 seek=2 count=6 conv=notrunc 2>/dev/null
if vault_tool restore --drill "$run/elsewhere/spoiled"; then
	complain "the drill of a spoiled backup: $(cat "$run/tool.out")"
fi
if vault_tool restore "$run/elsewhere/backup"; then
	complain "restored under a running daemon: $(cat "$run/tool.out")"
fi

# Two more are spent after the backup, then the backup is put back.
says 0 "key index 2" renew headset-2
says 0 "key index 3" renew headset-2
stop server
await "WAN is down"
stop gateway
vault_tool restore "$run/elsewhere/backup" || complain "restore: $(cat "$run/tool.out")"
turn_log 1
launch_gateway
await "GATEWAY_ROLLED_BACK"
await "headset-2 is connected"
says 0 "rolled back" vault status
says 2 "GATEWAY_POOL_EMPTY" renew headset-2
# The pool is filled up without the user.
launch_server
await_pool "left=4"
says 0 "key index" renew headset-2
index=$(grep -o "key index [0-9]*" "$run/start.out" | head -n 1 | grep -o "[0-9]*")
[ "$index" -gt 4 ] || complain "index $index was issued after the restore: it may have been spent before"
issued_once

# Behind everybody's back: vault, ledger and anchor are all put back; only the server knows better.
stop gateway
mkdir "$run/copy"
cp "$run"/gateway.vault* "$run/elsewhere/anchor" "$run/copy/"
turn_log 2
launch_gateway
await "WAN is up"
await "headset-2 is connected"
says 0 "key index" renew headset-2
spent=$(grep -o "key index [0-9]*" "$run/start.out" | head -n 1 | grep -o "[0-9]*")
# The server is told where the ledger stands at each WAN session and soon after each delivery report.
await_told "$(start vault status && awk '/^ledger entries:/ { print $NF }' "$run/start.out")"
stop gateway
rm -f "$run"/gateway.vault*
cp "$run"/copy/gateway.vault* "$run/"
cp "$run/copy/anchor" "$run/elsewhere/anchor"
turn_log 3
launch_gateway
await "GATEWAY_ROLLED_BACK"
await "headset-2 is connected"
await_pool "left=4"
says 0 "key index" renew headset-2
index=$(grep -o "key index [0-9]*" "$run/start.out" | head -n 1 | grep -o "[0-9]*")
[ "$index" -gt "$spent" ] || complain "index $index was issued after the copy came back, $spent was spent before"
issued_once

# Somebody told the server of a state that never was, too far ahead to be believed. The operator has it forgotten.
stop server
await "WAN is down"
/usr/bin/python3 - "$run/server.db" <<'PY' || complain "the forged state"
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], timeout=10)
changed = store.execute("UPDATE vault SET sequence = sequence + (1 << 22)").rowcount
store.commit()
sys.exit(changed != 1)
PY
turn_log 4
launch_server
await "not believed"
grep -qF "cpns-server-admin forget-vault $gateway" "$run/log" || complain "the PN GW names no remedy"
start --kv doctor || true
grep -q "^id=vault.rollback .*state=failed .*forget-vault $gateway" "$run/start.out" ||
	complain "the doctor names no remedy: $(grep -F vault.rollback "$run/start.out")"
await "GATEWAY_ROLLED_BACK"
says 0 "key index" renew headset-2
admin forget-vault "$gateway" >"$run/forget.out" 2>&1 || complain "forget-vault: $(cat "$run/forget.out")"
stop server
await "WAN is down"
turn_log 5
launch_server
await_told "$(start vault status && awk '/^ledger entries:/ { print $NF }' "$run/start.out")"
if grep -q "not believed\|GATEWAY_ROLLED_BACK" "$run/log"; then
	complain "it is not forgotten: $(grep "not believed\|GATEWAY_ROLLED_BACK" "$run/log")"
fi
start --kv doctor || true
grep -q "^id=vault.rollback .*state=ok " "$run/start.out" || complain "the doctor: $(grep -F vault.rollback "$run/start.out")"
says 0 "key index" renew headset-2

stop headset-2
stop gateway
challenge=$(openssl rand -hex 16)
same_key headset-2 "$(pne_fingerprint headset-2)" || complain "the server holds another key"
"$(bin pngw-ledger)" verify "$run/gateway.vault.ledger" >"$run/verify.out" 2>&1 ||
	complain "the ledger: $(cat "$run/verify.out")"

exit $bad
