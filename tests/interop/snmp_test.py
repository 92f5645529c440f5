#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kcptun's SNMP counters on both ends of the same traffic, ours and a stock peer's, and what a tap between them counts.

Without loss one end's figures mirror the other's. With loss the tap knows which packets arrived, which shards could be
rebuilt and which segments each end thus had: both ends must say so too.
"""
import collections
import os
import re
import signal
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
import pure
from decode import pcap
from kcptun_test import stock, tunnel
from lab import GUARD, ROOT, Lab, eal, wait_until
from wire_test import routed

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
SHAPE = dict(crypt="none", mode="fast2", ds=10, ps=3, nocomp=True, smuxver=1)
BIG, SMALL = 4 << 20, 100
WINDOW = "96"  # bursts that fit every queue on the way: what is lost, the test has lost
OVERHEAD = 20  # nonce and checksum: OutBytes has it, InBytes has not
OPENED = pure.opener("none", b"")


def peer_counters(peer):
    """The stock process's table, through its SIGUSR1."""
    seen = peer.log().count("KCP SNMP:")
    peer.p.send_signal(signal.SIGUSR1)
    wait_until("the peer's table", lambda: peer.log().count("KCP SNMP:") > seen)
    line = [x for x in peer.log().split("\n") if "KCP SNMP:" in x][-1]
    return {k: int(v) for k, v in re.findall(r"(\w+):(\d+)", line.split("&{")[1])}


def near(what, a, b, slack=2.0, floor=8):
    """Within `slack` percent of each other; `floor` allows for a keepalive between the two readings."""
    case.check(abs(a - b) <= max(slack / 100 * max(a, b), floor), what, a, b)


def small_window(argv):
    return [WINDOW if a == "1024" else a for a in argv]


