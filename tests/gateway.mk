check_PROGRAMS += tests/test-gateway-config
tests_test_gateway_config_SOURCES = tests/test-gateway-config.c
tests_test_gateway_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_gateway_config_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-gateway-figures
tests_test_gateway_figures_SOURCES = tests/test-gateway-figures.c
tests_test_gateway_figures_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_gateway_figures_LDADD = $(TEST_LIBS)
# All roles in one process: failures are recorded, and replayed by pngw-replay.
check_PROGRAMS += tests/test-replay
tests_test_replay_SOURCES = tests/test-replay.c tests/figures.h tests/figures-gateway.c \
	tests/figures-many.c tests/figures-many.h tests/figures-pne.c \
	tests/figures-posts.c tests/figures-posts.h tests/figures-server.c
tests_test_replay_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_replay_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=secret_unref,--wrap=secret_clear
tests_test_replay_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-recorder
tests_test_recorder_SOURCES = tests/test-recorder.c
tests_test_recorder_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_recorder_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-names
tests_test_names_SOURCES = tests/test-names.c
tests_test_names_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_names_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-pool
tests_test_pool_SOURCES = tests/test-pool.c
tests_test_pool_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_pool_LDADD = $(TEST_LIBS)
# All roles in one process: 200 PNEs, 30 days without the server.
check_PROGRAMS += tests/test-thirty-days
tests_test_thirty_days_SOURCES = tests/test-thirty-days.c tests/figures.h \
	tests/figures-gateway.c tests/figures-pne.c tests/figures-posts.c tests/figures-posts.h tests/figures-server.c
tests_test_thirty_days_CPPFLAGS = $(TEST_CPPFLAGS) -DSIM_PNES=200 -DSIM_PROCEDURES=64
tests_test_thirty_days_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-gateway-revoke
tests_test_gateway_revoke_SOURCES = tests/test-gateway-revoke.c
tests_test_gateway_revoke_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_gateway_revoke_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-gateway-reach
tests_test_gateway_reach_SOURCES = tests/test-gateway-reach.c
tests_test_gateway_reach_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_gateway_reach_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-health
tests_test_health_SOURCES = tests/test-health.c
tests_test_health_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_health_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-opening
tests_test_opening_SOURCES = tests/test-opening.c
tests_test_opening_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_opening_LDADD = $(TEST_LIBS)
tests_test_opening_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=vault_open
# The control API of a whole system, on a bus of its own.
TESTS += tests/test-api.sh
EXTRA_DIST += tests/test-api.sh tests/api-client.py
TESTS += tests/test-bus-policy.sh
EXTRA_DIST += tests/test-bus-policy.sh tests/bus-policy.py
