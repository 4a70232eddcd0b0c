# Knows the control API alone, nothing of the gateway's code.
if CONSOLE
bin_PROGRAMS += pngwctl
pngwctl_SOURCES = \
	console/agent.c console/agent.h \
	console/client.c console/client-decode.c console/client.h \
	console/command.c console/command.h console/commands.def console/command-internal.h \
	console/command-assign.c console/command-bluetooth.c console/command-diagnosis.c console/command-guide.c \
	console/command-qr.c console/command-tray.c console/command-help.c console/command-look.c console/command-session.c \
	console/command-vault.c \
	console/complete.c console/complete.h \
	console/console.c console/console.h \
	console/entry.c console/entry.h \
	console/history.c console/history.h \
	console/kind.c console/kind.h \
	console/label.c console/label.h \
	console/manifest.c console/manifest-pskc.c console/manifest.h \
	console/main.c \
	console/man.c console/man.h \
	console/news.c console/news.h \
	console/pace.c console/pace.h \
	console/pager.c console/pager.h \
	console/procedure.c console/procedure.h \
	console/qr.c console/qr.h \
	console/serial.c console/serial.h \
	console/shell.c console/shell.h \
	console/signals.c console/signals.h \
	console/terminal.c console/terminal.h \
	console/tray.h console/tray-journal.c console/tray-sheet.c console/tray-show.c \
	console/tray-work.c \
	console/writer.c console/writer.h console/writer-json.c console/writer-kv.c \
	console/writer-text.c
pngwctl_CFLAGS = $(AM_CFLAGS) $(CONSOLE_CFLAGS)
pngwctl_LDADD = libpngw.la $(CONSOLE_LIBS) $(IMPORT_LIBS) $(CSV_LIBS)

dist_man_MANS += console/pngwctl.1
else
pngwctl:
	@echo 'pngwctl was left out: this was configured with --disable-console' >&2; exit 1
endif
EXTRA_DIST += console/pngwctl.bash doc/console.md doc/console-session.txt doc/record-console doc/labels.md doc/tray.md
bashcompletiondir = $(datadir)/bash-completion/completions
install-completion:
	$(MKDIR_P) '$(DESTDIR)$(bashcompletiondir)'
	$(INSTALL_DATA) '$(srcdir)/gateway/pngw-handover.bash' '$(DESTDIR)$(bashcompletiondir)/pngw-handover'
if CONSOLE
	$(INSTALL_DATA) '$(srcdir)/console/pngwctl.bash' '$(DESTDIR)$(bashcompletiondir)/pngwctl'
endif
uninstall-completion:
	rm -f '$(DESTDIR)$(bashcompletiondir)/pngwctl' '$(DESTDIR)$(bashcompletiondir)/pngw-handover'
.PHONY: install-completion uninstall-completion
