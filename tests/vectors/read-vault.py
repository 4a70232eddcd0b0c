#!/usr/bin/env python3
"""A second reader of the vault, written from doc/vault.md, doc/ledger.md and doc/protocol.md alone.

    read-vault.py VAULT [--key-file FILE]... [--passphrase-file FILE]... [--of gateway|pne]
                  [--ledger FILE] [--before COPY] [--fingerprint HEX] [--password-file FILE]

Reads a copy of VAULT with its -wal, proves what the documents say of it, and prints each record on a line, of
a secret only its size. With --of, contents are taken apart into their fields. --before is an older copy of the
same vault, opened by the same secrets: its EUKeys prove the reset attempts. With --fingerprint HEX each EUKey's
is printed over that challenge. --password-file holds the user's password, which must be the one of every hash
in the vault. A record that does not open is a line "damaged: ...", another deviation from the documents a line
"DEVIATION PLACE: WHAT"; exit status 1 if there is one of either, 2 if the vault is not opened.
"""

import argparse
import hashlib
import hmac
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import unicodedata

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HEADER, ENTRY = 128, 152


class NotOpened(Exception):
    pass


class Report:
    def __init__(self):
        self.deviations = 0
        self.damaged = 0

    def damage(self, place):
        self.damaged += 1
        print(f"damaged: {place}")

    def deviation(self, place, what):
        self.deviations += 1
        print(f"DEVIATION {place}: {what}")

    def want(self, condition, place, what):
        if not condition:
            self.deviation(place, what)
        return condition


def u16(n):
    return n.to_bytes(2, "big")


def u32(n):
    return n.to_bytes(4, "big")


def u64(n):
    return n.to_bytes(8, "big")


def number(data):
    return int.from_bytes(data, "big")


def ctx(*arguments):
    out = b""
    for argument in arguments:
        if isinstance(argument, str):
            argument = argument.encode("ascii")
        elif isinstance(argument, int):
            argument = u32(argument)
        out += u32(len(argument)) + argument
    return out


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(secret, salt, info):
    return mac(mac(salt or bytes(32), secret), info + b"\x01")


def unseal(key, nonce, ad, sealed):
    """The plain text, or None."""
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, ad)
    except InvalidTag:
        return None


