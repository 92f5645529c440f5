#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Floods of sessions that fill each limit, by somebody who needs no key or has it, beside transfers that go on."""
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from behaviour_test import conf, load, target, total, tunnel
from lab import Lab, wait_until
from limits_test import limits, push

NOP = b"\x02\x03\0\0\0\0\0\0"  # smux 2
NULL = dict(crypt='"null"', datashard=0, parityshard=0, nocomp="true")
SLOW = 4 << 20  # bytes a second that the client sends: the transfer is there while the attack is


def link(lab):
    """As behaviour_test's, but that the peer may be any address of 10.77.0.0/16."""
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/16")
    lab.addr("p", "p0", "10.77.0.2/16")
    lab.ip("p", "route", "add", "local", "10.77.8.0/21", "dev", "lo")
    lab.ip("p", "route", "add", "local", "10.77.64.0/18", "dev", "lo")


def attack(lab, name, sources, each, rounds=1):
    """A process that begins `each` sessions from each of these addresses, so many times over."""
    code = ("import sys\n"
            "sys.path.insert(0, %r)\n"
            "import attack_limits_test as t\n"
            "t.begin_all(%r, %d, %d)\n" % (os.path.dirname(os.path.abspath(__file__)), sources, each, rounds))
    return lab.run(name, "p", sys.executable, "-c", code)


def begin_all(sources, each, rounds):
    """Every round from the same ports, with other conversations; what comes back is nobody's business."""
    socks = []
    for a in sources:
        for i in range(each):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((a, 20000 + i))
            socks.append(s)
    sent = 0
    for r in range(rounds):
        for i, s in enumerate(socks):
            try:
                s.sendto(push(1 + r * len(socks) + i, 0, NOP), ("10.77.0.1", 4000))
            except OSError:
                continue  # an ICMP error of before, or no buffer: the next one is as good
            sent += 1
            if sent % 200 == 0:
                time.sleep(0.005)  # the packet socket's ring is not what this is about
    print("sent", sent, flush=True)


def attacked(lab, *a):
    p = attack(lab, *a)
    p.wait_for("sent")
    return p


def of_peer(lab, srv, ip):
    return sorted(r["conv"] for r in lab.telemetry(srv, "/kcpgate/sessions") if r["peer"].startswith(ip + ":"))


def seen(lab, srv):
    return lab.telemetry(srv, "/kcpgate/limits"), lab.telemetry(srv, "/kcpgate/drops")


