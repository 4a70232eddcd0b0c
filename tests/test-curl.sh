#!/usr/bin/env bash
# cpns-serverd with an ordinary HTTP client: curl knows digest (RFC 7616), and python and openssl
# derive the key a second time, without any of our code.
set -euo pipefail
# shellcheck source=tests/server-alone.sh
. "${PNGW_SRCDIR:?}/tests/server-alone.sh"

# assignment FILE: a PNE's EUKeyAssignmentRequest without credentials.
assignment() {
	cat >"$1" <<XML
<EUKeyAssignmentRequest xmlns="urn:pngw:cpns:binding:1"><Envelope><Version>1</Version><Profile>P1</Profile>
<MessageID>$(openssl rand -hex 16)</MessageID><Source>tablet</Source><Target>cpns.example</Target></Envelope>
<UserID>alice</UserID><EntityID>tablet</EntityID><Mode>PNE</Mode></EUKeyAssignmentRequest>
XML
}

printf '%s\n' "$password" | admin add-user alice
start

# A request without credentials is challenged, in the header and in the message.
assignment "$run/first"
expect "$(post "$run/first" --http2)" "401 2" "no credentials"
grep -qi '^www-authenticate: Digest .*SHA-256' "$run/headers" || die "no digest challenge"
salt=$(element Salt)
iterations=$(element Iterations)
[ "$iterations" = 20000 ] || die "iterations"
ph=$(python3 - "$password" "$salt" "$iterations" <<'PY'
import hashlib, sys
print(hashlib.pbkdf2_hmac("sha256", sys.argv[1].encode(), bytes.fromhex(sys.argv[2]), int(sys.argv[3])).hex())
PY
)
printf 'user = "alice:%s"\n' "$ph" >"$run/credentials"

# HTTP/2, and the key that is in the answer.
expect "$(post "$run/first" --http2 --digest -K "$run/credentials" -v 2>"$run/trace")" "200 2" "digest over HTTP/2"
index=$(element KeyIndex)
challenge=$(openssl rand -hex 16)
python3 - "$ph" "$run/trace" "$index" "$challenge" "$(element WrappedEUKey)" >"$run/ours" <<'PY'
import hashlib, hmac, re, struct, subprocess, sys
ph, trace, index, challenge, wrapped = sys.argv[1:]
ph, index = bytes.fromhex(ph), struct.pack(">I", int(index))
header = [l for l in open(trace, errors="replace") if re.search(r"authorization: digest", l, re.I)][-1]
value = lambda name: re.search(name + r'="([^"]*)"', header).group(1).encode()
ctx = lambda *parts: b"".join(struct.pack(">I", len(p)) + p for p in parts)
mac = lambda key, data: hmac.new(key, data, hashlib.sha256).digest()
hkdf = lambda secret, salt, info: mac(mac(salt or bytes(32), secret), info + b"\1")
kek = hkdf(ph, value("[^c]nonce") + value("cnonce"), ctx(b"CPNS P1 EUKey", b"alice", b"tablet", index))
key = subprocess.run(["openssl", "enc", "-d", "-id-aes256-wrap", "-K", kek.hex(), "-iv", "a6" * 8],
                     input=bytes.fromhex(wrapped), stdout=subprocess.PIPE, check=True).stdout
assert len(key) == 32
print(int.from_bytes(index, "big"),
      mac(hkdf(key, b"", ctx(b"CPNS P1 fingerprint")),
          ctx(bytes.fromhex(challenge), b"alice", b"tablet", index))[:8].hex())
PY
admin fingerprint --challenge "$challenge" alice tablet >"$run/theirs"
cmp "$run/ours" "$run/theirs" || die "the key is another: $(cat "$run/ours" "$run/theirs")"

# The same message again: the same bytes, no second key. Without the password: nothing.
cp "$run/answer" "$run/before"
expect "$(post "$run/first" --http2 --digest -K "$run/credentials")" "200 2" "repeated"
cmp "$run/before" "$run/answer" || die "a repeat got another answer"
expect "$(post "$run/first" --http2)" "401 2" "repeated without the password"
[ "$(admin list keys | wc -l)" = 1 ] || die "a repeat made a key"

# HTTP/1.1, and a wrong password.
assignment "$run/second"
expect "$(post "$run/second" --http1.1 --digest -K "$run/credentials")" "200 1.1" "digest over HTTP/1.1"
[ "$(element KeyIndex)" = 2 ] || die "the second index"
assignment "$run/third"
expect "$(post "$run/third" --http1.1 --digest -u "alice:${ph%?}x")" "401 1.1" "wrong password"
[ "$(element Status)" = Unauthorized ] || die "status of a wrong password"

