#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bad input on network cards: frames of every wrong kind, sent from beyond each card of a machine.

  input_test.py [DEVICE...] [CASE...]    one boot carries the devices; all, when none is named

Each kind is handled, or dropped under its reason in /kcpgate/drops; or the card drops it, which its counters tell, but
for what its address filter passes over.  Every frame sent is found again in exactly one of these, packet buffers are
not lost, and files are carried by hash afterwards.
"""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import frames
from bench import BIG, MODERN, Device, check, wait_until
from frames import ACK, FRAGMENT, PSH, RST, SYN, TCP, UDP, Ends
from lab import GUARD
from nic_test import run
from vm import MANAGED, Card

N = 20
UDP_PORT, TCP_PORT, ELSE = 4990, 4991, 4992  # a tunnel's, a fake TCP tunnel's, nobody's
OWN, OTHER = 5, 6  # VLANs
HERE = os.path.dirname(os.path.abspath(__file__))
SILENT = ["e1000", "e1000e", "igb"]  # no counter of what was too long, by their drivers or by QEMU
OUTGOING = ["inject_full", "port_down", "tx_full", "tx_long", "no_route", "no_neighbour"]
PUNTED, CARD, FILTER = "to the kernel", "the card", "the card's filter"
WHOLE = "put together, crypt_bad"


def devices():
    return [
        Target("virtio", Card("virtio-net-pci", 1, MODERN), "vfio-pci"),
        Target("e1000", Card("e1000", 1, "romfile="), "vfio-pci"),
        Target("e1000e", Card("e1000e", 1, "romfile="), "vfio-pci"),
        Target("igb", Card("igb", 1, "romfile="), "vfio-pci"),
        Target("vmxnet3", Card("vmxnet3", 1, "romfile="), "vfio-pci"),
    ]


class Kind:
    """A kind of frame, and what may become of it: one of `wants`, the same on a device for all that are sent."""

    def __init__(self, name, frame, *wants, csum=None):
        self.name, self.frames, self.wants, self.csum = name, frame if isinstance(frame, list) else [frame], wants, csum


def runts(e, _):
    """A card that pads to 60 bytes makes something else of what ends early."""
    whole = e.datagram(UDP_PORT, 60)
    return [Kind("14 bytes", whole[:14], "frame_short", PUNTED),
            Kind("IP header cut", whole[:30], "frame_short", PUNTED),
            Kind("no UDP header", whole[:34], "ip_header", PUNTED),
            Kind("UDP header cut", whole[:38], "ip_header", "udp_length"),
            Kind("46 bytes, whole", e.datagram(UDP_PORT, 46), "crypt_short")]


def lengths(e, _):
    body = frames.noise(100)
    return [Kind("IP longer than frame", e.eth(e.ip(UDP, e.udp(UDP_PORT, body), length=500)), "ip_header"),
            Kind("IP shorter than head", e.eth(e.ip(UDP, e.udp(UDP_PORT, body), length=12)), "ip_header"),
            Kind("IP head of 12", e.eth(e.ip(UDP, e.udp(UDP_PORT, body), head=3)), "ip_header"),
            Kind("IP head of 60, not there", e.eth(e.ip(UDP, b"", length=60, head=15)), "frame_short", "ip_header", "ip_checksum"),
            Kind("IP version 5", e.eth(e.ip(UDP, e.udp(UDP_PORT, body), version=5)), "ip_header"),
            Kind("UDP longer than IP", e.eth(e.ip(UDP, e.udp(UDP_PORT, body, length=500))), "udp_length", CARD),
            Kind("UDP length of 4", e.eth(e.ip(UDP, e.udp(UDP_PORT, body, length=4))), "udp_length", CARD),
            Kind("datagram of nothing", e.eth(e.ip(UDP, e.udp(UDP_PORT, b""))), "crypt_short"),
            Kind("trailer behind IP", e.datagram(UDP_PORT, 200) + bytes(40), "crypt_bad"),
            Kind("TCP head of 8", e.eth(e.ip(TCP, e.tcp(TCP_PORT, PSH, body, offset=2))), "udp_length"),
            Kind("TCP head beyond", e.eth(e.ip(TCP, e.tcp(TCP_PORT, PSH, b"", offset=15))), "udp_length")]


def sums(e, six):
    body = frames.noise(300)
    right, bad = ("crypt_bad", "udp_checksum")
    return [Kind("right", e.datagram(UDP_PORT, 300), right),
            Kind("IP sum broken", e.eth(e.ip(UDP, e.udp(UDP_PORT, body), broken=0x1234)), "ip_checksum"),
            Kind("UDP sum broken", e.eth(e.ip(UDP, e.udp(UDP_PORT, body, broken=0x1234))), bad, right),
            Kind("UDP without sum", e.eth(e.ip(UDP, e.udp(UDP_PORT, body, zero=True))), right),
            Kind("UDP sum partial", e.eth(e.ip(UDP, e.udp(UDP_PORT, body, partial=True))), right, csum=(34, 6)),
            Kind("TCP right", e.eth(e.ip(TCP, e.tcp(TCP_PORT, PSH | ACK, body))), right),
            Kind("TCP sum broken", e.eth(e.ip(TCP, e.tcp(TCP_PORT, PSH | ACK, body, broken=0x1234))), bad, right),
            Kind("TCP reset", e.eth(e.ip(TCP, e.tcp(TCP_PORT, RST))), "tcp_control"),
            Kind("TCP sum broken, kernel's", e.eth(e.ip(TCP, e.tcp(ELSE, SYN, broken=0x1234))), PUNTED),
            Kind("v6 right", six.datagram(UDP_PORT, 300), right),
            Kind("v6 UDP sum broken", six.eth(six.ip(UDP, six.udp(UDP_PORT, body, broken=0x1234))), bad, right),
            Kind("v6 UDP without sum", six.eth(six.ip(UDP, six.udp(UDP_PORT, body, zero=True))), bad),
            Kind("v6 UDP sum partial", six.eth(six.ip(UDP, six.udp(UDP_PORT, body, partial=True))), right, csum=(54, 6)),
            Kind("v6 longer than frame", six.eth(six.ip(UDP, six.udp(UDP_PORT, body), length=900)), "ip_header"),
            Kind("v6 headers cut", six.eth(six.ip(FRAGMENT, bytes([UDP, 0, 0, 0]))), "frame_short")]


def sizes(e, _):
    """The port's MTU is 1500: a frame of 1514, and 1518 with a tag."""
    return [Kind("1514", e.datagram(UDP_PORT, 1514), "crypt_bad"),
            Kind("1515", e.datagram(UDP_PORT, 1515), "crypt_bad", CARD),
            Kind("1518", e.datagram(UDP_PORT, 1518), "crypt_bad", CARD),
            Kind("1518, tag 0", e.datagram(UDP_PORT, 1514, tag=0), "crypt_bad"),
            Kind("1522, tag 0", e.datagram(UDP_PORT, 1518, tag=0), "crypt_bad", CARD),
            Kind("1523", e.datagram(UDP_PORT, 1523), "crypt_bad", CARD),
            Kind("2000", e.datagram(UDP_PORT, 2000), "crypt_bad", CARD),
            Kind("2100", e.datagram(UDP_PORT, 2100), "multi_segment", CARD),
            Kind("4000", e.datagram(UDP_PORT, 4000), "multi_segment", CARD),
            Kind("9000", e.datagram(UDP_PORT, 9000), "multi_segment", CARD)]


