#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One tunnel's hung target, and one client's paused applications, stop nobody else: all that is pooled is shared out."""
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, wait_until

ENDS = os.path.join(ROOT, "tests", "lab", "ends.py")
LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
PORTS = 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n'
HUNG, GOOD = 9001, 9000


def tunnel(name, role, listen, far, **opts):
    o = dict(key='"share"', mode='"fast3"', smuxver=1, nocomp="true", **opts)
    return '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; %s }' % (
        name, role, listen, "target" if role == "server" else "remote", far, " ".join("%s = %s;" % kv for kv in o.items()))


def gateway(lab, name, ns, iface, *tunnels):
    return lab.gateway(name, ns, eal() + PORTS % iface + "tunnels = (\n" + ",\n".join(tunnels) + "\n);\nlog = { quiet = true; };\n")


def run(lab, name, ns, script, *argv, say=None):
    p = lab.run(name, ns, sys.executable, script, *[str(a) for a in argv])
    if say:
        p.wait_for(say, 120)
    return p


def link(lab, *sides):
    """The server's namespace s, and one for each client, behind a router each would have: here, a link each."""
    lab.add_ns("s", *sides)
    lab.ip("s", "link", "add", "br0", "type", "bridge")
    lab.ip("s", "link", "set", "br0", "up")
    lab.addr("s", "br0", "10.77.0.1/24")
    for i, ns in enumerate(sides):
        lab.veth("s", "b%d" % i, ns, "c0")
        lab.ip("s", "link", "set", "b%d" % i, "master", "br0")
        lab.addr(ns, "c0", "10.77.0.%d/24" % (10 + i))


def exchanges(lab, ns, port):
    """Verified exchanges of somebody else's, both ways."""
    p = run(lab, "victim", ns, LOAD, "mixed", "127.0.0.1", port, 4 << 20, 50)
    p.p.wait(240)
    case.check(p.p.returncode == 0, "somebody else's exchanges", p.log())
    return p.log().strip()


def two_tunnels(lab):
    """A server with a tunnel to a target that accepts and never reads, and one to a good one, and a client of that."""
    link(lab, "h", "v")
    srv = gateway(lab, "server", "s", "br0", tunnel("hung-one", "server", ":4001", "127.0.0.1:%d" % HUNG),
                  tunnel("good", "server", ":4000", "127.0.0.1:%d" % GOOD))
    run(lab, "hang", "s", ENDS, "hang", HUNG, say="serving")
    run(lab, "good", "s", LOAD, "serve", "127.0.0.1", GOOD, say="serving")
    gateway(lab, "victims", "v", "c0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000"))
    return srv


def test_hung_target_of_stock_sessions():
    """24 sessions of a stock client push into a target that never reads; another tunnel goes on."""
    with Lab("ki") as lab:
        srv = two_tunnels(lab)
        exe = os.environ.get("KCPTUN_CLIENT") or shutil.which("kcptun-client")
        lab.run("stock", "h", exe, "-l", "127.0.0.1:13001", "-r", "10.77.0.1:4001", "--key", "share", "--mode", "fast3",
                "--nocomp", "--quiet", "--conn", "24").wait_for("key derivation done")
        run(lab, "push", "h", ENDS, "push", 13001, 64 << 20, 24, say="pushing")
        wait_until("they are stuck", lambda: stuck(lab, srv, 24), 120)
        note = exchanges(lab, "v", 13000)
        row = lab.telemetry(srv, "/kcpgate/tunnels")
        case.check(row["hung_one"]["chunks"] > row["hung_one"]["chunks_sure"], "the hung tunnel holds more than its own", row)
        case.check(row["hung_one"]["name"] == "hung-one", "a name with a dash is told", row)
        case.check(row["good"]["chunks_refused"] == 0, "the other was refused nothing", row)
        return note


def stuck(lab, srv, n):
    """So many sessions hold as much as they can get."""
    def held():
        rows = [r for r in lab.telemetry(srv, "/kcpgate/sessions") if r["tunnel"] == "hung-one"]
        return sum(r["held_bytes"] for r in rows) if len(rows) >= n else 0
    before = held()
    time.sleep(2)
    return before > 16 << 20 and held() == before


def test_paused_downloads():
    """330 applications of one client pause in their downloads; other clients of the same tunnel go on, and those get
    everything afterwards."""
    with Lab("ki") as lab:
        link(lab, "h", "v")
        srv = gateway(lab, "server", "s", "br0", tunnel("a", "server", ":4000", "127.0.0.1:%d" % GOOD),
                      tunnel("b", "server", ":4001", "127.0.0.1:%d" % HUNG))
        run(lab, "good", "s", LOAD, "serve", "127.0.0.1", GOOD, say="serving")
        run(lab, "give", "s", ENDS, "give", HUNG, 2000000, say="serving")
        gateway(lab, "paused", "h", "c0", tunnel("p", "client", "127.0.0.1:13001", "10.77.0.1:4001", conn=330))
        gateway(lab, "victims", "v", "c0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000"),
                tunnel("d", "client", "127.0.0.1:13002", "10.77.0.1:4001"))
        many = run(lab, "many", "h", ENDS, "many", 13001, 10, 330, 60, say="paused")
        note = exchanges(lab, "v", 13000)
        one = run(lab, "one", "v", ENDS, "get", 13002, 10, 5)
        one.p.wait(120)
        case.check(one.log().split("\n")[:5] == ["2000000 eof good"] * 5, "the same tunnel's other client", one.log())
        many.p.wait(300)
        got = many.log().splitlines()[1:]
        case.check(got == ["2000000 eof good"] * 330, "those that paused", len(got), set(got))
        return note


def test_uploads_to_one_hung_target():
    """64 uploads of 8 MB to one hung target; the server's other tunnel, and the client's, go on."""
    with Lab("ki") as lab:
        srv = two_tunnels(lab)
        gateway(lab, "pushers", "h", "c0", tunnel("p", "client", "127.0.0.1:13001", "10.77.0.1:4001", conn=64),
                tunnel("q", "client", "127.0.0.1:13002", "10.77.0.1:4000"))
        run(lab, "push", "h", ENDS, "push", 13001, 8 << 20, 64, say="pushing")
        wait_until("they are stuck", lambda: stuck(lab, srv, 16), 120)
        return exchanges(lab, "v", 13000) + ", " + exchanges(lab, "h", 13002)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
