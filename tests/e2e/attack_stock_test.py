#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a stranger can do to a stock server, seen; and what becomes of two servers that one forged datagram brings together."""
import os
import struct
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from attack_test import Recording, conf, load, recorded, replay, up
from behaviour_test import stock
from lab import Lab, wait_until

QUIET = 35  # seconds: a session that lives says something every 10
ENDS = 280  # seconds, a guard: a muted session and its peer's are over long before

# Sends one frame, in hexadecimal.
SEND = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
s.send(bytes.fromhex(sys.argv[2]))
"""

PLAIN = ["--crypt", "none", "--nocomp", "--smuxver", "1"]


# ---- two servers ----

def mac(lab, ns, dev):
    return bytes.fromhex(lab.ip(ns, "-br", "link", "show", dev).split()[2].replace(":", ""))


def datagram(sn):
    """A client's first or second datagram, as whoever has recordings has it: it opens a stream."""
    syn = struct.pack("<BBHI", 1, 0, 0, 3)
    kcp = os.urandom(4) + struct.pack("<BBHIIII", 81, 0, 1024, 1000, sn, 0, len(syn)) + syn
    body = struct.pack("<IHH", 0, 0xf1, len(kcp) + 2) + kcp  # FEC: the first packet of a group
    return os.urandom(16) + struct.pack("<I", zlib.crc32(body)) + body


def forge(lab, to, name, sn=0):
    """The one datagram: to `to`'s server, of the other one's address and port."""
    by = "p" if to == "g" else "g"
    ips = {"g": bytes([10, 77, 0, 1]), "p": bytes([10, 77, 0, 2])}
    payload = datagram(sn)
    udp = struct.pack(">HHHH", 4000, 4000, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + ips[by] + ips[to]
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack(">H", ~total & 0xffff) + ip[12:]
    frame = mac(lab, to, to + "0") + mac(lab, by, by + "0") + b"\x08\x00" + ip + udp
    case.check(lab.run(name, by, sys.executable, "-c", SEND, by + "0", frame.hex()).end() == 0, "sent")


def sessions(lab, *gws):
    return sum(lab.telemetry(g, "/kcpgate/snmp")["CurrEstab"] for g in gws)


def opened(lab, gw):
    return lab.telemetry(gw, "/kcpgate/snmp")["PassiveOpens"]


def servers(lab, y_is_stock):
    """X at g is ours; nobody listens where they dial: the forged stream ends at once."""
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/24")
    lab.addr("p", "p0", "10.77.0.2/24")
    lab.sh("p", "ping", "-c", "1", "-W", "1", "10.77.0.1", check=False)
    opts = dict(crypt='"none"', nocomp="true", smuxver=1)
    x = lab.gateway("x", "g", conf("g0", "server", ":4000", "127.0.0.1:9", **opts))
    if not y_is_stock:
        return x, lab.gateway("y", "p", conf("p0", "server", ":4000", "127.0.0.1:9", **opts))
    y = lab.run("y", "p", *stock("server", "-l", ":4000", "-t", "127.0.0.1:9", "--key", "k", "--mode", "fast3", *PLAIN))
    y.wait_for("listening on")
    return x, y


def heard(lab, seconds, name):
    """Datagrams between them in so many seconds."""
    recs = [Recording(lab, "%s-%s" % (name, end), end) for end in "gp"]
    time.sleep(seconds)
    return sum(len(r.stop().seen) for r in recs)


def test_two_servers():
    """Of ours, whichever way the datagram goes: one session at most, and nothing of it is one to the other."""
    with Lab("kh") as lab:
        x, y = servers(lab, False)
        forge(lab, "g", "one")
        wait_until("a session", lambda: opened(lab, x) == 1)
        forge(lab, "p", "two")
        wait_until("a session", lambda: opened(lab, y) == 1)
        wait_until("no session is left", lambda: sessions(lab, x, y) == 0, ENDS)
        n = heard(lab, QUIET, "after")
        case.check(n == 0, n, "datagrams")
        case.check(opened(lab, x) == 1 and opened(lab, y) == 1, "sessions made of what the other sent")


def test_a_stock_server_and_ours():
    """Stock makes a session of anything, and would keep ours alive for ever: it is told nothing more, and gives up."""
    with Lab("kh") as to_us, Lab("kh") as to_stock:
        x = {}
        for lab, to, sn in ((to_us, "g", 0), (to_stock, "p", 1)):
            x[lab] = servers(lab, True)[0]
            forge(lab, to, "one", sn)
        for lab in x:
            wait_until("stock's session says something", lambda: sessions(lab, x[lab]) == 1)
        before = [heard(lab, 12, "before") for lab in x]
        case.check(min(before) > 0, before)
        for lab in x:
            wait_until("no session is left", lambda: sessions(lab, x[lab]) == 0, ENDS)
        after = [heard(lab, QUIET, "after") for lab in x]
        case.check(max(after) == 0, after)
        case.check([opened(lab, x[lab]) for lab in x] == [1, 1], "sessions")
        return "%s datagrams in 12 s, then none in %d s" % (before, QUIET)


# ---- what stock does ----

def stock_server(lab):
    lab.run("server", "g", *stock("server", "-l", ":4000", "-t", "127.0.0.1:9000", "--key", "k", "--mode", "fast3")
            ).wait_for("listening on")


def stock_client(lab, name, port):
    p = lab.run(name, "p", *stock("client", "-l", "127.0.0.1:%d" % port, "-r", "10.77.0.1:4000", "--key", "k", "--mode",
                                  "fast3"))
    p.wait_for("listening on")
    return p


def test_stock_serves_a_recording():
    """The target serves it again, and much goes to an address that never answers."""
    with Lab("kh") as lab:
        up(lab)
        stock_server(lab)
        client = stock_client(lab, "client", 13000)
        frames = recorded(lab, 13000, "big", 1000000)[:30]
        client.stop()
        rec = Recording(lab, "back", "p")
        replay(lab, "again", frames, 20001)
        time.sleep(8)
        got, paid = rec.stop().back(20001), sum(len(p) // 2 - 42 for p in frames)
        case.check(got > 150000, got, "bytes for", paid)
        return "%d bytes for %d, %.0f times" % (got, paid, got / paid)


def test_stock_loses_a_session_to_a_recording():
    """Another client's first datagram, with a victim's address and port: the victim's download never ends."""
    with Lab("kh") as lab:
        up(lab)
        stock_server(lab)
        other = stock_client(lab, "other", 13001)
        frames = recorded(lab, 13001, "small", 5)[:1]
        other.stop()
        stock_client(lab, "victim", 13000)
        big = load(lab, "victims", "big", "127.0.0.1", 13000, 400000000)
        rec = Recording(lab, "look", "p")
        time.sleep(1)
        ports = {c for to_server, c, p in rec.stop().seen if not to_server}
        case.check(len(ports) == 1 and big.alive(), ports, big.log())
        replay(lab, "attack", frames, ports.pop())
        case.check(big.end() != 0, "it should not have finished", big.log())
        return big.log().strip().splitlines()[-1][:80]


if __name__ == "__main__":
    case.main(sys.modules[__name__])