def run(lab, role, lossy):
    """One load with kcpgate in `role`. The counters: ours, the peer's; and the names of both ends' taps."""
    routed(lab)
    lab.run("target", "a", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
    iface = "k0" if role == "server" else "k1"
    t = tunnel(SHAPE, 0, role, ":4000" if role == "server" else "127.0.0.1:13000",
               "127.0.0.1:9000" if role == "server" else "10.77.1.1:4000").replace("1024", WINDOW)
    t = t.replace("{ ", '{ congestion = "stock"; ', 1)  # as many parity packets as a stock peer counts on
    text = (eal() + 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n' % iface +
            "tunnels = ( %s );\nlog = { quiet = true; };\n" % t)
    csv = os.path.join(lab.dir, "snmp.csv")
    log = ["--snmplog", csv, "--snmpperiod", "1"]
    if role == "client":
        peer = lab.run("stock", "a", *small_window(stock(SHAPE, "server", ":4000", "127.0.0.1:9000")), *log)
        peer.wait_for("key derivation done")
    gw = lab.gateway("gw", "a" if role == "server" else "b", text)
    if role == "server":
        peer = lab.run("stock", "b", *small_window(stock(SHAPE, "client", "127.0.0.1:13000", "10.77.1.1:4000")), *log)
        peer.wait_for("key derivation done")
    taps = []
    if lossy:
        for dev, way in (("m0", "in"), ("m0", "out"), ("m1", "in"), ("m1", "out")):
            tap = lab.run("tap-%s-%s" % (dev, way), "m", "tcpdump", "-i", dev, "-Q", way, "-w",
                          os.path.join(lab.dir, dev + way), "-U", "--immediate-mode", "-B", "16384", "udp port 4000")
            tap.wait_for("listening")
            taps.append(tap)
        lab.lose("m", 20)
    p = lab.run("load", "b", sys.executable, LOAD, "mixed", "127.0.0.1", "13000", str(BIG), str(SMALL))
    p.end()
    case.check(p.p.returncode == 0, p.log())
    return gw, peer, taps, csv


def settled(lab, gw, peer):
    """Both tables at a moment in which nothing travels."""
    last = None
    end = time.monotonic() + GUARD
    while time.monotonic() < end:
        a, b = lab.telemetry(gw, "/kcpgate/snmp"), peer_counters(peer)
        now = (a["OutPkts"], a["InPkts"], b["OutPkts"], b["InPkts"])
        if now == last:
            return a, b
        last = now
        time.sleep(0.25)
    case.check(False, "traffic does not end", last)


def same_traffic(role):
    with Lab("ks") as lab:
        gw, peer, _, csv = run(lab, role, False)
        us, it = settled(lab, gw, peer)
        mirror = [("BytesSent", "BytesReceived"), ("BytesReceived", "BytesSent"), ("OutPkts", "InPkts"),
                  ("InPkts", "OutPkts"), ("OutSegs", "InSegs"), ("InSegs", "OutSegs")]
        for a, b in mirror:
            case.check(us[a] > 1000, a, us[a])
            near("our %s, its %s:" % (a, b), us[a], it[b])
        near("our OutBytes, its InBytes:", us["OutBytes"], it["InBytes"] + OVERHEAD * it["InPkts"])
        near("our InBytes, its OutBytes:", us["InBytes"] + OVERHEAD * us["InPkts"], it["OutBytes"])
        near("our opens, its:", us["PassiveOpens" if role == "server" else "ActiveOpens"],
             it["ActiveOpens" if role == "server" else "PassiveOpens"], floor=0)
        for k in ("CurrEstab", "MaxConn", "InErrs", "InCsumErrors", "KCPInErrors", "FECErrs"):
            case.check(us[k] == it[k], k, us[k], it[k])
        # Every group of the peer's generation is closed with its parity; ours, but for those that closed late.
        near("parity here:", us["FECParityShards"], it["OutPkts"] * 3 / 13)
        near("parity there:", it["FECParityShards"], us["OutPkts"] * 3 / 13)
        case.check(us["FECRecovered"] == it["FECRecovered"] == 0, us["FECRecovered"], it["FECRecovered"])
        # What repeats was sent again.
        case.check(us["RepeatSegs"] <= it["RetransSegs"] and it["RepeatSegs"] <= us["RetransSegs"], us, it)
        for t in (us, it):
            case.check(t["RetransSegs"] == t["FastRetransSegs"] + t["EarlyRetransSegs"] + t["LostSegs"], t)
        wait_until("the peer's log", lambda: os.path.exists(csv))
        return "OutSegs %d/%d InSegs %d/%d BytesSent %d/%d BytesReceived %d/%d" % (
            us["OutSegs"], it["InSegs"], us["InSegs"], it["OutSegs"], us["BytesSent"], it["BytesReceived"],
            us["BytesReceived"], it["BytesSent"])


def segments(p):
    n = 0
    while len(p) >= 24:
        p = p[24 + struct.unpack_from("<I", p, 20)[0]:]
        n += 1
    return n


class Arrival:
    """What one end should have counted, from what was sent to it and what got through."""

    def __init__(self, sent, got):
        ds, ps = SHAPE["ds"], SHAPE["ps"]
        everything = dict(self.parse(sent))
        arrived = collections.Counter(s for s, _ in self.parse(got))
        self.pkts, self.bytes, self.sent = len(got), sum(len(w) - OVERHEAD for w in got), len(sent)
        self.parity = sum(s % (ds + ps) >= ds for s in arrived)
        have, missing = collections.Counter(), collections.defaultdict(list)
        for seqid in everything:
            if arrived[seqid]:
                have[seqid // (ds + ps)] += 1
            elif seqid % (ds + ps) < ds:
                missing[seqid // (ds + ps)].append(seqid)
        rebuilt = [s for g, v in missing.items() if have[g] >= ds for s in v]
        self.lost_data, self.recovered = sum(map(len, missing.values())), len(rebuilt)
        data = [s for s in arrived if s % (ds + ps) < ds]
        self.segs = sum(segments(everything[s]) for s in data + rebuilt)

    @staticmethod
    def parse(wires):
        for w in wires:
            p = OPENED(w)
            case.check(p is not None, "a packet on the wire with a wrong checksum")
            yield struct.unpack_from("<I", p)[0], p[8:]


def lossy(role):
    with Lab("ks") as lab:
        gw, peer, taps, _ = run(lab, role, True)
        us, it = settled(lab, gw, peer)
        lab.captured(*taps)
        seen = {}
        for tap in taps:
            tap.stop(signal.SIGINT)
            case.check("\n0 packets dropped by kernel" in tap.log(), tap.log())
            name = tap.name[4:]
            seen[name] = [p for _, _, _, p in pcap(os.path.join(lab.dir, name.replace("-", "")))]
        # m0 leads to the server's side.
        at_server, at_client = Arrival(seen["m1-in"], seen["m0-out"]), Arrival(seen["m0-in"], seen["m1-out"])
        here, there = (at_server, at_client) if role == "server" else (at_client, at_server)
        for who, t, a, b in (("ours", us, here, there), ("its", it, there, here)):
            case.check(a.lost_data > 100 and a.recovered > 100, who, "too little was lost", vars(a))
            near(who + " InPkts", t["InPkts"], a.pkts)
            near(who + " InBytes", t["InBytes"], a.bytes)
            near(who + " InSegs", t["InSegs"], a.segs)
            near(who + " OutPkts", t["OutPkts"], b.sent)
            near(who + " FECRecovered", t["FECRecovered"], a.recovered, floor=3)
            near(who + " FECParityShards", t["FECParityShards"], a.parity)
            case.check(t["InCsumErrors"] == t["KCPInErrors"] == t["FECErrs"] == 0, who, t)
            case.check(t["RetransSegs"] == t["FastRetransSegs"] + t["EarlyRetransSegs"] + t["LostSegs"], t)
        near("our BytesSent, its BytesReceived:", us["BytesSent"], it["BytesReceived"])
        near("our BytesReceived, its BytesSent:", us["BytesReceived"], it["BytesSent"])
        return "lost %d, FECRecovered ours %d of %d, its %d of %d" % (
            lab.lost("m"), us["FECRecovered"], here.recovered, it["FECRecovered"], there.recovered)


def test_server_same_traffic():
    return same_traffic("server")


def test_client_same_traffic():
    return same_traffic("client")


def test_server_lossy():
    return lossy("server")


def test_client_lossy():
    return lossy("client")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
