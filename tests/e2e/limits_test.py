#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shares and ceilings: dials to a target that never answers, few descriptors, memory that a peer without a key takes.

In each a flood meets one tunnel, and another tunnel's verified traffic goes on.
"""
import os
import random
import re
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from behaviour_test import conf, link, load, stock, target, total, tunnel
from lab import Lab, gateway_binary, wait_until

CROWD = r"""
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
port, n = int(sys.argv[1]), int(sys.argv[2])
s = [socket.create_connection(("127.0.0.1", port)) for _ in range(n)]
print("opened", n, flush=True)
sys.stdin.readline()
ended = 0
for c in s:
    c.settimeout(60)
    if sys.argv[3:] == ["wait"]:
        try:
            ended += c.recv(1) == b""
        except ConnectionError:
            ended += 1
        except TimeoutError:
            pass
    c.close()
print("closed", n, "ended", ended, flush=True)
sys.stdin.readline()
"""


class Crowd:
    """Many connections to a port of a namespace, which say nothing; closed at a word."""

    def __init__(self, lab, ns, port, n, *more):
        r, self.w = os.pipe()
        self.p = lab.run("crowd", ns, sys.executable, "-c", CROWD, str(port), str(n), *more, stdin=os.fdopen(r))
        self.p.wait_for("opened", 120)

    def close(self):
        os.write(self.w, b"\n")
        self.p.wait_for("closed", 180)
        return int(re.search(r"ended (\d+)", self.p.log()).group(1))


def sockets(gw):
    """Descriptors of a process that are sockets."""
    fd = "/proc/%d/fd" % gw.p.pid
    n = 0
    for f in os.listdir(fd):
        try:
            n += os.readlink(os.path.join(fd, f)).startswith("socket:")
        except FileNotFoundError:
            pass
    return n


def hole(lab, ns, port):
    """TCP to that port of the namespace is swallowed."""
    lab.sh(ns, "nft", "add table inet hole { chain in { type filter hook input priority 0; tcp dport %d drop; }; }" % port)


def limits(**values):
    return "limits = { %s };\n" % " ".join("%s = %d;" % kv for kv in values.items())


def control(lab, gw):
    return lab.telemetry(gw, "/kcpgate/control")


def test_dials():
    """2,000 streams to a black hole: bounded while they are open, gone when they are closed, in nobody's way."""
    with Lab("kl") as lab:
        link(lab)
        hole(lab, "p", 81)
        target(lab)
        srv = lab.gateway("server", "g", conf("g0", tunnel("hole", "server", ":4000", "10.77.0.2:81", smuxver=1),
                                              tunnel("ok", "server", ":4001", "127.0.0.1:9000"),
                                              more=limits(dialtimeout=1800)))
        lab.run("stock", "p", *stock("client", "-l", "127.0.0.1:13000", "-r", "10.77.0.1:4000", "--key", "k", "--mode",
                                     "fast3", "--smuxver", "1"), env={"GOMAXPROCS": "1"}).wait_for("quiet:")
        lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13001", "10.77.0.1:4001")))
        load(lab, "p", "small", "127.0.0.1", 13001, 20)
        before = sockets(srv)
        steady = load(lab, "p", "steady", "127.0.0.1", 13001, 15, 8, 20000, "--timeout", 120, wait=False)
        crowd = Crowd(lab, "p", 13000, 2000)
        wait_until("all streams arrived", lambda: control(lab, srv)["streams"] >= 2000, 60)
        seen, held = control(lab, srv), sockets(srv) - before
        tunnels = lab.telemetry(srv, "/kcpgate/tunnels")
        case.check(held <= 512 + 16 and seen["dials"] <= seen["dials_limit"] == 512, held, seen)
        case.check(tunnels["hole"]["dials"] + tunnels["hole"]["dials_waiting"] == 2000, tunnels)
        case.check(seen["dials_wait_for"] != "nothing", seen)
        load(lab, "p", "small", "127.0.0.1", 13001, 50, "--timeout", 100)
        crowd.close()
        wait_until("the dials ended with their streams", lambda: control(lab, srv)["dials"] == 0 and
                   control(lab, srv)["dials_waiting"] == 0 and control(lab, srv)["streams"] <= 8, 60)
        after = control(lab, srv)
        case.check(after["dial_timeouts"] == 0, after)
        steady.p.wait(150)
        case.check(steady.p.returncode == 0, steady.log())
        wait_until("no stream is left", lambda: total(lab, srv, "streams") == 0 and sockets(srv) <= before, 60)
        return "2,000 streams open: %d descriptors, %d dials, %d waiting (for %s); closed: 0" % (
            held, seen["dials"], seen["dials_waiting"], seen["dials_wait_for"])


