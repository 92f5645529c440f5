#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Gives a build directory the options that a command needs, whatever it had, and touches nothing when it has them.

scripts/configure.py DIR [-DOPTION=VALUE...] [-DOPTION?=VALUE...]

Options that are not named stay as they are, and those with a question mark too, but where the directory is set up afresh.
A directory that is no good is emptied and set up again: one that was left half made, or made by another meson, for
sources elsewhere, or for a compiler that has gone.
"""
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOCK = ".lock"  # scripts/dev holds it


def known(folder, name):
    with open(os.path.join(folder, "meson-info", name + ".json")) as f:
        return json.load(f)


def unusable(folder, version):
    """Why nothing can be built here, or None."""
    try:
        info = known(folder, "meson-info")
        options = known(folder, "intro-buildoptions")
        with open(os.path.join(folder, "build.ninja")) as f:
            ninja = f.read()
    except (OSError, ValueError):
        return "not set up to its end"
    if info.get("error") or not options or not os.path.exists(os.path.join(folder, "meson-private", "build.dat")):
        return "not set up to its end"
    if info["meson_version"]["full"] != version:
        return "made by meson %s" % info["meson_version"]["full"]
    if os.path.realpath(info["directories"]["source"]) != os.path.realpath(ROOT) or \
            os.path.realpath(info["directories"]["build"]) != os.path.realpath(folder):
        return "made for %s" % info["directories"]["source"]
    command = re.search(r"^rule c_COMPILER\n command = (.*)", ninja, re.M)
    for word in command.group(1).split() if command else []:
        if word[0] in "-$":
            break
        if not shutil.which(word):
            return "made with %s, which is not here" % word
    return None


def text(value):
    """As it is written behind -DOPTION=."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str(value)


def different(folder, wanted):
    """Those of the wanted options that the directory has another value for."""
    have = {o["name"]: text(o["value"]) for o in known(folder, "intro-buildoptions")}
    return [o for o in wanted if have.get(o[2:].split("=", 1)[0]) != o.split("=", 1)[1]]


def empty(folder):
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name != LOCK:
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def meson(*argv):
    """True when it went well; else what it said has been printed."""
    p = subprocess.run(["meson", *argv], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        sys.stderr.write(p.stdout)
    return p.returncode == 0


def main(folder, *words):
    wanted = [w for w in words if "?=" not in w]
    fresh = [w.replace("?=", "=") for w in words if "?=" in w] + wanted
    version = subprocess.run(["meson", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    if os.path.isdir(folder) and set(os.listdir(folder)) - {LOCK}:
        why = unusable(folder, version)
        if not why:
            differ = different(folder, wanted)
            if not differ or meson("configure", folder, *differ):
                return 0
            why = "cannot be given %s" % " ".join(differ)
        print("%s: %s; it is set up again" % (folder, why), file=sys.stderr)
        if not os.path.isdir(os.path.join(folder, "meson-private")):
            print("%s: not meson's: remove it" % folder, file=sys.stderr)
            return 1
        empty(folder)
    return 0 if meson("setup", folder, *fresh) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
