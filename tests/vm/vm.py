# SPDX-License-Identifier: MIT
"""A machine with NICs of its own: QEMU's emulation of a CPU, an IOMMU and network cards, on the host's root.

The guest runs Debian's kernel and sees the host's files, read only: kcpgate runs in it as it was built here.  The other
end of each card is a TAP in a namespace of the host's, n0, n1, ... in the cards' order.  One more card, in the hands of
the guest's kernel, joins the two for TCP (MANAGED): a target or an application may so stay on the host, where a byte
costs less than in the guest.
"""
import json
import os
import re
import signal
import socket
import threading
import time

import image
from lab import GUARD, LabError, wait_until

MANAGED = ("10.99.0.1", "10.99.0.2")  # the host's side, the guest's
BOOT_GUARD = 240
PLACE = "/run/vm"  # in the guest: the only place to write
HUGEPAGES = 400
SLOT = 2  # the first card's; igb's virtual functions need numbers behind it that a slot from 15 on has not
CMDLINE = ("console=ttyS0 panic=-1 quiet loglevel=4 no_timer_check nokaslr mitigations=off tsc=reliable nowatchdog "
           "audit=0 apparmor=0 selinux=0 cryptomgr.notests raid=noautodetect random.trust_cpu=on net.ifnames=0 "
           "intel_iommu=on iommu=pt hugepages=%d" % HUGEPAGES)
# What the guest's kernel says when a device reaches for memory that it was not given, and of its own trouble.
FAULTS = re.compile(r"DMAR:.*fault addr.*|BUG:.*|Oops.*|.*Call Trace.*|.*blocked for more than.*")


class Card:
    """One network card: QEMU's model with its properties, and how many pairs of queues it has."""

    def __init__(self, model, queues=1, props=""):
        self.model, self.queues, self.props = model, queues, props

    def arguments(self, i, tap):
        netdev = "tap,id=n%d,ifname=%s,script=no,downscript=no%s" % (
            i, tap, ",queues=%d" % self.queues if self.queues > 1 else "")
        dev = "%s,netdev=n%d,id=d%d,bus=pcie.0,addr=0x%x,mac=%s" % (self.model, i, i, SLOT + i, self.mac(i))
        if self.queues > 1 and "virtio" in self.model:
            dev += ",mq=on,vectors=%d" % (2 * self.queues + 2)
        return ["-netdev", netdev, "-device", dev + ("," + self.props if self.props else "")]

    @staticmethod
    def mac(i):
        return "52:54:00:77:00:%02x" % (0x10 + i)


def pci(i):
    """The PCI address of card i."""
    return "0000:00:%02x.0" % (SLOT + i)


class GuestProc:
    """A command in the guest, in the manner of lab.Proc."""

    def __init__(self, vm, name, ident):
        self.vm, self.name, self.id = vm, name, ident
        self.text, self.status = bytearray(), None

    def log(self):
        return self.text.decode(errors="replace")

    def alive(self):
        return self.status is None

    def wait_for(self, text, timeout=GUARD):
        end = time.monotonic() + timeout
        while text not in self.log():
            if not self.alive() and text not in self.log():
                raise LabError("%s ended with %s:\n%s" % (self.name, self.status, self.log()[-4000:]))
            if time.monotonic() > end:
                raise LabError("%s: no %r within %d s:\n%s" % (self.name, text, timeout, self.log()[-4000:]))
            self.vm.pause()

    def end(self, timeout=GUARD):
        end = time.monotonic() + timeout
        while self.alive():
            if time.monotonic() > end:
                raise LabError("%s did not end within %d s:\n%s" % (self.name, timeout, self.log()[-4000:]))
            self.vm.pause()
        return self.status

    def kill(self, sig):
        self.vm.say(b"kill %d %d\n" % (self.id, sig))

    def stop(self, sig=signal.SIGTERM, timeout=GUARD):
        if self.alive():
            self.kill(sig)
        return self.end(timeout)


