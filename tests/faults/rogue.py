#!/usr/bin/env python3
"""What stands where a CPNS Server should: rogue.py CERTIFICATES. One port for each behaviour, told as
lines "NAME PORT", then "ready"; ends when its input does."""
import os
import socket
import ssl
import struct
import sys
import threading

certs = sys.argv[1]
HTML = b"<html>welcome</html>"
OURS = b"application/cpns+xml"


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def gulp(s):
    try:
        return s.recv(65536)
    except OSError:
        return b""


def wait(s):
    while gulp(s):
        pass


# TCP

def tcp_close(s):
    pass


def tcp_reset(s):
    reset(s)


def tcp_mute(s):
    wait(s)


def hello_close(s):
    gulp(s)


def hello_reset(s):
    gulp(s)
    reset(s)


def tcp_text(s):
    s.sendall(b"220 mail.example ESMTP ready\r\n" * 4)
    wait(s)


def tcp_http(s):
    gulp(s)
    s.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    wait(s)


def half_record(s):
    gulp(s)
    s.sendall(b"\x16\x03\x03\x40\x00" + b"\x02" * 20)
    wait(s)


# TLS

def context(certificate="server", key=None, alpn=("http/1.1",), client_ca="ca",
            mode=ssl.CERT_OPTIONAL):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain("%s/%s.pem" % (certs, certificate), "%s/%s.key" % (certs, key or certificate))
    if client_ca:
        c.load_verify_locations("%s/%s.pem" % (certs, client_ca))
        c.verify_mode = mode
    if alpn:
        c.set_alpn_protocols(list(alpn))
    return c


def old():
    c = context()
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    return c


def garbage_record(s):
    gulp(s)
    raw = socket.socket(fileno=os.dup(s.fileno()))
    raw.sendall(b"\x17\x03\x03\x00\x40" + b"\x00" * 64)
    raw.close()
    wait(s)


# HTTP/1.1

def answer(head, body=b"", length=None, kind=b"text/html", rest=None):
    """To each request; rest is what follows the first answer."""
    def behave(s):
        while True:
            data = b""
            while not data.endswith((b"Request>", b"Report>")):
                more = gulp(s)
                if not more:
                    return
                data += more
            size = len(body) if length is None else length
            s.sendall(b"HTTP/1.1 " + head + b"\r\nContent-Type: " + kind +
                      b"\r\nContent-Length: %d\r\n\r\n" % size + body)
            if rest:
                rest(s)
            if rest or length is not None:
                return
    return behave


def say(data, then=None):
    def behave(s):
        gulp(s)
        if data:
            s.sendall(data)
        if then:
            then(s)
    return behave


# HTTP/2

def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


SETTINGS = frame(4, 0, 0)


def h2(reply, again=True):
    """After the HEADERS of each request, or of the first only."""
    def behave(s):
        data = gulp(s)[24:]
        s.sendall(SETTINGS)
        while True:
            while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
                size = int.from_bytes(data[:3], "big")
                if data[3] == 1:
                    for f in reply(int.from_bytes(data[5:9], "big")):
                        s.sendall(f)
                    if not again:
                        return
                data = data[9 + size:]
            more = gulp(s)
            if not more:
                return
            data += more
    return behave


def status(code, body=HTML):
    """code: the index of :status in the static table."""
    return lambda n: [frame(1, 4, n, bytes([0x80 | code])), frame(0, 1, n, body)]


