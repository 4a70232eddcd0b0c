#!/usr/bin/env bash
# A PN GW is handed over to another box: the file and its code, a drill, a take that is cut short anywhere,
# the old box and a copy of it locked out by the server, and each EUKey of a pool sent once.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin handover

code_shown() {
	sed -n 's/^ *\([0-9A-Z]\{4\}\(-[0-9A-Z]\{4\}\)\{6\}\)$/\1/p' "$run/said"
}

# The command ends with that code and says that.
says() { # CODE TEXT COMMAND...
	local code=0 want=$1 text=$2
	shift 2
	"$@" >"$run/said" 2>&1 || code=$?
	[ "$code" = "$want" ] || complain "$* ended with $code, not $want: $(cat "$run/said")"
	grep -qF -- "$text" "$run/said" || complain "$*: no \"$text\" in: $(cat "$run/said")"
	# A code is shown on purpose, once.
	grep -vxF -- "  $(code_shown)" "$run/said" >>"$run/said.all" || true
}

# handover CONF CODE COMMAND...
handover() {
	local conf=$1 code=$2
	shift 2
	"$(bin pngw-handover)" --config "$conf" "$@" <<<"$code"
}

turn_log() {
	cat "$run/log" >>"$run/log.all"
	: >"$run/log"
}

# What the new box has, every byte of it.
everything() {
	(cd "$run/new" && find . -type f -exec sha256sum {} + && find .) | sort
}

await_pool() { # TEXT
	local i
	for ((i = 0; i < 300; i++)); do
		start --kv pool headset-2 && grep -qF -- "$1" "$run/start.out" && return 0
		sleep 0.1
	done
	complain "no \"$1\" in: $(cat "$run/start.out")"
}

gcc -O1 -D_GNU_SOURCE -shared -fPIC -o "$run/cut.so" "$top/tests/preload-cut.c"

# The boxes: the same settings but for where things are. The tool is told of Bluetooth, of which pngwd here has none.
sed -i "s|^control = .*|&\nkey_set = { count = 4; low_water = 0; };|; s|^server = {|& backoff_max = 500;|" "$run/pngw.conf"
mkdir -m 700 "$run/new" "$run/again" "$run/media"
for box in new again; do
	sed "s|$run/gateway|$run/$box/gateway|g; s|$run/certs/gateway|$run/$box/gateway-tls|g" "$run/pngw.conf" >"$run/$box.conf"
	sed "s|^pan = {|& bluetooth = { enable = true; bonds = \"$run/$box/bonds\"; };|" "$run/$box.conf" >"$run/$box-tool.conf"
done
sed "s|^pan = {|& bluetooth = { enable = true; bonds = \"$run/bonds\"; };|" "$run/pngw.conf" >"$run/tool.conf"
adapter=00:11:22:AA:BB:CC
mkdir -p "$run/bonds/$adapter/F0:00:00:00:00:01" "$run/bonds/$adapter/cache" "$run/bonds/mesh"
printf '[General]\nDiscoverable=false\n' >"$run/bonds/$adapter/settings"
link_key=$(openssl rand -hex 16)
printf '[General]\nName=Headset\n\n[LinkKey]\nKey=%s\nType=5\n' "$link_key" \
	>"$run/bonds/$adapter/F0:00:00:00:00:01/info"
printf '[General]\nName=Headset\n' >"$run/bonds/$adapter/cache/F0:00:00:00:00:01"
echo other >"$run/bonds/mesh/file"

admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_all headset-2
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
start figure7 "$user" headset-2 || complain "Figure 7: $(cat "$run/start.out")"
await_pool "left=3 held=1"
says 1 "another process" handover "$run/tool.conf" "" give "$run/media/early"
[ ! -e "$run/media/early" ] || complain "a file of a vault that is in use"

# Given, and taken back before anybody came.
stop gateway
says 0 "transfer code" handover "$run/tool.conf" "" give "$run/media/void"
void=$(code_shown)
[ -n "$void" ] || complain "no code in: $(cat "$run/said")"
[ "$(stat -c %a "$run/media/void")" = 600 ] || complain "the file is open to others"
turn_log
says 1 "GATEWAY_HANDED_OVER" "$(bin pngwd)" --config "$run/pngw.conf"
says 1 "already" handover "$run/tool.conf" "" give "$run/media/file"
says 0 "taken back" handover "$run/tool.conf" "" back
says 1 "was not given away" handover "$run/tool.conf" "" back
says 1 "has not said that this box" handover "$run/tool.conf" "" give "$run/media/file"
stop server
launch_gateway
await "headset-2 is connected"
says 2 "GATEWAY_HANDOVER_OPEN" ctl renew headset-2
says 2 "GATEWAY_HANDOVER_OPEN" ctl figure7 "$user" headset-2
launch_server
await "this box is the PN GW: the CPNS Server took term 2"
says 0 "key index 2" ctl renew headset-2
await_pool "left=2 held=2"
stop gateway
cp -a "$run/gateway.vault" "$run/media/clone"
cp -a "$run/gateway.vault.ledger" "$run/media/clone.ledger"
says 0 "transfer code" handover "$run/tool.conf" "" give "$run/media/file"
code=$(code_shown)
for secret in LinkKey "PRIVATE KEY" PNGW@ entity_id; do
	grep -qaF "$secret" "$run/media/file" && complain "$secret is in the file as it is"
