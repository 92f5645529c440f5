#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""perf/idle does what it says: rows of both programs, figures, results well-formed.  No time is judged."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import LOAD_GUARD, ROOT


def test_quick():
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "i.json")
        p = subprocess.run([os.path.join(ROOT, "perf", "idle"), "--quick", "--json", out], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=LOAD_GUARD)
        case.check(p.returncode == 0, "exit status", p.returncode, p.stdout)
        with open(out) as f:
            v = json.load(f)
    case.check(v["program"] == "idle" and v["wrong"] is False, v)
    case.check([f["id"] for f in v["figures"]] == ["F16", "F17"], v["figures"])
    rows = {r["name"]: r["median"] for r in v["rows"]}
    for program in "kcptun", "kcpgate":
        for role in "server", "client":
            case.check(rows["%s: resident when idle: %s" % (role, program)] > 4, rows)
            case.check(rows["%s: CPU of the start: %s" % (role, program)] > 0, rows)
    case.check(len(rows) == 16, rows)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
