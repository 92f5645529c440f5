#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which card: `check` and the start on real drivers and IOMMU groups.  One boot; no traffic, that is nic_test's.

  devices_test.py [CASE...]     parts of names; what it needs and takes from the environment is nic_test's.
"""
import itertools
import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import check
from lab import gateway_binary
from bench import MODERN, Machine, qemu_or_skipped
from vm import SLOT, Card, pci


class Function(Card):
    """One of the functions of a slot: the kernel has them in one IOMMU group."""

    def __init__(self, model, function, props=""):
        Card.__init__(self, model, 1, props)
        self.function = function

    def arguments(self, i, tap):
        argv = Card.arguments(self, i, tap)
        return argv[:-1] + [argv[-1].replace("addr=0x%x" % (SLOT + i), "addr=0x18.%d" % self.function) +
                            ",multifunction=on"]


VIRTIO, E1000E, FIRST, SECOND = pci(0), pci(1), "0000:00:18.0", "0000:00:18.1"
KERNELS = "0000:00:1e.0"  # the machine's own link to the host
machine = Machine([Card("virtio-net-pci", 2, MODERN), Card("e1000e", 1, "romfile="), Function("virtio-net-pci", 0, MODERN),
                   Function("virtio-net-pci", 1, MODERN)])
names, running = itertools.count(), []


def conf(device, huge=None):
    return ('eal = { lcores = "0@0,1@1"; file_prefix = "@PREFIX@"; memory = 200; %s };\n'
            'ports = ( { name = "wan0"; device = "%s"; ifname = "kg-@PREFIX@"; } );\n'
            'tunnels = ( { name = "s"; role = "server"; listen = ":%d"; target = "127.0.0.1:9"; key = "k"; } );\n'
            'limits = { sessions = 1000; };\n' % ("hugepages = %s;" % huge if huge else "", device, 4000 + next(names)))


def bind(address, driver):
    """Given to the driver, of whoever of ours has it still: the kernel would wait for that."""
    unbind(address)
    machine.get().agent("bind", driver, address)


def unbind(address):
    while running:
        running.pop().stop(signal.SIGKILL)
    machine.get().sh("d=/sys/bus/pci/devices/%s; echo > $d/driver_override; [ ! -e $d/driver ] || echo %s > $d/driver/unbind" %
                     (address, address))


def run_check(text, user=None):
    vm = machine.get()
    path = vm.file("check.conf", text.replace("@PREFIX@", "check"))
    vm.sh("chmod 755 /run/vm; chmod %s %s" % ("644" if user else "600", path))
    p = vm.run("check", "%s%s check -c %s" % ("setpriv --reuid %d --clear-groups " % user if user else "",
                                              os.path.realpath(gateway_binary()), path))
    status = p.end()
    return status, "".join(x + "\n" for x in p.log().split("\n") if x.startswith("kcpgate: ") and "warning" not in x)


def good(text):
    status, said = run_check(text)
    check(status == 0 and not said, status, said)


def refused(text, line):
    """By check and by the start, which ends before a key is derived, in the same words."""
    status, said = run_check(text)
    check(status == 2 and re.fullmatch("kcpgate: /run/vm/check.conf: port wan0: " + line + "\n", said), status, said)
    gw = gateway(text, ready=False)
    check(gw.end() == 1, gw.log())
    check(re.search("cannot start: DPDK: port wan0: " + line + "\n", gw.log()), gw.log())
    check("key derivation" not in gw.log(), gw.log())
    return said.split("check.conf: ")[1].strip()


def gateway(text, ready=True):
    gw = machine.get().gateway("g%d" % next(names), text, ready=False)
    running.append(gw)
    if ready:
        gw.wait_for("ready:")
    return gw


def ended(gw):
    check(gw.stop() == 0, "exit status", gw.status, gw.log()[-600:])


def groups_held(gw):
    """The devices of the IOMMU groups that the gateway has open."""
    pid = machine.get().sh("for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | grep -q '%s.conf' && "
                           "ls -l $p/fd; done; true" % gw.prefix)
    found = []
    for group in sorted(set(re.findall(r"-> /dev/vfio/(\d+)", pid))):
        found += machine.get().sh("ls /sys/kernel/iommu_groups/%s/devices" % group).split()
    return found


def test_unbound():
    unbind(VIRTIO)
    return refused(conf(VIRTIO), "%s: bound to no driver: dpdk-devbind.py -b vfio-pci %s" % (VIRTIO, VIRTIO))


def test_the_kernels():
    return refused(conf(KERNELS), "%s: bound to the kernel's driver virtio-pci, which makes of it eth[0-9]+: "
                   "dpdk-devbind.py -b vfio-pci %s" % (KERNELS, KERNELS))


def test_absent():
    bind(VIRTIO, "vfio-pci")
    return refused(conf("0000:00:1f.7"), r"0000:00:1f.7: no PCI device at this address; network devices are .*%s "
                   r"\(vfio-pci\).*" % VIRTIO)


def test_forms():
    """Each form that people write starts the gateway on the same card."""
    bind(VIRTIO, "vfio-pci")
    for form in (VIRTIO[5:], VIRTIO, "pci:" + VIRTIO[5:]):
        good(conf(form))
        gw = gateway(conf(form))
        check(groups_held(gw) == [VIRTIO], groups_held(gw))
        ended(gw)


def test_arguments():
    """They reach the driver, and what no driver knows is refused, of drivers too that say nothing about it."""
    bind(VIRTIO, "vfio-pci")
    bind(E1000E, "vfio-pci")
    speeds = []
    for arg in ("", ",speed=25000", ",speed=40000"):
        gw = gateway(conf(VIRTIO + arg))
        speeds.append(machine.get().telemetry(gw, "/ethdev/link_status,0").get("speed"))
        ended(gw)
    check(speeds[0] not in (25000, 40000) and speeds[1:] == [25000, 40000], speeds)
    refused(conf(VIRTIO + ",bogus=1"), "%s: the driver net_virtio knows no argument `bogus'; leave it out" % VIRTIO)
    refused(conf(E1000E + ",speed=10000"), "%s: the driver net_e1000_em knows no argument `speed'; .*" % E1000E)
    return "speed %s" % speeds


def test_two_gateways():
    """Each has its own card; a third on one of them is told who has it, and hurts nobody."""
    for a in (VIRTIO, E1000E):
        bind(a, "vfio-pci")
    one = gateway(conf(VIRTIO))
    other = gateway(conf(E1000E))
    try:
        check(groups_held(one) == [VIRTIO] and groups_held(other) == [E1000E], groups_held(one), groups_held(other))
        said = refused(conf(VIRTIO), r"%s: in use by process \d+ \(kcpgate\): stop that one, or take another device" % VIRTIO)
        check(one.alive() and other.alive(), one.log(), other.log())
        ended(one)
        good(conf(VIRTIO))
        one = gateway(conf(VIRTIO))
    finally:
        ended(other)
        ended(one)
    return said


def test_killed():
    """A gateway that was killed has let go of its card."""
    bind(VIRTIO, "vfio-pci")
    for _ in range(2):
        gateway(conf(VIRTIO)).stop(signal.SIGKILL)
        good(conf(VIRTIO))


def test_group_shared():
    """Two functions of a card are given away together, or not at all."""
    bind(FIRST, "vfio-pci")
    bind(SECOND, "uio_pci_generic")
    said = refused(conf(FIRST), r"%s: its IOMMU group \d+ also holds %s, bound to uio_pci_generic: dpdk-devbind.py -u %s .*" %
                   (FIRST, SECOND, SECOND))
    unbind(SECOND)
    good(conf(FIRST))
    ended(gateway(conf(FIRST)))
    bind(SECOND, "vfio-pci")
    ended(gateway(conf(FIRST)))
    return said


def test_not_ours_to_open():
    bind(VIRTIO, "vfio-pci")
    status, said = run_check(conf(VIRTIO), user=65534)
    check(status == 2 and re.search(r"port wan0: %s: /dev/vfio/\d+ may not be opened \(Permission denied\): run as root, or "
                                    r"give the file to this user\n" % VIRTIO, said), status, said)
    return said.strip()


def test_uio():
    """Without an IOMMU's help it takes hugepages, and nobody else's: the device is busy here too."""
    bind(E1000E, "uio_pci_generic")
    line = r"%s: bound to uio_pci_generic, which needs hugepages, for only theirs are memory's physical addresses known: %s, or " \
        r"switch the IOMMU on and dpdk-devbind.py -b vfio-pci %s"
    refused(conf(E1000E, huge="false"), line % (E1000E, "set eal.hugepages = true", E1000E))
    gw = gateway(conf(E1000E))
    refused(conf(E1000E), r"%s: in use by process \d+ \(kcpgate\): .*" % E1000E)
    ended(gw)
    had = machine.get().sh("cat /proc/sys/vm/nr_hugepages").strip()
    machine.get().sh("echo 3 > /proc/sys/vm/nr_hugepages")
    try:
        return refused(conf(E1000E), line % (E1000E, r"reserve hugepages \(\d+ of 2 MB\)", E1000E))
    finally:
        machine.get().sh("echo %s > /proc/sys/vm/nr_hugepages" % had)


def test_no_faults():
    """The guest's kernel had nothing to complain of."""
    check(not machine.get().faults(), machine.get().faults()[:3])


if __name__ == "__main__":
    qemu_or_skipped("devices")
    try:
        case.main(sys.modules[__name__])
    finally:
        machine.close()
