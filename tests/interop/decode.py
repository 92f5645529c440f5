# SPDX-License-Identifier: MIT
"""A decoder of kcptun's wire, down to the applications' bytes, that takes nothing on trust.

It was written from the description of the formats alone and shares no code with the gateway. Packets come as
(seconds, way, UDP payload) in order of time, way "c2s" or "s2c", all of one session. Whatever a decent sender does not do
is a WireError: a hole, a wrong checksum, parity that does not fit, an acknowledgement of what was never sent, a window
overrun, a frame after the FIN.
"""
import collections
import struct

import pure

PUSH, ACK, WASK, WINS = 81, 82, 83, 84
SYN, FIN, PSH, NOP, UPD = range(5)
WAYS = ("c2s", "s2c")
OTHER = {"c2s": "s2c", "s2c": "c2s"}
M32 = 0xffffffff


class WireError(Exception):
    pass


def need(ok, *what):
    if not ok:
        raise WireError(" ".join(str(w) for w in what))


class Shape:
    """What both ends were told on their command lines. window: of segments, by the end that receives."""

    def __init__(self, crypt="aes", key="it's a secrect", ds=10, ps=3, nocomp=False, smuxver=2, qpp=0, mtu=1350,
                 framesize=8192, generation=2026, ours=(), window=65535):
        self.crypt, self.key, self.ds, self.ps, self.nocomp, self.smuxver = crypt, key, ds, ps, nocomp, smuxver
        self.qpp, self.mtu, self.framesize, self.generation, self.window = qpp, mtu, framesize, generation, window
        self.ours = ours  # the ways in which kcpgate speaks, with its signals in NOP frames
        self.fec = ds > 0 and ps > 0


# ---- GF(256) and the code of a group

EXP, LOG = [0] * 510, [0] * 256
_x = 1
for _i in range(255):
    EXP[_i] = EXP[_i + 255] = _x
    LOG[_x] = _i
    _x = _x << 1 ^ (0x11d if _x & 0x80 else 0)


def gf_mul(a, b):
    return EXP[LOG[a] + LOG[b]] if a and b else 0


def gf_pow(a, n):
    return 1 if n == 0 else 0 if a == 0 else EXP[LOG[a] * n % 255]


def gf_invert(m):
    n = len(m)
    a = [list(row) + [int(i == j) for j in range(n)] for i, row in enumerate(m)]
    for c in range(n):
        p = next(r for r in range(c, n) if a[r][c])
        a[c], a[p] = a[p], a[c]
        s = EXP[255 - LOG[a[c][c]]]
        a[c] = [gf_mul(v, s) for v in a[c]]
        for r in range(n):
            if r != c and a[r][c]:
                f = a[r][c]
                a[r] = [v ^ gf_mul(f, w) for v, w in zip(a[r], a[c])]
    return [row[n:] for row in a]


def parity_rows(ds, ps):
    v = [[gf_pow(r, c) for c in range(ds)] for r in range(ds + ps)]
    top = gf_invert(v[:ds])
    rows = []
    for r in range(ds, ds + ps):
        row = [0] * ds
        for c in range(ds):
            for i in range(ds):
                row[c] ^= gf_mul(v[r][i], top[i][c])
        rows.append(row)
    return rows


TIMES = [bytes(gf_mul(c, v) for v in range(256)) for c in range(256)]


def parity_of(row, bodies):
    n = max(len(b) for b in bodies)
    out = bytes(n)
    for c, b in zip(row, bodies):
        out = pure.xor(out, b.ljust(n, b"\0").translate(TIMES[c]))
    return out


