#!/usr/bin/env bash
# Injected faults over all legs (tests/faults/*.faults), each with the verdict that it has to end in:
# at least 200 of them, at least 98 % right. With PNGW_VALGRIND a sample, under valgrind; then every
# one has to be right.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
folder=$(mktemp -d /tmp/pngw-faults.XXXXXX)
rogue=
end() {
	trap - EXIT
	[ -z "$rogue" ] || kill "$rogue" 2>/dev/null || true
	rm -rf "$folder"
}
trap end EXIT
least=200
under=()
if [ -n "${PNGW_VALGRIND:-}" ]; then
	least=1
	export PNGW_FAULTS_EVERY=20
	under=("$build/libtool" --mode=execute valgrind -q --error-exitcode=9 --leak-check=full
		--show-leak-kinds=definite --errors-for-leak-kinds=definite
		--suppressions="$top/tests/valgrind.supp")
fi

# run NAME COMMAND...: in the background; what it says is in $folder/NAME
names=()
pids=()
run() {
	local name=$1
	shift
	"$@" 9>&- >"$folder/$name" 2>"$folder/$name.err" &
	names+=("$name")
	pids+=($!)
}

# What stands where a CPNS Server should; it goes when its input does, so with this script.
"$top/tests/make-certs" "$folder/certs" localhost gateway-1
mkfifo "$folder/hold"
"$top/tests/faults/rogue.py" "$folder/certs" <"$folder/hold" >"$folder/ports" &
rogue=$!
exec 9>"$folder/hold"
for ((i = 0; i < 600; i++)); do
	! grep -q '^ready' "$folder/ports" || break
	sleep 0.05
done

run wan "${under[@]}" "$build/tests/faults/wan" "$top/tests/faults/wan.faults" "$folder/certs" "$folder/ports"
# Without D-Bus for Python there are faults enough.
if command -v dbus-daemon >/dev/null && /usr/bin/python3 -c 'import dbus, gi.repository' 2>/dev/null; then
	PNGW_FAULTS_CERTS=$folder/certs run bluetooth "$top/tests/faults/bluetooth.py" \
		"$top/tests/faults/bluetooth.faults" "$top" "$build"
fi
run figures "${under[@]}" "$build/tests/faults/figures" "$top/tests/faults/figures.faults"

right=0
all=0
broken=0
for i in "${!names[@]}"; do
	name=${names[i]}
	code=0
	wait "${pids[i]}" || code=$?
	score=$(grep '^score ' "$folder/$name" || true)
	if [ "$code" != 0 ] || [ -z "$score" ]; then
		echo "$name: exit code $code"
		cat "$folder/$name" "$folder/$name.err"
		broken=1
		continue
	fi
	read -r _ r n <<<"$score"
	grep -v '^score ' "$folder/$name" || true
	[ "$r" = "$n" ] || tail -n 40 "$folder/$name.err"
	echo "$name: $r of $n right"
	right=$((right + r))
	all=$((all + n))
done
vague=$(cat "${names[@]/#/$folder/}" | grep -c 'it is vague\|it does not say what to do\|a detail that is not there' || true)
percent=$((all > 0 ? right * 1000 / all : 0))
echo "faults: $right of $all right, $((percent / 10)).$((percent % 10)) %, $vague of them vague"
[ "$broken" = 0 ] || exit 1
[ "$all" -ge "$least" ] || { echo "fewer than $least faults"; exit 1; }
[ "$vague" = 0 ] || { echo "nobody can act on a vague sentence"; exit 1; }
if [ -n "${PNGW_VALGRIND:-}" ]; then
	[ "$right" = "$all" ]
else
	[ $((right * 100)) -ge $((all * 98)) ] || { echo "fewer than 98 % are right"; exit 1; }
fi
