"""What the recipes of packaging/ say, held against configure and against what make install installs.

recipes.py SOURCE TREE WORK: TREE is an installation below /usr and /etc, WORK an empty folder. Says what does not fit;
exit code 1 if anything does not.
"""

import fnmatch
import pathlib
import re
import subprocess
import sys

top, tree, work = (pathlib.Path(p).resolve() for p in sys.argv[1:4])
bad = []

# What configure.ac looks for, and the names that OpenEmbedded and OpenWrt have for it ("": they have none).
LIBRARIES = {
    "wolfssl": ("wolfssl", "libwolfssl"),
    "libuv": ("libuv", "libuv"),
    "libnghttp2": ("nghttp2", "libnghttp2"),
    "libconfig": ("libconfig", "libconfig"),
    "sqlite3": ("sqlite3", "libsqlite3"),
    "expat": ("expat", "libexpat"),
    "libutf8proc": ("utf8proc", "libutf8proc"),
    "libsystemd": ("systemd", ""),
    "libelogind": ("", ""),
    "basu": ("", "basu"),
    "bluetooth/bluetooth.h": ("bluez5", "bluez-daemon"),
    "libpskc": ("oath-toolkit", ""),
    "libxml-2.0": ("libxml2", "libxml2"),
    "csv": ("libcsv", ""),
    "tss2-esys": ("tpm2-tss", ""),
    "tss2-tctildr": ("tpm2-tss", ""),
    "libedit": ("libedit", "libedit"),
    "json-c": ("json-c", "libjson-c"),
    "tinfo": ("ncurses", "libncurses"),
    "libqrencode": ("qrencode", "qrencode"),
    "check": ("libcheck", ""),
    "http_parser": ("http-parser", "libhttp-parser"),
    "http_parser.h": ("http-parser", "libhttp-parser"),
}
ALWAYS = "DEPS"


def complain(text):
    bad.append(text)
    print(text)


def same(what, is_so, should):
    if sorted(is_so) != sorted(should):
        complain(f"{what}: has {' '.join(sorted(is_so))}, should have {' '.join(sorted(should))}")


def configure_looks_for():
    """Group -> names, as configure.ac has them: PKG_CHECK_MODULES's first word is the group."""
    text = (top / "configure.ac").read_text().replace("\\\n", " ")
    text = re.sub(r"(?m)^#.*$", "", text)
    groups = {}
    for group, modules in re.findall(r"PKG_CHECK_MODULES\(\[(\w+)\], \[([^]]*)\]", text):
        names = re.findall(r"([A-Za-z][\w.-]*)\s*(?:>=\s*[\d.]+)?", modules)
        groups.setdefault(group, []).extend(names)
    for name in re.findall(r"AC_CHECK_LIB\(\[(\w+)\]", text) + re.findall(r"AC_CHECK_HEADER\(\[([\w/.]+)\]", text):
        group = {"csv": "IMPORT", "http_parser": "HTTP1", "http_parser.h": "HTTP1"}.get(name, ALWAYS)
        groups.setdefault(group, []).append(name)
    same("tests/recipes.py, LIBRARIES", LIBRARIES, {name for names in groups.values() for name in names})
    return groups


def needed(groups, which, column):
    """Names of a distribution for the libraries of these groups; "" where it has none."""
    return {LIBRARIES[name][column] for group in which for name in groups[group] if name in LIBRARIES}


def switches_exist(where, text):
    known = subprocess.run([top / "configure", "--help"], capture_output=True, text=True, check=True).stdout
    for switch in re.findall(r"(?<![\w-])--(?:en|dis)able-[\w-]+|(?<![\w-])--with(?:out)?-[\w-]+", text):
        kind, name = re.match(r"--(enable|disable|with|without)-(.*)", switch).groups()
        kinds = ("enable", "disable") if kind in ("enable", "disable") else ("with", "without")
        if not any(re.search(rf"--{k}-{re.escape(name)}(?![\w-])", known) for k in kinds):
            complain(f"{where}: configure knows no {switch}")


