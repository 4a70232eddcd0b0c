#!/usr/bin/env python3
"""Types at pngwctl's shell as a technician does. Used by tests/test-pngwctl-shell.sh."""
import atexit
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time

import pexpect

RUN = os.environ["RUN"]
PASSWORD = os.environ["PASSWORD"]
PNGWCTL = os.environ["PNGWCTL"]
BUS = os.environ["PNGW_BUS"]
HISTORY = RUN + "/history"
PROMPT = "pngw> "
WAIT = 90
MORE = "-- more --"


class Shell:
    """A pngwctl on an 80x24 terminal; all that it writes is kept."""

    def __init__(self, term, arguments=(), **more):
        env = dict(os.environ, TERM=term, PNGW_HISTORY=HISTORY, LC_ALL="C", **more)
        self.said = open(f"{RUN}/{term}.out", "w+", encoding="utf-8")
        self.tty = pexpect.spawn(PNGWCTL, list(arguments), env=env, dimensions=(24, 80), encoding="utf-8",
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

    def answer(self, line):
        """What a command says in one go, as lines."""
        self.type(line + "\r")
        self.expect(PROMPT)
        assert MORE not in self.tty.before, line + " waits for a key"
        return self.tty.before.split("\n")[1:-1]

    def page(self, typed):
        """The lines that a key or a command brings, up to the question for the next."""
        self.type(typed)
        self.expect(MORE)
        lines = self.tty.before.split("\n")
        assert lines[-1] in ("", "\r", "\x1b[K"), "not at the beginning of a line: " + repr(lines[-1])
        lines[0] = re.sub("^\r(\x1b\\[K| *\r)", "", lines[0])
        return lines[:-1]

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


def pages():
    """200 rows on a terminal of 24 lines."""
    log = open(RUN + "/log", "a", encoding="utf-8")
    pnes = subprocess.Popen([os.environ["PNE"], "--entity", "many", "--count", "200", "--connect",
                             f"unix:{RUN}/pan-open", "--security", "none", "--state", RUN + "/many"],
                            stderr=log, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    atexit.register(pnes.kill)
    for _ in range(WAIT * 10):
        with open(RUN + "/log", encoding="utf-8") as said:
            if len(set(re.findall(r"PNE many-\d+ is connected", said.read()))) == 200:
                break
        time.sleep(0.1)
    for term, lines in (("dumb", 24), ("vt100", 10)):
        s = Shell(term, LINES="", COLUMNS="")
        whole = s.answer("elements --no-pager")
        assert len(whole) > 200, f"{len(whole)} rows"
        s.tty.setwinsize(lines, 80)
        shown = s.page("elements\r")[1:]
        assert len(shown) == lines - 1, f"{len(shown)} lines on a screen of {lines}"
        shown += s.page(" ")
        assert len(shown) == 2 * (lines - 1), f"{len(shown)} lines on two screens of {lines}"
        for _ in range(2):
            one = s.page("\r")
            assert len(one) == 1, one
            shown += one
        s.type("zz")
        s.expect("space: page, Enter: line, q: end")
        # While a key is waited for the bus is served, and the size of the terminal is followed.
        stranger()
        s.tty.setwinsize(50, 80)
        time.sleep(0.2)
        s.type(" ")
        while s.tty.expect_exact([MORE, PROMPT]) == 0:
            rows = s.tty.before.split("\n")
            assert len(rows) == 50, f"{len(rows)} lines on a screen of 50"
            shown += rows[:-1]
            s.type(" ")
        shown += s.tty.before.split("\n")[:-1]
        clean = [re.sub("\r(\x1b\\[K| *\r)|\r$", "", row) for row in shown]
        assert clean == [row.rstrip("\r") for row in whole], "something is lost on the way"
        s.tty.setwinsize(24, 80)
        for leave in ("q", "Q", "\x03", "\x04"):
            s.page("elements\r")
            s.type(leave)
            s.expect(PROMPT)
            assert "many" not in s.tty.before, f"it goes on after {leave!r}"
        # Not what is for a program, nor what goes on, nor where it is not wanted.
        s.answer("--json help")
        s.answer("--kv elements")
        s.type("log 100 --follow\r")
        s.expect("PNE many-")
        time.sleep(0.5)
        s.tty.sendintr()
        s.expect(PROMPT)
        assert MORE not in s.tty.before, "what is followed waits for a key"
        s.command("pager off", "the pager is off")
        assert len(s.answer("elements")) > 200
        s.command("pager on", "the pager is on")
        # What happens in the meantime is told afterwards.
        s.page("help\r")
        another("renew", "headset-2")
        s.type("q")
        s.expect("headset-2")
        s.expect("done")
        s.page("help\r")
        assert s.tty.waitnoecho(WAIT), "a key would be echoed"
        s.tty.kill(signal.SIGTERM)
        s.tty.expect(pexpect.EOF)
        assert s.tty.getecho(), "the echo stays off"
    s = Shell("dumb", ["--no-pager"])
    assert len(s.answer("elements")) > 200
    s.leave()
    out = pexpect.run(PNGWCTL + " elements", encoding="utf-8", dimensions=(24, 80))
    assert out.count("\n") > 200 and MORE not in out, "a single command waits for a key"
    pnes.terminate()
    pnes.wait()


def reports():
    """On 80 columns what is wrong comes first and in one piece; no identifier and no time is broken."""
    checks = json.loads(subprocess.run([PNGWCTL, "doctor", "--json"], text=True, check=False,
                                       capture_output=True).stdout)
    s = Shell("dumb", ["--no-pager"])
    for line in ("doctor", "doctor --all"):
        rows = [row.rstrip("\r") for row in s.answer(line)]
        blocks = [tuple(row.split()[:2]) for row in rows if re.match(r"(failed|warning) {2,3}\S", row)]
        wanted = [(state, c["id"]) for state in ("failed", "warning") for c in checks if c["state"] == state]
        assert wanted and blocks == wanted, f"{line}: {blocks} instead of {wanted}"
        listed = {row.split()[1] for row in rows if re.match("(ok|not-applicable) ", row)}
        others = {c["id"] for c in checks if c["state"] in ("ok", "not-applicable")}
        assert listed == (others if "--all" in line else set()), f"{line}: not listed: {others - listed}"
        assert rows[0].startswith(wanted[0][0]), rows[0]
        said = " ".join(" ".join(rows).split())
        good = sum(c["state"] == "ok" for c in checks)
        assert f"{len(wanted)} to be looked at; {good} others are all right" in said or any(
            state == "failed" for state, _ in wanted), said[-200:]
        for c in checks:
            assert c["state"] != "warning" or " ".join(c["remedy"].split()) in said, "no remedy of " + c["id"]
    rows = s.answer("ledger 20")
    assert rows[0].split()[-1] == "WHY", rows[0]
    for row in rows[1:]:
        assert re.match(r"\d+ +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  [a-z]+ ", row), "broken: " + row
    s.command("vault status", "ledger:         complete")
    s.leave()


def asked_once():
    """What cannot be taken back is asked for once more where somebody sits; "n" and Enter leave everything as it was."""
    another("figure8", "alice")
    s = Shell("dumb")
    for line, question in (("revoke --all", "revoke 1 device and the PN GW? [y/N] "),
                           ("revoke --user alice", "revoke 1 device of alice and the PN GW? [y/N] "),
                           ("revoke --user bob", "revoke 0 devices of bob? [y/N] "),
                           ("revoke headset-1 headset-2", "revoke 2 devices? [y/N] "),
                           ("revoke headset-2", "revoke headset-2? [y/N] "),
                           ("release headset-2", "forget whose headset-2 is, and its keys? [y/N] ")):
        for answer in ("n\r", "\r"):
            s.type(line + "\r")
            s.expect(question)
            s.type(answer)
            s.expect("nothing was done")
            s.expect(PROMPT)
    assert "headset" not in "".join(s.answer("revocations")), "revoked although the answer was no"
    s.type("release headset-2\r")
    s.expect("[y/N] ")
    s.type("y\r")
    s.expect("released")
    s.expect(PROMPT)
    said = "".join(s.answer("revoke --all --yes"))
    assert "own EUKey and its owner are erased" in said and "[y/N]" not in said, said
    s.leave()
    # A single command asks too, a script is not asked.
    code = pexpect.run(PNGWCTL + " revoke headset-2", events={"revoke headset-2[?] .y/N. ": "n\r"}, timeout=WAIT,
                       withexitstatus=True, encoding="utf-8")[1]
    assert code == 1, f"a no is exit code {code}"
    done = subprocess.run([PNGWCTL, "revoke", "headset-2"], input="n\n", text=True, check=False, capture_output=True)
    assert "[y/N]" not in done.stdout + done.stderr and "verdict: " in done.stdout, done


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
    pages()
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
    reports()
    asked_once()


try:
    main()
except (AssertionError, pexpect.ExceptionPexpect) as error:
    print(error)
    for name in os.listdir(RUN):
        if name.endswith(".out") and name.split(".")[0] in ("dumb", "vt100", "xterm"):
            print(name + ": " + repr(open(f"{RUN}/{name}", encoding="utf-8").read()[-3000:]))
    sys.exit(1)
