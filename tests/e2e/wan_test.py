#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The emulated path does what it is told: every datagram is accounted for, sent or received, by both sides."""
import hashlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import GUARD, Lab
from wan import EMULATOR, Wan, keep_order, socket_in

PORT = 4000
HEAD = 42  # Ethernet, IPv4, UDP


class Ends:
    """A UDP socket on each side, which know each other."""

    def __init__(self, lab, wan):
        self.lab, self.wan = lab, wan
        self.client, self.server = socket_in(lab, "client"), socket_in(lab, "server")
        self.client.bind((wan.CLIENT, 3000))
        self.server.bind((wan.SERVER, PORT))
        self.client.settimeout(GUARD)
        self.server.settimeout(GUARD)
        keep_order()
        self.client.sendto(b"first", (wan.SERVER, PORT))
        wan.settle("up", 1)  # what waits for ARP is overtaken by what need not, and the dice are counted from here

    def send(self, n, size=100, pause=0.0, start=0):
        for i in range(start, start + n):
            self.client.sendto(struct.pack("!I", i).ljust(size, b"."), (self.wan.SERVER, PORT))
            if pause:
                time.sleep(pause)
            elif i % 200 == 199:
                time.sleep(0.002)

    def got(self):
        """Numbers of what has arrived, in its order."""
        self.server.setblocking(False)
        found = []
        try:
            while True:
                b = self.server.recv(2048)
                if b != b"first":
                    found.append(struct.unpack("!I", b[:4])[0])
        except BlockingIOError:
            return found
        finally:
            self.server.settimeout(GUARD)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.close()


def test_words():
    for words, what in (("both rate 5", "rate: a number with its unit"), ("frames up mtv 1", "frames know no 'mtv'"),
                        ("nat x", "nat: a number"), ("flow cubic", "no statement begins with 'flow'"),
                        ("at 2s nat 1; at 1s nat 2", "changes are told in the order of time"), ("nat 1 2", "what is '2' here")):
        p = subprocess.run([EMULATOR, "a", "b", words], capture_output=True, text=True, timeout=GUARD)
        case.check(p.returncode == 2 and "emulator: argument:3: " + what in p.stderr, p.returncode, p.stderr)


def test_delay():
    with Lab("wn") as lab, Ends(lab, Wan(lab, "both delay 30ms")) as e:
        e.got()
        best = 1e9
        for i in range(5):
            begin = time.monotonic()
            e.client.sendto(b"ping", (e.wan.SERVER, PORT))
            _, peer = e.server.recvfrom(100)
            once = time.monotonic() - begin
            e.server.sendto(b"pong", peer)
            case.check(e.client.recv(100) == b"pong")
            case.check(once >= 0.030, once)
            best = min(best, time.monotonic() - begin)
        case.check(best >= 0.060, best)
        e.send(3000)
        case.check(e.wan.settle("up", 3006)["out"] == 3006)
        case.check(e.got() == list(range(3000)), "in order, and whole")
        return "best round trip %.1f ms" % (best * 1e3)


def test_loss():
    """By itself and in bursts; the same seed loses the same ones."""
    lost = {}
    for name, words in (("a", "seed 5"), ("again", "seed 5"), ("other", "seed 6"), ("bursts", "both burst 8")):
        with Lab("wn") as lab, Ends(lab, Wan(lab, "both loss 10%", words)) as e:
            for k in range(0, 20000, 2000):  # the ring that takes them in is not to overflow on a slow machine
                e.send(2000, start=k)
                c = e.wan.settle("up", k + 2001)
            got = e.got()
            case.check(c["overrun"] == 0 and c["unsent"] == 0, c)
            case.check(len(got) + c["lost"] in (20000, 20001), len(got), c)
            case.check(got == sorted(set(got)), "order")
            lost[name] = sorted(set(range(20000)) - set(got))
    runs = sum(b != a + 1 for a, b in zip(lost["bursts"], lost["bursts"][1:])) + 1
    case.check(all(abs(len(v) - 2000) < 6 * 42.5 for k, v in lost.items() if k != "bursts"), {k: len(v) for k, v in
                                                                                             lost.items()})
    case.check(lost["a"] == lost["again"] != lost["other"])
    case.check(6 < len(lost["bursts"]) / runs < 10, len(lost["bursts"]), runs)


def test_queue():
    """A queue of 50 packets at 1 Mbit/s: what found it full is dropped, and nothing comes faster than the rate."""
    with Lab("wn") as lab, Ends(lab, Wan(lab, "up rate 1M queue 50")) as e:
        one = (1000 + HEAD) * 8 / 1e6
        begin = time.monotonic()
        e.send(400, 1000)
        c = e.wan.settle("up", 401)
        since = time.monotonic() - begin
        got = e.got()
        case.check(len(got) + c["queue_drops"] == 400, len(got), c)
        case.check(51 <= len(got) < 400 and got == sorted(got), len(got))
        case.check(since >= (len(got) - 1) * one, since, len(got))
        case.check(49 * one * 1e3 < c["wait"][2] <= 50.01 * one * 1e3, c)


def test_policer():
    with Lab("wn") as lab, Ends(lab, Wan(lab, "up rate 1M bucket 10420")) as e:
        begin = time.monotonic()
        e.send(400, 1000)
        c = e.wan.settle("up", 401)
        since = time.monotonic() - begin
        got = e.got()
        case.check(len(got) + c["policed"] == 400, len(got), c)
        case.check(9 <= len(got) <= 10 + since / ((1000 + HEAD) * 8 / 1e6) + 1, len(got), since)
        case.check(c["wait"][2] == 0, c)