# --- BitBake ---

ASSIGNMENT = re.compile(r'([A-Za-z_][\w.+/${}-]*(?:\[[\w-]+\])?(?::[a-z$][\w${}:.-]*)?) (=|\?=|\?\?=|:=|\+=|=\+|\.=|=\.) "([^"]*)"')


def bitbake_read(path):
    """Variables of a file, later assignments to the same name joined to it. Only what these files use is grammar."""
    variables, functions, inherited = {}, {}, []
    lines = iter(path.read_text().splitlines())
    for line in lines:
        if not line or line.startswith("#"):
            continue
        while line.endswith("\\"):
            line = line[:-1] + next(lines, "")
        function = re.fullmatch(r"([a-z_]+(?::[a-z_]+)*) ?\(\) ?\{", line)
        if function:
            body = []
            for inside in lines:
                if inside == "}":
                    break
                body.append(inside)
            else:
                complain(f"{path.name}: {function[1]} does not end")
            functions[function[1]] = "\n".join(body) + "\n"
            continue
        inherit = re.fullmatch(r"inherit ((?:[a-z-]+ ?)+)", line)
        if inherit:
            inherited += inherit[1].split()
            continue
        whole = ASSIGNMENT.fullmatch(line)
        if not whole:
            complain(f"{path.name}: not understood: {line}")
            continue
        name, operator, value = whole.groups()
        if value.count("{") != value.count("}"):
            complain(f"{path.name}: {name}: braces")
        variables[name] = variables.get(name, "") + " " + value if "+" in operator or "." in operator else value
    for name, body in functions.items():
        r = subprocess.run(["sh", "-n"], input=body, text=True, capture_output=True, check=False)
        if r.returncode:
            complain(f"{path.name}: {name}: {r.stderr}")
    return variables, inherited


PLACES = {
    "bindir": "usr/bin",
    "sbindir": "usr/sbin",
    "datadir": "usr/share",
    "sysconfdir": "etc",
    "nonarch_libdir": "usr/lib",
    "systemd_system_unitdir": "usr/lib/systemd/system",
}


def files_of(where, patterns, installed):
    """What FILES takes of the installed files; each pattern has to take something."""
    taken = set()
    for pattern in patterns.split():
        place = re.sub(r"\$\{(\w+)\}", lambda m: PLACES.get(m[1], "UNKNOWN"), pattern)
        some = {f for f in installed if fnmatch.fnmatchcase(f, place) or f.startswith(place.rstrip("/") + "/")}
        if not some:
            complain(f"{where}: nothing is installed as {pattern}")
        taken |= some
    return taken


