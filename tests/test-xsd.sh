#!/bin/sh
# The committed artefacts are what the message table makes, and every message the encoder writes
# validates against the committed XSD.
set -eu
src=${PNGW_SRCDIR:?} build=${PNGW_BUILDDIR:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

same() {
	"$build/protocol/make-artefacts" "$1" >"$work/$1"
	cmp "$work/$1" "$src/$2" || {
		echo "$2 is out of date: protocol/make-artefacts $1 >$2"
		exit 1
	}
}
same xsd protocol/cpns.xsd
same markdown doc/messages.md
same dictionary tests/fuzz/cpns.dict

command -v xmllint >/dev/null || { echo "xmllint is missing: install libxml2-utils"; exit 77; }
"$build/tests/test-message" "$work" >/dev/null
xmllint --noout --schema "$src/protocol/cpns.xsd" "$work"/*.xml 2>"$work/log" || {
	grep -v ' validates$' "$work/log"
	exit 1
}
