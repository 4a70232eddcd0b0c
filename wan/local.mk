libpngw_la_SOURCES += \
	wan/buffer.c wan/buffer.h \
	wan/tls.c wan/tls.h
