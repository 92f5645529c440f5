# SPDX-License-Identifier: MIT
"""The emulator of tests/e2e/wan between two interfaces of a namespace, and sockets in namespaces."""
import ctypes
import json
import os
import signal
import socket

from lab import ROOT, LabError, wait_until

EMULATOR = os.path.join(ROOT, "build", "tests", "e2e", "wan", "emulator")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

# veth queues a frame on the CPU that sends it: who sends from two of them may see his frames turned round.  The emulator
# sends from one, and whoever asks for order from another, where there are two.
CPUS = sorted(os.sched_getaffinity(0))


def keep_order():
    """What this process sends from now on arrives in its order."""
    os.sched_setaffinity(0, CPUS[:1])


def socket_in(lab, ns, family=socket.AF_INET, kind=socket.SOCK_DGRAM):
    """A socket that lives in a namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open("/run/netns/" + lab.ns(ns), os.O_RDONLY)
    try:
        if _libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            s = socket.socket(family, kind)
        finally:
            if _libc.setns(home, CLONE_NEWNET):
                os.abort()
    finally:
        os.close(home)
        os.close(there)
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    return s


class Wan:
    """client (10.77.0.1) -- the path's namespace -- server (10.77.0.2), and nothing but what the test sends."""

    CLIENT, SERVER = "10.77.0.1", "10.77.0.2"

    def __init__(self, lab, *statements):
        self.lab, self.said = lab, 0
        if not os.access(EMULATOR, os.X_OK):
            raise LabError("%s: not built; run scripts/dev build -Dtests=true" % EMULATOR)
        if "wan" not in lab.namespaces:
            lab.add_ns("client", "wan", "server")
            for ns in ("client", "wan", "server"):
                for dev in ("all", "default"):
                    lab.sysctl(ns, "net.ipv6.conf.%s.disable_ipv6" % dev, 1)
            lab.veth("client", "wan0", "wan", "left")
            lab.veth("wan", "right", "server", "wan0")
            lab.addr("client", "wan0", self.CLIENT + "/24")
            lab.addr("server", "wan0", self.SERVER + "/24")
        Wan.n = getattr(Wan, "n", 0) + 1
        self.p = lab.run("wan%d" % Wan.n, "wan", "taskset", "-c", str(CPUS[-1]), EMULATOR, "left", "right", *statements)
        self.p.wait_for("ready")

    def _lines(self):
        return [x for x in self.p.log().split("\n")[:-1] if x.startswith("{")]

    def look(self):
        """The counters by now."""
        had = len(self._lines())
        self.p.p.send_signal(signal.SIGUSR1)
        wait_until("the emulator's counters", lambda: len(self._lines()) > had)
        return json.loads(self._lines()[-1])

    def settle(self, way, n):
        """Waits until n packets went into a direction, and what is to come of them has come; the counters."""
        def done():
            c = self.look()[way]
            gone = c["lost"] + c["queue_drops"] + c["policed"] + c["black"]
            return c if c["path"] >= n and c["path"] + c["dup"] == c["out"] + gone else None
        return wait_until("%d packets to pass" % n, done)

    def stop(self):
        """Ends it; its counters."""
        self.p.stop()
        return json.loads(self._lines()[-1])
