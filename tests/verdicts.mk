# Injected faults, each with the verdict it has to end in: runners, their tables, and the score.
FAULT_FILES = tests/faults/faults.c tests/faults/faults.h
noinst_PROGRAMS += tests/faults/figures
tests_faults_figures_SOURCES = tests/faults/figures.c tests/faults/scene.c tests/faults/scene.h \
	$(FAULT_FILES) tests/figures.h tests/figures-gateway.c tests/figures-pne.c \
	tests/figures-posts.c tests/figures-posts.h \
	tests/figures-server.c tests/fault-disk.c tests/fault-posix.c tests/fault-vfs.c \
	tests/fault-vfs.h
tests_faults_figures_CPPFLAGS = $(TEST_CPPFLAGS)
tests_faults_figures_LDADD = $(TEST_LIBS)
tests_faults_figures_LDFLAGS = $(AM_LDFLAGS) $(WRAP_FILES)
noinst_PROGRAMS += tests/faults/wan
tests_faults_wan_SOURCES = tests/faults/wan.c $(FAULT_FILES)
tests_faults_wan_LDADD = libpngw.la
EXTRA_DIST += tests/faults/figures.faults tests/faults/wan.faults tests/faults/rogue.py
TESTS += tests/test-verdict-faults.sh
EXTRA_DIST += tests/test-verdict-faults.sh tests/faults/bluetooth.py tests/faults/bluetooth.faults
check_PROGRAMS += tests/test-verdicts
tests_test_verdicts_SOURCES = tests/test-verdicts.c
tests_test_verdicts_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_verdicts_LDADD = $(TEST_LIBS)
EXTRA_DIST += doc/verdicts.md
