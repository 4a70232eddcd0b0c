#!/usr/bin/env python3
"""A technician at the console of a serial line, with a noisy cable. Used by tests/test-console.sh."""
import os
import re
import signal
import subprocess
import sys
import termios
import time

import pexpect

RUN = os.environ["RUN"]
PASSWORD = os.environ["PASSWORD"]
PIN = os.environ["PIN"]
COMMAND = ["--reuid", "65534", "--regid", "65534", "--clear-groups", os.environ["CONSOLE"],
           "--bus", os.environ["BUS"], "--console", "--idle"]
WELCOME = "press Enter to log in"
PROMPT = "pngw> "
BAUD = 9600
WAIT = 60
NOISE = bytes(b for b in range(0x80, 0x100)) + b"\x00\x13\x11\x16\x1a\x1c\x0f" * 8
sessions = []


class Line:
    """One session, on a line of 9600 baud; all that comes is kept."""

    def __init__(self, idle=120):
        self.said = b""
        self.tty = pexpect.spawn("setpriv", COMMAND + [str(idle)], dimensions=(24, 80), timeout=WAIT,
                                 env={"TERM": "vt100", "LC_ALL": "C", "PATH": os.environ["PATH"],
                                      "LSAN_OPTIONS": os.environ["LSAN_OPTIONS"],
                                      "ASAN_OPTIONS": os.environ["ASAN_OPTIONS"]},
                                 preexec_fn=slow, echo=True)
        self.tty.logfile_read = self
        sessions.append(self)
        self.expect(WELCOME)

    def write(self, data):
        self.said += data

    def flush(self):
        pass

    def expect(self, text):
        self.tty.expect_exact(text)

    def type(self, text):
        self.tty.send(text)

    def hidden(self, prompt, text):
        self.expect(prompt)
        assert self.tty.waitnoecho(WAIT), f"what is typed at {prompt!r} is echoed"
        self.type(text + "\r")

    def command(self, line, *texts):
        self.type(line + "\r")
        for text in texts:
            self.expect(text)
        self.expect(PROMPT)

    def enter(self, pin=PIN):
        self.type("\r")
        self.hidden("PIN or passphrase: ", pin)

    def login(self):
        self.enter()
        self.expect("logged in as technician")
        self.expect(PROMPT)

    def ends(self, text=None):
        if text:
            self.expect(text)
        self.tty.expect(pexpect.EOF)
        self.tty.close()


def slow():
    attributes = termios.tcgetattr(0)
    attributes[4] = attributes[5] = termios.B9600
    termios.tcsetattr(0, termios.TCSANOW, attributes)


def noise(line):
    """A cable that is moved: bytes of any kind; a line of them is no PIN that counts as wrong."""
    for _ in range(3):
        line.type(NOISE + b"\r")
        line.hidden("PIN or passphrase: ", "\xff\x05" + "\x15" + "x\x01yz")
        line.expect("that is no PIN")
        line.expect(WELCOME)
    line.type(NOISE + b"\r")
    line.expect("PIN or passphrase: ")
    line.type(b"\xff\xfe\xf8\xe3\xe3\r")
    line.expect("that is no PIN")
    line.expect(WELCOME)


def wrong(line):
    line.enter("4712")
    line.expect("that is not the PIN of a role")
    line.expect(WELCOME)


def rights(line):
    line.command("whoami", "technician", "look, pair, assign")
    line.command("vault backup /tmp/never", "the right to administer is missing")
    # A XOFF does not stop the line for ever, and what nobody types is not in the line.
    line.type(b"\x13sta\x00\x1a\x16\xfftus\r")
    line.expect("gw-livingroom")
    line.expect(PROMPT)


def pages(line):
    """A long answer stops; a XOFF and noise do not stop it for good, nor go on with it."""
    line.type("help\r")
    line.expect("-- more --")
    line.type(b"\x13\xff\x00\x1a\x1c~~")
    line.expect("space: page, Enter: line, q: end")
    line.type(b"\x13 ")
    line.expect("-- more --")
    line.type("q")
    line.expect(PROMPT)


def guide(line):
    line.type("guide\r")
    line.expect("User ID: ")
    line.type("al:ice\r")
    line.expect("that is not a User ID")
    line.type("bob\r")
    line.expect("bob has no device here yet. Register bob first? [y/N] ")
    line.type("n\r")
    line.expect("1  headset-1, connected")
    line.expect("2  headset-2, connected")
    line.expect("q: leave: ")
    line.type("77\r")
    line.expect("neither one of the numbers")
    line.expect("q: leave: ")
    line.type("1\r")
    # What is not accepted is asked for again, User ID and password; the headset stays chosen.
    line.hidden("Password of bob: ", PASSWORD)
    line.expect("[USER_TAKEN]")
    line.expect("User ID (Enter: bob again; Ctrl-C: leave): ")
    line.type("al:ice\r")
    line.expect("that is not a User ID")
    line.expect("leave): ")
    line.type("alice\r")
    line.expect("alice has no device here yet. Register alice first? [y/N] ")
    line.type("y\r")
    line.hidden("Password of alice: ", "not this one")
    line.expect("[USER_TAKEN]")
    line.expect("User ID (Enter: alice again; Ctrl-C: leave): ")
    line.type("\r")
    line.expect("Register alice first? [y/N] ")
    line.type("n\r")
    line.hidden("Password of alice: ", "not this one")
    line.expect("[USER_TAKEN]")
    line.expect("User ID (Enter: alice again; Ctrl-C: leave): ")
    line.type("\r")
    line.hidden("Password of alice: ", PASSWORD)
    line.expect("Fig. 6 step")
    line.expect("headset-1 is alice's and has its EUKey")
    line.expect("Another headset? [y/N] ")
    line.type("y\r")
    line.expect("headset-1, connected, PAN security authenticated, alice's")
    line.expect("q: leave: ")
    line.type("headset-2\r")
    line.hidden("Password of alice: ", PASSWORD)
    line.expect("headset-2 is alice's and has its EUKey")
    line.expect("Another headset? [y/N] ")
    line.type("\r")
    line.expect(PROMPT)
    line.type("guide alice\r")
    line.expect("q: leave: ")
    line.type("headset-9\r")
    line.expect("there is no Bluetooth to reach it by")
    line.expect("Another headset? [y/N] ")
    line.type("n\r")
    line.expect(PROMPT)


