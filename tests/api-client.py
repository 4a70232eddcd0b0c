#!/usr/bin/python3
"""Clients of pngwd's control API, one check after the other: tests/test-api.sh."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

import dbus
import dbus.bus
import dbus.lowlevel
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

RUN = os.environ["PNGW_TEST_RUN"]
ADDRESS = "unix:path=" + RUN + "/bus"
CANARY = os.environ["PNGW_TEST_CANARY"]
dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bad = 0


def complain(text):
    global bad
    bad += 1
    print(text, flush=True)


def check(what, right):
    if not right:
        complain("not so: " + what)


def turn_until(condition, seconds=120):
    """Runs the main loop until the condition holds; whether it does."""
    end = time.monotonic() + seconds
    context = GLib.MainContext.default()
    while not condition():
        if time.monotonic() > end:
            return False
        if not context.iteration(False):
            time.sleep(0.002)
    return True


def start_bus():
    """dbus-daemon, once it listens."""
    if os.path.exists(RUN + "/bus"):
        os.unlink(RUN + "/bus")
    daemon = subprocess.Popen(["dbus-daemon", "--config-file", RUN + "/bus.conf", "--nofork", "--nopidfile",
                               "--print-address"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    daemon.stdout.readline()
    return daemon


def pipe_with(data, close=True):
    end, other = os.pipe()
    os.write(other, data)
    if close:
        os.close(other)
    fd = dbus.types.UnixFd(end)
    os.close(end)
    return fd


class Agent(dbus.service.Object):
    """Answers as its behaviour says."""

    def __init__(self, connection, path="/agent"):
        super().__init__(connection, path)
        self.behaviour = "password"
        self.asked = []
        self.cancelled = []
        self.kept = []

    @dbus.service.method("org.pngw.Agent1", in_signature="ss", out_signature="h",
                         async_callbacks=("reply", "refuse"))
    def RequestPassword(self, user, purpose, reply, refuse):
        self.asked.append((str(user), str(purpose)))
        if self.behaviour == "password":
            reply(pipe_with(CANARY.encode() + b"\n"))
        elif self.behaviour == "wrong":
            reply(pipe_with(b"another password"))
        elif self.behaviour == "empty":
            reply(pipe_with(b""))
        elif self.behaviour == "long":
            reply(pipe_with(b"x" * 4000))
        elif self.behaviour == "file":
            with open("/etc/hostname", "rb") as file:
                reply(dbus.types.UnixFd(file))
        elif self.behaviour == "refuse":
            refuse(dbus.exceptions.DBusException("no", name="org.example.No"))
        elif self.behaviour == "open":
            end, other = os.pipe()
            self.kept.append(other)
            reply(dbus.types.UnixFd(end))
            os.close(end)
        elif self.behaviour == "silent":
            pass

    @dbus.service.method("org.pngw.Agent1", in_signature="s", out_signature="")
    def Cancel(self, why):
        self.cancelled.append(str(why))


class Client:
    """A connection with its own agent, and what its procedures signalled."""

    def __init__(self, agent=True):
        self.bus = dbus.bus.BusConnection(ADDRESS)
        self.bus.set_exit_on_disconnect(False)
        self.signals = []
        self.changes = []
        self.given = []
        self.bus.add_signal_receiver(self.heard, dbus_interface="org.pngw.Procedure1", path_keyword="path",
                                     member_keyword="member")
        self.bus.add_signal_receiver(lambda what: self.changes.append(str(what)), signal_name="Changed",
                                     dbus_interface="org.pngw.Gateway1")
        self.bus.add_signal_receiver(self.given.append, signal_name="VerdictGiven",
                                     dbus_interface="org.pngw.Gateway1")
        self.agent = None
        if agent:
            self.agent = Agent(self.bus)
            self.call("AgentManager1", "RegisterAgent", dbus.ObjectPath("/agent"), {})

    def heard(self, argument, path=None, member=None):
        self.signals.append((str(path), str(member), argument))

    def call(self, interface, member, *arguments, path="/org/pngw"):
        """The reply; an error is raised. The main loop goes on meanwhile."""
        done = []
        proxy = self.bus.get_object("org.pngw", path, introspect=False)
        signature = SIGNATURES.get((interface, member))
        proxy.get_dbus_method(member, "org.pngw." + interface)(
            *arguments, signature=signature, timeout=60,
            reply_handler=lambda *values: done.append((values, None)),
            error_handler=lambda error: done.append((None, error)))
        if not turn_until(lambda: done, 60):
            raise RuntimeError(member + " was not answered")
        if done[0][1]:
            raise done[0][1]
        return done[0][0][0] if done[0][0] else None

    def error(self, *arguments, **named):
        """The name of the error that a call ends with, without its prefix; "" for none."""
        try:
            self.call(*arguments, **named)
        except dbus.DBusException as error:
            self.message = error.get_dbus_message()
            return error.get_dbus_name().replace("org.pngw.Error.", "")
        return ""

    def of(self, path, member):
        return [s[2] for s in self.signals if s[0] == path and s[1] == member]

    def ended(self, path):
        if not turn_until(lambda: self.of(path, "Ended")):
            complain("%s did not end: %s" % (path, self.signals))
            return "never"
        return str(self.of(path, "Ended")[0])

    def run(self, interface, member, *arguments, path="/org/pngw"):
        """Starts a procedure and waits for its end: path, result, the verdicts' ids."""
        at = str(self.call(interface, member, *arguments, path=path))
        result = self.ended(at)
        return at, result, [str(v["Id"]) for v in self.of(at, "Verdict")]

    def property(self, path, interface, name):
        proxy = self.bus.get_object("org.pngw", path, introspect=False)
        return proxy.Get("org.pngw." + interface, name, dbus_interface="org.freedesktop.DBus.Properties")


