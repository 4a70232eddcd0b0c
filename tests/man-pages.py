#!/usr/bin/env python3
"""Compares the man pages with the programs. Used by tests/test-man.sh SOURCE BUILD."""
import os
import re
import subprocess
import sys

TOP, BUILD = sys.argv[1:3]
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES",
            "SEE ALSO"]

# Each page, and where the options of its program are taken apart.
PROGRAMS = {
    "doc/pngwd.8": "gateway/main.c",
    "doc/cpns-serverd.8": "server/main.c",
    "doc/cpns-server-admin.8": "server/admin.c",
    "doc/cpns-pne.1": "pne/options.c",
    "doc/pngw-ledger.1": "storage/ledger-tool.c",
    "doc/pngw-vault.8": "storage/vault-tool.c",
    "doc/pngw-handover.8": "gateway/handover-main.c",
    "doc/pngw-replay.1": "gateway/replay-main.c",
}
# Made by the program itself, which tests/test-pngwctl.sh compares.
GENERATED = {"console/pngwctl.1"}
SETTINGS = {"doc/pngw.conf.5": ("pngwd", "doc/pngw.conf.md"),
            "doc/cpns-serverd.8": ("cpns-serverd", "doc/cpns-serverd.conf.md")}
DAEMONS = {"doc/pngwd.8": "gateway/daemon.c", "doc/cpns-serverd.8": "server/daemon.c"}

faults = []


def complain(text):
    faults.append(text)
    print(text)


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def run(*command, **more):
    return subprocess.run(command, text=True, check=False, capture_output=True, **more)


def lint(page):
    for command in (("mandoc", "-T", "lint", "-W", "warning"),
                    ("groff", "-mandoc", "-Tutf8", "-ww", "-z")):
        done = run(*command, os.path.join(TOP, page))
        if done.returncode != 0 or done.stdout or done.stderr:
            complain(f"{page}: {command[0]}: {done.stdout}{done.stderr}")


def plain(text):
    return text.replace("\\-", "-").replace("\\&", "")


