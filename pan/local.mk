libpngw_la_SOURCES += \
	pan/bearer-local.c pan/bearer-local.h \
	pan/bearer.c pan/bearer.h \
	pan/bridge.c pan/bridge.h \
	pan/bluetooth.c pan/bluetooth.h pan/bluez.h \
	pan/bus.c pan/bus.h \
	pan/frame.c pan/frame.h \
	pan/link.c pan/link.h
