#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sessions and streams that come and go for a long time over a path that loses, reorders, repeats and spoils datagrams, with
kcpgate and with stock at the other end. Afterwards every count is what it was before the first of them.

KCPGATE_SOAK_MINUTES: how long; 1 when nothing is said. KCPGATE_SOAK_SEED: other connections. KCPGATE_SOAK_PLAN: of which
tunnels, as tests/lab/churn.py has them; to look for what only one of them does.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from behaviour_test import stock, tunnel
from lab import ROOT, Lab, eal, sh, wait_until
from wan import Wan

MINUTES = float(os.environ.get("KCPGATE_SOAK_MINUTES", "1"))
LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
CHURN = os.path.join(ROOT, "tests", "lab", "churn.py")
PORTS = 'ports = ( { name = "p0"; device = "net_af_packet0,iface=wan0"; exception = "kernel"; } );\n'
SEED = os.environ.get("KCPGATE_SOAK_SEED", "1")
PLAN = os.environ.get("KCPGATE_SOAK_PLAN", "ours:13000 ours:13001 stock:13002 held:13003").split()
WEATHER = "both delay 10ms loss 5% reorder 2% by 8ms dup 1%; frames both corrupt 1%"
AGES = dict(conn=2, autoexpire=15, scavengettl=120, closewait=5)
GONE = 240  # seconds in which the last session finds out that nobody is there


def gateway(lab, name, *tunnels):
    return lab.gateway(name, name, eal(2) + PORTS + "tunnels = (\n" + ",\n".join(tunnels) + "\n);\n" +
                       'log = { level = "info"; };\n')


def tunnels_of(role):
    """Two with kcpgate at both ends, and one with stock at the other."""
    ours = (dict(crypt='"aes"', smuxver=2), dict(crypt='"aes-128-gcm"', datashard=0, parityshard=0, smuxver=1))
    if role == "server":
        return [tunnel("s%d" % i, role, ":%d" % (4000 + i), "127.0.0.1:9000", **o) for i, o in enumerate(ours)] + [
            tunnel("s2", role, ":4002", "127.0.0.1:9000", smuxver=2)]
    return [tunnel("c%d" % i, role, "127.0.0.1:%d" % (13000 + i), "%s:%d" % (Wan.SERVER, 4000 + i), **AGES, **o)
            for i, o in enumerate(ours)] + [
        tunnel("c3", role, "127.0.0.1:13003", Wan.SERVER + ":4003", smuxver=2, **AGES)]


def descriptors(p):
    """How many a process has of each kind; of the telemetry's threads, those that serve nobody."""
    kinds = {}
    for fd in os.listdir("/proc/%d/fd" % p.p.pid):
        try:
            what = os.readlink("/proc/%d/fd/%s" % (p.p.pid, fd)).split(":[")[0]
        except FileNotFoundError:
            continue
        kinds[what] = kinds.get(what, 0) + 1
    return kinds


def resident(p):
    with open("/proc/%d/status" % p.p.pid) as f:
        return next(int(l.split()[1]) for l in f if l.startswith("VmRSS"))


def ports_taken(lab, ns):
    """UDP ports of a namespace."""
    return len(lab.sh(ns, "ss", "-uanH").splitlines())


def counts(lab, gw):
    """All that is taken while there are sessions, and given back."""
    c = lab.telemetry(gw, "/kcpgate/control")
    got = {k: c[k] for k in ("streams", "dials", "dials_waiting", "ports_held", "lingering", "descriptors")}
    got["mbufs"] = c["mbufs_free"]
    for w in lab.telemetry(gw, "/kcpgate/workers"):
        got["mbufs"] += w["ready_mbufs"]  # which its worker keeps to send with
        for k in ("sessions", "streams", "memory_used", "held_mbufs", "spilled_bytes"):
            got[k] = got.get(k, 0) + w[k]
    for t in lab.telemetry(gw, "/kcpgate/tunnels").values():
        for k in ("sessions", "chunks", "streams", "memory", "descriptors"):
            got["tunnels' " + k] = got.get("tunnels' " + k, 0) + t[k]
    time.sleep(0.5)  # for telemetry's own connections to be closed
    got["files"] = descriptors(gw)
    got["UDP ports"] = ports_taken(lab, gw.name)
    return got


