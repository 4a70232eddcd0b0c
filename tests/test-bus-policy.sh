#!/usr/bin/env bash
# gateway/dbus/org.pngw.conf on a dbus-daemon with Debian's configuration of the system bus, with real user ids:
# who may be pngwd, who may speak to it, who hears it, who may ask an agent; and what each role may do.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if [ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null || [ ! -f /usr/share/dbus-1/system.conf ] ||
	! /usr/bin/python3 -c 'import dbus, gi.repository' 2>/dev/null; then
	echo "root, setpriv, dbus-daemon, python3-dbus or python3-gi is missing"
	exit 77
fi
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
iterations=100000
system_begin policy
stop bus

# The users of an installed system that every Debian has: daemon is pngwd's here, games the group, tape the console's.
mkdir "$run/system.d"
sed 's/user="pngw"/user="daemon"/; s/group="pngw"/group="games"/; s/group="pngw-console"/group="tape"/' "$top/gateway/dbus/org.pngw.conf" \
	>"$run/system.d/org.pngw.conf"
sed -e '/<user>\|<fork\/>\|<pidfile>\|<servicehelper>\|<standard_system_servicedirs\|<include/d' \
	-e "s|<listen>.*</listen>|<listen>unix:path=$run/bus</listen>|" \
	-e "s|</busconfig>|<includedir>$run/system.d</includedir></busconfig>|" \
	-e 's|<includedir>|<policy context="default"><allow send_destination="org.example.Served"/></policy>\n&|' \
	-e 's|<policy user="root">|&<allow own="org.example.Served"/>|' \
	/usr/share/dbus-1/system.conf >"$run/bus.conf"
chmod 711 "$run"
pid_of[bus]=$(dbus-daemon --config-file "$run/bus.conf" --fork --print-pid 2>"$run/bus.out")
bus=unix:path=$run/bus
cp "$(bin pngwctl)" "$(bin pngwd)" "$top/tests/bus-policy.py" "$run"
chmod 755 "$run/bus-policy.py"

# as WHO COMMAND...: root; daemon (pngwd's user); nobody; member, console: nobody with that group
as() {
	local who=$1 uid=65534 group=--clear-groups
	shift
	case $who in
	root) "$@" && return || return ;;
	daemon) uid=1 ;;
	member) group="--groups=60" ;;
	console) group="--groups=26" ;;
	esac
	setpriv --reuid "$uid" --regid "$uid" "$group" "$@"
}

# Who may be pngwd.
for who in nobody member console; do
	said=$(as $who /usr/bin/python3 "$run/bus-policy.py" "$bus" own)
	[[ $said == *AccessDenied* ]] || complain "$who may be org.pngw: $said"
done
for who in root daemon; do
	[ "$(as $who /usr/bin/python3 "$run/bus-policy.py" "$bus" own)" = owner ] || complain "$who may not be org.pngw"
done

# A service of somebody else, called without an interface: our policy is no matter of its.
/usr/bin/python3 "$run/bus-policy.py" "$bus" serve org.example.Served 600 >"$run/served" 2>&1 &
pid_of[served]=$!
for ((i = 0; i < 200; i++)); do
	grep -q serving "$run/served" && break
	sleep 0.05
done
for who in root daemon nobody member console; do
	said=$(as $who /usr/bin/python3 "$run/bus-policy.py" "$bus" ping org.example.Served /served)
	[ "$said" = pong ] || complain "$who may not call another service without an interface: $said"
done
stop served

mkdir "$run/state"
sed -i "s|\"$run/gateway\\.|\"$run/state/gateway.|g; s|\"unix:$run/pan|\"unix:$run/state/pan|g" "$run/pngw.conf"
chown -R daemon "$run/state" "$run/certs"
chmod 700 "$run/state"
launch_server
await "listening on"
launch gateway setpriv --reuid 1 --regid 1 --clear-groups "$run/pngwd" --config "$run/pngw.conf"
await "WAN is up"

