#!/bin/sh
# P1's vectors are what the second implementation makes today.
exec python3 "$PNGW_SRCDIR/tests/vectors/make-p1-vectors.py" --check