def settled(lab, gw):
    """The counts, once they stay: what begins beside may be on its way yet."""
    had = None
    for _ in range(100):
        got = counts(lab, gw)
        if got == had:
            return got
        had = got
    case.check(False, gw.name, "never rests", had)


def differences(a, b):
    return {k: (a[k], b[k]) for k in a if a[k] != b[k]}


def stuck(lab, gw):
    """Sessions that have something to do although nobody wants anything, and whose peer lives: one that stock has closed,
    which tells nobody, has keepalives under way until it is found dead."""
    return [r for r in lab.telemetry(gw, "/kcpgate/sessions") if r["idle_ms"] < 15000 and
            (r["streams"] or r["held_bytes"] or r["snd_buf"] or r["snd_queue"] or r["rcv_queue"] or r["rcv_buf"])]


class Watch:
    """Resident memory of the gateways, looked at now and then."""

    def __init__(self, *gws):
        self.gws, self.seen = gws, []

    def look(self):
        self.seen.append([resident(g) for g in self.gws])

    def check(self):
        """What the second half adds is little beside what the first half had: a leak would not stop."""
        half, last = self.seen[len(self.seen) // 2], self.seen[-1]
        for a, b in zip(half, last):
            case.check(b < a * 1.1 + 4096, "resident KiB, half way and at the end", a, b, self.seen)

    def __str__(self):
        return "; ".join("%s resident KiB %s" % (g.name, " ".join(str(s[i]) for s in self.seen[::max(1, len(self.seen) // 8)]))
                         for i, g in enumerate(self.gws))


def begin(lab):
    """A gateway of each kind on both sides, and the target; and what ours count before all."""
    wan = Wan(lab, WEATHER)
    lab.run("target", "server", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
    ours = [gateway(lab, role, *tunnels_of(role)) for role in ("server", "client")]
    keys = ["--key", "k", "--mode", "fast3", "--smuxver", "2"]
    lab.run("stock-server", "server", *stock("server", "-l", ":4003", "-t", "127.0.0.1:9000", *keys)).wait_for("quiet:")
    wait_until("stock to listen", lambda: ":4003 " in lab.sh("server", "ss", "-uanH"))
    before = [settled(lab, g) for g in ours]
    theirs = lab.run("stock-client", "client", *stock("client", "-l", "127.0.0.1:13002", "-r", Wan.SERVER + ":4002",
                                                      "--conn", "2", "--autoexpire", "15", "--scavengettl", "120", *keys))
    theirs.wait_for("quiet:")
    return wan, ours, theirs, before


def churn(lab, watch):
    p = lab.run("churn", "client", sys.executable, CHURN, str(60 * MINUTES), SEED, *PLAN)
    end = time.monotonic() + 60 * MINUTES + 180
    while p.p.poll() is None:
        case.check(time.monotonic() < end, "the load hangs", p.log())
        watch.look()
        try:
            p.p.wait(5)
        except Exception:
            pass
    case.check(p.p.returncode == 0, p.log())
    return p.log().strip().split("\n")[-1]


def test_soak():
    with Lab("ks") as lab:
        wan, ours, theirs, before = begin(lab)
        watch = Watch(*ours)
        done = churn(lab, watch)
        for gw in ours:
            try:
                wait_until("nothing to do", lambda: not stuck(lab, gw), GONE)
            except Exception:
                case.check(False, gw.name, "stuck:", stuck(lab, gw), str(watch))
        opened = [lab.telemetry(gw, "/kcpgate/snmp")[k] for gw, k in zip(ours, ("PassiveOpens", "ActiveOpens"))]
        drops = [{k: v for k, v in lab.telemetry(gw, "/kcpgate/drops").items() if v} for gw in ours]
        theirs.stop()
        weather = wan.stop()
        for gw, first in zip(ours, before):
            try:
                wait_until("all back", lambda: not differences(first, counts(lab, gw)), GONE)
            except Exception:
                case.check(False, gw.name, "before and after:", differences(first, counts(lab, gw)), str(watch))
        for way in ("up", "down"):
            for what in ("lost", "reordered", "dup", "corrupt"):
                case.check(weather[way][what] > 0, "no weather", weather)
        if MINUTES >= 5:
            watch.check()
        case.check(all(gw.stop() == 0 for gw in ours), "exit status")
        return "%s; sessions opened: server %d, client %d; datagrams %d up, %d down; drops %s; %s" % (
            done, *opened, weather["up"]["path"], weather["down"]["path"], drops, watch)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
