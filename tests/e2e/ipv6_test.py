#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""IPv6 wherever an address may stand, beside Debian's kcptun: listeners of both families, names, zones, targets, ranges."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lab"))
sys.path.insert(0, os.path.join(HERE, "..", "interop"))
import case
from kcptun_test import stock
from lab import ROOT, Lab, LabError, eal, gateway_binary, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
STOCK = dict(crypt="aes", mode="fast3", ds=10, ps=3, nocomp=False, smuxver=1)
WORDS = ["--key", "interop", "--mode", "fast3", "--smuxver", "1"]
# g1 and p1 are the first link, g2 and p2 the second; link-local addresses are the same on both.
GLL, PLL = "fe80::1", "fe80::2"


def network(lab, tcp=()):
    lab.add_ns("g", "p")
    for i in (1, 2):
        lab.veth("g", "g%d" % i, "p", "p%d" % i)
        for ns, dev, n, ll in (("g", "g%d" % i, 1, GLL), ("p", "p%d" % i, 2, PLL)):
            lab.ip(ns, "addr", "flush", "dev", dev)
            lab.addr(ns, dev, "10.79.%d.%d/24" % (i, n), "fd79:%d::%d/64" % (i, n), ll + "/64")
    for addr in tcp or ("0.0.0.0", "::"):
        name = "target-" + addr.replace("%", "-").replace(":", "_")
        lab.run(name, "g", sys.executable, LOAD, "serve", addr, "9000").wait_for("serving")


def run(lab, who, name, ns, role, near, far, *more):
    """One end, ours or stock's, by the same command line."""
    if who == "stock":
        p = lab.run(name, ns, *stock(STOCK, role, near, far), *more)
        p.wait_for("listening on")
        return p
    p = lab.run(name, ns, gateway_binary(), role, "-l", near, "-r" if role == "client" else "-t", far, *WORDS, *more)
    p.wait_for("ready:")
    return p


def exchange(lab, host, port, n=30000):
    p = lab.run("load%d" % len(lab.procs), "p", sys.executable, LOAD, "big", host, str(port), str(n), "--timeout", "20")
    return p.end() == 0


PAIRS = [("stock", "stock"), ("ours", "stock"), ("stock", "ours"), ("ours", "ours")]


def through(who, listen=":4000", remotes=("10.79.1.1:4000",), near="127.0.0.1:%d", hosts=("127.0.0.1",),
            target="127.0.0.1:9000", names="", tcp=(), iface=("g1", None)):
    """A server of who[0] and a client of who[1] for each of the remotes; what has not come through."""
    bad = []
    with Lab("k6") as lab:
        network(lab, tcp)
        if names:
            os.makedirs("/etc/netns/" + lab.ns("p"))
            lab.undo.append(["rm", "-r", "/etc/netns/" + lab.ns("p")])
            with open("/etc/netns/%s/hosts" % lab.ns("p"), "w") as f:
                f.write(names)
        more = [["--iface", i] if w == "ours" and i else [] for w, i in zip(who, iface)]
        try:
            run(lab, who[0], "server", "g", "server", listen, target, *more[0])
            for i, remote in enumerate(remotes):
                run(lab, who[1], "client%d" % i, "p", "client", near % (13000 + i), remote, *more[1])
        except LabError as e:
            return [str(e).strip().split("\n")[-1][:200]]
        for i, remote in enumerate(remotes):
            for host in hosts:
                if not exchange(lab, host, 13000 + i):
                    bad.append("%s by %s" % (remote, host))
    return bad


CASES = {
    "listen_port": dict(remotes=("10.79.1.1:4000", "[fd79:1::1]:4000")),
    "listen_any6": dict(listen="[::]:4000", remotes=("10.79.1.1:4000", "[fd79:1::1]:4000")),
    "listen_any4": dict(listen="0.0.0.0:4000", remotes=("10.79.1.1:4000", "[fd79:1::1]:4000")),
    "listen_one": dict(listen="[fd79:1::1]:4000", iface=(None, None), remotes=("[fd79:1::1]:4000",)),
    "tcp_port": dict(near=":%d", hosts=("127.0.0.1", "::1")),
    "tcp_any6": dict(near="[::]:%d", hosts=("127.0.0.1", "::1")),
    "tcp_any4": dict(near="0.0.0.0:%d", hosts=("127.0.0.1", "::1")),
    "tcp_one": dict(near="[::1]:%d", hosts=("::1",)),
    "target": dict(target="[::1]:9000", tcp=("::1",)),
    "names": dict(names="10.79.1.1 both\nfd79:1::1 both six\n", remotes=("both:4000", "six:4000")),
    "range": dict(iface=(None, None), listen="[fd79:1::1]:4000-4003", remotes=("[fd79:1::1]:4000-4003",)),
    "zone_tcp": dict(near="[%s%%%%p1]:%%d" % PLL, hosts=(PLL + "%p1",)),
    "zone_target": dict(target="[%s%%g2]:9000" % GLL, tcp=(GLL + "%g2",)),
    "zone_remote": dict(remotes=("[%s%%p2]:4000" % GLL,), iface=("g2", None)),
    "zone_remote_all": dict(remotes=("[%s%%p1]:4000" % GLL,)),
    "zone_listen": dict(iface=(None, None), listen="[%s%%g2]:4000" % GLL, remotes=("[%s%%p2]:4000" % GLL,)),
}


def test_matrix():
    """Each of the cases, on either side of stock's and on both; all but the range stock has with itself, too."""
    for name, c in CASES.items():
        for who in PAIRS[1:] if name != "range" else PAIRS[3:]:
            bad = through(who, **c)
            case.check(not bad, name, who, bad)
    return "%d cases" % len(CASES)


