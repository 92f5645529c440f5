#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The scripts themselves: what scripts/parts.py counts, and that demo and test work in one clone in either order."""
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import check
from lab import ROOT, wait_until

PARTS = os.path.join(ROOT, "scripts", "parts.py")


def start(*argv):
    return subprocess.Popen([PARTS, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def parts(*argv):
    """Exit status and what was printed."""
    p = start(*argv)
    out = p.communicate(timeout=120)[0]
    return p.returncode, out


def part(name, script, *options):
    return ["--part", *options, name, "sh", "-c", script]


def last(out):
    return out.rstrip("\n").split("\n")[-1]


def row(out, name):
    """Passed and failed of a part, by the table."""
    m = re.search(r"(?m)^%s +(\d+) +(\d+) +\d+ +\d+(  skipped: .*)?$" % re.escape(name), out)
    check(m, "no row of", name, out)
    return int(m.group(1)), int(m.group(2))


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp(prefix="kcpgate-scripts-")
    try:
        yield path
    finally:
        shutil.rmtree(path)


# ---- the sum of the parts

MESON = "; ".join("echo '%-19s %d'" % kv for kv in (("Ok:", 5), ("Expected Fail:", 1), ("Fail:", 2), ("Timeout:", 1)))
KINDS = [
    ("case", "echo '7 passed, 0 failed, 1 skipped'", (7, 0)),
    ("two", "echo '1 passed, 0 failed'; echo '3 passed, 2 failed'; exit 1", (3, 2)),
    ("crash after", "echo '4 passed, 0 failed'; kill -SEGV $$", (4, 1)),
    ("plain", "true", (1, 0)),
    ("bad", "echo nothing; exit 3", (0, 1)),
    ("crash", "kill -KILL $$", (0, 1)),
    ("meson", MESON + "; exit 3", (5, 3)),
    ("meson, good", "echo 'Ok:                 9'; echo 'Fail:               0'", (9, 0)),
    ("meson, nothing", "echo 'No suitable tests defined.'", (0, 1)),
    ("no such", None, (0, 1)),
    ("nothing", "echo '0 passed, 0 failed'", (0, 1)),
    ("nothing, but skips", "echo '0 passed, 0 failed, 2 skipped'", (0, 1)),
    ("no skips", "echo '0 passed, 0 failed, 0 skipped: no QEMU'", (0, 1)),
    ("skipped", "echo '0 passed, 0 failed, 2 skipped: no QEMU'", (0, 0)),
    ("skipped, and bad", "echo '0 passed, 0 failed, 2 skipped: no QEMU'; exit 1", (0, 1)),
    ("some skipped", "echo '1 passed, 0 failed, 2 skipped: no QEMU'", (1, 0)),
]


def test_counts():
    """Of every kind of part: what it says counts, and an exit status that contradicts it."""
    argv = []
    for name, script, _ in KINDS:
        argv += part(name, script) if script else ["--part", name, "/nonexistent/command"]
    status, out = parts(*argv)
    for name, _, want in KINDS:
        check(row(out, name) == want, name, "counted", row(out, name), "not", want, out)
    check(last(out) == "30 passed, 14 failed" and status == 1, status, out)
    check(row(out, "all") == (30, 14), out)
    check(len(re.findall(r"(?m)^skipped  .*  skipped: no QEMU$", out)) == 1 and out.count("  skipped: ") == 1, out)
    seconds = [int(x) for x in re.findall(r"(?m)^.* \d+ +\d+ +(\d+) +\d+(?:  skipped: .*)?$", out)][:-1]
    check(seconds == sorted(seconds, reverse=True), "the table is not in order", out)
    status, out = parts(*part("a", "echo '2 passed, 0 failed'"), *part("b", "true"))
    check(status == 0 and last(out) == "3 passed, 0 failed", status, out)


CASES = """
import sys
sys.path.insert(0, %r)
import case
from case import Skip

def skip(why):
    raise Skip(why)

class tests:
    test_a = staticmethod(lambda: skip("no QEMU:\\n apt failed"))
    test_b = staticmethod(lambda: skip("no QEMU:\\n apt failed"))
    test_c = staticmethod(lambda: skip("no igb"))
    other_d = None

class some(tests):
    test_a, test_b, test_c, test_d = tests.test_a, tests.test_b, tests.test_c, staticmethod(lambda: None)

case.main(%s, %s)
"""


def test_all_skipped():
    """A test that cannot run here says why, and is no failure; what it would be needed for is skipped with it."""
    why = "no QEMU: apt failed; no igb"
    for tests, only, status, said in (("tests", ["test_"], 0, "0 passed, 0 failed, 3 skipped: " + why),
                                      ("some", ["test_"], 0, "1 passed, 0 failed, 3 skipped"),
                                      ("tests", ["test_z"], 1, "0 passed, 0 failed, 0 skipped")):
        p = subprocess.run([sys.executable, "-c", CASES % (os.path.join(ROOT, "tests", "lab"), tests, only)],
                           stdout=subprocess.PIPE, text=True, timeout=60, check=False)
        check(p.returncode == status and last(p.stdout) == said, tests, only, p.returncode, p.stdout)
    argv = part("vm", "echo '0 passed, 0 failed, 3 skipped: %s'" % why) + part("more", "false", "--after", "vm")
    status, out = parts(*argv)
    check(status == 0 and last(out) == "0 passed, 0 failed", status, out)
    check("  skipped: " + why in out and "  skipped: vm was skipped" in out and "---- more: skipped, vm was" in out, out)
    status, out = parts(*part("vm", "echo '0 passed, 0 failed, 3 skipped: %s'" % why, "--first"), *part("good", "true"))
    check(status == 0 and last(out) == "1 passed, 0 failed", status, out)


def test_order():
    """What needs another waits for it, and fails with it; nothing begins before the first has passed."""
    with folder() as d:
        here = "cd %s; " % d
        status, out = parts(*part("build", here + "touch built", "--first"),
                            *part("slow", here + "test -e built && touch slow"),
                            *part("then", here + "test -e slow", "--after", "slow", "--seconds", "900"))
        check(status == 0 and last(out) == "3 passed, 0 failed", out)
        status, out = parts(*part("a", "false"), *part("b", here + "touch b", "--after", "a"), *part("c", "true"))
        check(status == 1 and last(out) == "1 passed, 2 failed" and not os.path.exists(d + "/b"), out)
        check("b: not run, a failed" in out, out)
        status, out = parts(*part("a", "false", "--first"), *part("b", here + "touch b"))
        check(status == 1 and last(out) == "0 passed, 2 failed" and not os.path.exists(d + "/b"), out)


def test_choice():
    """By words, with what they need; what takes longer is left out, but when asked for."""
    argv = (*part("first", "true", "--first"), *part("base", "true"), *part("base (more)", "true", "--after", "base"),
            *part("other", "false"), *part("long", "true", "--full"))
    for words, want, status in ((["more"], "3 passed, 0 failed", 0), (["long"], None, 1),
                                (["--full", "long"], "2 passed, 0 failed", 0), ([], "3 passed, 1 failed", 1),
                                (["--full"], "4 passed, 1 failed", 1), (["nothing"], None, 1)):
        got, out = parts(*words, *argv)
        check(got == status and (want is None or last(out) == want), words, got, out)


MEET = "touch %s; for i in $(seq 600); do [ -e %s ] && exit 0; sleep 0.1; done; exit 1"


def test_side_by_side():
    """Two parts meet, and one that fills the CPUs meets both; of those there is only one at a time; output stays whole."""
    with folder() as d:
        here = "cd %s; for i in 1 2 3; do echo said by $0; sleep 0.1; done; " % d
        alone = here + "mkdir alone && sleep 0.3 && rmdir alone"
        argv = []
        for name, script, *options in (("a", here + MEET % ("a", "b")), ("b", here + MEET % ("b", "c")),
                                       ("c", here + MEET % ("c", "a"), "--beside"), ("d", alone, "--beside"),
                                       ("e", alone, "--beside")):
            argv += part(name, script, *options) + [name]
        status, out = parts(*argv)
        check(status == 0 and last(out) == "5 passed, 0 failed", out)
        for name in "abcde":
            check("==== %s\n%s---- %s: exit 0" % (name, 3 * ("said by %s\n" % name), name) in out, "torn apart", out)


def test_alone():
    """One that has the machine for itself has it, wherever it stands in the list; one that fails holds up nobody."""
    with folder() as d:
        here = "cd %s; " % d
        other = here + "touch here.$0; sleep 0.5; rm here.$0"
        alone = here + "for i in 1 2 3 4 5; do for f in here.*; do [ -e $f ] && exit 1; done; sleep 0.2; done; exit %d"
        argv = []
        for name, script, *options in (("a", other, "--seconds", "900"), ("b", other, "--beside"), ("c", alone % 0, "--alone"),
                                       ("d", alone % 3, "--alone", "--after", "a"), ("e", other), ("f", other),
                                       ("g", other, "--after", "e"), ("h", other, "--beside")):
            argv += part(name, script, *options) + [name]
        status, out = parts(*argv)
        check(status == 1 and last(out) == "7 passed, 1 failed" and row(out, "c") == (1, 0), out)
        check("---- d: exit 3" in out, out)


def test_interrupted():
    """A part is told to end and may clean up; its children end too; all that did not pass has failed."""
    with folder() as d:
        script = ("cd %s; trap 'touch cleaned; exit 1' TERM; sh -c 'echo $$ >child; exec sleep 600' & touch began; wait" % d)
        p = start(*part("good", "true"), *part("long", script), *part("later", "true", "--after", "long"))
        wait_until("the part", lambda: os.path.exists(d + "/began") and os.path.exists(d + "/child"), 60)
        with open(d + "/child") as f:
            child = wait_until("the child's pid", lambda: f.read().strip(), 60)
        p.send_signal(signal.SIGTERM)
        out = p.communicate(timeout=120)[0]
        check(p.returncode == 128 + signal.SIGTERM, p.returncode, out)
        check(row(out, "long") == (0, 1) and row(out, "later") == (0, 1) and last(out).endswith("passed, 2 failed"), out)
        check(os.path.exists(d + "/cleaned"), "it could not clean up", out)
        wait_until("the child's end", lambda: not os.path.exists("/proc/" + child), 60)


# ---- demo, test, and the build directory that they share

NINJA = """#!/bin/sh
[ "$1" = --version ] && { echo 1.11.1; exit; }
echo "$@" >>"$(dirname "$0")/ran"
"""


@contextlib.contextmanager
def clone():
    """The sources, with a demo that does nothing, and a ninja that builds nothing."""
    with folder() as d:
        for name in subprocess.run(["git", "-C", ROOT, "ls-files", "-coz", "--exclude-standard"], stdout=subprocess.PIPE,
                                   text=True, check=True).stdout.split("\0"):
            if name and os.path.exists(os.path.join(ROOT, name)):
                os.makedirs(os.path.join(d, "tree", os.path.dirname(name)), exist_ok=True)
                shutil.copy(os.path.join(ROOT, name), os.path.join(d, "tree", name))
        with open(os.path.join(d, "tree", "tests", "lab", "demo.py"), "w") as f:
            f.write("print('the demo')\n")
        os.mkdir(os.path.join(d, "bin"))
        with open(os.path.join(d, "bin", "ninja"), "w") as f:
            f.write(NINJA)
        os.chmod(f.name, 0o755)
        yield os.path.join(d, "tree")


def script(tree, *argv):
    env = dict(os.environ, PATH=os.path.join(tree, "..", "bin") + ":" + os.environ["PATH"], NINJA="ninja")
    p = subprocess.run(argv, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, env=env)
    check(p.returncode == 0, argv, p.returncode, p.stdout)
    return p.stdout


def build_of_test(tree):
    """The build that scripts/test makes before all else."""
    with open(os.path.join(tree, "scripts", "test")) as f:
        return shlex.split(re.search(r'(?m)^part (?:--first )?"build \(gcc\)" (.*)$', f.read()).group(1))


def options(tree, folder="build"):
    with open(os.path.join(tree, folder, "meson-info", "intro-buildoptions.json")) as f:
        return {o["name"]: o["value"] for o in json.load(f)}


def stamp(tree):
    """Changes with every configuration."""
    return os.stat(os.path.join(tree, "build", "meson-private", "coredata.dat")).st_mtime_ns


def fit_for_test(tree):
    have = options(tree)
    check(all(have[k] is True for k in ("tests", "perf", "werror")), {k: have[k] for k in ("tests", "perf", "werror")})


def test_demo_then_test():
    """The demo's build has no tests and no benchmarks; scripts/test adds them, and the demo takes none away."""
    with clone() as tree:
        check("the demo" in script(tree, "scripts/demo"), "the demo did not run")
        have = options(tree)
        check(not have["tests"] and not have["perf"], "the demo needs neither the tests nor the benchmarks")
        before = stamp(tree)
        script(tree, "scripts/demo")
        check(stamp(tree) == before, "the second demo configured again")
        script(tree, *build_of_test(tree))
        fit_for_test(tree)
        before = stamp(tree)
        script(tree, *build_of_test(tree))
        script(tree, "scripts/demo")
        fit_for_test(tree)
        check(stamp(tree) == before, "configured again without need")


def test_test_then_demo():
    """Likewise in the other order; and directories of which nothing can be made are made anew."""
    with clone() as tree:
        script(tree, *build_of_test(tree))
        fit_for_test(tree)
        script(tree, "scripts/demo")
        fit_for_test(tree)
        info = os.path.join(tree, "build", "meson-info", "meson-info.json")

        def edit(*change):
            with open(info) as f:
                text = f.read()
            with open(info, "w") as f:
                f.write(text.replace(*change))

        for what, harm in (("left half made", lambda: os.unlink(os.path.join(tree, "build", "build.ninja"))),
                           ("of another meson", lambda: edit('"full": "', '"full": "0.')),
                           ("for sources elsewhere", lambda: edit(tree, tree + "-old"))):
            marker = os.path.join(tree, "build", "of-before")
            open(marker, "w").close()
            harm()
            script(tree, *build_of_test(tree))
            fit_for_test(tree)
            check(not os.path.exists(marker), what, "and kept")


# ---- where something cannot be had

def test_no_machine():
    """Without what a machine is made of, its tests are skipped and say why; and a word that names no test is refused."""
    programs = sorted(f for f in os.listdir(os.path.join(ROOT, "tests", "vm")) if f.endswith("_test.py"))
    check(len(programs) >= 6, programs)
    with folder() as empty:
        for program in programs:
            p = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "vm", program)], env=dict(os.environ, PATH=empty),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
            check(p.returncode == 0 and re.fullmatch(r"0 passed, 0 failed, [1-9]\d* skipped: no \S+", last(p.stdout)), program,
                  p.returncode, p.stdout)
    for program in ("e2e/scripts_test.py", "vm/nic_test.py"):
        p = subprocess.run([sys.executable, os.path.join(ROOT, "tests", program), "nonesuch"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
        check(p.returncode == 1 and "nonesuch" in p.stdout, program, p.returncode, p.stdout)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