def crowd(line):
    """Fifty PNEs go at once: what comes by itself keeps to the line's pace, and the rest is counted."""
    before = len(line.said)
    began = time.monotonic()
    with open(RUN + "/log", "a", encoding="utf-8") as log, \
            subprocess.Popen([os.environ["PNE"], "--entity", "many", "--count", "50", "--connect",
                              f"unix:{RUN}/pan-open", "--security", "none", "--state", RUN + "/many"],
                             stderr=log, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as pnes:
        listen(line, r"info: PNE many-\d+ is connected", 50)
        pnes.send_signal(signal.SIGKILL)
        listen(line, r"info: PNE many-\d+ is gone", 50)
    size = len(line.said) - before
    most = BAUD / 10 * (time.monotonic() - began + 2) + 200
    assert size <= most, f"{size} bytes in {time.monotonic() - began:.1f} s"
    assert line.said[before:].count(b"has gone") < 50, "nothing was left out"
    line.type("\r")
    line.expect("lines were left out: the line is slow")
    line.expect(PROMPT)


def listen(line, pattern, count):
    """Reads the line until the log has so many lines like that."""
    for _ in range(WAIT * 10):
        try:
            line.tty.expect_exact("\x00never", timeout=0.1)
        except pexpect.TIMEOUT:
            pass
        with open(RUN + "/log", encoding="utf-8") as log:
            if len(set(re.findall(pattern, log.read()))) >= count:
                return
    raise AssertionError(f"not {count} lines like {pattern}")


def gone(line):
    """The process is not there any more."""
    for _ in range(WAIT * 10):
        if not line.tty.isalive():
            return True
        time.sleep(0.1)
    return False


def unplugged():
    """The line hangs up while a password is asked for: the session is over, what it began cancelled."""
    line = Line()
    line.login()
    line.type("figure8 alice\r")
    line.expect("Password of alice: ")
    os.close(line.tty.fileno())
    line.tty.closed = True
    line.tty.child_fd = -1
    assert gone(line), "a session goes on without its line"
    line = Line()
    line.login()
    line.type("log --follow\r")
    line.expect("PNE many-")
    line.tty.kill(signal.SIGHUP)
    line.ends()
    line = Line()
    line.login()
    line.command("status", "procedures under way:", "0")
    line.type("logout\r")
    line.ends("logged out")


def abandoned():
    line = Line(idle=5)
    line.login()
    line.ends("nothing was typed for 5 s")
    line = Line(idle=5)
    line.login()
    line.type("help\r")
    line.expect("-- more --")
    line.ends("nothing was typed for 5 s")
    line = Line(idle=5)
    line.login()
    line.type("status --follow\r")
    line.ends("nothing was typed for 5 s")


def garbage():
    line = Line()
    line.login()
    for _ in range(8):
        line.type("~~~~\r")
    line.ends("too much that is no command")


def lockout():
    for tries in (3, 2):
        line = Line()
        for left in range(tries - 1, -1, -1):
            line.enter("wrong again")
            line.expect("that is not the PIN of a role" if tries == 3 or left > 0 else
                        "the login is closed for")
            if left > 0:
                line.expect(WELCOME)
        if tries == 3:
            line.ends()
    line.expect(WELCOME)
    line.enter()
    line.expect("the login is closed for")
    # Neither a restart nor the plug opens it.
    with open(RUN + "/lockout", "w", encoding="utf-8"):
        pass
    for _ in range(WAIT * 10):
        if not os.path.exists(RUN + "/lockout"):
            break
        time.sleep(0.1)
    line = Line()
    line.enter()
    line.expect("the login is closed for")


def check():
    for line in sessions:
        for secret in (PIN, PASSWORD, "4712", "wrong again", "not this one"):
            assert secret.encode() not in line.said, secret + " was written"
        assert not re.search(rb"\x1b\[[0-9;]*m", line.said), "colours on a vt100: %s" % line.said
        for row in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", line.said).split(b"\n"):
            assert max(len(part) for part in row.split(b"\r")) <= 80, f"too long: {row!r}"


def main():
    line = Line()
    noise(line)
    wrong(line)
    line.login()
    rights(line)
    pages(line)
    guide(line)
    crowd(line)
    line.type("\x04")
    line.ends("logged out")
    unplugged()
    abandoned()
    garbage()
    lockout()
    check()


try:
    main()
except (AssertionError, pexpect.ExceptionPexpect) as error:
    print(str(error)[:2000])
    print("the last session: " + repr(sessions[-1].said[-2500:]))
    sys.exit(1)