def test_dial_timeout():
    """A dial that nobody answers ends after limits.dialtimeout, and the application is told."""
    with Lab("kl") as lab:
        link(lab)
        hole(lab, "p", 81)
        srv = lab.gateway("server", "g", conf("g0", tunnel("hole", "server", ":4000", "10.77.0.2:81"),
                                              more=limits(dialtimeout=2, dials=10)))
        lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000")))
        crowd = Crowd(lab, "p", 13000, 60, "wait")
        ended = crowd.close()
        case.check(ended == 60, ended, "of 60 connections were ended")
        seen, drops = control(lab, srv), lab.telemetry(srv, "/kcpgate/drops")
        case.check(seen["dial_timeouts"] + seen["dial_refused"] == 60 and seen["dial_refused"] >= 1, seen)
        case.check(drops["dial_limit"] == seen["dial_refused"] and drops["target"] == seen["dial_timeouts"], drops, seen)
        case.check("dial 10.77.0.2:81: " in srv.log(), srv.log()[-2000:])
        return "%d timed out, %d refused" % (seen["dial_timeouts"], seen["dial_refused"])


def few_files(lab, name, ns, n, text):
    """A gateway that may have n descriptors, hard and soft."""
    prefix = "%s-%s" % (lab.tag, name)
    path = lab.file(name + ".conf", text.replace("@PREFIX@", prefix))
    p = lab.run(name, ns, "prlimit", "--nofile=%d:%d" % (n, n), gateway_binary(), "-c", path)
    p.prefix = prefix
    p.wait_for("ready:", 60)
    return p


def test_nofile():
    """256 descriptors, 8 sessions that expire every second: traffic goes on, and few are held for what has ended."""
    with Lab("kl") as lab:
        link(lab)
        target(lab)
        lab.run("stock", "g", *stock("server", "-l", ":4000", "-t", "127.0.0.1:9000", "--key", "k", "--mode", "fast3",
                                     "--smuxver", "2"), env={"GOMAXPROCS": "1"}).wait_for("quiet:")
        cli = few_files(lab, "client", "p", 256, conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000", conn=8,
                                                                   autoexpire=1, closewait=0)))
        most = [0]
        done = threading.Event()

        def watch():
            while not done.wait(0.2):
                most[0] = max(most[0], len(os.listdir("/proc/%d/fd" % cli.p.pid)))

        eye = threading.Thread(target=watch)
        eye.start()
        try:
            load(lab, "p", "steady", "127.0.0.1", 13000, 40, 8, 20000, "--timeout", 110)
        finally:
            done.set()
            eye.join()
        seen = control(lab, cli)
        case.check(seen["ports_given_up"] > 100 and seen["ports_held"] <= 32, seen)
        case.check(most[0] < 160, "descriptors:", most[0])
        case.check("Too many open files" not in cli.log(), cli.log()[-2000:])
        return "at most %d descriptors, %d ports held, %d given up" % (most[0], seen["ports_held"], seen["ports_given_up"])


def test_nofile_flood():
    """One tunnel's connections take their share of 256 descriptors; another's connections are served."""
    with Lab("kl") as lab:
        link(lab)
        target(lab)
        lab.gateway("server", "g", conf("g0", tunnel("s", "server", ":4000-4001", "127.0.0.1:9000")))
        cli = few_files(lab, "client", "p", 256, conf("p0", tunnel("a", "client", "127.0.0.1:13000", "10.77.0.1:4000"),
                                                      tunnel("b", "client", "127.0.0.1:13001", "10.77.0.1:4001")))
        crowd = Crowd(lab, "p", 13000, 400)
        wait_until("its share is used up", lambda: control(lab, cli)["accept_paused"] > 2, 60)
        load(lab, "p", "mixed", "127.0.0.1", 13001, 1 << 20, 60, "--at-once", 10, "--timeout", 100)
        seen, tunnels = control(lab, cli), lab.telemetry(cli, "/kcpgate/tunnels")
        case.check(tunnels["a"]["descriptors"] < seen["descriptors_limit"], tunnels, seen)
        case.check(seen["accept_paused"] < 2000, "it spins:", seen)
        case.check("it has its share of the file descriptors" in cli.log(), cli.log()[-2000:])
        crowd.close()
        load(lab, "p", "small", "127.0.0.1", 13000, 20, "--timeout", 100)
        return "a has %d of %d descriptors" % (tunnels["a"]["descriptors"], seen["descriptors_limit"])


