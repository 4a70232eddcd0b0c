libpngw_la_SOURCES += \
	server/assign.c \
	server/check.c \
	server/config.c server/config.h \
	server/core.c server/core.h \
	server/credentials.c \
	server/daemon.c server/daemon.h \
	server/fence.c server/fence.h \
	server/figure5.c \
	server/figure6.c \
	server/figure7.c \
	server/figure8.c \
	server/procedure.c server/procedure.h \
	server/report.c \
	server/revoke.c server/revoke.h \
	server/state.c \
	server/store-key.c \
	server/store-sqlite.c server/store-sqlite.h \
	server/store-sqlite-read.c \
	server/store-sqlite-schema.c \
	server/store-sqlite-write.c \
	server/store.c server/store.h

if SERVER
sbin_PROGRAMS += cpns-serverd
cpns_serverd_SOURCES = server/main.c
bin_PROGRAMS += cpns-server-admin
cpns_server_admin_SOURCES = server/admin.c server/admin.h server/admin-revoke.c server/admin-vault.c
dist_man_MANS += doc/cpns-serverd.8 doc/cpns-server-admin.8
endif
EXTRA_DIST += server/cpns-serverd.conf.example doc/cpns-serverd.conf.md doc/server-store.md
if IMPORT
libpngw_la_SOURCES += \
	server/import.c server/import.h \
	server/import-csv.c server/import-pskc.c server/import-internal.h
endif