def strangers(e, six):
    right = e.ip(UDP, e.udp(UDP_PORT, frames.noise(200)))
    return [Kind("other host's MAC", e.eth(right, to="52:54:00:99:99:99"), "other_host", FILTER),
            Kind("multicast MAC", e.eth(right, to="01:00:5e:01:02:03"), PUNTED),
            Kind("IPv6 multicast MAC", six.eth(six.ip(UDP, six.udp(ELSE, b"x"), to="ff02::1234"), to="33:33:00:00:12:34"),
                 PUNTED),
            Kind("broadcast MAC", e.eth(right, to="ff:ff:ff:ff:ff:ff"), PUNTED),
            Kind("other host's IP", e.eth(e.ip(UDP, e.udp(UDP_PORT, b"x"), to="10.99.99.99")), PUNTED),
            Kind("other port", e.datagram(ELSE, 100), PUNTED),
            Kind("unknown type", e.eth(frames.noise(60), kind=0x88b5), PUNTED),
            Kind("802.3 length", e.eth(frames.noise(60), kind=60), PUNTED),
            Kind("ARP cut", e.eth(bytes(10), kind=frames.ARP), PUNTED)]


def tags(e, _):
    """On a port without a VLAN: a priority's tag counts for none, VLANs are the kernel's."""
    whole = e.datagram(UDP_PORT, 300, tag=0)
    inner = OWN.to_bytes(2, "big") + whole[16:]
    return [Kind("tag 0", whole, "crypt_bad"),
            Kind("tag 0, priority 7", e.datagram(UDP_PORT, 300, tag=7 << 13), "crypt_bad"),
            Kind("tag 5", e.datagram(UDP_PORT, 300, tag=OWN), PUNTED),
            Kind("two tags", e.eth(inner, kind=frames.VLAN, tag=0), PUNTED),
            Kind("tag cut", whole[:15], "frame_short", PUNTED)]


