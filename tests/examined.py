#!/usr/bin/python3
"""examined.py: reads pngwd --doctor --json from standard input, sees that it is as doc/doctor.md says,
and writes one line for each check: id, state, finding and remedy between tabs."""
import json
import sys

report = json.load(sys.stdin)
assert set(report) == {"time", "milliseconds", "checks"}, sorted(report)
assert report["milliseconds"] < 16000, report["milliseconds"]
checks = report["checks"]
assert len(checks) >= 40, len(checks)
assert len({c["id"] for c in checks}) == len(checks), "an id twice"
for c in checks:
    assert set(c) == {"id", "title", "leg", "state", "finding", "remedy"}, sorted(c)
    assert c["state"] in ("ok", "warning", "failed", "not-applicable"), c
    assert c["finding"] and c["title"], c
    assert bool(c["remedy"]) == (c["state"] in ("warning", "failed")), c
    print("\t".join(c[k] for k in ("id", "state", "finding", "remedy")))
