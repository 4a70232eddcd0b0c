# shellcheck shell=bash
# A cpns-serverd alone, and curl as its client. To be sourced with PNGW_SRCDIR and PNGW_BUILDDIR set.
#   $run         a temporary folder, with certs/, server.conf and the server's log
#   $password    of whoever is added with it
#   start        the server; sets $port and $url
#   post         a message by curl; expect, element: about its answer
: "${PNGW_SRCDIR:?}" "${PNGW_BUILDDIR:?}"
for tool in curl openssl python3; do
	command -v "$tool" >/dev/null || { echo "$tool is missing"; exit 77; }
done
run=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$run"' EXIT
chmod 700 "$run"
"$PNGW_SRCDIR/tests/make-certs" "$run/certs" localhost gw-1 >/dev/null 2>&1

password="correct horse battery staple"
cat >"$run/server.conf" <<CONF
entity_id = "cpns.example";
listen = { address = "127.0.0.1"; port = 0; path = "/cpns"; };
tls = {
	certificate = "$run/certs/server.pem";
	key = "$run/certs/server.key";
	client_ca = "$run/certs/ca.pem";
};
database = "$run/server.db";
key_file = "$run/server.key";
iterations = 20000;
CONF

die() {
	echo "FAILED: $*"
	echo "--- the server said:"
	tail -n 20 "$run/log"
	exit 1
}

admin() {
	"$PNGW_BUILDDIR/cpns-server-admin" --config "$run/server.conf" "$@"
}

start() {
	: >"$run/log"
	"$PNGW_BUILDDIR/cpns-serverd" --config "$run/server.conf" 2>>"$run/log" &
	pid=$!
	for _ in $(seq 200); do
		grep -q "listening on" "$run/log" && break
		sleep 0.05
	done
	port=$(sed -n 's/.*info: listening on .*:\([0-9]*\)$/\1/p' "$run/log")
	[ -n "$port" ] || die "it does not listen"
	url=https://localhost:$port/cpns
}

# post BODY CURL-ARGUMENT...: prints "STATUS HTTP-VERSION"; the answer is in $run/answer, its headers in $run/headers.
post() {
	local body=$1
	shift
	curl -sS --cacert "$run/certs/ca.pem" --resolve "localhost:$port:127.0.0.1" --max-time 20 \
		-H "Content-Type: application/cpns+xml" --data-binary "@$body" -o "$run/answer" \
		-D "$run/headers" -w '%{http_code} %{http_version}' "$@" "$url"
}

expect() {
	[ "$1" = "$2" ] || die "$3: \"$1\" and not \"$2\": $(cat "$run/answer")"
}

element() {
	sed -n "s:.*<$1>\([^<]*\)</$1>.*:\1:p" "$run/answer" | head -n 1
}
