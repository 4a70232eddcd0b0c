# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is read by those who source it
# Two virtual machines, "gateway" and "pnes", that see each other over Bluetooth: sourced by the
# scenarios and by up, down, shell and run. README.md says how to use it and what the radios can do.
#
#   vm_up, vm_down                    vm_up does nothing when the machines run
#   on MACHINE COMMAND...             runs it there as root, with its exit code and output; on_with_input: input too
#   on MACHINE - <<<'script'          a bash script from standard input
#   put MACHINE FOLDER FILE...        copies files there; get MACHINE FILE FOLDER copies one back
#   vm_install BUILD                  puts our programs there, into /usr/local/bin (on PATH)
#   daemon MACHINE NAME COMMAND...    runs it as the unit NAME; stops, kills: unit_stop, unit_kill
#   await MACHINE NAME TEXT [SECONDS] until the journal of the unit NAME has a line with TEXT (30 s)
#   await_that SECONDS COMMAND...     until COMMAND succeeds
#   vm_journal MACHINE [ARGUMENT...]  journalctl there
#   radio_plug, radio_unplug MACHINE N   a controller; 0 is plugged already. radio_address MACHINE N
#   radio_hci MACHINE N               its name there, like hci0
#   adapter MACHINE N BTMGMT-COMMAND...
#   pairable MACHINE N                powered, connectable, discoverable and pairable
#   agent MACHINE                     pairs with whoever wants to, without asking
#   ether WORD...                     faults, see README.md
#   halt_ready                        daemons that start from now on can be stopped in their tracks:
#   halt MACHINE at TEXT, halt MACHINE wait [SECONDS], halt MACHINE go   one there stops right after it has
#                                     said a TEXT; waits until it has; it goes on
#   vm_reset                          both as after the boot: no bonds, no daemons, radio 0 only
#   scenario TEXT, say TEXT, ok TEXT, failed TEXT, skip TEXT      words for the person who reads

vm_top=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
vm_cache=${PNGW_VM_CACHE:-$vm_top/../../build-vm}
vm_dir=${PNGW_VM_DIR:-$vm_cache/machines}
vm_machines=(gateway pnes) # who needs only one of them sets that, after sourcing

