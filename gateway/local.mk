libpngw_la_SOURCES += \
	gateway/api.c gateway/api.h gateway/api-internal.h gateway/api-methods.def \
	gateway/api-access.c gateway/api-agent.c gateway/api-assign.c gateway/api-diagnosis.c gateway/api-failures.c \
	gateway/api-gateway.c gateway/api-objects.c \
	gateway/api-lists.c gateway/api-revoke.c gateway/api-session.c \
	gateway/api-bluetooth.c gateway/api-pairing.c gateway/api-vault.c gateway/api-vault-keys.c \
	gateway/api-procedure.c gateway/api-secret.c gateway/api-sheet.c gateway/api-values.c \
	gateway/bluetooth.c gateway/bluetooth.h gateway/bluetooth-internal.h \
	gateway/bluetooth-known.c gateway/bluetooth-reach.c \
	gateway/config.c gateway/config.h gateway/settings.def \
	gateway/core.c gateway/core.h gateway/core-internal.h gateway/core-choose.c gateway/core-handover.c \
	gateway/core-links.c \
	gateway/core-pool.c gateway/core-reach.c gateway/core-report.c gateway/core-rollback.c \
	gateway/core-start.c gateway/core-state.c gateway/core-wan.c \
	gateway/core-reset.c gateway/core-reset.h gateway/core-revoke.c \
	gateway/credentials.c gateway/credentials.h \
	gateway/daemon.c gateway/daemon.h gateway/daemon-internal.h gateway/daemon-bundle.c gateway/daemon-check.c \
	gateway/daemon-doctor.c gateway/daemon-health.c gateway/daemon-metrics.c gateway/daemon-notify.c gateway/daemon-pan.c gateway/daemon-wan.c \
	gateway/doctor.c gateway/doctor.h gateway/doctor-internal.h gateway/doctor-checks.def \
	gateway/doctor-bluetooth.c gateway/doctor-control.c gateway/doctor-files.c gateway/doctor-keys.c \
	gateway/doctor-ledger.c gateway/doctor-network.c gateway/doctor-offline.c \
	gateway/doctor-process.c gateway/doctor-tls.c gateway/doctor-vault.c \
	gateway/figure5.c gateway/figure6.c gateway/figure7.c gateway/figure8.c \
	gateway/handover.c gateway/handover.h \
	gateway/health.c gateway/health.h \
	gateway/hosted-pne.c gateway/hosted-pne.h \
	gateway/openers.c gateway/openers.h \
	gateway/opening.c gateway/opening.h \
	gateway/judge.c gateway/judge.h \
	gateway/journal.c gateway/journal.h \
	gateway/metrics.c gateway/metrics.h gateway/metrics.def \
	gateway/key-set.c gateway/key-set.h \
	gateway/names.c gateway/names.h \
	gateway/note.c gateway/note.h gateway/note-names.c gateway/note-xml.c gateway/notes.def \
	gateway/pins.c gateway/pins.h \
	gateway/pool.c gateway/pool.h gateway/refill.c \
	gateway/procedure.c gateway/procedure.h \
	gateway/profile.c gateway/profile.h \
	gateway/bundle.c gateway/trace.c gateway/trace.h \
	gateway/replay.c gateway/replay.h gateway/replay-internal.h gateway/replay-compare.c \
	gateway/replay-procedure.c gateway/replay-relay.c gateway/replay-stage.c \
	gateway/recorder.c gateway/recorder.h gateway/recorder-internal.h gateway/recorder-core.c \
	gateway/records.c gateway/records.h \
	gateway/relay.c gateway/relay.h \
	gateway/report.c gateway/report.h \
	gateway/revoke.c gateway/revoke.h

bin_PROGRAMS += pngw-replay
pngw_replay_SOURCES = gateway/replay-main.c
dist_man_MANS += doc/pngw-replay.1 doc/pngw.conf.5 doc/pngwd.8
EXTRA_DIST += doc/man-settings
EXTRA_DIST += doc/recorder.md
EXTRA_DIST += gateway/pngw.conf.example doc/pngw.conf.md doc/pools.md

sbin_PROGRAMS += pngw-handover
pngw_handover_SOURCES = gateway/handover-main.c gateway/handover-tool.h gateway/handover-bonds.c \
	gateway/handover-file.c gateway/handover-file.h gateway/handover-give.c gateway/handover-plan.c \
	gateway/handover-take.c
dist_man_MANS += doc/pngw-handover.8
EXTRA_DIST += gateway/pngw-handover.bash

sbin_PROGRAMS += pngwd
pngwd_SOURCES = gateway/main.c

# Who may speak to pngwd on the system bus, and what polkit is asked.
dbuspolicydir = $(datadir)/dbus-1/system.d
dist_dbuspolicy_DATA = gateway/dbus/org.pngw.conf
polkitdir = $(datadir)/polkit-1/actions
dist_polkit_DATA = gateway/dbus/org.pngw.policy
