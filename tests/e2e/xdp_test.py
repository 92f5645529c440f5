#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An interface shared by AF_XDP: stock peers in both roles and families, the host beside us under a flood, through start,
kill, restart and stop, other XDP programs, and interfaces that go and come.

The namespaces of a lab see no common /sys: programs side by side are tried in tests/vm.
"""
import os
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for where in "lab", "interop", "e2e":
    sys.path.insert(0, os.path.join(HERE, "..", where))
import case
import kcptun_test as interop
import link_test
import pair_test
from case import check
from lab import ROOT, Lab, eal, gateway_binary, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
G, P = {4: "10.77.0.1", 6: "fd77::1"}, {4: "10.77.0.2", 6: "fd77::2"}
COMBO = dict(crypt="aes", ds=10, ps=3, nocomp=False, smuxver=2, mode="fast3")
DEVICE = "net_af_xdp0,iface=%s"

# Datagrams to ports in turn, as many a second as are asked for or as go: FLOOD ADDR RATE PORT...
FLOOD = """
import socket, struct, sys, time
addr, rate, ports = sys.argv[1], int(sys.argv[2]), [int(p) for p in sys.argv[3:]]
s = [socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
cut = [(17, 103, struct.pack("H", 100))]  # UDP_SEGMENT
run = b"flood" * 20 * 60
sent, turn, begin, told = 0, 0, time.monotonic(), 0
while True:
    if sent > (time.monotonic() - begin) * rate:
        time.sleep(0.0005)
        continue
    try:
        s[turn % 8].sendmsg([run], cut, 0, (addr, ports[turn // 8 % len(ports)]))
        sent += 60
    except OSError:
        pass  # the queue is full, or nobody listens
    turn += 1
    if time.monotonic() - begin > told + 1:
        told += 1
        print("flood: %d a second" % (sent / (time.monotonic() - begin)), flush=True)
"""


def literal(a):
    return "[%s]" % a if ":" in a else a


def ports(iface="g0", more=""):
    return 'ports = ( { name = "p0"; device = "%s%s"; exception = "kernel"; } );\n' % (DEVICE % iface, more)


def conf(tunnels, workers=1, more="", iface="g0"):
    return (eal(workers) + ports(iface, more) + "tunnels = (\n" + ",\n".join(tunnels) + "\n);\n")


def link(lab, offload=True, queues=1):
    """A veth as it is, with checksums and segments left undone between its ends."""
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0", offload=offload)
    if queues > 1:
        for ns, dev in ("g", "g0"), ("p", "p0"):
            lab.sh(ns, "ethtool", "-L", dev, "rx", str(queues), "tx", str(queues))
    for fam, plen in (4, 24), (6, 64):
        lab.addr("g", "g0", "%s/%d" % (G[fam], plen))
        lab.addr("p", "p0", "%s/%d" % (P[fam], plen))


def target(lab, ns, addr="127.0.0.1", port=9000):
    lab.run("target-%s-%d" % (ns, port), ns, sys.executable, LOAD, "serve", addr, str(port)).wait_for("serving")


def xdp(lab, gw):
    return lab.telemetry(gw, "/kcpgate/ports")["p0"]


def load(lab, ns, *argv, wait=True):
    p = lab.run("load%d" % len(lab.procs), ns, sys.executable, LOAD, *[str(a) for a in argv])
    if wait:
        check(p.end() == 0, p.log())
    return p


def program(lab, dev="g0"):
    return "xdp" in lab.ip("g", "link", "show", dev)


# ---- stock peers

def stock(role, fam, workers=1, queues=1, more=""):
    """role: kcpgate's, beside Debian's kcptun."""
    with Lab("kz") as lab:
        link(lab, queues=queues)
        if role == "server":
            tunnels = [interop.tunnel(COMBO, 0, "server", ":4000", "127.0.0.1:9000")]
            argv = interop.stock(COMBO, "client", "127.0.0.1:12000", "%s:4000" % literal(G[fam]))
            far, near, port = "g", "p", 12000
        else:
            tunnels = [interop.tunnel(COMBO, 0, "client", "127.0.0.1:13000", "%s:5000" % literal(P[fam]))]
            argv = interop.stock(COMBO, "server", ":5000", "127.0.0.1:9000")
            far, near, port = "p", "g", 13000
        target(lab, far)
        gw = lab.gateway("gw", "g", conf(tunnels, workers, more))
        lab.run("peer", "p", *argv).wait_for("pprof" if role == "client" else "quiet:")
        load(lab, near, "mixed", "127.0.0.1", port, 8 << 20, 200, "--at-once", 40)
        now = xdp(lab, gw)
        check(now["driver"] == "net_af_xdp" and now["xdp_mode"] == "native", now)
        check(now["xdp_sockets"] == queues and now["xdp_too_long"] == 0, now)
        snmp = lab.telemetry(gw, "/kcpgate/snmp")
        check(snmp["InCsumErrors"] == 0 and snmp["KCPInErrors"] == 0, snmp)
        check(program(lab), "no program")
        check(gw.stop() == 0, "exit status", gw.log())
        check(not program(lab), "the program was left behind")
        return "lost %d" % now["xdp_lost"]


def test_server_ipv4():
    return stock("server", 4)


def test_server_ipv6_two_queues_one_worker():
    return stock("server", 6, queues=2)


def test_client_ipv4_two_queues_two_workers():
    return stock("client", 4, workers=2, queues=2)


def test_client_ipv6_copy():
    return stock("client", 6, more=",force_copy=1")


def test_fake_tcp():
    """A tunnel of fake TCP between two kcpgates; TCP to the host's own ports beside it."""
    with Lab("kz") as lab:
        link(lab)
        target(lab, "g")
        target(lab, "g", G[4], 9001)
        opts = 'key = "k"; mode = "fast3"; tcp = true;'
        srv = lab.gateway("srv", "g", conf(['{ name = "s"; role = "server"; listen = ":4000"; target = "127.0.0.1:9000"; %s }' % opts]))
        cli = lab.gateway("cli", "p", conf(['{ name = "c"; role = "client"; listen = "127.0.0.1:13000"; remote = "%s:4000"; '
                                            '%s }' % (G[4], opts)], iface="p0"))
        load(lab, "p", "mixed", "127.0.0.1", 13000, 2 << 20, 50)
        load(lab, "p", "mixed", G[4], 9001, 2 << 20, 50)
        check(cli.stop() == 0 and srv.stop() == 0, "exit status")


def test_vlan():
    """One VLAN of a trunk. This kernel need not know VLANs: what has its addresses is an interface of any other kind."""
    with Lab("kz") as lab:
        lab.add_ns("g", "p")
        lab.veth("g", "g0", "p", "p0")
        lab.sh("g", "ethtool", "-K", "g0", "rxvlan", "off")
        lab.veth("g", "g0.7", "g", "else")
        mac = lab.sh("g", "cat", "/sys/class/net/g0/address").strip()
        lab.ip("g", "link", "set", "g0.7", "address", mac)
        target(lab, "g")
        tunnels = '{ name = "%s"; role = "%s"; %s; key = "k"; mode = "fast3"; }'
        addr = {"g": ("10.78.1.1", "fd78::1"), "p": ("10.78.1.2", "fd78::2")}
        lab.addr("g", "g0.7", addr["g"][0] + "/24", addr["g"][1] + "/64")
        srv = lab.gateway("srv", "g", eal() + 'ports = ( { name = "p0"; device = "net_af_xdp0,iface=g0"; ifname = "g0.7"; '
                          'exception = "kernel"; vlan = 7; } );\ntunnels = ( %s );\n' %
                          tunnels % ("s", "server", 'listen = ":4000"; target = "127.0.0.1:9000"'))
        cli = lab.gateway("cli", "p", eal() + 'ports = ( { name = "p0"; device = "net_af_packet0,iface=p0,qpairs=1"; '
                          'exception = "tap"; ifname = "kg0"; addresses = [ "%s/24", "%s/64" ]; vlan = 7; } );\n' % addr["p"] +
                          "tunnels = ( %s );\n" % ", ".join(tunnels % (
                              "c%d" % i, "client", 'listen = "127.0.0.1:1300%d"; remote = "%s:4000"' % (i, literal(addr["g"][i])))
                              for i in (0, 1)))
        far = lab.sh("p", "cat", "/sys/class/net/kg0/address").strip()
        for i in 0, 1:
            lab.ip("g", "neigh", "replace", addr["p"][i], "lladdr", far, "dev", "g0.7")
            lab.ip("p", "neigh", "replace", addr["g"][i], "lladdr", mac, "dev", "kg0")
        for i in 0, 1:
            load(lab, "p", "mixed", "127.0.0.1", 13000 + i, 2 << 20, 20)
        check(cli.stop() == 0 and srv.stop() == 0, "exit status")


# ---- the host beside us

def test_host_stays_reachable():
    """TCP and ping of the host while datagrams flood our port and others; kcpgate starts, is killed, started and stopped."""
    with Lab("kz") as lab:
        link(lab)
        for fam in 4, 6:
            target(lab, "g", G[fam], 9001)
        target(lab, "g")
        tunnels = [interop.tunnel(COMBO, 0, "server", ":4000", "127.0.0.1:9000")]
        lab.run("peer", "p", *interop.stock(COMBO, "client", "127.0.0.1:12000", G[4] + ":4000")).wait_for("quiet:")
        floods = [lab.run("flood%d" % f, "p", sys.executable, "-c", FLOOD, G[f], "150000", "4000", "53", "4001") for f in (4, 6)]
        for f in floods:
            f.wait_for("flood:")
        over = threading.Event()
        visits, bad = [], []

        def visit(fam):
            while not over.is_set():
                p = subprocess.run(["ip", "netns", "exec", lab.ns("p"), sys.executable, LOAD, "steady", G[fam], "9001", "1", "4",
                                    "20000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                visits.append(p.stdout.strip())
                if p.returncode:
                    bad.append(p.stdout)

        ping = lab.run("ping", "p", "ping", "-i", "0.05", "-W", "60", G[4])
        visitors = [threading.Thread(target=visit, args=(fam,)) for fam in (4, 6)]
        for v in visitors:
            v.start()
        try:
            time.sleep(1)
            for turn, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
                gw = lab.gateway("gw%d" % turn, "g", conf(tunnels))
                now = xdp(lab, gw)
                wait_until("datagrams of the flood", lambda: sum(
                    w["rx_packets"] for w in lab.telemetry(gw, "/kcpgate/workers")) > 100000)
                check(program(lab), "no program")
                gw.stop(how)
                check(program(lab) == (how == signal.SIGKILL), "the program", how)
                if how == signal.SIGTERM:
                    check("a killed process had left" in gw.log(), "the leftover was not taken over", gw.log())
                time.sleep(1)
        finally:
            over.set()
            for v in visitors:
                v.join()
        ping.stop(signal.SIGINT)
        check(not bad, bad[:3])
        lost = re.search(r"(\d+) packets transmitted, (\d+) received", ping.log())
        check(lost and lost.group(1) == lost.group(2), ping.log()[-300:])
        exchanges = [(int(m.group(1)), float(m.group(2))) for m in
                     (re.match(r"exchanges (\d+) longest ([0-9.]+)", v) for v in visits) if m]
        rate = [f.log().strip().split("\n")[-1] for f in floods]
        return "%s; %d exchanges, longest %.0f ms; %s; port %s" % (
            lost.group(0), sum(n for n, _ in exchanges), 1000 * max(t for _, t in exchanges), rate, now["xdp_mode"])


def test_tunnel_through_leftover():
    """Killed in the middle of a transfer and started again: the next transfer is whole; the kernel has had the rest."""
    with Lab("kz") as lab:
        link(lab)
        target(lab, "g")
        tunnels = ['{ name = "s"; role = "server"; listen = ":4000"; target = "127.0.0.1:9000"; key = "k"; }']
        client = conf(['{ name = "c"; role = "client"; listen = "127.0.0.1:13000"; remote = "%s:4000"; key = "k"; }' % G[4]],
                      iface="p0")
        for turn in range(3):
            how = signal.SIGKILL if turn < 2 else signal.SIGTERM
            srv, cli = lab.gateway("srv%d" % turn, "g", conf(tunnels)), lab.gateway("cli%d" % turn, "p", client)
            load(lab, "p", "small", "127.0.0.1", 13000, 5)
            cli.stop(how)
            srv.stop(how)
        check(not program(lab), "the program was left behind")


def test_addresses_and_ports_follow():
    """An address that comes while we serve is served; another's datagrams to the same port stay the host's."""
    with Lab("kz") as lab:
        link(lab)
        target(lab, "g")
        gw = lab.gateway("gw", "g", conf([interop.tunnel(COMBO, 0, "server", ":4000", "127.0.0.1:9000")]))
        lab.addr("g", "g0", "10.77.0.9/24", "fd77::9/64")
        for i, a in enumerate(("10.77.0.9", "[fd77::9]")):
            lab.run("peer%d" % i, "p", *interop.stock(COMBO, "client", "127.0.0.1:%d" % (12000 + i), a + ":4000")).wait_for("quiet:")
            load(lab, "p", "small", "127.0.0.1", 12000 + i, 5)
        check(gw.stop() == 0, "exit status")


def test_capabilities():
    """What a capability is missing for is named; without root's whole power it starts, and leaves nothing behind."""
    with Lab("kz") as lab:
        link(lab)
        path = lab.file("c.conf", conf([interop.tunnel(COMBO, 0, "server", ":4000", "127.0.0.1:9000")]).replace(
            "@PREFIX@", lab.tag + "-gw"))
        os.chmod(path, 0o600)

        def without(caps):
            return lab.run("gw%d" % len(lab.procs), "g", "setpriv", "--bounding-set", "-" + caps.replace(",", ",-"), gateway_binary(),
                           "-c", path)

        for caps in "sys_admin", "ipc_lock":
            gw = without(caps)
            gw.wait_for("ready:")
            check(program(lab), "no program")
            check(gw.stop() == 0, gw.log())
            check(not program(lab), "the program was left behind without", caps)
        for caps, want in (("net_raw", "CAP_NET_RAW is missing, for AF_XDP sockets"),
                           ("net_admin", "CAP_NET_ADMIN is missing, for the program that is attached to the interface"),
                           ("sys_admin,perfmon", "CAP_PERFMON is missing, for a program that finds its way through headers of any "
                            "length"),
                           ("sys_admin,bpf", "CAP_BPF is missing, for maps and programs of BPF")):
            gw = without(caps)
            check(gw.end() != 0 and gw.log().rstrip().endswith(want), caps, gw.log()[-400:])
            check(not program(lab), "a program, without", caps)
        gw = lab.gateway("gw", "g", conf([interop.tunnel(COMBO, 0, "server", ":4000", "127.0.0.1:9000")]))
        gw.stop(signal.SIGKILL)
        gw = without("sys_admin")
        check(gw.end() != 0 and "CAP_SYS_ADMIN is missing, to see whose it is" in gw.log(), gw.log()[-400:])


# ---- what other tests show of AF_PACKET

def with_device(module, name):
    def run():
        before = module.DEVICE
        module.DEVICE = "net_af_xdp%d,iface=%s"
        try:
            return getattr(module, name)()
        finally:
            module.DEVICE = before
    return run


for _name in "made_anew", "made_anew_two_workers", "renamed", "one_down":
    globals()["test_" + _name] = with_device(link_test, "test_" + _name)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
