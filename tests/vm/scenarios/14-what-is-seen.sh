# shellcheck shell=bash
# shellcheck disable=SC2154 # run sources vm.sh first, system.sh sets the rest
# What others see is what doc/bluetooth.md says: its table of names and numbers against sdptool and btmon.
# shellcheck source=tests/vm/system.sh
. "$vm_top/system.sh"
scenario "sdptool and btmon see what doc/bluetooth.md says"

# fact NAME: from the table
fact() {
	local value
	value=$(sed -n "s/^| \`$1\` | \`\([^\`]*\)\` .*/\1/p" "$vm_top/../../doc/bluetooth.md")
	[ -n "$value" ] || failed "doc/bluetooth.md has no $1"
	echo "$value"
}
# record UUID: that service of the answer of sdptool
record() {
	awk -v RS= -v uuid="$1" 'index(tolower($0), uuid)' "$scratch/sdp"
}
# seen RECORD TEXT...
seen() {
	local text
	for text in "${@:2}"; do
		grep -qiF -- "$text" <<<"$1" || failed "\"$text\" is not seen in: $1"
	done
}

# heard EVENT UUID: in an HCI event that begins like this; btmon records them, but its text has no UUIDs of vendors
heard() {
	python3 - "$scratch/trace" "$1" "$2" <<-'PYTHON'
		import struct, sys
		trace, event, uuid = open(sys.argv[1], "rb").read(), bytes.fromhex(sys.argv[2]), sys.argv[3]
		uuid = bytes.fromhex(uuid.replace("-", ""))[::-1]
		at, found = 16, 0
		while at + 24 <= len(trace):
		    size, kind = struct.unpack_from(">II", trace, at + 4)
		    data = trace[at + 24:at + 24 + size]
		    # Event code, then the length, then what it says.
		    if kind & 0xffff == 3 and (data[:1] + data[2:])[:len(event)] == event and uuid in data:
		        found += 1
		    at += 24 + size
		sys.exit(found == 0)
	PYTHON
}

gateway_uuid=$(fact uuid-gateway) && pne_uuid=$(fact uuid-pne) || exit 1
gateway_address=$(radio_address gateway 0)
system_make || failed "the configuration cannot be made"
daemon gateway test-btmon btmon -w /tmp/trace || failed "btmon does not start"
on gateway systemctl start pngw-gateway && gateway_log "Bluetooth is ready" 60 ||
	failed "the PN GW does not start"
without bredr 1 || failed "BR/EDR cannot be switched off"
pne_begin headset-1 0 --name headset-1 --agent just-works
pne_begin headset-2 1 --le --name headset-2 --agent just-works
pnes_ready

# Who is not bonded reaches a PN GW only while it can be discovered.
expect 0 "can be discovered" gw bluetooth discoverable 600
on pnes sdptool -i "$(radio_hci pnes 0)" browse "$gateway_address" >"$scratch/sdp" || failed "sdptool cannot browse the PN GW"
sdp=$(record "$gateway_uuid")
seen "$sdp" "Service Name: $(fact name-gateway)" "\"RFCOMM\" (0x0003)" "Version: $(fact version)"
channel=$(sed -n 's/.*Channel: //p' <<<"$sdp")
[ -z "$(record "$(fact nap-uuid)")" ] || failed "a Network Access Point is offered though it is off"
ok "the PN GW's record is as documented, channel $channel; no Network Access Point unless it is switched on"

on gateway sdptool browse "$(radio_address pnes 0)" >"$scratch/sdp" || failed "sdptool cannot browse the PNE"
seen "$(record "$pne_uuid")" "Service Name: $(fact name-pne)" "\"RFCOMM\" (0x0003)" "Version: $(fact version)"
ok "the PNE's record is as documented"

find_pnes headset-1 headset-2
bond headset-2
unit_stop gateway test-btmon
get gateway /tmp/trace "$scratch" || failed "no trace"
on gateway btmon -r /tmp/trace >"$scratch/trace.text" 2>/dev/null
heard 2f "$pne_uuid" || failed "no extended inquiry response has $pne_uuid"
heard 3e02 "$pne_uuid" || failed "no LE advertisement has $pne_uuid"
! heard 3e02 "$gateway_uuid" || failed "$gateway_uuid is advertised over LE"
grep -qF "PSM: $(fact le-psm) " <(grep -A 3 'LE Connection Request\|Credit Based Connection' "$scratch/trace.text") ||
	failed "the LE channel is not to PSM $(fact le-psm)"
ok "btmon sees the PNE's UUID in inquiry and advertisement, and the LE channel on PSM $(fact le-psm)"
