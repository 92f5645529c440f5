#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A port in a VLAN of a trunk: tunnels and the exception path bear its tag on the wire, and none on the TAP.

The ports are the ends of a veth whose own kernel sides are deaf and have no addresses: what answers is kcpgate, or a TAP.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
ADDR = {"g": ("10.78.1.1", "fd78::1"), "p": ("10.78.1.2", "fd78::2")}
VLAN = 7


def conf(side, workers, tunnel):
    return (eal(workers) + 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s0,qpairs=1"; exception = "tap"; '
            'ifname = "kg0"; addresses = [ "%s/24", "%s/64" ]; vlan = %d; } );\n' % (side, *ADDR[side], VLAN) +
            "tunnels = ( { %s } );\n" % tunnel)


def link(lab):
    lab.add_ns("g", "p")
    for side in "gp":
        lab.sysctl(side, "net.ipv6.conf.default.disable_ipv6", 1)
    lab.veth("g", "g0", "p", "p0")
    for side in "gp":
        lab.sysctl(side, "net.ipv6.conf.default.disable_ipv6", 0)
        lab.sh(side, "nft", "add table netdev lab { chain in { type filter hook ingress device %s0 priority 0; drop; }; }"
               % side)


def load(lab, what, addr, port, *more):
    p = lab.run("load-%d" % port, "p", sys.executable, LOAD, what, addr, str(port), *[str(m) for m in more])
    p.end()
    case.check(p.p.returncode == 0, p.log())


def strangers(lab):
    """Sends frames to the server's port: untagged, of another VLAN, and with a priority only; 4 of each."""
    mac = bytes.fromhex(lab.sh("g", "cat", "/sys/class/net/g0/address").strip().replace(":", ""))
    body = b"\x08\x06" + bytes(46)
    script = "import socket, sys\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\ns.bind(('p0', 0))\n" \
             "for f in sys.argv[1:]:\n    s.send(bytes.fromhex(f))\n"
    frames = [mac + b"\x02\x00\x00\x00\x00\x99" + tag + body for tag in (b"", b"\x81\x00\x00\x08", b"\x81\x00\xa0\x00")]
    lab.sh("p", sys.executable, "-c", script, *[f.hex() for f in frames * 4])


def judge(lab, capture):
    """Every frame of the gateways' bore the tag."""
    count = lambda *what: len(lab.sh("p", "tcpdump", "-r", capture, "-nn", *what).splitlines())
    tagged, all_of_them = count("vlan", str(VLAN)), count()
    case.check(tagged > 1000 and tagged == all_of_them, "frames", tagged, "of", all_of_them)
    kinds = {what: count("vlan", str(VLAN), "and", *what.split()) for what in ("arp", "icmp6", "udp port 4000", "tcp port 9001")}
    case.check(all(kinds.values()), kinds)
    return "%d frames" % tagged


def trunk(workers):
    with Lab("kv") as lab:
        link(lab)
        capture = lab.file("wire.pcap", "")
        dump = lab.run("dump", "p", "tcpdump", "-i", "p0", "-w", capture, "-U", "--immediate-mode", "-s", "128", "-Z", "root")
        dump.wait_for("listening on")
        srv = lab.gateway("server", "g", conf(
            "g", workers, 'name = "s"; role = "server"; listen = ":4000"; target = "127.0.0.1:9000"; key = "k";'))
        cli = lab.gateway("client", "p", conf(
            "p", workers, 'name = "c"; role = "client"; listen = "127.0.0.1:13000"; remote = "%s:4000"; key = "k"; conn = 2;'
            % ADDR["g"][0]))
        for n, addr in enumerate(("127.0.0.1", ADDR["g"][0], ADDR["g"][1])):
            p = lab.run("serve-%d" % n, "g", sys.executable, LOAD, "serve", addr, str(9000 + (n > 0)))
            p.wait_for("serving")
        load(lab, "big", "127.0.0.1", 13000, 2 << 20)
        load(lab, "mixed", "127.0.0.1", 13000, 1 << 20, 20)
        for addr in ADDR["g"]:
            lab.sh("p", "ping", "-c", "3", "-i", "0.2", "-W", "60", addr)
            lab.sh("p", "ping", "-c", "1", "-M", "do", "-s", str(1500 - (48 if ":" in addr else 28)), "-W", "60", addr)
            load(lab, "big", addr, 9001, 1 << 20)
        lab.captured(dump)
        dump.stop()
        strangers(lab)
        wait_until("the strangers' frames to be dropped", lambda: lab.telemetry(srv, "/kcpgate/drops")["vlan"] == 12)
        drops = lab.telemetry(srv, "/kcpgate/drops")
        bad = {k: v for k, v in drops.items() if v and k in (
            "frame_short", "ip_header", "crypt_bad", "tx_long", "other_host", "multi_segment", "udp_checksum")}
        case.check(not bad, bad)
        note = judge(lab, capture)
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")
        return note


def test_one_worker():
    return trunk(1)


def test_two_workers():
    return trunk(2)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
