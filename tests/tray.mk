# tests of labels and of the tray
check_PROGRAMS += tests/test-label
tests_test_label_SOURCES = tests/test-label.c console/label.c
tests_test_label_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_label_LDADD = $(TEST_LIBS)
TESTS += tests/test-tray.sh tests/test-qr.sh
EXTRA_DIST += tests/test-tray.sh tests/test-qr.sh tests/qr-image.py
