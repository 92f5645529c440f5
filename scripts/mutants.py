#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts faults into a copy of the tree, one at a time, and sees whether the test that is to notice does: scripts/dev
mutants.  The faults are in tests/mutants/, a file a room; tests/README.md says how they are written.

  mutants.py [NAME...]   the table, for all faults, those of a room, or single ones ("pipeline", "pipeline/home_kept")
  mutants.py --check     only that each still applies to the tree, exactly once
  mutants.py --list      their names
"""
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LISTS = os.path.join(ROOT, "tests", "mutants")
WORK = os.path.join(ROOT, "build-mutants")
SRC, OUT = os.path.join(WORK, "src"), os.path.join(WORK, "out")
HANG = 60  # seconds, the least that a test gets; else ten times what it takes without a fault
HEAD = re.compile(r"^([a-z0-9_]+): (\S+\.[ch]) -> ([a-z0-9_]+(?:, [a-z0-9_]+)*)$")


class Mutant:
    def __init__(self, room, name, path, tests):
        self.name, self.path, self.tests = room + "/" + name, path, tests
        self.why, self.old, self.new = [], [], []

    def pattern(self):
        """Lines in a row, each from its first to its last letter; the first and the last may be parts of lines."""
        return re.compile(r"[ \t]*\n[ \t]*".join(re.escape(line) for line in self.old))

    def apply(self, text):
        new, n = self.pattern().subn(lambda _: "\n".join(self.new), text)
        return new, n


def fail(where, text):
    sys.exit("%s: %s" % (where, text))


def read_list(path):
    room, found, m = os.path.basename(path)[:-4], [], None
    with open(path) as f:
        lines = f.read().split("\n")
    for i, line in enumerate(lines, 1):
        where = "%s:%d" % (os.path.relpath(path, ROOT), i)
        head = HEAD.match(line)
        if head:
            m = Mutant(room, head[1], head[2], head[3].split(", "))
            found.append(m)
        elif line == "" or line[0] == "#":
            pass
        elif m and line[0] == " " and not m.old:
            m.why.append(line.strip())
        elif m and line.startswith("- ") and not m.new:
            m.old.append(line[2:].strip())
        elif m and (line == "+" or line.startswith("+ ")) and m.old:
            m.new.append(line[2:].strip())
        else:
            fail(where, "found %r; allowed: NAME: FILE -> TEST, what goes wrong (indented), - old, + new" % line)
    for m in found:
        if not m.why or not m.old or not m.new:
            fail(m.name, "wants a line that says what goes wrong, a pattern (-) and a replacement (+)")
    return found


def read_all():
    found = [m for path in sorted(glob.glob(os.path.join(LISTS, "*.txt"))) for m in read_list(path)]
    names = [m.name for m in found]
    for name in names:
        if names.count(name) > 1:
            fail(name, "is there twice")
    return found


def check(mutants):
    """Every pattern matches once, and every test has its source.  True when all do."""
    units = {"%s_%s" % (os.path.basename(os.path.dirname(p)), os.path.basename(p)[:-len("_test.c")])
             for p in glob.glob(os.path.join(ROOT, "tests", "unit", "*", "*_test.c"))}
    units |= {"fuzz_" + os.path.basename(p)[:-len("_fuzz.c")]
              for p in glob.glob(os.path.join(ROOT, "tests", "fuzz", "*_fuzz.c"))}
    good = True
    for m in mutants:
        path = os.path.join(ROOT, m.path)
        n = 0
        if os.path.exists(path):
            with open(path) as f:
                n = m.apply(f.read())[1]
        if n != 1:
            good = False
            print("%s: its pattern is %d times in %s; it wants to be there once" % (m.name, n, m.path))
        for t in m.tests:
            if t not in units:
                good = False
                print("%s: there is no test %s" % (m.name, t))
    return good


# ---- the copy, and what is built of it ----

def sync():
    """The tree as it is, into SRC; files that are the same keep their times, so little is built anew."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split("\0")
    names = {n for n in names if n and os.path.isfile(os.path.join(ROOT, n))}
    for n in sorted(names):
        src, dst = os.path.join(ROOT, n), os.path.join(SRC, n)
        with open(src, "rb") as f:
            data = f.read()
        if os.path.exists(dst):
            with open(dst, "rb") as f:
                if f.read() == data:
                    continue
        os.makedirs(os.path.dirname(dst), exist_ok=True)
        with open(dst, "wb") as f:
            f.write(data)
        shutil.copymode(src, dst)
    for folder, _, files in os.walk(SRC):
        for f in files:
            path = os.path.join(folder, f)
            if os.path.relpath(path, SRC) not in names:
                os.unlink(path)


