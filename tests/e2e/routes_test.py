#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ways that change under a transfer: gateways, neighbours, uplinks, addresses, a million routes; stock kcptun at the far end."""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
FAR = "10.99.0.1"
BIG = 24 << 20
MANY = int(os.environ.get("KCPGATE_ROUTES", "1000000"))
ROUTER_MAC = "02:77:00:00:00:%02x"


def stock(role, *argv):
    return [os.environ.get("KCPTUN_" + role.upper()) or shutil.which("kcptun-" + role), *argv]


def conf(lab, uplinks, extra=""):
    ports = ",\n".join('{ name = "%s"; device = "net_af_packet%d,iface=%s"; exception = "kernel"; }' % (u, n, u)
                       for n, u in enumerate(uplinks))
    return (eal(1) + "ports = ( " + ports + " );\n"
            'tunnels = ( { name = "t"; role = "client"; listen = "127.0.0.1:13000"; remote = "%s:4000"; key = "k"; '
            'mode = "fast3"; nocomp = true; %s } );\n' % (FAR, extra))


def back(lab, prefix, i):
    """Stock answers from the address that the route has."""
    lab.ip("p", "route", "add", prefix, "via", "10.99.%d.1" % i, "src", FAR)


def routers(lab, uplinks=2, lan=False):
    """
    g, and the far end p, which is reached by r1 and by r2: over an uplink each (u1, u2), or both on one network (u1, a
    bridge in b). p answers the way that leads back to the address it was spoken to from.
    """
    lab.add_ns("g", "p", "r1", "r2", *(["b"] if lan else []))
    if lan:
        lab.ip("b", "link", "add", "sw0", "type", "bridge")
        lab.ip("b", "link", "set", "sw0", "up")
        lab.veth("g", "u1", "b", "bg")
        lab.ip("b", "link", "set", "bg", "master", "sw0")
        lab.addr("g", "u1", "10.1.0.9/16")
    lab.addr("p", "lo", FAR + "/32")
    for i in (1, 2):
        r = "r%d" % i
        if lan:
            lab.veth("b", "b%d" % i, r, "in")
            lab.ip("b", "link", "set", "b%d" % i, "master", "sw0")
            lab.addr(r, "in", "10.1.0.%d/16" % i)
        else:
            lab.veth("g", "u%d" % i, r, "in")
            lab.addr("g", "u%d" % i, "10.%d.0.9/16" % i)
            lab.addr(r, "in", "10.%d.0.1/16" % i)
        lab.ip(r, "link", "set", "in", "address", ROUTER_MAC % i)
        lab.veth(r, "out", "p", "p%d" % i)
        lab.addr(r, "out", "10.99.%d.1/24" % i)
        lab.addr("p", "p%d" % i, "10.99.%d.2/24" % i)
        lab.sysctl(r, "net.ipv4.ip_forward", 1)
        for key in "rp_filter", "send_redirects":
            for dev in "all", "in", "out":
                lab.sysctl(r, "net.ipv4.conf.%s.%s" % (dev, key), 0)
        lab.ip(r, "route", "add", FAR, "via", "10.99.%d.2" % i)
        if not lan:
            back(lab, "10.%d.0.0/16" % i, i)
    if lan:
        back(lab, "10.1.0.0/16", 1)
    for ns in "g", "p":
        for dev in ("all", "u1", "u2") if ns == "g" else ("all", "p1", "p2"):
            lab.sysctl(ns, "net.ipv4.conf.%s.rp_filter" % dev, 0)
    lab.run("target", "p", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
    lab.run("stock", "p", *stock("server", "-l", ":4000", "-t", "127.0.0.1:9000", "--key", "k", "--mode", "fast3",
                                 "--nocomp", "--smuxver", "2")).wait_for("quiet:")


def through(lab, r):
    """Frames that a router's inner interface has received."""
    return int(lab.sh(r, "cat", "/sys/class/net/in/statistics/rx_packets"))


def transfer(lab, n=BIG):
    return lab.run("load%d" % len(lab.procs), "g", sys.executable, LOAD, "big", "127.0.0.1", "13000", str(n), "--timeout",
                   "200")


def done(p):
    p.p.wait(240)
    case.check(p.p.returncode == 0, p.log())


def slowed(lab):
    """So slow that a transfer is still under way after what is done to it."""
    for r in "r1", "r2":
        lab.sh(r, "tc", "qdisc", "add", "dev", "out", "root", "tbf", "rate", "40mbit", "burst", "64kb", "limit", "1mb")


def under_way(lab, p, r):
    before = through(lab, r)
    wait_until("bytes by " + r, lambda: through(lab, r) > before + 300)
    case.check(p.alive(), p.log())


def moved(lab, p, old, new, change):
    """change() makes the way lead by `new`; what still comes by `old` soon after is nothing."""
    under_way(lab, p, old)
    at_new = through(lab, new)
    t = time.monotonic()
    change()
    wait_until("bytes by " + new, lambda: through(lab, new) > at_new + 20)
    t = time.monotonic() - t
    at_old = through(lab, old)
    under_way(lab, p, new)
    case.check(through(lab, old) < at_old + 100, "still by", old, through(lab, old) - at_old)
    return t


def test_gateway_changes():
    """The default route's gateway becomes another one of the same network, and then that one's neighbour entry."""
    with Lab("hCr") as lab:
        routers(lab, lan=True)
        slowed(lab)
        lab.ip("g", "route", "add", "default", "via", "10.1.0.1")
        gw = lab.gateway("gw", "g", conf(lab, ["u1"]))
        p = transfer(lab)
        a = moved(lab, p, "r1", "r2", lambda: lab.ip("g", "route", "replace", "default", "via", "10.1.0.2"))

        # The other router takes over the address, as VRRP has it: the same next hop by another link address.
        def take_over():
            lab.ip("r2", "addr", "del", "10.1.0.2/16", "dev", "in")
            lab.addr("r1", "in", "10.1.0.2/16")
            lab.ip("g", "neigh", "replace", "10.1.0.2", "lladdr", ROUTER_MAC % 1, "nud", "reachable", "dev", "u1")
        b = moved(lab, p, "r2", "r1", take_over)
        done(p)
        case.check(gw.stop() == 0, "exit status")
        return "by the new way after %.2f and %.2f s" % (a, b)


def test_uplink_moves():
    """The default route moves to another uplink and back; the session keeps its address."""
    with Lab("hCr") as lab:
        routers(lab)
        slowed(lab)
        lab.ip("g", "route", "add", "default", "via", "10.1.0.1")
        gw = lab.gateway("gw", "g", conf(lab, ["u1", "u2"]))
        p = transfer(lab)
        a = moved(lab, p, "r1", "r2", lambda: lab.ip("g", "route", "replace", "default", "via", "10.2.0.1"))
        b = moved(lab, p, "r2", "r1", lambda: lab.ip("g", "route", "replace", "default", "via", "10.1.0.1"))
        done(p)
        # A new session speaks from the uplink that it leaves by.
        lab.ip("g", "route", "replace", "default", "via", "10.2.0.1")
        case.check(gw.stop() == 0, "exit status")
        gw = lab.gateway("gw", "g", conf(lab, ["u1", "u2"]))
        done(transfer(lab, 1 << 20))
        rows = lab.telemetry(gw, "/kcpgate/sessions")
        case.check(rows and all(r["local"].startswith("10.2.0.9:") for r in rows), rows)
        case.check(gw.stop() == 0, "exit status")
        return "by the new way after %.2f and %.2f s" % (a, b)


def test_several_ways():
    """One route by two gateways: sessions share them out; one whose neighbour is gone carries nothing any more."""
    with Lab("hCr") as lab:
        routers(lab, lan=True)
        slowed(lab)
        lab.ip("g", "route", "add", "default", "nexthop", "via", "10.1.0.1", "nexthop", "via", "10.1.0.2")
        gw = lab.gateway("gw", "g", conf(lab, ["u1"], "conn = 16;"))
        ps = [transfer(lab, 4 << 20) for _ in range(16)]
        wait_until("both ways", lambda: min(through(lab, "r1"), through(lab, "r2")) > 300)
        # It answers nobody any more: the kernel notices, and says that the neighbour has failed.
        lab.ip("r2", "link", "set", "in", "arp", "off")
        lab.sysctl("r2", "net.ipv4.ip_forward", 0)
        lab.ip("g", "neigh", "replace", "10.1.0.2", "nud", "failed", "dev", "u1")
        for p in ps:
            done(p)
        case.check(gw.stop() == 0, "exit status")


def test_address_changes():
    """Another address beside the first: the transfer keeps its own. When that goes, new sessions speak from the other."""
    with Lab("hCr") as lab:
        routers(lab)
        slowed(lab)
        lab.ip("g", "route", "add", "default", "via", "10.1.0.1")
        gw = lab.gateway("gw", "g", conf(lab, ["u1", "u2"]))
        p = transfer(lab, 8 << 20)
        under_way(lab, p, "r1")
        lab.addr("g", "u1", "10.1.0.7/16")
        lab.ip("g", "route", "replace", "default", "via", "10.1.0.1", "src", "10.1.0.7")
        done(p)
        rows = lab.telemetry(gw, "/kcpgate/sessions")
        case.check(rows and rows[0]["local"].startswith("10.1.0.9:"), rows)
        case.check(gw.stop() == 0, "exit status")
        gw = lab.gateway("gw", "g", conf(lab, ["u1", "u2"]))
        done(transfer(lab, 1 << 20))
        rows = lab.telemetry(gw, "/kcpgate/sessions")
        case.check(rows and rows[0]["local"].startswith("10.1.0.7:"), rows)
        case.check(gw.stop() == 0, "exit status")


def test_rules_told():
    """Rules of policy routing are told: in the log, by telemetry and doctor; at the start and when they come."""
    with Lab("hCr") as lab:
        routers(lab)
        lab.ip("g", "route", "add", "default", "via", "10.1.0.1")
        lab.ip("g", "rule", "add", "from", "10.2.0.9", "lookup", "100", "prio", "77")
        gw = lab.gateway("gw", "g", conf(lab, ["u1", "u2"]))
        gw.wait_for('policy routing: 1 rules of the kernel\'s are not followed, the first "77: from 10.2.0.9 lookup 100"')
        case.check(lab.telemetry(gw, "/kcpgate/control")["rules_not_followed"] == 1, "telemetry")
        lab.ip("g", "rule", "del", "prio", "77")
        gw.wait_for("there are no rules any more")
        lab.ip("g", "rule", "add", "fwmark", "5", "lookup", "100", "prio", "78")
        gw.wait_for('the first "78: from all ... lookup 100"')
        case.check(gw.stop() == 0, "exit status")


# ---- a million, by BIRD

BIRD = """log stderr all;
router id 10.1.0.9;
protocol device { }
protocol kernel { ipv4 { export all; import none; }; }
protocol static {
    ipv4;
    include "%s";
}
"""


def prefixes(n):
    return ["%d.%d.%d.0/24" % (20 + (i >> 16), i >> 8 & 255, i & 255) for i in range(n)]


def test_many_routes():
    """BIRD gives the kernel a million routes beside a transfer, takes them back, and changes a part of them all the time."""
    if not shutil.which("bird"):
        raise case.Skip("no bird")
    with Lab("hCr") as lab:
        routers(lab)
        slowed(lab)
        lab.ip("g", "route", "add", FAR, "via", "10.1.0.1")
        gw = lab.gateway("gw", "g", conf(lab, ["u1", "u2"]))
        lines = ["route %s via 10.1.0.%d;\n" % (p, 1 + i % 4) for i, p in enumerate(prefixes(MANY))]
        routes = lab.file("routes", "".join(lines))
        bird = lab.run("bird", "g", shutil.which("bird"), "-f", "-c", lab.file("bird.conf", BIRD % routes), "-s",
                       os.path.join(lab.dir, "bird.ctl"))
        p = transfer(lab, BIG)

        def count():
            return lab.telemetry(gw, "/kcpgate/control")["routes"]

        t = time.monotonic()
        wait_until("a million routes", lambda: count() >= MANY, 600)
        t = time.monotonic() - t
        done(p)
        seen = lab.telemetry(gw, "/kcpgate/control")
        # A tenth goes by another next hop: BIRD replaces those.
        lab.file("routes", "".join(s.replace("10.1.0.1;", "10.1.0.5;") if i % 40 == 0 else s for i, s in enumerate(lines)))
        p = transfer(lab, BIG)
        ctl = os.path.join(lab.dir, "bird.ctl")
        lab.sh("g", "birdc", "-s", ctl, "configure", timeout=300)
        wait_until("the changes", lambda: lab.telemetry(gw, "/kcpgate/control")["routes_changes"] >=
                   seen["routes_changes"] + MANY // 40 or
                   lab.telemetry(gw, "/kcpgate/control")["routes_reads"] > seen["routes_reads"], 600)
        done(p)
        p = transfer(lab, BIG)
        bird.stop()
        wait_until("all of them gone", lambda: count() < 100, 600)
        done(p)
        end = lab.telemetry(gw, "/kcpgate/control")
        case.check(gw.stop() == 0, "exit status")
        return "%d routes there after %.1f s, %d MB; %d messages, %d readings" % (
            MANY, t, seen["routes_bytes"] >> 20, end["routes_changes"], end["routes_reads"])


if __name__ == "__main__":
    case.main(sys.modules[__name__])
