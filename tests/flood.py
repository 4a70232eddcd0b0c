#!/usr/bin/env python3
"""A stranger that floods cpns-serverd over TLS, without a certificate, and does not read the answers.

flood.py HOST PORT CA KIND CONNECTIONS BYTES SECONDS

Each connection sends up to BYTES; then it waits until the server closes it, SECONDS at most in all. Prints what was
taken. Exit 1: a connection that nothing closed.
KIND: get        HTTP/1.1 requests for what is not there, in a pipeline
      post       the same, of the right path and type
      end        get, something that is no HTTP, reading until that has been sent; then bytes that are no TLS
      key-update TLS 1.3 KeyUpdate, each of which asks for one in return
      ping, settings, streams, reset   HTTP/2: PING, SETTINGS, requests, requests that are taken back
      bodies     HTTP/2: as many requests as are allowed, all but the last byte of each
"""
import ctypes
import select
import socket
import ssl
import struct
import sys
import time

GET = b"GET / HTTP/1.1\r\n\r\n" * 800
POST = b"POST /cpns HTTP/1.1\r\nContent-Type: application/cpns+xml\r\nContent-Length: 1\r\n\r\nx" * 100
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def http2(kind):
    """Pieces of an HTTP/2 connection, without end."""
    yield PREFACE + frame(4, 0, 0)
    if kind == "ping":
        while True:
            yield frame(6, 0, 0, b"01234567") * 500
    if kind == "settings":
        while True:
            yield frame(4, 0, 0) * 500
    stream = 1
    get = b"\x82\x84\x87" + literal(b":authority", b"x")
    while kind in ("streams", "reset"):
        piece = b""
        for _ in range(200):
            piece += frame(1, 5, stream, get) + (frame(3, 0, stream, b"\0\0\0\x08") if kind == "reset" else b"")
            stream += 2
        yield piece
    post = b"\x83\x87" + literal(b":path", b"/cpns") + literal(b":authority", b"x")
    post += literal(b"content-type", b"application/cpns+xml")
    for _ in range(128):
        yield frame(1, 4, stream, post) + frame(0, 0, stream, b"x" * 16384)
        stream += 2


def http1(kind):
    while True:
        yield POST if kind == "post" else GET


class Openssl:
    """Python's own module does not send KeyUpdate."""

    def __init__(self, sock):
        self.lib = ctypes.CDLL("libssl.so.3")
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        context = ctypes.c_void_p(self.lib.SSL_CTX_new(ctypes.c_void_p(self.lib.TLS_client_method())))
        self.ssl = ctypes.c_void_p(self.lib.SSL_new(context))
        self.lib.SSL_set_fd(self.ssl, sock.fileno())
        sock.setblocking(True)
        if self.lib.SSL_connect(self.ssl) != 1:
            raise OSError("no TLS")
        sock.setblocking(False)

    def update(self):
        """False: the socket takes no more."""
        self.lib.SSL_key_update(self.ssl, 1)
        return self.lib.SSL_do_handshake(self.ssl) == 1


class Flood:
    def __init__(self, host, port, ca, kind):
        self.kind = kind
        self.sent = 0
        self.queue = b""
        self.closed = False
        self.raw = False
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect((host, port))
        self.sock.settimeout(10)
        if kind == "key-update":
            self.tls = Openssl(self.sock)
            return
        self.pieces = http1(kind) if kind in ("get", "post", "end") else http2(kind)
        context = ssl.create_default_context(cafile=ca)
        context.check_hostname = False
        if kind not in ("get", "post", "end"):
            context.set_alpn_protocols(["h2"])
        self.inward, self.outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inward, self.outward)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outward.read())
                self.inward.write(self.sock.recv(65536))
        self.queue = self.outward.read()
        self.sock.setblocking(False)

    def sealed(self, piece):
        self.tls.write(piece)
        return self.outward.read()

    def step(self, limit):
        """Sends what there is room for. False: it is done, or the socket is full."""
        if self.kind == "key-update":
            if self.sent >= limit or not self.tls.update():
                return False
            self.sent += 27
            return True
        if not self.queue:
            piece = next(self.pieces, b"") if self.sent < limit else b""
            if not piece:
                return False
            self.queue = piece if self.raw else self.sealed(piece)
        try:
            n = self.sock.send(self.queue)
        except BlockingIOError:
            return False
        except OSError:
            self.closed = True
            return False
        self.queue = self.queue[n:]
        self.sent += n
        return True

    def read(self):
        try:
            self.sock.recv(65536)
        except OSError:
            time.sleep(0.01)

    def end(self):
        """What is no HTTP, which is read by the server only once it has got rid of its answers; then junk."""
        self.queue += self.sealed(b"\0\0 this is no HTTP\r\n\r\n")
        until = time.monotonic() + 10
        while self.queue and time.monotonic() < until:
            self.step(0)
            self.read()
        self.raw = True
        self.pieces = iter(lambda: b"x" * 65536, b"")
        self.sent = 0


def main():
    host, port, ca, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    count, limit, seconds = int(sys.argv[5]), int(sys.argv[6]), float(sys.argv[7])
    start = time.monotonic()
    floods = [Flood(host, port, ca, kind) for _ in range(count)]
    ended = kind != "end"
    quiet = start
    while not all(f.closed for f in floods) and time.monotonic() - start < seconds:
        moved = False
        for f in floods:
            if not f.closed and f.step(limit):
                moved = True
        if moved:
            quiet = time.monotonic()
            continue
        if not ended and time.monotonic() - quiet > 1:
            ended = True
            for f in floods:
                f.end()
        poll = select.poll()
        for f in floods:
            if not f.closed:
                poll.register(f.sock, select.POLLRDHUP)
        gone = {fd for fd, _ in poll.poll(50)}
        for f in floods:
            f.closed = f.closed or f.sock.fileno() in gone
    still = sum(not f.closed for f in floods)
    print(f"{kind}: {sum(f.sent for f in floods)} bytes sent on {count} connections, "
          f"{still} of them still open after {time.monotonic() - start:.1f} s")
    sys.exit(1 if still else 0)


main()