def test_twice_and_late():
    with Lab("wn") as lab, Ends(lab, Wan(lab, "up delay 5ms dup 5% reorder 5% by 20ms")) as e:
        e.send(5000)
        c = e.wan.settle("up", 5001)
        got = e.got()
        turned, most = 0, -1
        for n in got:
            turned += n < most
            most = max(most, n)
        case.check(set(got) == set(range(5000)), len(got))
        case.check(len(got) - 5000 in (c["dup"], c["dup"] - 1), len(got), c)
        case.check(150 < c["dup"] < 350 and 150 < c["reordered"] < 350, c)
        case.check(turned > 100, turned)


def test_corrupt():
    """One bit is wrong, which the receiver's checksum sees."""
    with Lab("wn") as lab, Ends(lab, Wan(lab, "frames up corrupt 10%")) as e:
        e.send(3000)
        e.wan.settle("up", 3001)
        c = e.wan.stop()["up"]
        got = e.got()
        with_sum = int(lab.sh("server", "nstat", "-asz", "UdpInCsumErrors").split()[-2])
        case.check(c["corrupt"] == with_sum and 3001 - c["corrupt"] in (len(got), len(got) + 1), c, with_sum, len(got))
        case.check(200 < c["corrupt"] < 400, c)


def test_nat():
    """The client has another port to the server than its own, and yet another after a while; answers come home."""
    with Lab("wn") as lab, Ends(lab, Wan(lab, "nat 5", "at 2s nat 9")) as e:
        seen, unanswered = [], 0
        e.got()
        e.client.settimeout(20)
        end = time.monotonic() + GUARD
        while (3000 ^ 9) not in seen and time.monotonic() < end:
            e.client.sendto(b"who", (e.wan.SERVER, PORT))
            _, peer = e.server.recvfrom(100)
            seen += [peer[1]] if peer[1] not in seen else []
            e.server.sendto(b"you", peer)
            try:
                b, peer = e.client.recvfrom(100)
            except TimeoutError:  # to the port of before: the NAT knows it no more
                unanswered += 1
                continue
            case.check(b == b"you" and peer == (e.wan.SERVER, PORT), b, peer)
            time.sleep(0.02)
        case.check(unanswered <= 1, unanswered)
        case.check(seen in ([3000 ^ 5, 3000 ^ 9], [3000 ^ 9]), seen)
        return "ports " + " ".join(str(p) for p in seen)


def test_blackout():
    """Nothing in between, everything before and after."""
    with Lab("wn") as lab, Ends(lab, Wan(lab, "both delay 1ms", "at 2s both black on", "at 5s both black off")) as e:
        n, end = 0, time.monotonic() + GUARD
        while time.monotonic() < end:
            e.send(1, start=n)
            n += 1
            c = e.wan.look()["up"]
            if c["black"] and c["path"] > c["black"] and n > 10 and e.wan.look()["up"]["black"] == c["black"]:
                before = c["out"]
                e.send(20, pause=0.02, start=n)
                n += 20
                if e.wan.look()["up"]["out"] > before:
                    break
            time.sleep(0.02)
        c = e.wan.settle("up", n + 1)
        got = e.got()
        gone = sorted(set(range(n)) - set(got))
        case.check(len(gone) == c["black"] > 0 and gone == list(range(gone[0], gone[-1] + 1)), gone, c)
        case.check(got[-1] == n - 1 and c["lost"] == 0, got[-1], n, c)
        return "%d of %d" % (len(gone), n)


def test_mtu():
    with Lab("wn") as lab, Ends(lab, Wan(lab, "frames up mtu 1000")) as e:
        for i, size in enumerate((972, 973, 1400, 500)):  # 28 of IPv4 and UDP
            e.send(1, size, start=i)
        e.wan.settle("up", 3)
        c = e.wan.stop()
        case.check(e.got() == [0, 3] and c["up"]["too_long"] == 2 and c["down"]["too_long"] == 0, c)


def test_tcp():
    """The kernel's TCP over all of it at once, by hash."""
    blob = os.urandom(3 << 20)
    with Lab("wn") as lab:
        wan = Wan(lab, "both delay 2ms jitter 2ms rate 100M queue 100 loss 1% dup 1% reorder 1% by 3ms",
                  "frames both corrupt 0.5%", "at 1s both black on", "at 1.3s both black off")
        listen = socket_in(lab, "server", kind=socket.SOCK_STREAM)
        listen.bind((wan.SERVER, PORT))
        listen.listen(1)
        s = socket_in(lab, "client", kind=socket.SOCK_STREAM)
        s.settimeout(GUARD)
        s.connect((wan.SERVER, PORT))
        c, _ = listen.accept()
        c.settimeout(GUARD)

        def feed():
            s.sendall(blob)
            s.shutdown(socket.SHUT_WR)
        t = threading.Thread(target=feed, daemon=True)
        t.start()
        h = hashlib.sha256()
        while True:
            b = c.recv(1 << 16)
            if not b:
                break
            h.update(b)
        t.join(GUARD)
        case.check(h.digest() == hashlib.sha256(blob).digest(), "bytes differ")
        for x in (c, s, listen):
            x.close()
        up = wan.stop()["up"]
        case.check(up["lost"] > 0 and up["dup"] > 0 and up["reordered"] > 0, up)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
