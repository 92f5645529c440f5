#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The exception path: what is not kcpgate's reaches the kernel by the port's TAP, as it must be, and under a flood too.

The port is a veth whose own kernel side is deaf: packet sockets see what arrives before the filter that drops it all, so
that nothing but the TAP can have answered.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
G, P, G6, P6 = "10.78.1.1", "10.78.1.2", "fd78::1", "fd78::2"


def conf(more="", workers=1):
    return (eal(workers) + 'ports = ( { name = "p0"; device = "net_af_packet0,iface=g0"; exception = "tap"; '
            'ifname = "kg0"; addresses = [ "%s/24", "%s/64" ]; %s } );\n' % (G, G6, more) +
            'tunnels = ( { name = "s"; role = "server"; listen = ":4000"; target = "127.0.0.1:9000"; key = "k"; } );\n')


def link(lab, offload=False):
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0", offload=offload)
    lab.sh("g", "nft", "add table netdev lab { chain in { type filter hook ingress device g0 priority 0; drop; }; }")
    lab.addr("p", "p0", P + "/24", P6 + "/64")


def gateway(lab, more="", workers=1):
    return lab.gateway("gw", "g", conf(more, workers), ready=True)


def serve(lab, ns, addr, port=9001):
    srv = lab.run("serve-%s-%s-%d" % (ns, addr[-3:], port), ns, sys.executable, LOAD, "serve", addr, str(port))
    srv.wait_for("serving")
    return srv


def load(lab, ns, addr, what="big", n=1 << 20, port=9001):
    p = lab.run("load-%s-%s" % (ns, addr[-3:]), ns, sys.executable, LOAD, what, addr, str(port), str(n))
    p.end()
    case.check(p.p.returncode == 0, p.log())


def test_unfinished_checksums():
    """TCP with a peer whose veth leaves checksums to a device that is not there: both families, begun by either side."""
    with Lab("kx") as lab:
        link(lab, offload=True)
        for side in "gp":  # segments of 64 KiB fit no port; checksums are what this is about
            lab.sh(side, "ethtool", "-K", side + "0", "tso", "off", "gso", "off", "gro", "off")
        case.check("tx-checksumming: on" in lab.sh("p", "ethtool", "-k", "p0"), "the veth finishes checksums by itself")
        gw = gateway(lab)
        for here, there in ((G, P), (G6, P6)):
            serve(lab, "g", here)
            load(lab, "p", here)
            serve(lab, "p", there)
            load(lab, "g", there)
        seen = lab.telemetry(gw, "/kcpgate/control")
        case.check(seen["exception_checksums"] > 100 and seen["exception_errors"] == 0, seen)
        bad = lab.sh("g", "nstat", "-asz", "TcpInCsumErrors")
        case.check(bad.split()[-2] in ("0", "0.0"), bad)
        case.check(gw.stop() == 0, "exit status")
        return "%d completed" % seen["exception_checksums"]


if __name__ == "__main__":
    case.main(sys.modules[__name__])