done
ls "$run"/gateway.vault.give* >/dev/null 2>&1 && complain "a copy was left: $(ls "$run")"

# A drill: the code, the file, the adapter; it changes nothing.
new=$run/new-tool.conf
before=$(everything)
says 1 "has 28 letters" handover "$new" "${code%?}" take --drill "$run/media/file"
says 1 "mistyped" handover "$new" "$(tr '[2-9]' '[3-92]' <<<"$code" | tr A-H B-HA)" take --drill "$run/media/file"
says 1 "does not open it" handover "$new" "$void" take --drill "$run/media/file"
says 1 "no file of a hand-over" handover "$new" "$code" take --drill "$run/server.conf"
size=$(stat -c %s "$run/media/file")
for cut in 10 60 $((size / 2)) $((size - 1)) $((size - 60)); do
	head -c "$cut" "$run/media/file" >"$run/media/spoiled"
	says 1 "" handover "$new" "$code" take --drill --adapter $adapter "$run/media/spoiled"
	says 1 "" handover "$new" "$code" take --adapter $adapter "$run/media/spoiled"
done
for flip in 20 47 49 60 $((size / 2)) $((size - 1)); do
	cp "$run/media/file" "$run/media/spoiled"
	byte=$(od -An -tu1 -j "$flip" -N 1 "$run/media/file")
	printf '%b' "\\x$(printf %02x $((byte ^ 4)))" | dd of="$run/media/spoiled" bs=1 seek="$flip" conv=notrunc 2>/dev/null
	says 1 "" handover "$new" "$code" take --drill --adapter $adapter "$run/media/spoiled"
done
(cat "$run/media/file" && echo) >"$run/media/spoiled"
says 1 "damaged" handover "$new" "$code" take --drill --adapter $adapter "$run/media/spoiled"
says 1 "pair the headsets again" handover "$new" "$code" take --drill --adapter 00:00:00:00:00:01 "$run/media/file"
sed "s/$gateway/gw-other/" "$new" >"$run/other.conf"
says 1 "is of $gateway" handover "$run/other.conf" "$code" take --drill --adapter $adapter "$run/media/file"
says 0 "bonds: 1" handover "$new" "$(tr A-Z- 'a-z ' <<<"$code")" take --drill --adapter $adapter "$run/media/file"
grep -q "its ledger is proven" "$run/said" || complain "the drill: $(cat "$run/said")"
[ "$before" = "$(everything)" ] || complain "a drill has changed: $(diff <(echo "$before") <(everything))"

# A vault is there already, of a first start. Cut short anywhere, nothing or all is done.
vault_make() {
	rm -rf "$run/new"
	mkdir -m 700 "$run/new"
	"$build/tests/make-vault" "$run/new/gateway.vault" "$run/new/gateway.key" 3 >/dev/null
}
[ -x "$build/tests/make-vault" ] || complain "no make-vault"
vault_make
before=$(everything)
planned=0
# It is loaded before what the sanitizers want to be first.
asan=${ASAN_OPTIONS:-}:verify_asan_link_order=0
for ((cut = 1; cut < 40; cut++)); do
	code_of_it=0
	ASAN_OPTIONS=$asan PNGW_CUT=$cut LD_PRELOAD=$run/cut.so handover "$new" "$code" take --adapter $adapter \
		"$run/media/file" >"$run/said" 2>&1 || code_of_it=$?
	[ "$code_of_it" = 99 ] || break
	if [ -e "$run/new/gateway.vault.take.plan" ]; then
		planned=$((planned + 1))
		says 1 "pngw-handover finish" "$(bin pngwd)" --config "$run/new.conf"
		says 1 "pngw-handover finish" handover "$new" "$code" take --adapter $adapter "$run/media/file"
		says 0 "in its place" handover "$new" "" finish
		"$(bin pngw-vault)" --vault "$run/new/gateway.vault" --key-file "$run/new/gateway.key" check >"$run/said" 2>&1 ||
			complain "cut at $cut: $(cat "$run/said")"
		cmp -s "$run/new/bonds/$adapter/F0:00:00:00:00:01/info" "$run/bonds/$adapter/F0:00:00:00:00:01/info" ||
			complain "cut at $cut: no bond"
		cmp -s "$run/new/gateway-tls.key" "$run/certs/gateway.key" || complain "cut at $cut: no credentials"
		vault_make
		before=$(everything)
	else
		rm -rf "$run/new/gateway.vault.take" "$run/new/gateway.vault.take.plan.new"
		[ "$before" = "$(everything)" ] || complain "cut at $cut: $(diff <(echo "$before") <(everything))"
	fi
