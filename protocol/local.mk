libpngw_la_SOURCES += \
	protocol/bytes.c protocol/bytes.h protocol/clock.h \
	protocol/config-check.c protocol/config-check.h \
	protocol/credential.c protocol/credential.h \
	protocol/messages-ignore.h protocol/messages-undef.h protocol/messages.def \
	protocol/message.h \
	protocol/digest.c protocol/digest-header.c protocol/digest-nonce.c protocol/digest.h \
	protocol/file.c protocol/file.h \
	protocol/hidden.c protocol/hidden.h \
	protocol/notify.c protocol/notify.h protocol/sd-bus.h \
	protocol/p1.c protocol/p1-keys.c protocol/p1-sign.c protocol/p1.h \
	protocol/sheet.c protocol/sheet.h \
	protocol/process.c protocol/process.h \
	protocol/secret.c protocol/secret.h \
	protocol/status.c protocol/status.h protocol/statuses.def \
	protocol/verdict.c protocol/verdict.h protocol/verdicts.def protocol/steps.def
libpngw_la_SOURCES += \
	protocol/message.c protocol/message-table.h \
	protocol/message-decode.c protocol/message-encode.c protocol/message-artefacts.c
noinst_PROGRAMS += protocol/make-artefacts
protocol_make_artefacts_SOURCES = protocol/make-artefacts.c
EXTRA_DIST += protocol/cpns.xsd doc/messages.md tests/fuzz/cpns.dict
