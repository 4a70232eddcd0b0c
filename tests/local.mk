# Unit tests: one Check program a module. TESTS is what `make check` runs, in this order: the tests of the
# whole system wait most, so they come first.
TESTS =
TESTS_ENVIRONMENT = PNGW_SRCDIR='$(abs_top_srcdir)' PNGW_BUILDDIR='$(abs_top_builddir)'; \
	export PNGW_SRCDIR PNGW_BUILDDIR;
TEST_LIBS = libpngw.la $(CHECK_LIBS)
TEST_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)

include tests/system.mk
include tests/tray.mk
include tests/console.mk
include tests/protocol.mk
include tests/storage.mk
include tests/faults.mk
include tests/verdicts.mk
include tests/pan.mk
include tests/wan.mk
include tests/gateway.mk
include tests/server.mk
include tests/pne.mk
include tests/fuzz.mk
include tests/bench.mk

TESTS += $(check_PROGRAMS)
