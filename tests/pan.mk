check_PROGRAMS += tests/test-frame
tests_test_frame_SOURCES = tests/test-frame.c
tests_test_frame_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_frame_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-bearer-local
tests_test_bearer_local_SOURCES = tests/test-bearer-local.c
tests_test_bearer_local_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bearer_local_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-link
tests_test_link_SOURCES = tests/test-link.c
tests_test_link_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_link_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-bridge
tests_test_bridge_SOURCES = tests/test-bridge.c
tests_test_bridge_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bridge_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-bluetooth-level
tests_test_bluetooth_level_SOURCES = tests/test-bluetooth-level.c
tests_test_bluetooth_level_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bluetooth_level_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-bluetooth-stream
tests_test_bluetooth_stream_SOURCES = tests/test-bluetooth-stream.c
tests_test_bluetooth_stream_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bluetooth_stream_LDADD = $(TEST_LIBS)

# A private D-Bus with a bluetoothd of strings on it.
BLUEZ_FAKE = tests/bluez-fake.c tests/bluez-fake.h
BLUEZ_SEEN = tests/bluez-seen.c tests/bluez-seen.h $(BLUEZ_FAKE)
EXTRA_DIST += tests/fake-bluez.py

check_PROGRAMS += tests/test-bus
tests_test_bus_SOURCES = tests/test-bus.c $(BLUEZ_SEEN)
tests_test_bus_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bus_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-bluez
tests_test_bluez_SOURCES = tests/test-bluez.c $(BLUEZ_SEEN)
tests_test_bluez_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bluez_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-pairing
tests_test_pairing_SOURCES = tests/test-pairing.c $(BLUEZ_FAKE)
tests_test_pairing_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_pairing_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-bluez-devices
tests_test_bluez_devices_SOURCES = tests/test-bluez-devices.c $(BLUEZ_SEEN)
tests_test_bluez_devices_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bluez_devices_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-bluez-faults
tests_test_bluez_faults_SOURCES = tests/test-bluez-faults.c tests/fault-memory.c \
	tests/fault-memory.h $(BLUEZ_SEEN)
tests_test_bluez_faults_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bluez_faults_LDADD = $(TEST_LIBS)
tests_test_bluez_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc \
	-Wl,--wrap=reallocarray,--wrap=strdup,--wrap=asprintf,--wrap=__asprintf_chk

check_PROGRAMS += tests/test-bluez-fake
tests_test_bluez_fake_SOURCES = tests/test-bluez-fake.c $(BLUEZ_SEEN)
tests_test_bluez_fake_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bluez_fake_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/test-bearer-bluez
tests_test_bearer_bluez_SOURCES = tests/test-bearer-bluez.c $(BLUEZ_FAKE)
tests_test_bearer_bluez_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_bearer_bluez_LDADD = $(TEST_LIBS)
