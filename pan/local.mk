libpngw_la_SOURCES += \
	pan/bearer-local.c pan/bearer-local.h \
	pan/bearer.c pan/bearer.h \
	pan/frame.c pan/frame.h \
	pan/link.c pan/link.h
