# tests of failing disks, memory and power
DISK_FILES = tests/fault-disk.c tests/fault-posix.c tests/fault-vfs.c tests/fault-vfs.h \
	tests/vault-model.c tests/vault-model.h
WRAP_FILES = -Wl,--wrap=open,--wrap=write,--wrap=pwrite,--wrap=ftruncate,--wrap=fsync \
	-Wl,--wrap=fdatasync,--wrap=rename,--wrap=renameat2,--wrap=unlink,--wrap=link,--wrap=close,--wrap=sqlite3_exec
check_PROGRAMS += tests/test-vault-power
tests_test_vault_power_SOURCES = tests/test-vault-power.c $(DISK_FILES)
tests_test_vault_power_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_power_LDADD = $(TEST_LIBS)
tests_test_vault_power_LDFLAGS = $(AM_LDFLAGS) $(WRAP_FILES)
check_PROGRAMS += tests/test-vault-faults
tests_test_vault_faults_SOURCES = tests/test-vault-faults.c tests/fault-memory.c \
	tests/fault-memory.h $(DISK_FILES)
tests_test_vault_faults_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_faults_LDADD = $(TEST_LIBS)
tests_test_vault_faults_LDFLAGS = $(AM_LDFLAGS) $(WRAP_FILES) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup \
	-Wl,--wrap=asprintf,--wrap=__asprintf_chk
TESTS += tests/test-vault-disk.sh tests/test-raw-disk.sh tests/test-vault-damage.sh
EXTRA_DIST += tests/test-vault-disk.sh tests/test-raw-disk.sh tests/test-vault-damage.sh
check_PROGRAMS += tests/test-vault-damage
tests_test_vault_damage_SOURCES = tests/test-vault-damage.c tests/vault-model.c tests/vault-model.h
tests_test_vault_damage_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_vault_damage_LDADD = $(TEST_LIBS)
