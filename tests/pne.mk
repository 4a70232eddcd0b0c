check_PROGRAMS += tests/test-pne-figures
tests_test_pne_figures_SOURCES = tests/test-pne-figures.c
tests_test_pne_figures_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_pne_figures_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-pne-reset
tests_test_pne_reset_SOURCES = tests/test-pne-reset.c
tests_test_pne_reset_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_pne_reset_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-pne-device
tests_test_pne_device_SOURCES = tests/test-pne-device.c
tests_test_pne_device_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_pne_device_LDADD = $(TEST_LIBS)

TESTS += tests/test-pne-cli.sh
EXTRA_DIST += tests/test-pne-cli.sh
