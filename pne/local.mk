libpngw_la_SOURCES += \
	pne/core.c pne/core.h \
	pne/figure5.c pne/figure6.c pne/figure7.c \
	pne/procedure.c pne/procedure.h