SIGNATURES = {}


def documented(file):
    """Interface -> {(kind, name): (in, out)} from the tables of the document."""
    found = {}
    names = []
    for line in open(file, encoding="utf-8"):
        heading = re.match(r"## (.*)", line)
        if heading:
            names = [n for n in re.findall(r"[A-Z][A-Za-z]+1\b", heading.group(1)) if n != "Agent1"]
            table = None
            client_side = False
        if re.match(r"\| (method|signal|property) \|", line):
            table = line.split("|")[1].strip()
        if "implements `org.pngw.Agent1`" in line:
            client_side = True
        row = re.match(r"\| `([^`]+)` \|([^|]*)", line)
        if row and names and not client_side:
            if table == "property":
                found.setdefault(names[0], {})[("property", row.group(1))] = (row.group(2).strip(), "")
            else:
                add_call(found, names[0], table, row.group(1))
        if names == ["Pne1", "User1"]:
            for part in re.findall(r"`(?:Pne1|User1)`:|`[A-Z]\w+` [a-z]+\b", line):
                if part.endswith(":"):
                    owner = part.strip("`:")
                else:
                    name, kind = part.split()
                    found.setdefault(owner, {})[("property", name.strip("`"))] = (kind, "")
        if line.startswith("Signals:"):
            for text in re.findall(r"`([A-Z]\w+\([^`]*)`", line):
                add_call(found, names[0], "signal", text)
        if "AgentManager1" in names and not line.startswith("|"):
            for owner, text in re.findall(r"`((?:AgentManager1|Session1)\.)?([A-Z][A-Za-z]+\([^`]*)`", line):
                interface = owner.strip(".") or last
                last = interface
                add_call(found, interface, "method", text)
    return found


def types_of(text):
    return "".join(part.split()[0] for part in text.split(",") if part.strip())


def add_call(found, interface, kind, text):
    m = re.match(r"(\w+)\(([^)]*)\)(?: → (\S+))?", text)
    found.setdefault(interface, {})[(kind, m.group(1))] = (types_of(m.group(2)), m.group(3) or "")


def introspected(client, path):
    proxy = client.bus.get_object("org.pngw", path, introspect=False)
    tree = ElementTree.fromstring(proxy.Introspect(dbus_interface="org.freedesktop.DBus.Introspectable"))
    found = {}
    for interface in tree.findall("interface"):
        name = interface.get("name")
        if not name.startswith("org.pngw."):
            continue
        members = found.setdefault(name[len("org.pngw."):], {})
        for member in interface:
            if member.tag == "property":
                members[("property", member.get("name"))] = (member.get("type"), "")
                continue
            arguments = member.findall("arg")
            into = "".join(a.get("type") for a in arguments if a.get("direction") != "out")
            out = "".join(a.get("type") for a in arguments if a.get("direction") == "out")
            if member.tag == "signal":
                into, out = into + out, ""
            members[(member.tag, member.get("name"))] = (into, out)
    return found


def test_document(client, procedure):
    wanted = documented(sys.argv[1])
    there = {}
    for path in ("/org/pngw", "/org/pngw/vault", "/org/pngw/bluetooth", "/org/pngw/diagnosis", procedure,
                 "/org/pngw/pne/headset_2d3", "/org/pngw/user/alice"):
        there.update(introspected(client, path))
    for interface in sorted(set(wanted) | set(there)):
        a, b = wanted.get(interface, {}), there.get(interface, {})
        for member in sorted(set(a) | set(b)):
            if a.get(member) != b.get(member):
                complain("%s.%s: the document says %s, pngwd %s" % (interface, member, a.get(member), b.get(member)))
    check("the document lists many methods", sum(len(m) for m in wanted.values()) > 60)


def load_signatures(client):
    for path in ("/org/pngw", "/org/pngw/vault", "/org/pngw/bluetooth", "/org/pngw/diagnosis"):
        for interface, members in introspected(client, path).items():
            for (kind, name), (into, _) in members.items():
                if kind == "method":
                    SIGNATURES[(interface, name)] = into