def test_one_source_one_prefix_one_tunnel():
    """
    Two workers, three attacks on one tunnel: of one address, of a /24, of many. Each meets its limit, and what it has is
    no more; a transfer of the attacked tunnel's own goes on, and so do new clients of the other one.
    """
    with Lab("kA") as lab:
        link(lab)
        target(lab)
        srv = lab.gateway("server", "g", conf("g0", tunnel("hit", "server", ":4000", "127.0.0.1:9000", **NULL),
                                              tunnel("ok", "server", ":4001", "127.0.0.1:9000"), workers=2,
                                              more=limits(sessions=200, address_sessions=20, prefix_sessions=50,
                                                          address_rate=0)))
        lab.gateway("client", "p", conf("p0", tunnel("n", "client", "127.0.0.1:13000", "10.77.0.1:4000", conn=2, ratelimit=SLOW, **NULL)))
        load(lab, "p", "small", "127.0.0.1", 13000, 4)
        idle, mine = total(lab, srv, "memory_used"), of_peer(lab, srv, "10.77.0.2")
        big = load(lab, "p", "big", "127.0.0.1", 13000, 24 << 20, "--timeout", 140, wait=False)

        attacked(lab, "one", ["10.77.8.1"], 100)
        wait_until("one address was refused", lambda: seen(lab, srv)[1]["address_limit"] >= 70)
        l = seen(lab, srv)[0]["address_sessions"]
        case.check(20 <= l["most"] <= 21, l)  # one more for another worker that looked at the same time

        attacked(lab, "prefix", ["10.77.9.%d" % i for i in range(1, 11)], 15)
        wait_until("one prefix was refused", lambda: seen(lab, srv)[1]["prefix_limit"] >= 80)
        l = seen(lab, srv)[0]["prefix_sessions"]
        case.check(50 <= l["most"] <= 51, l)

        attacked(lab, "many", ["10.77.%d.%d" % (64 + i, k) for i in range(40) for k in (1, 2)], 10)
        wait_until("the tunnel's part is full", lambda: seen(lab, srv)[1]["tunnel_limit"] >= 50)
        lab.gateway("late", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13001", "10.77.0.1:4001")))
        load(lab, "p", "small", "127.0.0.1", 13001, 10, "--timeout", 100)

        big.end()
        case.check(big.p.returncode == 0, big.log())
        full, drops = seen(lab, srv)
        sessions, memory = total(lab, srv, "sessions"), total(lab, srv, "memory_used") - idle
        case.check(set(mine) <= set(of_peer(lab, srv, "10.77.0.2")), "a live session was ended")
        case.check(sessions <= 400 and memory < 400 * 8192 + (8 << 20), sessions, memory)
        case.check(drops["session_limit"] == 0 and drops["over_share"] == 0, drops)
        return "address_limit %d, prefix_limit %d, tunnel_limit %d; %d sessions, %.1f MB" % (
            drops["address_limit"], drops["prefix_limit"], drops["tunnel_limit"], sessions, memory / 1e6)


def test_rate_and_prefixes():
    """
    Sessions begun again and again from one address, and datagrams of addresses that may not come; what is there already
    has little memory, by its limits.
    """
    with Lab("kA") as lab:
        link(lab)
        target(lab)
        srv = lab.gateway("server", "g", conf(
            "g0", tunnel("hit", "server", ":4000", "127.0.0.1:9000", allow='[ "10.77.0.0/24", "10.77.8.0/24" ]',
                         deny='[ "10.77.8.9/32" ]', memory=8, **NULL), more=limits(address_rate=1, session_bytes=262144)))
        lab.gateway("client", "p", conf("p0", tunnel("n", "client", "127.0.0.1:13000", "10.77.0.1:4000", ratelimit=SLOW, **NULL)))
        load(lab, "p", "small", "127.0.0.1", 13000, 4)
        mine = of_peer(lab, srv, "10.77.0.2")
        big = load(lab, "p", "big", "127.0.0.1", 13000, 16 << 20, "--timeout", 140, wait=False)
        one = attacked(lab, "one", ["10.77.8.1"], 50, 20)
        n = int(one.log().split()[1])
        wait_until("its rate was met", lambda: seen(lab, srv)[1]["session_rate"] >= n * 3 // 4)
        attacked(lab, "denied", ["10.77.8.9", "10.77.9.1"], 20)
        wait_until("both are kept out", lambda: seen(lab, srv)[1]["acl"] >= 40)
        big.end()
        case.check(big.p.returncode == 0, big.log())
        case.check(not of_peer(lab, srv, "10.77.8.9") and not of_peer(lab, srv, "10.77.9.1"), "a session of who may not come")
        case.check(mine == of_peer(lab, srv, "10.77.0.2"), "a live session was ended")
        full, drops = seen(lab, srv)
        case.check(full["address_rate"]["refused"] == drops["session_rate"] and full["acl"]["refused"] == drops["acl"], full)
        hit = lab.telemetry(srv, "/kcpgate/tunnels")["hit"]
        case.check(full["session_bytes"]["limit"] == 262144 and hit["memory_limit"] == 8 << 20 > hit["memory"], full, hit)
        case.check(full["worker_bytes"]["limit"] > full["worker_bytes"]["used"] > 0, full)
        return "session_rate %d of %d, acl %d" % (drops["session_rate"], n, drops["acl"])


if __name__ == "__main__":
    case.main(sys.modules[__name__])
