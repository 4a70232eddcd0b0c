#!/bin/sh
# Every module is in one archive: a name that two of them define would link the wrong one in silence.
set -eu
archive="${PNGW_BUILDDIR:?}/.libs/libpngw.a"
symbols=$(mktemp)
trap 'rm -f "$symbols"' EXIT
nm -A -g --defined-only "$archive" >"$symbols"
awk '$2 ~ /^[A-V]$/ {
	split($1, at, ":")
	where[$3] = where[$3] " " at[2]
	count[$3]++
	names++
}
END {
	if (names < 1000) { print "only " names + 0 " names in the archive: is it the right one?"; bad = 1 }
	for (name in count) {
		if (count[name] > 1) { print name " is defined by" where[name]; bad = 1 }
	}
	exit bad
}' "$symbols"
