# Tests of the whole system: real processes, real TLS, kill -9.
SYSTEM_TESTS = tests/test-crash.sh tests/test-daemon.sh tests/test-faults.sh tests/test-revoke.sh \
	tests/test-revoke-crash.sh tests/test-renew-crash.sh tests/test-offline.sh \
	tests/test-doctor.sh tests/test-doctor-running.sh tests/test-metrics.sh tests/test-journal.sh tests/test-vault-keys.sh tests/test-vault-open.sh tests/test-vault-restore.sh tests/test-read-vault.sh \
	tests/test-bluetooth-commands.sh
# A sanitizer's build keeps secrets in ordinary memory: there is nothing to look for in its core images.
if !SANITIZERS
SYSTEM_TESTS += tests/test-canary.sh
endif
TESTS += $(SYSTEM_TESTS)
EXTRA_DIST += tests/test-daemon.sh tests/test-faults.sh tests/test-canary.sh tests/test-crash.sh tests/test-revoke.sh tests/test-revoke-crash.sh tests/test-renew-crash.sh \
	tests/test-offline.sh tests/test-vault-keys.sh tests/test-vault-open.sh tests/test-vault-restore.sh tests/test-read-vault.sh tests/vectors/read-vault.py tests/system.sh tests/find-secrets.py
EXTRA_DIST += tests/test-metrics.sh tests/check-metrics.py doc/metrics.md tests/test-journal.sh tests/fake-journal.py doc/journal.md
EXTRA_DIST += tests/test-doctor.sh tests/test-doctor-running.sh tests/doctor.sh tests/preload-soft.c tests/examined.py tests/https-server.py doc/doctor.md
EXTRA_DIST += tests/test-bluetooth-commands.sh tests/bluez-shell.py
# As installed: units, what make install and the packages put where.
TESTS += tests/test-notify.sh tests/test-units.sh tests/test-install.sh
# AddressSanitizer maps, and LeakSanitizer traces, what the sandbox refuses.
if !SANITIZERS
TESTS += tests/test-sandbox.sh
endif
EXTRA_DIST += tests/test-sandbox.sh tests/room.sh tests/sandbox-probe.c
EXTRA_DIST += tests/vm tests/lint-comments tests/lint-cppcheck tests/lint-format tests/lint-includes tests/lint-shell tests/lint-tidy \
	tests/lsan.supp tests/valgrind.supp tests/show.sh
EXTRA_DIST += tests/test-units.sh tests/test-install.sh tests/test-notify.sh tests/notify-log.py tests/hang-sync.c
EXTRA_DIST += debian tests/appliance
