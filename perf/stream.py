#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bulk TCP that costs its own ends little, so that a gateway between them is what is measured.

  stream.py serve ADDR PORT                         the target
  stream.py go ADDR PORT DIRECTION STREAMS BYTES    moves BYTES over STREAMS streams; DIRECTION is down, up or both
  stream.py ping ADDR PORT COUNT                    COUNT times one byte there and back, one after another

Bytes are made before the clock starts and hashed after it has stopped.  One line of JSON at the end: seconds, and what
--pid's processes (NAME=PID) and the machine used of the CPU between start and stop.  Exit status 1 when a byte was wrong.
"""
import argparse
import hashlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time

HEAD = struct.Struct("<cIQ")  # what the target does: D sends, U receives, P echoes; seed; bytes
READ = 1 << 20
WARM = 256 << 10  # bytes of the first streams, which only open windows
TICK = os.sysconf("SC_CLK_TCK")


def content(seed, n):
    rnd = random.Random(seed)
    return b"".join(rnd.randbytes(min(READ, n - at)) for at in range(0, n, READ))


def room(n):
    """n bytes whose pages are there already."""
    return memoryview(bytearray(b"\1") * n)


def receive(s, view):
    at = 0
    while at < len(view):
        n = s.recv_into(view[at:at + READ])
        if n == 0:
            raise EOFError("%d bytes short" % (len(view) - at))
        at += n


def exactly(s, n):
    b = bytearray(n)
    receive(s, memoryview(b))
    return bytes(b)


# ---- the target ----

def serve_one(s):
    try:
        what, seed, n = HEAD.unpack(exactly(s, HEAD.size))
        if what == b"D":
            data = content(seed, n)
            s.sendall(b"r")
            exactly(s, 1)
            s.sendall(data)
        elif what == b"U":
            view = room(n)
            s.sendall(b"r")
            receive(s, view)
            s.sendall(b"a")  # all is here: the clock stops
            s.sendall(hashlib.sha256(view).digest())
        elif what == b"P":
            s.sendall(b"r")
            for _ in range(n):
                s.sendall(exactly(s, 1))
        s.recv(1)
    except (OSError, EOFError):
        pass
    finally:
        s.close()


def serve(addr, port):
    srv = socket.create_server((addr, port), backlog=256)
    print("serving", flush=True)
    while True:
        s, _ = srv.accept()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve_one, args=(s,), daemon=True).start()


# ---- the other end ----

class Stream:
    """One direction's bytes on a connection of their own: connected and prepared, then moved, then verified."""

    def __init__(self, addr, what, seed, n):
        self.what, self.seed, self.n = what, seed, n
        self.s = socket.create_connection(addr, timeout=60)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.s.sendall(HEAD.pack(what, seed, n))
        self.data = content(seed, n)
        self.view = room(n) if what == b"D" else None
        exactly(self.s, 1)

    def move(self):
        if self.what == b"D":
            self.s.sendall(b"g")
            receive(self.s, self.view)
        else:
            self.s.sendall(self.data)
            exactly(self.s, 1)

    def verify(self):
        got = hashlib.sha256(self.view).digest() if self.what == b"D" else exactly(self.s, 32)
        self.s.close()
        if got != hashlib.sha256(self.data).digest():
            raise ValueError("other bytes arrived")


def move_all(streams):
    wrong = []

    def one(st):
        try:
            st.move()
        except (OSError, EOFError) as e:
            wrong.append(e)

    threads = [threading.Thread(target=one, args=(st,)) for st in streams]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        raise wrong[0]


def process_cpu(pid):
    """Seconds of a process on a CPU, all its threads; and in user and kernel space, as exact as the clock tick."""
    total = time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3): the scheduler's count, with threads that ended
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return [total, int(v[11]) / TICK, int(v[12]) / TICK]


def machine_cpu():
    """Seconds that all CPUs spent on anything, and of these the ones in softirq as the kernel counts it."""
    with open("/proc/stat") as f:
        v = [int(x) / TICK for x in f.readline().split()[1:9]]
    return [sum(v) - v[3] - v[4], v[6]]


def ksoftirqd():
    """Seconds of the kernel's softirq threads: network work that no process was charged for."""
    total = 0.0
    for d in os.listdir("/proc"):
        if not d.isdigit():
            continue
        try:
            with open("/proc/%s/comm" % d) as f:
                if f.read().startswith("ksoftirqd/"):
                    total += process_cpu(int(d))[0]
        except OSError:
            pass
    return [total]


def usage(pids):
    v = {name: process_cpu(pid) for name, pid in pids.items()}
    v.update(load=process_cpu(os.getpid()), machine=machine_cpu(), ksoftirqd=ksoftirqd())
    return v


def go(addr, direction, count, total, pids):
    kinds = {"down": [b"D"], "up": [b"U"], "both": [b"D", b"U"]}[direction]
    seeds = range(1, count * len(kinds) + 1)
    each = total // len(seeds)
    for k in kinds:
        st = Stream(addr, k, 0, WARM)
        st.move()
        st.verify()
    streams = [Stream(addr, kinds[i % len(kinds)], i, each) for i in seeds]
    before, begin = usage(pids), time.monotonic()
    move_all(streams)
    seconds, after = time.monotonic() - begin, usage(pids)
    for st in streams:
        st.verify()
    return {"bytes": each * len(seeds), "seconds": seconds,
            "cpu": {k: [b - a for a, b in zip(before[k], after[k])] for k in after}}


def ping(addr, count):
    st = Stream(addr, b"P", 0, count)
    times = []
    for _ in range(count):
        begin = time.monotonic()
        st.s.sendall(b"p")
        exactly(st.s, 1)
        times.append(time.monotonic() - begin)
    return {"rtt": times}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("mode", choices=["serve", "go", "ping"])
    p.add_argument("addr")
    p.add_argument("port", type=int)
    p.add_argument("rest", nargs="*")
    p.add_argument("--pid", action="append", default=[], metavar="NAME=PID")
    o = p.parse_args()
    if o.mode == "serve":
        serve(o.addr, o.port)
    try:
        if o.mode == "ping":
            v = ping((o.addr, o.port), int(o.rest[0]))
        else:
            pids = {k: int(v) for k, v in (x.split("=") for x in o.pid)}
            v = go((o.addr, o.port), o.rest[0], int(o.rest[1]), int(o.rest[2]), pids)
    except (OSError, EOFError, ValueError) as e:
        print("%s: %s" % (type(e).__name__, e))
        sys.exit(1)
    print(json.dumps(v))


if __name__ == "__main__":
    main()