# Comment C249: registration only over a mutually authenticated connection.
cat >"$run/registration" <<XML
<IDPWDRegistrationRequest xmlns="urn:pngw:cpns:binding:1"><Envelope><Version>1</Version><Profile>P1</Profile>
<MessageID>$(openssl rand -hex 16)</MessageID><Source>gw-1</Source><Target>cpns.example</Target></Envelope>
<UserID>bob</UserID><GatewayKey><Kind>Exporter</Kind><KeyIndex>0</KeyIndex></GatewayKey>
<EncryptedPassword><Rand>$(openssl rand -hex 32)</Rand><Sealed>$(openssl rand -hex 145)</Sealed></EncryptedPassword>
</IDPWDRegistrationRequest>
XML
mutual=(--cert "$run/certs/gateway.pem" --key "$run/certs/gateway.key")
expect "$(post "$run/registration" --http2)" "403 2" "registration without mutual authentication"
[ "$(element Status)" = NotMutuallyAuthenticated ] || die "status without mutual authentication"
expect "$(post "$run/registration" --http2 "${mutual[@]}")" "400 2" "registration, not sealed for this connection"
[ "$(element Status)" = DoesNotUnwrap ] || die "status of a password that does not open"
[ "$(admin list users | wc -l)" = 1 ] || die "a user was registered"

# What is no message is told where it breaks.
printf '<a>\n<b></a>' >"$run/bad"
expect "$(post "$run/bad" --http2)" "400 2" "malformed"
grep -q "line" "$run/answer" || die "malformed says no line"

# Credentials are read again; the admin tool works meanwhile; a clean stop; nothing is lost.
kill -HUP "$pid"
for _ in $(seq 100); do
	grep -q "credentials reloaded" "$run/log" && break
	sleep 0.05
done
grep -q "credentials reloaded" "$run/log" || die "SIGHUP"
assignment "$run/fourth"
expect "$(post "$run/fourth" --http2 --digest -K "$run/credentials")" "200 2" "after SIGHUP"
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
pid=
[ "$code" = 0 ] || die "it stopped with $code"
grep -q "info: stopped" "$run/log" || die "no clean stop"
cp "$run/log" "$run/log.1"
start
expect "$(post "$run/first" --http2 --digest -K "$run/credentials")" "200 2" "repeated after a restart"
cmp "$run/before" "$run/answer" || die "another answer after a restart"
admin release tablet
[ "$(admin list keys | wc -l)" = 0 ] || die "release keeps keys"
kill -INT "$pid"
wait "$pid" || die "SIGINT"
pid=

# No secret was written down.
if grep -qF -e "$password" -e "$ph" "$run/log" "$run/log.1" || grep -qaF -e "$password" "$run"/server.db*; then
	die "a secret is in the log or the store"
fi
python3 - "$ph" "$run"/server.db* <<'PY' || die "the password hash is in the store in the clear"
import sys
ph = bytes.fromhex(sys.argv[1])
sys.exit(any(ph in open(f, "rb").read() for f in sys.argv[2:]))
PY

# What is wrong with what the settings name: a sed expression, the line, what is said.
check() {
	code=0
	"$PNGW_BUILDDIR/cpns-serverd" --config "$1" --check-config >"$run/said" 2>&1 || code=$?
}
check "$run/server.conf"
[ "$code" = 0 ] && grep -qx "$run/server.conf: good" "$run/said" || die "--check-config: $code: $(cat "$run/said")"
refused() {
	local line text=${1#*|}
	sed "$1" "$run/server.conf" >"$run/wrong.conf"
	check "$run/wrong.conf"
	line=$(grep -n -m 1 -- "${text%%|*}" "$run/server.conf" | cut -d: -f1)
	[ "$code" = 2 ] && grep -qF -- "wrong.conf:$line: $2" "$run/said" || die "$1: $code, $line: $(cat "$run/said")"
}
openssl rand -hex 8 >"$run/no.key"
chmod 600 "$run/no.key"
refused "s|certificate = \"[^\"]*\"|certificate = \"/nonex\"|" "tls.certificate: /nonex: No such file or directory"
refused "s|key = \"[^\"]*server.key\"|key = \"/nonex\"|" "tls.key: /nonex: No such file or directory"
refused "s|client_ca = \"[^\"]*\"|client_ca = \"/nonex\"|" "tls.client_ca: /nonex: No such file or directory"
refused "s|database = \"[^\"]*\"|database = \"/nonex/db\"|" "database: the folder /nonex: No such file or directory"
refused "s|key_file = \"[^\"]*\"|key_file = \"$run/no.key\"|" "key_file: $run/no.key: the key file must hold 64 hex digits"
sed "s|key = \"[^\"]*\"|key = \"credential:server-key\"|" "$run/server.conf" >"$run/service.conf"
check "$run/service.conf"
[ "$code" = 0 ] && grep -q "tls.key: not looked at: credential:server-key is there in the service alone" "$run/said" ||
	die "a credential outside of the service: $code: $(cat "$run/said")"

# A configuration with a mistake.
echo 'colour = 1;' >>"$run/server.conf"
code=0
"$PNGW_BUILDDIR/cpns-serverd" --config "$run/server.conf" --check-config 2>"$run/log" || code=$?
[ "$code" = 2 ] && grep -q ":11: unknown setting colour" "$run/log" || die "--check-config: $code"
echo "curl: all good"
