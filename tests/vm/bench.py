# SPDX-License-Identifier: MIT
"""A device on the bench: a card of the machine, the driver that kcpgate has it by, a gateway on it, and peers beyond it.

Card i of the machine has the network 10.80.i.0/24 and fd80:i::/64: the guest is .1, the namespace on the host .2.
"""
import os
import re
import shutil
import signal
import sys
import time
import types

import image
import case
from case import Skip, check
from lab import LOAD_GUARD, ROOT, Lab, LabError, wait_until
from vm import MANAGED, Vm, pci

sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
from snmp_test import peer_counters  # noqa: E402

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
OPTIONS = ["--key", "vm", "--crypt", "aes-128", "--mode", "fast3", "--smuxver", "1", "--quiet"]
BIG = 1 << 20
MODERN = "disable-legacy=on,iommu_platform=on,romfile="


def skipping(reason):
    def test():
        raise Skip(reason)
    return test


def qemu_or_skipped(*names):
    """QEMU; where a machine cannot be had, tests of these names are skipped and say why, and the program ends."""
    try:
        return image.ready()
    except image.Missing as e:
        case.main(types.SimpleNamespace(**{"test_" + n: skipping(str(e)) for n in names}), ["test_"])


class Machine:
    """Boots when first asked for, and anew when the one before is gone or was given up."""

    def __init__(self, cards):
        self.cards, self.lab, self.vm, self.boots, self.cpu = cards, None, None, [], 0

    def get(self):
        if self.vm and self.vm.proc.alive():
            return self.vm
        self.close()
        self.lab = Lab("kv")
        try:
            self.vm = self.boot()
            self.lab.run("target", "q", sys.executable, LOAD, "serve", "0.0.0.0", "9000").wait_for("serving")
        except BaseException:
            self.close()
            raise
        for i in range(len(self.cards)):
            self.lab.addr("q", "n%d" % i, "10.80.%d.2/24" % i, "fd80:%d::2/64" % i)
        self.boots.append("boot: %.0f s, %.0f s of CPU" % (self.vm.boot_seconds, self.vm.boot_cpu))
        print("     QEMU %s, %s" % (self.vm.qemu.version, self.boots[-1]), flush=True)
        return self.vm

    def boot(self):
        """QEMU 10.0 fails an assertion of its own (iotlb_to_section) in one boot of ten: that says nothing of us."""
        for left in (2, 1, 0):
            try:
                return Vm(self.lab, self.cards)
            except LabError as e:
                if not left or "iotlb_to_section" not in str(e):
                    raise
                print("     QEMU failed an assertion of its own at boot: once more", flush=True)
                self.lab.close()
                self.lab = Lab("kv")

    def close(self):
        if self.lab:
            self.lab.close()
        self.lab, self.vm, self.cpu = None, None, 0