def test_reading(client):
    status = client.call("Gateway1", "GetStatus")
    check("the Entity ID", status["Entity"] == "gw-livingroom" and status["State"] == "ready" and status["Links"] == 2)
    check("the WAN is up", status["Wan"] == "up" and status["WanMutual"])
    elements = {str(e["Entity"]): e for e in client.call("Gateway1", "ListElements")}
    check("two PNEs", sorted(elements) == ["headset-2", "headset-3"])
    check("their levels", elements["headset-2"]["Level"] == "authenticated" and elements["headset-3"]["Level"] == "none")
    check("log", "ready" in " ".join(client.call("Diagnosis1", "GetLog", 100, path="/org/pngw/diagnosis")))
    vault = client.call("Vault1", "GetStatus", path="/org/pngw/vault")
    check("the vault", vault["File"].endswith("gateway.vault") and vault["Records"] > 0)
    wraps = client.call("Vault1", "ListWraps", path="/org/pngw/vault")
    check("a wrap", len(wraps) == 1 and wraps[0]["Slot"] == 1)
    check("unknown option", client.error("Gateway1", "Register", "alice", {"Nonsense": True}) == "InvalidArguments"
          and "Nonsense" in client.message)
    check("wrong type", client.error("Gateway1", "Register", "alice", {"Detach": "x"}) == "InvalidArguments")
    check("no User ID", client.error("Gateway1", "Register", "a:b", {}) == "InvalidArguments")
    check("no entities", client.error("Gateway1", "Assign", "alice", [], {}) == "InvalidArguments")
    check("twice", client.error("Gateway1", "Assign", "alice", ["a", "a"], {}) == "InvalidArguments")
    check("figure 5", client.error("Gateway1", "Assign", "alice", ["a"], {"Figure": dbus.UInt32(5)}) == "InvalidArguments")
    check("no Bluetooth", client.error("Bluetooth1", "GetStatus", path="/org/pngw/bluetooth") == "NotConfigured")


def test_figures(client):
    path, result, ids = client.run("Gateway1", "Register", "alice", {})
    check("registered", result == "done" and ids == ["DONE"] and client.agent.asked[-1] == ("alice", "register"))
    steps = [(int(s["Figure"]), int(s["Step"])) for s in client.of(path, "Step")]
    check("steps of Figure 5: %s" % steps, steps == [(5, 0), (5, 1), (5, 2)])
    check("properties", client.property(path, "Procedure1", "Kind") == "register" and
          client.property(path, "Procedure1", "Result") == "done" and
          len(client.property(path, "Procedure1", "Verdicts")) == 1)
    explained = client.call("Gateway1", "Explain", "alice", "headset-2")
    check("Explain: Figure 6", explained["Figure"] == 6 and "authenticated" in explained["Why"])
    check("Explain: Figure 7", client.call("Gateway1", "Explain", "alice", "headset-3")["Figure"] == 7)
    # In parts: a trigger before anything else, then what it needs.
    _, result, ids = client.run("Gateway1", "Trigger", "alice", ["headset-2"], {})
    check("trigger alone %s" % ids, result == "refused" and ids == ["NOT_SUBSCRIBED"])
    path, result, ids = client.run("Gateway1", "Subscribe", "alice", {})
    steps = [int(s["Step"]) for s in client.of(path, "Step")]
    check("subscribed %s %s" % (ids, steps), result == "done" and max(steps) <= 3)
    path, result, ids = client.run("Gateway1", "Install", "alice", ["headset-2"], {})
    steps = [int(s["Step"]) for s in client.of(path, "Step")]
    check("installed %s %s" % (ids, steps), result == "done" and max(steps) <= 6 and 4 in steps)
    client.agent.behaviour = "wrong"
    _, result, ids = client.run("Gateway1", "Trigger", "alice", ["headset-2"], {})
    check("trigger with another password %s" % ids, result == "refused" and ids == ["WRONG_PASSWORD"])
    client.agent.behaviour = "password"
    path, result, ids = client.run("Gateway1", "Trigger", "alice", ["headset-2"], {})
    steps = [int(s["Step"]) for s in client.of(path, "Step")]
    check("triggered %s %s" % (ids, steps), result == "done" and min(steps) >= 7 and 13 in steps)
    # By its own choice, one of each.
    path, result, ids = client.run("Gateway1", "Assign", "alice", ["headset-2", "headset-3"], {})
    check("assigned %s" % ids, result == "done" and ids == ["DONE", "DONE"])
    notes = {str(n["Entity"]): int(n["Figure"]) for n in client.of(path, "Note") if "Figure" in n}
    check("each by its figure", notes == {"headset-2": 6, "headset-3": 7})
    _, result, ids = client.run("Gateway1", "AssignGateway", "alice", {})
    check("Figure 8 %s" % ids, result == "done")
    _, result, ids = client.run("Gateway1", "Renew", ["headset-3"], {})
    check("renewed %s" % ids, result == "done")
    check("verdicts for all", len(client.given) >= 9)
    check("what changed", turn_until(lambda: "elements" in client.changes))
    users = client.call("Gateway1", "ListUsers")
    check("users", [str(u["User"]) for u in users] == ["alice"] and users[0]["OwnsGateway"] and
          sorted(users[0]["Entities"]) == ["headset-2", "headset-3"])
    # A key of Figure 6 only passes through; one of Figure 7 is the PN GW's to know.
    elements = {str(e["Entity"]): e for e in client.call("Gateway1", "ListElements")}
    check("the key that passed through", elements["headset-2"]["Held"] == 0 and elements["headset-2"]["Relayed"] == 2 and
          client.property("/org/pngw/pne/headset_2d2", "Pne1", "Relayed") == 2)
    check("the key of a pool", elements["headset-3"]["Held"] > 0 and elements["headset-3"]["Relayed"] == 0)
    check("no fingerprint of it", client.error("Gateway1", "Fingerprint", "headset-2", dbus.ByteArray(b"12345678")) ==
          "NotFound" and "took EUKey 2, but its key only passed through here" in client.message)
    pools = {str(p["Entity"]): p for p in client.call("Gateway1", "ListPools", [])}
    check("the pool of nobody", client.error("Gateway1", "ListPools", ["headset-3", "nobody"]) == "NotFound" and
          "DEVICE_UNKNOWN" in client.message)
    check("nobody is released", client.error("Gateway1", "Release", "nobody") == "NotFound" and
          "DEVICE_UNKNOWN" in client.message)
    check("pools", pools["headset-3"]["Left"] > 0 and pools["headset-3"]["Held"] > 0)
    print_ = client.call("Gateway1", "Fingerprint", "headset-3",
                         dbus.ByteArray(bytes.fromhex(os.environ["PNGW_TEST_CHALLENGE"])))
    check("fingerprint", len(print_["Fingerprint"]) == 16 and print_["User"] == "alice")
    check("fingerprint of nobody", client.error("Gateway1", "Fingerprint", "nobody", dbus.ByteArray(b"12345678")) == "NotFound")
    ledger = client.call("Vault1", "ListLedger", 50, path="/org/pngw/vault")
    check("ledger", any(e["Entity"] == "headset-3" and e["User"] == "alice" for e in ledger) and
          [int(e["Sequence"]) for e in ledger] == list(range(int(ledger[0]["Sequence"]), int(ledger[-1]["Sequence"]) + 1)))
    objects = client.bus.get_object("org.pngw", "/org/pngw", introspect=False).GetManagedObjects(
        dbus_interface="org.freedesktop.DBus.ObjectManager")
    check("objects", "/org/pngw/user/alice" in objects and "/org/pngw/pne/headset_2d3" in objects)
    check("its owner", client.property("/org/pngw/pne/headset_2d3", "Pne1", "Owner") == "alice")


