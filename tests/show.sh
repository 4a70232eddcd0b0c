# shellcheck shell=bash
# How the demos show what happens; sourced, with $plain (yes: no colours) set.
#
#   show_begin FOLDER   from now on lines written to file descriptor 8 are shown as they come, and kept in FOLDER/log
#   show_end            once their writers have ended
#   title TEXT

: "${plain:?}"
reader=

# One pipe for what all processes say, so that the lines come in the order of the events.
show_begin() {
	mkfifo "$1/events"
	paint "$1" &
	reader=$!
	exec 8>"$1/events"
}

show_end() {
	exec 8>&- 2>/dev/null || true
	[ -z "$reader" ] || wait "$reader" 2>/dev/null || true
}

paint() {
	local line colour
	while IFS= read -r line; do
		printf '%s\n' "$line" >>"$1/log"
		case $line in
		*": info: challenged "*) colour=35 ;; # why the PNE asks twice
		*": info:"*) continue ;;
		*verdict:*) colour=1 ;;
		SERVER*) colour=35 ;;
		"PN GW"*) colour=36 ;;
		PNE*) colour=32 ;;
		*) colour=0 ;;
		esac
		if [ "$plain" = yes ]; then
			printf '  %s\n' "$line"
		else
			printf '  \033[%sm%s\033[0m\n' "$colour" "$line"
		fi
	done <"$1/events"
}

title() {
	sleep 0.1
	if [ "$plain" = yes ]; then
		printf '\n%s\n' "$1"
	else
		printf '\n\033[1;4m%s\033[0m\n' "$1"
	fi
}
