#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients behind a NAT that begins anew under a transfer: another port and address, the same session.

c -- r -- s: the client in c, a NAT in r, the server in s. The NAT forgets its flows and gives the next ones another
address and other ports, and every byte of both directions is checked by its hash.
"""
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import Skip, check
from lab import LOAD_GUARD, ROOT, Lab, eal, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
SERVER, CLIENT, OUTSIDE = "10.78.2.1", "10.78.1.1", ("10.78.2.100", "10.78.2.101")
ENTRY, BYTES = 13000, 6000000

# Forgets all flows: a request of ctnetlink's that names none.
FLUSH = """
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.sendto(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, 0, 0, 0), (0, 0))
n = struct.unpack_from("=i", s.recv(4096), 16)[0]
raise SystemExit(n)
"""


class Nat:
    def __init__(self, lab, proto="udp"):
        self.lab, self.proto, self.turn = lab, proto, 0
        lab.sh("r", "nft", "add table ip nat")
        lab.sh("r", "nft", "add chain ip nat post { type nat hook postrouting priority 100; }")
        self.use()

    def use(self):
        low = 20000 + 1000 * self.turn
        self.lab.sh("r", "nft", "flush chain ip nat post; add rule ip nat post oifname r1 meta l4proto %s snat to %s:%d-%d" %
                    (self.proto, OUTSIDE[self.turn % 2], low, low + 99))

    def begin_anew(self):
        self.turn += 1
        self.use()
        self.lab.sh("r", sys.executable, "-c", FLUSH)

    def now(self):
        return OUTSIDE[self.turn % 2]


def lab_up(lab):
    if not shutil.which("nft"):
        raise Skip("no nft")
    lab.add_ns("c", "r", "s")
    lab.veth("c", "c0", "r", "r0")
    lab.veth("r", "r1", "s", "s0")
    lab.sysctl("r", "net.ipv4.ip_forward", 1)
    lab.addr("c", "c0", CLIENT + "/24")
    lab.addr("r", "r0", "10.78.1.254/24")
    lab.addr("r", "r1", "10.78.2.254/24", *(a + "/24" for a in OUTSIDE))
    lab.addr("s", "s0", SERVER + "/24")
    lab.ip("c", "route", "add", "default", "via", "10.78.1.254")
    lab.run("target", "s", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
    return Nat(lab)


def ours(lab, end, workers=1, more="", port='device = "net_af_packet0,iface=%s0"; exception = "kernel";'):
    tunnel = ('role = "server"; listen = ":4000"; target = "127.0.0.1:9000";' if end == "s" else
              'role = "client"; listen = "127.0.0.1:%d"; remote = "%s:4000";' % (ENTRY, SERVER))
    head = eal(workers)
    # Slow enough to last.
    return lab.gateway("ours-" + end, end, head + 'ports = ( { name = "p0"; %s } );\n' % port.replace("%s", end) +
                       'tunnels = ( { name = "t"; key = "k"; mode = "fast2"; smuxver = 2; ratelimit = 1500000; %s %s } );\n' %
                       (tunnel, more))


def stock(lab, end, *more):
    exe = "kcptun-server" if end == "s" else "kcptun-client"
    if not shutil.which(exe):
        raise Skip("no kcptun")
    argv = (["-l", ":4000", "-t", "127.0.0.1:9000"] if end == "s" else
            ["-r", SERVER + ":4000", "-l", "127.0.0.1:%d" % ENTRY])
    p = lab.run("stock", end, exe, *argv, "--key", "k", "--mode", "fast2", "--smuxver", "2", *more)
    p.wait_for("listening on")
    return p


def load(lab, n=BYTES):
    return lab.run("load%d" % len(lab.procs), "c", sys.executable, LOAD, "big", "127.0.0.1", str(ENTRY), str(n),
                   "--timeout", str(LOAD_GUARD))


def rows(lab, gw):
    return lab.telemetry(gw, "/kcpgate/sessions")


def moves(lab, gw):
    return sum(w["moves"] for w in lab.telemetry(gw, "/kcpgate/workers"))


def drops(lab, gw, *names):
    d = lab.telemetry(gw, "/kcpgate/drops")
    return tuple(d[n] for n in names)


def under_transfer(client, workers=1, more="", *stock_more, times=2, sessions=1):
    with Lab("rm") as lab:
        nat = lab_up(lab)
        srv = ours(lab, "s", workers, more)
        if client == "stock":
            stock(lab, "c", "--conn", str(sessions), *stock_more)
        else:
            ours(lab, "c", 1, "conn = %d; " % sessions + more)
        loads = [load(lab, BYTES // sessions) for _ in range(sessions)]
        took = []
        for turn in range(1, times + 1):
            goal = turn * BYTES // sessions // (times + 2)
            wait_until("a transfer under way", lambda: len(rows(lab, srv)) == sessions and all(
                r["bytes_in"] > goal and r["bytes_out"] > goal for r in rows(lab, srv)))
            nat.begin_anew()
            begin = time.monotonic()
            wait_until("all sessions at the NAT's new address", lambda: all(
                r["peer"].startswith(nat.now() + ":") for r in rows(lab, srv)))
            took.append(time.monotonic() - begin)
        for p in loads:
            check(p.end() == 0, p.log())
        n = moves(lab, srv)
        check(n >= times * sessions, "moves", n)
        check(lab.telemetry(srv, "/kcpgate/snmp")["PassiveOpens"] == sessions, "more sessions than clients")
        check(drops(lab, srv, "replaced", "never_began", "timeout", "kcp_input", "comp", "mux") == (0,) * 6,
              lab.telemetry(srv, "/kcpgate/drops"))
        check(srv.log().count("goes on from") >= times * sessions, srv.log())
        away = sum(w["steered_out"] for w in lab.telemetry(srv, "/kcpgate/workers"))
        check(srv.stop() == 0, "exit status")
        return "%d moves, noticed after %s s%s" % (n, ", ".join("%.2f" % t for t in took),
                                                   "; %d frames steered" % away if workers > 1 else "")


def test_stock_client():
    return under_transfer("stock")


def test_stock_client_without_fec():
    return under_transfer("stock", 1, "datashard = 0; parityshard = 0; crypt = \"none\"; nocomp = true;",
                          "--datashard", "0", "--parityshard", "0", "--crypt", "none", "--nocomp")


def test_stock_clients_two_workers():
    return under_transfer("stock", 2, sessions=4)


def test_kcpgate_client():
    return under_transfer("kcpgate")


def test_kcpgate_clients_two_workers():
    return under_transfer("kcpgate", 2, sessions=4)


# ---- stock servers: the session is lost, and the next connection has another ----

PROBE = """
import asyncio, sys, time
sys.path.insert(0, %r)
import load
begin = time.monotonic()
for i in range(200):
    try:
        asyncio.run(asyncio.wait_for(load.exchange("127.0.0.1", %d, i, 20000, 20000), 1))
        print("served after %%.1f s" %% (time.monotonic() - begin), flush=True)
        break
    except Exception:
        time.sleep(0.1)
