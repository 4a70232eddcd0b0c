# shellcheck shell=bash
# shellcheck disable=SC1091,SC2154 # run sources vm.sh first
# The unit template on a real UART: login by PIN, noise, breaks, a cable that is pulled out, and the guided job: a
# headset is paired and gets its EUKey. PNGW_VM_RECORD names a file for what was on the screen then.
scenario "A technician at a serial line of 9600 baud pairs a headset and gives it its EUKey"
. "$vm_top/system.sh"
pin="4711 and more"
system_make 'adapter = "hci0";' || failed "the configuration cannot be made"
pne_begin headset-1 1 --name headset-1 --agent yes-no
system_up
on gateway sh -c "echo '$pin' | pngwctl set-pin technician" >"$scratch/out" ||
	failed "no PIN: $(cat "$scratch/out")"

sed 's,@bindir@,/usr/local/bin,' "$vm_top/../../systemd/pngw-console@.service.in" >"$scratch/pngw-console@.service"
put gateway /run/systemd/system "$scratch/pngw-console@.service" &&
	on gateway sh -c "systemctl daemon-reload && systemctl start pngw-console@ttyS1" ||
	failed "the console does not start: $(vm_journal gateway -u pngw-console@ttyS1 -o cat)"
pnes_ready
PIN=$pin PASSWORD=$password timeout 240 python3 "$vm_top/line-person.py" "$vm_dir/gateway" "$(pne_address headset-1)" \
	${PNGW_VM_RECORD:+"$PNGW_VM_RECORD"} >"$scratch/person" ||
	failed "$(cat "$scratch/person"): $(vm_journal gateway -u pngw-console@ttyS1 -o cat | tail -n 20)"
while IFS= read -r line; do
	ok "$line"
done <"$scratch/person"
line=$(on gateway stty -F /dev/ttyS1 -a)
grep -q "^speed 9600 baud" <<<"$line" && grep -q -- "-parenb.* cs8 .*-cstopb" <<<"$(tr '\n' ' ' <<<"$line")" ||
	failed "the line is not 9600 8N1: $line"
who_runs() {
	[ "$(on gateway ps -o user:20= -C pngwctl | sort -u)" = pngw-console ]
}
await_that 10 who_runs || failed "the console is $(on gateway ps -o user:20= -C pngwctl)'s"
ok "the line is at 9600 baud, 8N1; its console is no user's but pngw-console's, and waits for the next session"
unit_stop gateway pngw-console@ttyS1
same_key headset-1 || failed "not the same key on both sides"
ok "the EUKey is the same on both sides"
