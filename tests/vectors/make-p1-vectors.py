#!/usr/bin/env python3
"""P1's vectors, from a second implementation of its formulas.

Written from the protocol document alone, with Python's own hashlib and hmac and nothing of the C
code. It first proves its parts against the RFCs' vectors beside it, then prints p1.txt:

    ./make-p1-vectors.py > p1.txt
    ./make-p1-vectors.py --check        (compares with p1.txt)
"""

import hashlib
import hmac
import os
import sys
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))


# AES-256 encryption of a block (FIPS 197)

def xtime(a):
    return ((a << 1) ^ (0x11B if a & 0x80 else 0)) & 0xFF


def gmul(a, b):
    r = 0
    while b:
        if b & 1:
            r ^= a
        a = xtime(a)
        b >>= 1
    return r


def make_sbox():
    box = []
    for x in range(256):
        inv = next((y for y in range(256) if gmul(x, y) == 1), 0)
        s = 0
        for i in range(5):
            s ^= ((inv << i) | (inv >> (8 - i))) & 0xFF
        box.append(s ^ 0x63)
    return box


SBOX = make_sbox()


def aes256_expand(key):
    words = [list(key[i:i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        t = list(words[-1])
        if i % 8 == 0:
            t = [SBOX[b] for b in t[1:] + t[:1]]
            t[0] ^= rcon
            rcon = xtime(rcon)
        elif i % 8 == 4:
            t = [SBOX[b] for b in t]
        words.append([a ^ b for a, b in zip(words[i - 8], t)])
    return [sum(words[4 * r:4 * r + 4], []) for r in range(15)]


def aes256_encrypt(key, block):
    keys = aes256_expand(key)
    s = [a ^ b for a, b in zip(block, keys[0])]
    for r in range(1, 15):
        s = [SBOX[b] for b in s]
        s = [s[(i + 4 * (i % 4)) % 16] for i in range(16)]
        if r < 14:
            t = []
            for c in range(0, 16, 4):
                a = s[c:c + 4]
                for i in range(4):
                    t.append(gmul(a[i], 2) ^ gmul(a[(i + 1) % 4], 3) ^ a[(i + 2) % 4]
                             ^ a[(i + 3) % 4])
            s = t
        s = [a ^ b for a, b in zip(s, keys[r])]
    return bytes(s)


def key_wrap(kek, key):
    """RFC 3394 section 2.2.1."""
    a = bytes([0xA6] * 8)
    r = [key[i:i + 8] for i in range(0, len(key), 8)]
    n = len(r)
    for j in range(6):
        for i in range(n):
            b = aes256_encrypt(kek, a + r[i])
            a = (int.from_bytes(b[:8], "big") ^ (n * j + i + 1)).to_bytes(8, "big")
            r[i] = b[8:]
    return a + b"".join(r)


# ChaCha20-Poly1305 (RFC 8439)

def rotl(v, n):
    return ((v << n) | (v >> (32 - n))) & 0xFFFFFFFF


def chacha_block(key, counter, nonce):
    def words(b):
        return [int.from_bytes(b[i:i + 4], "little") for i in range(0, len(b), 4)]

    start = words(b"expand 32-byte k") + words(key) + [counter] + words(nonce)
    s = list(start)

    def quarter(a, b, c, d):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            s[z] = rotl(s[z] ^ s[x], n)

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return b"".join(((a + b) & 0xFFFFFFFF).to_bytes(4, "little") for a, b in zip(s, start))


def poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    acc = 0
    for i in range(0, len(data), 16):
        acc = (acc + int.from_bytes(data[i:i + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return ((acc + int.from_bytes(key[16:], "little")) % (1 << 128)).to_bytes(16, "little")


def seal(key, nonce, ad, plain):
    sealed = b""
    for i in range(0, len(plain), 64):
        stream = chacha_block(key, 1 + i // 64, nonce)
        sealed += bytes(a ^ b for a, b in zip(plain[i:i + 64], stream))

    def padded(b):
        return b + bytes(-len(b) % 16)

    over = padded(ad) + padded(sealed)
    over += len(ad).to_bytes(8, "little") + len(sealed).to_bytes(8, "little")
    return sealed + poly1305(chacha_block(key, 0, nonce)[:32], over)


# The formulas of P1

def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(secret, salt, info, size=32):
    prk = mac(salt or bytes(32), secret)
    out, t, i = b"", b"", 0
    while len(out) < size:
        i += 1
        t = mac(prk, t + info + bytes([i]))
        out += t
    return out[:size]


def as_bytes(a):
    if isinstance(a, str):
        return a.encode()
    return a.to_bytes(4, "big") if isinstance(a, int) else a


def ctx(*parts):
    parts = [as_bytes(p) for p in parts]
    return b"".join(len(p).to_bytes(4, "big") + p for p in parts)


def wrap(secret, salt, context, key):
    return key_wrap(hkdf(secret, salt, context), key)


def password_hash(password, salt, iterations):
    nfc = unicodedata.normalize("NFC", password).encode()
    return hashlib.pbkdf2_hmac("sha256", nfc, salt, iterations, 32)


def auth_data(ph, name, user, source, target, rand, message_id):
    key = hkdf(ph, b"", ctx("CPNS P1 auth", name))
    return mac(key, ctx(user, source, target, rand, message_id))


def held_proof(eukey, user, entity, index, message_id):
    return mac(hkdf(eukey, b"", ctx("CPNS P1 held")), ctx(user, entity, index, message_id))


def refill_proof(eukey, user, entity, index, message_id, gateway):
    key = hkdf(eukey, b"", ctx("CPNS P1 refill"))
    return mac(key, ctx(user, entity, index, message_id, gateway))


def reset_proof(eukey, user, entity, index, message_id):
    return mac(hkdf(eukey, b"", ctx("CPNS P1 reset")), ctx(user, entity, index, message_id))


def reset_confirmation(eukey, user, entity, index, message_id):
    return mac(hkdf(eukey, b"", ctx("CPNS P1 reset done")), ctx(user, entity, index, message_id))


def fingerprint(eukey, challenge, user, entity, index):
    key = hkdf(eukey, b"", ctx("CPNS P1 fingerprint"))
    return mac(key, ctx(challenge, user, entity, index))[:8]


def padded_temporary_key(key):
    b = bytes([len(key)]) + key
    return b + bytes(-len(b) % 8)


def seal_password(secret, rand, user, binding, password):
    context = ["CPNS P1 password", user] + ([binding] if binding else [])
    plain = bytes([len(password)]) + password + bytes(128 - len(password))
    return seal(hkdf(secret, rand, ctx(*context)), bytes(12), b"", plain)


def digest(user, realm, password, method, uri, nonce, count, cnonce):
    def h(text):
        return hashlib.sha256(text.encode()).hexdigest()

    a1 = h(f"{user}:{realm}:{password}")
    a2 = h(f"{method}:{uri}")
    return h(f"{a1}:{nonce}:{count:08x}:{cnonce}:auth:{a2}")


# Proof against the RFCs

def records(name):
    record = None
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        for line in f:
            line = line.strip()
            if line.startswith("["):
                if record:
                    yield record
                record = {}
            elif line and not line.startswith("#"):
                key, value = line.split("=", 1)
                value = value.strip()
                key = key.strip()
                if value.startswith('"'):
                    record[key] = value[1:-1].encode()
                elif key in ("iterations", "count"):
                    record[key] = int(value)
                else:
                    record[key] = bytes.fromhex(value)
    if record:
        yield record


def prove():
    for r in records("rfc5869.txt"):
        assert hkdf(r["ikm"], r["salt"], r["info"], len(r["okm"])) == r["okm"]
    for r in records("rfc3394.txt"):
        assert key_wrap(r["kek"], r["key"]) == r["wrapped"]
    for r in records("rfc7914.txt"):
        assert hashlib.pbkdf2_hmac("sha256", r["password"], r["salt"], r["iterations"],
                                   64) == r["key"]
    for r in records("rfc8439.txt"):
        assert seal(r["key"], r["nonce"], r["ad"], r["plain"]) == r["sealed"]
    for r in records("rfc7616.txt"):
        t = {k: v.decode() for k, v in r.items() if isinstance(v, bytes) and k != "response"}
        assert digest(t["user"], t["realm"], t["password"], t["method"], t["uri"], t["nonce"],
                      r["count"], t["cnonce"]) == r["response"].hex()


# The vectors

def text(value):
    return '"' + value + '"'


def make():
    out = ["# Made by make-p1-vectors.py."]

    def put(label, **fields):
        out.append("")
        out.append(f"[{label}]")
        for key, value in fields.items():
            if isinstance(value, bytes):
                value = value.hex()
            out.append(f"{key} = {value}".rstrip())

    user, other = "alice", "zo\u00eb"
    pne, gateway, server = "headset-1", "pn-gw-1", "cpns-server-1"
    salt = bytes(range(16))
    ph = password_hash("correct horse", salt, 1000)
    eukey = bytes(range(0x40, 0x60))
    tk = bytes(range(0x80, 0x94))
    rand_a, rand_b = bytes(range(0xA0, 0xC0)), bytes(range(0xC0, 0xE0))
    mid = bytes(range(0xF0, 0x100))
    nonce, cnonce = "ab" * 32, "0123456789abcdef0123456789abcdef"

    for typed in ("correct horse", "caf\u00e9", "cafe\u0301", "\u1100\u1161 \u2126"):
        put("password hash", typed=typed.encode(),
            nfc=unicodedata.normalize("NFC", typed).encode(), salt=salt, iterations=1000,
            hash=password_hash(typed, salt, 1000))
    put("unknown salt", key=eukey, user=text("mallory"), salt=mac(eukey, b"mallory")[:16])
    for use, label, secret, wsalt in (
            ("EUKey", "CPNS P1 EUKey", ph, (nonce + cnonce).encode()),
            ("KEK", "CPNS P1 KEK", ph, rand_a + rand_b),
            ("set", "CPNS P1 set", eukey, rand_b),
            ("notification", "CPNS P1 notification", tk, rand_a)):
        for who, index in ((user, 1), (other, 0x01020304)):
            put("wrap " + use, secret=secret, salt=wsalt, user=text(who), entity=text(pne),
                index=index, key=eukey,
                wrapped=wrap(secret, wsalt, ctx(label, who, pne, index), eukey))
    for size in (16, 20, 32, 63, 64):
        key = bytes(range(size))
        put("wrap temporary key", secret=eukey, salt=rand_b, user=text(user), entity=text(pne),
            key=key, wrapped=wrap(eukey, rand_b, ctx("CPNS P1 set", user, pne, "TK"),
                                  padded_temporary_key(key)))
    put("stretch", passphrase=text("BLUE-TOOTH-4711"), entity=text(pne),
        key=hashlib.pbkdf2_hmac("sha256", b"BLUE-TOOTH-4711", ctx("CPNS P1 TK", pne), 100000, 32))
    for name, source, target in (("EUKeyAssignmentTrigger", gateway, pne),
                                 ("EUKeyAssignmentRequest", pne, server)):
        put("auth data", ph=ph, message=text(name), user=text(user), source=text(source),
            target=text(target), rand=rand_a, id=mid,
            mac=auth_data(ph, name, user, source, target, rand_a, mid))
    put("held proof", eukey=eukey, user=text(user), entity=text(pne), index=7, id=mid,
        mac=held_proof(eukey, user, pne, 7, mid))
    put("refill proof", eukey=eukey, user=text(user), entity=text(pne), index=7, id=mid,
        gateway=text("pngw-1"), mac=refill_proof(eukey, user, pne, 7, mid, "pngw-1"))
    put("reset proof", eukey=eukey, user=text(user), entity=text(pne), index=7, id=mid,
        mac=reset_proof(eukey, user, pne, 7, mid))
    put("reset confirmation", eukey=eukey, user=text(user), entity=text(pne), index=7, id=mid,
        mac=reset_confirmation(eukey, user, pne, 7, mid))
    put("fingerprint", eukey=eukey, challenge=text("4711"), user=text(user), entity=text(pne),
        index=7, fingerprint=fingerprint(eukey, "4711", user, pne, 7))
    for binding in (b"", bytes(range(100))):
        put("seal password", secret=eukey, rand=rand_a, user=text(user), binding=binding,
            password=text("correct horse"),
            sealed=seal_password(eukey, rand_a, user, binding, b"correct horse"))
    chain = hkdf(eukey, b"", ctx("CPNS P1 chain"))
    put("chain", key=eukey, below=chain, second=hkdf(chain, b"", ctx("CPNS P1 chain")))
    put("digest", ph=ph, user=text(user), realm=text(server), nonce=text(nonce), count=10,
        cnonce=text(cnonce), uri=text("/cpns"),
        response=bytes.fromhex(digest(user, server, ph.hex(), "POST", "/cpns", nonce, 10,
                                      cnonce)))
    return "\n".join(out) + "\n"


def main():
    prove()
    made = make()
    if sys.argv[1:] == ["--check"]:
        with open(os.path.join(HERE, "p1.txt"), encoding="utf-8") as f:
            return 0 if f.read() == made else 1
    sys.stdout.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
