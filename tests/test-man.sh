#!/usr/bin/env bash
# The man pages: without faults, whole, installed; and they say what the programs take, no more and no less.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
if ! command -v mandoc >/dev/null || ! command -v groff >/dev/null; then
	echo "mandoc or groff is missing"
	exit 77
fi
/usr/bin/python3 "$top/tests/man-pages.py" "$top" "$build"