H2 = context(alpn=("h2",))
H1 = context()
BEHAVIOURS = {
    "tcp-close": (None, tcp_close),
    "tcp-reset": (None, tcp_reset),
    "tcp-mute": (None, tcp_mute),
    "hello-close": (None, hello_close),
    "hello-reset": (None, hello_reset),
    "tcp-text": (None, tcp_text),
    "tcp-http": (None, tcp_http),
    "half-record": (None, half_record),
    "good": (H1, wait),
    "expired": (context("expired-server", "server"), wait),
    "future": (context("future-server", "server"), wait),
    "other-ca": (context("other-server"), wait),
    "self-signed": (context("other-ca"), wait),
    "old-tls": (old(), wait),
    "strict-other-ca": (context(client_ca="other-ca", mode=ssl.CERT_REQUIRED), wait),
    "strict": (context(mode=ssl.CERT_REQUIRED), wait),
    "not-mutual": (context(client_ca=None), wait),
    "tls-close": (H1, tcp_close),
    "tls-reset": (H1, tcp_reset),
    "garbage-record": (H1, garbage_record),
    "h1-silent": (H1, wait),
    "h1-close": (H1, say(b"")),
    "h1-reset": (H1, say(b"", reset)),
    "h1-junk": (H1, say(b"what?\r\n\r\n" * 3, wait)),
    "h1-html": (H1, answer(b"200 OK", HTML)),
    "h1-empty": (H1, answer(b"200 OK", kind=OURS)),
    "h1-no-content": (H1, answer(b"204 No Content")),
    "h1-large": (H1, answer(b"200 OK", b"x" * 20000, kind=OURS)),
    "h1-cut": (H1, answer(b"200 OK", b"<half", length=1000, kind=OURS)),
    "h1-cut-reset": (H1, answer(b"200 OK", b"<half", length=1000, kind=OURS, rest=reset)),
    "h1-head-only": (H1, say(b"HTTP/1.1 200 OK\r\nContent-Type: ")),
    "h1-no-message": (H1, answer(b"200 OK", b"<hello/>", kind=OURS)),
    "h1-stalls": (H1, answer(b"200 OK", b"<half", length=1000, kind=OURS, rest=wait)),
    "h1-chunks": (H1, say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", wait)),
    "h1-long-head": (H1, say(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100000, wait)),
    "h2-silent": (H2, h2(lambda n: [])),
    "h2-close": (H2, h2(lambda n: [], False)),
    "h2-junk": (H2, say(b"HTTP/1.1 400 Bad Request\r\n\r\n", wait)),
    "h2-html": (H2, h2(status(8))),
    "h2-404": (H2, h2(status(13))),
    "h2-500": (H2, h2(status(14))),
    "h2-reset": (H2, h2(lambda n: [frame(3, 0, n, struct.pack("!I", 2))])),
    "h2-refused": (H2, h2(lambda n: [frame(3, 0, n, struct.pack("!I", 7))])),
    "h2-goaway": (H2, h2(lambda n: [frame(7, 0, 0, struct.pack("!II", 0, 0))], False)),
    "h2-goaway-late": (H2, h2(lambda n: [frame(7, 0, 0, struct.pack("!II", n, 2))], False)),
    "h2-cut": (H2, h2(lambda n: [frame(1, 4, n, bytes([0x88])), frame(0, 0, n, b"<half")], False)),
    "h2-large": (H2, h2(lambda n: [frame(1, 4, n, bytes([0x88])), frame(0, 0, n, b"x" * 10000),
                                   frame(0, 1, n, b"x" * 10000)])),
}
for code in (b"301 Moved", b"302 Found", b"307 Temporary Redirect", b"400 Bad Request",
             b"401 Unauthorized", b"403 Forbidden", b"404 Not Found", b"405 Method Not Allowed",
             b"407 Proxy Authentication Required", b"410 Gone", b"413 Payload Too Large",
             b"415 Unsupported Media Type", b"421 Misdirected Request", b"429 Too Many Requests",
             b"500 Internal Server Error", b"501 Not Implemented", b"502 Bad Gateway",
             b"503 Service Unavailable", b"504 Gateway Timeout"):
    BEHAVIOURS["h1-" + code[:3].decode()] = (H1, answer(code, HTML))


def serve(tls, behave, s):
    try:
        if tls:
            raw = s.dup()
            try:
                s = tls.wrap_socket(s, server_side=True)
            except OSError:
                # The alert is on its way: what has come meanwhile must not turn it into a reset.
                raw.shutdown(socket.SHUT_WR)
                wait(raw)
                return
            finally:
                raw.close()
        behave(s)
    except (OSError, ValueError):
        pass
    finally:
        s.close()


def accept(listener, tls, behave):
    while True:
        s, _ = listener.accept()
        threading.Thread(target=serve, args=(tls, behave, s), daemon=True).start()


def listening(backlog=64):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(backlog)
    return listener


for name, (tls, behave) in BEHAVIOURS.items():
    listener = listening()
    print(name, listener.getsockname()[1])
    threading.Thread(target=accept, args=(listener, tls, behave), daemon=True).start()

# Nobody takes from this queue, and it is full: the next one's SYN gets no answer.
full = listening(0)
crowd = [socket.socket() for _ in range(4)]
for s in crowd:
    s.setblocking(False)
    s.connect_ex(full.getsockname())
print("full", full.getsockname()[1])
closed = socket.socket()
closed.bind(("127.0.0.1", 0))  # bound, so that nobody else gets it, and not listening
print("closed", closed.getsockname()[1])
print("ready", flush=True)
sys.stdin.read()
