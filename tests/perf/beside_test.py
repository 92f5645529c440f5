#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""perf/beside does what it says: each attack fills its limit, the transfers are whole, results well-formed.  No speed is judged."""
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
        out = os.path.join(folder, "b.json")
        p = subprocess.run([os.path.join(ROOT, "perf", "beside"), "--quick", "--json", out], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=LOAD_GUARD)
        case.check(p.returncode == 0, "exit status", p.returncode, p.stdout)
        with open(out) as f:
            v = json.load(f)
    case.check(v["program"] == "beside" and v["wrong"] is False, v)
    case.check([f["id"] for f in v["figures"]] == ["F19"] * 3, v["figures"])
    case.check(all(f["median"] > 0 for f in v["figures"]) and v["rows"][0]["median"] > 0, v)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
