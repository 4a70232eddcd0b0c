libpngw_la_SOURCES += \
	server/store.c server/store.h
