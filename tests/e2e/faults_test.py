#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whoever is killed, stopped or cut off in the middle of 50 transfers: what arrived is what was sent, and nobody takes a
part of it for all. Then service goes on.

A transfer is whole, or ends with an error; an end of file before its last byte is a lie. kcpgate tells none: neither of
another's death nor by its own. A stock peer's protocol has only FIN, and its process says nothing of its death: what it
makes of one is told, not judged.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from behaviour_test import conf, link, stock, total, tunnel
from lab import ROOT, Lab, wait_until
from restart_test import PROBE, served

XFER = os.path.join(ROOT, "tests", "lab", "xfer.py")
LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
COUNT = 25  # each way
KEYS = ["--key", "k", "--mode", "fast3", "--smuxver", "2", "--quiet"]
OURS, STOCK = "ours", "stock"
ENDLESS = 4 << 30
GUARD = 240


class Bed:
    """A target and a server in g, a client and applications in p."""

    def __init__(self, lab, server=OURS, client=OURS, **opts):
        self.lab, self.opts, self.n = lab, dict(smuxver=2, **opts), 0
        self.kind = {"server": server, "client": client}
        link(lab)
        self.target = self.start_target()
        self.p = {"server": self.start("server"), "client": self.start("client")}

    def start_target(self):
        self.n += 1
        t = self.lab.run("target%d" % self.n, "g", sys.executable, XFER, "serve", "9000", "linger")
        t.wait_for("serving")
        return t

    def start(self, role):
        self.n += 1
        name, ns = "%s%d" % (role, self.n), "g" if role == "server" else "p"
        if self.kind[role] == OURS:
            far = "127.0.0.1:9000" if role == "server" else "10.77.0.1:4000"
            listen = ":4000" if role == "server" else "127.0.0.1:13000"
            return self.lab.gateway(name, ns, conf(ns + "0", tunnel("t", role, listen, far, **self.opts)))
        if role == "server":
            p = self.lab.run(name, ns, *stock(role, "-l", ":4000", "-t", "127.0.0.1:9000", *KEYS))
        else:
            p = self.lab.run(name, ns, *stock(role, "-l", "127.0.0.1:13000", "-r", "10.77.0.1:4000", *KEYS))
        p.wait_for("key derivation done")
        wait_until("a port", lambda: ":13000 " in self.lab.sh("p", "ss", "-ltn") or role == "server")
        return p

    def run(self, size, count=COUNT):
        self.n += 1
        return self.lab.run("applications%d" % self.n, "p", sys.executable, XFER, "run", "13000", str(count), str(size))

    def kill(self, who):
        p = self.target if who == "target" else self.p[who]
        p.p.send_signal(signal.SIGKILL)
        p.p.wait()

    def again(self, who):
        if who == "target":
            self.target = self.start_target()
        else:
            self.p[who] = self.start(who)

    def serves(self):
        """Seconds until one small transfer each way is whole: over and over again, as people do."""
        begin = time.monotonic()
        while time.monotonic() - begin < GUARD:
            p = self.run(20000, 1)
            try:
                p.p.wait(3)
            except Exception:
                p.p.kill()
                p.p.wait()
            if p.log().count(" whole") == 2:
                return time.monotonic() - begin
            time.sleep(0.1)
        case.check(False, "no service")


def lines(p, way):
    """What this end tells of the transfers that go a way: {number: words}."""
    rows = [l.split() for l in p.log().splitlines()]
    return {int(r[0]): r[1:] for r in rows if len(r) >= 7 and r[1] == way}


def ends(p, way, n=COUNT, timeout=GUARD):
    """How they ended for this end, once they have: {how: count}. Every byte that came is right."""
    try:
        wait_until("the ends of %s" % p.name, lambda: len(lines(p, way)) >= n, timeout)
    except Exception:
        case.check(False, "only", len(lines(p, way)), "of", n, "told", p.log()[-2000:])
    count = {}
    for r in lines(p, way).values():
        case.check(r[-1] != "BAD", "other bytes than were sent", r)
        case.check(r[5] != "whole" or r[2] == r[4], r)
        count[r[5]] = count.get(r[5], 0) + 1
    return count


def honest(p, ways="DU"):
    """No end of file that is none, at this end."""
    seen = {way: ends(p, way) for way in ways}
    case.check(not any("eof" in s for s in seen.values()), p.name, "took a part for all:", seen)
    return seen


def leftover(lab, gw):
    """Nothing of the transfers is left at a gateway."""
    wait_until("streams gone", lambda: total(lab, gw, "streams") == 0, GUARD)
    wait_until("chunks back", lambda: sum(t["chunks"] for t in lab.telemetry(gw, "/kcpgate/tunnels").values()) == 0, GUARD)


