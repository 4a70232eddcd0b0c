#!/usr/bin/env bash
# The daemons in the sandbox of their units, under a real systemd: the main job works, credentials come encrypted,
# what is none of their business is refused, and who hangs or is killed is started again.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
# shellcheck source=tests/room.sh
. "$top/tests/room.sh"
if ! room_possible; then
	echo "$room_why"
	exit 77
fi
folder=$(mktemp -d /tmp/pngw-sandbox.XXXXXX)
end() {
	trap - EXIT
	room_end
	rm -rf "$folder"
}
trap end EXIT
bad=0
complain() {
	echo "$1"
	bad=1
}
server=cpns.example
gateway=gw-livingroom
address=127.$((1 + ($$ >> 16))).$((($$ >> 8) & 255)).$(($$ & 255))
port=$((20000 + RANDOM % 12000))
"$top/tests/make-certs" "$folder/certs" localhost "$gateway" >"$folder/certs.out" 2>&1
gcc -O1 -D_GNU_SOURCE -o "$folder/probe" "$top/tests/sandbox-probe.c"

room_make "$folder/room"
# into PATH [MODE] < content: a file in the room
into() {
	inside install -D -m "${2:-0644}" /dev/stdin "$1"
}
sysconf=$(sed -n 's/^ExecStart=.*--config \(.*\)\/pngw\/.*/\1/p' "$build/systemd/pngwd.service")

# The gateway's keys are credentials that only this machine can open; the server's key is in its folder.
for file in ca.pem gateway.pem; do
	into "$sysconf/pngw/$file" <"$folder/certs/$file"
done
for file in ca.pem server.pem; do
	into "$sysconf/cpns-server/$file" <"$folder/certs/$file"
done
inside mkdir -p /etc/credstore.encrypted
encrypt() {
	inside env SYSTEMD_LOG_LEVEL=err systemd-creds encrypt --with-key=host --name="$1" - "/etc/credstore.encrypted/$2" 2>&1 | grep -v '^$' || true
}
openssl rand -hex 32 | encrypt vault-key pngw.vault-key
encrypt gateway-key pngw.gateway-key <"$folder/certs/gateway.key"
encrypt server-key cpns-server.server-key <"$folder/certs/server.key"
into "$sysconf/cpns-server/cpns-serverd.conf" <<CONF
entity_id = "$server";
listen = { address = "$address"; port = $port; path = "/cpns"; };
tls = { certificate = "$sysconf/cpns-server/server.pem"; key = "credential:server-key"; client_ca = "$sysconf/cpns-server/ca.pem"; };
database = "/var/lib/cpns-server/server.db";
key_file = "/var/lib/cpns-server/server.key";
iterations = 100000;
CONF
into "$sysconf/pngw/pngw.conf" <<CONF
entity_id = "$gateway";
server = {
	entity_id = "$server"; host = "$address"; verify_name = "localhost"; port = $port; path = "/cpns";
	tls = { ca = "$sysconf/pngw/ca.pem"; certificate = "$sysconf/pngw/gateway.pem"; key = "credential:gateway-key"; };
};
pan = { listen = ( { address = "unix:/run/pngw/pan-paired"; security = "authenticated"; },
	{ address = "tcp:$address:$((port + 1))"; security = "none"; } ); };
vault = { path = "/var/lib/pngw/vault"; key_file = "credential:vault-key"; };
CONF

