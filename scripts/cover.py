#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which lines of lib/ tests have run, room by room; fails where a room has less than it should.

scripts/cover.py DIR    DIR: built with -Db_coverage=true, and tests run in it

What DIR has gathered is read by gcovr.  A room without a limit of its own counts in lib/'s.
"""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROTOCOL = ("net", "crypt", "fec", "kcp", "comp", "mux")
LEAST_PROTOCOL = 95.0  # percent of lines
LEAST_LIB = 85.0
GUARD = 1800  # seconds


def gathered(folder):
    """{file: (lines run, lines)} of lib/."""
    p = subprocess.run(["gcovr", "--root", ROOT, "--filter", os.path.join(ROOT, "lib") + "/", "--json-summary", "-",
                        "--gcov-ignore-parse-errors", folder], stdout=subprocess.PIPE, cwd=ROOT, timeout=GUARD, check=True)
    return {f["filename"]: (f["line_covered"], f["line_total"]) for f in json.loads(p.stdout)["files"]}


def share(pairs):
    run, lines = (sum(x) for x in zip(*pairs))
    return 100.0 * run / lines if lines else 100.0


def main(folder):
    files = gathered(os.path.abspath(folder))
    if not files:
        sys.exit("cover: nothing was gathered in " + folder)
    rooms = {}
    for name, pair in files.items():
        rooms.setdefault(name.split("/")[1], {})[name] = pair
    short = []
    for room in sorted(rooms):
        percent = share(rooms[room].values())
        if room in PROTOCOL and percent < LEAST_PROTOCOL:
            short.append("%s: %.1f %%, should be %.0f" % (room, percent, LEAST_PROTOCOL))
        print("%-10s %5.1f %%  %6d lines" % (room, percent, sum(n for _, n in rooms[room].values())))
        for name, pair in sorted(rooms[room].items(), key=lambda x: share([x[1]])):
            if pair[1] - pair[0] > 10 and share([pair]) < LEAST_LIB:
                print("    %-32s %5.1f %%  %4d lines not run" % (name, share([pair]), pair[1] - pair[0]))
    total = share(files.values())
    if total < LEAST_LIB:
        short.append("lib: %.1f %%, should be %.0f" % (total, LEAST_LIB))
    print("%-10s %5.1f %%" % ("lib", total))
    for word in short:
        print("cover: " + word, file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
