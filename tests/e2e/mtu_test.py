#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A path that takes less than the tunnel's datagrams, under way and from the start, whether routers say so or not.

c -- q -- r -- s: kcpgate in c or s, Debian's kcptun at the other end, two routers between them, whose link falls to 1280
bytes in the middle of a transfer of both directions, of which every byte is checked by its hash.
"""
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import Skip, check
from lab import LOAD_GUARD, ROOT, Lab, eal, gateway_binary, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
ADDR = {4: ("10.77.1.1", "10.77.2.1"), 6: ("fd77:1::1", "fd77:2::1")}
VIA = {4: ("10.77.1.254", "10.77.2.254"), 6: ("fd77:1::fe", "fd77:2::fe")}
LINK = {4: ("10.77.3.1", "10.77.3.2"), 6: ("fd77:3::1", "fd77:3::2")}
LEN = {4: 24, 6: 64}
PORT, ENTRY, BYTES = 4000, 13000, 6000000
NARROW = 1280


def lab_up(lab):
    lab.add_ns("c", "q", "r", "s")
    lab.veth("c", "c0", "q", "q0")
    lab.veth("q", "q1", "r", "r1")
    lab.veth("r", "r0", "s", "s0")
    for ns in "qr":
        lab.sysctl(ns, "net.ipv4.ip_forward", 1)
        lab.sysctl(ns, "net.ipv6.conf.all.forwarding", 1)
    for fam in (4, 6):
        for i, (end, near) in enumerate((("c", "q"), ("s", "r"))):
            lab.addr(end, end + "0", "%s/%d" % (ADDR[fam][i], LEN[fam]))
            lab.addr(near, near + "0", "%s/%d" % (VIA[fam][i], LEN[fam]))
            lab.addr(near, near + "1", "%s/%d" % (LINK[fam][i], LEN[fam]))
            lab.ip(end, "route", "add", "default", "via", VIA[fam][i])
            lab.ip(near, "route", "add", "default", "via", LINK[fam][1 - i])
    lab.run("target", "s", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def mute(lab, ns):
    """The router says nothing any more."""
    lab.sh(ns, "nft", "add table inet quiet { chain out { type filter hook output priority 0; "
           "icmp type destination-unreachable counter drop; icmpv6 type packet-too-big counter drop; }; }")


def narrow(lab):
    lab.ip("q", "link", "set", "q1", "mtu", str(NARROW))
    lab.ip("r", "link", "set", "r1", "mtu", str(NARROW))


def literal(a):
    return "[%s]" % a if ":" in a else a


PORTS = {"af_packet": 'device = "net_af_packet0,iface=%s0"; exception = "kernel";', "sockets": 'device = "net_kudp0";',
         "xdp": 'device = "net_af_xdp0,iface=%s0"; exception = "kernel";'}


def kcpgate(lab, end, fam, more="", port="af_packet"):
    tunnel = ('role = "server"; listen = ":%d"; target = "127.0.0.1:9000";' % PORT if end == "s" else
              'role = "client"; listen = "127.0.0.1:%d"; remote = "%s:%d";' % (ENTRY, literal(ADDR[fam][1]), PORT))
    return lab.gateway("kcpgate", end, eal() + 'ports = ( { name = "p0"; %s } );\n' % PORTS[port].replace("%s", end) +
                       'tunnels = ( { name = "t"; key = "k"; mode = "fast2"; %s %s } );\n' % (tunnel, more))


def kcptun(lab, end, fam, *more):
    exe = "kcptun-server" if end == "s" else "kcptun-client"
    if not shutil.which(exe):
        raise Skip("no kcptun")
    if end == "s":
        argv = ["-l", ":%d" % PORT, "-t", "127.0.0.1:9000"]
    else:
        argv = ["-r", "%s:%d" % (literal(ADDR[fam][1]), PORT), "-l", "127.0.0.1:%d" % ENTRY]
    p = lab.run("kcptun", end, exe, *argv, "--key", "k", "--mode", "fast2", *(more if "--smuxver" in more else more + ("--smuxver", "2")))
    p.wait_for("listening on")
    return p


def load(lab, n=BYTES):
    return lab.run("load%d" % len(lab.procs), "c", sys.executable, LOAD, "big", "127.0.0.1", str(ENTRY), str(n),
                   "--timeout", str(LOAD_GUARD))


def session(lab, gw):
    rows = lab.telemetry(gw, "/kcpgate/sessions")
    return max(rows, key=lambda r: r["bytes_in"] + r["bytes_out"]) if rows else None


def under_way(lab, gw, n=200000):
    def goes():
        check(lab.procs[-1].alive(), lab.procs[-1].log())
        row = session(lab, gw)
        return row and row["bytes_in"] > n and row["bytes_out"] > n

    wait_until("a transfer under way", goes)


def whole(lab, p):
    check(p.end() == 0, p.log(), lab.procs[-1].log())


def fits(lab, gw, by, most=NARROW):
    row = wait_until("the session's size by " + by, lambda: [r for r in [session(lab, gw)] if r["mtu_from"] == by])[0]
    check(most - 16 <= row["path_mtu"] <= most, row)
    drops = lab.telemetry(gw, "/kcpgate/drops")
    for why in "icmp_quote", "icmp_mtu", "icmp_checksum", "tx_long":
        n = sum(v for k, v in drops.items() if k.split(":")[0] == why and isinstance(v, int))
        check(n == 0, why, n)
    return row


def under_way_to(end, fam, told, more="", *kcptun_more, port="af_packet"):
    """The transfer goes on over the narrow path; kcptun's side hears its router in any case."""
    with Lab("mt") as lab:
        lab_up(lab)
        if end == "c":
            kcptun(lab, "s", fam, *kcptun_more)
            gw = kcpgate(lab, "c", fam, more, port)
        else:
            gw = kcpgate(lab, "s", fam, more, port)
            kcptun(lab, "c", fam, *kcptun_more)
        if not told:
            mute(lab, "q" if end == "c" else "r")
        p = load(lab)
        under_way(lab, gw)
        check(session(lab, gw)["mtu_from"] == "configured", session(lab, gw))
        narrow(lab)
        whole(lab, p)
        whole(lab, load(lab, BYTES // 2))
        row = fits(lab, gw, "icmp" if told else "loss")
        lines = re.findall("the path to .* takes IP packets of .*", gw.log())
        check(len(lines) == 1, lines, gw.log())
        return "%d bytes; %s" % (row["path_mtu"], lines[0].split(": ", 1)[-1])


def test_client_told():
    return under_way_to("c", 4, True)


def test_server_told():
    return under_way_to("s", 4, True)


def test_client_told_v6():
    return under_way_to("c", 6, True)


def test_server_told_v6():
    return under_way_to("s", 6, True)


def test_client_not_told():
    return under_way_to("c", 4, False)


def test_server_not_told():
    return under_way_to("s", 4, False)


def test_client_not_told_v6():
    return under_way_to("c", 6, False)


def test_server_not_told_v6():
    return under_way_to("s", 6, False)


def test_no_fec():
    return under_way_to("c", 4, False, "datashard = 0; parityshard = 0;", "--datashard", "0", "--parityshard", "0")


def test_stock_congestion():
    return under_way_to("c", 4, False, 'congestion = "stock";')


def test_smux1():
    return under_way_to("c", 4, True, "smuxver = 1;", "--smuxver", "1")


def test_sockets_told():
    """By the kernel's sockets, which hear their routers and cut for themselves."""
    return under_way_to("c", 4, True, port="sockets")


def test_sockets_told_v6():
    return under_way_to("s", 6, True, port="sockets")


def test_xdp():
    """By AF_XDP no ICMP comes to us: what goes is found out."""
    return under_way_to("c", 4, False, port="xdp")


# ---- our own interface

def test_interface_under_way():
    """Its MTU falls, and rises again."""
    with Lab("mt") as lab:
        lab_up(lab)
        kcptun(lab, "s", 4)
        gw = kcpgate(lab, "c", 4)
        p = load(lab)
        under_way(lab, gw)
        lab.ip("c", "link", "set", "c0", "mtu", str(NARROW))
        lab.ip("q", "link", "set", "q0", "mtu", str(NARROW))
        whole(lab, p)
        whole(lab, load(lab, BYTES // 4))
        fits(lab, gw, "interface")
        lab.ip("q", "link", "set", "q0", "mtu", "1500")
        lab.ip("c", "link", "set", "c0", "mtu", "1500")
        whole(lab, load(lab, BYTES // 4))
        check(session(lab, gw)["mtu_from"] == "configured", session(lab, gw))


def test_interface_at_start():
    """An interface that takes less than a full datagram from the start, as a file has it and as a command line."""
    with Lab("mt") as lab:
        lab_up(lab)
        lab.ip("c", "link", "set", "c0", "mtu", str(NARROW))
        lab.ip("q", "link", "set", "q0", "mtu", str(NARROW))
        kcptun(lab, "s", 4)
        gw = kcpgate(lab, "c", 4)
        whole(lab, load(lab, BYTES // 2))
        fits(lab, gw, "interface")
        check("its interface takes no more" in gw.log(), gw.log())
        check(gw.stop() == 0, gw.log())
        line = lab.run("line", "c", gateway_binary(), "client", "-r", "%s:%d" % (ADDR[4][1], PORT), "-l",
                       "127.0.0.1:%d" % ENTRY, "--key", "k", "--mode", "fast2", "--iface", "c0")
        line.wait_for("ready:")
        whole(lab, load(lab, BYTES // 2))
        check("they do not fit a port mtu of %d" % NARROW in line.log(), line.log())


if __name__ == "__main__":
    case.main(sys.modules[__name__])
