# tests of protocol
check_PROGRAMS += tests/test-message
tests_test_message_SOURCES = tests/test-message.c
tests_test_message_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_message_LDADD = $(TEST_LIBS)
TESTS += tests/test-xsd.sh tests/test-symbols.sh tests/test-process.sh
EXTRA_DIST += tests/test-xsd.sh tests/test-symbols.sh tests/test-process.sh

check_PROGRAMS += tests/test-secret tests/test-p1 tests/test-digest
tests_test_secret_SOURCES = tests/test-secret.c
tests_test_secret_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_secret_LDADD = $(TEST_LIBS)
tests_test_p1_SOURCES = tests/test-p1.c tests/vectors.c tests/vectors.h
tests_test_p1_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_p1_LDADD = $(TEST_LIBS)
tests_test_digest_SOURCES = tests/test-digest.c tests/vectors.c tests/vectors.h
tests_test_digest_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_digest_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-scrypt-memory
tests_test_scrypt_memory_SOURCES = tests/test-scrypt-memory.c
tests_test_scrypt_memory_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_scrypt_memory_LDADD = $(TEST_LIBS)
TESTS += tests/test-vectors.sh
EXTRA_DIST += tests/test-vectors.sh tests/vectors/make-p1-vectors.py tests/vectors/p1.txt \
	tests/vectors/rfc3394.txt tests/vectors/rfc5869.txt tests/vectors/rfc7616.txt \
	tests/vectors/rfc7748.txt tests/vectors/rfc7914.txt tests/vectors/rfc7914-scrypt.txt \
	tests/vectors/rfc8032.txt tests/vectors/rfc8439.txt

# All roles in one process: the four figures, and faults at every message.
check_PROGRAMS += tests/test-figures
tests_test_figures_SOURCES = tests/test-figures.c tests/figures.h tests/figures-gateway.c \
	tests/figures-pne.c tests/figures-posts.c tests/figures-posts.h tests/figures-server.c
tests_test_figures_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_figures_LDADD = $(TEST_LIBS)

# All roles in one process: revocation and reset.
check_PROGRAMS += tests/test-revocation
tests_test_revocation_SOURCES = tests/test-revocation.c tests/figures.h tests/figures-gateway.c \
	tests/figures-many.c tests/figures-many.h tests/figures-pne.c \
	tests/figures-posts.c tests/figures-posts.h tests/figures-server.c
tests_test_revocation_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_revocation_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-credential
tests_test_credential_SOURCES = tests/test-credential.c
tests_test_credential_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_credential_LDADD = $(TEST_LIBS)

# Files that must last, with every operation failing once.
check_PROGRAMS += tests/test-file
tests_test_file_SOURCES = tests/test-file.c
tests_test_file_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_file_LDADD = $(TEST_LIBS)
tests_test_file_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=open,--wrap=write,--wrap=fsync,--wrap=close,--wrap=link,--wrap=renameat2,--wrap=unlink
