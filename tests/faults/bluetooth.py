#!/usr/bin/python3
"""Faults of Bluetooth: bluetooth.py TABLE SOURCE BUILD. A pngwd and a bluetoothd of strings on a
private bus; each row is set up, asked as a technician would, and taken back. Prints what is wrong, and
last "score RIGHT ALL"."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

table, source, build = sys.argv[1:4]
every = int(os.environ.get("PNGW_FAULTS_EVERY", "1"))
PNE = "aa2868b6-bfd3-4d5b-a859-87432eba40be"
DEVICE = "00:11:22:33:44:55"
OTHER = "00:11:22:33:44:99"
PATIENCE = 60
folder = tempfile.mkdtemp(prefix="pngw-bluetooth-faults.")
started = []


def start(*command, **more):
    p = subprocess.Popen(command, **more)
    started.append(p)
    return p


def until(good, what):
    end = time.monotonic() + PATIENCE
    while not good():
        if time.monotonic() > end:
            raise SystemExit("it does not come to it: " + what)
        time.sleep(0.02)


class Fake:
    def __init__(self):
        self.process = start("/usr/bin/python3", source + "/tests/bluez-shell.py", address,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer.startswith("ok"):
            raise SystemExit("the fake, %s: %s" % (command, answer))
        return answer[3:]

    def up(self):
        self.tell("daemon start")
        self.tell("adapter add hci0 00:AA:01:00:00:00")
        until(lambda: self.tell("get hci0 Powered") == "true", "the adapter is on")

    def device(self, model):
        have = "device add hci0/%s UUIDs=as:%s RSSI=n:-50 Name=s:Headset" % (DEVICE, PNE)
        if model == ["bonded"]:
            have += " Paired=b:true Bonded=b:true Trusted=b:true"
        self.tell(have)
        if model and model != ["bonded"]:
            self.tell("model hci0/%s %s" % (DEVICE, " ".join(model[:2])))


def ask(*words, stdin=subprocess.DEVNULL, **more):
    return start(build + "/pngwctl", "--bus", "unix:path=%s/bus" % folder, "bluetooth", *words,
                 stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def run(*words):
    return ask(*words).communicate()[0]


# A PIN is no argument.
def answer(text):
    if text in ("yes", "no"):
        run("answer", DEVICE, text)
    else:
        ask("answer", DEVICE, stdin=subprocess.PIPE).communicate(text + "\n")


def sentence(given):
    what, rest = given[0], given[1:]
    if what == "scan":
        text = run("scan", "1")
    elif what.endswith("-other"):
        text = run(what[:-len("-other")], OTHER)
    else:
        p = ask(what, DEVICE)
        if len(rest) > 2:
            until(lambda: "no questions" not in run("questions"), "a question")
            if rest[2] == "stop":
                fake.tell("daemon stop")
            else:
                answer(rest[2])
        text = p.communicate()[0]
    lines = [x for x in text.splitlines() if x.startswith("verdict: ")]
    return lines[-1][len("verdict: "):] if lines else "no verdict: " + text


def defect(said, verdict, leg):
    if "[%s]" % verdict not in said:
        return "it is another verdict"
    if "leg %s: " % leg not in said:
        return "it is another leg"
    if "Next: " not in said or "Retry: " not in said or "Next: see " in said:
        return "it does not say what to do"
    return None


def rows():
    for line in open(table):
        line = line.strip()
        if line and not line.startswith("#"):
            name, given, fault, verdict, leg = [x.strip() for x in line.split("|")]
            yield name, given.split(), [] if fault == "-" else fault.split("; "), verdict, leg


right = total = 0
try:
    address = "unix:path=%s/bus" % folder
    with open(folder + "/bus.conf", "w") as f:
        f.write("<busconfig><type>session</type><listen>%s</listen><auth>EXTERNAL</auth>"
                "<policy context='default'><allow send_destination='*' eavesdrop='true'/>"
                "<allow eavesdrop='true'/><allow own='*'/></policy></busconfig>" % address)
    with open(folder + "/conf", "w") as f:
        f.write("""entity_id = "gateway-1";
server = { entity_id = "cpns-server"; host = "127.0.0.1"; port = 1;
	tls = { ca = "%s/ca.pem"; }; };
pan = { bluetooth = { enable = true; adapter = "hci0"; };
	listen = ( { address = "unix:%s/pan"; security = "none"; } ); };
vault = { path = "%s/vault"; key_file = "%s/key"; };
control = { bus = "%s"; };
""" % (os.environ["PNGW_FAULTS_CERTS"], folder, folder, folder, address))
    start("dbus-daemon", "--config-file", folder + "/bus.conf", "--nofork", "--nopidfile")
    until(lambda: os.path.exists(folder + "/bus"), "a bus")
    fake = Fake()
    fake.tell("daemon start")
    fake.tell("adapter add hci0 00:AA:01:00:00:00")
    log = open(folder + "/log", "w")
    start(build + "/pngwd", "--config", folder + "/conf", stderr=log,
          env=dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=address))
    until(lambda: "ready" in open(folder + "/log").read(), "a gateway")
    until(lambda: fake.tell("get hci0 Powered") == "true", "the adapter is on")
    for n, (name, given, faults, verdict, leg) in enumerate(rows()):
        if n % every != 0:
            continue
        if not given[0].endswith("-other") and given[0] != "scan":
            fake.device(given[1:])
            until(lambda: DEVICE in run("devices"), "the device is known")
        for f in faults:
            fake.tell(f)
        said = sentence(given)
        wrong = defect(said, verdict, leg)
        total += 1
        right += not wrong
        if wrong:
            print("wrong, %s (%s): %s\n    wanted %s, leg %s\n    got    %s" %
                  (name, "; ".join(faults) or "-", wrong, verdict, leg, said))
        elif os.environ.get("FAULTS_VERBOSE"):
            print("right, %s: %s" % (name, said))
        # As it was.
        if "stop" in given or any("daemon stop" in f for f in faults):
            fake.up()
        elif any("adapter remove" in f for f in faults):
            fake.tell("daemon stop")
            fake.up()
        elif not given[0].endswith("-other"):
            if any("rfkill" in f for f in faults):
                fake.tell("rfkill hci0 off")
                fake.tell("set hci0 Powered=b:true")
            if given[0] != "scan":
                fake.tell("device remove hci0/" + DEVICE)
        until(lambda: DEVICE not in run("devices"), "the device is gone")
    print("score %d %d" % (right, total))
finally:
    for p in reversed(started):
        if p.poll() is None:
            p.terminate()
    for p in started:
        p.wait()
    shutil.rmtree(folder)