def fragments(e, _):
    seg = e.udp(UDP_PORT, frames.noise(400 - 8))
    first, last = e.eth(e.ip(UDP, seg[:200], frag=0x2000)), e.eth(e.ip(UDP, seg[200:], frag=25))
    return [Kind("fragment of nothing", e.eth(e.ip(UDP, b"", frag=0x2000)), "ip_fragment"),
            Kind("two, the last first", [last, first], WHOLE)]


def in_vlan(e, _):
    """On a port in VLAN 5."""
    return [Kind("its tag", e.datagram(UDP_PORT, 300, tag=OWN), "crypt_bad"),
            Kind("its tag, priority 3", e.datagram(UDP_PORT, 300, tag=3 << 13 | OWN), "crypt_bad"),
            Kind("its tag, 1518", e.datagram(UDP_PORT, 1514, tag=OWN), "crypt_bad"),
            Kind("other tag", e.datagram(UDP_PORT, 300, tag=OTHER), "vlan"),
            Kind("tag 0", e.datagram(UDP_PORT, 300, tag=0), "vlan"),
            Kind("no tag", e.datagram(UDP_PORT, 300), "vlan"),
            Kind("its tag, other host's MAC", e.datagram(UDP_PORT, 300, tag=OWN, to="52:54:00:99:99:99"), "other_host",
                 FILTER),
            Kind("its tag, IP longer than frame",
                 e.eth(e.ip(UDP, e.udp(UDP_PORT, frames.noise(50)), length=500), tag=OWN), "ip_header"),
            Kind("its tag, 4000", e.datagram(UDP_PORT, 4000, tag=OWN), "multi_segment", CARD)]



class Count:
    """All that is counted of frames on their way in, from the TAP of the host on."""

    ASKED = ("/kcpgate/workers", "/kcpgate/drops", "/kcpgate/control", "/ethdev/xstats,0")

    def __init__(self, d):
        answers = d.vm.agent("telemetry", d.gw.prefix, *self.ASKED).splitlines()
        w, self.drops, control, self.card = [next(iter(json.loads(a).values())) for a in answers]
        self.got, self.punted, self.out = [sum(r[k] for r in w.values()) for k in ("rx_packets", "punted", "tx_packets")]
        self.free, self.to_kernel = control["mbufs_free"], control["exception_to_kernel"] + control["exception_errors"]
        stats = "/sys/class/net/%s/statistics/" % d.tap
        self.sent, self.refused = [int(n) for n in d.lab.sh("q", "cat", stats + "tx_packets", stats + "tx_dropped").split()]

    def key(self):
        return self.sent, self.got, self.punted, self.out, self.free, self.to_kernel, sorted(self.drops.items())

    def since(self, old):
        """What became of the frames: {where: how many}, without those that the kernel here sent of itself."""
        out = {k: v - old.drops[k] for k, v in self.drops.items() if v != old.drops[k] and k not in OUTGOING}
        if self.punted != old.punted:
            out[PUNTED] = self.punted - old.punted
        lost = self.sent - old.sent - (self.got - old.got)
        if lost:
            out[CARD] = lost
        return out

    def card_said(self, old):
        """The card's counters of trouble that have moved."""
        calm = re.compile("_q[0-9]|good|total_packets|total_bytes|size_[0-9]|multicast|broadcast|"
                          "unicast|tx_|octets|rx_packets|rx_bytes|interrupt|[0-9]_(good_)?(packets|bytes)")
        return {k: v - old.card.get(k, 0) for k, v in self.card.items() if v != old.card.get(k, 0) and not calm.search(k)}


