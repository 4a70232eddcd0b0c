# tests of wan
EXTRA_DIST += tests/make-certs
check_PROGRAMS += tests/test-http tests/test-tls tests/test-wan
tests_test_tls_SOURCES = tests/test-tls.c
tests_test_tls_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_tls_LDADD = $(TEST_LIBS)
tests_test_wan_SOURCES = tests/test-wan.c
tests_test_wan_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_wan_LDADD = $(TEST_LIBS)
tests_test_http_SOURCES = tests/test-http.c
tests_test_http_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_http_LDADD = $(TEST_LIBS)
