libpngw_la_SOURCES += \
	server/assign.c \
	server/core.c server/core.h \
	server/credentials.c \
	server/figure5.c \
	server/figure6.c \
	server/figure7.c \
	server/figure8.c \
	server/procedure.c server/procedure.h \
	server/report.c \
	server/store-sqlite.c \
	server/store.c server/store.h
