# Benches: programs that print figures; not part of make check.
EXTRA_DIST += tests/bench/assign
noinst_PROGRAMS += tests/bench/vault
tests_bench_vault_SOURCES = tests/bench/vault.c