def yocto(version, groups, installed):
    layer = top / "packaging/yocto"
    settings, _ = bitbake_read(layer / "conf/layer.conf")
    for path in layer.glob("recipes-*/*/*.bb*"):
        if not any(fnmatch.fnmatch(str(path), p.replace("${LAYERDIR}", str(layer))) for p in settings["BBFILES"].split()):
            complain(f"{path.name} is not among BBFILES")
    for append in layer.glob("recipes-*/*/*.bbappend"):
        bitbake_read(append)
    recipes = list(layer.glob("recipes-*/pngw/*.bb"))
    same("recipe of Yocto", [r.name for r in recipes], [f"pngw_{version}.bb"])
    recipe, inherited = bitbake_read(recipes[0])
    same("inherit", inherited, ["autotools", "pkgconfig", "systemd", "useradd"])
    if recipe["LICENSE"] != "CLOSED" or "License: none-granted" not in (top / "debian/copyright").read_text():
        complain("LICENSE and debian/copyright do not agree")
    switches_exist(recipes[0].name, " ".join(v for k, v in recipe.items() if k.startswith(("EXTRA_OECONF", "PACKAGECONFIG["))))
    if "--disable-tests" not in recipe["EXTRA_OECONF"] or "--with-sd-bus=systemd" not in recipe["EXTRA_OECONF"]:
        complain("DEPENDS is for --disable-tests --with-sd-bus=systemd")
    same("DEPENDS", recipe["DEPENDS"].split(), needed(groups, [ALWAYS], 0) | {"systemd", "autoconf-archive-native"})
    features = {"le": [], "http1": ["HTTP1"], "console": ["CONSOLE", "IMPORT"], "server": ["IMPORT"], "tpm": ["TPM"]}
    same("PACKAGECONFIG", [k[14:-1] for k in recipe if k.startswith("PACKAGECONFIG[")], features)
    for feature, which in features.items():
        parts = recipe.get(f"PACKAGECONFIG[{feature}]", ",,").split(",")
        same(f"PACKAGECONFIG[{feature}]", (parts + [""])[2].split(), needed(groups, which, 0))
    # The packages before PN take their files first; PN takes these, and bin, sbin and etc.
    packages = recipe["PACKAGE_BEFORE_PN"].split()
    same("packages", packages, ["cpns-pne", "cpns-server"])
    of = {p: files_of(f"FILES:{p}", recipe[f"FILES:{p}"], installed) for p in packages}
    rest = installed - set().union(*of.values())
    of["${PN}"] = files_of("FILES:${PN}", recipe["FILES:${PN}"] + " ${bindir} ${sbindir} ${sysconfdir}", rest)
    for file in sorted(rest - of["${PN}"]):
        if not file.startswith(("usr/share/man/", "usr/share/doc/")):
            complain(f"{recipes[0].name}: {file} is in no package")
    debian = {"cpns-pne": "cpns-pne", "cpns-server": "cpns-server", "${PN}": "pngw"}
    for package, name in debian.items():
        for line in (top / f"debian/{name}.install").read_text().split():
            file = re.sub("^lib/systemd", "usr/lib/systemd", line)
            if "/man/" not in file and not files_of(f"debian/{name}.install", file, of[package]):
                complain(f"{package}: {line} of debian/{name}.install is elsewhere")
    for package in ("${PN}", "cpns-server"):
        unit = "usr/lib/systemd/system/" + recipe[f"SYSTEMD_SERVICE:{package}"]
        conf = re.sub(r"\$\{(\w+)\}", lambda m: PLACES[m[1]], recipe[f"CONFFILES:{package}"])
        for file in (unit, conf):
            if file not in of[package]:
                complain(f"{package}: no {file}")
        user = debian[package]
        wanted = re.findall(r"(?m)^u (\S+)", (top / f"systemd/{user}.sysusers").read_text())
        users = [one.split()[-1] for one in recipe[f"USERADD_PARAM:{package}"].split(";")]
        groups_made = [one.split()[-1] for one in recipe[f"GROUPADD_PARAM:{package}"].split(";")]
        same(f"users of {package}", users, wanted)
        same(f"groups of {package}", groups_made, wanted)


# --- OpenWrt ---

# As much of rules.mk, package.mk and meson.mk as says what a recipe means.
RULES = """
INCLUDE_DIR := $(TOPDIR)
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
INSTALL_DATA := install -m0644
CP := cp -fpR
CONFIGURE_ARGS :=
MESON_ARGS :=
"""
PACKAGE = """
define BuildPackage
  DEPENDS :=
  USERID :=
  $(eval $(Package/$(1)))
  $(if $(strip $(TITLE)),,$(error $(1) has no TITLE))
  $(if $(strip $(Package/$(1)/description)),,$(error $(1) has no description))
  $(info $(1): $(strip $(DEPENDS)))
  $(eval ALL += $(1))
install-$(1):
$(call Package/$(1)/install,$(ROOT)/$(1))
endef
.DEFAULT_GOAL = all
all:
	@echo packages: $(ALL)
	@echo arguments: $(CONFIGURE_ARGS) $(MESON_ARGS)
	@echo version: $(PKG_VERSION)
	@echo installs: $(PKG_INSTALL)
"""