class Vm:
    """Boots at once; ends with the lab.  The namespace ns is made here, with a TAP n0, n1, ... for each card."""

    def __init__(self, lab, cards, ns="q", cpus=3, memory=1800):
        self.lab, self.cards, self.ns, self.procs, self.ids = lab, cards, ns, {}, 0
        self.begun, self.ready, self.news = time.monotonic(), threading.Event(), threading.Condition()
        self.qemu, vmlinux, initrd = image.prepare(lab.dir)
        missing = [c.model for c in cards if not self.qemu.has(c.model)]
        if missing:
            raise image.Missing("QEMU %s has no %s" % (self.qemu.version, ", ".join(missing)))
        lab.add_ns(ns)
        self.tap("m0", 1)
        lab.addr(ns, "m0", MANAGED[0] + "/24")
        for i, c in enumerate(cards):
            self.tap("n%d" % i, c.queues)
        self.console = os.path.join(lab.dir, "console")
        self.proc = lab.run("qemu", ns, *self.command(vmlinux, initrd), env=self.qemu.env)
        self.chan = self.connect("channel")
        threading.Thread(target=self.listen, daemon=True).start()
        self.qmp = self.connect("qmp").makefile("rw")
        self.qmp.readline()
        self.monitor("qmp_capabilities")
        self.wait_ready()

    def tap(self, name, queues):
        self.lab.ip(self.ns, "tuntap", "add", name, "mode", "tap", "vnet_hdr", *(["multi_queue"] if queues > 1 else []))
        self.lab.ip(self.ns, "link", "set", name, "up")

    def command(self, vmlinux, initrd):
        def path(name):
            return os.path.join(self.lab.dir, name)

        argv = self.qemu.argv + [
            "-M", "q35,usb=off,vmport=off,smbus=off,sata=off,hpet=off", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-smp", "3", "-m", "1800M", "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", vmlinux, "-initrd", initrd, "-append", CMDLINE + " pmds=" + image.pmd_dir(),
            "-serial", "file:" + self.console,
            # Without eim the guest ends an interrupt by a write to memory, and QEMU 10.0 loses one now and then while
            # a device's memory moves: that CPU has no timer any more.
            "-device", "intel-iommu,intremap=on,eim=on,caching-mode=on,device-iotlb=on",
            "-qmp", "unix:%s,server=on,wait=off" % path("qmp"),
            "-chardev", "socket,id=ch,path=%s,server=on,wait=off" % path("channel"),
            "-device", "virtio-serial-pci,addr=0x1c,max_ports=2", "-device", "virtserialport,chardev=ch,name=vm,nr=1",
            "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root,addr=0x1d",
            "-netdev", "tap,id=m0,ifname=m0,script=no,downscript=no",
            "-device", "virtio-net-pci,netdev=m0,mac=52:54:00:77:00:01,addr=0x1e,romfile="]
        for i, c in enumerate(self.cards):
            argv += c.arguments(i, "n%d" % i)
        return argv

    # ---- the two connections to QEMU ----

    def connect(self, name):
        s = socket.socket(socket.AF_UNIX)

        def one():
            if not self.proc.alive():
                raise LabError("QEMU ended:\n" + self.proc.log())
            try:
                s.connect(os.path.join(self.lab.dir, name))
                return True
            except OSError:
                return False

        wait_until("QEMU's %s" % name, one)
        return s

    def monitor(self, command, **arguments):
        """One command of QEMU's monitor; events before its answer are passed over."""
        self.qmp.write(json.dumps(dict(execute=command, arguments=arguments)) + "\n")
        self.qmp.flush()
        while True:
            try:
                answer = json.loads(self.qmp.readline())
            except (OSError, ValueError):
                self.proc.p.wait(GUARD)
                raise LabError("QEMU ended: " + self.proc.log()[-1000:])
            if "error" in answer:
                raise LabError("QEMU: %s: %s" % (command, answer["error"].get("desc")))
            if "return" in answer:
                return answer["return"]

    def set_link(self, i, up):
        self.monitor("set_link", name="d%d" % i, up=up)

    def say(self, data):
        self.chan.sendall(data)

    def listen(self):
        f = self.chan.makefile("rb")
        try:
            for line in f:
                word = line.split()
                with self.news:
                    if word[0] == b"ready":
                        self.ready.set()
                    elif word[0] == b"out":
                        data = f.read(int(word[2]))
                        self.procs[int(word[1])].text += data
                    elif word[0] == b"end":
                        self.procs[int(word[1])].status = int(word[2])
                    self.news.notify_all()
        except (OSError, ValueError):
            pass

    def pause(self):
        """Until something was heard of the guest, or half a second."""
        if not self.proc.alive():
            raise LabError("QEMU ended: %s\n%s" % (self.proc.log()[-1000:], self.kernel_log()[-2000:]))
        with self.news:
            self.news.wait(0.5)

    def wait_ready(self):
        end = time.monotonic() + BOOT_GUARD
        while not self.ready.is_set():
            if time.monotonic() > end:
                raise LabError("no boot within %d s:\n%s" % (BOOT_GUARD, self.kernel_log()[-4000:]))
            self.pause()
        self.sh("d=$(ls /sys/bus/pci/devices/0000:00:1e.0/virtio*/net) && ip addr add %s/24 dev $d && ip link set $d up && "
                "ip link set lo up && echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad && "
                "echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad" % MANAGED[1])
        self.boot_seconds = time.monotonic() - self.begun
        self.boot_cpu = self.cpu_seconds()

    def cpu_seconds(self):
        return self.proc.cpu_seconds()

    # ---- the guest ----

    def run(self, name, command):
        """A command in the background."""
        with self.news:
            self.ids += 1
            p = self.procs[self.ids] = GuestProc(self, name, self.ids)
        data = command.encode()
        self.say(b"run %d %d\n" % (p.id, len(data)) + data)
        return p

    def sh(self, command, check=True, timeout=GUARD):
        """Runs a command of /bin/sh to its end; its output."""
        p = self.run(command, command)
        status = p.end(timeout)
        if check and status:
            raise LabError("in the guest: %s: exit %d: %s" % (command, status, p.log().strip()))
        return p.log()

    def file(self, name, text, mode=0o600):
        data = text.encode()
        self.say(b"put %o %d %s/%s\n" % (mode, len(data), PLACE.encode(), name.encode()) + data)
        return "%s/%s" % (PLACE, name)

    def agent(self, *argv, **kw):
        return self.sh("exec %s/agent %s" % (PLACE, " ".join("'%s'" % a for a in argv)), **kw)

    def bind(self, i, driver):
        self.agent("bind", driver, pci(i))

    def unbind(self, i):
        self.sh("d=/sys/bus/pci/devices/%s; echo > $d/driver_override; [ ! -e $d/driver ] || echo %s > $d/driver/unbind" %
                (pci(i), pci(i)))

    def kernel_log(self):
        try:
            with open(self.console, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def faults(self):
        """What the guest's kernel had to complain of so far."""
        return [m.group(0) for m in FAULTS.finditer(self.kernel_log())]

    def gateway(self, name, conf, ready=True, binary=None):
        """kcpgate in the guest, as lab.gateway is in a namespace."""
        from lab import gateway_binary
        prefix = name
        path = self.file(name + ".conf", conf.replace("@PREFIX@", prefix))
        p = self.run(name, "exec %s -c %s" % (binary or os.path.realpath(gateway_binary()), path))
        p.prefix = prefix
        if ready:
            p.wait_for("ready:")
        return p

    def telemetry(self, gw, command):
        v = json.loads(self.agent("telemetry", gw.prefix, command))[command.split(",")[0]]
        if not command.startswith(("/kcpgate/sessions", "/kcpgate/workers")):
            return v
        return [row for row in v.values() if isinstance(row, dict)]