def examine_soon(client, reports):
    client.bus.get_object("org.pngw", "/org/pngw/diagnosis", introspect=False).get_dbus_method(
        "Examine", "org.pngw.Diagnosis1")(
            timeout=60, reply_handler=reports.append, error_handler=lambda error: reports.append(error))
    client.bus.flush()


def states(client):
    return {str(c["Id"]): str(c["State"]) for c in client.call("Diagnosis1", "Examine", path="/org/pngw/diagnosis")}


def test_examination(client):
    # At the same time: one that goes away, and two that get the same report.
    gone, other = Client(agent=False), Client(agent=False)
    reports = []
    examine_soon(gone, [])
    gone.bus.close()
    examine_soon(client, reports)
    examine_soon(other, reports)
    check("two reports", turn_until(lambda: len(reports) == 2, 60) and reports[0] == reports[1])
    other.bus.close()
    report = reports[0]
    check("40 checks: %s" % report, len(report) >= 40 and len({c["Id"] for c in report}) == len(report))
    for c in report:
        check("a check: %s" % c, set(c) == {"Id", "Title", "State", "Finding", "Remedy"} and c["Title"] and
              c["Finding"] and c["State"] in ("ok", "warning", "failed", "not-applicable") and
              bool(c["Remedy"]) == (c["State"] in ("warning", "failed")))
    found = {str(c["Id"]): c for c in report}
    check("the WAN is up", found["wan.up"]["State"] == "ok" and found["network.answer"]["State"] == "ok")
    check("no backup yet", found["vault.backup"]["State"] == "warning")
    # Others than pngwd's user get as far as the bus.
    check("the folder", found["files.folder"]["State"] == "failed" and "0700" in found["files.folder"]["Remedy"])
    check("no Bluetooth", found["bluetooth.bus"]["State"] == "not-applicable")


