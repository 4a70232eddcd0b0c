check_PROGRAMS += tests/test-gateway-config
tests_test_gateway_config_SOURCES = tests/test-gateway-config.c
tests_test_gateway_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_gateway_config_LDADD = $(TEST_LIBS)
