# shellcheck shell=bash
# shellcheck disable=SC1091,SC2034,SC2154 # run sources vm.sh first
# The Bluetooth link is lost right after each step of Figures 6 and 7: whoever does the step is stopped there
# until the link is gone. Then the figure ends with the same key on both ends: by itself, or when the same
# command is given again.
scenario "The link is lost after each step of Figures 6 and 7, then the key is the same on both ends"
. "$vm_top/system.sh"

# Who does the steps, in the order of their numbers from 0: the PN GW, the server, the PNE.
steps_of_6=(g g s s g p p g p g s s s g p)
steps_of_7=(g g s s s g g p)

machine_of() {
	[ "$1" = p ] && echo pnes || echo gateway
}

# lose_there FIGURE STEP MACHINE RADIO: waits for the step, and the link goes
lose_there() {
	halt "$3" wait 60 || failed "Figure $1 step $2 was not reached: $(cat "$scratch/first" 2>/dev/null)"
	ether lose gateway-0 "pnes-$4" >/dev/null || failed "Figure $1 step $2: there was no link to lose"
	halt "$3" go
}

alone=0
told=0
# lost FIGURE STEP WHO: the procedure of headset-1
lost() {
	local figure=$1 step=$2 machine code=0 pid
	machine=$(machine_of "$3")
	halt "$machine" at "Fig. $figure step $step:"
	gw "figure$figure" "$user" headset-1 >"$scratch/first" &
	pid=$!
	lose_there "$figure" "$step" "$machine" 1
	wait "$pid" || code=$?
	if [ "$code" = 0 ]; then
		alone=$((alone + 1))
	else
		told=$((told + 1))
		grep -qE "verdict: Figure $figure step [0-9]+, headset-1, leg PAN: .* Retry: (yes|later)" "$scratch/first" ||
			failed "Figure $figure, lost at step $step: $(tail -n 1 "$scratch/first")"
		gw "figure$figure" "$user" headset-1 >"$scratch/again" ||
			failed "Figure $figure, lost at step $step, again: $(tail -n 1 "$scratch/again")"
	fi
	same_keys headset-1 || failed "Figure $figure, lost at step $step: different keys"
}

halt_ready
system_make
system_up
pne_up headset-1 1 --agent yes-no || failed "headset-1 does not start"
expect 0 "done" pair headset-1 yes
expect 0 "done" gw bluetooth connect "$(pne_address headset-1)"
for figure in 7 6; do
	declare -n steps=steps_of_$figure
	alone=0
	told=0
	for step in "${!steps[@]}"; do
		lost "$figure" "$step" "${steps[$step]}"
	done
	ok "Figure $figure, ${#steps[@]} steps: $alone times it went on by itself, $told times a verdict named leg and step" \
		"and the same command finished"
done
