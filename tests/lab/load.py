#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Traffic that verifies itself, for a path of which only the two TCP ends are known.

  load.py serve ADDR PORT [--stop-reading PORT2]   a target: answers every connection by the request at its start
  load.py big  ADDR PORT BYTES [--seed N]          one stream, BYTES up and BYTES down at once, both hashed
  load.py small ADDR PORT COUNT [--at-once N]      COUNT short request/response streams
  load.py half ADDR PORT BYTES                     request, shutdown(SHUT_WR), then a reply of BYTES in full
  load.py late ADDR PORT BYTES                     the same, but the target answers the request and not the EOF
  load.py fair ADDR PORT STREAMS BYTES             STREAMS streams at once; the slowest beside the median
  load.py fresh ADDR PORT COUNT UP DOWN            COUNT exchanges, each of which waits for the connection before it to
                                                   be over; says which of them went wrong, and how
  load.py steady ADDR PORT SECONDS CONNS BYTES     CONNS at once, one short verified exchange after another, for SECONDS

A request: "KG", mode, padding (4 bytes), seed (4), bytes up (8), bytes down (8). The answer to mode B: bytes down while
bytes up arrive, then the SHA-256 of what arrived. Mode H: the target waits for EOF before it answers. Mode L: it answers
half a second after the last byte, when the EOF has been on its way for long; a stock path cannot bring it.
"""
import argparse
import asyncio
import hashlib
import random
import struct
import sys
import time

HEAD = struct.Struct("<2sccIQQ")
CHUNK = 65536


def pattern(seed, n):
    """n bytes by seed, half of them compressible, in chunks."""
    rnd = random.Random(seed)
    noise = rnd.randbytes(CHUNK)
    text = (b"the quick brown fox %08d jumps over the lazy dog\n" % seed) * (CHUNK // 40)
    turn = 0
    while n:
        k = min(n, CHUNK)
        if turn % 2:
            yield text[:k]
        else:
            off = rnd.randrange(CHUNK)
            yield (noise[off:] + noise[:off])[:k]
        turn += 1
        n -= k


def digest(seed, n):
    h = hashlib.sha256()
    for c in pattern(seed, n):
        h.update(c)
    return h.digest()


async def send(w, seed, n):
    for c in pattern(seed, n):
        w.write(c)
        await w.drain()


async def receive(r, n):
    h = hashlib.sha256()
    while n:
        c = await r.read(min(n, 262144))
        if not c:
            raise EOFError("%d bytes short" % n)
        h.update(c)
        n -= len(c)
    return h.digest()


async def serve_one(r, w):
    try:
        magic, mode, _, seed, up, down = HEAD.unpack(await r.readexactly(HEAD.size))
        if magic != b"KG":
            return
        if mode == b"B":
            got, _ = await asyncio.gather(receive(r, up), send(w, seed ^ 0x5a5a5a5a, down))
            w.write(got)
            await w.drain()
            await r.read(1)
        elif mode == b"H":
            rest = await r.read(-1)
            w.write(hashlib.sha256(rest).digest())
            await send(w, seed ^ 0x5a5a5a5a, down)
        elif mode == b"L":
            got = await receive(r, up)
            await asyncio.sleep(0.5)
            w.write(got)
            await send(w, seed ^ 0x5a5a5a5a, down)
        elif mode == b"S":  # stops reading for good
            await asyncio.sleep(3600)
    except (asyncio.IncompleteReadError, ConnectionError, EOFError):
        pass
    finally:
        w.close()


async def serve(addr, port):
    srv = await asyncio.start_server(serve_one, addr, port, limit=262144, backlog=1024)
    print("serving", flush=True)
    async with srv:
        await srv.serve_forever()


async def exchange(addr, port, seed, up, down, mode=b"B"):
    """One verified exchange; seconds that it took."""
    begin = time.monotonic()
    r, w = await asyncio.open_connection(addr, port, limit=262144)
    try:
        w.write(HEAD.pack(b"KG", mode, b"\0", seed, up, down))
        if mode in (b"H", b"L"):
            await send(w, seed, up)
            w.write_eof()
            if await r.readexactly(32) != digest(seed, up):
                raise ValueError("target received other bytes")
            if await receive(r, down) != digest(seed ^ 0x5a5a5a5a, down):
                raise ValueError("other bytes received")
            if await r.read(1):
                raise ValueError("bytes after the end")
        else:
            got, _ = await asyncio.gather(receive(r, down), send(w, seed, up))
            if got != digest(seed ^ 0x5a5a5a5a, down):
                raise ValueError("other bytes received")
            if await r.readexactly(32) != digest(seed, up):
                raise ValueError("target received other bytes")
    finally:
        w.close()
    return time.monotonic() - begin


async def small(addr, port, count, at_once):
    gate = asyncio.Semaphore(at_once)
    rnd = random.Random(count)

    async def one(i, up, down):
        async with gate:
            await exchange(addr, port, 1000 + i, up, down)

    await asyncio.gather(*[one(i, rnd.randrange(1, 3000), rnd.randrange(1, 3000)) for i in range(count)])


async def fair(addr, port, streams, n):
    times = await asyncio.gather(*[exchange(addr, port, i, 64, n) for i in range(streams)])
    times.sort()
    print("median %.3f slowest %.3f" % (times[len(times) // 2], times[-1]))


async def fresh(addr, port, count, up, down):
    bad = []
    for i in range(count):
        try:
            await asyncio.wait_for(exchange(addr, port, i + 1, up, down), 60)
        except (EOFError, ValueError, OSError, asyncio.TimeoutError) as e:
            bad.append("%d: %s: %s" % (i, type(e).__name__, e))
    if bad:
        raise ValueError("%d of %d: %s" % (len(bad), count, "; ".join(bad[:4])))


async def steady(addr, port, seconds, conns, n):
    end, done, longest = time.monotonic() + seconds, 0, 0.0

    async def one(i):
        nonlocal done, longest
        rnd = random.Random(i)
        while time.monotonic() < end:
            took = await exchange(addr, port, rnd.randrange(1 << 30), rnd.randrange(1, n), rnd.randrange(1, n))
            done, longest = done + 1, max(longest, took)
            await asyncio.sleep(rnd.random() / 2)

    await asyncio.gather(*[one(i) for i in range(conns)])
    print("exchanges %d longest %.3f" % (done, longest))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("mode", choices=["serve", "big", "small", "half", "late", "fair", "mixed", "fresh", "steady"])
    a.add_argument("addr")
    a.add_argument("port", type=int)
    a.add_argument("n", type=int, nargs="*")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--at-once", type=int, default=50)
    a.add_argument("--timeout", type=float, default=240)
    o = a.parse_args()

    async def job():
        if o.mode == "serve":
            await serve(o.addr, o.port)
        elif o.mode == "big":
            await exchange(o.addr, o.port, o.seed, o.n[0], o.n[0])
        elif o.mode == "small":
            await small(o.addr, o.port, o.n[0], o.at_once)
        elif o.mode == "mixed":  # both at once
            await asyncio.gather(exchange(o.addr, o.port, o.seed, o.n[0], o.n[0]),
                                 small(o.addr, o.port, o.n[1], o.at_once))
        elif o.mode in ("half", "late"):
            await exchange(o.addr, o.port, o.seed, 5000, o.n[0], o.mode[0].upper().encode())
        elif o.mode == "fair":
            await fair(o.addr, o.port, o.n[0], o.n[1])
        elif o.mode == "fresh":
            await fresh(o.addr, o.port, *o.n)
        elif o.mode == "steady":
            await steady(o.addr, o.port, *o.n)

    begin = time.monotonic()
    try:
        asyncio.run(asyncio.wait_for(job(), None if o.mode == "serve" else o.timeout))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as e:  # the caller wants one line
        print("%s: %s: %s" % (o.mode, type(e).__name__, e))
        sys.exit(1)
    print("ok %.2f s" % (time.monotonic() - begin))


if __name__ == "__main__":
    main()
