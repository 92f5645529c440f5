#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every way in which an application or a target may end a connection, told apart by who sees it.

  ends.py early PORT BYTES         a target: answers BYTES when the request has begun to arrive, and closes with it unread,
                                   so that its kernel sends a reset behind the answer
  ends.py abort PORT BYTES         a target: reads the request, answers BYTES, and resets when they are acknowledged
  ends.py endless PORT             a target: answers without end
  ends.py give PORT BYTES          a target: reads a short request, answers BYTES, closes when they are acknowledged, and
                                   tells that they were given
  ends.py sink PORT [WAIT]         a target: waits WAIT seconds, reads to the end, and tells what came and how it ended
  ends.py hang PORT                a target: accepts and never reads
  ends.py get PORT REQUEST COUNT [WAIT]  COUNT applications, one after another: send REQUEST bytes, wait WAIT
                                   seconds, read to the end, and tell what came and how it ended
  ends.py many PORT REQUEST COUNT WAIT  COUNT applications at once, which all read nothing for WAIT seconds
  ends.py push PORT BYTES COUNT    COUNT applications at once: send BYTES, as far as they can, and stay
  ends.py put PORT BYTES COUNT     COUNT applications: send BYTES and reset
  ends.py send PORT BYTES          sends BYTES and closes; tells when it is through

Bytes are a pattern: what came is told as "COUNT eof|reset good|BAD".
"""
import hashlib
import select
import socket
import struct
import sys
import threading
import time

LINGER0 = struct.pack("ii", 1, 0)
PERIOD = hashlib.sha256(b"ends").digest() * 2048  # 64 KiB


def pattern(at, n):
    out = bytearray()
    while n:
        off = at % len(PERIOD)
        part = PERIOD[off:off + n]
        out += part
        at += len(part)
        n -= len(part)
    return bytes(out)


def send(s, n):
    at = 0
    while at < n:
        k = min(n - at, 65536)
        s.sendall(pattern(at, k))
        at += k


def drain(s):
    """Reads to the end; (bytes, how it ended, whether they are the pattern's)."""
    at, good = 0, True
    try:
        while True:
            c = s.recv(65536)
            if not c:
                return at, "eof", good
            good = good and c == pattern(at, len(c))
            at += len(c)
    except ConnectionError:
        return at, "reset", good


def tell(s):
    n, how, good = drain(s)
    print("%d %s %s\n" % (n, how, "good" if good else "BAD"), end="", flush=True)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER0)
    s.close()


def unacknowledged(s):
    import fcntl
    return struct.unpack("i", fcntl.ioctl(s, 0x5411, b"\0\0\0\0"))[0]  # SIOCOUTQ


def serve(port, fn):
    ls = socket.socket()
    ls.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ls.bind(("127.0.0.1", port))
    ls.listen(256)
    print("serving", flush=True)
    while True:
        threading.Thread(target=fn, args=(ls.accept()[0],), daemon=True).start()


def early(n):
    def one(s):
        select.select([s], [], [], 30)
        send(s, n)
        s.close()
    return one


def abort(n):
    def one(s):
        s.recv(1)
        send(s, n)
        acknowledged(s)
        reset(s)
    return one


def endless(s):
    at = 0
    try:
        while True:
            s.sendall(pattern(at, 65536))
            at += 65536
    except ConnectionError:
        pass


def acknowledged(s):
    end = time.monotonic() + 120
    while unacknowledged(s) and time.monotonic() < end:
        time.sleep(0.01)


def give(n):
    def one(s):
        s.recv(65536)
        send(s, n)
        acknowledged(s)
        s.close()
        print("given", flush=True)
    return one


def sink(wait):
    def one(s):
        time.sleep(wait)
        tell(s)
        s.close()
    return one


HUNG = []


def connect(port):
    return socket.create_connection(("127.0.0.1", port))


def get(port, request, count, wait=0.0):
    for _ in range(count):
        s = connect(port)
        try:
            send(s, request)
        except ConnectionError:
            pass
        time.sleep(wait)
        tell(s)
        s.close()


def many(port, request, count, wait):
    socks = [connect(port) for _ in range(count)]
    for s in socks:
        send(s, request)
    print("paused", flush=True)
    time.sleep(wait)
    readers = [threading.Thread(target=tell, args=(s,)) for s in socks]
    for r in readers:
        r.start()
    for r in readers:
        r.join()


def push(port, n, count):
    socks = [connect(port) for _ in range(count)]
    for s in socks:
        threading.Thread(target=send, args=(s, n), daemon=True).start()
    print("pushing", flush=True)
    time.sleep(600)


def put(port, n, count):
    for _ in range(count):
        s = connect(port)
        send(s, n)
        reset(s)
        time.sleep(0.05)


def main(what, port, *args):
    port, args = int(port), [float(a) if "." in a else int(a) for a in args]
    if what in ("early", "abort", "give"):
        serve(port, {"early": early, "abort": abort, "give": give}[what](*args))
    elif what == "endless":
        serve(port, endless)
    elif what == "sink":
        serve(port, sink(*args or (0,)))
    elif what == "hang":
        serve(port, HUNG.append)
    elif what == "get":
        get(port, *args)
    elif what in ("many", "push", "put"):
        {"many": many, "push": push, "put": put}[what](port, *args)
    elif what == "send":
        s = connect(port)
        send(s, args[0])
        s.close()
        print("sent", flush=True)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
