# What systemd is told: units, users, folders. The drop-ins in pkgdatadir are for those who need them.
UNITS = systemd/pngwd.service
if SERVER
UNITS += systemd/cpns-serverd.service
endif
if CONSOLE
UNITS += systemd/pngw-console@.service
endif
UNIT_FOLDERS = sed -e 's,@bindir[@],$(bindir),g' -e 's,@sbindir[@],$(sbindir),g' -e 's,@sysconfdir[@],$(sysconfdir),g' \
	-e 's,@pkgdatadir[@],$(pkgdatadir),g'
$(UNITS): %: %.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(UNIT_FOLDERS) '$(srcdir)/$@.in' >$@.new && mv $@.new $@
unitdir = $(systemdsystemunitdir)
unit_DATA = $(UNITS)
dropindir = $(pkgdatadir)/pngwd.service.d
dist_dropin_DATA = systemd/bonds.conf systemd/nap.conf systemd/tpm.conf
CLEANFILES += $(UNITS)
EXTRA_DIST += systemd/pngwd.service.in systemd/cpns-serverd.service.in systemd/pngw-console@.service.in systemd/pngw.sysusers systemd/cpns-server.sysusers systemd/pngw.tmpfiles \
	systemd/cpns-server.tmpfiles
SYSTEMD_NAMES = pngw
if SERVER
SYSTEMD_NAMES += cpns-server
endif
install-systemd:
	$(MKDIR_P) '$(DESTDIR)$(sysusersdir)' '$(DESTDIR)$(tmpfilesdir)'
	for name in $(SYSTEMD_NAMES); do \
		$(INSTALL_DATA) "$(srcdir)/systemd/$$name.sysusers" "$(DESTDIR)$(sysusersdir)/$$name.conf" && \
		$(INSTALL_DATA) "$(srcdir)/systemd/$$name.tmpfiles" "$(DESTDIR)$(tmpfilesdir)/$$name.conf" || exit; \
	done
uninstall-systemd:
	for name in $(SYSTEMD_NAMES); do \
		rm -f "$(DESTDIR)$(sysusersdir)/$$name.conf" "$(DESTDIR)$(tmpfilesdir)/$$name.conf"; \
	done
.PHONY: install-systemd uninstall-systemd
