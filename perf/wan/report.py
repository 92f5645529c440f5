#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""perf/run wan: scenarios of perf/wan in virtual time, a table of each, medians and quartiles over seeds.

perf/run wan                          all of them
perf/run wan loss policer             perf/wan/loss.wan and perf/wan/policer.wan
perf/run wan my.wan --seeds 3         a file of one's own
perf/run wan loss --only "5 %" --plot loss.svg   what one row looks like over time

Exits with 1 when a byte was wrong or a scenario is; never because of a figure.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys

import draw
import real

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAM = os.path.join(ROOT, "build", "perf", "wan", "wan")


def parse():
    p = argparse.ArgumentParser(prog="perf/run wan", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("scenarios", nargs="*", help="names of perf/wan/*.wan, or files (default: all)")
    p.add_argument("--seeds", type=int, metavar="N", help="runs of each row (default: 10)")
    p.add_argument("--only", metavar="TEXT", help="rows whose name contains TEXT")
    p.add_argument("--json", metavar="FILE", help="results, a line of JSON for each run")
    p.add_argument("--plot", metavar="FILE", help="draws the first row, its first seed, as SVG; no table")
    p.add_argument("--every", type=int, default=20, metavar="MS", help="between the plot's points (default: %(default)s)")
    p.add_argument("--real", action="store_true", help="in real time instead: an emulator between namespaces (root), this "
                   "program and Debian's kcptun; of scenarios with one flow (default: 3 rounds)")
    p.add_argument("--as-built", action="store_true", help="do not build first")
    opts = p.parse_args()
    if opts.seeds is None:
        opts.seeds = 3 if opts.real else 10
    if opts.real and opts.plot:
        p.error("--plot is of virtual time")
    if opts.seeds < 1 or opts.every < 1:
        p.error("--seeds and --every are at least 1")
    return opts


def files(names):
    found = []
    for n in names or sorted(glob.glob(os.path.join(HERE, "*.wan"))):
        path = n if os.path.exists(n) else os.path.join(HERE, n + ".wan")
        if not os.path.exists(path):
            have = sorted(os.path.basename(f)[:-4] for f in glob.glob(os.path.join(HERE, "*.wan")))
            sys.exit("perf/run wan: no scenario %s; there are: %s" % (n, ", ".join(have)))
        found.append(path)
    return found


def quartiles(values):
    """lo, median, hi"""
    if len(values) < 2:
        return values[0], values[0], values[0]
    q = statistics.quantiles(values, n=4, method="inclusive")
    return q[0], q[1], q[2]


def spread(values, form):
    lo, mid, hi = quartiles(values)
    return "%s (%s..%s)" % (form % mid, form % lo, form % hi)


def percent(part, whole):
    return 100.0 * part / whole if whole else 0.0


def median(runs, get):
    return statistics.median(get(r) for r in runs)


def sender(flow):
    return flow["client"] if flow["up"] else flow["server"]


def receiver(flow):
    return flow["server"] if flow["up"] else flow["client"]


FORM = "%-26s %-20s %-18s %-15s %-18s %-17s %6s %7s  %-11s %7s"
HEAD = FORM % ("", "Mbit/s", "sent / got", "echo p50, ms", "p99", "again, %: t/f/e", "had", "parity", "queue, ms", "dropped")


def flow_line(name, runs, i):
    """One flow of a row."""
    flows = [r["flows"][i] for r in runs]
    way = "up" if flows[0]["up"] else "down"
    again = "/".join("%.1f" % median(flows, lambda f, c=c: percent(sender(f)[c], sender(f)["segs"]))
                     for c in ("timeouts", "fast", "early"))
    bulk, echo = flows[0]["streams"] > 0, flows[0]["echo_n"] > 0
    return FORM % (
        name,
        spread([f["mbit"] for f in flows], "%.1f") if bulk else "",
        spread([f["ratio"] for f in flows], "%.2f") if bulk else "",
        spread([f["echo"][0] for f in flows], "%.0f") if echo else "",
        spread([f["echo"][1] for f in flows], "%.0f") if echo else "",
        again,
        "%.1f" % median(flows, lambda f: percent(receiver(f)["repeats"], sender(f)["segs"])),
        "%.1f" % median(flows, lambda f: percent(sender(f)["parity"], sender(f)["dgrams"])),
        "%.0f, %.0f" % (median(runs, lambda r: r[way]["wait"][0]), median(runs, lambda r: r[way]["wait"][1])),
        "%.0f" % median(runs, lambda r: r[way]["dropped"] + r[way]["policed"]))


def change_line(runs, k):
    c = [r["changes"][k] for r in runs]

    def when(key):
        some = [x[key] for x in c if x[key] >= 0]
        if not some:
            return "never"
        never = " (%d of %d never)" % (len(c) - len(some), len(c)) if len(some) < len(c) else ""
        return spread(some, "%.0f") + " ms" + never
    if c[0]["black"]:
        return "    from %g s on: nothing passes" % c[0]["at"]
    return "    from %g s on: bytes after %s, nine tenths of the rate after %s, %.0f dropped" % (
        c[0]["at"], when("first"), when("nine"), median(c, lambda x: x["dropped"]))


def show(runs):
    """The table of one scenario."""
    rows = {}
    for r in runs:
        rows.setdefault(r["row"], []).append(r)
    print("\n%s: %s" % (os.path.basename(runs[0]["scenario"]), runs[0]["title"]))
    print(HEAD)
    for name, of in rows.items():
        print(flow_line(name, of, 0))
        for i in range(1, len(of[0]["flows"])):
            print(flow_line("    flow %d" % (i + 1), of, i))
        if len(of[0]["flows"]) > 1:
            print("    Jain's index of the last fifth: %s" % spread([r["jain"] for r in of], "%.3f"))
        for k in range(len(of[0].get("changes", []))):
            print(change_line(of, k))
    if "speed" in runs[0]:
        print("%.0f times real time (CPU), %d seeds" % (median(runs, lambda r: r["speed"]), len({r["seed"] for r in runs})))


def run(opts, path, sink):
    argv = [PROGRAM, "--seeds", str(1 if opts.plot else opts.seeds)]
    argv += ["--only", opts.only] if opts.only else []
    argv += ["--trace", str(opts.every)] if opts.plot else []
    p = subprocess.run(argv + [path], stdout=subprocess.PIPE, text=True)
    if sink:
        sink.write(p.stdout)
    return [json.loads(line) for line in p.stdout.splitlines()], p.returncode == 0


def main():
    opts = parse()
    paths = files(opts.scenarios)
    if not opts.as_built and subprocess.run([os.path.join(ROOT, "scripts", "dev"), "build", "-Dperf=true"]).returncode:
        sys.exit("perf/run wan: the tree does not build")
    sink = open(opts.json, "w") if opts.json else None
    well, any_row = True, False
    for path in paths:
        runs, good = real.run(path, opts.only, opts.seeds, sink) if opts.real else run(opts, path, sink)
        well &= good
        any_row |= bool(runs)
        if opts.plot and runs:
            with open(opts.plot, "w") as f:
                f.write(draw.run(runs[0], opts.every))
            print("%s, %s: %s" % (os.path.basename(path), runs[0]["row"] or "its one row", opts.plot))
            break
        if runs:
            show(runs)
    if well and not any_row:
        sys.exit("perf/run wan: no row's name contains '%s'" % opts.only)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