class Fec:
    """One direction's FEC headers: numbering, groups, and every parity computed anew."""

    def __init__(self, shape, way):
        self.shape, self.rows = shape, parity_rows(shape.ds, shape.ps)
        self.ours = way in shape.ours
        self.next, self.bodies, self.parities, self.when = 0, [], 0, []
        self.lone = self.ours and way == "s2c"  # a server of ours that does not know its client's shape yet
        self.early = False  # a client of ours that has not heard yet whether its peer sends FEC

    def packet(self, t, p):
        """The KCP datagram in it, or None for parity."""
        need(len(p) >= 8, "FEC packet of", len(p), "bytes")
        ds, ps = self.shape.ds, self.shape.ps
        seqid, kind = struct.unpack_from("<IH", p)
        if self.lone and seqid == ds + ps:
            self.lone, self.next = False, seqid  # the first group's place is that of packets in none
        if self.lone:
            need(seqid == 0 and kind == 0xf1, "type %x, seqid %d of a packet in no group" % (kind, seqid))
            need(struct.unpack_from("<H", p, 6)[0] == len(p) - 6, "size field of a packet in no group")
            return p[8:]
        if self.early and seqid == self.next + 1 and self.next & 1 and self.next % (ds + ps) >= ds == len(self.bodies):
            self.next += 1  # parity that a decoder of no shape would take for data
        if self.ours and self.next < seqid and len(self.bodies) == ds and seqid <= self.next + ps - self.parities:
            self.next = seqid  # parity that nothing waits for
        if seqid == self.next + ps and len(self.bodies) == ds and not self.parities:
            # Skipped, which a sender does only when the group's last two packets are half a second apart; a session of
            # ours also when it was quiet for seconds in the middle of one.
            gaps = [b - a for a, b in zip(self.when, self.when[1:])] or [1]
            need(((self.shape.generation == 2026 or self.ours) and gaps[-1] > 0.4) or (self.ours and max(gaps) > 1.8),
                 "parity missing before", seqid)
            self.next += ps
        need(seqid == self.next, "seqid", seqid, "expected", self.next)
        self.next += 1
        index = seqid % (ds + ps)
        need(kind == (0xf1 if index < ds else 0xf2), "type %x at index %d" % (kind, index))
        if index == 0:
            self.bodies, self.parities = [], 0
        if kind == 0xf2:
            need(len(self.bodies) == ds, "parity of", len(self.bodies), "packets")
            need(p[6:] == parity_of(self.rows[index - ds], self.bodies), "parity", seqid, "is not what the code gives")
            self.parities += 1
            return None
        self.when = (self.when + [t])[-ds - 1:]
        need(struct.unpack_from("<H", p, 6)[0] == len(p) - 6, "size field of", seqid)
        self.bodies.append(p[6:])
        return p[8:]


# ---- KCP

class Kcp:
    """Both directions of one conversation."""

    def __init__(self, shape):
        self.shape, self.conv = shape, None
        self.data = {w: {} for w in WAYS}  # sn: bytes
        self.stamps = {w: collections.defaultdict(set) for w in WAYS}  # sn: every ts that it was sent with
        self.una = dict.fromkeys(WAYS, 0)  # what the sender of that way expects next
        self.wnd = dict.fromkeys(WAYS, 32)
        self.count = collections.Counter()

    def datagram(self, way, p):
        head = 8 if self.shape.fec else 0
        limit = self.shape.mtu - pure.overhead(self.shape.crypt) - head
        need(24 <= len(p) <= limit, "KCP datagram of", len(p), "bytes; limit", limit)
        while p:
            need(len(p) >= 24, len(p), "bytes left over")
            conv, cmd, frg, wnd, ts, sn, una, n = struct.unpack_from("<IBBHIIII", p)
            need(24 + n <= len(p), "segment of", n, "bytes in", len(p))
            if self.conv is None:
                self.conv = conv
            need(conv == self.conv, "conv %08x in the session of %08x" % (conv, self.conv))
            self.segment(way, cmd, frg, wnd, ts, sn, una, p[24:24 + n])
            p = p[24 + n:]

    def segment(self, way, cmd, frg, wnd, ts, sn, una, body):
        back = OTHER[way]
        need(frg == 0, "fragment number", frg)
        need(self.shape.window >= wnd, "window", wnd)
        # Packets overtake each other, so una may fall back; it never covers what was not sent.
        need(una <= len(self.data[back]), "una", una, "beyond", len(self.data[back]))
        self.una[way] = max(self.una[way], una)
        self.count[way, cmd] += 1
        if cmd == PUSH:
            need(body, "PUSH without data")
            need(self.data[way].setdefault(sn, body) == body, "sn", sn, "sent again with other bytes")
            need(sn < len(self.data[way]), "sn", sn, "out of turn")
            need(sn < self.una[back] + self.shape.window, "sn", sn, "beyond the window")
            self.stamps[way][sn].add(ts)
        else:
            need(cmd in (ACK, WASK, WINS) and not body, "command", cmd, "with", len(body), "bytes")
        if cmd == ACK:
            need(ts in self.stamps[back][sn], "ACK of sn", sn, "echoes a time that it was not sent with")

    def stream(self, way):
        return b"".join(self.data[way][sn] for sn in range(len(self.data[way])))


# ---- snappy

CRC32C = []
for _i in range(256):
    for _ in range(8):
        _i = _i >> 1 ^ (0x82f63b78 if _i & 1 else 0)
    CRC32C.append(_i)


def masked_crc32c(b):
    c = M32
    for v in b:
        c = CRC32C[(c ^ v) & 255] ^ c >> 8
    c ^= M32
    return ((c >> 15 | c << 17) + 0xa282ead8) & M32