def openwrt_make(folder, *goals):
    r = subprocess.run(
        ["make", "-s", "--warn-undefined-variables", "-C", folder, f"TOPDIR={work}", f"ROOT={work}/root", f"PKG_INSTALL_DIR={tree}", *goals],
        capture_output=True, text=True, check=False,
    )
    for line in r.stderr.splitlines():
        if r.returncode or "undefined variable" in line:
            complain(f"{folder.name}/Makefile: {line}")
    return dict(line.split(":", 1) for line in r.stdout.splitlines() if ":" in line)


def openwrt(version, groups, installed):
    (work / "rules.mk").write_text(RULES)
    (work / "package.mk").write_text(PACKAGE)
    (work / "meson.mk").write_text("")
    (work / "root").mkdir()
    feed = top / "packaging/openwrt"
    said = openwrt_make(feed / "basu")
    same("packages of basu", said.get("packages", "").split(), ["basu"])
    said = openwrt_make(feed / "pngw")
    if "packages" not in said:
        return
    packages = said["packages"].split()
    same("packages of pngw", packages, ["pngw", "cpns-pne"])
    same("version", said["version"].split(), [version])
    same("PKG_INSTALL", said["installs"].split(), ["1"])
    arguments = said["arguments"]
    switches_exist("OpenWrt's pngw", arguments)
    which = {ALWAYS, "SD_BUS", "IMPORT", "CONSOLE", "HTTP1", "TPM", "CHECK"}
    for group, off in {"IMPORT": "server console", "CONSOLE": "console", "HTTP1": "http1", "CHECK": "tests"}.items():
        if all(f"--disable-{name}" in arguments.split() for name in off.split()):
            which.remove(group)
    if "--without-tpm" in arguments:
        which.remove("TPM")
    if "--with-sd-bus=basu" in arguments:
        which.remove("SD_BUS")
    libraries = needed(groups, which, 1) | {"basu"}
    # dbus and bluetoothd are spoken to; of BlueZ only a header is built with.
    same("DEPENDS of pngw", said["pngw"].replace("+", "").split(), libraries | {"dbus"})
    same("DEPENDS of cpns-pne", said["cpns-pne"].replace("+", "").split(), libraries - {"bluez-daemon"})
    openwrt_make(feed / "pngw", *(f"install-{name}" for name in packages))
    found = {str(f.relative_to(work / "root" / p)): p for p in packages for f in (work / "root" / p).rglob("*") if f.is_file()}
    # Each program but the console's and the server's.
    for file in sorted(installed):
        name = file.rsplit("/", 1)[1]
        if file.startswith(("usr/bin/", "usr/sbin/")) and name not in ("pngwctl", "cpns-serverd", "cpns-server-admin"):
            if found.get(file) != ("cpns-pne" if name == "cpns-pne" else "pngw"):
                complain(f"OpenWrt: {file} is in {found.get(file, 'no package')}")
    if "etc/init.d/pngwd" not in found:
        complain("OpenWrt: pngw has no init script")
        return
    init = (work / "root/pngw/etc/init.d/pngwd").read_text()
    for file in re.findall(r"(?m)^[A-Z]+=(/\S+)$", init):
        if file[1:] not in found:
            complain(f"pngwd.init: {file} is in no package")
    text = (feed / "pngw/Makefile").read_text()
    for file in re.search(r"(?s)conffiles\n(.*?)endef", text)[1].split():
        if file[1:] not in found and not (file.endswith("/") and file[:-1] in init):
            complain(f"conffiles: {file} is neither installed nor made by pngwd.init")


def main():
    version = re.search(r"AC_INIT\(\[pngw\], \[([\d.]+)\]\)", (top / "configure.ac").read_text())[1]
    groups = configure_looks_for()
    installed = {str(f.relative_to(tree)) for f in tree.rglob("*") if f.is_file()}
    yocto(version, groups, installed)
    openwrt(version, groups, installed)
    return 1 if bad else 0


sys.exit(main())
