libpngw_la_SOURCES += \
	pne/core.c pne/core.h \
	pne/device.c pne/device.h \
	pne/figure5.c pne/figure6.c pne/figure7.c \
	pne/procedure.c pne/procedure.h \
	pne/reset.c

bin_PROGRAMS += cpns-pne
cpns_pne_SOURCES = pne/bluetooth.c pne/bluetooth.h pne/main.c pne/options.c pne/options.h pne/secret-input.c pne/secret-input.h
dist_man_MANS += doc/cpns-pne.1
