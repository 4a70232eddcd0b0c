#!/usr/bin/env bash
# The log as entries of the journal: with a journal in a name space of its own, verdicts and steps have
# the fields of doc/journal.md and nothing else is written; where standard error is not the journal, or
# there is none, the lines are as ever.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if [ -z "${PNGW_INSIDE:-}" ]; then
	if ! unshare -rm true 2>/dev/null; then
		echo "unshare is not allowed"
		exit 77
	fi
	PNGW_INSIDE=1 exec unshare -rm "$0"
fi
mount --make-rprivate /
mount -t tmpfs none /run
iterations=100000
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin journal

# entry MESSAGE FIELD...: the entry whose MESSAGE has that text has those fields
entry() {
	local line message=$1
	shift
	line=$(grep -F -- "$message" "$run/journal" | head -n 1)
	[ -n "$line" ] || complain "no entry: $message"
	for field in "$@"; do
		tr '\t' '\n' <<<"$line" | grep -qx -- "$field" || complain "no $field in: $line"
	done
}

launch_with() { # a journal stream
	: >"$run/stderr"
	JOURNAL_STREAM=$1 "$(bin pngwd)" --config "$run/pngw.conf" 2>>"$run/stderr" >/dev/null </dev/null &
	pid_of[gateway]=$!
}

# until FILE TEXT
until_has() {
	local i
	for ((i = 0; i < 600; i++)); do
		grep -qF -- "$2" "$1" 2>/dev/null && return
		sleep 0.05
	done
	complain "never in $1: $2"
	tail -n 5 "$1"
}

touch "$run/stderr"
stream=$(stat -c %d:%i "$run/stderr")

# No journal there, whatever the variable says: lines.
launch_with "$stream"
until_has "$run/stderr" "PN GW $gateway: info: ready"
stop gateway

/usr/bin/python3 "$top/tests/fake-journal.py" "$run/journal" 2>&8 &
pid_of[journal]=$!
until_has "$run/journal" "fake journal is there"
launch_server
launch_with "$stream"
until_has "$run/journal" "WAN is up"
start figure8 "$user" || true
start register "$user" || complain "registration: $(cat "$run/start.out")"
start figure8 "$user" || complain "Figure 8: $(cat "$run/start.out")"
password="a wrong one" start figure8 "$user" && complain "a wrong password was taken"
until_has "$run/journal" "PNGW_VERDICT=WRONG_PASSWORD"
entry "info: ready" PRIORITY=6 SYSLOG_IDENTIFIER=pngwd "PNGW_GATEWAY=$gateway" "MESSAGE=info: ready"
entry "PNGW_VERDICT=WRONG_PASSWORD" MESSAGE_ID=6f1c2c0e94a84f1f8a3b6d0f5e7a1b42 PNGW_LEG=user \
	PNGW_RETRY=no PNGW_FIGURE=8 'PNGW_STEP=[0-9]*' PRIORITY=4 'PNGW_VERDICT_NUMBER=[0-9]*'
entry "PNGW_VERDICT=DONE	PNGW_VERDICT_NUMBER=0	PNGW_LEG=none	PNGW_RETRY=no	PNGW_KEY_INDEX=1	PNGW_FIGURE=8" \
	PRIORITY=6
entry "Fig. 8 step" MESSAGE_ID=b3d07a51c6e24d7a9c58e1f4a2907d63 PNGW_FIGURE=8
grep -q "PNGW_USER\|CODE_FILE" "$run/journal" && complain "a field that nobody is to have"
grep -qF "$password" "$run/journal" && complain "a password is in the journal"
[ -s "$run/stderr" ] && complain "lines beside the journal: $(head -n 3 "$run/stderr")"
# What doc/journal.md lists is what there is.
grep -o '\(PNGW_[A-Z_]*\|MESSAGE_ID\|PRIORITY\|SYSLOG_IDENTIFIER\)=' "$run/journal" | sort -u | while read -r field; do
	grep -q "\`${field%=}\`" "$top/doc/journal.md" || echo "$field" >>"$run/unlisted"
done
[ -s "$run/unlisted" ] && complain "not in doc/journal.md: $(cat "$run/unlisted")"
stop gateway

# The journal is somebody else's standard error: lines.
launch_with "1:$stream"
until_has "$run/stderr" "PN GW $gateway: info: ready"
exit "$bad"
