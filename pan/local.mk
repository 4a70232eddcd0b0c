libpngw_la_SOURCES += \
	pan/bearer-bluez.c pan/bearer-bluez.h pan/bearer-bluez-internal.h \
	pan/bearer-bluez-profile.c \
	pan/bearer-local.c pan/bearer-local.h \
	pan/bearer.c pan/bearer.h \
	pan/bridge.c pan/bridge.h \
	pan/bluetooth.c pan/bluetooth.h \
	pan/bluetooth-hci.c pan/bluetooth-hci.h \
	pan/bluetooth-level.c pan/bluetooth-level.h \
	pan/bluetooth-stream.c pan/bluetooth-stream.h \
	pan/bluez.c pan/bluez.h pan/bluez-internal.h \
	pan/bluez-adapter.c pan/bluez-call.c pan/bluez-device.c \
	pan/bluez-features.c pan/bluez-features.h \
	pan/bus.c pan/bus.h \
	pan/frame.c pan/frame.h \
	pan/link.c pan/link.h \
	pan/nap.c pan/nap.h \
	pan/pairing.c pan/pairing.h pan/pairing-agent.c pan/pairing-internal.h pan/pairing-scan.c
if LE
libpngw_la_SOURCES += pan/bearer-bluez-le.c
else
libpngw_la_SOURCES += pan/bearer-bluez-le-none.c
endif
