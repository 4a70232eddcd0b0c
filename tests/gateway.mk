check_PROGRAMS += tests/test-gateway-config
tests_test_gateway_config_SOURCES = tests/test-gateway-config.c
tests_test_gateway_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_gateway_config_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/test-gateway-figures
tests_test_gateway_figures_SOURCES = tests/test-gateway-figures.c
tests_test_gateway_figures_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_gateway_figures_LDADD = $(TEST_LIBS)