def whole(page, text):
    """All sections, in their order, and references to pages that are there."""
    found = re.findall(r"^\.Sh (.*)$", text, re.M)
    wanted = [s for s in SECTIONS if s in found]
    if [s for s in found if s in SECTIONS] != wanted:
        complain(f"{page}: its sections are not in the usual order")
    if page.endswith(".5"):
        missing = {"NAME", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO"} - set(found)
    else:
        missing = set(SECTIONS) - set(found)
    if page in DAEMONS and "SIGNALS" not in found:
        missing.add("SIGNALS")
    for section in sorted(missing):
        complain(f"{page}: there is no section {section}")
    for name, section in re.findall(r"^\.(?:Pq )?Xr (\S+) (\d)", plain(text), re.M):
        here = [p for p in PAGES if os.path.basename(p) == f"{name}.{section}"]
        if name.startswith(("pngw", "cpns")) and not here:
            complain(f"{page}: there is no {name}({section})")


def options(page, text):
    program = os.path.basename(page).rsplit(".", 1)[0]
    source = set(re.findall(r'\{"([a-z0-9-]+)",\s*(?:no|required|optional)_argument', read(PROGRAMS[page])))
    done = run(os.path.join(BUILD, program), "--help")
    if done.returncode != 0 or done.stderr:
        complain(f"{program} --help: exit code {done.returncode}, {done.stderr}")
    told = set(re.findall(r"--([a-z0-9-]+)", done.stdout))
    # pngw-ledger and pngw-vault take --help by itself.
    source.add("help")
    items = set(re.findall(r"^\.It Fl -([a-z0-9-]+)", plain(text), re.M))
    named = set(re.findall(r"(?:Fl|\|) -([a-z0-9-]+)", plain(text)))
    for what, there in (("--help", told), (page, items)):
        for option in sorted(source - there):
            complain(f"{what} of {program} says nothing of --{option}")
        for option in sorted(there - source):
            complain(f"{what} of {program}: there is no option --{option}")
    for option in sorted(named - source):
        complain(f"{page} names --{option}, which is none")
    if program == "cpns-server-admin":
        commands = set(re.findall(r"^  ([a-z-]+)", done.stdout, re.M))
        described = set(re.findall(r"^\.It Cm ([a-z-]+)", plain(text), re.M))
    elif program in ("pngw-vault", "pngw-handover"):
        commands = set(re.findall(r"^  ([a-z][a-z-]*) ", done.stdout, re.M))
        described = set(re.findall(r"^\.It Cm ([a-z-]+)", plain(text), re.M))
    else:
        return
    if commands != described or not commands:
        complain(f"{page}: commands {sorted(commands ^ described)}")


def settings(page, text):
    program, manual = SETTINGS[page]
    table = run(os.path.join(BUILD, program), "--list-settings").stdout
    keys = re.findall(r"^\| `([^`]+)`", table, re.M)
    if len(keys) < 15:
        complain(f"{program} --list-settings: only {len(keys)} settings")
    made = run(os.path.join(TOP, "doc/man-settings"), os.path.join(TOP, page), input=table).stdout
    if made != text:
        complain(f"{page} is out of date: {program} --list-settings | doc/man-settings {page}")
    items = re.findall(r"^\.It Va (\S+) No", text, re.M)
    if items != keys:
        complain(f"{page}: settings {sorted(set(items) ^ set(keys))}")
    if table not in read(manual):
        complain(f"{manual}: replace its table by what {program} --list-settings prints")


def signals(page, text):
    handled = set(re.findall(r"\b(SIG(?:HUP|TERM|INT|USR1|USR2))\b", read(DAEMONS[page])))
    told = set(re.findall(r"\b(SIG[A-Z0-9]+)\b", text.split(".Sh SIGNALS")[1].split(".Sh")[0]))
    for signal in sorted(handled - told):
        complain(f"{page}: nothing of {signal}")


def verify_shown(page, text):
    """What the examples call takes the options that they give."""
    for program, rest in re.findall(r'^\.It Li "(pngwd|cpns-serverd|pngw-vault|pngw-handover|pngw-ledger|cpns-pne|'
                                    r'cpns-server-admin|pngw-replay) ([^"|&]*)', plain(text), re.M):
        source = next(s for p, s in PROGRAMS.items() if os.path.basename(p).startswith(program + "."))
        for option in re.findall(r"--([a-z-]+)", rest):
            if f'"{option}"' not in read(source):
                complain(f"{page}: an example calls {program} with --{option}")


def installed():
    """Each is installed, and no page is forgotten."""
    makefiles = "".join(read(p) for p in ("gateway/local.mk", "storage/local.mk", "server/local.mk", "pne/local.mk",
                                          "console/local.mk"))
    listed = set(re.findall(r"\S+\.[158]\b", " ".join(re.findall(r"^dist_man_MANS \+= (.*)$", makefiles, re.M))))
    there = {f"{folder}/{name}" for folder in ("doc", "console") for name in os.listdir(os.path.join(TOP, folder))
             if re.search(r"\.[1-8]$", name)}
    if listed != there:
        complain(f"dist_man_MANS and the pages there are: {sorted(listed ^ there)}")
    for program in re.findall(r"^s?bin_PROGRAMS \+= (.*)$", makefiles, re.M):
        for name in program.split():
            if not any(os.path.basename(p).rsplit(".", 1)[0] == name for p in there):
                complain(f"{name} has no man page")
    return sorted(there)


PAGES = installed()


def main():
    for page in PAGES:
        text = read(page)
        lint(page)
        verify_shown(page, text)
        if page in GENERATED:
            continue
        whole(page, text)
        if page in PROGRAMS:
            options(page, text)
        elif page not in SETTINGS:
            complain(f"{page}: not known to this test")
        if page in SETTINGS:
            settings(page, text)
        if page in DAEMONS:
            signals(page, text)
    return 1 if faults else 0


sys.exit(main())
