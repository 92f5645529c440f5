#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every target is built, has a corpus that is not empty, and is told of in README.md; and nothing else is there."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "corpus")
MOST = 1500 << 10  # bytes of all inputs


def main(targets):
    sources = [f[:-len("_fuzz.c")] for f in os.listdir(HERE) if f.endswith("_fuzz.c")]
    folders = os.listdir(CORPUS)
    with open(os.path.join(HERE, "README.md")) as f:
        told = f.read()
    bad = ["%s: there is %s, but not in meson.build" % (n, what)
           for names, what in ((sources, "a source"), (folders, "a corpus")) for n in names if n not in targets]
    total = 0
    for name in targets:
        folder = os.path.join(CORPUS, name)
        inputs = os.listdir(folder) if os.path.isdir(folder) else []
        total += sum(os.path.getsize(os.path.join(folder, i)) for i in inputs)
        if not inputs:
            bad.append("%s: no input in %s" % (name, folder))
        if "| `%s` |" % name not in told:
            bad.append("%s: not in README.md's table" % name)
    if total > MOST:
        bad.append("the corpora have %d bytes; allowed: %d" % (total, MOST))
    print("%d targets, %d bytes" % (len(targets), total))
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
