#!/usr/bin/env bash
# The recipes for Yocto and OpenWrt fit to configure and to what is installed: tests/recipes.py. OpenWrt's init script
# and configuration are taken by a shell and by pngwd.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin recipes

mkdir "$run/work"
make -s -C "$build" install DESTDIR="$run/tree" prefix=/usr sysconfdir=/etc docdir=/usr/share/doc/pngw \
	systemdsystemunitdir=/usr/lib/systemd/system >"$run/said" 2>&1 || complain "$(cat "$run/said")"
python3 "$top/tests/recipes.py" "$top" "$run/tree" "$run/work" >"$run/said" 2>&1 || complain "$(cat "$run/said")"

files=$top/packaging/openwrt/pngw/files
sed "s|/etc/pngw/operator-ca.pem|$run/certs/ca.pem|; s|/etc/pngw/gateway\.|$run/certs/gateway.|; s|/etc/pngw/vault/|$run/|" "$files/pngw.conf" >"$run/openwrt.conf"
"$(bin pngwd)" --config "$run/openwrt.conf" --check-config >"$run/said" 2>&1 || complain "pngw.conf: $(cat "$run/said")"
# What procd is told.
cat >"$run/procd" <<'PROCD'
procd_open_instance() { :; }
procd_close_instance() { :; }
procd_set_param() { echo "$*"; }
mkdir() { :; }
chmod() { :; }
chown() { :; }
PROCD
{
	cat "$run/procd"
	sed "s|^PROGRAM=.*|PROGRAM='$(bin pngwd)'|; s|^CONFIGURATION=.*|CONFIGURATION='$run/openwrt.conf'|" "$files/pngwd.init"
	echo start_service
} >"$run/init"
sh "$run/init" >"$run/said" 2>&1 || complain "pngwd.init: $(cat "$run/said")"
grep -qx "command $(bin pngwd) --config $run/openwrt.conf" "$run/said" || complain "pngwd.init starts something else: $(cat "$run/said")"
echo "nonsense" >>"$run/openwrt.conf"
if sh "$run/init" >"$run/said" 2>&1 || grep -q '^command' "$run/said"; then
	complain "pngwd.init starts what is not well configured"
fi
exit "$bad"
