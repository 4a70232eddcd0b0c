# shellcheck shell=bash
# shellcheck disable=SC2154 # set by those who source it
# What the tests of the doctor share; sourced after tests/system.sh, with $scene and $run/report (a line for each
# check: id, state, finding, remedy) set by each examination.
#
#   is ID STATE [TEXT]      the check has that state, its finding or remedy that text; where there is something to
#                           mend, its remedy is that of the table (pngwd --list-checks), word for word
#   table                   what "pngwctl --json doctor" says as those lines
#   preload_build           makes $run/preload.so of tests/preload-soft.c

declare -A remedy_of=()
while IFS='|' read -r _ id _ _ remedy _; do
	id=${id//[\` ]/}
	remedy=${remedy# }
	remedy_of[$id]=${remedy% }
done < <("$(bin pngwd)" --list-checks | tail -n +3)

is() {
	local line state remedy
	line=$(grep "^$1	" "$run/report" || true)
	case $line in
	"$1	$2	"*"${3:-}"*) ;;
	*)
		complain "$scene: not $2${3:+ \"$3\"}: $line"
		return
		;;
	esac
	IFS=$'\t' read -r _ state _ remedy <<<"$line"
	case $state in
	warning | failed)
		[ "$remedy" = "${remedy_of[$1]}" ] || complain "$scene: another remedy than the table's: $line"
		;;
	esac
}

table() {
	/usr/bin/python3 -c 'import json, sys
for c in json.load(sys.stdin):
    print("\t".join(c[k] for k in ("id", "state", "finding", "remedy")))'
}

preload_build() {
	gcc -O1 -D_GNU_SOURCE -shared -fPIC -o "$run/preload.so" "$top/tests/preload-soft.c"
}
