#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Several users on one UDP port, each a tunnel with a key, a target and counters of its own, told apart by their keys."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from kcptun_test import LOAD, conf, lab_up, stock
from lab import Lab, wait_until

USERS = [("alice", "one", "aes"), ("bob", "two", "aes"), ("carol", "two", "salsa20"), ("dave", "four", "aes-128-gcm"), ("old", "five", "xtea")]
FLOOD = """
import os, socket, sys, time
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(64)]
end, n = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    b = os.urandom(200)
    for s in socks:
        try:
            s.sendto(b, ("10.77.0.1", 4000))
            n += 1
        except OSError:
            pass
print("sent", n)
"""


def server(i, user, **opts):
    name, key, crypt = user
    o = dict(name='"%s"' % name, role='"server"', listen='":4000"', target='"127.0.0.1:%d"' % (9000 + i), key='"%s"' % key,
             crypt='"%s"' % crypt, mode='"fast3"', **opts)
    return "{ %s }" % " ".join("%s = %s;" % kv for kv in o.items())


def start(lab):
    lab_up(lab)
    for i in range(len(USERS)):
        lab.run("target%d" % i, "g", sys.executable, LOAD, "serve", "127.0.0.1", str(9000 + i)).wait_for("serving")
    gw = lab.gateway("gw", "g", conf([server(i, u) for i, u in enumerate(USERS)], 1))
    for i, (name, key, crypt) in enumerate(USERS):
        if crypt == "aes-128-gcm":  # which Debian's does not know
            t = ('{ name = "c"; role = "client"; listen = "127.0.0.1:%d"; remote = "10.77.0.1:4000"; key = "%s"; crypt = "%s"; closewait = 2; }'
                 % (12000 + i, key, crypt))
            lab.gateway("client", "p", conf([t], 1).replace("g0", "p0"))
            continue
        argv = stock(dict(crypt=crypt, ds=10, ps=3, nocomp=False, smuxver=1 + i % 2, mode="fast3"), "client", "127.0.0.1:%d" % (12000 + i),
                     "10.77.0.1:4000")
        argv[argv.index("--key") + 1] = key
        lab.run("peer%d" % i, "p", *argv).wait_for("key derivation done")
    return gw


def loads(lab, tag, size):
    v = [lab.run("load%s%d" % (tag, i), "p", sys.executable, LOAD, "mixed", "127.0.0.1", str(12000 + i), str(size), "10", "--seed", str(i))
         for i in range(len(USERS))]
    for u, p in zip(USERS, v):
        case.check(p.end() == 0, u, p.log())


def test_each_user_by_its_key():
    with Lab("kr") as lab:
        gw = start(lab)
        loads(lab, "a", 1 << 20)
        for i, (name, _, _) in enumerate(USERS):
            snmp = lab.telemetry(gw, "/kcpgate/snmp,%s" % name)
            case.check(snmp["PassiveOpens"] == 1 and snmp["InCsumErrors"] == 0, name, snmp)
            case.check(snmp["BytesReceived"] > 1 << 18, name, snmp)
            row = lab.telemetry(gw, "/kcpgate/sessions,%s" % name)
            case.check(len(row) == 1 and row[0]["tunnel"] == name, row)
        case.check(gw.stop() == 0, "exit status", gw.p.returncode)
        return "%d users on one port" % len(USERS)


