libpngw_la_SOURCES += \
	wan/buffer.c wan/buffer.h \
	wan/certificate.c wan/certificate.h \
	wan/client.c wan/client.h \
	wan/conn.c wan/conn.h \
	wan/http.c wan/http.h wan/http2.c \
	wan/library.c wan/library.h \
	wan/listener.c wan/listener.h \
	wan/probe.c wan/probe.h \
	wan/tls-context.c wan/tls-identity.c wan/tls-internal.h \
	wan/tls-config.c wan/tls-config.h \
	wan/tls.c wan/tls.h
if HTTP1
libpngw_la_SOURCES += wan/http1.c
else
libpngw_la_SOURCES += wan/http1-none.c
endif
