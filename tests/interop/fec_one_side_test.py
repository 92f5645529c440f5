#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""FEC on one side only, or of two shapes: fresh sessions with Debian's kcptun, whose decoder has to find out the shape by itself, and until
then takes some parity for data.  Nothing is lost on the way but where a test says so; every byte is verified by hash.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from kcptun_test import conf, lab_up, stock, tunnel
from lab import ROOT, Lab, wait_until
from wire_test import routed

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
FEC = dict(crypt="aes", ds=10, ps=3, nocomp=True, smuxver=1, mode="fast3")
SESSIONS, BYTES, ASK = 30, 2 << 20, 64


def plain(fec, **more):
    return dict(fec, ds=0, ps=0, **more)


def run_stock(lab, role, ns, shape, listen, remote, sessions=1):
    argv = stock(shape, role, listen, remote)
    p = lab.run("stock-%s-%s" % (role, listen.replace(":", "_")), ns, *argv,
                *(["--conn", str(sessions)] if role == "client" else []))
    p.wait_for("pprof" if role == "server" else "key derivation done")
    if role == "client":
        port = listen.split(":")[1]
        wait_until("stock listens", lambda: ":%s " % port in lab.sh(ns, "ss", "-ltn"))
    return p


def target(lab, ns):
    lab.run("target", ns, sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def load(lab, ns, port, sessions, up, down):
    """One connection after the other, each the first of its session."""
    p = lab.run("load%d" % port, ns, sys.executable, LOAD, "fresh", "127.0.0.1", str(port), str(sessions), str(up),
                str(down), "--timeout", "600")
    p.p.wait(660)
    return p.p.returncode, p.log().strip()


def in_order(result):
    case.check(result[0] == 0, "cut:", result[1])


def sessions_seen(lab, gw, want):
    snmp = lab.telemetry(gw, "/kcpgate/snmp")
    case.check(snmp["ActiveOpens"] + snmp["PassiveOpens"] == want, "not", want, "sessions:", snmp)
    return snmp


def said_once(gw, text):
    """The one line about FEC of this tunnel and minute; others may be left out, not repeated."""
    lines = [l for l in gw.log().splitlines() if re.search(r"sends (no )?FEC", l)]
    case.check(len(lines) == 1 and text in lines[0], text, "not once in", lines)


def server(shape, peer, text, up=ASK, down=BYTES, sessions=SESSIONS):
    """kcpgate as the server, a stock client with as many sessions as there are connections."""
    with Lab("ko") as lab:
        lab_up(lab)
        target(lab, "g")
        gw = lab.gateway("gw", "g", conf([tunnel(shape, 0, "server", ":4000", "127.0.0.1:9000")], 1))
        run_stock(lab, "client", "p", peer, "127.0.0.1:12000", "10.77.0.1:4000", sessions)
        in_order(load(lab, "p", 12000, sessions, up, down))
        said_once(gw, text)
        return sessions_seen(lab, gw, sessions)


def client(shape, peer, text, up=BYTES, down=ASK, sessions=SESSIONS):
    """kcpgate as the client."""
    with Lab("ko") as lab:
        lab_up(lab)
        target(lab, "p")
        run_stock(lab, "server", "p", peer, ":5000", "127.0.0.1:9000")
        t = tunnel(shape, 0, "client", "127.0.0.1:13000", "10.77.0.2:5000").replace("closewait", "conn = %d; closewait" % sessions)
        gw = lab.gateway("gw", "g", conf([t], 1))
        in_order(load(lab, "g", 13000, sessions, up, down))
        said_once(gw, text)
        return sessions_seen(lab, gw, sessions)


ALONE = "sends no FEC, this side is set to 10/3: the session goes without; set --datashard 10 --parityshard 3 there"
PEERS = "sends FEC 10/3, this side is set to none and sends none; set --datashard 10 --parityshard 3 here"


def test_stock_with_stock():
    """The yardstick: these are the sessions that stock's own survive."""
    with Lab("ko") as lab:
        lab_up(lab)
        target(lab, "g")
        run_stock(lab, "server", "g", FEC, ":4000", "127.0.0.1:9000")
        run_stock(lab, "client", "p", plain(FEC), "127.0.0.1:12000", "10.77.0.1:4000", SESSIONS)
        in_order(load(lab, "p", 12000, SESSIONS, ASK, BYTES))


def test_server_with_stock_client():
    for shape in (FEC, dict(FEC, nocomp=False, smuxver=2), dict(FEC, ds=3, ps=2)):
        text = ALONE if shape["ds"] == 10 else "sends no FEC, this side is set to 3/2"
        snmp = server(shape, plain(shape), text, sessions=SESSIONS // (1 if shape is FEC else 3))
        case.check(snmp["FECSegs"] == 0, snmp)
    return "%d sessions" % (SESSIONS * 5 // 3)


def test_client_with_stock_server():
    for shape in (FEC, dict(FEC, nocomp=False, smuxver=2)):
        client(shape, plain(shape), ALONE, sessions=SESSIONS // (1 if shape is FEC else 3))
    return "%d sessions" % (SESSIONS * 4 // 3)


def test_client_without_stock_server_with():
    """The other way: what our own decoder makes of a peer's parity."""
    client(plain(FEC), FEC, PEERS, up=ASK, down=BYTES)


def test_server_without_stock_client_with():
    server(plain(FEC), FEC, PEERS, up=BYTES, down=ASK)


# What a stock client's decoder makes of what it is sent is in its own counters.
def stock_snmp(path):
    with open(path) as f:
        rows = [line.strip().split(",") for line in f]
    return {k: int(v) for k, v in zip(rows[0], rows[-1]) if k != "Unix"}


def other_shape(ds, ps, every, megabytes):
    """A server of 10/3 with a stock client of another shape, both ways at once."""
    with Lab("ko") as lab:
        routed(lab)
        target(lab, "a")
        text = conf([tunnel(FEC, 0, "server", ":4000", "127.0.0.1:9000")], 1).replace("iface=g0", "iface=k0")
        gw = lab.gateway("gw", "a", text)
        lab.lose("m", every)
        log = os.path.join(lab.dir, "client.csv")
        argv = stock(dict(FEC, ds=ds, ps=ps), "client", "127.0.0.1:12000", "10.77.1.1:4000")
        lab.run("stock", "b", *argv, "--snmplog", log, "--snmpperiod", "1").wait_for("key derivation done")
        wait_until("stock listens", lambda: ":12000 " in lab.sh("b", "ss", "-ltn"))
        in_order(load(lab, "b", 12000, 4, megabytes << 20, megabytes << 20))
        said_once(gw, "sends FEC %d/%d, this side is set to 10/3: what it is sent is %d/%d, too" % (ds, ps, ds, ps))
        sent = lab.telemetry(gw, "/kcpgate/snmp")
        case.check(sent["FECRecovered"] > 0, "the server rebuilt nothing:", sent)
        rows = wait_until("the client's counters", lambda: os.path.exists(log) and stock_snmp(log))
        # How many that are is chance: of a transfer that goes well little is lost, and little parity sent.
        case.check(rows["FECRecovered"] > 0 and rows["KCPInErrors"] == 0, "the client rebuilt", rows["FECRecovered"], rows)
        return "%d/%d: %d lost, %d rebuilt at the client" % (ds, ps, lab.lost("m"), rows["FECRecovered"])


def test_client_of_another_shape():
    """It is sent its own shape, in which it rebuilds what was lost, and never anything else."""
    return "; ".join(other_shape(ds, ps, every, 4) for ds, ps, every in ((20, 5, 67), (5, 5, 20), (3, 2, 10)))


def test_lossy():
    """One packet in 20 is lost, where stock with stock are cut too: the wrong shape must not find a way in later."""
    n = SESSIONS // 3
    with Lab("ko") as lab:
        routed(lab)
        target(lab, "a")
        text = conf([tunnel(FEC, 0, "server", ":4000", "127.0.0.1:9000")], 1).replace("iface=g0", "iface=k0")
        gw = lab.gateway("gw", "a", text)
        lab.lose("m", 20)
        run_stock(lab, "client", "b", plain(FEC), "127.0.0.1:12000", "10.77.1.1:4000", n)
        in_order(load(lab, "b", 12000, n, ASK, BYTES // 2))
        sessions_seen(lab, gw, n)
        return "%d sessions, %d packets lost" % (n, lab.lost("m"))


if __name__ == "__main__":
    case.main(sys.modules[__name__])