_vm_running() {
	local pid
	pid=$(cat "$vm_dir/$1/pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null &&
		grep -qa "$2" "/proc/$pid/cmdline" 2>/dev/null
}

_vm_ether() {
	local dir=$vm_dir/ether
	_vm_running ether gateway && return 0
	mkdir -p "$dir"
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -o "$dir/ether" "$vm_top"/ether*.c || return 1
	(cd "$dir" && rm -f control && exec setsid ./ether . gateway 4 pnes 26) \
		>"$dir/log" 2>&1 </dev/null 8>&- 9>&- &
	echo $! >"$dir/pid"
	await_that 5 test -S "$dir/control"
}

# A word to the ether: README.md has them all.
ether() {
	(cd "$vm_dir/ether" && ./ether -c . "$@")
}

# A relative path of the socket: absolute ones may be longer than an address can be.
_vm_boot() {
	local machine=$1 image=$2 radios=$3 dir=$vm_dir/$1 port radio try serial arguments khz
	_vm_running "$machine" qemu && return 0
	mkdir -p "$dir"
	gcc -O2 -Wall -o "$dir/tsc" "$vm_top/tsc.c" && khz=$("$dir/tsc") || return 1
	rm -f "$dir/console" "$dir/ssh" "$dir/line" "$dir/qmp"
	for try in 1 2 3 4 5 6 7 8 9 10; do
		port=$((20000 + (RANDOM + try) % 12000))
		arguments=()
		for ((radio = 0; radio < radios; radio++)); do
			# With many ports on one, QEMU drops messages to a machine that is slow to read them.
			serial=serial$((radio / 8))
			[ $((radio % 8)) != 0 ] ||
				arguments+=(-device "virtio-serial-pci,id=$serial,max_ports=9")
			arguments+=(-chardev "socket,id=radio$radio,path=../ether/$machine-$radio"
				-device "virtserialport,bus=$serial.0,chardev=radio$radio,name=radio$radio")
		done
		# Code is translated once for each address it is seen at: the same program always at the same one is three
		# times as fast. So are four levels of page tables against five.
		# What is emulated has time limits, what else runs on the host has none; who may not say so goes without.
		if (cd "$dir" && nice -n -10 qemu-system-x86_64 -name "pngw-$machine" -daemonize -pidfile pid \
			-accel tcg,thread=multi,tb-size=256 -cpu max,la57=off -M q35 -m 1024 -smp 1 -nodefaults -display none -no-reboot \
			-kernel "$image/vmlinuz" -initrd "$image/root.cpio" \
			-append "console=ttyS0 quiet vm.name=$machine mitigations=off nokaslr norandmaps init_on_alloc=0 tsc=reliable tsc_early_khz=$khz no_timer_check cryptomgr.notests=1 panic=-1" \
			-serial file:console -chardev socket,id=line,path=line,server=on,wait=off -serial chardev:line \
			-qmp unix:qmp,server=on,wait=off -object rng-random,id=rng,filename=/dev/urandom \
			-device virtio-rng-pci,rng=rng \
			-netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22" \
			-device virtio-net-pci,netdev=net,romfile= "${arguments[@]}" 8>&- 9>&-) >"$dir/qemu" 2>&1; then
			break
		fi
		port=
		grep -q 'host forwarding' "$dir/qemu" || break
	done
	if [ -z "$port" ] || ! _vm_running "$machine" qemu; then
		echo "vm: $machine does not start:" >&2
		cat "$dir/qemu" >&2
		return 1
	fi
	# Where the kernel groups by session, that alone counts.
	{ echo -10 >"/proc/$(cat "$dir/pid")/autogroup"; } 2>/dev/null || true
	cat >"$dir/config" <<-CONF
		Host $machine
			HostName 127.0.0.1
			Port $port
			User root
			IdentityFile $image/key
			IdentitiesOnly yes
			StrictHostKeyChecking no
			UserKnownHostsFile /dev/null
			LogLevel ERROR
			ConnectTimeout 20
			ControlPath $dir/ssh
	CONF
}

# The connection that all commands share. Made here and not by the first of them, for it would keep
# that one's output open.
_vm_connect() {
	local config=$vm_dir/$1/config
	ssh -F "$config" -O check "$1" >/dev/null 2>&1 ||
		ssh -F "$config" -M -f -N "$1" </dev/null >/dev/null 2>&1 8>&- 9>&-
}

_vm_ready() {
	grep -q 'machine is ready' "$vm_dir/$1/console" 2>/dev/null ||
		! _vm_running "$1" qemu || grep -q 'Kernel panic' "$vm_dir/$1/console"
}

vm_up() {
	local image machine
	image=$("$vm_top/image") || return 1
	mkdir -p "$vm_dir"
	vm_dir=$(cd "$vm_dir" && pwd)
	_vm_ether || { echo "vm: no ether" >&2; return 1; }
	for machine in "${vm_machines[@]}"; do
		_vm_boot "$machine" "$image" "$([ "$machine" = gateway ] && echo 4 || echo 26)" || return 1
	done
	for machine in "${vm_machines[@]}"; do
		if ! await_that 600 _vm_ready "$machine" ||
			! grep -q 'machine is ready' "$vm_dir/$machine/console" ||
			! await_that 30 _vm_connect "$machine" || ! on "$machine" true; then
			echo "vm: $machine did not come up; $vm_dir/$machine/console says:" >&2
			tail -n 30 "$vm_dir/$machine/console" >&2
			return 1
		fi
	done
}

vm_down() {
	local machine
	for machine in "${vm_machines[@]}" ether; do
		if [ "$machine" != ether ] && [ -S "$vm_dir/$machine/ssh" ]; then
			ssh -F "$vm_dir/$machine/config" -O exit "$machine" 2>/dev/null
		fi
		if _vm_running "$machine" "$([ "$machine" = ether ] && echo gateway || echo qemu)"; then
			kill "$(cat "$vm_dir/$machine/pid")"
		fi
		rm -f "$vm_dir/$machine/pid"
	done
}

on() {
	local machine=$1
	shift
	if [ "$*" = - ]; then
		on_with_input "$machine" bash -s
	else
		on_with_input "$machine" "$@" </dev/null
	fi
}

# The shell there is dash, which starts sooner than bash; it knows no other quotes. Of commands that end at the same
# time dropbear loses exit codes, ssh's is 255 then: so each leaves its own in a file, too.
on_with_input() {
	local machine=$1 word command= code=/run/ended-$BASHPID.$SRANDOM result try
	shift
	for word in "$@"; do
		command+="'${word//\'/\'\\\'\'}' "
	done
	ssh -F "$vm_dir/$machine/config" -T "$machine" "$command; result=\$?; echo \$result >$code; exit \$result"
	result=$?
	for ((try = 0; try < 20 && ${result:-255} == 255; try++)); do
		result=$(ssh -F "$vm_dir/$machine/config" -T "$machine" "cat $code" </dev/null 2>/dev/null)
	done
	return "${result:-255}"
}

put() {
	local machine=$1 folder=$2 file
	shift 2
	local arguments=()
	for file in "$@"; do
		arguments+=(-C "$(cd "$(dirname "$file")" && pwd)" "$(basename "$file")")
	done
	tar -cf - "${arguments[@]}" | ssh -F "$vm_dir/$machine/config" -T "$machine" \
		"mkdir -p $(printf %q "$folder") && tar -xmf - --no-same-owner -C $(printf %q "$folder")"
}

get() {
	local machine=$1 file=$2 folder=$3
	on "$machine" tar -cf - -C "$(dirname "$file")" "$(basename "$file")" | tar -xf - -C "$folder"
}

vm_install() {
	local build=$1 programs=() program stage machine result=0
	for program in pngwd pngwctl pngw-ledger pngw-vault pngw-handover pngw cpns-pne cpns-serverd cpns-server-admin \
		"${@:2}"; do
		if [ -x "$build/.libs/$program" ]; then
			programs+=("$build/.libs/$program")
		elif [ -x "$build/$program" ]; then
			programs+=("$build/$program")
		fi
	done
	stage=$(mktemp -d "$vm_dir/programs.XXXXXX")
	cp "${programs[@]}" "$stage/"
	strip --strip-debug "$stage"/* 2>/dev/null
	for machine in "${vm_machines[@]}"; do
		put "$machine" /usr/local/bin "$stage"/* || result=$?
	done
	rm -rf "$stage"
	return $result
}

daemon() {
	local machine=$1 name=$2
	shift 2
	on "$machine" systemd-run -q --unit="$name" --collect -p KillMode=mixed -p TimeoutStopSec=10 \
		${vm_preload:+-E "LD_PRELOAD=$vm_preload"} "$@"
}

vm_preload=
halt_ready() {
	local machine
	vm_preload=/usr/local/lib/halt.so
	for machine in "${vm_machines[@]}"; do
		on "$machine" vm-halt ready || return 1
	done
}

halt() {
	local machine=$1 action=$2
	shift 2
	[ "$action" != wait ] || set -- "${1:-30}"
	on "$machine" vm-halt "$action" "$@"
}

unit_stop() {
	on "$1" systemctl stop "$2"
}

unit_kill() {
	on "$1" systemctl kill -s KILL "$2"
}

await() {
	local machine=$1 name=$2 text=$3 seconds=${4:-30}
	on "$machine" vm-await said "$name" "$text" "$seconds" >/dev/null
}

await_that() {
	local seconds=$1 until
	shift
	until=$((SECONDS + seconds))
	while ! "$@"; do
		[ $SECONDS -lt $until ] || return 1
		sleep 0.2
	done
}

vm_journal() {
	local machine=$1
	shift
	on "$machine" journalctl --no-pager -o short-precise "$@"
}

radio_plug() {
	on "$1" vm-radio plug "$2"
}

radio_unplug() {
	on "$1" vm-radio unplug "$2"
}

radio_hci() {
	on "$1" vm-radio hci "$2"
}

radio_address() {
	printf '00:1B:DC:10:%02X:%02X\n' "$([ "$1" = gateway ] && echo 1 || echo 2)" "$2"
}

adapter() {
	local machine=$1 radio=$2
	shift 2
	on "$machine" vm-radio manage "$radio" "$@"
}

pairable() {
	on "$1" vm-radio pairable "$2"
}

agent() {
	on "$1" bt-agent -d -c NoInputNoOutput >/dev/null 2>&1
}

vm_reset() {
	local machine results=0 pids=() pid
	ether reset
	for machine in "${vm_machines[@]}"; do
		on "$machine" vm-reset &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || results=1
	done
	return $results
}

# What a failure needs: the journals (kernel, bluetoothd, our daemons) and the consoles, in FOLDER.
vm_keep() {
	local folder=$1 machine
	mkdir -p "$folder"
	for machine in "${vm_machines[@]}"; do
		vm_journal "$machine" --since "@${vm_since:-0}" >"$folder/$machine.journal" 2>&1
		on "$machine" dmesg >"$folder/$machine.kernel" 2>&1
		cp "$vm_dir/$machine/console" "$folder/$machine.console" 2>/dev/null
	done
	cp "$vm_dir/ether/log" "$folder/ether.log" 2>/dev/null
}

scenario() {
	echo "$*"
}

say() {
	echo "    $*"
}

# With the seconds since the scenario began.
ok() {
	echo "    ok, $((SECONDS - ${vm_begun:-SECONDS})) s: $*"
}

# A scenario that cannot show what it should ends here; run sees the exit code, 77 for skip.
failed() {
	echo "    FAILED: $*"
	exit 1
}

skip() {
	echo "    skipped: $*"
	exit 77
}
