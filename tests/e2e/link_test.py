#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Interfaces that go down, come late, are made anew or renamed, beside others that serve, and names that do not resolve yet."""
import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, gateway_binary, wait_until
from lab import telemetry as lab_telemetry

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
BIG = 3000000


def port(name, iface, more='exception = "kernel";', n=0):
    return '{ name = "%s"; device = "net_af_packet%d,iface=%s"; %s }' % (name, n, iface, more)


def tunnel(name, role, listen, far, **opts):
    o = dict(key='"k"', mode='"fast3"', **opts)
    more = " ".join("%s = %s;" % kv for kv in o.items())
    return '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; %s }' % (
        name, role, listen, "target" if role == "server" else "remote", far, more)


def conf(ports, tunnels, workers=1):
    return (eal(workers) + "ports = ( " + ",\n".join(ports) + " );\ntunnels = ( " + ",\n".join(tunnels) + " );\n")


def target(lab, ns):
    lab.run("target-" + ns, ns, sys.executable, LOAD, "serve", "0.0.0.0", "9000").wait_for("serving")


def load(lab, ns, *argv, wait=True):
    p = lab.run("load%d" % len(lab.procs), ns, sys.executable, LOAD, *[str(a) for a in argv], "--timeout", "100")
    if wait:
        p.p.wait(120)
        case.check(p.p.returncode == 0, p.log())
    return p


def drops(lab, gw):
    return lab.telemetry(gw, "/kcpgate/drops")


def dropped(lab, gw, why):
    d = drops(lab, gw)
    return sum(v for k, v in d.items() if k.split(":")[0] == why and isinstance(v, int))


def two_links(lab):
    lab.add_ns("g", "p")
    for i in (1, 2):
        lab.veth("g", "g%d" % i, "p", "p%d" % i)
        lab.addr("g", "g%d" % i, "10.77.%d.1/24" % i)
        lab.addr("p", "p%d" % i, "10.77.%d.2/24" % i)
    target(lab, "g")


def two_ports(lab, workers=1, more=""):
    """g serves on two interfaces by one worker; p is a client of both."""
    two_links(lab)
    srv = lab.gateway("server", "g", conf([port("a", "g1" + more), port("b", "g2", n=1)],
                                          [tunnel("s", "server", ":4000", "127.0.0.1:9000")], workers))
    cli = lab.gateway("client", "p", conf([port("a", "p1"), port("b", "p2", n=1)],
                                          [tunnel("t%d" % i, "client", "127.0.0.1:1300%d" % i, "10.77.%d.1:4000" % i)
                                           for i in (1, 2)]))
    for i in (1, 2):
        load(lab, "p", "small", "127.0.0.1", 13000 + i, 3)
    return srv, cli


def one_down(workers):
    with Lab("kk") as lab:
        srv, cli = two_ports(lab, workers)
        slow = load(lab, "p", "big", "127.0.0.1", 13001, 80 * BIG, wait=False)
        wait_until("bytes by port a", lambda: any(s["bytes_in"] > 100000 for s in lab.telemetry(srv, "/kcpgate/sessions")
                                                  if "10.77.1." in s["peer"]))
        lab.ip("g", "link", "set", "g1", "down")
        time.sleep(1)  # what is on its way fills whatever there is to be filled
        load(lab, "p", "big", "127.0.0.1", 13002, 4 * BIG)
        case.check(slow.alive(), "the transfer over the port that is down has ended", slow.log())
        wait_until("port_down counted", lambda: dropped(lab, srv, "port_down"))
        lab.ip("g", "link", "set", "g1", "up")
        slow.p.wait(110)
        case.check(slow.p.returncode == 0, slow.log())
        n = dropped(lab, srv, "port_down")
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")
        return "port_down: %d" % n


def test_one_down():
    """A port that is down holds up nothing of another port of its worker; its own transfer goes on when it is up again."""
    return one_down(1)


def test_one_down_steered():
    """The same where a second worker sends over the one that owns the ports' queues."""
    return one_down(2)


def test_one_slow():
    """A port whose interface takes next to nothing: its driver would wait in the kernel for room."""
    with Lab("kk") as lab:
        srv, cli = two_ports(lab, more=",qdisc_bypass=0")  # the driver's frames wait in the qdisc only if told to
        lab.sh("g", "tc", "qdisc", "add", "dev", "g1", "root", "tbf", "rate", "64kbit", "burst", "4kb", "limit", "4mb")
        slow = load(lab, "p", "big", "127.0.0.1", 13001, 20 * BIG, wait=False)
        time.sleep(2)
        load(lab, "p", "big", "127.0.0.1", 13002, 2 * BIG)
        case.check(slow.alive(), "the transfer over the slow port has ended", slow.log())
        case.check(cli.stop() == 0, "exit status")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
