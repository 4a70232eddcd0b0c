libpngw_la_SOURCES += \
	wan/buffer.c wan/buffer.h \
	wan/client.c wan/client.h \
	wan/conn.c wan/conn.h \
	wan/http.c wan/http.h wan/http1.c wan/http2.c \
	wan/listener.c wan/listener.h \
	wan/tls-context.c wan/tls-identity.c wan/tls-internal.h \
	wan/tls.c wan/tls.h
