# Tests of the whole system: real processes, real TLS, kill -9.
SYSTEM_TESTS = \
	tests/test-bluetooth-commands.sh \
	tests/test-crash-gateway.sh \
	tests/test-crash-pne.sh \
	tests/test-crash-server.sh \
	tests/test-daemon.sh \
	tests/test-doctor-running.sh \
	tests/test-doctor.sh \
	tests/test-faults.sh \
	tests/test-handover.sh \
	tests/test-journal.sh \
	tests/test-metrics.sh \
	tests/test-offline.sh \
	tests/test-read-vault.sh \
	tests/test-renew-crash.sh \
	tests/test-revoke-crash.sh \
	tests/test-revoke.sh \
	tests/test-vault-keys.sh \
	tests/test-vault-open.sh \
	tests/test-vault-restore.sh
TESTS += $(SYSTEM_TESTS)
# A sanitizer's build keeps secrets in ordinary memory: there is nothing to look for in its core images.
if !SANITIZERS
TESTS += tests/test-canary.sh
endif
EXTRA_DIST += $(SYSTEM_TESTS) tests/test-canary.sh tests/system.sh tests/crash.sh tests/bluez-shell.py tests/pairing-agent.py \
	tests/check-metrics.py tests/doctor.sh tests/examined.py tests/fake-journal.py tests/find-secrets.py tests/https-server.py \
	tests/preload-cut.c tests/preload-soft.c tests/preload-turns.c tests/turns.py tests/vectors/read-vault.py doc/doctor.md doc/journal.md doc/metrics.md
# As installed: units, what make install and the packages put where.
TESTS += tests/test-notify.sh tests/test-units.sh tests/test-install.sh tests/test-recipes.sh
# AddressSanitizer maps, and LeakSanitizer traces, what the sandbox refuses.
if !SANITIZERS
TESTS += tests/test-sandbox.sh tests/test-small.sh
endif
# Its runtime has to be the first that is loaded, and costs time of its own.
if !SANITIZERS
TESTS += tests/test-turns.sh
endif
EXTRA_DIST += tests/test-turns.sh
EXTRA_DIST += doc/sizes tests/test-small.sh tests/test-sandbox.sh tests/room.sh tests/sandbox-probe.c
EXTRA_DIST += tests/vm tests/lint-comments tests/lint-cppcheck tests/lint-format tests/lint-includes tests/lint-shell tests/lint-tidy \
	tests/lsan.supp tests/valgrind.supp tests/show.sh
EXTRA_DIST += tests/test-recipes.sh tests/recipes.py tests/test-units.sh tests/test-install.sh tests/test-notify.sh tests/notify-log.py tests/hang-sync.c
EXTRA_DIST += debian tests/appliance
