#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""perf/run wan: tables, plots, refusals; and the same scenario in real time, beside stock kcptun."""
import json
import os
import subprocess
import sys
import tempfile
import xml.dom.minidom

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT

SCENARIO = """# A test's
run 4s; from 1s
both delay 10ms rate 20M queue 100 loss 1%
ends mode fast2 fec 10/3 sndwnd 256 rcvwnd 256
row pair; flow kcpgate kcpgate echo 50ms
row to stock; flow stock kcpgate echo 50ms
row up; flow kcpgate stock up echo 50ms
row changes; flow kcpgate kcpgate; at 1.5s both black on; at 2s both black off
row two; flow kcpgate kcpgate times 2
"""


def run(*argv, text=SCENARIO):
    """Exit status, output, and results."""
    with tempfile.TemporaryDirectory() as d:
        path, out = os.path.join(d, "x.wan"), os.path.join(d, "out")
        with open(path, "w") as f:
            f.write(text)
        argv = [a.replace("@", out) for a in argv]
        p = subprocess.run([os.path.join(ROOT, "perf", "run"), "wan", "--as-built", path] + argv, capture_output=True,
                           text=True, timeout=600)
        made = ""
        if os.path.exists(out):
            with open(out) as f:
                made = f.read()
        return p.returncode, p.stdout + p.stderr, made


def test_table():
    rc, said, made = run("--seeds", "3", "--json", "@")
    r = [json.loads(x) for x in made.splitlines()]
    case.check(rc == 0 and len(r) == 15, rc, said)
    lines = said.split("\n")
    for row in ("pair", "to stock", "up", "changes", "two"):
        of = [x for x in r if x["row"] == row]
        case.check([x["seed"] for x in of] == [1, 2, 3], row)
        shown = [x for x in lines if x.startswith(row + " ")]
        middle = sorted(x["flows"][0]["mbit"] for x in of)[1]
        case.check(len(shown) == 1 and shown[0][len(row):].split()[0] == "%.1f" % middle, shown, middle)
    case.check("from 2 s on: bytes after" in said and "from 1.5 s on: nothing passes" in said, said)
    case.check("Jain's index" in said and "    flow 2" in said, said)
    again = [json.loads(x) for x in run("--seeds", "3", "--json", "@")[2].splitlines()]
    for a, b in zip(r, again):
        for x in (a, b):
            del x["speed"], x["scenario"]
    case.check(r == again, "the same comes out again")


def test_plot():
    rc, said, made = run("--only", "changes", "--plot", "@")
    case.check(rc == 0, said)
    svg = xml.dom.minidom.parseString(made)
    case.check(len(svg.getElementsByTagName("path")) == 8, made[:300])


def test_refused():
    rc, said, _ = run(text="both rate 5\n")
    case.check(rc == 1 and "x.wan:1: rate: a number with its unit" in said, rc, said)
    rc, said, _ = run("--only", "nobody")
    case.check(rc == 1 and "no row's name contains 'nobody'" in said, rc, said)
    p = subprocess.run([os.path.join(ROOT, "perf", "run"), "wan", "--as-built", "nosuch"], capture_output=True, text=True)
    case.check(p.returncode == 1 and "no scenario nosuch; there are: " in p.stderr, p.stderr)


def test_real():
    """The same rows between namespaces: bytes come, both ways, and what cannot be had is told."""
    rc, said, made = run("--real", "--seeds", "1", "--json", "@")
    r = {x["row"]: x["flows"][0] for x in (json.loads(x) for x in made.splitlines())}
    case.check(rc == 0 and sorted(r) == ["changes", "pair", "to stock", "up"], rc, said)
    case.check("two: not in real time" in said, said)
    for row in ("pair", "to stock", "up"):
        case.check(r[row]["mbit"] > 0 and r[row]["ratio"] > 1 and r[row]["echo_n"] > 10, row, r[row])
        case.check(r[row]["echo"][0] >= 20, "the path's delay", r[row])


if __name__ == "__main__":
    case.main(sys.modules[__name__])