def snappy_block(b):
    n = shift = i = 0
    while True:
        n |= (b[i] & 127) << shift
        shift += 7
        i += 1
        if b[i - 1] < 128:
            break
    out = bytearray()
    while i < len(b):
        tag = b[i]
        i += 1
        if tag & 3 == 0:
            k = tag >> 2
            if k >= 60:
                extra = k - 59
                k = int.from_bytes(b[i:i + extra], "little")
                i += extra
            out += b[i:i + k + 1]
            i += k + 1
            continue
        if tag & 3 == 1:
            k, offset, used = 4 + (tag >> 2 & 7), tag >> 5 << 8 | b[i], 1
        else:
            used = 2 if tag & 3 == 2 else 4
            k, offset = 1 + (tag >> 2), int.from_bytes(b[i:i + used], "little")
        i += used
        need(0 < offset <= len(out), "snappy copy from", offset, "back at", len(out))
        for _ in range(k):
            out.append(out[-offset])
    need(len(out) == n, "snappy block of", n, "gave", len(out))
    return bytes(out)


def unframe(b):
    """The byte stream inside the chunks. Its end need not be a chunk's."""
    out, i, first = [], 0, True
    while i + 4 <= len(b):
        kind, n = b[i], int.from_bytes(b[i + 1:i + 4], "little")
        body = b[i + 4:i + 4 + n]
        if len(body) < n:
            break
        i += 4 + n
        need(first == (kind == 0xff), "chunk type %02x" % kind, "first" if first else "later")
        if first:
            need(body == b"sNaPpY", "stream identifier")
            first = False
            continue
        need(kind in (0, 1) and n > 4, "chunk type %02x of %d bytes" % (kind, n))
        plain = snappy_block(body[4:]) if kind == 0 else body[4:]
        need(0 < len(plain) <= 65536, "chunk of", len(plain), "bytes")
        need(struct.unpack_from("<I", body)[0] == masked_crc32c(plain), "chunk checksum")
        out.append(plain)
    return b"".join(out)


# ---- smux

class Stream:
    def __init__(self):
        self.data = {w: bytearray() for w in WAYS}
        self.fin = dict.fromkeys(WAYS, False)
        self.half = dict.fromkeys(WAYS, False)
        self.consumed = dict.fromkeys(WAYS, 0)  # as that way's sender said in its UPDs


class Smux:
    def __init__(self, shape):
        self.shape, self.streams = shape, {}
        self.hello, self.nops = dict.fromkeys(WAYS, None), collections.Counter()
        self.last = 1

    def read(self, way, b):
        frames = 0
        while len(b) >= 8:
            ver, cmd, n, sid = struct.unpack_from("<BBHI", b)
            if len(b) < 8 + n:
                break
            need(ver == self.shape.smuxver, "smux version", ver)
            need(cmd <= (UPD if ver == 2 else NOP), "smux command", cmd)
            self.frame(way, cmd, sid, bytes(b[8:8 + n]), frames)
            b = b[8 + n:]
            frames += 1
        need(not b, "%s ends inside a frame" % way)

    def frame(self, way, cmd, sid, body, frames):
        need(cmd in (PSH, UPD) or not body, "control frame with", len(body), "bytes")
        if cmd == NOP:
            self.nop(way, sid, frames)
            return
        if cmd == SYN:
            # Stock's scheduler of 2021 may send the SYNs of one moment in any order.
            late = way not in self.shape.ours and sid not in self.streams and sid & 1 and sid > 1
            need(way == "c2s" and (sid == self.last + 2 or late), "SYN of", sid, "after", self.last)
            self.last = max(sid, self.last)
            self.streams[sid] = Stream()
            return
        need(sid in self.streams, "frame of stream", sid, "which is not open")
        st = self.streams[sid]
        # Stock's FIN of 2021 may overtake what another goroutine of the same stream queued (wire.md 8.3).
        overtaken = way not in self.shape.ours and cmd != FIN
        need(not st.fin[way] or overtaken, way, "command", cmd, "of stream", sid, "after its FIN")
        if cmd == FIN:
            st.fin[way] = True
        elif cmd == PSH:
            need(body and len(body) <= self.shape.framesize, "PSH of", len(body), "bytes")
            need(not st.half[way], "data of stream", sid, "after the half-close")
            st.data[way] += body
        else:
            need(len(body) == 8, "UPD of", len(body), "bytes")
            consumed, window = struct.unpack("<II", body)
            need(window > 0 and consumed > st.consumed[way], "UPD", consumed, window)
            st.consumed[way] = consumed

    def nop(self, way, sid, frames):
        self.nops[way] += 1
        if sid == 0:
            return
        need(way in self.shape.ours, "signal %08x from a stock sender" % sid)
        if 0xc0000000 <= sid < 0xe0000000:
            need((self.hello[OTHER[way]] or 0) & 2, "reset sent to a peer that does not know it")
            need(sid - 0xc0000000 in self.streams, "reset of stream", sid - 0xc0000000)
            self.streams[sid - 0xc0000000].fin[way] = True
            return
        if sid >= 1 << 31:
            # The session's first frame is the client's: a server may begin with its HELLO.
            need(self.hello[way] is None and self.nops[way] == 1, "HELLO again, or after another NOP")
            need(frames > 0 or way == "s2c", "HELLO before the session's first frame")
            self.hello[way] = sid - (1 << 31)
            # Half-close and reset; of a server, that it answers questions after sessions, and lets them move.
            need(self.hello[way] & ~(15 if way == "s2c" else 3) == 0, "capability bits", self.hello[way])
            return
        need(sid in self.streams and not self.streams[sid].half[way], "half-close of stream", sid)
        need(self.hello[way] is not None, "half-close without a HELLO")
        self.streams[sid].half[way] = True

    def finish(self):
        for sid, st in self.streams.items():
            for way in WAYS:
                need(st.consumed[way] <= len(st.data[OTHER[way]]), "stream", sid, "consumed what was not sent")
        # A half-close may only be sent to who says that it understands it.
        for way in WAYS:
            if any(st.half[way] for st in self.streams.values()):
                need((self.hello[OTHER[way]] or 0) & 1, "half-close sent to a peer that does not know it")