def siphash(key, data):
    """SipHash-2-4 with 128 bits of output."""
    mask = (1 << 64) - 1

    def rotated(x, b):
        return ((x << b) | (x >> (64 - b))) & mask

    def rounds(v, n):
        v0, v1, v2, v3 = v
        for _ in range(n):
            v0 = (v0 + v1) & mask
            v1 = rotated(v1, 13) ^ v0
            v0 = rotated(v0, 32)
            v2 = (v2 + v3) & mask
            v3 = rotated(v3, 16) ^ v2
            v0 = (v0 + v3) & mask
            v3 = rotated(v3, 21) ^ v0
            v2 = (v2 + v1) & mask
            v1 = rotated(v1, 17) ^ v2
            v2 = rotated(v2, 32)
        return [v0, v1, v2, v3]

    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE,
         k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    whole = len(data) // 8 * 8
    words = [data[i:i + 8] for i in range(0, whole, 8)]
    words.append(data[whole:].ljust(7, b"\0") + bytes([len(data) & 0xFF]))
    for word in words:
        m = int.from_bytes(word, "little")
        v[3] ^= m
        v = rounds(v, 2)
        v[0] ^= m
    v[2] ^= 0xEE
    v = rounds(v, 4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    v = rounds(v, 4)
    return first.to_bytes(8, "little") + (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")


def check_siphash():
    """Against vectors_sip128 of the reference code: key 00..0f, message 00.. of growing size."""
    for size, expected in ((0, "a3817f04ba25a8e66df67214c7550293"), (1, "da87c1d86b99af44347659119b22fc45"),
                           (2, "8177228da4a45dc7fca38bdef60affe4"), (63, "5150d1772f50834a503e069a973fbd7c")):
        if siphash(bytes(range(16)), bytes(range(size))).hex() != expected:
            raise SystemExit(f"this SipHash is wrong for {size} bytes")


def secret(data):
    return f"({len(data)} bytes)"


def name(data):
    """A name as text where it is one."""
    try:
        text = data.decode()
        if text.isprintable():
            return json.dumps(text, ensure_ascii=False)
    except UnicodeDecodeError:
        pass
    return "0x" + data.hex()


# A field: name, sizes, how it is shown, what it may be; "!" before the name: it must be there.
TEXT, U32, U64, SECRET, HEX, ATTEMPT = range(6)
ID = ((16,), HEX, None)
USER = (range(1, 65), TEXT, None)
ENTITY = USER
KEY = ((32,), SECRET, None)


def u32_of(*values):
    return ((4,), U32, values or None)


ANY64 = ((8,), U64, None)
# kind: name, owner, item, fields
GATEWAY = {
    1: ("identity", b"gateway", b"", {1: ("!user", *USER)}),
    2: ("temporary-key", "entity", b"", {1: ("!user", *USER), 2: ("!key", range(16, 65), SECRET, None)}),
    3: ("eukey", "entity", 4, {1: ("!user", *USER), 2: ("!key", *KEY), 3: ("!state", *u32_of(0, 1, 2)),
                               8: ("!since", *ANY64), 4: ("message", *ID), 9: ("rand", *KEY)}),
    5: ("relayed", "entity", b"", {1: ("user", *USER), 14: ("relayed", *u32_of()), 15: ("installed", *u32_of())}),
    6: ("pne", "entity", b"", {1: ("!user", *USER)}),
    7: ("delivery", "entity", 4, {1: ("!user", *USER), 7: ("!entity", *ENTITY), 3: ("!state", *u32_of(0, 1, 2)),
                                  4: ("!message", *ID), 5: ("proof", *KEY)}),
    8: ("procedure", b"gateway", 8, {6: ("!figure", *u32_of(5, 6, 7, 8)), 1: ("!user", *USER),
                                     7: ("entity", *ENTITY)}),
    9: ("revocation", "entity", b"", {1: ("!epoch", *u32_of()), 2: ("!upto", *u32_of()),
                                      3: ("!reset", *u32_of(0, 1, 2)), 4: ("!flags", *u32_of(*range(8))),
                                      5: ("!since", *ANY64), 6: ("status", *u32_of()), 7: ("told", *u32_of()),
                                      **{tag: (f"attempt{tag - 15}", range(18, 1024), ATTEMPT, None)
                                         for tag in range(16, 20)}}),
    10: ("clock", b"gateway", b"", {8: ("!service", *ANY64), 13: ("!wall", *ANY64)}),
    11: ("verifier", "user", b"", {10: ("!salt", (16,), HEX, None), 11: ("!iterations", *u32_of()),
                                   12: ("!mac", *KEY)}),
    12: ("bluetooth", "entity", b"", {16: ("!address", (6,), HEX, None), 17: ("!kind", *u32_of(0, 1))}),
}
PNE = {
    2: ("temporary-key", "entity", b"", {1: ("!key", range(16, 65), SECRET, None)}),
    3: ("eukey", "entity", b"", {3: ("!index", *u32_of()), 1: ("user", *USER), 2: ("key", *KEY)}),
    4: ("user", "entity", b"", {1: ("!user", *USER), 2: ("!ph", *KEY), 3: ("!salt", (16,), HEX, None),
                                4: ("!iterations", *u32_of())}),
    5: ("answer", "entity", 16, {1: ("!request", (32,), HEX, None), 3: ("xml", range(1, 16385), SECRET, None),
                                 2: ("receipt", (49,), SECRET, None)}),
    8: ("procedure", "entity", b"figure 6", {1: ("!trigger", *ID), 2: ("!request", *ID), 3: ("!rand", *KEY),
                                             4: ("!xml", range(1, 16385), SECRET, None), 5: ("!user", *USER)}),
}
OWN = {129: "sender", 130: "anchor", 131: "restored"}


class Record:
    def __init__(self, kind, owner, item, content, sequence, generation):
        self.kind, self.owner, self.item, self.content = kind, owner, item, content
        self.sequence, self.generation = sequence, generation
        self.fields = {}


def split_plain(plain):
    """Owner, item, content; None if it is too short."""
    if len(plain) < 2 or len(plain) < 2 + plain[0] + plain[1]:
        return None
    end = 2 + plain[0]
    return plain[2:end], plain[end:end + plain[1]], plain[end + plain[1]:]


def split_fields(content):
    fields, at = {}, 0
    while at < len(content):
        if at + 3 > len(content) or at + 3 + number(content[at + 1:at + 3]) > len(content):
            raise ValueError(f"byte {at} of the content: a field does not end within it")
        size = number(content[at + 1:at + 3])
        fields.setdefault(content[at], content[at + 3:at + 3 + size])
        at += 3 + size
    return fields


def split_attempt(data):
    """Message id, User ID, [(index, proof, confirmation)]."""
    at = 17 + data[16]
    if len(data) < at + 1 or len(data) != at + 1 + 68 * data[at]:
        raise ValueError("a reset attempt of another size than its numbers say")
    keys = [data[i:i + 68] for i in range(at + 1, len(data), 68)]
    return data[:16], data[17:at], [(number(k[:4]), k[4:36], k[36:]) for k in keys]


class Vault:
    def __init__(self, path, arguments, report, quiet=False):
        self.report, self.quiet = report, quiet
        self.secrets = [(1, p, key_file(p)) for p in arguments.key_file]
        self.secrets += [(2, p, passphrase(p)) for p in arguments.passphrase_file]
        self.of = {"gateway": GATEWAY, "pne": PNE, None: None}[arguments.of]
        self.records = []
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "vault")
            shutil.copyfile(path, copy)
            if os.path.exists(path + "-wal"):
                shutil.copyfile(path + "-wal", copy + "-wal")
            try:
                self.db = sqlite3.connect(copy)
                self.read()
            except sqlite3.DatabaseError as error:
                raise NotOpened(f"{path}: {error}") from error
            finally:
                self.db.close()

    def say(self, line):
        if not self.quiet:
            print(line)

    def all(self, sql):
        return self.db.execute(sql).fetchall()

    def read(self):
        report = self.report
        (problem,), = self.all("PRAGMA integrity_check(1)")
        report.want(problem == "ok", "database", problem)
        (application,), = self.all("PRAGMA application_id")
        report.want(application == 0x504E4757, "application_id", hex(application))
        (self.schema,), = self.all("PRAGMA user_version")
        if self.schema == 1:
            self.read_schema_1()
        elif self.schema == 2:
            self.check_tables()
            self.read_meta()
            self.open_master()
            self.read_records()
            self.entries = self.all("SELECT sequence, entry FROM ledger ORDER BY sequence")
        else:
            raise NotOpened(f"user_version: schema {self.schema} is unknown")

    def check_tables(self):
        expected = {
            "meta": "id INTEGER*, vault BLOB, reserved INTEGER",
            "master": "generation INTEGER*, nonce BLOB, sealed BLOB",
            "wrap": "slot INTEGER*, generation INTEGER*, source INTEGER, label TEXT, public BLOB, "
                    "parameters BLOB, ephemeral BLOB, sealed BLOB",
            "record": "name BLOB*, sequence INTEGER, generation INTEGER, sealed BLOB",
            "ledger": "sequence INTEGER*, entry BLOB",
        }
        tables = {t: (rowless, strict) for _, t, _, _, rowless, strict in self.all("PRAGMA table_list")
                  if not t.startswith("sqlite_")}
        self.report.want(set(tables) == set(expected), "tables", f"there are {sorted(tables)}")
        for table, columns in expected.items():
            if table not in tables:
                raise NotOpened(f"table {table}: there is none")
            self.report.want(tables[table] == (table in ("record", "wrap"), 1), f"table {table}",
                             "STRICT or WITHOUT ROWID is otherwise")
            rows = self.all(f"PRAGMA table_info({table})")
            there = ", ".join(f"{r[1]} {r[2]}{'*' if r[5] else ''}" for r in rows)
            self.report.want(there == columns, f"table {table}", f"its columns are {there}")

    def size(self, place, data, size):
        return self.report.want(len(data) == size, place, f"{len(data)} bytes in place of {size}")

    def read_meta(self):
        rows = self.all("SELECT id, vault, reserved FROM meta")
        if len(rows) != 1 or len(rows[0][1]) != 16:
            raise NotOpened(f"table meta: {len(rows)} rows, or a vault id of another size")
        (one, self.id, self.reserved), = rows
        self.report.want(one == 1, "table meta", f"id is {one}")
        self.say(f"vault schema=2 id={self.id.hex()} reserved={self.reserved}")

    def open_wrap(self, row, source, s):
        slot, generation, _, label, public, parameters, ephemeral, sealed = row
        place = f"wrap slot {slot} generation {generation}"
        if source == 2:
            if not 1 <= parameters[16] <= 24:
                return None
            s = Scrypt(salt=parameters[:16], length=32, n=1 << parameters[16], r=parameters[17],
                       p=parameters[18]).derive(s)
        private = hkdf(s, self.id, ctx("pngw vault wrap private", slot))
        sender = hkdf(s, self.id, ctx("pngw vault wrap sender", slot))
        pair = X25519PrivateKey.from_private_bytes(private)
        ours = pair.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        if ours != public:
            return None
        context = ctx("pngw vault wrap", 2, self.id, slot, generation, source)
        shared = pair.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        kek = hkdf(shared + sender, ephemeral + public, context)
        master = unseal(kek, bytes(12), context + ctx(label, parameters), sealed)
        if not self.report.want(master is not None, place, "it is the secret's, but does not open"):
            return None
        return master, sender

    def open_master(self):
        report = self.report
        wraps = self.all("SELECT slot, generation, source, label, public, parameters, ephemeral, sealed FROM wrap"
                         " ORDER BY generation, slot")
        rows = self.all("SELECT generation, nonce, sealed FROM master ORDER BY generation")
        generations = [row[0] for row in rows]
        report.want(1 <= len(rows) <= 2 and generations[0] >= 1 and generations[-1] - generations[0] == len(rows) - 1,
                    "table master", f"its generations are {generations}")
        self.slots = {row[0] for row in wraps}
        report.want([(row[1], row[0]) for row in wraps] == [(g, s) for g in generations for s in sorted(self.slots)],
                    "table wrap", "not every slot has a wrap of every generation in master, or some have another")
        masters, self.senders, used = {}, {}, set()
        for row in wraps:
            slot, generation, source, label, public, parameters, ephemeral, sealed = row
            place = f"wrap slot {slot} generation {generation}"
            report.want(1 <= slot <= 8, place, "not a slot")
            report.want(source in (1, 2), place, f"source {source}")
            report.want(1 <= len(label) <= 32 and label.isascii() and label.isprintable(), place, "its label")
            if not all([self.size(place + ", public", public, 32), self.size(place + ", sealed", sealed, 48),
                        self.size(place + ", parameters", parameters, 19),
                        self.size(place + ", ephemeral", ephemeral, 32)]):
                continue
            if source == 1:
                report.want(parameters == bytes(19), place, "a key file's parameters are not zero")
            else:
                report.want(tuple(parameters[16:]) == (15, 8, 1), place, f"scrypt {tuple(parameters[16:])}")
            opened = "no"
            for index, (of, path, s) in enumerate(self.secrets):
                got = self.open_wrap(row, source, s) if of == source else None
                if got:
                    master, self.senders[slot] = got
                    report.want(masters.setdefault(generation, master) == master, place, "another master key")
                    used.add(index)
                    opened = "yes"
            self.say(f"wrap slot={slot} generation={generation} source={source} label={json.dumps(label)} "
                     f"opened={opened}")
        for index, (_, path, _) in enumerate(self.secrets):
            if index not in used:
                raise NotOpened(f"{path} opens no slot")
        self.seal = {}
        keys = {}
        for generation, nonce, sealed in rows:
            place = f"master generation {generation}"
            self.size(place + ", nonce", nonce, 12)
            self.size(place + ", sealed", sealed, 112)
            if not report.want(generation in masters, place, "no wrap opened for it"):
                continue
            self.seal[generation] = hkdf(masters[generation], self.id, ctx("pngw vault seal", 2))
            plain = unseal(self.seal[generation], nonce, ctx("pngw vault master", 2, self.id, generation), sealed)
            if not report.want(plain is not None, place, "does not open"):
                continue
            keys[generation] = plain
            self.say(f"master generation={generation} opened=yes")
        if not keys:
            raise NotOpened("table master: no row opens")
        report.want(len(set(keys.values())) == 1, "table master", "the generations have different keys")
        newest = keys[max(keys)]
        self.names, self.tag, self.signing = newest[:32], newest[32:64], newest[64:]

    def read_records(self):
        report = self.report
        seen = set()
        for row_name, sequence, generation, sealed in self.all(
                "SELECT name, sequence, generation, sealed FROM record ORDER BY sequence"):
            if not self.size(f"record {row_name.hex()}, name", row_name, 33):
                continue
            kind = row_name[0]
            place = f"kind {kind}, sequence {sequence}"
            report.want(1 <= sequence <= self.reserved, place, f"its sequence is above the {self.reserved} reserved")
            report.want(sequence not in seen, place, "another record has its sequence")
            seen.add(sequence)
            ad = ctx("pngw vault record", 2, generation, kind, u64(sequence), row_name[1:17], row_name[17:])
            opens = generation in self.seal and len(sealed) >= 28
            plain = unseal(self.seal[generation], sealed[:12], ad, sealed[12:]) if opens else None
            parts = split_plain(plain) if plain is not None else None
            if parts is None:
                report.damage(f"{place}, owner {row_name[1:17].hex()}")
                continue
            owner, item, content = parts
            owner_hash = siphash(self.names[:16], bytes([kind]) + owner)
            item_hash = siphash(self.names[16:], bytes([kind]) + owner_hash + item)
            report.want(owner_hash == row_name[1:17], place, "the owner within has another hash")
            report.want(item_hash == row_name[17:], place, "the item within has another hash")
            self.take(place, Record(kind, owner, item, content, sequence, generation))
        there = {r.item[0] for r in self.records if r.kind == 129 and len(r.item) == 1}
        report.want(there == self.slots or report.damaged, "records of kind 129",
                    f"of slots {sorted(there)}, wraps of {sorted(self.slots)}")

    def take(self, place, record):
        self.report.want(len(record.owner) <= 64 and len(record.item) <= 64 and len(record.content) <= 20000,
                         place, "larger than allowed")
        self.records.append(record)
        shown = f"content={secret(record.content)}"
        called = OWN.get(record.kind, "")
        if record.kind > 127:
            self.take_own(place, record)
        elif self.of is not None:
            called, shown = self.take_fields(place, record)
        item = str(number(record.item)) if record.kind in (3, 7, 8) and self.of is GATEWAY else name(record.item)
        self.say(f"record kind={record.kind} {called} owner={name(record.owner)} item={item} "
                 f"sequence={record.sequence} generation={record.generation} {shown}")

    def take_own(self, place, record):
        want = self.report.want
        want(record.kind in OWN, place, "not a kind of the vault's own")
        want(record.owner == b"", place, "it has an owner")
        want(len(record.item) == (record.kind == 129), place, f"its item has {len(record.item)} bytes")
        if record.kind == 129:
            want(len(record.content) == 32, place, "the sender's size")
            ours = self.senders.get(record.item[0]) if record.item else None
            want(ours in (None, record.content), place, "not the sender that the slot's secret gives")
        elif record.kind == 130:
            want(record.content == b"" or record.content.startswith((b"file:", b"tpm:")), place, "not an anchor's text")
        elif record.kind == 131:
            want(record.content == b"", place, "it has a content")

    def take_fields(self, place, record):
        want = self.report.want
        if not want(record.kind in self.of, place, "not a kind of the document"):
            return "", ""
        called, owner, item, layout = self.of[record.kind]
        if record.kind == 10 and record.item == b"backup":
            called, item, layout = "last backup", b"backup", {13: ("!wall", *ANY64)}
        if isinstance(owner, bytes):
            want(record.owner == owner, place, f"its owner is {name(record.owner)}")
        else:
            want(1 <= len(record.owner) <= 64, place, "its owner's size")
        if isinstance(item, bytes):
            want(record.item == item, place, f"its item is {name(record.item)}")
        else:
            want(len(record.item) == item, place, f"its item has {len(record.item)} bytes")
        try:
            record.fields = split_fields(record.content)
        except ValueError as error:
            self.report.deviation(place, str(error))
            return called, ""
        shown = []
        for tag, (title, sizes, form, values) in layout.items():
            if tag not in record.fields:
                want(title[0] != "!", place, f"field {tag}, {title[1:]}, is missing")
                continue
            data, title = record.fields[tag], title.lstrip("!")
            if want(len(data) in sizes, place, f"field {tag}, {title}, has {len(data)} bytes"):
                shown.append(f"{title}={self.field(place, title, data, form, values)}")
        for tag in record.fields:
            want(tag in layout, place, f"field {tag} is not in the document")
        return called, " ".join(shown)

    def field(self, place, title, data, form, values):
        if form == SECRET:
            return secret(data)
        if form == HEX:
            return data.hex()
        if form == TEXT:
            return name(data)
        if form in (U32, U64):
            self.report.want(values is None or number(data) in values, place, f"{title} is {number(data)}")
            return str(number(data))
        try:
            message, user, keys = split_attempt(data)
        except (ValueError, IndexError) as error:
            self.report.deviation(place, f"{title}: {error}")
            return ""
        return f"{message.hex()}:{name(user)}:{','.join(str(k[0]) for k in keys)}"

    def read_schema_1(self):
        if len(self.secrets) != 1 or self.secrets[0][0] != 1:
            raise NotOpened("schema 1 opens with one key file")
        _, path, k = self.secrets[0]
        seal, names = hkdf(k, b"", ctx("pngw vault seal")), hkdf(k, b"", ctx("pngw vault names"))
        checked = False
        for sequence, kind, owner, item, nonce, sealed in self.all(
                "SELECT sequence, kind, owner, item, nonce, sealed FROM record ORDER BY kind, sequence"):
            place = f"kind {kind}, sequence {sequence}"
            ad = ctx("pngw vault record", 1, kind, u64(sequence), owner, item)
            plain = unseal(seal, nonce, ad, sealed)
            if plain is None and kind == 0:
                raise NotOpened(f"{path} does not open it")
            parts = split_plain(plain) if plain is not None else None
            if parts is None:
                self.report.damage(place)
                continue
            self.report.want(mac(names, ctx("owner", kind, parts[0])) == owner, place, "its owner has another hash")
            self.report.want(mac(names, ctx("item", kind, parts[1])) == item, place, "its item has another hash")
            if kind == 0:
                checked = self.report.want(parts == (b"", b"", b"pngw vault"), place, "not what it should be")
            else:
                self.take(place, Record(kind, *parts, sequence, 0))
        self.report.want(checked, "record of kind 0", "there is none")

    def eukeys(self):
        """(entity, index): user, key"""
        found = {}
        for r in self.records:
            if r.kind == 3 and {1, 2} <= set(r.fields):
                index = number(r.item if self.of is GATEWAY else r.fields.get(3, b""))
                found[r.owner, index] = r.fields[1], r.fields[2]
        return found

    def check_resets(self, keys):
        """The reset proofs and confirmations, by the EUKeys that there were before."""
        for r in self.records:
            for tag in range(16, 20):
                if self.of is not GATEWAY or r.kind != 9 or tag not in r.fields:
                    continue
                message, user, proofs = split_attempt(r.fields[tag])
                for index, proof, confirmation in proofs:
                    if (r.owner, index) not in keys:
                        continue
                    place = f"revocation of {name(r.owner)}, key index {index}"
                    owner, key = keys[r.owner, index]
                    context = ctx(user, r.owner, index, message)
                    self.report.want(owner == user, place, "another user's key")
                    for value, label in ((proof, "CPNS P1 reset"), (confirmation, "CPNS P1 reset done")):
                        ours = mac(hkdf(key, b"", ctx(label)), context)
                        if self.report.want(ours == value, place, f"{label}: not the formula's"):
                            self.say(f"proven {label}: {name(r.owner)} {index}")

    def check_password(self, password):
        for r in self.records:
            kind, salt, iterations = (11, 10, 11) if self.of is GATEWAY else (4, 3, 4)
            if r.kind != kind or not {salt, iterations} <= set(r.fields):
                continue
            ph = hashlib.pbkdf2_hmac("sha256", password, r.fields[salt], number(r.fields[iterations]), 32)
            user = r.owner if kind == 11 else r.fields[1]
            ours = mac(hkdf(ph, b"", ctx("pngw offline password")), ctx(user)) if kind == 11 else ph
            if self.report.want(ours == r.fields[12 if kind == 11 else 2], f"{self.of[kind][0]} of {name(user)}",
                                "not that of the password"):
                self.say(f"proven password: {name(user)}")

    # The ledger

    def check_ledger(self, path):
        report = self.report
        rows = self.entries
        if not os.path.exists(path):
            report.want(not rows, path, "there is none, but the table has entries")
            return
        with open(path, "rb") as file:
            data = file.read()
        private = Ed25519PrivateKey.from_private_bytes(self.signing)
        self.public = private.public_key()
        raw = self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        header = b"pngwldgr" + u32(1) + u32(ENTRY) + self.id + raw
        if not report.want(data[:64] == header, f"{path} byte 0", "the header is not this vault's"):
            return
        self.signed(f"{path} byte 64", data[64:HEADER], ctx("pngw ledger header", header))
        entries = [data[at:at + ENTRY] for at in range(HEADER, len(data) - ENTRY + 1, ENTRY)]
        torn = (len(data) - HEADER) % ENTRY
        self.say(f"ledger file: {len(entries)} entries{f' and {torn} bytes' if torn else ''}; table: {len(rows)}")
        for sequence, row in rows:
            place = f"table ledger sequence {sequence}"
            if not self.size(place, row, 4 + ENTRY):
                continue
            at, entry = number(row[:4]), row[4:]
            report.want(number(entry[:4]) == sequence, place, "the entry has another sequence")
            if at < len(entries):
                report.want(entries[at] == entry, place, f"{path} byte {HEADER + at * ENTRY} is another entry")
            elif report.want(at == len(entries), place, f"its place {at} is not the next in the file"):
                entries.append(entry)
        if rows and len(rows[-1][1]) == 4 + ENTRY:
            report.want(entries[-1] == rows[-1][1][4:], "table ledger", "the newest entry is not that of the file")
        else:
            report.want(not entries, "table ledger", "the newest entry is not in it")
        tags = {bytes(16): "-"}
        for r in self.records:
            for owner in (r.owner, r.fields.get(7, b"") if r.kind in (7, 8) else b""):
                tags[mac(self.tag, ctx("entity", owner))[:16]] = name(owner)
            if 1 in r.fields:
                tags[mac(self.tag, ctx("user", r.fields[1]))[:16]] = name(r.fields[1])
        previous, last = data[:HEADER], 0
        for i, entry in enumerate(entries):
            place = f"{path} byte {HEADER + i * ENTRY}"
            sequence, event = number(entry[:4]), entry[12]
            self.signed(place, entry[88:], ctx("pngw ledger", self.id, entry[:88]))
            report.want(sequence == last + 1 or (event == 9 and sequence > last), place, "its sequence")
            report.want(entry[56:88] == hashlib.sha256(previous).digest(), place, "its hash of the one before")
            report.want(1 <= event <= 9 and entry[13] <= 7 and entry[14] in (0, 5, 6, 7, 8) and entry[15] == 0,
                        place, "event, reason, figure or byte 15")
            report.want(event != 9 or number(entry[16:20]) == last, place, "the key index of event 9")
            self.say(f"entry {sequence} event={event} reason={entry[13]} figure={entry[14]} "
                     f"key={number(entry[16:20])} epoch={number(entry[20:24])} "
                     f"entity={tags.get(entry[24:40], '?')} user={tags.get(entry[40:56], '?')}")
            previous, last = entry, sequence

    def signed(self, place, signature, data):
        try:
            self.public.verify(signature, data)
        except InvalidSignature:
            self.report.deviation(place, "its signature")


def key_file(path):
    with open(path, encoding="ascii") as file:
        text = file.read().removesuffix("\n")
    if len(text) != 64:
        raise NotOpened(f"{path}: not 64 hex digits")
    return bytes.fromhex(text)


def passphrase(path):
    with open(path, encoding="utf-8") as file:
        return unicodedata.normalize("NFC", file.read().removesuffix("\n")).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vault")
    parser.add_argument("--key-file", action="append", default=[])
    parser.add_argument("--passphrase-file", action="append", default=[])
    parser.add_argument("--of", choices=("gateway", "pne"))
    parser.add_argument("--ledger")
    parser.add_argument("--before")
    parser.add_argument("--fingerprint")
    parser.add_argument("--password-file")
    arguments = parser.parse_args()
    check_siphash()
    report = Report()
    try:
        keys = {}
        if arguments.before:
            keys = Vault(arguments.before, arguments, report, quiet=True).eukeys()
        vault = Vault(arguments.vault, arguments, report)
    except (NotOpened, OSError, ValueError) as error:
        print(f"NOT OPENED {error}")
        sys.exit(2)
    if vault.schema == 2:
        vault.check_ledger(arguments.ledger or arguments.vault + ".ledger")
    vault.check_resets(keys)
    if arguments.password_file:
        vault.check_password(passphrase(arguments.password_file))
    if arguments.fingerprint:
        for (entity, index), (user, key) in sorted(vault.eukeys().items()):
            print_key = hkdf(key, b"", ctx("CPNS P1 fingerprint"))
            print(f"fingerprint {name(entity)} {index} "
                  f"{mac(print_key, ctx(bytes.fromhex(arguments.fingerprint), user, entity, index))[:8].hex()}")
    print(f"records: {len(vault.records) + report.damaged}, damaged: {report.damaged}")
    print(f"deviations: {report.deviations}")
    sys.exit(1 if report.deviations or report.damaged else 0)


if __name__ == "__main__":
    main()
