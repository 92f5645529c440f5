#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The house's rules about includes, checked on the sources: who may see whom (lib/README.md), and who may see DPDK.

The build enforces most of it by include paths; this says it in words, finds what is allowed but unused, and keeps
<rte_*> and system headers out of the protocol rooms.
"""
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAY_SEE = {
    "util": [],
    "net": ["util"], "crypt": ["util"], "fec": ["util"], "kcp": ["util"], "comp": ["util"], "mux": ["util"],
    "lazy": [], "chan": ["util", "lazy"], "flow": ["util"], "fresh": [],
    "config": ["util"],
    "session": ["util", "net", "fec", "kcp", "comp", "mux", "chan", "flow", "fresh"],
    "capture": ["util", "net"],
    "pipeline": ["util", "net", "crypt", "fec", "lazy", "chan", "flow", "session", "capture"],
    "port": ["util", "net", "flow"],
    "kernel": ["util", "net"],
    "control": ["util", "net", "chan", "flow", "port", "kernel"],
    "telemetry": ["util", "net", "kcp", "fec", "chan", "flow", "config", "session", "pipeline", "port", "control", "capture"],
    "metrics": ["util", "net", "kcp", "fec", "chan", "flow", "config", "session", "pipeline", "port", "control", "telemetry"],
}
PROTOCOL = ["net", "crypt", "fec", "kcp", "comp", "mux", "fresh"]
# What a room's functions begin with, and nobody else's, not even a static one: a name belongs to one room.  Words that
# are anybody's too (drop, slot, addr, pool) are not among them.
PREFIXES = {
    "net": ["net"], "crypt": ["crypt"], "fec": ["fec"], "kcp": ["kcp"], "comp": ["comp"], "mux": ["mux", "qpp"],
    "chan": ["chan", "mbox", "border", "spsc"], "flow": ["flow"], "fresh": ["fresh"], "lazy": ["lazy"], "config": ["conf"], "session": ["sess", "shard"],
    "pipeline": ["worker", "pl"], "kernel": ["nl", "rtnl"], "control": ["ctl", "resv", "mirror"], "telemetry": ["tlm", "snmplog", "gotime", "record"],
    "capture": ["capture", "pcapng"], "metrics": ["metrics", "families", "om", "glance"], "util": ["logq", "cap", "devarg", "pci", "vault"], "port": ["port", "kudp"],
}
FUNCTION = re.compile(r"^(?![#/ \t*]|typedef\b|return\b)[A-Za-z_][\w \t*]*?\b([a-z]\w*)\(", re.M)
# What makes a room depend on a machine: clocks, sockets, threads. fec's codec cache has the one lock, in set-up code.
SYSTEM = re.compile(r"^(sys/|net/|netinet/|pthread|time\.h|poll|unistd|fcntl|signal|arpa/)")
ALLOWED_SYSTEM = {("fec", "pthread.h")}


def functions(text):
    """Names of the functions that a file declares or defines, at the beginning of a line."""
    return FUNCTION.findall(text)


def names():
    """Functions that are called like another room's: by its prefix, or exactly like one of its headers'."""
    owner = {p: room for room, ps in PREFIXES.items() for p in ps}
    public, found, bad = {}, [], []
    for room in MAY_SEE:
        for path in sorted(glob.glob(os.path.join(ROOT, "lib", room, "*.[ch]"))):
            with open(path) as f:
                for name in functions(f.read()):
                    found.append((room, os.path.relpath(path, ROOT), name))
                    if path.endswith(".h"):
                        public.setdefault(name, room)
    for room, path, name in found:
        of = public.get(name, room)
        if of == room:
            of = owner.get(name.split("_")[0], room) if "_" in name else room
        if of != room:
            bad.append("%s: %s() is called like a function of room %s" % (path, name, of))
    return sorted(set(bad))


def main():
    home, bad = {}, []
    for room in MAY_SEE:
        for path in glob.glob(os.path.join(ROOT, "lib", room, "*.h")):
            name = os.path.basename(path)
            if name in home:
                bad.append("%s: header name is taken by room %s" % (path, home[name]))
            home[name] = room
    for room, may in MAY_SEE.items():
        for path in sorted(glob.glob(os.path.join(ROOT, "lib", room, "*.[ch]"))):
            short = os.path.relpath(path, ROOT)
            with open(path) as f:
                text = f.read()
            for inc in re.findall(r'^#include "([^"]+)"', text, re.M):
                of = home.get(inc)
                if of is None:
                    bad.append('%s: "%s" is no header of the house' % (short, inc))
                elif of != room and of not in may:
                    bad.append("%s: %s may not see %s (%s)" % (short, room, of, inc))
            for inc in re.findall(r"^#include <([^>]+)>", text, re.M):
                if room in PROTOCOL + ["util", "config", "kernel"] and inc.startswith("rte_"):
                    bad.append("%s: %s may not see DPDK (%s)" % (short, room, inc))
                if room in PROTOCOL and SYSTEM.match(inc) and (room, inc) not in ALLOWED_SYSTEM:
                    bad.append("%s: a protocol room may not see <%s>" % (short, inc))
            if not text.startswith("/* SPDX-License-Identifier: MIT */"):
                bad.append("%s: no SPDX line at the top" % short)
            lines = text.count("\n")
            if lines > 600:
                bad.append("%s: %d lines; a file holds one idea in at most 600" % (short, lines))
    bad += names()
    for b in bad:
        print(b)
    print("layers: %d rooms, %d headers, %d faults" % (len(MAY_SEE), len(home), len(bad)))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
