#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fake TCP: both roles, stock kcptun with --tcp as the peer and kcpgate itself, and no word of the kernel's on the link.

What goes over the link is captured and judged afterwards: every byte moved must have gone by TCP segments, and no
gateway's address may have sent a RST or anything else that a kernel says.
"""
import os
import shutil
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
PORTS = 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n'
TAP = ('ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "tap"; ifname = "kg%s"; '
       'addresses = ( "%s" ); } );\n')
G, P, PORT = "10.77.0.1", "10.77.0.2", 4000
BYTES = 8 << 20
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def tunnel(name, role, listen, far, tcp=True):
    return ('{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; key = "k"; mode = "fast3"; smuxver = 1; tcp = %s; %s}' %
            (name, role, listen, "target" if role == "server" else "remote", far, "true" if tcp else "false",
             "" if role == "server" else "closewait = 2; "))


def conf(ports, *tunnels, workers=1):
    return eal(workers) + ports + "tunnels = (\n" + ",\n".join(tunnels) + "\n);\n"


def stock(role, *argv):
    binary = os.environ.get("KCPTUN_" + role.upper()) or shutil.which("kcptun-" + role)
    if not binary:
        raise case.Skip("kcptun-%s is not installed" % role)
    return [binary, *argv, "--key", "k", "--mode", "fast3", "--tcp"]


def link(lab):
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", G + "/24", "fd77::1/64")
    lab.addr("p", "p0", P + "/24", "fd77::2/64")


def target(lab):
    lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def server(lab, ports=PORTS % "g0", workers=1):
    return lab.gateway("server", "g", conf(ports, tunnel("s", "server", ":%d" % PORT, "127.0.0.1:9000"),
                                           workers=workers))


def client(lab, remote="%s:%d" % (G, PORT), workers=1, tcp=True, ports=PORTS % "p0"):
    return lab.gateway("client", "p", conf(ports, tunnel("c", "client", "127.0.0.1:13000", remote, tcp),
                                           workers=workers))


def load(lab, *argv):
    p = lab.run("load", "p", sys.executable, LOAD, argv[0], "127.0.0.1", "13000", *[str(a) for a in argv[1:]])
    p.end()
    case.check(p.p.returncode == 0, p.log())


class Wire:
    """Heads of the packets of the link, captured where they arrive: a port's own may bypass captures where they leave."""

    def __init__(self, lab):
        self.tcpdumps = []
        for ns in "gp":
            path = os.path.join(lab.dir, ns + ".pcap")
            p = lab.run("wire-" + ns, ns, "tcpdump", "-i", ns + "0", "-Q", "in", "-s", "100", "-B", "65536", "-U", "-w", path)
            p.wait_for("listening on")
            self.tcpdumps.append((p, path))

    def packets(self):
        for p, path in self.tcpdumps:
            p.stop()
            with open(path, "rb") as f:
                yield from self.parse(f.read())

    @staticmethod
    def parse(data):
        """(source address, IP protocol, TCP flags, bytes of payload) of each."""
        at = 24
        while at + 16 <= len(data):
            n = struct.unpack_from("=I", data, at + 8)[0]
            frame = data[at + 16:at + 16 + n]
            at += 16 + n
            kind = struct.unpack_from(">H", frame, 12)[0]
            if kind == 0x800:
                head, proto, src = (frame[14] & 15) * 4, frame[23], socket.inet_ntop(socket.AF_INET, frame[26:30])
                size = struct.unpack_from(">H", frame, 16)[0] - head
            elif kind == 0x86dd:
                head, proto, src = 40, frame[20], socket.inet_ntop(socket.AF_INET6, frame[22:38])
                size = struct.unpack_from(">H", frame, 18)[0]
            else:
                continue
            l4 = frame[14 + head:]
            if proto == 6:
                yield src, proto, l4[13], size - (l4[12] >> 4) * 4
            elif proto == 17:
                yield src, proto, 0, size - 8

    def judge(self, *gateways, moved=BYTES):
        """gateways: addresses whose kernel must have kept silent."""
        total = {}
        for src, proto, flags, n in self.packets():
            if proto == 17 and n > 100:
                raise AssertionError("UDP from %s, %d bytes" % (src, n))
            if proto != 6:
                continue
            total[src] = total.get(src, 0) + n
            if src in gateways:
                case.check(not flags & (RST | FIN), src, "sent flags", flags)
                case.check(flags in (SYN, SYN | ACK, ACK, PSH | ACK), src, "sent flags", flags)
                case.check((n > 0) == (flags == PSH | ACK), src, "sent", n, "bytes with flags", flags)
        for src, n in total.items():
            case.check(n > moved / 2, src, "sent only", n, "bytes by TCP")
        case.check(len(total) == 2, total)
        return ", ".join("%s %d KiB" % (src, n >> 10) for src, n in sorted(total.items()))


