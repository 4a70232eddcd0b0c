#!/usr/bin/env bash
# Each program that secrets go through makes no core file and is not read by others of the same user.
set -euo pipefail
build=${PNGW_BUILDDIR:?}
command -v python3 >/dev/null || { echo "python3 is missing"; exit 77; }
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
chmod 755 "$run"
for program in pngwd pngwctl pngw-vault pngw-handover cpns-serverd cpns-server-admin cpns-pne; do
	install -m 755 "$build/$program" "$run/"
done
python3 - "$run" "$(command -v cat)" <<'PY'
import os, subprocess, sys, time

NOBODY = 65534


def as_somebody():
    """Not root: whose /proc/PID belongs to root in any case."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def full_pipe():
    """A pipe that takes nothing more: whoever writes into it waits."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"." * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    return reader, writer


def state(pid):
    with open(f"/proc/{pid}/limits", encoding="ascii") as f:
        limit = next(line.split()[4:6] for line in f if line.startswith("Max core file size"))
    return limit, os.stat(f"/proc/{pid}/stat").st_uid


def settled(command, wanted):
    """What is known of the program once it is as wanted, or after ten seconds without that."""
    reader, writer = full_pipe()
    process = subprocess.Popen(command, stdout=writer, stdin=subprocess.DEVNULL, **as_somebody())
    os.close(writer)
    found = None
    for _ in range(100):
        found = state(process.pid)
        if found == wanted or process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    os.close(reader)
    return found


folder, cat = sys.argv[1:]
kept = (["0", "0"], 0)
subprocess.run(["prlimit", "--core=unlimited", "--pid", str(os.getpid())], check=False)
# Someone who keeps nothing: the test can tell.
if settled([cat, "/etc/passwd"], kept) == kept:
    sys.exit("FAILED: this is said of a program that does nothing for it")
bad = False
for program in ("pngwd", "pngwctl", "pngw-vault", "pngw-handover", "cpns-serverd", "cpns-server-admin", "cpns-pne"):
    found = settled([os.path.join(folder, program), "--help"], kept)
    if found != kept:
        print(f"FAILED: {program}: core file size {found[0]}, /proc/PID of user {found[1]}")
        bad = True
sys.exit(bad)
PY
echo "process: all good"
