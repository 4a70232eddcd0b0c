SUMMARY = "CPNS PN gateway: brings a device's EUKey from the operator's server into it"
DESCRIPTION = "A PN GW of the Open Mobile Alliance's Converged Personal Network Service with the tools of its vault, \
and a PNE; the technician's console and the CPNS Server by PACKAGECONFIG."
SECTION = "net"
# No licence to copy, change or pass it on has been granted: debian/copyright.
LICENSE = "CLOSED"

# What `make dist` makes, in files/ beside this file.
SRC_URI = "file://${BP}.tar.xz"

inherit autotools pkgconfig systemd useradd

DEPENDS = "autoconf-archive-native bluez5 expat libconfig libuv nghttp2 sqlite3 systemd utf8proc wolfssl"
EXTRA_OECONF = "--disable-werror --disable-tests --with-sd-bus=systemd --with-systemdsystemunitdir=${systemd_system_unitdir}"

# console and server read CSV and PSKC (libcsv and libpskc, of oath-toolkit). OpenEmbedded-Core and meta-openembedded
# have no recipes for these two: who wants console or server adds them.
PACKAGECONFIG ??= "le http1"
PACKAGECONFIG[le] = "--enable-le,--disable-le"
PACKAGECONFIG[http1] = "--enable-http1,--disable-http1,http-parser"
PACKAGECONFIG[console] = "--enable-console,--disable-console,json-c libcsv libedit libxml2 ncurses oath-toolkit qrencode"
PACKAGECONFIG[server] = "--enable-server,--disable-server,libcsv libxml2 oath-toolkit"
PACKAGECONFIG[tpm] = "--with-tpm,--without-tpm,tpm2-tss"

WITH_SERVER = "${@bb.utils.contains('PACKAGECONFIG', 'server', 'cpns-server', '', d)}"
PACKAGE_BEFORE_PN = "cpns-pne cpns-server"
FILES:cpns-pne = "${bindir}/cpns-pne"
FILES:cpns-server = "${sbindir}/cpns-serverd ${bindir}/cpns-server-admin ${sysconfdir}/cpns-server \
    ${systemd_system_unitdir}/cpns-serverd.service ${nonarch_libdir}/sysusers.d/cpns-server.conf \
    ${nonarch_libdir}/tmpfiles.d/cpns-server.conf"
FILES:${PN} += "${systemd_system_unitdir}/pngw*.service ${nonarch_libdir}/sysusers.d/pngw.conf \
    ${nonarch_libdir}/tmpfiles.d/pngw.conf ${datadir}/bash-completion ${datadir}/dbus-1 ${datadir}/polkit-1 ${datadir}/pngw"
CONFFILES:${PN} = "${sysconfdir}/pngw/pngw.conf"
CONFFILES:cpns-server = "${sysconfdir}/cpns-server/cpns-serverd.conf"
RDEPENDS:${PN} = "dbus"
RRECOMMENDS:${PN} = "bluez5"

# Both want a configuration of their own first.
SYSTEMD_AUTO_ENABLE = "disable"
SYSTEMD_PACKAGES = "${PN} ${WITH_SERVER}"
SYSTEMD_SERVICE:${PN} = "pngwd.service"
SYSTEMD_SERVICE:cpns-server = "cpns-serverd.service"

USERADD_PACKAGES = "${PN} ${WITH_SERVER}"
GROUPADD_PARAM:${PN} = "--system pngw; --system pngw-console"
USERADD_PARAM:${PN} = "--system --gid pngw --home-dir /var/lib/pngw --no-create-home --shell /sbin/nologin pngw; \
    --system --gid pngw-console --no-create-home --shell /sbin/nologin pngw-console"
GROUPADD_PARAM:cpns-server = "--system cpns-server"
USERADD_PARAM:cpns-server = "--system --gid cpns-server --home-dir /var/lib/cpns-server --no-create-home \
    --shell /sbin/nologin cpns-server"
