#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The benchmarks run, agree with themselves about what they computed, and write results that can be read and compared.

No time is asserted: on a busy machine every figure may be anything.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import check
from lab import ROOT

RUN = os.path.join(ROOT, "perf", "run")
COMPARE = os.path.join(ROOT, "perf", "compare")
# Of each program a few rows: they stand for its setup, its checks of results and its output.
SOME = {"crypt": "aes-128-gcm", "fec": "10/3", "kcp": "", "comp": "1400", "mux": "100 streams", "chan": "", "flow": "10000",
        "net": "warm", "turn": "null, no FEC", "two": None, "scale": None}


def run(*argv):
    return subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def well_formed(record):
    check(record["version"] and record["date"] and record["machine"]["kernel"], "who, when and where")
    check(record["machine"]["dpdk"] and record["machine"]["cpu"], "what with")
    check(not record["failed"], record["failed"])
    for program in record["programs"]:
        check(program["rows"] or program["figures"], program["program"], "has rows")
        check(program["wrong"] is False, program["program"])
        for row in program["rows"] + program["figures"]:
            check(row["min"] <= row["lo"] <= row["median"] <= row["hi"] <= row["max"], row)
            check(row["min"] > (-1 if " beyond " in row["name"] else 0), row)  # a difference may be nothing
        for figure in program["figures"]:
            check(figure["id"] and figure["op"] in (">=", "<=") and isinstance(figure["reached"], bool), figure)


def quick(directory, name, only):
    path = os.path.join(directory, name + ".json")
    p = run(RUN, "--as-built", "--quick", "--rounds", "3", "--json", path, *(["--only", only] if only else []), name)
    check(p.returncode == 0, name, p.stdout)
    with open(path) as f:
        record = json.load(f)
    well_formed(record)
    return path, record


def test_run_and_compare():
    directory = tempfile.mkdtemp(prefix="kcpgate-perf-")
    try:
        for name, only in SOME.items():
            path, record = quick(directory, name, only)
            check([p["program"] for p in record["programs"]] == ["bm_" + name], name)
            p = run(COMPARE, path, path)
            check(p.returncode == 0, p.stdout)
            n = len(record["programs"][0]["rows"])
            check(n == 0 or "0 of %d rows and 0 of" % n in p.stdout, "a file beside itself", p.stdout)
    finally:
        shutil.rmtree(directory)


def test_forward():
    """A port beside testpmd: both forward, with a generator that is heard."""
    directory = tempfile.mkdtemp(prefix="kcpgate-perf-")
    try:
        path = os.path.join(directory, "forward.json")
        p = run(os.path.join(ROOT, "perf", "forward"), "--rounds", "1", "--seconds", "1", "--sizes", "700", "--json", path,
                "af_packet")
        check(p.returncode == 0, p.stdout)
        with open(path) as f:
            rows = json.load(f)
        check([r["kind"] for r in rows] == ["testpmd", "swap", "gate"], rows)
        check(all(0 < r["mpps"][0] <= r["offered"][0] for r in rows), rows)
    finally:
        shutil.rmtree(directory)


def results(rows):
    keys = ("name", "lo", "median", "hi")
    return {"program": "bm_x", "figures": [], "rows": [dict(zip(keys, r), min=r[1], max=r[3]) for r in rows]}


def test_compare_marks():
    directory = tempfile.mkdtemp(prefix="kcpgate-perf-")
    try:
        a, b = os.path.join(directory, "a.json"), os.path.join(directory, "b.json")
        for path, rows in ((a, [("same", 9, 10, 11), ("less", 9, 10, 11), ("more", 9, 10, 11), ("gone", 1, 1, 1)]),
                           (b, [("same", 10, 11, 12), ("less", 4, 5, 6), ("more", 19, 20, 21), ("new", 1, 1, 1)])):
            with open(path, "w") as f:
                json.dump(results(rows), f)
        p = run(COMPARE, a, b)
        lines = {line.split()[0]: line.split() for line in p.stdout.splitlines() if line}
        check(p.returncode == 0, p.stdout)
        check(lines["same"][-1] not in ("better", "worse"), lines["same"])
        check(lines["less"][-1] == "better" and lines["less"][3] == "0.500", lines["less"])
        check(lines["more"][-1] == "worse" and lines["more"][3] == "2.000", lines["more"])
        check(lines["gone"][1:] == ["1", "-"] and lines["new"][1:] == ["-", "1"], p.stdout)
        check("2 of 3 rows" in p.stdout, p.stdout)
    finally:
        shutil.rmtree(directory)


def test_refusals():
    p = run(RUN, "--as-built", "--json", "/dev/null", "nothing")
    check(p.returncode != 0 and "no benchmark nothing" in p.stdout, p.stdout)
    p = run(COMPARE, "/nonexistent", "/nonexistent")
    check(p.returncode != 0, p.stdout)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
