#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The first inputs of the corpora, from tests/vectors, tests/conf and what is written down here.

seeds.py FOLDER [TARGET...]    writes FOLDER/TARGET/seed-*; the same each time
"""
import json
import os
import random
import struct
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VECTORS = os.path.join(TESTS, "vectors")
CIPHERS = ["aes", "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish", "twofish", "cast5", "3des", "tea", "xtea",
           "xor", "sm4", "none", "null"]


def vectors(name):
    with open(os.path.join(VECTORS, name + ".json")) as f:
        return json.load(f)


def u16(v):
    return struct.pack("<H", v & 0xffff)


def u32(v):
    return struct.pack("<I", v & 0xffffffff)


def be16(v):
    return struct.pack(">H", v & 0xffff)


def csum(b):
    b += b"\0" * (len(b) & 1)
    s = sum(struct.unpack(">%dH" % (len(b) // 2), b))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return s ^ 0xffff


# ---- frames ----

US4, PEER4 = bytes([192, 0, 2, 1]), bytes([203, 0, 113, 9])
US6 = bytes.fromhex("20010db8000000000000000000000001")
PEER6 = bytes.fromhex("20010db8000500000000000000000009")
MACS = bytes.fromhex("020000000001" "020000000009")


def ip4(proto, body, frag=0, options=b""):
    head = struct.pack(">BBHHHBBH", 0x40 | (20 + len(options)) // 4, 0, 20 + len(options) + len(body), 7, frag, 57, proto, 0)
    head += PEER4 + US4 + options
    return head[:10] + be16(csum(head)) + head[12:] + body


def ip6(proto, body):
    return struct.pack(">IHBB", 6 << 28, len(body), proto, 57) + PEER6 + US6 + body


def eth(ip, tag=b""):
    return MACS + tag + (b"\x08\x00" if ip[0] >> 4 == 4 else b"\x86\xdd") + ip


def udp(payload, port=4000):
    return struct.pack(">HHHH", 1234, port, 8 + len(payload), 0xbeef) + payload


def tcp(flags, payload=b"", options=b""):
    return struct.pack(">HHIIBBHHH", 1234, 4000, 1000, 2000, (20 + len(options)) // 4 << 4, flags, 65535, 0, 0) + options + payload


def too_big4(sport=4000, proto=17, src=US4):
    q = struct.pack(">BBHHHBBH", 0x45, 0, 1400, 0x1234, 0x4000, 60, proto, 0) + src + PEER4 + struct.pack(">HHHH", sport, 1234, 1380, 0)
    m = struct.pack(">BBHHH", 3, 4, 0, 0, 1280) + q
    return m[:2] + be16(csum(m)) + m[4:]


def too_big6(frag=False):
    ports = struct.pack(">HHHH", 4000, 1234, 1380, 0)
    inner = (struct.pack(">BBHI", 17, 0, 1, 77) if frag else b"") + ports
    q = struct.pack(">IHBB", 6 << 28 | 0x54321, 1388, 44 if frag else 17, 60) + US6 + PEER6 + inner
    m = struct.pack(">BBHI", 2, 0, 0, 1280) + q
    pseudo = PEER6 + US6 + struct.pack(">II", len(m), 58)
    return m[:2] + be16(csum(pseudo + m)) + m[4:]


def net():
    body = bytes(range(60))
    tag = b"\x81\x00\x00\x07"
    exts = struct.pack(">BBHI", 60, 0, 0, 0) + struct.pack(">BBHI", 17, 0, 0, 0)
    frames = [eth(ip4(17, udp(body))), eth(ip6(17, udp(body))), eth(ip4(17, udp(body), options=b"\1\1\1\0")),
              eth(ip6(0, exts + udp(body))), eth(ip4(6, tcp(24, body))), eth(ip6(6, tcp(24, body))),
              eth(ip4(6, tcp(2, b"", bytes.fromhex("020405b401030307")))), eth(ip6(6, tcp(18))), eth(ip4(17, udp(body), 0x2000)),
              eth(ip6(44, struct.pack(">BBHI", 17, 0, 1, 9) + udp(body))), eth(ip4(1, too_big4())), eth(ip6(58, too_big6())),
              eth(ip4(17, udp(body)), tag), eth(ip6(17, udp(body)), tag), MACS + b"\x08\x06" + bytes(28),
              eth(ip4(17, udp(body))) + bytes(18)]
    for dev in (0, 3, 4):
        for f in frames:
            yield bytes([dev, 0]) + f


def icmp():
    yield b"\0" + too_big4()
    yield b"\0" + too_big4(proto=6)
    yield b"\2" + too_big4(5000)
    yield b"\0" + too_big4(src=PEER4)
    yield b"\1" + too_big6()
    yield b"\1" + too_big6(True)
    yield b"\7" + too_big6()[:60]


def tcp_():
    out = b""
    for op, seg in ((0, tcp(2, b"", bytes.fromhex("020405b401030307"))), (8, tcp(24, b"hello")), (12, tcp(24, b"again")),
                    (9, tcp(18)), (0, tcp(4)), (8, tcp(16, b"x"))):
        out += bytes([op, len(seg)]) + seg
    yield b"\0" + out
    yield b"\1" + out


def frag():
    for v6 in (0, 1):
        for order in ((0, 50, 100), (100, 0, 50), (50, 100, 0), (0, 0, 50, 100), (0, 40, 90, 100)):
            for which in (0, 1, 3):
                out = b""
                for at in order:
                    more = at < 100 and 8 + 600 * (which + 1) > at * 8 + 400
                    out += bytes([v6 | which << 1 | (8 if more else 0), at, 50])
                yield out
    yield bytes([32 | 8, 0, 50, 200]) + bytes([40, 50, 50, 130])
    yield bytes([16, 60]) + ip4(17, udp(bytes(40)), 0x2000)[:60] + bytes([17, 80]) + ip6(44, struct.pack(">BBHI", 17, 0, 1, 9) + bytes(40))[:80]


# ---- the rooms ----

def crypt():
    for i, name in enumerate(CIPHERS):
        got = b""
        for v in vectors("cipher_" + name)["vectors"][:7]:
            wire = bytes.fromhex(v["wire"])
            if len(wire) < 400:
                got += bytes([i, 1]) + u16(len(wire)) + bytes(16) + wire
                got += bytes([i, 0]) + u16(len(wire)) + bytes.fromhex(v["nonce"].ljust(32, "0"))[:16] + wire
        yield got
    rnd = random.Random(1)
    for n in (5, 17, 37):
        yield b"".join(bytes([rnd.randrange(15), rnd.choice((0, 0, 2, 1))]) + u16(rnd.choice((0, 1, 15, 16, 17, 63, 64, 65, 300, 1350, 1500)))
                       + bytes(rnd.randrange(256) for _ in range(16)) for _ in range(n))


def whole(packet):
    return bytes([32 | 3]) + packet[:4] + u16(len(packet)) + packet


def fec():
    shapes = [(0, 0), (1, 1), (2, 1), (3, 2), (10, 3), (4, 4), (20, 10), (128, 127), (1, 8)]
    for case in vectors("fec")["cases"]:
        shape = (case["data_shards"], case["parity_shards"])
        packets = []
        for e in case["encode"]:
            packets += [bytes.fromhex(e["data_packet"])] + [bytes.fromhex(p) for p in e.get("parity_packets", [])]
        if shape not in shapes or sum(map(len, packets)) > 12000:
            continue
        for i, flags in ((shapes.index(shape), 3), (0, 1), (4, 0)):
            yield bytes([i, flags]) + b"".join(whole(p) for k, p in enumerate(packets) if k % 4 != 1)
            yield bytes([i, flags]) + b"".join(whole(p) for p in packets)


def fec_code():
    rnd = random.Random(2)
    for ds, ps in ((1, 1), (2, 1), (3, 2), (10, 3), (20, 10), (5, 5), (24, 12)):
        order = list(range(ds + ps))
        rnd.shuffle(order)
        yield bytes([ds - 1, 2 * (ps - 1) + (ds & 1)]) + b"".join(u16(rnd.choice((0, 1, 24, 63, 64, 500, 1342))) for _ in range(ds)) + b"\x55" + bytes(order)


def kcp_steps(raw, flush, tick, send):
    for s in vectors("kcp")["scenarios"]:
        out, clock = b"", s["steps"][0]["clock_ms"]
        for step in s["steps"]:
            if step["clock_ms"] > clock:
                out += tick(step["clock_ms"] - clock)
                clock = step["clock_ms"]
            data = bytes.fromhex(step.get("data") or "")
            if step["op"] == "send":
                out += send(len(data))
            elif step["op"].startswith("flush"):
                out += flush(step["op"] == "flush_ackonly")
            elif step["op"] == "input" and len(data) < 256:
                out += raw(data)
        if len(out) < 3000:
            yield s["config"], out


def kcp():
    for c, steps in kcp_steps(lambda d: bytes([5, len(d)]) + d, lambda acks: bytes([12 if acks else 10, 20]),
                              lambda ms: bytes([7]) + u16(ms), lambda n: bytes([8]) + u16(n - 1)):
        for auto in (0, 1):
            yield bytes([3 | 4 << 2 | 4 << 5, auto | 8 * c["nc"] | 32, 0]) + steps
    # Segments as a peer makes them, lost, late and again: step 0 of kcp_fuzz.c.
    rnd = random.Random(3)
    for i in range(12):
        out = bytes([rnd.randrange(256), rnd.randrange(256), rnd.randrange(16)])
        for _ in range(60):
            out += rnd.choice((lambda: bytes([0x20, 0, 0, 0, 1, 0, 2]), lambda: bytes([0x10, 1, 0, 1, 1]), lambda: bytes([8]) + u16(3000),
                               lambda: bytes([10, 20]), lambda: bytes([7]) + u16(rnd.randrange(60)), lambda: bytes([0, 8, 3, 0]),
                               lambda: bytes([13, 3, 15]) + u16(rnd.randrange(65536)), lambda: bytes([14 | rnd.choice((0, 16))])))()
        yield out


def kcp_ref():
    for c, steps in kcp_steps(lambda d: bytes([7, len(d)]) + d, lambda acks: bytes([5 | 31 << 3]),
                              lambda ms: bytes([3, min(ms, 250)]), lambda n: bytes([4]) + u16(n - 1)):
        yield bytes([3 | 3 << 2 | 3 << 4, c["nodelay"] | 2 * c["nc"], 0]) + steps
    rnd = random.Random(4)
    for i in range(12):
        out = bytes([rnd.randrange(256), rnd.randrange(32), rnd.randrange(4)])
        for _ in range(60):
            out += rnd.choice((lambda: bytes([0x10, 0, rnd.randrange(3), 20, 0, rnd.randrange(4), 9]), lambda: bytes([0x10, 1, 0, 1, 1]),
                               lambda: bytes([4]) + u16(3000), lambda: bytes([5]), lambda: bytes([3, rnd.randrange(60)]),
                               lambda: bytes([0, 8, rnd.randrange(4), 0]), lambda: bytes([6 | 4 << 3])))()
        yield out


def snappy():
    v = vectors("snappy")
    for s in v["compress_stream"]:
        if "(omitted)" in str(s.get("underlying_writes", "(omitted)")):
            continue
        wire = bytes.fromhex("".join(s["underlying_writes"]))
        if len(wire) < 3000:
            yield b"\0\0" + bytes.fromhex(v["stream_identifier"] if isinstance(v["stream_identifier"], str) else "ff060000734e61507059") + wire
            yield b"\0\x03" + wire
            yield b"\1\x04" + bytes.fromhex(s.get("input", ""))
    for r in v["reader"]:
        if len(r["In"]) < 4000:
            yield b"\0\0" + bytes.fromhex(r["In"])
            yield b"\0\1" + bytes.fromhex(r["In"])


def smux():
    v = vectors("smux")
    for name, conf in (("v1_session", 0), ("v2_session", 1)):
        for side in ("c2s", "s2c"):
            out = bytes([conf | (2 if side == "s2c" else 0) | 8 | 64])
            frames = v[name]["frames"] if isinstance(v[name], dict) and "frames" in v[name] else v[name]
            for f in frames if isinstance(frames, list) else []:
                data = bytes.fromhex(f.get("hex") or f.get("frame") or f.get("data") or "") if f.get("dir") == side else b""
                if side == "s2c":
                    out += bytes([6])
                for at in range(0, min(len(data), 2000), 255):
                    out += bytes([5, len(data[at:at + 255])]) + data[at:at + 255] + bytes([0x17])
            yield out
    rnd = random.Random(5)
    for i in range(16):
        out = bytes([rnd.randrange(256)])
        for _ in range(80):
            op = rnd.randrange(12)
            out += (bytes([rnd.choice((0, 0x10, 0x20, 0x20, 0x30, 0x40, 0xb0)), rnd.randrange(1, 9)]) + (u16(rnd.randrange(3000))) if op < 6 else
                    bytes([6]) if op == 6 else bytes([0x37]) if op < 9 else bytes([9 | rnd.choice((0, 16))]) if op == 9 else
                    bytes([10 | rnd.randrange(8) << 4, rnd.randrange(6)]) + u16(rnd.randrange(5000)))
        yield out


def qpp():
    yield bytes([0, 0]) + bytes(200)
    yield bytes([1, 3]) + u16(1) + u16(7) + u16(8) + bytes(range(256))
    yield bytes([2, 4]) + u16(3) + u16(64) + u16(100) + u16(1) + bytes(range(256)) * 2
    yield bytes([3, 2]) + u16(9) + u16(255) + bytes(range(256)) * 4


def conf():
    for folder in (os.path.join(TESTS, "conf"), os.path.join(os.path.dirname(TESTS), "conf")):
        for f in sorted(os.listdir(folder)):
            path = os.path.join(folder, f)
            if os.path.isfile(path) and os.path.getsize(path) < 6000:
                with open(path, "rb") as file:
                    yield file.read()


def json_():
    server = {"listen": ":29900", "target": "127.0.0.1:12948", "key": "test", "crypt": "aes", "mode": "fast", "mtu": 1350,
              "sndwnd": 1024, "rcvwnd": 1024, "datashard": 10, "parityshard": 3, "nocomp": False, "smuxver": 2, "quiet": True}
    client = {"localaddr": ":12948", "remoteaddr": "203.0.113.4:29900-29910", "key": "\u00e9", "crypt": "salsa20", "mode": "manual",
              "nodelay": 1, "interval": 20, "resend": 2, "nc": 1, "conn": 2, "autoexpire": 60, "scavengettl": 600, "tcp": True,
              "QPP": True, "QPPCount": 61, "snmplog": "./snmp-20060102.log", "snmpperiod": 60, "dscp": 46, "ratelimit": 1000}
    for role in range(3):
        for c in (server, client):
            yield bytes([role]) + json.dumps(c).encode()
    folder = os.path.join(TESTS, "conf", "json")
    for f in sorted(os.listdir(folder)):
        with open(os.path.join(folder, f), "rb") as file:
            yield b"\2" + file.read()


def args():
    lines = ["-r 203.0.113.4:4000 -l :12948 --key abc --crypt aes-128 --mode fast3 --conn 3 --nocomp",
             "--remoteaddr [2001:db8::1]:4000-4010 --mtu 1400 --datashard 0 --parityshard 0 --smuxver 2 --QPP --QPPCount 61",
             "-c @", "--help", "-v", "--tcp --dscp 46 --autoexpire 900 --ratelimit 100000 --interface eth1 --congestion auto --bandwidth 100mbit"]
    for line in lines:
        for role in (0, 2, 4):
            yield bytes([role]) + line.replace(" ", "\n").encode() + b"\n\n" + json.dumps({"remoteaddr": "1.2.3.4:5"}).encode()
    for line in ("-l :4000 -t 127.0.0.1:80 --key abc --crypt none --mode manual --nodelay 1 --interval 10 --resend 2 --nc 1",
                 "-t /run/x.sock --closewait 30 --snmplog ./a-20060102.log --snmpperiod 10 --sockbuf 4194304 --smuxbuf 8388608 --keepalive 10"):
        yield b"\1" + line.replace(" ", "\n").encode() + b"\n\n"


def telemetry():
    for t in ("hk", "sg-1,3", ",7", "nobody", "hk,18446744073709551616"):
        yield b"\0" + t.encode()
        yield b"\1" + t.encode()
    for t in ("tunnel=hk,peer=192.0.2.1:4000,count=10", "peer=[2001:db8::1]:80,session=3,session=4,seconds=5,snaplen=128,plaintext",
              "plaintext=yes", "peer=2001:db8::1,snaplen=70000", "count", "tunnel=", ",,"):
        yield b"\2" + t.encode()


def gotime():
    for t in ("./snmp-20060102.log", "Mon Jan _2 15:04:05.000000 MST 2006 -07:00 Z0700", "002 PM pm 03 3 04 4 05 5 .999 ,000", "January Monday 1 2 06"):
        yield u32(107000000) + u16(3600) + b"\xff" + t.encode()
        yield u32(1) + u16(0xf001) + b"\x09" + t.encode()


def attr(kind, data):
    return u16(4 + len(data)) + u16(kind) + data + bytes(-len(data) % 4)


def netlink():
    def msg(kind, body, flags=0):
        return bytes([kind, flags]) + u16(len(body)) + body

    link = [msg(0, struct.pack("<BBHiII", 0, 0, 1, i, 0x11043, 0) + attr(3, b"eth%d\0" % i) + attr(1, bytes([2, 0, 0, 0, 0, i])) +
                attr(4, u32(1500)) + attr(18, attr(1, b"vrf\0")) + attr(26, attr(10, attr(2, bytes(200))))) for i in (2, 3)]
    addr = [msg(1, struct.pack("<BBBBI", 2, 24, 0, 0, 2) + attr(2, US4) + attr(1, US4) + attr(8, u32(128))),
            msg(1, struct.pack("<BBBBI", 10, 64, 0, 0, 3) + attr(1, US6) + attr(8, u32(0x80)))]
    neigh = [msg(2, struct.pack("<BBHiHBB", 2, 0, 0, 2, 2, 0, 1) + attr(1, PEER4) + attr(2, bytes([2, 0, 0, 0, 0, 9]))),
             msg(2, struct.pack("<BBHiHBB", 10, 0, 0, 3, 4, 0, 1) + attr(1, PEER6) + attr(2, bytes([2, 0, 0, 0, 0, 8])))]
    rule = [msg(3, struct.pack("<BBBBBBBBI", 2, 0, 24, 0, 100, 0, 0, 1, 0) + attr(2, US4) + attr(6, u32(1000)) + attr(3, b"eth0\0"))]
    route = [msg(k, struct.pack("<BBBBBBBBI", 2, plen, 0, 0, 254, 3, 0, 1, 0) + (attr(1, bytes([10, plen, 0, 0])) if plen else b"") +
                 attr(4, u32(2)) + attr(5, PEER4) + attr(6, u32(metric)), flags)
             for k, plen, metric, flags in ((4, 0, 0, 0), (4, 24, 5, 0), (4, 24, 5, 1), (4, 24, 5, 2), (5, 24, 5, 0), (4, 16, 1, 0))]
    hop = struct.pack("<HBBi", 16, 0, 1, 2) + attr(5, PEER4) + struct.pack("<HBBi", 16, 0, 2, 3) + attr(5, PEER4)
    multi = [msg(4, struct.pack("<BBBBBBBBI", 2, 8, 0, 0, 254, 3, 0, 1, 0) + attr(1, bytes([10, 0, 0, 0])) + attr(9, hop)),
             msg(4, struct.pack("<BBBBBBBBI", 10, 32, 0, 0, 254, 3, 0, 1, 0) + attr(1, US6) + attr(4, u32(3)) + attr(5, PEER6))]
    everything = link + addr + neigh + rule + route + multi
    yield b"".join(everything)
    for m in everything:
        yield m


def session():
    rnd = random.Random(6)
    for i in range(40):
        out = bytes([rnd.randrange(256), rnd.randrange(256) & 0x6f, (i % 4 == 3) | rnd.choice((0, 2, 4, 16)) * (i % 3 == 0)])
        for _ in range(30):
            out += rnd.choice((lambda: bytes([rnd.choice((0, 16))]) + u16(rnd.randrange(20000)) + u16(rnd.randrange(20000)),
                               lambda: bytes([2, rnd.randrange(256)]), lambda: bytes([6, rnd.randrange(40)]),
                               lambda: bytes([8 | rnd.randrange(16) << 4, rnd.randrange(12)]) + u16(rnd.randrange(9000)),
                               lambda: bytes([12 | 32, 0x14, 5, 0x50, 5, 0]), lambda: bytes(rnd.choice((0, 0, 0, 6, 7, 8, 12, 13)) for _ in range(20))))()
        yield out


TARGETS = {"net": net, "icmp": icmp, "tcp": tcp_, "frag": frag, "crypt": crypt, "fec": fec, "fec_code": fec_code, "kcp": kcp,
           "kcp_ref": kcp_ref, "snappy": snappy, "smux": smux, "qpp": qpp, "conf": conf, "json": json_, "args": args,
           "telemetry": telemetry, "gotime": gotime, "netlink": netlink, "session": session}


def main(folder, *names):
    for name in names or TARGETS:
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        for i, data in enumerate(TARGETS[name]()):
            with open(os.path.join(folder, name, "seed-%03d" % i), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
