#!/usr/bin/env python3
"""A second verifier of ledgers, written from doc/ledger.md alone.

    ./ledger_verify.py [--head N:HEX] FILE...

Prints "FILE: proven N" or "FILE: not proven: entry N, byte B"; exits 0 when all are proven, else 1.
"""

import hashlib
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HEADER = 128
ENTRY = 152

# state -> {event class: next state}; what is not there is a defect
TABLE = {
    "absent": {"issued": "pool"},
    "pool": {"spent": "spent", "erased": "erased"},
    "relayed": {"installed": "installed", "erased": "erased"},
    "lost": {"installed": "installed", "erased": "erased"},
    "spent": {"installed": "installed", "erased": "gone"},
    "installed": {"installed": "installed", "erased": "gone"},
    "erased": {"erased": "erased"},
    "gone": {"erased": "gone"},
}
EVENTS = {2: "issued", 3: "spent", 4: "installed", 5: "installed", 7: "erased"}


class Defect(Exception):
    def __init__(self, sequence, offset):
        super().__init__(f"not proven: entry {sequence}, byte {offset}")


def ctx(*arguments):
    return b"".join(struct.pack(">I", len(a)) + a for a in arguments)


def signed(public, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


class Verifier:
    def __init__(self, expected):
        self.expected = expected
        self.keys = {}
        self.revoked = {}
        self.older = False
        self.gap = False
        self.rolled_back = False
        self.sequence = 0

    def key(self, entity, index, event, figure):
        """True when the event may come now."""
        if index == 0:
            return event == "erased"
        if event != "erased" and index <= self.revoked.get(entity, 0):
            return False
        state = self.keys.get((entity, index), "absent")
        following = TABLE[state].get(event)
        if state == "absent" and event == "spent" and self.older and not self.rolled_back:
            following = "spent"
        if state == "absent" and event in ("installed", "erased") and (self.older or self.gap):
            following = "installed" if event == "installed" else "gone"
        if following == "pool" and figure in (5, 6, 8):
            following = "relayed"
        if following is None:
            return False
        self.keys[entity, index] = following
        return True

    def meaning(self, sequence, event, reason, figure, index, entity):
        if event == 1:
            self.older = reason == 7
            return sequence == 1
        if event in EVENTS:
            return self.key(entity, index, EVENTS[event], figure)
        if event == 6:
            self.revoked[entity] = max(self.revoked.get(entity, 0), index)
            return True
        if event == 9:
            for name, state in self.keys.items():
                if state == "pool":
                    self.keys[name] = "lost"
            self.rolled_back = True
            self.gap = self.gap or sequence > self.sequence + 1
            return True
        return event == 8

    def run(self, data):
        header = data[:HEADER]
        if len(header) < HEADER or header[:16] != b"pngwldgr" + struct.pack(">II", 1, ENTRY):
            raise Defect(0, 0)
        public = header[32:64]
        if not signed(public, header[64:], ctx(b"pngw ledger header", header[:64])):
            raise Defect(0, 0)
        head = hashlib.sha256(header).digest()
        offset = HEADER
        while offset < len(data):
            entry = data[offset : offset + ENTRY]
            message = ctx(b"pngw ledger", header[16:32], entry[:88])
            if len(entry) < ENTRY or not signed(public, entry[88:], message):
                raise Defect(self.sequence + 1, offset)
            head = self.entry(entry, offset, head)
            offset += ENTRY
        if self.sequence == 0 or (self.expected and self.expected[0] > self.sequence):
            raise Defect(self.sequence + 1, offset)
        return self.sequence

    def entry(self, entry, offset, head):
        sequence, _, event, reason, figure, zero, index, _ = struct.unpack(">IQBBBBII", entry[:24])
        if sequence <= self.sequence or (event != 9 and sequence != self.sequence + 1):
            raise Defect(self.sequence + 1, offset)
        good = (
            entry[56:88] == head
            and (event != 9 or index == self.sequence)
            and (self.sequence > 0 or event == 1 or (event == 9 and sequence > 1))
            and zero == 0
            and reason <= 7
            and self.meaning(sequence, event, reason, figure, index, entry[24:40])
        )
        if not good:
            raise Defect(sequence, offset)
        digest = hashlib.sha256(entry).digest()
        if self.expected:
            number, wanted = self.expected
            if self.sequence < number < sequence or (number == sequence and wanted != digest):
                raise Defect(number, offset)
        self.sequence = sequence
        return digest


def verify(path, expected):
    with open(path, "rb") as f:
        data = f.read()
    try:
        return f"proven {Verifier(expected).run(data)}"
    except Defect as defect:
        return str(defect)


def main():
    files = sys.argv[1:]
    expected = None
    if files[0] == "--head":
        number, _, digest = files[1].partition(":")
        expected = (int(number), bytes.fromhex(digest))
        files = files[2:]
    results = [verify(path, expected) for path in files]
    for path, result in zip(files, results):
        print(f"{path}: {result}")
    return 0 if all(r.startswith("proven") for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
