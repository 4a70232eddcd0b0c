# shellcheck shell=bash
# shellcheck disable=SC1091,SC2034,SC2154 # run sources vm.sh first
# The Bluetooth link is lost right after each step of each figure: whoever does the step is stopped there until the
# link is gone. Then the figure ends with the same key on both ends: by itself, or when the same command is given
# again. Figure 8 and the registration need no PNE: there it is some headset's link, and they go on. Each headset has a
# part of the figures, for who opens more than 20 streams a minute is refused.
scenario "The link is lost after each step of Figures 5, 6, 7 and 8, then the key is the same on both ends"
. "$vm_top/system.sh"

# Who does the steps, in the order of their numbers from 0: the PN GW, the server, the PNE.
steps_of_5=(g g g s s p p p g s s s g p)
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
# lost FIGURE STEP WHO NAME
lost() {
	local figure=$1 step=$2 name=$4 machine code=0 pid
	machine=$(machine_of "$3")
	halt "$machine" at "Fig. $figure step $step:"
	gw "figure$figure" "$user" $name >"$scratch/first" &
	pid=$!
	lose_there "$figure" "$step" "$machine" "${radio_of[$name]}"
	wait "$pid" || code=$?
	if [ "$code" = 0 ]; then
		alone=$((alone + 1))
	else
		told=$((told + 1))
		grep -qE "verdict: Figure $figure step [0-9]+, $name, leg PAN: .* Retry: (yes|later)" "$scratch/first" ||
			failed "Figure $figure, lost at step $step: $(tail -n 1 "$scratch/first")"
		gw "figure$figure" "$user" $name >"$scratch/again" ||
			failed "Figure $figure, lost at step $step, again: $(tail -n 1 "$scratch/again")"
	fi
	same_keys $name || failed "Figure $figure, lost at step $step: different keys"
}

# lost_beside FIGURE STEP COMMAND...: the link of headset-1, of which the PN GW's command needs nothing
lost_beside() {
	local figure=$1 step=$2 pid
	shift 2
	expect 0 "done" gw bluetooth connect headset-1
	halt gateway at "Fig. $figure step $step:"
	gw "$@" >"$scratch/first" &
	pid=$!
	lose_there "$figure" "$step" gateway 1
	wait "$pid" || failed "$*, a link lost at step $step: $(tail -n 1 "$scratch/first")"
}

tablet() {
	daemon pnes cpns-tablet-1 bash -c 'exec vm-radio run 2 cpns-pne "$@" <<<"$0"' "$password" --entity tablet-1 --bearer bluez \
		--state "$room/tablet-1" --iterations-floor 10000 --gateway "$here" --ui --user "$user" --agent just-works "$@"
}
# lost_of_tablet STEP WHO: its user has entered ID and password; from step 7 on it has a link
lost_of_tablet() {
	local step=$1 machine
	machine=$(machine_of "$2")
	halt "$machine" at "Fig. 5 step $step:"
	tablet || failed "tablet-1 does not start"
	lose_there 5 "$step" "$machine" 2
	pne_log tablet-1 "verdict: Figure 5 step 13, tablet-1 of $user: done" 60 || failed "Figure 5, lost at step $step: no EUKey"
	same_keys tablet-1 || failed "Figure 5, lost at step $step: different keys"
	unit_stop pnes cpns-tablet-1
}

halt_ready
system_make
here=$(radio_address gateway 0)
pne_begin headset-1 1 --name headset-1 --agent yes-no
pne_begin headset-3 3 --name headset-3 --agent yes-no
radio_of[tablet-1]=2
radio_plug pnes 2 && tablet --name tablet-1 --deadline 300 || failed "tablet-1 does not start"
system_up
pnes_ready
find_pnes headset-1 headset-3 tablet-1
bond headset-1 yes
bond headset-3 yes
expect 0 "done" pair tablet-1
pne_log tablet-1 "verdict: Figure 5 step 13" 60 || failed "tablet-1 gets no EUKey"
unit_stop pnes cpns-tablet-1
for figure in 7 6; do
	declare -n steps=steps_of_$figure
	name=$([ $figure = 7 ] && echo headset-1 || echo headset-3)
	alone=0
	told=0
	for step in "${!steps[@]}"; do
		lost "$figure" "$step" "${steps[$step]}" "$name"
	done
	ok "Figure $figure, ${#steps[@]} steps: $alone times it went on by itself, $told times a verdict named leg and step" \
		"and the same command finished"
done

for step in 0 1 2 3 4; do
	lost_beside 5 "$step" register "$user"
done
for step in 1 2 3 4 5 6 7; do
	lost_beside 8 "$step" figure8 "$user"
	key_table "Figure 8" "$gateway" >"$scratch/out" || failed "Figure 8, a link lost at step $step: $(cat "$scratch/out")"
done
ok "Figure 5 steps 0 to 4, where a user is registered, and Figure 8, 7 steps: each went on while a headset's link was lost"

for step in 7 8 9 10 11 12 13; do
	lost_of_tablet "$step" "${steps_of_5[$step]}"
done
ok "Figure 5 steps 7 to 13, a tablet: each time it connected again by itself and got its EUKey"
