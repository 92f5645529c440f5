#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pings with a VLAN tag, from a raw socket: the kernel here need not know VLANs.

  tagged.py INTERFACE TAG THEIR-MAC FROM TO SIZE     "answered with TAG" when the answer has come with the same tag
"""
import socket
import struct
import sys
import time

AUXDATA = 8  # PACKET_AUXDATA: the kernel takes a tag out of the frame and tells it beside
GUARD = 100


def checksum(b):
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def request(mac, their, tag, src, dst, seq, size):
    icmp = struct.pack("!BBHHH", 8, 0, 0, 0x4b47, seq) + bytes(i & 0xff for i in range(size & ~1))
    icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), seq, 0x4000, 64, 1, 0, socket.inet_aton(src),
                     socket.inet_aton(dst))
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return their + mac + struct.pack("!HHH", 0x8100, tag, 0x800) + ip + icmp


def main(iface, tag, their, src, dst, size):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(263, AUXDATA, 1)  # SOL_PACKET
    s.bind((iface, 0))
    s.settimeout(1)
    mac = s.getsockname()[4]
    end, seq = time.monotonic() + GUARD, 0
    while time.monotonic() < end:
        seq += 1
        sent = request(mac, bytes.fromhex(their.replace(":", "")), tag, src, dst, seq, size)
        s.send(sent)
        again = time.monotonic() + 1
        while time.monotonic() < again:
            try:
                frame, aux, _, _ = s.recvmsg(4096, 256)
            except socket.timeout:
                break
            got = None
            if frame[12:14] == b"\x81\x00":
                got, frame = struct.unpack_from("!H", frame, 14)[0], frame[:12] + frame[16:]
            for level, kind, data in aux:
                if level == 263 and kind == AUXDATA and struct.unpack_from("I", data)[0] & 16:
                    got = struct.unpack_from("H", data, 16)[0]
            ip = frame[14:]
            if frame[12:14] == b"\x08\x00" and ip[9] == 1 and ip[20] == 0 and ip[24:26] == b"KG" and ip[28:] == sent[18 + 28:]:
                print("answered with %s" % got)
                return 0
    print("no answer")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:6], int(sys.argv[6])))
