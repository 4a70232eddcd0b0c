#!/usr/bin/env python3
"""Types at pngwctl's shell as a technician does. Used by tests/test-pngwctl-shell.sh."""
import os
import re
import signal
import stat
import subprocess
import sys

import pexpect

RUN = os.environ["RUN"]
PASSWORD = os.environ["PASSWORD"]
PNGWCTL = os.environ["PNGWCTL"]
BUS = os.environ["PNGW_BUS"]
HISTORY = RUN + "/history"
PROMPT = "pngw> "
WAIT = 40


class Shell:
    """A pngwctl on an 80x24 terminal; all that it writes is kept."""

    def __init__(self, term, **more):
        env = dict(os.environ, TERM=term, PNGW_HISTORY=HISTORY, LC_ALL="C", **more)
        self.said = open(f"{RUN}/{term}.out", "w+", encoding="utf-8")
        self.tty = pexpect.spawn(PNGWCTL, env=env, dimensions=(24, 80), encoding="utf-8",
                                 timeout=WAIT, echo=True)
        self.tty.logfile_read = self.said
        self.expect(PROMPT)

    def expect(self, text):
        self.tty.expect_exact(text)

    def type(self, text):
        self.tty.send(text)

    def command(self, line, *texts):
        self.type(line + "\r")
        for text in texts:
            self.expect(text)
        self.expect(PROMPT)

    def password(self, line, password):
        """A command that asks; the echo is off while it does."""
        self.type(line + "\r")
        self.expect("Password of alice: ")
        assert self.tty.waitnoecho(WAIT), "the password is echoed"
        self.type(password + "\r")

    def leave(self):
        self.tty.sendeof()
        self.tty.expect(pexpect.EOF)
        self.tty.close()
        return self.tty.exitstatus

    def transcript(self):
        self.said.flush()
        self.said.seek(0)
        return self.said.read()


def another(*words):
    """Another pngwctl at the same time."""
    subprocess.run([PNGWCTL, *words], input=PASSWORD + "\n", text=True, check=True,
                   stdout=subprocess.DEVNULL)


def stranger():
    """Somebody who is not pngwd asks the agents on the bus for a password."""
    names = subprocess.run(["dbus-send", "--bus=" + BUS, "--print-reply", "--dest=org.freedesktop.DBus", "/",
                            "org.freedesktop.DBus.ListNames"], text=True, check=True,
                           capture_output=True).stdout
    refusals = 0
    for name in re.findall(r'"(:[0-9.]+)"', names):
        asked = subprocess.run(["dbus-send", "--bus=" + BUS, "--print-reply", "--reply-timeout=5000",
                                "--dest=" + name, "/org/pngw/agent",
                                "org.pngw.Agent1.RequestPassword", "string:alice", "string:figure7"],
                               text=True, capture_output=True, check=False)
        assert asked.returncode != 0, name + " gave a password to a stranger"
        refusals += "only the PN GW is answered" in asked.stderr
    assert refusals == 1, f"{refusals} agents refused a stranger"


def complete_and_assign(s):
    s.type("figure7 ali\t")
    s.expect("alice ")
    s.type("head\t")
    s.expect("headset-")
    s.type("\t")
    s.expect("headset-1  headset-2\r\n")
    s.type("2 \r")
    s.expect("Password of alice: ")
    assert s.tty.waitnoecho(WAIT), "the password is echoed"
    stranger()
    s.type(PASSWORD + "\r")
    s.expect("Fig. 7 step 1: ")
    s.expect("verdict: Figure 7 step 7, headset-2 of alice: done")
    s.expect(PROMPT)


def give_up(s):
    s.type("figure8 alice\r")
    s.expect("Password of alice: ")
    assert s.tty.waitnoecho(WAIT), "the password is echoed"
    s.type("half a pass")
    s.tty.sendintr()
    s.expect("cancel")
    s.expect(PROMPT)
    # A line that is not wanted. Ctrl-C takes away what was just typed, at every moment of its reading.
    for _ in range(20):
        s.type("revoke --al")
        s.tty.sendintr()
        s.expect(PROMPT)


def wrong_place(s):
    s.command(PASSWORD, "there is no command \"correct\"")
    s.command("answer 00:11:22:33:44:55 4711", "argument 2 (REPLY) is not yes or no")
    s.command("answer 'x", "a quote is not closed")


