#!/bin/sh
# Every module is in one archive: a name that two of them define would link the wrong one in silence.
set -eu
nm -A -g --defined-only "${PNGW_BUILDDIR:?}/.libs/libpngw.a" |
	awk '$2 ~ /^[A-V]$/ {
		split($1, at, ":")
		where[$3] = where[$3] " " at[2]
		count[$3]++
	}
	END {
		for (name in count) {
			if (count[name] > 1) { print name " is defined by" where[name]; bad = 1 }
		}
		exit bad
	}'
