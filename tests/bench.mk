# Benches: programs that print figures; not part of make check.
EXTRA_DIST += tests/bench/assign