class Target(Device):
    """A device with two tunnels for bad input, by UDP and fake TCP, beside those that carry the files."""

    def conf(self, vlan=0, **wish):
        text = super().conf(**wish)
        more = ['{ name = "bad-%s"; role = "server"; listen = ":%d"; target = "%s:9000"; key = "vm"; crypt = "aes-128"; %s}, ' %
                (name, port, MANAGED[0], option) for name, port, option in
                (("udp", UDP_PORT, ""), ("tcp", TCP_PORT, "tcp = true; "))]
        text = text.replace("tunnels = ( ", "tunnels = ( " + "".join(more), 1)
        return text.replace("mtu = 1500; }", "mtu = 1500; vlan = %d; }" % vlan, 1) if vlan else text

    def ends(self, family):
        """Frames from the host's side of the wire."""
        ours = self.lab.sh("q", "cat", "/sys/class/net/%s/address" % self.tap).strip()
        return Ends(Card.mac(self.i), ours, self.here(family), self.there(family))

    def calm(self):
        """A new interface is greeted by the kernel here; what it says of itself later is rare."""
        if not self.key.get("vlan"):  # e1000e's link takes its time
            wait_until("pings", lambda: " 0% packet loss" in self.ping(check_it=False))
        last, self.last = None, Count(self)
        end = time.monotonic() + GUARD
        while last is None or last.key() != self.last.key():
            check(time.monotonic() < end, "it never becomes calm")
            time.sleep(0.5)
            last, self.last = self.last, Count(self)

    def send(self, kind, fence):
        """The last is one more, of another fate: all before it have met theirs when it is counted."""
        path = self.lab.file("frames", "".join(frames.line(f, kind.csum) for f in kind.frames * N) + frames.line(fence))
        self.lab.sh("q", sys.executable, os.path.join(HERE, "frames.py"), self.tap, path)

    def meet(self, kind, fences):
        """Sends the kind; notes what became of it.  An AssertionError when it stays what it was not to be."""
        before, last, n = self.last, None, N * len(kind.frames)
        fate = "crypt_bad" if "tcp_control" in kind.wants else "tcp_control"
        self.send(kind, fences[fate])
        end = time.monotonic() + GUARD
        while True:
            self.last = after = Count(self)
            if after.drops[fate] > before.drops[fate]:
                became = after.since(before)
                became[fate] -= 1
                wrong = self.wrong(kind, became, n, after, before)
                if not wrong or last == after.key():  # it will not change any more
                    break
                last = after.key()
            elif time.monotonic() > end:
                wrong = "the gateway hears nothing any more"
                break
        say = "%s: %d and %d by others: %s; the card %s; buffers free %d, then %d, %d sent" % (
            kind.name, n, after.sent - before.sent - n - 1, after.since(before), after.card_said(before), before.free,
            after.free, after.out - before.out)
        if os.environ.get("KCPGATE_TELL"):
            print("     " + say, flush=True)
        check(not wrong, "%s; %s" % (wrong, say))

    def wrong(self, kind, became, n, after, before):
        """What is not as it was to be, if anything; else there is a note of it."""
        others, said = after.sent - before.sent - n - 1, after.card_said(before)
        if after.refused != before.refused or others < 0:
            return "not all was sent"
        if after.free < before.free - (after.out - before.out):
            return "buffers are missing"  # a ring holds those that were sent until it comes round
        others += max(0, -became.get(CARD, 0))  # that were on their way when it began
        for want in kind.wants:
            where, all_of = (CARD, n) if want == FILTER else ("crypt_bad", n // 2) if want == WHOLE else (want, n)
            rest = {k: v for k, v in became.items() if v > 0 and k != where}
            extra = became.get(where, 0) - all_of
            # What the kernel here sends of itself, without a tag, is for the gateway's kernel, or for nobody.
            if extra not in range(others + 1) or set(rest) - {PUNTED, CARD, "vlan"} or sum(rest.values()) > others - extra:
                continue
            if want == PUNTED and after.to_kernel - before.to_kernel < n:
                return "not all came to the kernel"
            told = [k for k, v in said.items() if v >= n]
            if want == CARD and not told and self.name not in SILENT:
                return "the card does not tell what it dropped"
            self.notes[kind.name] = want + (": " + ", ".join(told) if told and want == CARD else "")
            return None
        return "it was to be " + " or ".join(kind.wants)


def group(build, vlan=0):
    def run(d):
        d.gateway(workers=1, **(dict(vlan=vlan) if vlan else {}))
        four, six, tag = d.ends(4), d.ends(6), vlan or None
        fences = dict(crypt_bad=four.datagram(UDP_PORT, 300, tag=tag),
                      tcp_control=four.eth(four.ip(TCP, four.tcp(TCP_PORT, RST)), tag=tag))
        d.lab.ip("q", "link", "set", d.tap, "mtu", "9100")
        try:
            d.calm()
            d.new_faults()  # of its start, which is not what this is about
            bad = []
            for kind in build(four, six):
                try:
                    d.meet(kind, fences)
                except AssertionError as e:
                    bad.append(str(e))
            check(not bad, "\n" + "\n".join(bad))
        finally:
            d.lab.ip("q", "link", "set", d.tap, "mtu", "1500")
    run.__name__ = "case_" + build.__name__
    return run


def case_files(d):
    d.gateway(workers=1)
    d.files(big=BIG // 4)
    d.ping()


CASES = [group(runts), group(lengths), group(sums), group(sizes), group(strangers), group(tags), group(fragments),
         case_files, group(in_vlan, OWN)]


def table(placed):
    """What became of each kind, by device."""
    names = list(dict.fromkeys(n for d in placed for n in d.notes))
    if names:
        print("| frame | %s |\n|%s" % (" | ".join(d.name for d in placed), "---|" * (len(placed) + 1)))
    for n in names:
        print("| %s | %s |" % (n, " | ".join(d.notes.get(n, "") for d in placed)))


def main(words):
    every = devices()
    for d in every:
        d.notes = {}
    run(words, every, CASES, at_end=table)


if __name__ == "__main__":
    main(sys.argv[1:])