def test_server_with_stock_client():
    with Lab("tc") as lab:
        link(lab)
        server(lab)
        target(lab)
        wire = Wire(lab)
        lab.run("stock", "p", *stock("client", "-l", "127.0.0.1:13000", "-r", "%s:%d" % (G, PORT)))
        wait_until("stock's listener", lambda: ":13000" in lab.sh("p", "ss", "-tln"))
        load(lab, "big", BYTES)
        load(lab, "mixed", 1 << 20, 50)
        return wire.judge(G)


def test_client_with_stock_server():
    with Lab("tc") as lab:
        link(lab)
        lab.run("stock", "g", *stock("server", "-l", ":%d" % PORT, "-t", "127.0.0.1:9000"))
        target(lab)
        wait_until("stock's listener", lambda: ":%d" % PORT in lab.sh("g", "ss", "-tln"))
        wire = Wire(lab)
        client(lab)
        load(lab, "big", BYTES)
        load(lab, "mixed", 1 << 20, 50)
        return wire.judge(P)


def test_pair():
    with Lab("tc") as lab:
        link(lab)
        wire = Wire(lab)
        server(lab)
        client(lab)
        target(lab)
        load(lab, "big", BYTES)
        load(lab, "mixed", 1 << 20, 50)
        return wire.judge(G, P)


def test_pair_ipv6_two_workers():
    with Lab("tc") as lab:
        link(lab)
        wire = Wire(lab)
        server(lab, workers=2)
        client(lab, "[fd77::1]:%d" % PORT, workers=2)
        target(lab)
        load(lab, "big", BYTES)
        load(lab, "mixed", 1 << 20, 50)
        return wire.judge("fd77::1", "fd77::2")


def test_exclusive_port():
    """The kernel's TCP goes on beside the tunnel's, by the TAP, and has no word in the tunnel's."""
    with Lab("tc") as lab:
        link(lab)
        lab.ip("g", "addr", "flush", "dev", "g0")
        wire = Wire(lab)
        server(lab, TAP % ("g0", "tap0", G + "/24"))
        client(lab)
        target(lab)
        load(lab, "big", BYTES)
        note = wire.judge(G, P)
        srv = lab.run("plain", "g", sys.executable, LOAD, "serve", G, "9001")
        srv.wait_for("serving")
        p = lab.run("plain-load", "p", sys.executable, LOAD, "big", G, "9001", str(1 << 20))
        p.end()
        case.check(p.p.returncode == 0, p.log())
        return note


def test_udp_at_the_same_port():
    with Lab("tc") as lab:
        link(lab)
        server(lab)
        client(lab, tcp=False)
        target(lab)
        load(lab, "big", BYTES)


def test_server_comes_late():
    """The client knocks until there is a server, on one port: the connection waits, and then works."""
    with Lab("tc") as lab:
        link(lab)
        target(lab)
        cli = client(lab)
        wire = Wire(lab)
        p = lab.run("load", "p", sys.executable, LOAD, "big", "127.0.0.1", "13000", str(BYTES))
        wait_until("three SYNs", lambda: sum(w["tx_packets"] for w in lab.telemetry(cli, "/kcpgate/workers")) >= 3)
        server(lab)
        p.end()
        case.check(p.p.returncode == 0, p.log())
        lab.telemetry(cli, "/kcpgate/sessions")
        # The kernel of the server's host had nobody on the port, and said so.
        return wire.judge(P)


def test_tcp_port_is_reserved():
    """Nobody else may listen there, a connection gets no answer from the kernel itself, and a taken port is named."""
    with Lab("tc") as lab:
        link(lab)
        code = "import socket; s = socket.socket(); s.bind(('', %d)); s.listen()" % PORT
        taken = lab.run("taken", "g", sys.executable, "-c", code + "; print('up', flush=True); import time; time.sleep(900)")
        taken.wait_for("up")
        gw = lab.gateway("early", "g", conf(PORTS % "g0", tunnel("s", "server", ":%d" % PORT, "127.0.0.1:9000")),
                         ready=False)
        gw.end()
        case.check("TCP port %d is in use by another process" % PORT in gw.log(), gw.log())
        taken.stop()
        server(lab)
        out = lab.sh("g", sys.executable, "-c", code, check=False)
        case.check("Address already in use" in out, out)
        code = "import socket; s = socket.create_connection(('127.0.0.1', %d), 1.5)" % PORT
        out = lab.sh("g", sys.executable, "-c", code, check=False)
        case.check("timed out" in out, out)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
