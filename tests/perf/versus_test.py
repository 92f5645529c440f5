#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""perf/versus does what it says: bytes right, results and plot well-formed.  No time is judged."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import GUARD, LOAD_GUARD, ROOT, LabError

sys.path.insert(0, os.path.join(ROOT, "perf"))
import requests
import stream

STAT = {"median", "lo", "hi", "min", "max"}


def results(folder, *argv):
    """One small pair; its output and results."""
    out = os.path.join(folder, "v.json")
    p = subprocess.run([os.path.join(ROOT, "perf", "versus"), "--quick", "--megabytes", "4", "--json", out, *argv],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LOAD_GUARD)
    case.check(p.returncode == 0, "exit status", p.returncode, p.stdout)
    with open(out) as f:
        return p.stdout, json.load(f)


def versus(folder, *argv):
    """The same, and the plot's root."""
    svg = os.path.join(folder, "v.svg")
    return results(folder, "--svg", svg, *argv) + (xml.parse(svg).getroot(),)


def test_down_one_stream():
    with tempfile.TemporaryDirectory() as folder:
        text, v, svg = versus(folder)
    case.check(v["program"] == "versus" and v["wrong"] is False, v)
    case.check([f["id"] for f in v["figures"]] == ["F4", "F5"], v["figures"])
    for f in v["figures"]:
        case.check(STAT | {"name", "op", "target", "reached"} <= set(f) and f["min"] > 0, f)
        case.check(f["id"] in text, text)
    names = [r["name"] for r in v["rows"]]
    case.check(len(names) == len(set(names)), "rows of the same name", names)
    for program in ("kcptun", "kcpgate"):
        case.check("down, 1 stream: goodput: " + program in names, names)
        case.check("down, 1 stream: 1 byte there and back, alone: " + program in names, names)
    case.check(all(STAT | {"unit"} <= set(r) for r in v["rows"]), v["rows"])
    case.check(svg.tag.endswith("svg"), svg.tag)
    bars = [e for e in svg.iter() if e.tag.endswith("rect") and len(e)]
    case.check(len(bars) == 4, "goodput and CPU of two programs", len(bars))
    case.check(all(float(b.get("height")) > 0 for b in bars), "a bar without height")


def test_both_directions_two_streams():
    with tempfile.TemporaryDirectory() as folder:
        versus(folder, "--directions", "both", "--streams", "2", "--opt", "mode=fast3")


def test_requests():
    """Few of them: each is answered, and rightly."""
    if not requests.have():
        raise case.Skip("wrk and nginx are not installed: scripts/deps perf")
    with tempfile.TemporaryDirectory() as folder:
        _, v = results(folder, "--streams", "0", "--requests", "4")
    case.check([f["id"] for f in v["figures"]] == ["F13", "F14", "F15"], v["figures"])
    case.check(all(f["min"] > 0 for f in v["figures"]), v["figures"])
    names = [r["name"] for r in v["rows"]]
    case.check(len(names) == len(set(names)), "rows of the same name", names)
    for program in ("kcptun", "kcpgate"):
        for _, _, what in requests.ROWS:
            case.check(what.startswith("  of threads") or "requests, 4 connections: %s: %s" % (what.strip(), program) in names,
                       what, names)
    case.check("requests, 4 connections: of threads that turn TCP: kcpgate" in names, names)


def test_failed_requests_are_told():
    """wrk's words for a service that answers, that resets, that answers otherwise, and for one that it never got to."""
    good = "    50%  500.00us\n     99%    1.20ms\n  20 requests in 1.00s, 2KB read\nRequests/sec:     20.00\n"
    case.check(requests.result("\n" + good) == {"count": 20, "rate": 20.0, "p50": 0.5, "p99": 1.2}, "a good one")
    for bad in ("", "\n" + good + "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
                "\n" + good + "  Non-2xx or 3xx responses: 1\n", "\n" + good.replace("20 requests", "0 requests")):
        try:
            requests.result(bad)
        except LabError:
            continue
        case.check(False, "taken for a result:", bad)


def test_wrong_bytes_are_told():
    """The generator against a target that sends zeros."""
    srv = socket.create_server(("127.0.0.1", 0))

    def one():
        s = srv.accept()[0]
        n = stream.HEAD.unpack(stream.exactly(s, stream.HEAD.size))[2]
        s.sendall(b"r")
        stream.exactly(s, 1)
        s.sendall(bytes(n))
        s.close()

    threading.Thread(target=one, daemon=True).start()
    p = subprocess.run([sys.executable, stream.__file__, "go", "127.0.0.1", str(srv.getsockname()[1]), "down", "1", "1000"],
                       stdout=subprocess.PIPE, text=True, timeout=GUARD)
    case.check(p.returncode == 1 and "other bytes" in p.stdout, p.returncode, p.stdout)


def test_failure_is_told():
    """A peer that is not there."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "v.json")
        p = subprocess.run([os.path.join(ROOT, "perf", "versus"), "--quick", "--megabytes", "1", "--json", out],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LOAD_GUARD,
                           env=dict(os.environ, KCPTUN_SERVER="/bin/true"))
        case.check(p.returncode == 1, "exit status", p.returncode, p.stdout)
        with open(out) as f:
            case.check(json.load(f)["wrong"] is True, "not marked as wrong")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