def meson():
    if not os.path.exists(os.path.join(OUT, "build.ninja")):
        subprocess.run(["meson", "setup", OUT, SRC, "-Dtests=true", "-Dperf=false"], check=True,
                       stdout=subprocess.DEVNULL)
    else:
        subprocess.run(["ninja", "-C", OUT, "--quiet", "build.ninja"], check=True, stdout=subprocess.DEVNULL)
    got = subprocess.run(["meson", "introspect", "--tests", OUT], check=True, stdout=subprocess.PIPE, text=True)
    return {t["name"]: t for t in json.loads(got.stdout)}


def build(tests, names):
    targets = [os.path.relpath(tests[n]["cmd"][0], OUT) for n in names]
    return subprocess.run(["nice", "ninja", "-C", OUT, "--quiet"] + targets, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


def run(test, seconds):
    """'' when it passes, else why not."""
    env = dict(os.environ, **test.get("env", {}))
    try:
        p = subprocess.run(["nice"] + test["cmd"], cwd=test.get("workdir") or OUT, env=env, timeout=seconds,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return "hangs"
    if p.returncode == 0:
        return ""
    bad = re.findall(r"^\[FAIL\] \S*?::(\S+?):", p.stdout.decode(errors="replace"), re.M)
    return ", ".join(bad[:3]) + (" ..." if len(bad) > 3 else "") if bad else "status %d" % p.returncode


def baseline(tests, names):
    """How long each test takes without a fault.  Ends the program when one does not pass: then nothing can be seen."""
    p = build(tests, names)
    if p.returncode:
        sys.exit(p.stdout + "the tree does not build")
    took = {}
    for n in names:
        start = time.monotonic()
        why = run(tests[n], 10 * HANG)
        took[n] = time.monotonic() - start
        if why:
            sys.exit("%s fails without any fault: %s" % (n, why))
    return took


def try_one(m, tests, took):
    """(verdict, where it was seen): caught, survived, does not apply, does not build."""
    path = os.path.join(SRC, m.path)
    with open(path) as f:
        good = f.read()
    bad, n = m.apply(good)
    if n != 1:
        return "does not apply", "%d times in %s" % (n, m.path)
    try:
        with open(path, "w") as f:
            f.write(bad)
        p = build(tests, m.tests)
        if p.returncode:
            error = re.search(r"error: (.*)", p.stdout)
            return "does not build", error[1] if error else "?"
        for t in m.tests:
            why = run(tests[t], max(HANG, 10 * took[t]))
            if why:
                return "caught", "%s: %s" % (t, why)
    finally:
        with open(path, "w") as f:
            f.write(good)
    return "survived", ", ".join(m.tests)


def main(args):
    mutants = read_all()
    if args == ["--check"]:
        return 0 if check(mutants) else 1
    if args == ["--list"]:
        for m in mutants:
            print("%-28s %s" % (m.name, " ".join(m.why)))
        return 0
    for a in args:
        if not any(a in (m.name, m.name.split("/")[0]) for m in mutants):
            fail(a, "found no such fault; allowed: a room, or a name of scripts/dev mutants --list")
    # Told to end, it takes the fault out again first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    os.makedirs(WORK, exist_ok=True)
    lock = open(os.path.join(WORK, "lock"), "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        fail(WORK, "another run is under way here")
    if args:
        mutants = [m for m in mutants if m.name in args or m.name.split("/")[0] in args]
    sync()
    tests = meson()
    wanted = sorted({t for m in mutants for t in m.tests})
    for t in wanted:
        if t not in tests:
            fail(t, "is no test of the build")
    took = baseline(tests, wanted)
    count = {}
    for m in mutants:
        verdict, where = try_one(m, tests, took)
        count[verdict] = count.get(verdict, 0) + 1
        print("%-28s %-14s %s" % (m.name, verdict, where), flush=True)
    print(", ".join("%d %s" % (count[v], v) for v in sorted(count)))
    return 0 if set(count) <= {"caught"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