def news(s):
    s.type("elem")
    s.expect("elem")
    another("figure7", "alice", "headset-2")
    s.expect("verdict: Figure 7 step 7, headset-2 of alice: done")
    s.expect("elem")
    s.type("ents\r")
    s.expect("headset-2")
    s.expect(PROMPT)
    os.kill(int(os.environ["HEADSET_1"]), signal.SIGTERM)
    s.expect("headset-1 has gone")


def pngwd_again(s):
    os.kill(int(os.environ["GATEWAY"]), signal.SIGKILL)
    s.expect("the PN GW has left the bus")
    s.command("status", "the PN GW is not on this bus")
    log = open(RUN + "/log", "a", encoding="utf-8")
    gateway = subprocess.Popen([os.environ["PNGWD"], "--config", RUN + "/pngw.conf"], stderr=log,
                               stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    with open(RUN + "/gateway.pid", "w", encoding="utf-8") as out:
        out.write(str(gateway.pid))
    s.expect("the PN GW is on the bus again")
    s.expect("headset-2 is connected")
    # It is asked again: the new pngwd knows the agent.
    s.password("figure7 alice headset-2", PASSWORD)
    s.expect("done")
    s.expect(PROMPT)


def leave_early():
    """Ctrl-D while a command still runs: the shell ends after it."""
    headset = int(os.environ["HEADSET_2"])
    s = Shell("dumb")
    os.kill(headset, signal.SIGSTOP)
    s.type("renew headset-2\r")
    s.expect("step 6")
    s.tty.sendeof()
    os.kill(headset, signal.SIGCONT)
    s.expect("done")
    s.tty.expect(pexpect.EOF)


def terminated():
    """The end of the program in the middle of a password gives the echo back."""
    s = Shell("dumb")
    s.type("figure8 alice\r")
    s.expect("Password of alice: ")
    assert s.tty.waitnoecho(WAIT)
    s.tty.kill(signal.SIGTERM)
    s.tty.expect(pexpect.EOF)
    assert s.tty.getecho(), "the echo stays off"


def history():
    mode = stat.S_IMODE(os.stat(HISTORY).st_mode)
    assert mode == 0o600, oct(mode)
    with open(HISTORY, encoding="utf-8") as lines:
        kept = lines.read()
    assert "figure7 alice headset-2" in kept, kept
    for secret in ("correct", "horse", "4711", "half a pass"):
        assert secret not in kept, secret + " is in the history"


def check(s, colour):
    said = s.transcript()
    for secret in ("half a pass", PASSWORD + "\r\nFig", ": " + PASSWORD):
        assert secret not in said, secret + " was written"
    assert colour == bool(re.search(r"\x1b\[3[0-9]m", said)), "colour: " + str(not colour)
    return said


def main():
    dumb = Shell("dumb")
    dumb.type("stat\t")
    dumb.expect("status ")
    dumb.command("", "gw-livingroom")
    complete_and_assign(dumb)
    give_up(dumb)
    wrong_place(dumb)
    news(dumb)
    pngwd_again(dumb)
    assert dumb.leave() == 0
    said = check(dumb, False)
    assert "\x1b" not in said, "an escape sequence on a dumb terminal"
    for line in said.split("\n"):
        # The line that is typed is drawn over itself.
        assert max(len(part) for part in line.split("\r")) <= 80, "too long: " + repr(line)
    leave_early()
    terminated()
    history()
    # History from before, colours where there are some.
    for term, more, colour in (("vt100", {}, False), ("xterm", {}, True),
                               ("xterm", {"NO_COLOR": "1"}, False)):
        s = Shell(term, **more)
        s.command("renew headset-2", "done")
        s.type("\x10\r")
        s.expect("done")
        s.expect(PROMPT)
        s.leave()
        check(s, colour)


try:
    main()
except (AssertionError, pexpect.ExceptionPexpect) as error:
    print(error)
    for name in os.listdir(RUN):
        if name.endswith(".out") and name.split(".")[0] in ("dumb", "vt100", "xterm"):
            print(name + ": " + repr(open(f"{RUN}/{name}", encoding="utf-8").read()[-3000:]))
    sys.exit(1)