def test_recorded(client):
    """Metrics, trace and bundle, after Figure 8 and a renewal of headset-3."""
    at = {"path": "/org/pngw/diagnosis"}
    here = os.path.dirname(os.path.abspath(__file__))
    with open(RUN + "/metrics", "w", encoding="utf-8") as file:
        file.write(client.call("Diagnosis1", "GetMetrics", **at))
    samples = subprocess.run(["/usr/bin/python3", here + "/check-metrics.py", RUN + "/metrics",
                              os.path.dirname(sys.argv[1]) + "/metrics.md"], stdout=subprocess.PIPE, text=True)
    lines = samples.stdout.splitlines()
    check("metrics", samples.returncode == 0 and "pngw_wan_up{} 1" in lines and
          "pngw_procedure_seconds_count{figure=8,result=done} 1" in lines)
    trace = client.call("Diagnosis1", "GetTrace", 2000, **at)
    check("entries", len(trace) > 40 and all(set(e) == {"Time", "Text"} for e in trace))
    times = [int(e["Time"]) for e in trace]
    check("their times", times == sorted(times) and abs(times[-1] - time.time()) < 600)
    check("the last three", client.call("Diagnosis1", "GetTrace", 3, **at) == trace[-3:])
    check("none", client.call("Diagnosis1", "GetTrace", 0, **at) == [])
    texts = [str(e["Text"]) for e in trace]
    # The renewal, from its first entry to its verdict.
    begun = [re.match(r"(procedure \d+) \(.*headset-3\)", text) for text in texts]
    begun = [m.group(1) for m in begun if m]
    steps = [text for text in texts if begun and re.match(begun[-1] + r"\b", text)]
    check("the renewal's steps: %s" % (steps or texts[-30:]), len(steps) >= 2 and "DONE" in steps[-1] and
          any("EUKeyAssignment" in text for text in steps))
    fd = client.call("Diagnosis1", "Bundle", **at).take()
    seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    check("sealed: %s" % seals, seals == fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    with os.fdopen(fd, "rb") as file:
        bundle = file.read()
    with open(RUN + "/bundle", "wb") as file:
        file.write(bundle)
    replay = subprocess.run([os.environ["PNGW_TEST_REPLAY"], "--verify", RUN + "/bundle"], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    check("replay: " + replay.stdout, replay.returncode == 0)
    for part in (b"[versions]", b"[configuration]", b"[vault]", b"[ledger]", b"[examination]", b"[recorder]"):
        check("part %s" % part, b"\n" + part + b"\n" in bundle)
    check("the last examination", b"files.folder" in bundle)
    check("what was done", b"headset-3" in bundle)
    for secret in secrets():
        check("no secret in what is given away", secret not in bundle and
              secret not in "\n".join(texts).encode() + samples.stdout.encode())


def secrets():
    """What must not be seen anywhere: passwords, and the keys of files as digits and as bytes."""
    found = [CANARY.encode(), b"another password"]
    with open(RUN + "/gateway.key", encoding="ascii") as file:
        found.append(file.read().strip().encode())
    with open(RUN + "/keys.csv", encoding="utf-8") as file:
        found += [line.strip().split(",")[2].encode() for line in file.readlines()[1:]]
    return found + [bytes.fromhex(s.decode()) for s in found if re.fullmatch(rb"[0-9a-f]{64}", s)]


def test_vault(client):
    at = {"path": "/org/pngw/vault"}
    for member, arguments in (("Check", ({},)), ("AddWrap", (RUN + "/second.key", "second", {})),
                              ("AddPassphrase", ("words", {})),
                              ("RotateWrap", (dbus.UInt32(2), RUN + "/third.key", "third", {})),
                              ("Rekey", ({},)), ("Backup", (RUN + "/backup.vault", {}))):
        _, result, ids = client.run("Vault1", member, *arguments, **at)
        check("%s %s" % (member, ids), result == "done")
    check("asked for the passphrase", client.agent.asked[-1] == ("", "passphrase"))
    check("three wraps", len(client.call("Vault1", "ListWraps", **at)) == 3)
    client.call("Vault1", "RemoveWrap", 3, **at)
    check("no such slot", client.error("Vault1", "RemoveWrap", 3, **at) == "Refused")
    check("two wraps", len(client.call("Vault1", "ListWraps", **at)) == 2)
    _, result, ids = client.run("Vault1", "Backup", RUN + "/pngw.conf", {}, **at)
    check("a file that is no vault stays %s" % ids, result == "refused" and ids == ["GATEWAY_VAULT_REFUSED"])
    check("last backup", client.call("Vault1", "GetStatus", **at)["LastBackup"] != "")
    check("the doctor knows of it", states(client)["vault.backup"] == "ok")


def test_agents(client):
    for behaviour, wanted in (("wrong", "USER_TAKEN"), ("empty", "PASSWORD_UNUSABLE"), ("long", "PASSWORD_UNUSABLE"),
                              ("file", "PASSWORD_NOT_GIVEN"), ("refuse", "PASSWORD_NOT_GIVEN"),
                              ("open", "PASSWORD_NOT_GIVEN"), ("silent", "PASSWORD_NOT_GIVEN")):
        client.agent.behaviour = behaviour
        path, result, ids = client.run("Gateway1", "Register", "alice", {})
        check("agent %s: %s" % (behaviour, ids), ids == [wanted] and result in ("refused", "retry"))
    client.agent.behaviour = "silent"
    path = str(client.call("Gateway1", "Register", "alice", {}))
    check("asking", client.property(path, "Procedure1", "State") == "asking")
    client.call("Procedure1", "Cancel", path=path)
    check("cancelled", client.ended(path) == "retry" and client.of(path, "Verdict")[0]["Id"] == "CANCELLED")
    check("the agent is told", turn_until(lambda: client.agent.cancelled))
    client.agent.behaviour = "password"
    other = Client(agent=False)
    check("no agent", other.error("Gateway1", "Register", "alice", {}) == "NoAgent")
    other.bus.close()


def client_process(user, text):
    """Another process, perhaps of another user, that runs this file's text."""
    code = "import os\nos.setgroups([])\nos.setuid(%d)\n" % user if user else ""
    return subprocess.Popen(["/usr/bin/python3", "-c", code + "ADDRESS=%r\n" % ADDRESS + text],
                            stdout=subprocess.PIPE, text=True)


REFUSED = """
import dbus, dbus.bus, os
bus = dbus.bus.BusConnection(ADDRESS)
def error(interface, member, *arguments, path="/org/pngw", signature=None):
    try:
        value = bus.get_object("org.pngw", path, introspect=False).get_dbus_method(member, "org.pngw." + interface)(
            *arguments, signature=signature)
        return "allowed", str(value)
    except dbus.DBusException as e:
        return e.get_dbus_name().replace("org.pngw.Error.", ""), e.get_dbus_message()
def secret(text):
    end, other = os.pipe()
    os.write(other, text)
    os.close(other)
    return dbus.types.UnixFd(end)
"""


def told(process):
    out, _ = process.communicate(timeout=60)
    return out.splitlines()


def test_rights(client):
    if os.geteuid() != 0:
        return
    lines = told(client_process(65534, REFUSED + """
print(*error("Gateway1", "GetStatus"))
print(*error("Gateway1", "Register", "alice", {}, signature="sa{sv}"))
print(*error("Gateway1", "RevokeAll", {}, signature="a{sv}"))
print(*error("Bluetooth1", "SetDiscoverable", 0, path="/org/pngw/bluetooth", signature="u"))
print(*error("Diagnosis1", "Examine", path="/org/pngw/diagnosis"))
print(*error("Diagnosis1", "Bundle", path="/org/pngw/diagnosis"))
try:
    bus.get_object("org.pngw", "/org/pngw", introspect=False).GetManagedObjects(
        dbus_interface="org.freedesktop.DBus.ObjectManager")
    print("objects")
except dbus.DBusException as e:
    print(e.get_dbus_name())
"""))
    for line, right in zip(lines, ("look", "assign", "administer", "pair", "look", "administer")):
        check("refused: " + line, line == "NotAuthorized the right to %s is missing" % right)
    check("objects refused: %s" % lines, len(lines) == 7 and lines[6] == "org.pngw.Error.NotAuthorized")


def test_two_pins_at_once(client):
    """Whoever is told that a PIN is set finds it set, also when another is set meanwhile."""
    results = {}

    def ended(role, error):
        results[role] = error.get_dbus_name().rpartition(".")[2] if error else "done"

    set_pin = client.bus.get_object("org.pngw", "/org/pngw", introspect=False).get_dbus_method(
        "SetPin", "org.pngw.Session1")
    for role in ("viewer", "administrator"):
        set_pin(role, pipe_with(b"pin of the " + role.encode()), signature="sh", timeout=60,
                reply_handler=lambda role=role: ended(role, None),
                error_handler=lambda error, role=role: ended(role, error))
    turn_until(lambda: len(results) == 2, 60)
    held = {line.split()[0] for line in open(RUN + "/pins")}
    set_now = {role for role in results if results[role] == "done"}
    check("one at a time: %s, in the file %s" % (results, held),
          set_now and set_now <= held and set(results.values()) <= {"done", "Busy"})
    for role in set_now:
        client.call("Session1", "SetPin", role, pipe_with(b""))


def begin_login(client):
    """What test_login() looks at; meanwhile something else can be done."""
    check("no PIN yet", client.error("Session1", "Login", pipe_with(b"1234"), {}) == "NotConfigured")
    client.call("Session1", "SetPin", "technician", pipe_with(b"canary-pin\n"))
    check("another's", client.error("Session1", "SetPin", "viewer", pipe_with(b"canary-pin")) == "InvalidArguments")
    check("too short", client.error("Session1", "SetPin", "viewer", pipe_with(b"123")) == "InvalidArguments")
    test_two_pins_at_once(client)
    check("mode", os.stat(RUN + "/pins").st_mode & 0o777 == 0o600)
    check("not in the clear", b"canary-pin" not in open(RUN + "/pins", "rb").read())
    return client_process(65534, REFUSED + """
import time
login = lambda pin: error("Session1", "Login", secret(pin), {}, signature="ha{sv}")
def say(*what):
    print(*what, flush=True)
for i in range(5):
    say(*login(b"wrong"))
say(*login(b"canary-pin"))
# A wrong one after it has healed closes it for twice as long.
while not login(b"wrong")[1].endswith("for 4 s"):
    time.sleep(0.1)
while login(b"canary-pin")[0] == "LockedOut":
    time.sleep(0.1)
say(*error("Session1", "WhoAmI"))
say(*error("Gateway1", "ListUsers"))
say(*error("Gateway1", "RevokeAll", {}, signature="a{sv}"))
say(*error("Session1", "Logout"))
say(*error("Gateway1", "ListUsers"))
""") if os.geteuid() == 0 else None


def test_login(client, process):
    if process is None:
        return
    lines = told(process)
    names = [line.split()[0] for line in lines]
    check("login: %s" % lines, names == ["NotAuthorized"] * 4 + ["LockedOut"] * 2 +
          ["allowed"] * 2 + ["NotAuthorized", "allowed", "NotAuthorized"])
    check("closed for 2 s", lines[4].endswith("for 2 s"))
    check("technician", "technician" in lines[6] and "assign" in lines[6] and "administer" not in lines[6])
    # Whoever knows the PIN of a lower role does not get further tries at a higher one's with it.
    client.call("Session1", "SetPin", "viewer", pipe_with(b"canary-pin of a viewer"))
    lines = told(client_process(65534, REFUSED + """
for pin in [b"wrong"] * 4 + [b"canary-pin of a viewer", b"wrong"]:
    print(*error("Session1", "Login", secret(pin), {}, signature="ha{sv}"), flush=True)
"""))
    check("a lower role: %s" % lines, [line.split()[0] for line in lines] ==
          ["NotAuthorized"] * 4 + ["allowed", "LockedOut"] and lines[5].endswith("for 2 s"))
    check("wrong PINs are logged", watch_log("a wrong PIN of user id 65534", 10))
    for role in ("viewer", "technician"):
        client.call("Session1", "SetPin", role, pipe_with(b""))


class Polkit(dbus.service.Object):
    """An authority that allows what it is told to."""

    allowed = ()

    @dbus.service.method("org.freedesktop.PolicyKit1.Authority", in_signature="(sa{sv})sa{ss}us",
                         out_signature="(bba{ss})")
    def CheckAuthorization(self, subject, action, details, flags, cancellation):
        self.seen.append((str(subject[0]), str(action), int(flags)))
        return (str(action) in self.allowed, False, dbus.Dictionary({}, signature="ss"))


def test_polkit(client):
    if os.geteuid() != 0:
        return
    bus = dbus.bus.BusConnection(ADDRESS)
    name = dbus.service.BusName("org.freedesktop.PolicyKit1", bus)
    polkit = Polkit(bus, "/org/freedesktop/PolicyKit1/Authority")
    polkit.seen = []
    polkit.allowed = ("org.pngw.look",)
    process = client_process(65534, REFUSED + """
print(*error("Gateway1", "ListUsers"))
print(*error("Gateway1", "Register", "alice", {}, signature="sa{sv}"))
print(len(bus.get_object("org.pngw", "/org/pngw", introspect=False).GetManagedObjects(
    dbus_interface="org.freedesktop.DBus.ObjectManager")) > 0)
""")
    turn_until(lambda: process.poll() is not None)
    lines = told(process)
    check("polkit: %s" % lines, lines[0].startswith("allowed") and
          lines[1] == "NotAuthorized the right to assign is missing" and lines[2] == "True")
    check("asked: %s" % polkit.seen, ("system-bus-name", "org.pngw.look", 0) in polkit.seen and
          ("system-bus-name", "org.pngw.assign", 0) in polkit.seen)
    del name
    bus.close()


KILLED = """
import dbus, dbus.bus, dbus.service, dbus.mainloop.glib, os, sys
from gi.repository import GLib
dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection(ADDRESS)
class Agent(dbus.service.Object):
    @dbus.service.method("org.pngw.Agent1", in_signature="ss", out_signature="h")
    def RequestPassword(self, user, purpose):
        end, other = os.pipe()
        os.write(other, PASSWORD)
        os.close(other)
        return dbus.types.UnixFd(end)
Agent(bus, "/agent")
def call(interface, member, *arguments, signature):
    return bus.get_object("org.pngw", "/org/pngw", introspect=False).get_dbus_method(member, "org.pngw." + interface)(
        *arguments, signature=signature)
call("AgentManager1", "RegisterAgent", "/agent", {}, signature="oa{sv}")
print(call("Gateway1", "Assign", "alice", ["headset-2"], {"Detach": DETACH}, signature="sasa{sv}"), flush=True)
GLib.MainLoop().run()
"""


def test_vanishing(client, stopped):
    """A client that is killed while the PNE is silent; stopped is the PNE's process id."""
    for detach in (False, True):
        os.kill(stopped, signal.SIGSTOP)
        process = client_process(0, "PASSWORD=%r\nDETACH=%r\n" % (CANARY.encode(), detach) + KILLED)
        path = process.stdout.readline().strip()
        turn_until(lambda: any(s["Step"] == 4 for s in client.of(path, "Step")))
        process.kill()
        process.wait()
        if detach:
            os.kill(stopped, signal.SIGCONT)
        result = client.ended(path)
        if not detach:
            os.kill(stopped, signal.SIGCONT)
        ids = [str(v["Id"]) for v in client.of(path, "Verdict")]
        check("killed, detach %s: %s %s" % (detach, result, ids), ids == (["DONE"] if detach else ["CANCELLED"]))


def test_revocation(client):
    _, result, ids = client.run("Gateway1", "Revoke", ["headset-3"], {})
    check("revoked %s" % ids, result == "done")
    revoked = client.call("Gateway1", "ListRevocations")
    check("on record", [str(r["Entity"]) for r in revoked] == ["headset-3"] and revoked[0]["Reset"] == "confirmed")
    _, result, ids = client.run("Gateway1", "Reset", ["headset-2"], {})
    check("was never revoked %s" % ids, ids == ["NOT_REVOKED"])
    check("forget", client.error("Gateway1", "Forget", "headset-2") == "NotFound")
    check("forgotten", client.error("Gateway1", "Forget", "headset-3") == "")
    check("released", client.error("Gateway1", "Release", "headset-2") == "")
    _, result, ids = client.run("Gateway1", "RevokeUser", "alice", {})
    check("the user's %s" % ids, "never" != result)
    client.run("Gateway1", "RevokeAll", {})


def test_same_name(owner, path):
    """On the next bus somebody else has the unique name of whoever began a procedure."""
    if os.geteuid() != 0:
        return
    lines = told(client_process(65534, "OWNER=%r\nPATH=%r\n" % (owner, path) + REFUSED + """
others = []
while bus.get_unique_name() != OWNER and len(others) < 200:
    others.append(bus)
    bus = dbus.bus.BusConnection(ADDRESS)
print(bus.get_unique_name() == OWNER, *error("Procedure1", "Cancel", path=PATH))
"""))
    check("of the same name: %s" % lines, lines == ["True NotAuthorized the right to assign is missing"])


def watch_log(text, count):
    return turn_until(lambda: open(RUN + "/log", encoding="utf-8", errors="replace").read().count(text) >= count)


def main():
    daemon = start_bus()
    check("pngwd comes when the bus does", watch_log("this is org.pngw", 1))
    monitor = subprocess.Popen(["dbus-monitor", "--binary", "--address", ADDRESS],
                               stdout=open(RUN + "/monitored", "wb"), stderr=subprocess.DEVNULL)
    turn_until(lambda: os.path.getsize(RUN + "/monitored") > 0, 10)
    first = Client(agent=False)
    load_signatures(first)
    client = Client()
    test_reading(client)
    test_figures(client)
    test_examination(client)
    test_recorded(client)
    test_document(client, client.signals[0][0])
    test_rights(client)
    test_polkit(client)
    login = begin_login(client)
    test_vault(client)
    test_agents(client)
    test_vanishing(client, int(os.environ["PNGW_TEST_PNE"]))
    test_login(client, login)
    # The bus goes in the middle: what is detached goes on, the rest is cancelled.
    os.kill(int(os.environ["PNGW_TEST_PNE"]), signal.SIGSTOP)
    path = str(client.call("Gateway1", "Assign", "alice", ["headset-2"], {"Detach": True}))
    turn_until(lambda: any(s["Step"] == 4 for s in client.of(path, "Step")))
    owner = str(client.bus.get_unique_name())
    done = open(RUN + "/log", encoding="utf-8", errors="replace").read().count("headset-2 of alice: done")
    monitor.terminate()
    monitor.wait()
    examine_soon(client, [])
    daemon.kill()
    daemon.wait()
    os.kill(int(os.environ["PNGW_TEST_PNE"]), signal.SIGCONT)
    check("goes on without a bus", watch_log("headset-2 of alice: done", done + 1))
    daemon = start_bus()
    check("comes back", watch_log("this is org.pngw", 2))
    client = Client()
    check("ready again", client.call("Gateway1", "GetStatus")["State"] == "ready")
    test_same_name(owner, path)
    check("its object is still there", client.property(path, "Procedure1", "Result") == "done")
    test_revocation(client)
    monitored = open(RUN + "/monitored", "rb").read()
    check("the bus was watched", b"RequestPassword" in monitored and b"SetPin" in monitored)
    check("no secret on the bus", CANARY.encode() not in monitored and b"canary-pin" not in monitored)
    daemon.kill()
    daemon.wait()
    if bad:
        sys.exit("%d checks failed" % bad)


main()