def both(lab, jobs):
    """All at once: (host, port) of each."""
    loads = [lab.run("load%d-%d" % (len(lab.procs), i), "p", sys.executable, LOAD, "big", host, str(port), "200000",
                     "--timeout", "100") for i, (host, port) in enumerate(jobs)]
    for l, job in zip(loads, jobs):
        case.check(l.end() == 0, job, l.log())


def port(name, n, iface, more='exception = "kernel";'):
    return '{ name = "%s"; device = "net_af_packet%d,iface=%s"; %s }' % (name, n, iface, more)


def tunnel(name, role, near, far):
    return ('{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; key = "interop"; mode = "fast3"; smuxver = 1; }' %
            (name, role, near, "target" if role == "server" else "remote", far))


def conf(ports, tunnels, workers=1):
    return eal(workers) + "ports = ( %s );\ntunnels = ( %s );\n" % (",\n".join(ports), ",\n".join(tunnels))


def link_local(lab, ns, dev):
    def look():
        words = lab.ip(ns, "-6", "addr", "show", "dev", dev, "scope", "link").split()
        return words[words.index("inet6") + 1].split("/")[0] if "inet6" in words else None
    return wait_until("a link-local address of " + dev, look)


def test_server():
    """One server on three links, hears stock's clients of both families, and the same link-local address on two of them."""
    with Lab("k6") as lab:
        network(lab, ("127.0.0.1", "::1", GLL + "%g2"))
        lab.veth("g", "g3", "p", "p3")
        lab.ip("g", "addr", "flush", "dev", "g3")  # the port's, and so its TAP's
        srv = lab.gateway("server", "g", conf(
            [port("a", 0, "g1"), port("b", 1, "g2"),
             port("c", 2, "g3", 'exception = "tap"; ifname = "kg-c"; addresses = [ "fd79:3::1/64" ];')],
            [tunnel("all", "server", ":4000", "127.0.0.1:9000"),
             tunnel("zone", "server", "[%s%%g2]:4001" % GLL, "[::1]:9000"),
             tunnel("range", "server", "[fd79:1::1]:4002-4003", "[%s%%g2]:9000" % GLL)], workers=2))
        remotes = ["10.79.1.1:4000", "[fd79:2::1]:4000", "[%s%%p1]:4000" % GLL, "[%s%%p2]:4000" % GLL,
                   "[%s%%p3]:4000" % link_local(lab, "g", "kg-c"), "[%s%%p2]:4001" % GLL, "[fd79:1::1]:4003"]
        for i, r in enumerate(remotes):
            run(lab, "stock", "client%d" % i, "p", "client", "127.0.0.1:%d" % (13000 + i), r)
        both(lab, [("127.0.0.1", 13000 + i) for i in range(len(remotes))])
        peers = sorted(s["peer"].rsplit(":", 1)[0] for s in lab.telemetry(srv, "/kcpgate/sessions"))
        want = ["10.79.1.2", "[fd79:1::2]", "[fd79:2::2]", "[%s%%a]" % PLL, "[%s%%b]" % PLL, "[%s%%b]" % PLL]
        case.check([p for p in peers if not p.endswith("%c]")] == want and len(peers) == 7, peers)
        # The zone's tunnel is deaf on the other links.
        before = lab.telemetry(srv, "/kcpgate/drops")["no_listener"]
        lab.sh("p", sys.executable, "-c", "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); "
               "s.sendto(b'x' * 100, ('%s%%p1', 4001))" % GLL)
        wait_until("no_listener", lambda: lab.telemetry(srv, "/kcpgate/drops")["no_listener"] > before)
        case.check(srv.stop() == 0, "exit status")


def test_client():
    """One client on two links, to stock's server by every kind of address; its TCP listeners hear what Go's hear."""
    with Lab("k6") as lab:
        network(lab)
        hosts = "/etc/netns/" + lab.ns("p")
        os.makedirs(hosts)
        lab.undo.append(["rm", "-r", hosts])
        with open(hosts + "/hosts", "w") as f:
            f.write("10.79.1.1 both\nfd79:1::1 both six\n")
        run(lab, "stock", "server", "g", "server", ":4000", "127.0.0.1:9000")
        ends = [("0.0.0.0", "10.79.1.1", ["127.0.0.1", "::1"]), ("[::]", "[fd79:2::1]", ["127.0.0.1", "::1"]),
                ("", "[%s%%p1]" % GLL, ["127.0.0.1", "::1"]), ("[::1]", "[%s%%p2]" % GLL, ["::1"]),
                ("[%s%%p1]" % PLL, "both", [PLL + "%p1"]), ("127.0.0.1", "six", ["127.0.0.1"])]
        cli = lab.gateway("client", "p", conf(
            [port("a", 0, "p1"), port("b", 1, "p2")],
            [tunnel("t%d" % i, "client", "%s:%d" % (near, 13000 + i), far + ":4000") for i, (near, far, _) in
             enumerate(ends)], workers=2))
        both(lab, [(h, 13000 + i) for i, (_, _, hs) in enumerate(ends) for h in hs])
        peers = {s["tunnel"]: s["peer"] for s in lab.telemetry(cli, "/kcpgate/sessions")}
        case.check(peers["t2"] == "[%s%%a]:4000" % GLL and peers["t3"] == "[%s%%b]:4000" % GLL, peers)
        case.check(peers["t5"] == "[fd79:1::1]:4000", peers)
        case.check(cli.stop() == 0, "exit status")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
