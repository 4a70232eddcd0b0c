#!/usr/bin/env python3
"""Looks for secrets where none may be.

    find-secrets.py RUN PASSWORD [--remember FILE] [--name NAME]... FILE...

RUN is the folder of a system (tests/system.sh). The secrets are the password, what the server's
store holds once it is opened with its key file, and the manufacturer's Temporary Keys. Each is looked
for as bytes, as either half of a key, as hex of both cases and as base64; so is each NAME, but where
it is a device's own file's name. FILE keeps secrets for later searches, when the server has forgotten
them. What is found is named, never shown. Exit status 1 when something was found, 2 when the search itself cannot be trusted.
"""

import argparse
import base64
import csv
import importlib.util
import json
import os
import re
import sqlite3
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def second_implementation():
    path = os.path.join(HERE, "vectors", "make-p1-vectors.py")
    spec = importlib.util.spec_from_file_location("p1", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


P1 = second_implementation()


def unsealed(key, sealed, name):
    """The sealed value: a nonce of 12 bytes, the value, a tag of 16 bytes."""
    nonce, body = sealed[:12], sealed[12:-16]
    stream = b"".join(P1.chacha_block(key, 1 + i, nonce) for i in range(len(body) // 64 + 1))
    value = bytes(a ^ b for a, b in zip(body, stream))
    if P1.seal(key, nonce, name, value) != sealed[12:]:
        print("the store's seal is not what this script knows", file=sys.stderr)
        sys.exit(2)
    return value


def secrets_of(run, password):
    found = {"the password": password.encode()}
    with open(os.path.join(run, "server.key"), encoding="ascii") as f:
        key = bytes.fromhex(f.read().strip())
    found["the server's store key"] = key
    db = sqlite3.connect(f"file:{run}/server.db?mode=ro", uri=True)
    store = "CPNS server store"
    for user, salt, iterations, sealed in db.execute(
            "SELECT user, salt, iterations, ph FROM account"):
        found[f"PH of {user}"] = unsealed(
            key, sealed, P1.ctx(store, "account", user, salt, iterations))
    for user, entity, index, sealed in db.execute("SELECT user, entity, idx, key FROM eukey"):
        found[f"EUKey {index} of {entity}"] = unsealed(
            key, sealed, P1.ctx(store, "eukey", user, entity, index))
    for entity, passphrase, sealed in db.execute(
            "SELECT entity, passphrase, key FROM temporary_key"):
        found[f"Temporary Key of {entity}"] = unsealed(
            key, sealed, P1.ctx(store, "temporary key", entity, b"", passphrase))
    db.close()
    with open(os.path.join(run, "keys.csv"), encoding="utf-8", newline="") as f:
        for row in csv.DictReader(f):
            found[f"printed Temporary Key of {row['entity_id']}"] = row["temporary_key"].encode()
    for name in os.listdir(run):
        path = os.path.join(run, name)
        if name.endswith(".key") and name != "server.key" and os.path.isfile(path):
            with open(path, "rb") as f:
                text = f.read().strip()
            found[f"the key in {name}"] = bytes.fromhex(text.decode()) if len(text) == 64 else text
    return found


def forms(secret):
    yield "as it is", secret
    yield "in hex", secret.hex().encode()
    yield "in hex", secret.hex().upper().encode()
    yield "in base64", base64.b64encode(secret).rstrip(b"=")[:-1]
    if len(secret) == 32:
        yield "its first half", secret[:16]
        yield "its second half", secret[16:]


def name_forms(name):
    """A name in a file: base64 of it has three alignments, whose ends depend on its neighbours."""
    yield "as it is", name
    yield "in hex", name.hex().encode()
    yield "in hex", name.hex().upper().encode()
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + name + b"\0" * 3)
        yield "in base64", whole[4 if shift else 0:(shift + len(name)) // 3 * 4]


def remembered(path, secrets):
    """Adds what an earlier search knew, and keeps all of it for the next one."""
    if os.path.exists(path):
        with open(path, encoding="ascii") as f:
            for name, value in json.load(f):
                if bytes.fromhex(value) not in secrets.values():
                    secrets["earlier " + name] = bytes.fromhex(value)
    with open(path, "w", encoding="ascii") as f:
        json.dump([(name, value.hex()) for name, value in secrets.items()], f)


def places(content, text, is_name):
    """The first place of text that is not a file's name."""
    if not is_name:
        return content.find(text)
    found = re.search(re.escape(text) + rb"(?!\.(vault|key))", content)
    return found.start() if found else -1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("password")
    parser.add_argument("--remember")
    parser.add_argument("--name", action="append", default=[])
    parser.add_argument("files", nargs="*")
    options = parser.parse_intermixed_args()
    secrets = secrets_of(options.run, options.password)
    kinds = {name.split()[0] for name in secrets}
    if not {"PH", "EUKey", "Temporary", "printed"} <= kinds:
        print(f"only these kinds of secrets are there to look for: {sorted(kinds)}",
              file=sys.stderr)
        return 2
    if options.remember:
        remembered(options.remember, secrets)
    wanted = [(name, form, text, False) for name, secret in secrets.items()
              for form, text in forms(secret)]
    wanted += [(f"the name {name}", form, text, form == "as it is") for name in options.name
               for form, text in name_forms(name.encode())]
    bad = 0
    for path in options.files:
        with open(path, "rb") as f:
            content = f.read()
        if os.path.basename(path).startswith("core.") and b"alice" not in content:
            print(f"{path} does not even hold the User ID: it is no image", file=sys.stderr)
            return 2
        for name, form, text, is_name in wanted:
            at = places(content, text, is_name)
            if at >= 0:
                print(f"{path}: {name}, {form}, at {at:#x}")
                bad = 1
    print(f"looked for {len(secrets)} secrets and {len(options.name)} names "
          f"in {len(options.files)} files")
    return bad


if __name__ == "__main__":
    sys.exit(main())
