check_PROGRAMS += tests/test-import
tests_test_import_SOURCES = tests/test-import.c
tests_test_import_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_import_LDADD = $(TEST_LIBS)
EXTRA_DIST += tests/data/temporary-keys.csv tests/data/temporary-keys.pskc
EXTRA_DIST += tests/data/server-store-1.db tests/data/server-store-1.key \
	tests/data/server-store-2.db tests/data/server-store-2.key
check_PROGRAMS += tests/test-store
tests_test_store_SOURCES = tests/test-store.c
tests_test_store_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_store_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-server-figures
tests_test_server_figures_SOURCES = tests/test-server-figures.c tests/server-client.c tests/server-client.h
tests_test_server_figures_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_server_figures_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-server-state
tests_test_server_state_SOURCES = tests/test-server-state.c tests/server-client.c tests/server-client.h
tests_test_server_state_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_server_state_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-server-config
tests_test_server_config_SOURCES = tests/test-server-config.c
tests_test_server_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_server_config_LDADD = $(TEST_LIBS)

TESTS += tests/test-curl.sh
EXTRA_DIST += tests/test-curl.sh tests/server-alone.sh

# It looks at the memory, most of which is AddressSanitizer's with it.
if !SANITIZERS
TESTS += tests/test-flood.sh
endif
EXTRA_DIST += tests/test-flood.sh tests/flood.py

TESTS += tests/test-server-stop.sh
EXTRA_DIST += tests/test-server-stop.sh

TESTS += tests/test-server-revoke.sh
EXTRA_DIST += tests/test-server-revoke.sh