done
[ "$code_of_it" = 0 ] && grep -q "This box is $gateway" "$run/said" || complain "taken: $code_of_it $(cat "$run/said")"
[ "$planned" -ge 8 ] || complain "only $planned cuts after the plan"
[ -e "$run/new/gateway.vault.replaced" ] || complain "the vault that was there is gone"
compgen -G "$run/new/*take*" >/dev/null && complain "left: $(ls "$run/new")"
[ "$(stat -c %a "$run/new/bonds/$adapter/F0:00:00:00:00:01/info" "$run/new/gateway-tls.key" "$run/new/gateway.vault" | sort -u)" = 600 ] ||
	complain "open to others: $(ls -l "$run/new")"
[ ! -e "$run/new/bonds/mesh" ] || complain "what is no bond was taken"
"$(bin pngw-vault)" --vault "$run/new/gateway.vault" --key-file "$run/gateway.key" status >"$run/said" 2>&1 &&
	complain "the old box's key opens the new vault"
says 0 "one wrap" sh -c "'$(bin pngw-vault)' --vault '$run/new/gateway.vault' --key-file '$run/new/gateway.key' wraps >'$run/wraps';
	[ \$(wc -l <'$run/wraps') = 1 ] && echo one wrap"

# The new box waits for the server, then goes on with the pool.
turn_log
stop server
stop headset-2
launch gateway "$(bin pngwd)" --config "$run/new.conf"
await "ready"
says 1 "in use" handover "$new" "$code" take --adapter $adapter "$run/media/file"
launch_pne headset-2 pan-open none
await "headset-2 is connected"
says 2 "GATEWAY_HANDOVER_OPEN" ctl renew headset-2
launch_server
await "this box is the PN GW: the CPNS Server took term 3"
says 0 "key index 3" ctl renew headset-2
await_pool "left=1 held=3"
says 0 "term 3" admin list handovers

# The old one comes back, as a copy that nobody has marked: it would send index 3 again.
stop gateway
rm -f "$run"/gateway.vault*
cp -a "$run/media/clone" "$run/gateway.vault"
cp -a "$run/media/clone.ledger" "$run/gateway.vault.ledger"
turn_log
launch_gateway
await "[GATEWAY_HANDED_OVER]"
await "headset-2 is connected"
says 1 "GATEWAY_HANDED_OVER" ctl renew headset-2
says 1 "GATEWAY_HANDED_OVER" ctl figure7 "$user" headset-2
await_pool "left=2 held=2"
# Nor does it without the WAN, and after a restart.
stop server
stop gateway
turn_log
launch_gateway
await "headset-2 is connected"
says 1 "GATEWAY_HANDED_OVER" ctl renew headset-2
launch_server
stop gateway

# The file taken a second time, and the one that was taken back.
for file in file void; do
	[ $file = file ] && which=$code || which=$void
	rm -rf "$run/again"
	mkdir -m 700 "$run/again"
	says 0 "This box is" handover "$run/again-tool.conf" "$which" take --pair-again "$run/media/$file"
	[ ! -e "$run/again/bonds" ] || complain "bonds without their adapter"
	turn_log
	launch gateway "$(bin pngwd)" --config "$run/again.conf"
	await "[GATEWAY_HANDED_OVER]"
	stop gateway
done

# And the new one goes on.
turn_log
launch gateway "$(bin pngwd)" --config "$run/new.conf"
await "headset-2 is connected"
await "WAN is up"
says 0 "key index 4" ctl renew headset-2
says 0 "done" ctl figure7 "$user" headset-2
stop headset-2
stop gateway
cat "$run/log" >>"$run/log.all"
twice=$(grep -h "PNE headset-2: verdict: .*done, key index" "$run/log.all" | grep -o "key index [0-9]*" | sort | uniq -d)
[ -z "$twice" ] || complain "issued twice: $twice"
challenge=$(openssl rand -hex 16)
same_key headset-2 "$(pne_fingerprint headset-2)" || complain "the server holds another key"
says 0 "entries" "$(bin pngw-ledger)" verify "$run/new/gateway.vault.ledger"
admin forget-handover "$gateway" || complain "forget-handover"
[ -z "$(admin list handovers)" ] || complain "the hand-over was not forgotten"

# What was written and said has no secret in it: neither a key of anybody, nor a code, nor a bond's key.
stop server
python3 "$top/tests/find-secrets.py" "$run" "$password" --vault "$run/new/gateway.vault" "$run/new/gateway.key" \
	"$run/media/file" "$run/media/void" "$run/log.all" "$run/said.all" "$run/new/gateway.vault.ledger" >"$run/said" 2>&1 ||
	complain "secrets: $(cat "$run/said")"
grep -lF -e "$code" -e "$void" -e "$link_key" "$run/media/file" "$run/media/void" "$run/log.all" "$run/said.all" &&
	complain "a code, or the key of a bond"
exit $bad
