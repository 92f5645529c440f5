#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kcpgate with kcpgate: shared AF_PACKET ports and exclusive ports with a TAP, one and two workers, IPv4 and IPv6."""
import itertools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
ADDR = {4: ("10.77.1.1", "10.77.2.1"), 6: ("fd77:1::1", "fd77:2::1")}
PREFIX = {4: 24, 6: 64}
VIA = {4: ("10.77.1.254", "10.77.2.254"), 6: ("fd77:1::fe", "fd77:2::fe")}


def literal(a):
    return "[%s]" % a if ":" in a else a


def server_tunnels(n=1):
    return ",\n".join('{ name = "s%d"; role = "server"; listen = ":%d"; target = "127.0.0.1:9000"; key = "pair"; '
                      'mode = "fast3"; sndwnd = 2048; rcvwnd = 2048; }' % (i, 4000 + i) for i in range(n))


def client_tunnels(server, n=1, conn=2):
    return ",\n".join('{ name = "c%d"; role = "client"; listen = "127.0.0.1:%d"; remote = "%s:%d"; key = "pair"; '
                      'mode = "fast3"; conn = %d; sndwnd = 2048; rcvwnd = 2048; }' %
                      (i, 13000 + i, literal(server), 4000 + i, conn) for i in range(n))


def port(kind, side, fam):
    """The ports group of gateway `side` (0 or 1)."""
    if kind == "af_packet":
        return 'ports = ( { name = "p0"; device = "net_af_packet0,iface=k%d"; exception = "kernel"; } );\n' % side
    return ('ports = ( { name = "p0"; device = "net_tap0,iface=w%d"; exception = "tap"; ifname = "x%d"; '
            'addresses = [ "%s/%d" ]; gateway = [ "%s" ]; } );\n' %
            (side, side, ADDR[fam][side], PREFIX[fam], VIA[fam][side]))


def conf(kind, side, fam, workers, tunnels):
    return eal(workers) + port(kind, side, fam) + "tunnels = (\n%s\n);\nlog = { level = \"info\"; };\n" % tunnels


def lab_up(lab, kind, fam):
    """Gateways in a and b, a router m between them: next hops are the router's."""
    lab.add_ns("a", "b", "m")
    for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        lab.sysctl("m", key, 1)
    if kind != "af_packet":
        return
    for side, ns in enumerate("ab"):
        lab.veth(ns, "k%d" % side, "m", "m%d" % side)
        lab.addr(ns, "k%d" % side, "%s/%d" % (ADDR[fam][side], PREFIX[fam]))
        lab.addr("m", "m%d" % side, "%s/%d" % (VIA[fam][side], PREFIX[fam]))
        lab.ip(ns, "route", "add", "default", "via", VIA[fam][side])


def wire_up(lab, kind, fam, side):
    """The other end of an exclusive port, which is a TAP of DPDK's: into the router's namespace."""
    if kind == "af_packet":
        return
    ns, dev = "ab"[side], "w%d" % side
    lab.ip(ns, "link", "set", dev, "netns", lab.ns("m"))
    lab.ip("m", "link", "set", dev, "up")
    lab.addr("m", dev, "%s/%d" % (VIA[fam][side], PREFIX[fam]))


