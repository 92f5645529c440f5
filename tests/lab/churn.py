#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Connections that come and go in every way, at a low rate, for a time.

  churn.py SECONDS SEED WHAT:PORT...

Each PORT has two that go on side by side, of which each does one of these after another, and rests in between:

  a verified exchange of up to 300,000 bytes each way; a burst of 12 short ones; an answer of which the reader takes the
  beginning, and leaves; a request cut off by a reset; a connection that says nothing. And, of ports that are `ours` (kcpgate
  at both ends), a reply behind a half-close; of those that are `held` (kcpgate before a stock server), one that comes late.

Every exchange must be whole and right. Tells "exchanges N others M" at the end; what went wrong, at once.
"""
import asyncio
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import load

ONE = 110  # seconds that an exchange may take
bad, done, other = [], 0, 0


async def whole(port, rnd, up, down, mode=b"B"):
    global done
    try:
        await asyncio.wait_for(load.exchange("127.0.0.1", port, rnd.randrange(1 << 30), up, down, mode), ONE)
        done += 1
    except Exception as e:
        bad.append(port)
        print("%.1f port %d: %d up, %d down, mode %s: %s: %s" % (time.monotonic() - BEGIN, port, up, down, mode.decode(),
                                                              type(e).__name__, e), flush=True)


async def opened(port, mode, rnd, up, down):
    r, w = await asyncio.open_connection("127.0.0.1", port)
    w.write(load.HEAD.pack(b"KG", mode, b"\0", rnd.randrange(1 << 30), up, down))
    return r, w


def reset(w):
    w.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    w.transport.abort()


async def leave(port, rnd):
    """Takes the first bytes of 2 MB, and goes: politely or not."""
    r, w = await opened(port, b"B", rnd, 10, 2 << 20)
    w.write(b"x" * 10)
    await asyncio.wait_for(r.read(20000), ONE)
    if rnd.randrange(2):
        reset(w)
    w.close()


async def cut(port, rnd):
    """A request of which the half is never sent."""
    _, w = await opened(port, b"B", rnd, 200000, 10)
    w.write(b"y" * rnd.randrange(100000))
    await w.drain()
    await asyncio.sleep(rnd.random())
    reset(w)


async def silent(port, rnd):
    _, w = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(2 * rnd.random())
    w.close()


async def step(port, what, rnd):
    global other
    dice = rnd.randrange(10)
    if dice < 4:
        await whole(port, rnd, rnd.randrange(300000), rnd.randrange(300000))
    elif dice < 5:
        await asyncio.gather(*[whole(port, rnd, rnd.randrange(3000), rnd.randrange(3000)) for _ in range(12)])
    elif dice < 6 and what in ("ours", "held"):
        await whole(port, rnd, rnd.randrange(100000), rnd.randrange(100000), b"H" if what == "ours" else b"L")
    else:
        try:
            await rnd.choice((leave, cut, silent))(port, rnd)
            other += 1
        except Exception as e:
            bad.append(port)
            print("%.1f port %d: %s: %s" % (time.monotonic() - BEGIN, port, type(e).__name__, e), flush=True)


async def worker(port, what, seed, end):
    rnd = random.Random(seed)
    while time.monotonic() < end:
        await step(port, what, rnd)
        await asyncio.sleep(1.5 * rnd.random())


async def main(seconds, seed, ports):
    end = time.monotonic() + seconds
    await asyncio.gather(*[worker(int(port), what, "%d.%s.%d" % (seed, port, i), end)
                           for what, port in (p.split(":") for p in ports) for i in range(2)])


if __name__ == "__main__":
    BEGIN = time.monotonic()
    asyncio.run(main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
    print("exchanges %d others %d" % (done, other), flush=True)
    sys.exit(1 if bad or not done else 0)