# outcome WHO CODE TEXT ARGUMENT...: what pngwctl of that user ends with and says
outcome() {
	local who=$1 wanted=$2 text=$3 code=0
	shift 3
	as "$who" "$run/pngwctl" --bus "$bus" "$@" >"$run/out" 2>&1 <<<"$password" || code=$?
	[ "$code" = "$wanted" ] && grep -qF -- "$text" "$run/out" ||
		complain "$who, $*: exit code $code instead of $wanted, or no \"$text\": $(cat "$run/out")"
}
# Who has the rights by being who he is; everybody else reaches pngwd, which refuses.
for who in root daemon; do
	outcome $who 0 "$gateway" status
	outcome $who 0 "look, pair, assign, administer" whoami
done
for who in nobody member console; do
	outcome $who 1 "the right to look is missing" status
	outcome $who 0 "-" whoami
done
# Nor does the bus stand before ours.
said=$(as nobody /usr/bin/python3 "$run/bus-policy.py" "$bus" ping org.pngw /org/pngw)
[[ $said == *Unknown* ]] || complain "nobody may not call pngwd without an interface: $said"
# Each role: what it may, and what not. "-" stands for what pngwd says to somebody who may.
number=1000
for role in viewer technician administrator; do
	number=$((number + 1))
	echo "$number-$role" >"$run/pin-$role"
	chown nobody "$run/pin-$role"
	chmod 600 "$run/pin-$role"
	"$run/pngwctl" --bus "$bus" set-pin "$role" <"$run/pin-$role" >"$run/out" 2>&1 || complain "no PIN: $(cat "$run/out")"
done
# In the group: who is not hears no signal, so nothing of the end of what he began.
role() {
	local role=$1
	shift
	outcome member "$1" "$2" --pin-file "$run/pin-$role" "${@:3}"
}
for role in viewer technician administrator; do
	role $role 0 "$gateway" status
done
role viewer 1 "the right to pair is missing" scan 1
role viewer 1 "the right to assign is missing" register "$user"
for role in viewer technician; do
	role $role 1 "the right to administer is missing" vault check
	role $role 1 "the right to administer is missing" revoke headset-1
	role $role 1 "the right to administer is missing" set-pin viewer --remove
	role $role 1 "the right to administer is missing" bundle "/tmp/pngw-policy-never.$$"
done
for role in technician administrator; do
	role $role 1 "Bluetooth" scan 1
done
# The agent of that connection is asked by pngwd, and the password gets there.
role technician 0 "done" register "$user"
role administrator 0 "done" vault check

# Who hears it. What is heard is caused after all listen.
for who in root daemon member console nobody; do
	as $who /usr/bin/python3 "$run/bus-policy.py" "$bus" listen 6 >"$run/heard-$who" 2>&1 &
	pid_of[heard-$who]=$!
done
for who in root daemon member console nobody; do
	for ((i = 0; i < 200; i++)); do
		grep -q listening "$run/heard-$who" && break
		sleep 0.05
	done
done
outcome root 0 "done" figure8 "$user"
for who in root daemon member console nobody; do
	wait "${pid_of[heard-$who]}" || true
	unset "pid_of[heard-$who]"
done
for who in root daemon member console; do
	grep -q VerdictGiven "$run/heard-$who" || complain "$who does not hear org.pngw: $(cat "$run/heard-$who")"
done
[ "$(cat "$run/heard-nobody")" = listening ] || complain "nobody hears org.pngw: $(cat "$run/heard-nobody")"

# Nobody but pngwd asks an agent: the bus does not deliver it.
(sleep 30) | "$run/pngwctl" --bus "$bus" status --follow >"$run/follow" 2>&1 &
pid_of[follow]=$!
for ((i = 0; i < 200; i++)); do
	grep -q "$gateway" "$run/follow" && break
	sleep 0.05
done
names=$(dbus-send --bus="$bus" --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames |
	sed -n 's/.*"\(:[0-9.]*\)".*/\1/p')
[ "$(wc -w <<<"$names")" -ge 3 ] || complain "nobody is on the bus: $names"
denied=0
for name in $names; do
	said=$(as nobody /usr/bin/python3 "$run/bus-policy.py" "$bus" agent "$name")
	# dbus-send itself has gone.
	[[ $said == *AccessDenied* ]] && denied=$((denied + 1))
	# pngwd may be called, but is no agent.
	[[ $said == *AccessDenied* || $said == *ServiceUnknown* || $said == *"Unknown object"* ]] ||
		complain "nobody may ask the agent of $name: $said"
done
[ "$denied" -ge 1 ] || complain "only $denied connections were asked"
exit $bad