class Session:
    """What decode() found."""

    def __init__(self):
        self.streams, self.refused = {}, collections.Counter()


def decode(packets, shape, garbage=False):
    """Reads a whole session. garbage: datagrams that the cipher refuses are counted, as the 2016 keepalive's must be."""
    opened = pure.opener(shape.crypt, shape.key.encode())
    s, kcp, smux = Session(), Kcp(shape), Smux(shape)
    fec = {w: Fec(shape, w) for w in WAYS} if shape.fec else None
    seen, answers = set(), 0
    for t, way, wire in packets:
        need(len(wire) <= min(shape.mtu, 1500), "UDP payload of", len(wire), "bytes")
        p = opened(wire)
        if p is None:
            need(garbage, "a datagram of", len(wire), "bytes is refused by", shape.crypt)
            s.refused[way] += 1
            continue
        # The same beginning twice is a nonce used twice: sixteen bytes never repeat by chance.
        if pure.overhead(shape.crypt):
            need(wire[:12] not in seen, "nonce used again")
            seen.add(wire[:12])
        answers += way == "s2c"
        if fec:
            # The answers that are captured may yet be lost; all of the first few are not.
            fec[way].early = way == "c2s" and way in shape.ours and answers < 10
            p = fec[way].packet(t, p)
            if p is None:
                s.parities = getattr(s, "parities", 0) + 1
                continue
        kcp.datagram(way, p)
    s.count, s.conv = kcp.count, kcp.conv
    for way in WAYS:
        b = kcp.stream(way)
        smux.read(way, b if shape.nocomp else unframe(b))
    smux.finish()
    qpp = pure.Qpp(shape.key.encode(), shape.qpp) if shape.qpp else None
    for sid, st in smux.streams.items():
        for way in WAYS:
            st.data[way] = qpp.decrypt(st.data[way]) if qpp else bytes(st.data[way])
        s.streams[sid] = st
    s.hello, s.nops = smux.hello, smux.nops
    return s


def pcap(path):
    """(seconds, source, destination, UDP payload) of every UDP datagram over IPv4 in an Ethernet capture of tcpdump's."""
    with open(path, "rb") as f:
        raw = f.read()
    need(raw[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"), path, "is no capture")
    fraction = 1e-6 if raw[0] == 0xd4 else 1e-9
    at = 24
    while at + 16 <= len(raw):
        sec, sub, n, whole = struct.unpack_from("<IIII", raw, at)
        need(n == whole, "frame cut short by the capture")
        f = raw[at + 16:at + 16 + n]
        at += 16 + n
        if f[12:14] != b"\x08\x00" or f[23] != 17:
            continue
        ip = 14 + 4 * (f[14] & 15)
        sport, dport, length = struct.unpack_from(">HHH", f, ip)
        src, dst = ".".join(map(str, f[26:30])), ".".join(map(str, f[30:34]))
        yield sec + sub * fraction, (src, sport), (dst, dport), f[ip + 8:ip + length]
