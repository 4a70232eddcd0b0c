# shellcheck shell=bash
# shellcheck disable=SC2154 # run sources vm.sh first, system.sh sets the rest
# A device nobody knows opens streams without end, sends garbage, half and oversized frames: others are still
# served, and the log says who it is.
# shellcheck source=tests/vm/system.sh
. "$vm_top/system.sh"
scenario "A device that nobody knows floods; the others are served"

# flood: streams to the PN GW's service from radio 1, each with other nonsense, until there is /tmp/enough
flood() {
	on pnes - <<-SCRIPT
		vm-radio run 1 python3 - $(radio_address pnes 1) $gateway_address $channel <<'PYTHON'
		import os, socket, sys, time
		here, there, channel = sys.argv[1], sys.argv[2], int(sys.argv[3])
		nonsense = [b"", os.urandom(3000), b"\\0\\0\\0\\x40\\x01half", b"\\xff\\xff\\xff\\xff\\x02" + b"x" * 2000,
		            b"\\0\\0\\0\\1\\x63", b"\\0\\0\\0\\0", b"\\0\\0\\0\\x05\\x02<xml"]
		opened, refused, until = 0, set(), time.monotonic() + 300
		# RFCOMM has one stream a device and channel: each follows the one before.
		while not os.path.exists("/tmp/enough") and time.monotonic() < until:
		    s = socket.socket(socket.AF_BLUETOOTH, socket.SOCK_STREAM, socket.BTPROTO_RFCOMM)
		    s.settimeout(10)
		    try:
		        s.bind((here, 0))
		        s.connect((there, channel))
		        opened += 1
		        s.send(nonsense[opened % len(nonsense)])
		    except OSError as error:
		        if str(error) not in refused:
		            print(error, "after", opened, "streams", flush=True)
		        refused.add(str(error))
		    s.close()
		    time.sleep(0.05)
		print("opened", opened, "streams;", *sorted(refused))
		PYTHON
	SCRIPT
}

gateway_address=$(radio_address gateway 0)
system_make "strangers = true;" "pairing = \"accept\";" || failed "the configuration cannot be made"
system_up &
system=$!
pne_begin headset-1 0 --name headset-1 --agent yes-no
radio_plug pnes 1
pnes_ready
on pnes vm-radio run 1 bt-agent -d -c NoInputNoOutput >/dev/null 2>&1
wait $system || exit 1
find_pnes headset-1
bond headset-1 yes
expect 0 "can be discovered" gw bluetooth discoverable 600
channel=$(on pnes sdptool -i "$(radio_hci pnes 1)" browse "$gateway_address" | awk -v RS= '/CPNS PN GW/' | sed -n 's/.*Channel: //p')
[ -n "$channel" ] || failed "the PN GW's channel is not found"

flood >"$scratch/flood" 2>&1 &
flood=$!
gateway_log "$(radio_address pnes 1)" 60 || failed "the stranger's streams are not seen: $(cat "$scratch/flood")"
expect 0 "done" gw figure6 "$user" headset-1
ok "headset-1 gets its EUKey by Figure 6 while a stranger floods"
gateway_log "bluetooth $(radio_address pnes 1) opens too many streams: refused for a minute" 90 ||
	failed "the log does not say that the stranger floods"
expect 0 "done" gw figure6 "$user" headset-1
kill -0 $flood || failed "the flood has ended by itself: $(cat "$scratch/flood")"
on pnes touch /tmp/enough
wait $flood
say "the stranger: $(tail -n 1 "$scratch/flood")"
ok "the log names the stranger and refuses it for a minute; once more headset-1 gets an EUKey"
expect 0 "ready" gw bluetooth status
same_key headset-1 || failed "not the same key on both sides"
ok "afterwards all is as before, and the EUKey is the same on both sides"