""" % (os.path.dirname(LOAD), ENTRY)


def lost_by_stock(begin_anew, why):
    """A connection that goes on, the session lost under it, and others that come afterwards."""
    with Lab("rm") as lab:
        nat = lab_up(lab)
        stock(lab, "s")
        cli = ours(lab, "c", 1, "conn = 1;")
        p = load(lab)
        wait_until("a transfer under way", lambda: [r for r in rows(lab, cli) if r["bytes_in"] > 500000])
        begin_anew(lab, nat)
        probe = lab.run("probe", "c", sys.executable, "-c", PROBE)
        check(probe.end() == 0 and "served" in probe.log(), "no service:", probe.log(), cli.log())
        check(p.end() != 0, "the lost connection's end was not told")
        check(drops(lab, cli, why) == (1,), lab.telemetry(cli, "/kcpgate/drops"))
        dials = lab.telemetry(cli, "/kcpgate/snmp")["ActiveOpens"]
        check(2 <= dials <= 4, "dials", dials)
        check(cli.stop() == 0, "exit status")
        return "%s; %d sessions" % (probe.log().strip(), dials)


def readdress(lab, nat):
    """The client's own address is another now."""
    lab.ip("c", "addr", "del", CLIENT + "/24", "dev", "c0")
    lab.ip("c", "addr", "add", "10.78.1.2/24", "dev", "c0")
    lab.ip("c", "route", "replace", "default", "via", "10.78.1.254")


def test_stock_server_loses_a_client_behind_nat():
    return lost_by_stock(lambda lab, nat: nat.begin_anew(), "forgotten")


def test_stock_server_loses_a_client_with_another_address():
    return lost_by_stock(readdress, "address_gone")


def test_kcpgate_client_with_another_address():
    with Lab("rm") as lab:
        lab_up(lab)
        srv = ours(lab, "s")
        cli = ours(lab, "c", 1, "conn = 1;")
        p = load(lab)
        wait_until("a transfer under way", lambda: [r for r in rows(lab, cli) if r["bytes_in"] > 500000])
        readdress(lab, None)
        check(p.end() == 0, p.log(), cli.log(), srv.log())
        check(moves(lab, cli) == 1 and moves(lab, srv) == 1, "moves", moves(lab, cli), moves(lab, srv))
        check(rows(lab, cli)[0]["local"].startswith("10.78.1.2:"), rows(lab, cli))
        check(lab.telemetry(srv, "/kcpgate/snmp")["PassiveOpens"] == 1, "sessions")


def test_kcpgate_client_by_sockets():
    """The kernel chooses the source of each datagram: here, too, the session goes on."""
    with Lab("rm") as lab:
        lab_up(lab)
        srv = ours(lab, "s")
        ours(lab, "c", 1, "conn = 1;", port='device = "net_kudp0";')
        p = load(lab)
        wait_until("a transfer under way", lambda: [r for r in rows(lab, srv) if r["bytes_in"] > 500000])
        readdress(lab, None)
        check(p.end() == 0, p.log(), srv.log())
        check(lab.telemetry(srv, "/kcpgate/snmp")["PassiveOpens"] == 1, "sessions")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
