#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One of a gateway's two cards is pulled out of the machine while the other carries a file.

Both stand behind root ports of PCI Express, which can be emptied while the machine runs.
"""
import os
import re
import sys
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from bench import BIG, MODERN, Device, Machine, check, qemu_or_skipped, skipping, wait_until
from vm import MANAGED, Card

CARDS = [("virtio-net-pci", MODERN), ("igb", "romfile="), ("e1000e", "romfile=")]
PULLED = re.compile(r"p0\b.*(removed|gone|unplugged|taken away)")


class Pluggable(Card):
    """A card in a root port of its own: function 0 of the bus behind it."""

    def arguments(self, i, tap):
        old = super().arguments(i, tap)
        device = re.sub(r"bus=pcie\.0,addr=0x[0-9a-f]+", "bus=rp%d" % i, old[-1])
        port = "pcie-root-port,id=rp%d,bus=pcie.0,chassis=%d,slot=%d,addr=0x%x" % (i, i + 1, i + 1, 0x10 + i)
        return ["-device", port] + old[:-1] + [device]


class Gateway(Device):
    """Both cards of a machine in one gateway: a client's tunnel leads out of the second."""

    def address(self, i):
        """Bus numbers are given by the guest's kernel, in the order of the root ports."""
        found = self.vm.sh("ls /sys/bus/pci/devices/0000:00:%02x.0 | grep -x '0000:[0-9a-f]*:[0-9a-f.]*'" % (0x10 + i)).split()
        return found[0]

    def start_both(self):
        self.vm = self.machine.get()
        addresses = [self.address(i) for i in (0, 1)]
        self.vm.agent("bind", "vfio-pci", *addresses)
        ports = ", ".join('{ name = "p%d"; device = "%s"; addresses = [ "10.80.%d.1/24" ]; }' % (i, a, i)
                          for i, a in enumerate(addresses))
        common = 'key = "vm"; crypt = "aes-128"; mode = "fast3"; smuxver = 1; closewait = 2;'
        self.gw = self.vm.gateway(self.name, (
            'eal = { lcores = "0@0,1@1"; file_prefix = "@PREFIX@"; };\nlog = { quiet = true; };\nports = ( %s );\n'
            'tunnels = ( { name = "out"; role = "client"; listen = "%s:13000"; remote = "10.80.1.2:5000"; %s },\n'
            '{ name = "in"; role = "server"; listen = ":4000"; target = "%s:9000"; %s } );\n') %
            (ports, MANAGED[1], common, MANAGED[0], common))
        return self.gw


def pull(model, props):
    def test():
        machine = Machine([Pluggable(model, 1, props), Pluggable(model, 1, props)])
        try:
            d = Gateway(model, machine.cards[1], "vfio-pci").place(machine, 1)
            carry(d, d.start_both())
            check(not d.vm.faults(), d.vm.faults())
        finally:
            machine.close()
    return test


def carry(d, gw):
    d.lab.sh("q", "ping", "-n", "-c", "2", "-W", "100", "10.80.0.1")
    d.server()
    load = d.load("big", MANAGED[1], 13000, 20 * BIG, wait=False)
    wait_until("bytes", lambda: any(s["bytes_out"] > 100000 for s in d.vm.telemetry(gw, "/kcpgate/sessions")))
    address = d.address(0)
    check(load.alive(), "the file was through before the card was pulled", load.log())
    d.vm.monitor("device_del", id="d0")
    wait_until("the card to be gone", lambda: d.vm.pause() or
               d.vm.sh("[ -e /sys/bus/pci/devices/%s ] || echo gone" % address).strip() == "gone")
    wait_until("a word of it", lambda: d.vm.pause() or PULLED.search(gw.log()))
    check(load.end() == 0, load.log())
    d.load("mixed", MANAGED[1], 13000, BIG, 10)  # and afterwards
    d.lab.sh("q", "ping", "-n", "-c", "2", "-W", "100", "10.80.1.1")
    check(gw.alive() and gw.stop() == 0, "exit status", gw.status, gw.log()[-600:])


def main(words):
    q = qemu_or_skipped("unplug")
    tests = types.SimpleNamespace()
    for model, props in CARDS:
        setattr(tests, "test_" + model.replace("-", "_"),
                pull(model, props) if q.has(model) else skipping("QEMU %s has no %s" % (q.version, model)))
    case.main(tests, words or ["test_"])


if __name__ == "__main__":
    main(sys.argv[1:])
