libpngw_la_SOURCES += \
	protocol/bytes.c protocol/bytes.h \
	protocol/messages-ignore.h protocol/messages-undef.h protocol/messages.def \
	protocol/message.h \
	protocol/p1.c protocol/p1-keys.c protocol/p1.h \
	protocol/secret.c protocol/secret.h \
	protocol/status.c protocol/status.h protocol/statuses.def \
	protocol/verdict.c protocol/verdict.h protocol/verdicts.def protocol/steps.def