def pair(lab, kind, fam, workers):
    lab_up(lab, kind, fam)
    srv = lab.gateway("server", "a", conf(kind, 0, fam, workers, server_tunnels()))
    wire_up(lab, kind, fam, 0)
    cli = lab.gateway("client", "b", conf(kind, 1, fam, workers, client_tunnels(ADDR[fam][0])))
    wire_up(lab, kind, fam, 1)
    lab.run("target", "a", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
    return srv, cli


def load(lab, *argv, ns="b", ok=True):
    p = lab.run("load", ns, sys.executable, LOAD, *[str(a) for a in argv])
    p.end()
    case.check(not ok or p.p.returncode == 0, p.log())
    return p.log().strip()


def stop(*gws):
    for g in gws:
        case.check(g.stop() == 0, g.name, "exit status", g.p.returncode, g.log()[-2000:])


def workers_used(lab, gw):
    return sum(1 for w in lab.telemetry(gw, "/kcpgate/workers") if w["sessions"])


def one(kind, workers, fam):
    with Lab("kp") as lab:
        srv, cli = pair(lab, kind, fam, workers)
        text = load(lab, "mixed", "127.0.0.1", 13000, 8 << 20, 200)
        load(lab, "half", "127.0.0.1", 13000, 1 << 20)
        rows = lab.telemetry(cli, "/kcpgate/sessions")
        case.check(len(rows) == 2, "sessions", rows)
        case.check(all(r["peer_is"] == "kcpgate" for r in rows), "HELLO not understood", rows)
        if workers == 2:
            # Two slots, two workers: over one AF_PACKET or TAP queue this takes steering in software.
            case.check(workers_used(lab, cli) == 2, "client sessions all on one worker", rows)
        drops = lab.telemetry(srv, "/kcpgate/drops")
        case.check(drops["crypt_bad"] == 0 and drops["kcp_input"] == 0, drops)
        wait_until("streams closed", lambda: all(
            w["streams"] == 0 for g in (srv, cli) for w in lab.telemetry(g, "/kcpgate/workers")))
        stop(cli, srv)
        return text


def _make(kind, workers, fam):
    return lambda: one(kind, workers, fam)


for _k, _w, _f in itertools.product(["af_packet", "tap"], [1, 2], [4, 6]):
    globals()["test_%s_%dworkers_ipv%d" % (_k, _w, _f)] = _make(_k, _w, _f)


LIMITS = {"nothing", "application", "peer window", "own window", "bandwidth hint", "rate limit", "congestion", "CPU",
          "memory"}


def sending(row):
    """What /kcpgate/sessions says of one that sends, whenever it is asked, is of one piece."""
    case.check(row["congestion"] == "auto" and row["limited_by"] in LIMITS, row)
    case.check(row["retrans"] == row["retrans_fast"] + row["retrans_twice"] + row["retrans_probe"], row)
    case.check(row["retrans_needless"] <= row["retrans"], row)
    case.check(row["in_flight"] <= 1400 * row["snd_span"] and row["snd_span"] <= row["snd_wnd"], row)
    return row


def test_sessions_tell():
    """On a path that loses: rates, round trips, what is in flight, what limits, what was sent again, parity."""
    with Lab("kp") as lab:
        _, cli = pair(lab, "af_packet", 4, 1)
        lab.lose("m", 50)
        p = lab.run("load", "b", sys.executable, LOAD, "big", "127.0.0.1", "13000", str(24 << 20))
        looks = []

        def under_way():
            looks.extend(map(sending, lab.telemetry(cli, "/kcpgate/sessions")))
            return any(row["in_flight"] for row in looks)

        wait_until("bytes in flight", under_way)
        case.check(p.end() == 0, p.log())
        wait_until("all is acknowledged", lambda: all(
            row["in_flight"] == 0 for row in lab.telemetry(cli, "/kcpgate/sessions")))
        rows = [sending(row) for row in lab.telemetry(cli, "/kcpgate/sessions") if row["bytes_out"] > 1 << 20]
        case.check(len(rows) == 1, rows)
        # Whatever the machine: bytes that took a round trip came at a rate.
        for field in ("pacing_bps", "bandwidth_bps", "min_rtt_us", "cwnd", "rcv_wnd", "retrans"):
            case.check(rows[0][field] > 0, field, rows)
        case.check(rows[0]["parity_sent"] + rows[0]["parity_left_out"] > 0, rows)
        case.check(rows[0]["limited_by"] == "application", rows)
        snmp = lab.telemetry(cli, "/kcpgate/snmp")
        again = sum(snmp[k] for k in ("FastRetransSegs", "EarlyRetransSegs", "LostSegs"))
        case.check(0 < rows[0]["retrans"] <= again, rows, snmp)
        return "%d looks, %d of %d lost sent again" % (len(looks), rows[0]["retrans"], lab.lost("m"))


def test_exception_path():
    """Ping, TCP and ARP/ND to the TAP's address, both families, and what is there after the gateway has gone."""
    with Lab("kx") as lab:
        lab_up(lab, "tap", 4)
        both = port("tap", 0, 4).replace('"10.77.1.1/24"', '"10.77.1.1/24", "fd77:1::1/64"')
        gw = lab.gateway("gw", "a", eal(1) + both + "tunnels = (\n%s\n);\n" % server_tunnels())
        wire_up(lab, "tap", 4, 0)
        lab.addr("m", "w0", "fd77:1::fe/64")
        mac = lab.sh("a", "cat", "/sys/class/net/x0/address").strip()
        for dst in ("10.77.1.1", "fd77:1::1"):
            out = lab.sh("m", "ping", "-c", "5", "-i", "0.2", "-W", "60", dst)
            case.check(" 0% packet loss" in out, out)
            case.check(mac in lab.ip("m", "neigh", "show", dst), "neighbour is not the port's MAC", mac)
            srv = lab.run("www" + dst[-3:], "a", sys.executable, LOAD, "serve", dst, "9001")
            srv.wait_for("serving")
            p = lab.run("tcp" + dst[-3:], "m", sys.executable, LOAD, "big", dst, "9001", str(1 << 20))
            p.end()
            case.check(p.p.returncode == 0, p.log())
            srv.stop()
        stop(gw)
        case.check("x0" not in lab.ip("a", "link", "show"), "TAP left behind")
        return mac


if __name__ == "__main__":
    case.main(sys.modules[__name__])