# ---- memory ----

def push(conv, sn, body, cmd=81):
    """One KCP segment as a datagram of a tunnel without a key."""
    return struct.pack("<IBBHIIII", conv, cmd, 0, 512, 0, sn, 0, len(body)) + body


ANNOUNCED = b"\xff\x06\x00\x00sNaPpY" + struct.pack("<I", 76494 << 8) + b"x"  # 15 bytes that announce 76,494


def flood(segments, sessions, seed):
    """Datagrams of `sessions` peers, from a port each, from within a namespace."""
    code = ("import socket, sys\n"
            "sys.path.insert(0, %r)\n"
            "import limits_test as t\n"
            "t.send_all(%d, %d, %d)\n" % (os.path.dirname(os.path.abspath(__file__)), segments, sessions, seed))
    return [sys.executable, "-c", code]


def send_all(segments, sessions, seed):
    """segments 0: the chunk that announces much; else so many segments behind a gap, each of 1,300 bytes."""
    rnd = random.Random(seed)
    sent = 0
    for i in range(sessions):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect(("10.77.0.1", 4000))
        conv = rnd.randrange(1 << 32)
        todo = [push(conv, sn, b"y" * 1300) for sn in range(1, segments + 1)] or [push(conv, 0, ANNOUNCED)]
        for d in todo:
            try:
                s.send(d)
            except ConnectionRefusedError:
                s.send(d)
            sent += len(d)
            if sent % 64000 < len(d):
                time.sleep(0.002)  # the packet socket's ring is not what this is about
        s.close()
    print("sent", sent, flush=True)


def test_null_heap():
    """Peers without a key on a tunnel `null`: what they announce costs nothing, what they send their tunnel's share."""
    with Lab("kl") as lab:
        link(lab)
        target(lab)
        null = dict(crypt='"null"', datashard=0, parityshard=0)
        srv = lab.gateway("server", "g", conf("g0", tunnel("null", "server", ":4000", "127.0.0.1:9000", **null),
                                              tunnel("ok", "server", ":4001", "127.0.0.1:9000")))
        lab.gateway("client", "p", conf("p0", tunnel("n", "client", "127.0.0.1:13000", "10.77.0.1:4000", **null),
                                        tunnel("c", "client", "127.0.0.1:13001", "10.77.0.1:4001")))
        load(lab, "p", "small", "127.0.0.1", 13000, 10)
        load(lab, "p", "small", "127.0.0.1", 13001, 10)
        idle = total(lab, srv, "memory_used")
        p = lab.run("announce", "p", *flood(0, 1300, 1))
        p.p.wait(120)
        case.check(p.p.returncode == 0, p.log())
        wait_until("the sessions began", lambda: total(lab, srv, "sessions") > 1200)
        announced = total(lab, srv, "memory_used") - idle
        print("    %s bytes of datagrams: %.1f MB of memory" % (p.log().split()[1], announced / 1e6), flush=True)
        case.check(announced < 16e6, announced)
        big = load(lab, "p", "big", "127.0.0.1", 13001, 30 << 20, "--timeout", 140, wait=False)
        own = load(lab, "p", "big", "127.0.0.1", 13000, 4 << 20, "--timeout", 140, wait=False)
        p = lab.run("flood", "p", *flood(500, 400, 2))
        p.p.wait(150)
        case.check(p.p.returncode == 0, p.log())
        seen = lab.telemetry(srv, "/kcpgate/tunnels")
        drops = lab.telemetry(srv, "/kcpgate/drops")
        print("    then %s bytes: null holds %.1f MB, share %.1f MB; no_memory %d, over_share %d" % (
            p.log().split()[1], seen["null"]["memory"] / 1e6, seen["null"]["memory_share"] / 1e6, drops["no_memory"],
            drops["over_share"]), flush=True)
        for t in (big, own):
            t.p.wait(150)
            case.check(t.p.returncode == 0, t.log())
        load(lab, "p", "mixed", "127.0.0.1", 13001, 4 << 20, 50, "--timeout", 100)
        case.check(seen["null"]["memory"] > 60e6, "the flood did not arrive:", seen["null"])
        case.check(drops["no_memory"] > 0, drops)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