# until COMMAND...: 30 s
until_true() {
	local i
	for ((i = 0; i < 300; i++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	complain "not within 30 s: $*"
	inside journalctl --no-pager -n 25 -o cat || true
}
said() { # TEXT
	inside journalctl --no-pager -o cat | grep -qF -- "$1"
}
ctl() {
	inside timeout 60 pngwctl "$@" <<<"correct horse battery staple" >"$folder/out" 2>&1 ||
		complain "pngwctl $*: $(cat "$folder/out")"
}

inside systemctl mask -q --runtime polkit.service
if ! inside systemctl start dbus.socket cpns-serverd.service pngwd.service; then
	echo "the units do not start"
	inside journalctl --no-pager -n 25 -o cat
	exit 1
fi
for unit in pngwd cpns-serverd; do
	[ "$(inside systemctl is-active $unit.service)" = active ] || complain "$unit is not active"
done
until_true said "WAN is up: HTTP/2, mutually authenticated"

# The main job.
printf 'entity_id,form,temporary_key\nheadset-2,hex,%s\n' "$(openssl rand -hex 32)" >"$folder/keys.csv"
into /root/keys.csv 0600 <"$folder/keys.csv"
into /var/lib/cpns-server/keys.csv 0644 <"$folder/keys.csv"
inside setpriv --reuid=cpns-server --regid=cpns-server --clear-groups cpns-server-admin \
	--config "$sysconf/cpns-server/cpns-serverd.conf" import-temporary-keys /var/lib/cpns-server/keys.csv >/dev/null
ctl register alice
ctl figure8 alice
pne() { # NAME ADDRESS SECURITY
	inside cpns-pne --entity "$1" --connect "$2" --security "$3" --state "/root/$1" \
		--temporary-key-file /root/keys.csv >"$folder/$1.out" 2>&1 </dev/null &
	until_true said "$1 is connected"
}
pne headset-1 unix:/run/pngw/pan-paired authenticated
pne headset-2 "tcp:$address:$((port + 1))" none
ctl assign alice headset-1
grep -q "Figure 6" "$folder/out" || complain "headset-1 got no key by Figure 6: $(cat "$folder/out")"
ctl assign alice headset-2
grep -q "Figure 7" "$folder/out" || complain "headset-2 got no key by Figure 7: $(cat "$folder/out")"
inside mkdir -p -m 1777 /media/stick
ctl vault backup /media/stick/vault
inside test -s /media/stick/vault || complain "no backup on another medium"
# pngwd's own examination of where it runs.
inside pngwctl --kv doctor </dev/null >"$folder/doctor" 2>&1 || true
grep -q '^id=process.seccomp .*state=ok' "$folder/doctor" || complain "no examination: $(cat "$folder/doctor")"
! grep -E '^id=(process|state|core)[.-]' "$folder/doctor" | grep -vE 'state=(ok|not-applicable)' || complain "pngwd is not content with its unit"
inside systemctl reload pngwd.service cpns-serverd.service || complain "reload"
until_true said "configuration read again"
until_true said "TLS credentials reloaded"

# What lies where, and whose it is.
[ "$(inside stat -c '%a %U' /var/lib/pngw /var/lib/cpns-server | tr '\n' ' ')" = "700 pngw 700 cpns-server " ] ||
	complain "state: $(inside stat -c '%a %U %n' /var/lib/pngw /var/lib/cpns-server)"
main=$(inside systemctl show -P MainPID pngwd.service)
inside grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb):.*[1-9a-f]|NoNewPrivs:.*0|Seccomp:.*[013])' "/proc/$main/status" &&
	complain "capabilities, new privileges or no filter"
inside grep -E 'Max core file size +0 +0' "/proc/$main/limits" >/dev/null || complain "core files"

# What is refused. The unit's own lines, but for the program: a call that the filter stops says EUCLEAN (117).
inside mkdir -p -m 0700 /var/lib/bluetooth
inside install -m 0755 /dev/stdin /usr/lib/pngw-probe <"$folder/probe"
probe() { # UNIT STATE
	inside sh -c "sed -e 's,^ExecStart=.*,ExecStart=/usr/lib/pngw-probe,; s/^Type=.*//; s/^Watchdog.*//; s/^Restart=.*//' \
		-e '/^\(ExecStartPre\|Conflicts\|DeviceAllow\|RuntimeDirectory\|Standard[A-Z][a-z]*\|TTY[A-Z][A-Za-z]*\)=/d' \
		-e 's/^SystemCallErrorNumber=.*/SystemCallErrorNumber=EUCLEAN/; s/^LoadCred.*//' \
		-e 's/^\[Service\]/&\nType=oneshot\nEnvironment=PNGW_STATE=${2//\//\\/}\nStandardOutput=truncate:\/run\/probe-out/' \
		\"\$(systemctl show -P FragmentPath $1)\" >/etc/systemd/system/probe.service"
	inside systemctl daemon-reload
	inside systemctl start probe.service || complain "the probe does not run"
	inside cat /run/probe-out >"$folder/probed"
}
for unit in pngwd cpns-serverd; do
	state=/var/lib/pngw
	[ $unit = pngwd ] || state=/var/lib/cpns-server
	probe $unit.service "$state/probe"
	[ "$(wc -l <"$folder/probed")" -ge 48 ] || complain "$unit: the probe did not finish: $(tail -n 3 "$folder/probed")"
	while read -r name error; do
		case $name in
		netlink | packet | vsock) wanted=97 ;; # EAFNOSUPPORT
		etc | usr) wanted=30 ;;                      # EROFS
		shadow | root | bonds) wanted=13 ;;          # EACCES
		init) wanted="2 13" ;;                       # ProtectProc=
		memory) wanted=2 ;;
		shell) wanted=13 ;;
		state) wanted=0 ;;
		pan) [ $unit = pngwd ] && wanted=0 || wanted=13 ;;
		write-exec) wanted="1 117" ;;
		*) wanted=117 ;;
		esac
		case " $wanted " in
		*" $error "*) ;;
		*) complain "$unit: $name: $error, wanted $wanted" ;;
		esac
	done <"$folder/probed"
