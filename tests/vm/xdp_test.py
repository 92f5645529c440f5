#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""AF_XDP beside the kernel and beside other XDP programs, where a kernel has programs in programs: Debian's, in QEMU.

The guest's kernel keeps the card, and kcpgate shares it.  Somebody's filter (of libxdp's own files) comes before and
after us; it and the host are as they were when kcpgate is killed, started anew and stopped.
"""
import json
import os
import re
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lab"))
import case
from bench import BIG, LOAD, MODERN, OPTIONS, Machine, check, qemu_or_skipped, wait_until
from vm import MANAGED, Card, pci

HOST, GUEST = {4: "10.80.0.2", 6: "fd80:0::2"}, {4: "10.80.0.1", 6: "fd80:0::1"}

# Programs of an interface by libxdp: FILTER on|off FILE IFNAME, or list IFNAME.
TOOL = r"""
import ctypes, json, os, socket, sys
lib = ctypes.CDLL("libxdp.so.1")
for f in ("xdp_program__find_file", "xdp_multiprog__get_from_ifindex", "xdp_multiprog__next_prog", "xdp_program__name"):
    getattr(lib, f).restype = ctypes.c_void_p
lib.libxdp_get_error.restype = ctypes.c_long
what, iface = sys.argv[1], socket.if_nametoindex(sys.argv[-1])
def programs(mp):
    p = None
    while True:
        p = lib.xdp_multiprog__next_prog(ctypes.c_void_p(p), mp)
        if not p:
            return
        yield ctypes.c_void_p(p), ctypes.string_at(lib.xdp_program__name(ctypes.c_void_p(p))).decode()
if what == "on":
    p = ctypes.c_void_p(lib.xdp_program__find_file(sys.argv[2].encode(), None, None))
    assert lib.libxdp_get_error(p) == 0
    assert lib.xdp_program__attach(p, iface, 1, 0) == 0
    print("[]")
else:
    mp = ctypes.c_void_p(lib.xdp_multiprog__get_from_ifindex(iface))
    if lib.libxdp_get_error(mp):
        print(json.dumps([]))
        sys.exit()
    names = []
    for p, name in programs(mp):
        names.append(name)
        if what == "off" and name == sys.argv[2]:
            assert lib.xdp_program__detach(p, iface, lib.xdp_multiprog__attach_mode(mp), 0) == 0
    print(json.dumps(names))
"""
FILTER = "xdpfilt_dny_all.o", "xdpfilt_dny_all"  # it denies everything

qemu_or_skipped("beside_others")
machine = Machine([Card("virtio-net-pci", 1, MODERN)])


class Guest:
    def __init__(self):
        self.vm, self.lab, self.n = machine.get(), machine.lab, 0
        self.dev = self.vm.sh("ls /sys/bus/pci/devices/%s/virtio*/net" % pci(0)).strip()
        self.vm.sh("mount -t bpf bpf /sys/fs/bpf; ip link set %s up; ip addr add %s/24 dev %s; ip addr add %s/64 dev %s nodad" %
                   (self.dev, GUEST[4], self.dev, GUEST[6], self.dev))
        self.tool = self.vm.file("tool.py", TOOL)

    def programs(self, what="list", *argv):
        """Those of the interface, behind what the library has to say."""
        return json.loads(self.vm.sh(" ".join(["exec /usr/bin/python3", self.tool, what, *argv, self.dev])).strip().split("\n")[-1])

    def pings(self, some=True):
        for fam in (4, 6) if some else (4,):
            out = self.lab.sh("q", "ping", "-%d" % fam, "-n", "-c", "3", "-i", "0.3", "-W", "100" if some else "2", GUEST[fam],
                              check=False)
            check((" 0% packet loss" if some else "100% packet loss") in out, out)

    def start(self):
        self.n += 1
        tunnels = ['{ name = "s"; role = "server"; listen = ":4000"; target = "%s:9000"; key = "vm"; crypt = "aes-128"; '
                   'mode = "fast3"; smuxver = 1; }' % MANAGED[0]]
        return self.vm.gateway("gw%d" % self.n, 'eal = { lcores = "0@0,1@1"; file_prefix = "@PREFIX@"; };\n'
                               'ports = ( { name = "p0"; device = "net_af_xdp0,iface=%s"; exception = "kernel"; } );\n'
                               "tunnels = ( %s );\n" % (self.dev, ",".join(tunnels)))

    def transfer(self):
        for fam in 4, 6:
            far = GUEST[fam] if fam == 4 else "[%s]" % GUEST[fam]
            peer = self.lab.run("peer%d" % len(self.lab.procs), "q", "kcptun-client", "-l", "127.0.0.1:13000", "-r", far + ":4000",
                                *OPTIONS)
            peer.wait_for("derivation done")
            p = self.lab.run("load%d" % len(self.lab.procs), "q", sys.executable, LOAD, "mixed", "127.0.0.1", "13000",
                             str(BIG), "5", "--timeout", "280")
            check(p.end() == 0, p.log())
            peer.stop()


def test_beside_others():
    g = Guest()
    g.pings()
    gw = g.start()
    port = g.vm.telemetry(gw, "/kcpgate/ports")["p0"]
    check(port["xdp_mode"] == "native" and port["xdp_beside_others"] == "yes", port, gw.log())
    check(g.programs() == ["kcpgate_steer"], g.programs())
    g.transfer()
    g.pings()
    # Somebody's filter comes, denies everything, and goes.
    g.programs("on", FILTER[0])
    check(sorted(g.programs()) == ["kcpgate_steer", FILTER[1]], g.programs())
    g.pings(False)
    g.programs("off", FILTER[1])
    g.pings()
    g.transfer()
    # It is there while we are killed, come again, and stop: nothing of it changes.
    g.programs("on", FILTER[0])
    gw.stop(signal.SIGKILL)
    check(sorted(g.programs()) == ["kcpgate_steer", FILTER[1]], g.programs())
    gw = g.start()
    check("a killed process had left" in gw.log(), gw.log())
    check(sorted(g.programs()) == ["kcpgate_steer", FILTER[1]], g.programs())
    g.pings(False)
    check(gw.stop() == 0, gw.log())
    check(g.programs() == [FILTER[1]], g.programs())
    g.programs("off", FILTER[1])
    g.pings()
    # Killed alone: the host has everything; and once more from nothing.
    gw = g.start()
    gw.stop(signal.SIGKILL)
    g.pings()
    gw = g.start()
    g.transfer()
    check(gw.stop() == 0, gw.log())
    check(g.programs() == [], g.programs())
    check(not g.vm.faults(), g.vm.faults())
    return "%s, %s" % (port["xdp_mode"], port["xdp_copy"])


if __name__ == "__main__":
    case.main(sys.modules[__name__])
