#!/usr/bin/env bash
# What make install puts where, that make uninstall takes it away again, and that a tarball has every file.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
folder=$(mktemp -d /tmp/pngw-install.XXXXXX)
trap 'rm -rf "$folder"' EXIT
bad=0
complain() {
	echo "$1"
	bad=1
}

make -s -C "$build" install DESTDIR="$folder/root" prefix=/usr sysconfdir=/etc docdir=/usr/share/doc/pngw \
	systemdsystemunitdir=/usr/lib/systemd/system >"$folder/said" 2>&1 || complain "$(cat "$folder/said")"
installed() {
	(cd "$folder/root" && find . ! -type d | sed 's,^\./,,' | sort)
}
installed >"$folder/list"
while read -r file; do
	grep -qx "$file" "$folder/list" || complain "not installed: $file"
done <<'LIST'
etc/cpns-server/cpns-serverd.conf
etc/pngw/pngw.conf
usr/bin/cpns-pne
usr/bin/cpns-server-admin
usr/bin/pngw-ledger
usr/bin/pngw-replay
usr/bin/pngwctl
usr/lib/systemd/system/cpns-serverd.service
usr/lib/systemd/system/pngwd.service
usr/lib/sysusers.d/cpns-server.conf
usr/lib/sysusers.d/pngw.conf
usr/lib/tmpfiles.d/cpns-server.conf
usr/lib/tmpfiles.d/pngw.conf
usr/sbin/cpns-serverd
usr/sbin/pngw-handover
usr/sbin/pngw-vault
usr/sbin/pngwd
usr/share/bash-completion/completions/pngw-handover
usr/share/bash-completion/completions/pngwctl
usr/share/dbus-1/system.d/org.pngw.conf
usr/share/doc/pngw/README.md
usr/share/doc/pngw/verdicts.md
usr/share/man/man5/pngw.conf.5
usr/share/man/man8/pngwd.8
usr/share/pngw/cpns.xsd
usr/share/pngw/pngwd.service.d/bonds.conf
usr/share/polkit-1/actions/org.pngw.policy
LIST
# Each program has its page, each document is installed.
for program in "$folder"/root/usr/{bin,sbin}/*; do
	compgen -G "$folder/root/usr/share/man/man[18]/${program##*/}.[18]" >/dev/null || complain "no manual page: ${program##*/}"
done
for document in "$top"/doc/*.md; do
	grep -q "/${document##*/}$" "$folder/list" || complain "not installed: ${document##*/}"
done
# A configuration that is there is left alone.
echo "# changed" >>"$folder/root/etc/pngw/pngw.conf"
for what in install uninstall; do
	make -s -C "$build" $what DESTDIR="$folder/root" prefix=/usr sysconfdir=/etc docdir=/usr/share/doc/pngw \
		systemdsystemunitdir=/usr/lib/systemd/system >"$folder/said" 2>&1 || complain "$what: $(cat "$folder/said")"
	tail -n 1 "$folder/root/etc/pngw/pngw.conf" | grep -q changed || complain "$what changes a configuration"
done
[ "$(installed)" = etc/pngw/pngw.conf ] || complain "left by uninstall: $(installed)"

# The tarball. What is not made from git has nothing to compare with.
if git -C "$top" rev-parse --git-dir >/dev/null 2>&1; then
	make -s -C "$build" distdir distdir="$folder/dist" >"$folder/said" 2>&1 || complain "$(tail -n 5 "$folder/said")"
	git -C "$top" ls-files | grep -v '^\.' | while read -r file; do
		[ ! -e "$top/$file" ] || [ -e "$folder/dist/$file" ] || echo "not in the tarball: $file"
	done >"$folder/missing"
	[ ! -s "$folder/missing" ] || complain "$(cat "$folder/missing")"
fi

# ./bootstrap --packages brings what dpkg-buildpackage asks for; two of the names are debhelper's.
eval "$(sed -n '/^[a-z]*_packages=(/,/)/p' "$top/bootstrap")"
asked=$(sed -n '/^Build-Depends:/,/^[^ ]/s/^ \([a-z0-9.+-]*\).*/\1/p' "$top/debian/control")
[ "$(wc -w <<<"$asked")" -ge 20 ] || complain "no Build-Depends: $asked"
for package in build-essential $asked; do
	case $package in
	debhelper-compat | dh-sequence-installsysusers) package=debhelper ;;
	esac
	# shellcheck disable=SC2154 # bootstrap's
	[[ " ${build_packages[*]} ${package_packages[*]} " == *" $package "* ]] || complain "./bootstrap --packages does not bring $package"
done
exit $bad
