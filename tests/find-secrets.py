#!/usr/bin/env python3
"""Looks for secrets where none may be.

    find-secrets.py RUN PASSWORD [--remember FILE] [--name NAME]... [--vault VAULT KEYFILE] FILE...

RUN is the folder of a system (tests/system.sh). The secrets are the password, what the server's
store holds once it is opened with its key file, and the manufacturer's Temporary Keys. Each is looked
for as bytes, as either half of a key, as hex of both cases and as base64; so is each NAME, but where
it is a device's own file's name. FILE keeps secrets for later searches, when the server has forgotten
them. With VAULT and KEYFILE also the keys of that vault, from the master key down, and of the wrap that
the key file opens. What is found is named, never shown. Exit status 1 when something was found, 2 when the search itself cannot be trusted.
"""

import argparse
import base64
import csv
import hashlib
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


def x25519(private, public):
    """RFC 7748."""
    p = 2 ** 255 - 19
    k = bytearray(private)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    u = int.from_bytes(public, "little") % 2 ** 255
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a % p, c * b % p, a * a % p, b * b % p
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % p, u * (da - cb) ** 2 % p
        x2, z2 = aa * bb % p, e * (aa + 121665 * e) % p
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")


def vault_secrets(path, key_path):
    """doc/vault.md."""
    found = {}
    with open(key_path, encoding="ascii") as f:
        secret = bytes.fromhex(f.read().strip())
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    (vault,) = db.execute("SELECT vault FROM meta").fetchone()
    for slot, generation, label, public, parameters, ephemeral, sealed in db.execute(
            "SELECT slot, generation, label, public, parameters, ephemeral, sealed FROM wrap "
            "WHERE source = 1"):
        private = P1.hkdf(secret, vault, P1.ctx("pngw vault wrap private", slot))
        if x25519(private, b"\x09" + bytes(31)) != public:
            continue
        sender = P1.hkdf(secret, vault, P1.ctx("pngw vault wrap sender", slot))
        shared = x25519(private, ephemeral)
        context = P1.ctx("pngw vault wrap", 2, vault, slot, generation, 1)
        kek = P1.hkdf(shared + sender, ephemeral + public, context)
        master = unsealed(kek, bytes(12) + sealed, context + P1.ctx(label, parameters))
        seal = P1.hkdf(master, vault, P1.ctx("pngw vault seal", 2))
        nonce, keys = db.execute(
            "SELECT nonce, sealed FROM master WHERE generation = ?", (generation,)).fetchone()
        keys = unsealed(seal, nonce + keys, P1.ctx("pngw vault master", 2, vault, generation))
        found[f"the wrap's private key of slot {slot}"] = private
        found[f"the sender of slot {slot}"] = sender
        found[f"the wrapping key of slot {slot}, generation {generation}"] = kek
        found[f"the master key of generation {generation}"] = master
        found[f"the seal key of generation {generation}"] = seal
        for i, name in enumerate(("names", "tag", "signing")):
            found[f"the vault's {name} key"] = keys[32 * i:32 * i + 32]
        found["the signing key, expanded"] = hashlib.sha512(keys[64:]).digest()[:32]
    db.close()
    if not found:
        print(f"{key_path} does not open {path}", file=sys.stderr)
        sys.exit(2)
    return found


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
    parser.add_argument("--vault", nargs=2)
    parser.add_argument("files", nargs="*")
    options = parser.parse_intermixed_args()
    secrets = secrets_of(options.run, options.password)
    kinds = {name.split()[0] for name in secrets}
    if not {"PH", "EUKey", "Temporary", "printed"} <= kinds:
        print(f"only these kinds of secrets are there to look for: {sorted(kinds)}",
              file=sys.stderr)
        return 2
    if options.vault:
        secrets.update(vault_secrets(*options.vault))
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
