# Benches: programs that print figures; not part of make check.
EXTRA_DIST += tests/bench/assign tests/bench/startup tests/bench/bluetooth tests/bench/meter.c
noinst_PROGRAMS += tests/bench/vault
tests_bench_vault_SOURCES = tests/bench/vault.c
TESTS += tests/test-bench-vault.sh
EXTRA_DIST += tests/test-bench-vault.sh
