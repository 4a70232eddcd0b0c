# shellcheck shell=bash
# shellcheck disable=SC2154 # run sources vm.sh first, system.sh sets the rest
# The PN GW as a Network Access Point: PNEs join with BNEP and come over TCP. The bridge is made and removed, also
# after a kill, and only there the PN GW listens.
# shellcheck source=tests/vm/system.sh
. "$vm_top/system.sh"
scenario "Figures 5, 6 and 7 over TCP/IP on Bluetooth (BNEP), with the PN GW as Network Access Point"
bridge=192.168.44.1
port=$(sed -n "s/^| \`nap-port\` | \`\([0-9]*\)\`.*/\1/p" "$vm_top/../../doc/bluetooth.md")

# join: the machine "pnes" as one device that joins; PNEs on it share its radio
join() {
	# After the pairing BlueZ asks which services there are, and until it knows bt-network gives up.
	daemon pnes test-join -p Restart=on-failure -p RestartSec=1 -p StartLimitIntervalSec=0 bt-network -c "$gateway_address" nap
	on pnes - <<-SCRIPT
		for try in \$(seq 200); do
			if ip link set bnep0 up 2>/dev/null; then
				ip address replace 192.168.44.9/24 dev bnep0
				exit 0
			fi
			sleep 0.2
		done
		exit 1
	SCRIPT
}
pne_tcp() {
	local name=$1
	shift
	daemon pnes "cpns-$name" /usr/local/sbin/vm-typed "$name" cpns-pne --entity "$name" \
		--connect "tcp:$bridge:$port" --state "$room/$name" --temporary-key-file "$room/keys.csv" \
		--iterations-floor 10000 "$@"
}
reaches() {
	on "$1" python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)' \
		"$2" "$port" 2>/dev/null
}

gateway_address=$(radio_address gateway 0)
drop_ins=(nap)
system_make 'nap = { enable = true; };' || failed "the configuration cannot be made"
system_up
pairable pnes 0
agent pnes || failed "no agent"
expect 0 "done; paired" gw bluetooth pair "$(radio_address pnes 0)"
expect 0 "offered, bridge pngw0" gw bluetooth status
join || failed "the PNEs cannot join: $(vm_journal pnes -u test-join -o cat | tail -n 3)"
nap=$(sed -n "s/^| \`nap-uuid\` | \`\([0-9a-fx]*\)\`.*/\1/p" "$vm_top/../../doc/bluetooth.md")
on pnes sdptool -i "$(radio_hci pnes 0)" browse "$gateway_address" >"$scratch/sdp"
grep -qF "(${nap:-none})" "$scratch/sdp" || failed "sdptool does not see the service $nap"
ok "a device joins the Network Access Point, which sdptool sees too"

reaches pnes $bridge || failed "$bridge:$port cannot be reached"
for address in 127.0.0.1 10.0.2.15; do
	! reaches gateway $address || failed "$address:$port can be reached too"
done
# A neighbour who routes the bridge's address through another interface.
on gateway - <<-SCRIPT || failed "the neighbour: $(on gateway cat /srv/neighbour)"
	exec >/srv/neighbour 2>&1
	ip netns add far && ip link add near type veth peer far netns far &&
		ip address add 10.9.0.1/24 dev near && ip link set near up &&
		ip -n far address add 10.9.0.2/24 dev far && ip -n far link set far up &&
		ip -n far route add default via 10.9.0.1 && ip netns exec far python3 - <<end
	import errno, socket
	for address in ("10.9.0.1", "$bridge"):
	    with socket.socket() as s:
	        s.settimeout(5)
	        result = s.connect_ex((address, $port))
	        assert result == errno.ECONNREFUSED, (address, result)
	end
SCRIPT
ok "the PN GW listens on the bridge, and nowhere else: its address alone does not lead there"

pne_tcp headset-2 || failed "headset-2 does not start"
pne_tcp tablet-1 --ui --user "$user" || failed "tablet-1 does not start"
await_that 120 on pnes test -p /run/typed-tablet-1 && pne_type tablet-1 "$password"
gateway_log "PNE headset-2 is connected" || failed "headset-2 does not connect"
expect 1 "[PAN_INSECURE]" gw figure6 "$user" headset-2
expect 0 "done" gw figure7 "$user" headset-2
pne_log tablet-1 "verdict: Figure 5 step 13" 60 || failed "tablet-1 gets no EUKey"
ok "Figures 5 and 7 over BNEP; Figure 6 is refused, for TCP does not tell what is below it"

before=$(on gateway cat /sys/class/net/pngw0/ifindex)
unit_kill gateway pngw-gateway
on gateway sed -i 's/nap = { enable = true;/& security = "authenticated";/' "$room/pngw.conf"
on gateway test -e /sys/class/net/pngw0 || failed "the bridge is gone with a killed pngwd: this shows nothing"
gateway_up || failed "the PN GW does not start again after kill -9"
[ "$(on gateway cat /sys/class/net/pngw0/ifindex)" != "$before" ] || failed "the bridge was not made anew"
ok "after kill -9 the bridge that was left behind is replaced"

unit_stop pnes test-join
join || failed "the PNEs cannot join again"
pne_tcp headset-1 --security authenticated || failed "headset-1 does not start"
gateway_log "PNE headset-1 is connected" 60 || failed "headset-1 does not connect"
expect 0 "done" gw figure6 "$user" headset-1
ok "Figure 6 over BNEP, where the configuration vouches for it"
key_table "Figure 5, BNEP" tablet-1 "Figure 6, BNEP" headset-1 "Figure 7, BNEP" headset-2 "Figure 8" "$gateway" ||
	failed "not the same key on both sides"
ok "each EUKey is the same on both sides"

unit_stop gateway pngw-gateway
! on gateway test -e /sys/class/net/pngw0 || failed "the bridge stays when pngwd stops"
ok "the bridge goes when pngwd stops"
