"""What a terminal shows of a QR code, as a picture: text on standard input, PGM on standard output."""

import sys

SCALE = 4
DARK, LIGHT = b"\0", b"\xff"
HALVES = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


def modules(lines):
    """Rows of lit or unlit modules. The label's text below the code is none of them."""
    for line in lines:
        if not line or not set(line) <= set(" #▀▄█"):
            continue
        if "#" in line:
            yield [c == "#" for c in line[::2]]
        else:
            yield [bool(HALVES[c][0]) for c in line]
            yield [bool(HALVES[c][1]) for c in line]


def main():
    inverted = "--inverted" in sys.argv[1:]
    rows = list(modules(sys.stdin.read().split("\n")))
    width = max(len(row) for row in rows)
    out = sys.stdout.buffer
    out.write(b"P5\n%d %d\n255\n" % (width * SCALE, len(rows) * SCALE))
    for row in rows:
        row += [not inverted] * (width - len(row))
        line = b"".join((LIGHT if lit != inverted else DARK) * SCALE for lit in row)
        out.write(line * SCALE)


main()
