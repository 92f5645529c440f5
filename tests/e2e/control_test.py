#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Several control lcores: connections of both roles shared out, bytes verified both ways, numbers of the whole, the end.

Any script that takes its eal group from the lab runs under several with KCPGATE_CONTROLS=2.
"""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import check
from lab import ROOT, Lab, eal, sh, gateway_binary, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
ENDS = os.path.join(ROOT, "tests", "lab", "ends.py")
CONNS = 12


def conf(iface, tunnel):
    return (eal(workers=2) + 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n' % iface +
            'tunnels = ( { name = "t"; key = "k"; mode = "fast3"; %s } );\n' % tunnel)


def up(lab):
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/24")
    lab.addr("p", "p0", "10.77.0.2/24")
    srv = lab.gateway("server", "g", conf("g0", 'role = "server"; listen = ":4000"; target = "127.0.0.1:9000";'))
    cli = lab.gateway("client", "p", conf("p0", 'role = "client"; listen = "127.0.0.1:13000"; remote = "10.77.0.1:4000"; conn = 2;'))
    return srv, cli


def rows(lab, gw):
    return [v for _, v in sorted(lab.telemetry(gw, "/kcpgate/controls").items())]


def several(n, fn):
    """Under n control lcores."""
    before = os.environ.get("KCPGATE_CONTROLS")
    os.environ["KCPGATE_CONTROLS"] = str(n)
    try:
        with Lab("kcc") as lab:
            return fn(lab)
    finally:
        if before is None:
            del os.environ["KCPGATE_CONTROLS"]
        else:
            os.environ["KCPGATE_CONTROLS"] = before


def load(lab, *argv):
    p = lab.run("load", "p", sys.executable, LOAD, argv[0], "127.0.0.1", "13000", *[str(a) for a in argv[1:]])
    check(p.end() == 0, p.log())


def shared(lab, n):
    srv, cli = up(lab)
    lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
    idle = [len(rows(lab, gw)) for gw in (srv, cli)]
    check(idle == [n, n], "instances told", idle)
    load(lab, "fair", CONNS, 300000)
    load(lab, "small", 60, "--at-once", 10)
    load(lab, "half", 500000)
    for gw in (srv, cli):
        part, whole = rows(lab, gw), lab.telemetry(gw, "/kcpgate/control")
        for key in ("tcp_in_bytes", "tcp_out_bytes", "dialled"):
            check(sum(r[key] for r in part) == whole[key], gw.name, key, part, whole[key])
        least = min(r["tcp_in_bytes"] + r["tcp_out_bytes"] for r in part)
        whole = whole["tcp_in_bytes"] + whole["tcp_out_bytes"]
        check(least > whole / n / 3, gw.name, "one had", least, "of", whole)
        check(all(r["turns"] > 0 and r["total_us"] >= r["busy_us"] > 0 for r in part), part)
        wait_until("no connection to be left", lambda: lab.telemetry(gw, "/kcpgate/control")["streams"] == 0)
        check(lab.telemetry(gw, "/kcpgate/control")["descriptors"] == 0, gw.name)
    for gw in (cli, srv):
        check(gw.stop() == 0, gw.name, gw.log())
    return " ".join("%d" % r["tcp_in_bytes"] for r in part)


def test_two():
    return several(2, lambda lab: shared(lab, 2))


def test_three():
    return several(3, lambda lab: shared(lab, 3))


def stopped(lab):
    srv, cli = up(lab)
    lab.run("target", "g", sys.executable, ENDS, "endless", "9000").wait_for("serving")
    get = [lab.run("get%d" % i, "p", sys.executable, ENDS, "get", "13000", "100", "1") for i in range(4)]
    wait_until("all to be there", lambda: lab.telemetry(srv, "/kcpgate/control")["dialled"] == len(get))
    wait_until("bytes on both", lambda: min(r["tcp_out_bytes"] for r in rows(lab, cli)) > 1000000)
    check([r["streams"] for r in rows(lab, cli)] == [2, 2], rows(lab, cli))
    check(srv.stop(signal.SIGTERM) == 0, srv.log())
    for p in get:
        wait_until("an end", lambda: any(x.endswith("good") for x in p.log().splitlines()))
        check("reset good" in p.log(), "an endless answer is cut: that is no clean end", p.log())


def test_stopped():
    several(2, stopped)


def test_check_says():
    """`kcpgate check` counts them, and refuses more than there are lcores for."""
    with Lab("kcc") as lab:
        text = conf("lo", 'role = "server"; listen = ":4000"; target = "127.0.0.1:9000";').replace("@PREFIX@", "x")
        one = sh(gateway_binary(), "check", "-c", lab.file("one.conf", text))
        check("workers            2\n" in one and "control " not in one, one)
        text = text.replace("eal = {", "eal = { control = 2;")
        two = sh(gateway_binary(), "check", "-c", lab.file("two.conf", text))
        check("workers            1\n" in two and "control            2 lcores share the TCP connections\n" in two, two)
        text = text.replace("control = 2", "control = 3")
        bad = sh(gateway_binary(), "check", "-c", lab.file("three.conf", text), check=False)
        check("eal.control: found 3; allowed: fewer than the 3 of eal.lcores" in bad, bad)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
