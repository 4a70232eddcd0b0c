# Tests of the whole system: real processes, real TLS, kill -9.
SYSTEM_TESTS = tests/test-daemon.sh tests/test-faults.sh tests/test-canary.sh tests/test-crash.sh
TESTS += $(SYSTEM_TESTS)
EXTRA_DIST += $(SYSTEM_TESTS) tests/system.sh tests/find-secrets.py
