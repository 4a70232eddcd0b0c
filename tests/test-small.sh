#!/usr/bin/env bash
# What configure can leave out is left out, and pngwd says so with the switch's name. Only pngwd is built, in a copy
# of this build in which little has to be compiled again.
set -euo pipefail
top=${PNGW_SRCDIR:?}
build=${PNGW_BUILDDIR:?}
# shellcheck source=tests/system.sh
. "$top/tests/system.sh"
system_begin small

# small NAME SWITCH...: builds $run/NAME/pngwd
small() {
	local name=$1 as
	shift
	as=$("$build/config.status" --config)
	mkdir "$run/$name"
	cp -a "$build"/{Makefile,config.status,libtool,config.h,stamp-h1} "$run/$name"
	for part in protocol storage pan wan gateway server pne; do
		cp -a "$build/$part" "$run/$name"
	done
	(cd "$run/$name" && eval "'$top/configure' -q --cache-file=$run/cache $as $*" && make -s pngwd) >"$run/$name.log" 2>&1 || {
		echo "no build with $*: $(tail -n 20 "$run/$name.log")"
		exit 1
	}
}
# refused TEXT COMMAND...
refused() {
	local text=$1
	shift
	if "$@" >"$run/said" 2>&1; then
		complain "not refused: $*"
	fi
	grep -qF -- "$text" "$run/said" || complain "$*: not \"$text\": $(cat "$run/said")"
}
launch_server
await "listening on"

small le --disable-le --disable-console --disable-server --disable-tests
grep -qF org.bluez.LEAdvertisement1 "$(bin pngwd)" || complain "this test looks for a name that is not there"
! grep -qF org.bluez.LEAdvertisement1 "$run/le/pngwd" || complain "LE is in there"
"$run/le/pngwd" --config "$run/pngw.conf" --check-config >"$run/said" 2>&1 || complain "not well: $(cat "$run/said")"
sed 's|^pan = {|& bluetooth = { le = true; };|' "$run/pngw.conf" >"$run/le.conf"
refused 'pan.bluetooth.le: this pngwd was built with --disable-le' "$run/le/pngwd" --config "$run/le.conf" --check-config
"$(bin pngwd)" --config "$run/le.conf" --check-config >"$run/said" 2>&1 || complain "not well: $(cat "$run/said")"
"$run/le/pngwd" --list-settings >"$run/said"
grep -q '^| `pan.bluetooth.le` .*| `*false' "$run/said" || complain "pan.bluetooth.le is not false by itself"
refused "configured with --disable-console" make -C "$run/le" -s pngwctl
grep -qE 'cpns-serverd\.service|in pngw cpns-server' <(make -C "$run/le" -s -n install-data DESTDIR="$run/nowhere") &&
	complain "the server's unit is installed"
grep -qx 'IMPORT_LIBS = *' "$run/le/Makefile" || complain "libraries for files of keys are wanted"
grep -q pngw-console <(make -C "$run/le" -s -n install-data DESTDIR="$run/nowhere") && complain "the console's unit is installed"

small http1 --disable-http1
ldd "$run/http1/pngwd" | grep -q http_parser && complain "libhttp_parser is wanted"
# Over HTTP/2 it works as ever.
launch gateway "$run/http1/pngwd" --config "$run/pngw.conf"
await "WAN is up"
start register "$user" || complain "registration: $(cat "$run/start.out")"
stop gateway
/usr/bin/python3 "$top/tests/https-server.py" "$address" "$run/certs/server.pem" "$run/certs/server.key" 200 >"$run/other.port" 2>&8 &
pid_of[other]=$!
for ((i = 0; i < 600; i++)); do
	[ -s "$run/other.port" ] && break
	sleep 0.05
done
sed -i "s|port = $port|port = $(cat "$run/other.port")|" "$run/pngw.conf"
refused "was built with --disable-http1" "$run/http1/pngwd" --config "$run/pngw.conf" --doctor
: >"$run/log"
launch gateway "$run/http1/pngwd" --config "$run/pngw.conf"
await "was built with --disable-http1"
exit "$bad"
