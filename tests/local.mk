# Unit tests: one Check program a module. TESTS is what `make check` runs.
TESTS = $(check_PROGRAMS)
TESTS_ENVIRONMENT = PNGW_SRCDIR='$(abs_top_srcdir)' PNGW_BUILDDIR='$(abs_top_builddir)'; \
	export PNGW_SRCDIR PNGW_BUILDDIR;
TEST_LIBS = libpngw.la $(CHECK_LIBS)
TEST_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)

include tests/protocol.mk
include tests/storage.mk
include tests/faults.mk
include tests/pan.mk
include tests/wan.mk
include tests/gateway.mk
include tests/server.mk
include tests/pne.mk
include tests/fuzz.mk
include tests/bench.mk
include tests/system.mk
