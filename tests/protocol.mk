# tests of protocol
check_PROGRAMS += tests/test-message
tests_test_message_SOURCES = tests/test-message.c
tests_test_message_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_message_LDADD = $(TEST_LIBS)
TESTS += tests/test-xsd.sh tests/test-symbols.sh
EXTRA_DIST += tests/test-xsd.sh tests/test-symbols.sh