class Device:
    """queues: how many pairs its card has; rss: its card spreads what comes by a hash that kcpgate can predict."""

    def __init__(self, name, card, driver, rss=False):
        self.name, self.card, self.driver, self.rss = name, card, driver, rss
        self.machine = self.i = self.vm = self.gw = self.key = self.quirks = None
        self.n, self.servers, self.all = 0, {}, []

    def place(self, machine, i):
        self.machine, self.i = machine, i
        return self

    # ---- names ----

    def here(self, family=4):  # the gateway's
        return "10.80.%d.1" % self.i if family == 4 else "fd80:%d::1" % self.i

    def there(self, family=4):
        return "10.80.%d.2" % self.i if family == 4 else "fd80:%d::2" % self.i

    @property
    def lab(self):
        return self.machine.lab

    @property
    def tap(self):
        return "n%d" % self.i

    @property
    def ifname(self):
        return "kg-p%d" % self.i

    def port(self, n):
        """A TCP port of the guest's managed address, or of the host's, of this device's own."""
        return 13000 + 10 * self.i + n

    def udp(self):
        """Where our server listens: two gateways of a machine cannot have the same port of every address."""
        return 4000 + self.i

    # ---- the card ----

    def up(self):
        """The machine runs, and has the card bound."""
        vm = self.machine.get()
        if vm is not self.vm:
            self.vm, self.gw, self.key, self.fault_count = vm, None, None, len(vm.faults())
        vm.bind(self.i, self.driver)
        return vm

    def down(self):
        if self.vm and self.vm is self.machine.vm and self.vm.proc.alive():
            self.drop_gateway()
            self.vm.unbind(self.i)

    def new_faults(self):
        new = self.vm.faults()[self.fault_count:]
        self.fault_count += len(new)
        return new

    # ---- the gateway ----

    def conf(self, workers=1, hugepages=None, mtu=1500, tunnel_mtu=1350, conn=1, args="", exception=""):
        huge = "hugepages = %s; " % str(hugepages).lower() if hugepages is not None else ""
        lcores = ",".join("%d@%d" % (k, k) for k in range(workers + 1))
        text = 'eal = { lcores = "%s"; %sfile_prefix = "@PREFIX@"; };\nlog = { quiet = true; };\n' % (lcores, huge)
        exception = 'exception = "%s"; ' % exception if exception else ""
        text += ('ports = ( { name = "p%d"; device = "%s%s"; %saddresses = [ "%s/24", "%s/64" ]; mtu = %d; } );\n' %
                 (self.i, pci(self.i), args, exception, self.here(4), self.here(6), mtu))
        common = 'key = "vm"; crypt = "aes-128"; mode = "fast3"; smuxver = 1; mtu = %d;' % tunnel_mtu
        tunnels = ['{ name = "server"; role = "server"; listen = ":%d"; target = "%s:9000"; %s }' %
                   (self.udp(), MANAGED[0], common)]
        tunnels += ['{ name = "client%d"; role = "client"; listen = "%s:%d"; remote = "%s:5000"; conn = %d; closewait = 2; %s }' %
                    (f, MANAGED[1], self.port(f), self.there(f) if f == 4 else "[%s]" % self.there(f), conn, common)
                    for f in (4, 6)]
        return text + "tunnels = ( %s );\n" % ",\n".join(tunnels)

    def gateway(self, **wish):
        """A gateway that runs as wished: the one that does so already, or a new one."""
        self.up()
        if self.gw and self.gw.alive() and self.key == wish:
            return self.gw
        self.drop_gateway()
        return self.start(**wish)

    def start(self, **wish):
        self.n += 1
        self.key = wish
        self.gw = self.vm.gateway("%s-%d" % (self.name, self.n), self.conf(**wish))
        self.wait_carrier(True)  # a card that was reset has no link at first
        if not wish.get("vlan"):  # whose answers bear a tag
            wait_until("an answer through %s" % self.name, lambda: " 1 received" in self.lab.sh(
                "q", "ping", "-n", "-c", "1", "-W", "2", self.here(), check=False))
        return self.gw

    def drop_gateway(self):
        if self.gw and self.gw.alive():
            try:
                self.gw.stop()
            except LabError:
                self.gw.stop(signal.SIGKILL)
        self.gw = None

    def workers(self):
        return self.vm.telemetry(self.gw, "/kcpgate/workers")

    def drops(self):
        return self.vm.telemetry(self.gw, "/kcpgate/drops")

    # ---- traffic ----

    def stock(self, role, family=4, more=()):
        """Debian's kcptun beyond the card. A client's TCP port is port(role's first)."""
        binary = shutil.which("kcptun-" + role)
        if not binary:
            raise LabError("kcptun-%s is not installed" % role)
        here = self.here(4) if family == 4 else "[%s]" % self.here(6)
        if role == "client":
            ends = ["-l", "127.0.0.1:%d" % self.port(0), "-r", "%s:%d" % (here, self.udp())]
        else:
            there = self.there(4) if family == 4 else "[%s]" % self.there(6)
            ends = ["-l", there + ":5000", "-t", "127.0.0.1:9000"]
        p = self.lab.run("%s-%s-%d" % (role, self.name, len(self.lab.procs)), "q", binary, *ends, *OPTIONS, *more)
        p.wait_for("derivation done")
        return p

    def load(self, mode, addr, port, *numbers, wait=True):
        p = self.lab.run("load%d" % len(self.lab.procs), "q", sys.executable, LOAD, mode, addr, str(port),
                         *[str(n) for n in numbers], "--timeout", str(LOAD_GUARD - 20))
        if wait:
            check(p.end() == 0, p.log())
        return p

    def files(self, family=4, big=BIG, small=10, roles=("client", "server"), more=()):
        """`big` bytes up and down at once and some small exchanges, by hash; with the stock peer in each role."""
        if "client" in roles:
            peer = self.stock("client", family, more)
            try:
                self.load("mixed", "127.0.0.1", self.port(0), big, small)
            finally:
                peer.stop()
        if "server" in roles:
            self.server(family, more)
            self.load("mixed", MANAGED[1], self.port(family), big, small)

    def server(self, family=4, more=()):
        """The stock server for our client's sessions, which would wait half a minute for one that was ended: it stays."""
        old, options = self.servers.get(family, (None, None))
        if old and old.alive() and old.lab is self.lab and options == more:
            return old
        if old and old.lab is self.lab:
            old.stop()
        self.servers[family] = self.stock("server", family, more), more
        return self.servers[family][0]

    def ping(self, *options, family=4, check_it=True):
        return self.lab.sh("q", "ping", "-%d" % family, "-n", "-c", "2", "-W", "100", "-i", "0.3", *options, self.here(family),
                           check=check_it)

    def forget_neighbours(self):
        self.lab.ip("q", "neigh", "flush", "dev", self.tap)
        self.vm.sh("ip neigh flush dev %s" % self.ifname)

    def talk(self, family, outside, count):
        """A TCP echo of `count` bytes through the TAP, from beyond the card or from the guest."""
        here, there, agent = self.here(family), self.there(family), os.path.join(self.lab.dir, "agent")
        port = str(7000 + self.n_of())
        if outside:
            server = self.vm.run("echo", "exec /run/vm/agent serve %s %s" % (here, port))
            server.wait_for("serving")
            try:
                out = self.lab.sh("q", agent, "talk", here, port, str(count))
            finally:
                server.stop(signal.SIGKILL)
        else:
            server = self.lab.run("echo%d" % len(self.lab.procs), "q", agent, "serve", there, port)
            server.wait_for("serving")
            try:
                out = self.vm.agent("talk", there, port, str(count))
            finally:
                server.stop()
        check("talked %d" % count in out, out)

    def n_of(self):
        self.n += 1
        return self.n

    def checksum_errors(self):
        """What both kernels counted as wrong checksums."""
        def count(text):
            total = 0
            lines = text.split("\n")
            for head, row in zip(lines, lines[1:]):
                if head.split(":")[0] == row.split(":")[0] and "InCsumErrors" in head:
                    total += int(row.split()[head.split().index("InCsumErrors")])
            return total + sum(int(n) for n in re.findall(r"^\w*InCsumErrors\s+(\d+)", text, re.M))

        command = "cat /proc/net/snmp /proc/net/snmp6"
        return count(self.vm.sh(command)) + count(self.lab.sh("q", "sh", "-c", command))

    def carrier(self):
        return self.vm.sh("cat /sys/class/net/%s/carrier" % self.ifname).strip() == "1"

    def wait_carrier(self, up):
        wait_until("the TAP's carrier to be %d" % up, lambda: self.carrier() == up)


__all__ = ["BIG", "Device", "Lab", "LabError", "Machine", "Skip", "check", "image", "peer_counters", "time", "wait_until"]