def other_form(device, tcp):
    """kcpgate clients of two users, over IPv4 and IPv6, at a server of two workers."""
    extra = dict(tcp="true") if tcp else {}
    with Lab("kr") as lab:
        lab_up(lab)
        lab.addr("g", "g0", "fd77::1/64")
        lab.addr("p", "p0", "fd77::2/64")
        for i in range(2):
            lab.run("target%d" % i, "g", sys.executable, LOAD, "serve", "127.0.0.1", str(9000 + i)).wait_for("serving")
        gw = lab.gateway("gw", "g", conf([server(i, u, **extra) for i, u in enumerate(USERS[:2])], 2).replace(
            'device = "net_af_packet0,iface=g0"; exception = "kernel";', device))
        more = "tcp = true;" if tcp else ""
        clients = ['{ name = "c%d"; role = "client"; listen = "127.0.0.1:%d"; remote = "%s:4000"; key = "%s"; mode = "fast3"; %s }'
                   % (i, 12000 + i, ("10.77.0.1", "[fd77::1]")[i // 2], USERS[i % 2][1], more) for i in range(4)]
        lab.gateway("client", "p", conf(clients, 1).replace("g0", "p0"))
        v = [lab.run("load%d" % i, "p", sys.executable, LOAD, "mixed", "127.0.0.1", str(12000 + i), str(1 << 20), "10", "--seed", str(i))
             for i in range(4)]
        for p in v:
            case.check(p.end() == 0, p.log())
        for name, _, _ in USERS[:2]:
            rows = lab.telemetry(gw, "/kcpgate/sessions,%s" % name)
            case.check(len(rows) == 2 and lab.telemetry(gw, "/kcpgate/snmp,%s" % name)["InCsumErrors"] == 0, name, rows)
        case.check(gw.stop() == 0, "exit status", gw.p.returncode)


def test_by_sockets():
    other_form('device = "net_kudp0";', False)


def test_fake_tcp():
    other_form('device = "net_af_packet0,iface=g0"; exception = "kernel";', True)


def test_an_old_key_has_its_time():
    """Old and new are taken, until the old one's time has come; who has the new one notices nothing."""
    with Lab("kr") as lab:
        lab_up(lab)
        lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
        until = time.strftime('"%Y-%m-%d %H:%M:%S"', time.gmtime(time.time() + 25))
        new, old = ("new", "two", "aes"), ("old", "one", "aes")
        gw = lab.gateway("gw", "g", conf([server(0, new), server(0, old, until=until)], 1))
        for i, (_, key, crypt) in enumerate((new, old)):
            argv = stock(dict(crypt=crypt, ds=10, ps=3, nocomp=False, smuxver=1, mode="fast3"), "client", "127.0.0.1:%d" % (12000 + i),
                         "10.77.0.1:4000")
            argv[argv.index("--key") + 1] = key
            lab.run("peer%d" % i, "p", *argv).wait_for("key derivation done")
        one = lambda name, port: lab.run(name, "p", sys.executable, LOAD, "small", "127.0.0.1", str(port), "1")
        for i in range(2):
            p = one("before%d" % i, 12000 + i)
            case.check(p.end() == 0, p.log())
        gw.wait_for("tunnel old: its time has come")
        p = one("after", 12000)
        case.check(p.end() == 0, p.log())
        one("late", 12001)  # its stream is refused
        wait_until("the old one's end", lambda: not lab.telemetry(gw, "/kcpgate/sessions,old"))
        p = one("later", 12000)
        case.check(p.end() == 0, p.log())
        case.check(gw.stop() == 0, "exit status", gw.p.returncode)


def test_noise_is_bounded():
    """From 64 ports, as fast as one process sends: those who are there go on, and so many keys are tried and no more."""
    with Lab("kr") as lab:
        gw = start(lab)
        loads(lab, "a", 1000)
        begin = time.monotonic()
        flood = lab.run("flood", "p", sys.executable, "-c", FLOOD, "4")
        loads(lab, "b", 1 << 20)
        case.check(flood.end() == 0, flood.log())
        sent = int(flood.log().split()[-1])
        drops = lab.telemetry(gw, "/kcpgate/drops")
        first = lab.telemetry(gw, "/kcpgate/snmp,alice")["InCsumErrors"]
        tried = first * len(USERS)
        most = 20 * 1000 * (time.monotonic() - begin) + 2000 + 1000
        case.check(tried <= most and drops.get("key_limit", 0) > 0, "keys tried", tried, "most", most, "of", sent, drops)
        print("     %d datagrams of noise: %d were tried by all keys, %d dropped unread" % (sent, first, drops.get("key_limit", 0)))
        for name, _, _ in USERS[1:]:
            case.check(lab.telemetry(gw, "/kcpgate/snmp,%s" % name)["InCsumErrors"] == 0, name)
        case.check(gw.stop() == 0, "exit status", gw.p.returncode)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
