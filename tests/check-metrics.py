#!/usr/bin/python3
"""check-metrics.py FILE MANUAL: whether FILE is in Prometheus' text format, as strictly as its
documentation has it, whether its metrics are those of the table in MANUAL, and no other label than
those. Writes each sample as NAME{LABELS} VALUE, labels sorted."""
import re
import sys

text = open(sys.argv[1], encoding="utf-8").read()
manual = {}
for line in open(sys.argv[2], encoding="utf-8"):
    m = re.fullmatch(r"\| `([a-z_]+)` \| (counter|gauge|histogram) \| (.*?) \| (.+) \|\n", line)
    if m:
        manual[m[1]] = (m[2], [w for w in m[3].split(", ") if w], m[4])
assert manual, "no table in the manual"
assert text.endswith("\n") and "\n\n" not in text

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\n]|\\[\\n\"])*\",?)*)\}})? ([0-9.]+|\+Inf)")
LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\\n]|\\[\\n\"])*)\"(?:,|$)")
types, helps, samples, order = {}, {}, {}, []
family = None
for line in text[:-1].split("\n"):
    m = re.fullmatch(rf"# HELP ({NAME}) (.+)", line)
    if m:
        assert m[1] not in helps, f"two HELP of {m[1]}"
        helps[m[1]] = m[2]
        family = None
        continue
    m = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line)
    if m:
        assert m[1] not in types and m[1] in helps, line
        types[m[1]] = m[2]
        family = m[1]
        order.append(family)
        continue
    m = SAMPLE.fullmatch(line)
    assert m, f"no sample: {line}"
    name, labels, value = m[1], m[2] or "", m[3]
    assert family, f"outside of a metric: {line}"
    suffixes = ("_bucket", "_sum", "_count") if types[family] == "histogram" else ("",)
    assert name in [family + s for s in suffixes], f"{line} in {family}"
    pairs = LABEL.findall(labels)
    assert ",".join(f'{k}="{v}"' for k, v in pairs) == labels, f"labels: {line}"
    assert len({k for k, _ in pairs}) == len(pairs), f"a label twice: {line}"
    wanted = manual[family][1] + (["le"] if name.endswith("_bucket") and types[family] == "histogram" else [])
    assert sorted(k for k, _ in pairs) == sorted(wanted), f"labels are not the manual's: {line}"
    key = (name, tuple(sorted(pairs)))
    assert key not in samples, f"twice: {line}"
    samples[key] = value

assert set(types) == set(manual), set(types) ^ set(manual)
for name, (kind, _, meaning) in manual.items():
    assert types[name] == kind, name
    assert helps[name] == meaning, name
    assert not (kind == "counter") or name.endswith("_total"), name

# Histograms: buckets rise, the last is +Inf and is the count, and there is a sum.
for family in (f for f in types if types[f] == "histogram"):
    series = {}
    for (name, pairs), value in samples.items():
        if name == family + "_bucket":
            rest = tuple(p for p in pairs if p[0] != "le")
            series.setdefault(rest, []).append((float(dict(pairs)["le"].replace("+Inf", "inf")), float(value)))
    for rest, buckets in series.items():
        assert [b[0] for b in buckets] == sorted({b[0] for b in buckets}), f"{family}: bounds"
        assert [b[1] for b in buckets] == sorted(b[1] for b in buckets), f"{family}: falls"
        assert buckets[-1][0] == float("inf"), f"{family}: no +Inf"
        assert float(samples[(family + "_count", rest)]) == buckets[-1][1], f"{family}: count"
        total = float(samples[(family + "_sum", rest)])
        assert total <= buckets[-1][1] * 3600 and (total > 0 or buckets[-1][1] >= 0), family
for (name, pairs), value in samples.items():
    print(name + "{" + ",".join(f"{k}={v}" for k, v in pairs) + "} " + value)
