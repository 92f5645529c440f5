#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""exception = "virtio-user" where the kernel has vhost-net: several queues, large segments, and files at the same time.

nic_test.py's virtio_user has what each of it does alone; here is the interface as the kernel sees it, and all at once.
"""
import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
from bench import BIG, MODERN, Device, check, wait_until
from nic_test import run
from vm import MANAGED, Card

FLOWS = 6
SEGMENTS = 3000000
PINGS = 8


class Bound(Device):
    """A device whose kernel side is virtio-user's."""

    def conf(self, **wish):
        return super().conf(**wish).replace("; addresses", '; exception = "virtio-user"; addresses', 1)


def features(d):
    """What the interface offers the kernel: {name: on}."""
    text = d.vm.sh("ethtool -k %s" % d.ifname)
    return {k: v == "on" for k, v in re.findall(r"(?m)^\s*([a-z0-9-]+): (on|off)", text)}


def queues(d, kind):
    return int(d.vm.sh("ls -d /sys/class/net/%s/queues/%s-* | wc -l" % (d.ifname, kind)))


def case_as_the_kernel_sees_it(d):
    """Queues as workers, the port's MAC and MTU; and no more offloads than the other side takes over."""
    d.up()
    try:
        for workers, mtu in ((1, 1500), (2, 1600)):
            d.lab.ip("q", "link", "set", d.tap, "mtu", str(mtu))
            d.gateway(workers=workers, mtu=mtu)
            d.wait_carrier(True)
            check(queues(d, "rx") >= workers and queues(d, "tx") >= workers, "queues", queues(d, "rx"), queues(d, "tx"))
            check(int(d.vm.sh("cat /sys/class/net/%s/mtu" % d.ifname)) == mtu, "the MTU is not the port's")
            check(d.vm.sh("cat /sys/class/net/%s/address" % d.ifname).strip() == Card.mac(d.i), "the MAC is not the port's")
            for family, head in ((4, 28), (6, 48)):
                d.ping("-s", str(mtu - head), "-M", "do", family=family)
    finally:
        d.lab.ip("q", "link", "set", d.tap, "mtu", "1500")
    f = features(d)
    return ", ".join("%s %s" % (k, "on" if f.get(k) else "off") for k in
                     ("tx-checksumming", "rx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload"))


def case_all_at_once(d):
    """TCP of several flows each way through the interface, and files by kcptun both ways: every byte is right."""
    d.gateway(workers=2)
    d.wait_carrier(True)
    agent = os.path.join(d.lab.dir, "agent")
    before, wrong = d.workers(), d.checksum_errors()
    inside = d.vm.run("echo", "exec /run/vm/agent serve %s 7900" % d.here())
    outside = d.lab.run("echo-%d" % d.n_of(), "q", agent, "serve", d.there(), "7901")
    peer = d.stock("client")
    try:
        inside.wait_for("serving")
        outside.wait_for("serving")
        ours = [d.lab.run("talk-%d-%d" % (d.n_of(), i), "q", agent, "talk", d.here(), "7900", str(SEGMENTS))
                for i in range(FLOWS)]
        theirs = [d.vm.run("talk", "exec /run/vm/agent talk %s 7901 %d" % (d.there(), SEGMENTS)) for _ in range(FLOWS)]
        d.server()
        loads = [d.load("mixed", "127.0.0.1", d.port(0), BIG, 20, wait=False),
                 d.load("mixed", MANAGED[1], d.port(4), BIG, 20, wait=False)]
        for p in ours + theirs:
            check(p.end(300) == 0 and "talked %d" % SEGMENTS in p.log(), p.log())
        for p in loads:
            check(p.end() == 0, p.log())
    finally:
        inside.stop(signal.SIGKILL)
        outside.stop()
        peer.stop()
    rows = [{k: a[k] - b[k] for k in ("punted", "injected", "exception_segmented")} for a, b in zip(d.workers(), before)]
    seen = d.vm.telemetry(d.gw, "/kcpgate/control")
    check(seen["exception_to_kernel"] == seen["exception_from_kernel"] == 0, "frames went through control", seen)
    check(all(r["injected"] for r in rows), "a queue of the interface is idle", rows)
    check(all(r["exception_segmented"] for r in rows), "nothing was cut", rows)
    drops = d.drops()
    check(all(drops[why] == 0 for why in ("segment", "multi_segment", "tx_full", "no_mbuf")), drops)
    check(d.checksum_errors() == wrong, "wrong checksums counted:", d.checksum_errors() - wrong)
    return "%s" % rows


def case_wakes(d):
    """An idle worker sleeps until one of the two interrupts it: the card, or the kernel that sends by the interface."""
    seen = []
    for workers in (1, 2):
        d.gateway(workers=workers)
        d.wait_carrier(True)
        wait_until("pings", lambda: " 0% packet loss" in d.ping(check_it=False))
        d.vm.sh("sleep 3")
        before = d.workers()
        check("0% packet loss" in d.lab.sh("q", "ping", "-n", "-c", str(PINGS), "-i", "1.5", "-W", "20", d.here(4)),
              "pings of a sleeper are lost")
        after = d.workers()
        struck, missed, sent = [sum(b[k] - a[k] for a, b in zip(before, after))
                                for k in ("interrupts", "interrupts_missed", "injected")]
        check(sent >= PINGS, "answers by the interface:", sent)
        # One may come just as a sleep ends, and is found without.
        check(struck + missed >= PINGS and struck > missed, "interrupts", struck, "missed", missed)
        seen.append("%d worker(s): %d interrupts, %d missed" % (workers, struck, missed))
    return "; ".join(seen)


def case_link(d):
    """The interface has the port's carrier, and a connection outlives a link that was away."""
    gw = d.gateway(workers=2)
    d.wait_carrier(True)
    for _ in range(2):
        d.vm.set_link(d.i, False)
        try:
            d.wait_carrier(False)
        finally:
            d.vm.set_link(d.i, True)
        d.wait_carrier(True)
    d.talk(4, True, 100000)
    check(gw.stop() == 0, "exit status", gw.log()[-600:])
    check(d.ifname not in d.vm.sh("ls /sys/class/net"), "the interface is left behind")


if __name__ == "__main__":
    run(sys.argv[1:], [Bound("virtio", Card("virtio-net-pci", 2, MODERN), "vfio-pci")],
        [case_as_the_kernel_sees_it, case_all_at_once, case_wakes, case_link])
