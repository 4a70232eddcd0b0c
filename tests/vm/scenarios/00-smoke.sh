# shellcheck shell=bash
# shellcheck disable=SC2154 # run sources vm.sh first
# What all others stand on: two machines find each other, pair, and talk, on BR/EDR and on LE.
scenario "Two machines find each other over Bluetooth, pair and talk"
pnes=$(radio_address pnes 0)
gateway=$(radio_address gateway 0)
pairable gateway 0
pairable pnes 0
agent pnes || failed "no agent on pnes"
agent gateway || failed "no agent on gateway"

# Linux listens for LE advertising for 5 s before it inquires.
on gateway bash -c 'grep -q "Device $1" < <(exec stdbuf -oL bluetoothctl --timeout 30 scan on) ' - "$pnes" ||
	failed "the gateway does not find $pnes"
on gateway killall -q bluetoothctl
ok "the gateway finds the other device by inquiry"

on gateway timeout 30 bluetoothctl pair "$pnes" | grep -q 'Pairing successful' || failed "no bond"
on gateway grep -q '^\[LinkKey\]' "/var/lib/bluetooth/$gateway/$pnes/info" || failed "no link key"
ok "they pair, nobody types anything"

on gateway l2ping -c 3 "$pnes" | grep -q ' 3 received' || failed "no answer to l2ping"
ok "L2CAP echoes come back"

daemon pnes test-rfcomm rctest -r -P 22 || failed "no RFCOMM server"
await pnes test-rfcomm "Waiting for connection" 10 || failed "the RFCOMM server does not listen"
daemon gateway test-connect rctest -n -P 22 "$pnes"
await pnes test-rfcomm "Connect from $gateway" 20 || failed "RFCOMM does not connect"
ok "an RFCOMM channel opens"

daemon pnes test-advertise bluetoothctl --timeout 60 advertise peripheral
await_that 10 bash -c 'cd "$1" && ./ether -c . list | grep -q "pnes-0 .*advertising"' - "$vm_dir/ether" ||
	failed "pnes does not advertise"
ok "the other device advertises on LE"
