#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The scripts themselves: demo and test work in one clone in either order."""
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import check
from lab import ROOT


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp(prefix="kcpgate-scripts-")
    try:
        yield path
    finally:
        shutil.rmtree(path)


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


if __name__ == "__main__":
    case.main(sys.modules[__name__])
