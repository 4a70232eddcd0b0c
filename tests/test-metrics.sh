#!/usr/bin/env bash
# Metrics: the file is what doc/metrics.md says, in Prometheus' format; it counts what was done, it is
# replaced as a whole, a place that it cannot be written to is told once, and no name is in it.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin metrics

awk '/^\| metric \|/ { on = 1 } on' "$top/doc/metrics.md" >"$run/manual"
"$(bin pngwd)" --list-metrics | cmp - "$run/manual" ||
	complain "doc/metrics.md: replace its table by what pngwd --list-metrics says"

# A text that is not in that format is refused by the checker.
printf '# HELP pngw_wan_up x\n# TYPE pngw_wan_up gauge\npngw_wan_up{user="alice"} 1\n' >"$run/wrong.prom"
if /usr/bin/python3 "$top/tests/check-metrics.py" "$run/wrong.prom" "$top/doc/metrics.md" >/dev/null 2>&1; then
	complain "the checker takes anything"
fi

# has SAMPLE VALUE: the next text that is whole has that value, before long
has() {
	local i
	for ((i = 0; i < 300; i++)); do
		if [ -s "$run/out/pngw.prom" ]; then
			/usr/bin/python3 "$top/tests/check-metrics.py" "$run/out/pngw.prom" "$top/doc/metrics.md" \
				>"$run/samples" 2>"$run/checker" || {
				complain "not in the format: $(tail -n 1 "$run/checker")"
				return
			}
			grep -qxE -- "$1 $2" "$run/samples" && return
		fi
		sleep 0.1
	done
	complain "never: $1 $2; but: $(grep -E -- "${1%%[\\{]*}" "$run/samples" | head -n 5)"
}

mkdir "$run/out"
echo "metrics = { file = \"$run/out/pngw.prom\"; interval = 1; };
key_set = { count = 4; low_water = 9; };" >>"$run/pngw.conf"
admin import-temporary-keys "$run/keys.csv" >"$run/import.out" 2>&8
launch_gateway
await "ready"
has "pngw_wan_up\{\}" 0
has "pngw_wan_connects_total\{\}" 0
has "pngw_build_info\{version=[0-9.]+\}" 1
launch_server
has "pngw_wan_up\{\}" 1
has "pngw_wan_connects_total\{\}" 1
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
launch_pne headset-1 pan-secure authenticated
await "headset-1 is connected"
start figure6 "$user" headset-1 || complain "Figure 6: $(cat "$run/start.out")"
has "pngw_links\{level=authenticated\}" 1
has "pngw_links\{level=none\}" 0
has "pngw_verdicts_total\{leg=none,retry=no,verdict=DONE\}" 3
has "pngw_verdicts_total\{leg=user,retry=[a-z]+,verdict=WRONG_PASSWORD\}" 0
has "pngw_procedure_seconds_count\{figure=8,result=done\}" 1
has "pngw_procedure_seconds_count\{figure=6,result=done\}" 1
has "pngw_step_seconds_count\{figure=6,leg=PN GW,step=7\}" 1
has "pngw_ledger_entries\{\}" "[1-9][0-9]*"
grep -qE '^pngw_commit_seconds_count\{\} [1-9]' "$run/samples" || complain "no commit was counted"
grep -qE '^pngw_commit_seconds_sum\{\} .*[1-9]' "$run/samples" || complain "commits took no time"
password="a wrong one" start figure8 "$user" && complain "a wrong password was taken"
has "pngw_verdicts_total\{leg=user,retry=[a-z]+,verdict=WRONG_PASSWORD\}" 1
has "pngw_procedure_seconds_count\{figure=8,result=failed\}" 1

stop server
has "pngw_wan_up\{\}" 0
has "pngw_wan_losses_total\{\}" 1
launch_server
has "pngw_wan_connects_total\{\}" 2

# A pool that is full is not low, however high key_set.low_water is. Pools are counted at the start.
launch_pne headset-2 pan-open none
await "headset-2 is connected"
start figure7 "$user" headset-2 || complain "Figure 7: $(cat "$run/start.out")"
for ((i = 0; i < 300; i++)); do
	start --kv pool headset-2 && grep -q "left=4 .*unconfirmed=0" "$run/start.out" && break
	sleep 0.1
done
stop gateway
rm "$run/out/pngw.prom"
launch_gateway
has "pngw_pools\{state=filled\}" 1
has "pngw_pools\{state=low\}" 0
has "pngw_pools\{state=empty\}" 0
has "pngw_pool_keys\{\}" 4

for name in "$gateway" headset-1 "$user" "$address"; do
	grep -qF -- "$name" "$run/out/pngw.prom" && complain "$name is in the metrics"
done
[ "$(stat -c %a "$run/out/pngw.prom")" = 644 ] || complain "the collector cannot read it"

# Where it cannot be written, that is said once; and the configuration is read again.
sed -i "s|$run/out/pngw.prom|$run/nowhere/pngw.prom|" "$run/pngw.conf"
kill -HUP "${pid_of[gateway]}"
await "is not written: No such file or directory"
sleep 2.5
[ "$(grep -c "is not written" "$run/log")" = 1 ] || complain "it was said more than once"
ls "$run"/out/*.new 2>/dev/null && complain "part of a file was left behind"
kill "${pid_of[gateway]}"
wait "${pid_of[gateway]}" || complain "pngwd did not end cleanly"
unset "pid_of[gateway]"
exit "$bad"
