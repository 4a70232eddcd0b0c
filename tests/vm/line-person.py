#!/usr/bin/env python3
"""A technician at the other end of a machine's serial line. Used by scenarios/30-serial.sh.

    line-person.py FOLDER-OF-THE-MACHINE ADDRESS-OF-THE-HEADSET [FILE]      PIN and PASSWORD in the environment
FILE gets what was on the screen while a headset was paired and given its EUKey.
"""
import json
import os
import re
import socket
import sys
import time

FOLDER, ADDRESS = sys.argv[1:3]
RECORD = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
PIN = os.environ["PIN"]
PASSWORD = os.environ["PASSWORD"]
BYTES_A_TICK = 96  # of 0.1 s: 9600 baud
WAIT = 60
WELCOME = "press Enter to log in"
PROMPT = "pngw> "


def connect(name):
    # The path of a socket may be longer than an address can be.
    os.chdir(FOLDER)
    s = socket.socket(socket.AF_UNIX)
    s.connect(name)
    return s


class Line:
    def __init__(self):
        self.said = b""
        self.seen = 0
        self.socket = connect("line")

    def plug(self):
        self.socket.close()
        time.sleep(1)
        self.socket = connect("line")

    def tick(self):
        self.socket.settimeout(0.1)
        began = time.monotonic()
        try:
            self.said += self.socket.recv(BYTES_A_TICK)
        except TimeoutError:
            return
        time.sleep(max(0.1 - (time.monotonic() - began), 0))

    def expect(self, *texts, wait=WAIT):
        """Which of the texts comes first."""
        end = time.monotonic() + wait
        while True:
            new = self.said[self.seen:]
            found = [(new.index(t.encode()), t) for t in texts if t.encode() in new]
            if found:
                at, text = min(found)
                self.seen += at + len(text)
                return text
            if time.monotonic() > end:
                raise AssertionError(f"no {texts!r} in {new[-600:]!r}")
            self.tick()

    def type(self, data):
        # As fast as a person who pastes; a UART has a buffer of 16 bytes.
        for byte in data if isinstance(data, bytes) else data.encode():
            self.socket.sendall(bytes([byte]))
            time.sleep(0.01)

    def command(self, line, text):
        self.type(line + "\r")
        self.expect(text)
        self.expect(PROMPT)

    def login(self):
        for _ in range(4):
            self.type("\r")
            try:
                self.expect("PIN or passphrase: ", wait=10)
                break
            except AssertionError:
                continue
        time.sleep(0.5)
        self.type(PIN + "\r")
        self.expect("logged in as technician")
        self.expect(PROMPT)


def send_break():
    s = connect("qmp")
    f = s.makefile("rw")
    f.readline()
    for command in ({"execute": "qmp_capabilities"},
                    {"execute": "chardev-send-break", "arguments": {"id": "line"}}):
        f.write(json.dumps(command) + "\n")
        f.flush()
        answer = json.loads(f.readline())
        assert "return" in answer, answer
    s.close()


def headset(line):
    """Pairs it and gives it its EUKey, one question after the other."""
    line.type("guide alice\r")
    if line.expect("Register alice first? [y/N] ", "q: leave: ") != "q: leave: ":
        line.type("n\r")
        line.expect("q: leave: ")
    for _ in range(3):
        offered = re.findall(rb"^ *(\d+)  " + ADDRESS.encode(), line.said, re.M)
        if offered:
            break
        line.type("\r")
        line.expect("q: leave: ")
    assert offered, "the search does not find it"
    line.type(offered[-1].decode() + "\r")
    line.expect("[yes/no] ")
    line.type("yes\r")
    line.expect("Password of alice: ")
    time.sleep(0.5)
    line.type(PASSWORD + "\r")
    line.expect("is alice's and has its EUKey")
    print("a headset is paired by comparing numbers, and has its EUKey", flush=True)
    line.expect("[y/N] ")
    line.type("n\r")
    line.expect(PROMPT)


def main():
    line = Line()
    line.type(b"\x00\xff\x13\x80\x13" * 20)
    send_break()
    line.login()
    print("logged in, after noise and a break", flush=True)
    line.type("sta")
    send_break()
    line.type(b"\x13\x00tus\r")
    line.expect("gw-livingroom")
    line.expect(PROMPT)
    print("a break in the middle of a line, and XOFF, are not seen", flush=True)
    line.type("sta")
    line.plug()
    line.command("tus", "gw-livingroom")
    print("unplugged and plugged again: the session goes on", flush=True)
    began = time.monotonic()
    size = len(line.said)
    line.type("help\r")
    pages = 1
    while line.expect("-- more --", PROMPT) == "-- more --":
        pages += 1
        line.type(" ")
    assert b"leave the shell" in line.said[size:], "the end of the help is missing"
    assert pages > 1, "help does not stop when the screen is full"
    print(f"help: {len(line.said) - size} bytes in {time.monotonic() - began:.1f} s", flush=True)
    line.type("logout\r")
    line.expect("logged out")
    line.expect(WELCOME)
    began = line.said.rindex(b"\n", 0, line.seen) + 1
    line.login()
    print("the next session", flush=True)
    headset(line)
    line.command("elements", "headset-1")
    line.type("logout\r")
    line.expect("logged out")
    if RECORD:
        screen = re.sub(rb"\r\x1b\[K|\x1b\[[0-9;?]*[A-Za-z]|\x00", b"", line.said[began:line.seen]).replace(b"\r", b"")
        with open(RECORD, "wb") as file:
            file.write(screen + b"\n")
    for secret in (PIN, PASSWORD):
        assert secret.encode() not in line.said, "a secret was written"
    assert not re.search(rb"\x1b\[[0-9;]*m", line.said), "colours on a vt100"


try:
    main()
except (AssertionError, OSError) as error:
    print(error)
    sys.exit(1)