def finish(lab, bed):
    """Nothing is left, and all end well."""
    for p in bed.p.values():
        if hasattr(p, "prefix"):
            leftover(lab, p)
            case.check(p.stop() == 0, "exit status")


def killed(who, server=OURS, client=OURS, judge=("app", "target")):
    with Lab("kf") as lab:
        bed = Bed(lab, server, client)
        app, target = bed.run(ENDLESS), bed.target
        app.wait_for("flowing", GUARD)
        bed.kill(who)
        bed.again(who)
        took = bed.serves()
        seen = {"app": app, "target": target}
        if who == "target":
            del seen["target"]
        seen = {k: honest(p) if k in judge else {w: ends(p, w) for w in "DU"} for k, p in seen.items()}
        finish(lab, bed)
        return "served again after %.1f s; %s" % (took, seen)


def test_killed_server():
    return killed("server")


def test_killed_client():
    """The server finds out in 30 to 60 s, and its target is told."""
    return killed("client")


def test_killed_target():
    """Its kernel sends resets for what it had not answered; they arrive as such."""
    return killed("target")


def test_stock_client_killed():
    return killed("client", client=STOCK, judge=("target",))


def test_stock_server_killed():
    return killed("server", server=STOCK, judge=("app",))


def test_server_killed_under_stock_client():
    return killed("server", client=STOCK, judge=("target",))


def test_client_killed_before_stock_server():
    return killed("client", server=STOCK, judge=("app",))


def test_target_killed_behind_stock_server():
    """A stock server makes FIN of its target's reset, and nobody can tell that from an end."""
    return killed("target", server=STOCK, judge=())


def test_target_killed_before_stock_client():
    """And so does a stock client."""
    return killed("target", client=STOCK, judge=())


def test_stock_alone():
    """What stock makes of the same with stock: documentation."""
    return "; ".join("%s killed: %s" % (who, killed(who, STOCK, STOCK, ())) for who in ("server", "client", "target"))


# ---- nobody is killed ----

def whole(p):
    seen = {w: ends(p, w) for w in "DU"}
    case.check(all(s == {"whole": COUNT} for s in seen.values()), p.name, seen)


def gap(server=OURS, client=OURS, seconds=5):
    """A link of kcpgate's goes down in the middle of 50 transfers, and comes back. (A stock peer whose own goes down ends
    its sessions: sending is refused.)"""
    with Lab("kf") as lab:
        bed = Bed(lab, server, client)
        app = bed.run(1 << 20)
        app.wait_for("flowing", GUARD)
        ns = "g" if server == OURS else "p"
        lab.ip(ns, "link", "set", ns + "0", "down")
        time.sleep(seconds)
        lab.ip(ns, "link", "set", ns + "0", "up")
        whole(app)
        whole(bed.target)
        finish(lab, bed)


def test_link_down_5s():
    gap()


def test_link_down_5s_stock_client():
    gap(client=STOCK)


def test_link_down_5s_stock_server():
    gap(server=STOCK)


def test_link_down_70s():
    """Longer than a session waits: all is told to have failed, and the first connection after it is served."""
    with Lab("kf") as lab:
        bed = Bed(lab)
        app, target = bed.run(ENDLESS), bed.target
        app.wait_for("flowing", GUARD)
        lab.ip("g", "link", "set", "g0", "down")
        seen = honest(app), honest(target)
        lab.ip("g", "link", "set", "g0", "up")
        took = bed.serves()
        finish(lab, bed)
        return "served %.1f s after the link came back; %s" % (took, seen)


def stopped(who, seconds, size, server=OURS, client=OURS):
    """SIGSTOP and SIGCONT; what the applications and the target saw."""
    with Lab("kf") as lab:
        bed = Bed(lab, server, client)
        app, target = bed.run(size), bed.target
        app.wait_for("flowing", GUARD)
        p = bed.target if who == "target" else bed.p[who]
        p.p.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        p.p.send_signal(signal.SIGCONT)
        if seconds < 20 or who == "target":
            whole(app)
            whole(target)
            seen = "all whole"
        else:
            seen = honest(app), honest(target)
        took = bed.serves()
        finish(lab, bed)
        return "served %.1f s after; %s" % (took, seen)


def test_stopped_5s_server():
    return stopped("server", 5, 1 << 20)


def test_stopped_5s_client():
    return stopped("client", 5, 1 << 20)


def test_stopped_5s_target():
    return stopped("target", 5, 1 << 20)


def test_stopped_60s_server():
    return stopped("server", 60, 4 << 20)


def test_stopped_60s_client():
    return stopped("client", 60, 4 << 20)


def test_stopped_60s_target():
    """Its connections wait for it, however long: a target that reads nothing is no dead one."""
    return stopped("target", 60, 4 << 20)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
