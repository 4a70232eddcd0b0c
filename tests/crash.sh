# shellcheck shell=bash
# Kill -9 of one process ($victim: server, gateway, pne) right after each step of each figure, then everything comes
# back: the procedure completes when it is started again, and the key a device holds is one the server has. With
# PNGW_SANITIZERS at every third place. To be sourced.
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin crash
admin import-temporary-keys "$run/keys.csv" >/dev/null 2>&8

all_up() {
	: >"$run/log"
	launch_all headset-1 headset-2
}
all_up
start register "$user"
start figure8 "$user"

places=0
cases=0
every=${PNGW_SANITIZERS:+3}
# try FIGURE ENTITY STEP VICTIM
try() {
	local figure=$1 entity=$2 step=$3 victim=$4 pid i line
	places=$((places + 1))
	[ $((places % ${every:-1})) = 0 ] || return 0
	cases=$((cases + 1))
	: >"$run/log"
	start "figure$figure" "$user" "$entity" &
	pid=$!
	for ((i = 0; i < 2000; i++)); do
		grep -qF "Fig. $figure step $step:" "$run/log" && break
		sleep 0.005
	done
	if [ "$i" = 2000 ]; then
		echo "Figure $figure step $step was not seen, so $victim was not killed there"
		cat "$run/start.out"
		bad=1
	fi
	if [ "$victim" = pne ]; then
		victim=$entity
	fi
	kill9 "$victim"
	# The gateway is told at once, or after a deadline, or was itself the victim: start again meanwhile.
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	for name in server gateway headset-1 headset-2; do
		kill9 "$name"
	done
	challenge=$(openssl rand -hex 16)
	if line=$(pne_fingerprint "$entity" 2>/dev/null) && [ -n "$line" ] && ! same_key "$entity" "$line"; then
		echo "Figure $figure step $step, $4 killed: the server lacks the key that $entity holds"
		bad=1
	fi
	all_up
	if ! start "figure$figure" "$user" "$entity"; then
		echo "Figure $figure step $step, $4 killed: the second try ended with:"
		cat "$run/start.out"
		bad=1
		return
	fi
	stop "$entity"
	: >"$run/log"
	line=$(pne_fingerprint "$entity")
	if ! same_key "$entity" "$line"; then
		echo "Figure $figure step $step, $4 killed: different keys after the second try"
		bad=1
	fi
	case $entity in
	headset-1) launch_pne headset-1 pan-secure authenticated ;;
	*) launch_pne headset-2 pan-open none ;;
	esac
	await "$entity is connected"
}

for step in 1 2 4 5 7 8 11 12 14; do
	try 6 headset-1 "$step" "${victim:?}"
done
for step in 1 3 5 6 7; do
	try 7 headset-2 "$step" "$victim"
done
echo "$cases places to be killed at"
exit $bad
