#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Transfers that are cut off by somebody else, and what either end of each has seen.

  xfer.py serve PORT [linger]      a target; linger: when it is killed its kernel sends resets, not FINs
  xfer.py run PORT COUNT BYTES     COUNT applications that receive BYTES, and COUNT that send them, all at once; says
                                   "flowing" when every one of them has moved 50,000

Who receives tells "TRANSFER WAY got COUNT of BYTES END good|BAD": END is `eof` or `error` (and who has all waits for it no
longer: `whole`). Who sends tells "TRANSFER WAY sent COUNT of BYTES END": `whole` when the other has confirmed all of it.
"""
import os
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ends import LINGER0, pattern

HEAD = struct.Struct("<IcQ")  # number, way, bytes
FLOWS = 50000
PART = 32768


def say(*words):
    print(" ".join(str(w) for w in words) + "\n", end="", flush=True)


class Flow:
    """Counts those that move."""
    left, lock = 0, threading.Lock()

    def __init__(self):
        self.n = 0

    def moved(self, n):
        before, self.n = self.n, self.n + n
        if before < FLOWS <= self.n:
            with Flow.lock:
                Flow.left -= 1
                if Flow.left == 0:
                    say("flowing")


def receive(s, i, way, size, flow):
    """All of it, and a confirmation, which is its number; and then the other's end."""
    got, good, how = 0, True, "eof"
    try:
        while got < size:
            c = s.recv(min(PART, size - got))
            if not c:
                break
            good = good and c == pattern(got + 1000 * i, len(c))
            got += len(c)
            flow.moved(len(c))
        if got == size:
            s.sendall(struct.pack("<I", i))
            how = "whole"
            s.recv(1)
    except OSError:
        how = how if how == "whole" else "error"
    say(i, way, "got", got, "of", size, how, "good" if good else "BAD")


def send(s, i, way, size, flow):
    at, how = 0, "eof"
    try:
        while at < size:
            c = pattern(at + 1000 * i, min(PART, size - at))
            s.sendall(c)
            at += len(c)
            flow.moved(len(c))
        if s.recv(4) == struct.pack("<I", i):
            how = "whole"
    except OSError:
        how = "error"
    say(i, way, "sent", at, "of", size, how)


def exactly(s, n):
    out = b""
    while len(out) < n:
        c = s.recv(n - len(out))
        if not c:
            raise EOFError
        out += c
    return out


def target(s):
    with s:
        try:
            i, way, size = HEAD.unpack(exactly(s, HEAD.size))
        except (OSError, EOFError):
            return
        (receive if way == b"U" else send)(s, i, way.decode(), size, Flow())


def application(port, i, way, size):
    try:
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(HEAD.pack(i, way, size))
            (receive if way == b"D" else send)(s, i, way.decode(), size, Flow())
    except OSError:
        say(i, way.decode(), "sent 0 of", size, "error")


def serve(port, linger):
    ls = socket.socket()
    ls.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if linger:
        ls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER0)  # which connections inherit
    ls.bind(("127.0.0.1", port))
    ls.listen(512)
    say("serving")
    while True:
        threading.Thread(target=target, args=(ls.accept()[0],), daemon=True).start()


def run(port, count, size):
    Flow.left = 2 * count
    ts = [threading.Thread(target=application, args=(port, i, b"U" if i % 2 else b"D", size)) for i in range(2 * count)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    say("over")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), "linger" in sys.argv[3:])
    else:
        run(*[int(a) for a in sys.argv[2:5]])
