#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One tunnel of a server that takes each client as it speaks, and stock clients of all settings at once.

Every client moves data both ways, verified by hash. And where the two sides cannot understand each other, the log says what
the other side speaks.
"""
import itertools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from kcptun_test import LOAD, conf, lab_up, stock
from lab import Lab, wait_until

SHAPES = [dict(crypt="aes", ds=ds, ps=ps, nocomp=nocomp, smuxver=v, mode="fast3")
          for v, nocomp, (ds, ps) in itertools.product([1, 2], [False, True], [(10, 3), (0, 0)])]


def server(**opts):
    o = dict(name='"s"', role='"server"', listen='":4000"', target='"127.0.0.1:9000"', key='"interop"', mode='"fast3"', **opts)
    return "{ %s }" % " ".join("%s = %s;" % kv for kv in o.items())


def serve(lab, ns):
    lab.run("target", ns, sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def load(lab, name, ns, port, *words):
    return lab.run(name, ns, sys.executable, LOAD, *[str(w) for w in words[:1]], "127.0.0.1", str(port), *[str(w) for w in words[1:]])


def test_each_client_as_it_speaks():
    with Lab("ks") as lab:
        lab_up(lab)
        serve(lab, "g")
        gw = lab.gateway("gw", "g", conf([server(nocomp='"auto"')], 1))
        for i, c in enumerate(SHAPES):
            lab.run("peer%d" % i, "p", *stock(c, "client", "127.0.0.1:%d" % (12000 + i), "10.77.0.1:4000")).wait_for("key derivation done")
        loads = [load(lab, "load%d" % i, "p", 12000 + i, "mixed", 2 << 20, 20, "--seed", i) for i in range(len(SHAPES))]
        for c, p in zip(SHAPES, loads):
            case.check(p.end() == 0, c, p.log())
        for v in (1, 2):
            said = gw.log().count("smux version: %d on connection: 10.77.0.1:4000 -> 10.77.0.2:" % v)
            case.check(said == len(SHAPES) // 2, v, said, gw.log())
        spoken = sorted(row["smux"] for row in lab.telemetry(gw, "/kcpgate/sessions"))
        case.check(spoken == [1] * 4 + [2] * 4, spoken)
        case.check("peer speaks" not in gw.log() and "compress" not in gw.log().split("Listening on")[1], gw.log())
        case.check(gw.stop() == 0, "exit status", gw.p.returncode)
        return "%d stock clients on one port" % len(SHAPES)


MISFITS = [
    ("smuxver = 2", dict(smuxver=1), "peer speaks smux 1, smuxver is 2: set smuxver to 1 here, or \"auto\", or to 2 there"),
    ("smuxver = 1", dict(smuxver=2), "peer speaks smux 2, smuxver is 1: set smuxver to 2 here, or \"auto\", or to 1 there"),
    ("nocomp = false", dict(nocomp=True), "peer does not compress, nocomp is false"),
    ("nocomp = true", dict(nocomp=False), "peer compresses, nocomp is true"),
]


def test_misfits_are_told():
    with Lab("ks") as lab:
        lab_up(lab)
        serve(lab, "g")
        tunnels = []
        for i, (opt, c, _) in enumerate(MISFITS):
            name, value = opt.split(" = ")
            tunnels.append(server(**{name: value}).replace('"s"', '"s%d"' % i).replace("4000", str(4000 + i)))
        gw = lab.gateway("gw", "g", conf(tunnels, 1))
        for i, (_, c, _) in enumerate(MISFITS):
            c = dict(dict(crypt="aes", ds=10, ps=3, nocomp=False, smuxver=2, mode="fast3"), **c)
            lab.run("peer%d" % i, "p", *stock(c, "client", "127.0.0.1:%d" % (12000 + i), "10.77.0.1:%d" % (4000 + i))).wait_for("key derivation done")
            load(lab, "load%d" % i, "p", 12000 + i, "small", 1)
        for i, (_, _, words) in enumerate(MISFITS):
            line = lambda: "tunnel s%d: 10.77.0.2:" % i in gw.log() and words in gw.log()
            wait_until(words, line)
        for _, _, words in MISFITS:
            case.check(gw.log().count(words) == 1, "once a minute", gw.log())
        case.check(gw.stop() == 0, "exit status", gw.p.returncode)


def test_a_client_finds_out():
    """Stock servers of either version, and none of the applications' bytes is lost on the way to know."""
    with Lab("ks") as lab:
        lab_up(lab)
        serve(lab, "p")
        opts = 'role = "client"; remote = "10.77.0.2:%d"; key = "interop"; mode = "fast3"; smuxver = %s; closewait = 2;'
        tunnels = ['{ name = "c%d"; listen = "127.0.0.1:%d"; %s }' % (v, 13000 + v, opts % (5000 + v, '"auto"')) for v in (1, 2)]
        tunnels.append('{ name = "wrong"; listen = "127.0.0.1:13003"; %s }' % (opts % (5001, "2")))
        for v in (1, 2):
            c = dict(crypt="aes", ds=10, ps=3, nocomp=False, smuxver=v, mode="fast3")
            lab.run("server%d" % v, "p", *stock(c, "server", ":%d" % (5000 + v), "127.0.0.1:9000")).wait_for("quiet:")
        gw = lab.gateway("gw", "g", conf(tunnels, 1))
        load(lab, "lost", "g", 13003, "small", 1)
        loads = [load(lab, "load%d" % v, "g", 13000 + v, "mixed", 2 << 20, 20, "--seed", v) for v in (1, 2)]
        for p in loads:
            case.check(p.end() == 0, p.log())
        for v in (1, 2):
            words = "smux version: %d on connection: 10.77.0.1:" % v
            case.check(any(words in x and x.endswith(":%d" % (5000 + v)) for x in gw.log().splitlines()), words, gw.log())
        wait_until("what the server does", lambda: "tunnel wrong: server 10.77.0.2:5001 forgets at once what it is told: smuxver is 2, "
                   "does it speak smux 1?" in gw.log())
        case.check(gw.stop() == 0, "exit status", gw.p.returncode)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
