#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Frames, good and bad, and a sender of them by a raw socket.

  frames.py INTERFACE FILE    sends what the file says, a line each: FRAME, or FRAME START OFFSET for one whose checksum
                              the device is to finish (from START on, at OFFSET behind it); bytes in hex
"""
import random
import socket
import struct
import sys

IPV4, IPV6, ARP, VLAN = 0x800, 0x86dd, 0x806, 0x8100
ICMP, TCP, UDP, FRAGMENT = 1, 6, 17, 44
SYN, RST, PSH, ACK = 2, 4, 8, 16
NEEDS_CSUM = 1


def noise(n):
    """The same bytes each time, which no tunnel's key has sealed."""
    return random.Random(n).randbytes(n)


def total(b):
    s = sum(struct.unpack("!%dH" % (len(b + b"\0") // 2), b if len(b) % 2 == 0 else b + b"\0"))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return s


def checksum(b):
    return ~total(b) & 0xffff


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


class Ends:
    """The two link addresses and the two IP addresses of what is built."""

    def __init__(self, to_mac, from_mac, to, frm):
        self.to_mac, self.from_mac = mac(to_mac), mac(from_mac)
        self.to, self.frm = address(to), address(frm)
        self.v6 = len(self.to) == 16

    # ---- layers, the last of which may be wrong in many ways ----

    def eth(self, payload, kind=None, to=None, tag=None):
        kind = (IPV6 if self.v6 else IPV4) if kind is None else kind
        tag = b"" if tag is None else struct.pack("!HH", VLAN, tag)
        return (mac(to) if to else self.to_mac) + self.from_mac + tag + struct.pack("!H", kind) + payload

    def ip(self, proto, payload, length=None, head=5, version=4, frag=0, broken=0, to=None, ident=1):
        if self.v6:
            return struct.pack("!IHBB", 0x60000000, len(payload) if length is None else length, proto,
                               64) + self.frm + (address(to) if to else self.to) + payload
        h = struct.pack("!BBHHHBBH", version << 4 | head, 0, 20 + len(payload) if length is None else length, ident,
                        frag, 64, proto, 0) + self.frm + (address(to) if to else self.to)
        return h[:10] + struct.pack("!H", checksum(h) ^ broken) + h[12:] + payload

    def pseudo(self, proto, n):
        return self.frm + self.to + (struct.pack("!II", n, proto) if self.v6 else struct.pack("!HH", proto, n))

    def udp(self, port, payload, length=None, broken=0, zero=False, partial=False):
        h = struct.pack("!HHHH", 40000, port, 8 + len(payload) if length is None else length, 0)
        return self.summed(UDP, h + payload, 6, broken, zero, partial)

    def tcp(self, port, flags, payload=b"", offset=5, broken=0):
        h = struct.pack("!HHIIBBHHH", 40001, port, 1000, 2000, offset << 4, flags, 65535, 0, 0)
        return self.summed(TCP, h + payload, 16, broken)

    def summed(self, proto, seg, at, broken=0, zero=False, partial=False):
        if zero:
            return seg
        s = self.pseudo(proto, len(seg))
        value = total(s) if partial else (checksum(s + seg) or 0xffff) ^ broken
        return seg[:at] + struct.pack("!H", value) + seg[at + 2:]

    # ---- whole frames ----

    def datagram(self, port, n, **kw):
        """A frame of n bytes without its tag: a right datagram of noise."""
        ip = 40 if self.v6 else 20
        return self.eth(self.ip(UDP, self.udp(port, noise(n - 14 - ip - 8))), **kw)


def line(frame, csum=None):
    return "%s%s\n" % (frame.hex(), " %d %d" % csum if csum else "")


def main(iface, path):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
    s.bind((iface, 0))
    with open(path) as f:
        for text in f:
            word = text.split()
            csum = [int(w) for w in word[1:]]
            head = struct.pack("<BBHHHH", NEEDS_CSUM, 0, 0, 0, *csum) if csum else bytes(10)
            s.send(head + bytes.fromhex(word[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
