# tests of wan
EXTRA_DIST += tests/make-certs
check_PROGRAMS += tests/test-tls
tests_test_tls_SOURCES = tests/test-tls.c
tests_test_tls_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_tls_LDADD = $(TEST_LIBS)
