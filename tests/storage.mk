# tests of storage
check_PROGRAMS += tests/test-ledger
tests_test_ledger_SOURCES = tests/test-ledger.c
tests_test_ledger_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_ledger_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-vault-ledger tests/test-vault-anchor
LEDGER_WRAPS = -Wl,--wrap=pwrite,--wrap=fdatasync,--wrap=fsync,--wrap=rename
tests_test_vault_ledger_SOURCES = tests/test-vault-ledger.c tests/vault-ledger.c tests/vault-ledger.h
tests_test_vault_ledger_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_ledger_LDADD = $(TEST_LIBS)
tests_test_vault_ledger_LDFLAGS = $(AM_LDFLAGS) $(LEDGER_WRAPS)
tests_test_vault_anchor_SOURCES = tests/test-vault-anchor.c tests/vault-ledger.c tests/vault-ledger.h
tests_test_vault_anchor_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_anchor_LDADD = $(TEST_LIBS)
tests_test_vault_anchor_LDFLAGS = $(AM_LDFLAGS) $(LEDGER_WRAPS)
if TPM
check_PROGRAMS += tests/test-anchor-tpm
tests_test_anchor_tpm_SOURCES = tests/test-anchor-tpm.c
tests_test_anchor_tpm_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_anchor_tpm_LDADD = $(TEST_LIBS)
tests_test_anchor_tpm_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=clock_gettime,--wrap=dlopen
endif
TESTS += tests/test-pngw-ledger.sh
EXTRA_DIST += tests/test-pngw-ledger.sh tests/vectors/ledger_verify.py
check_PROGRAMS += tests/test-record tests/test-vault tests/test-vault-schema tests/test-vault-wrap \
	tests/test-vault-backup
tests_test_record_SOURCES = tests/test-record.c
tests_test_record_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_record_LDADD = $(TEST_LIBS)
tests_test_vault_SOURCES = tests/test-vault.c
tests_test_vault_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_LDADD = $(TEST_LIBS)
tests_test_vault_schema_SOURCES = tests/test-vault-schema.c
tests_test_vault_schema_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_schema_LDADD = $(TEST_LIBS)
EXTRA_DIST += tests/data/vault-schema-1.db tests/data/vault-schema-1.key tests/data/vault-schema-2.db \
	tests/data/vault-schema-2.key tests/data/vault-schema-2.ledger
tests_test_vault_wrap_SOURCES = tests/test-vault-wrap.c
tests_test_vault_wrap_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_wrap_LDADD = $(TEST_LIBS)
tests_test_vault_backup_SOURCES = tests/test-vault-backup.c
tests_test_vault_backup_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_backup_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-vault-manage
tests_test_vault_manage_SOURCES = tests/test-vault-manage.c
tests_test_vault_manage_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_manage_LDADD = $(TEST_LIBS)
noinst_PROGRAMS += tests/make-vault
tests_make_vault_SOURCES = tests/make-vault.c
tests_make_vault_LDADD = libpngw.la
TESTS += tests/test-pngw-vault.sh
EXTRA_DIST += tests/test-pngw-vault.sh
check_PROGRAMS += tests/test-vault-power-keys
tests_test_vault_power_keys_SOURCES = tests/test-vault-power-keys.c $(DISK_FILES)
tests_test_vault_power_keys_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_power_keys_LDADD = $(TEST_LIBS)
tests_test_vault_power_keys_LDFLAGS = $(AM_LDFLAGS) $(WRAP_FILES)
check_PROGRAMS += tests/test-vault-faults-keys
tests_test_vault_faults_keys_SOURCES = tests/test-vault-faults-keys.c tests/fault-memory.c \
	tests/fault-memory.h $(DISK_FILES)
tests_test_vault_faults_keys_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_faults_keys_LDADD = $(TEST_LIBS)
tests_test_vault_faults_keys_LDFLAGS = $(tests_test_vault_faults_LDFLAGS)
check_PROGRAMS += tests/test-vault-log
tests_test_vault_log_SOURCES = tests/test-vault-log.c $(DISK_FILES)
tests_test_vault_log_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_log_LDADD = $(TEST_LIBS)
tests_test_vault_log_LDFLAGS = $(AM_LDFLAGS) $(WRAP_FILES)
check_PROGRAMS += tests/test-vault-many
tests_test_vault_many_SOURCES = tests/test-vault-many.c
tests_test_vault_many_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_many_LDADD = $(TEST_LIBS)