done
# Nor does the console's user come in as a PNE, by his unit or by his groups.
probe pngw-console@ttyS1.service /tmp/probe
grep -qx 'pan 13' "$folder/probed" || complain "the console may connect as a PNE: $(cat "$folder/probed")"
! inside id -Gn pngw-console | tr ' ' '\n' | grep -x pngw || complain "the console's user is in the group pngw"
# Each drop-in gives what it is for.
inside mkdir -p /etc/systemd/system/probe.service.d
for gives in bonds:bonds nap:netlink; do
	into /etc/systemd/system/probe.service.d/dropin.conf <"$top/systemd/${gives%:*}.conf"
	probe pngwd.service /var/lib/pngw/probe
	grep -qx "${gives#*:} 0" "$folder/probed" || complain "${gives%:*}.conf does not give $(grep "${gives#*:}" "$folder/probed")"
	grep -qx 'mount 117' "$folder/probed" || complain "${gives%:*}.conf gives mount"
done
inside rm -r /etc/systemd/system/probe.service.d
# The probe can do harm where nothing stops it.
inside env PNGW_STATE=/root/probe /usr/lib/pngw-probe >"$folder/probed"
grep -qE ' (117|97)$' "$folder/probed" && complain "the probe is stopped outside of the sandbox: $(cat "$folder/probed")"
inside rm -f /etc/pngw-probe /usr/pngw-probe

# What a session on a serial line writes outlives it, and a cut of the power: it lies in the console's own folder or on
# a medium, and nowhere else. Its unit's own lines, but for the line itself.
console() { # COMMAND: what it said goes to $folder/said
	inside systemctl cat pngw-console@ttyS1.service | sed -e '/^ExecStartPre=/d; /^Standard/d; /^TTY/d; /^Restart/d' \
		-e "s,/dev/%I,/dev/null,; s,^ExecStart=.*,ExecStart=/bin/sh -c \"$1\"," \
		-e 's,^\[Service\],&\nType=oneshot\nStandardOutput=truncate:/run/console-said\nStandardError=inherit,' |
		into /etc/systemd/system/console-probe.service
	inside systemctl daemon-reload
	inside systemctl start console-probe.service >/dev/null 2>&1 || true
	inside cat /run/console-said >"$folder/said"
}
console "pngwctl tray - --sheet /tmp/trays </dev/null"
grep -q "nothing can be written to /tmp/trays, so nothing was begun" "$folder/said" ||
	complain "a tray in a /tmp that goes with the session: $(cat "$folder/said")"
console "pngwctl tray - --user alice --password-file /dev/null </dev/null"
grep -q "there is no headset in it" "$folder/said" || complain "no tray without --sheet: $(cat "$folder/said")"
console "echo kept >journal; echo kept >/media/stick/sheet; echo lost >/tmp/journal; echo lost >/var/tmp/journal"
for file in /var/lib/pngw-console/journal /media/stick/sheet; do
	[ "$(inside stat -c %U $file)" = pngw-console ] || complain "$file was not written: $(cat "$folder/said")"
done
[ "$(inside stat -c '%a %U' /var/lib/pngw-console)" = "700 pngw-console" ] || complain "the console's folder"
[ "$(grep -c "Permission denied" "$folder/said")" = 2 ] || complain "written to /tmp: $(cat "$folder/said")"

# Killed, it comes back, with what it knew.
inside kill -KILL "$main"
until_true inside sh -c "[ \$(systemctl show -P MainPID pngwd.service) != $main ] && systemctl is-active pngwd.service"
until_true inside pngwctl status
ctl elements
grep -q headset-2 "$folder/out" || complain "what it knew is gone"
# Hanging, it is ended by the watchdog.
inside mkdir -p /run/systemd/system/pngwd.service.d
printf '[Service]\nWatchdogSec=2\n' | into /run/systemd/system/pngwd.service.d/soon.conf
inside systemctl daemon-reload
inside systemctl restart pngwd.service
main=$(inside systemctl show -P MainPID pngwd.service)
sleep 3
[ "$(inside systemctl show -P MainPID pngwd.service)" = "$main" ] || complain "the watchdog ended a live one"
inside kill -STOP "$main"
until_true inside sh -c "[ \$(systemctl show -P MainPID pngwd.service) != $main ] && systemctl is-active pngwd.service"
until_true said "Watchdog timeout"
inside systemctl stop pngwd.service cpns-serverd.service
[ "$(inside systemctl show -P Result cpns-serverd.service)" = success ] || complain "the server did not stop well"
exit $bad
