#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A port of the kernel's UDP sockets: whatever works for a UDP program works for kcpgate.

Stock kcptun is the peer, in both roles; kcpgate is an ordinary user without any capability. c and s are joined by one
link or two; the target is in s, and applications in c.
"""
import json
import os
import shutil
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import check
from lab import GUARD, ROOT, Lab, eal, gateway_binary

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
ROLES = "server", "client"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
          "--no-new-privs"]
WORDS = ["--key", "k", "--mode", "fast3"]


def link(lab, n=0, mtu=None):
    """10.80.n.2 in c and 10.80.n.1 in s, and fd80:n::."""
    lab.veth("c", "c%d" % n, "s", "s%d" % n, offload=True)
    for ns, host in ("c", 2), ("s", 1):
        lab.addr(ns, "%s%d" % (ns, n), "10.80.%d.%d/24" % (n, host), "fd80:%d::%d/64" % (n, host))
        if mtu:
            lab.ip(ns, "link", "set", "%s%d" % (ns, n), "mtu", str(mtu))


def net(lab, links=1):
    lab.add_ns("c", "s")
    for n in range(links):
        link(lab, n)
    target(lab)


def target(lab):
    lab.run("target", "s", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def stock(lab, role, *argv):
    binary = os.environ.get("KCPTUN_" + role.upper()) or shutil.which("kcptun-" + role)
    p = lab.run("stock-" + role, "s" if role == "server" else "c", binary, *argv, *WORDS)
    p.wait_for("quiet:")
    return p


def gateway(lab, role, *argv):
    p = lab.run("kcpgate-" + role, "s" if role == "server" else "c", *NOBODY, gateway_binary(), role, *argv, *WORDS,
                "--compat", "2021")
    p.wait_for("ready:")
    return p


def ends(lab, ours, remote="10.80.0.1:4000", listen=":4000"):
    """kcpgate in that role and stock in the other; kcpgate's process."""
    server, client = (gateway, stock) if ours == "server" else (stock, gateway)
    srv = server(lab, "server", "-l", listen, "-t", "127.0.0.1:9000")
    cli = client(lab, "client", "-r", remote, "-l", "127.0.0.1:13000")
    return srv if ours == "server" else cli


def load(lab, *argv, wait=True, port=13000):
    p = lab.run("load", "c", sys.executable, LOAD, argv[0], "127.0.0.1", str(port), *[str(a) for a in argv[1:]])
    if wait:
        p.end()
        check(p.p.returncode == 0, p.log())
    return p


def telemetry(gw, command):
    """Of an ordinary user's process, whose folder is in /tmp."""
    for base in "/tmp/dpdk", "/tmp/kcpgate-65534/dpdk":
        path = "%s/kcpgate-%d/dpdk_telemetry.v2" % (base, gw.p.pid)
        if os.path.exists(path):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.settimeout(GUARD)
                s.connect(path)
                s.recv(16384)
                s.send(command.encode())
                return json.loads(s.recv(65536).decode())[command.split(",")[0]]
    raise AssertionError("no telemetry of %s" % gw.name)


def stop(*procs):
    for p in procs:
        check(p.stop() == 0, p.name, p.log())


def in_each_role(fn):
    for ours in ROLES:
        with Lab("ks") as lab:
            fn(lab, ours)


# ---- quick ----

def test_ordinary_user():
    """No capability, no root: both roles, IPv4 and IPv6; the process has none, and its port is the default."""
    for ours, remote in ("server", "10.80.0.1:4000"), ("client", "[fd80:0::1]:4000"):
        with Lab("ks") as lab:
            net(lab)
            gw = ends(lab, ours, remote)
            with open("/proc/%d/status" % gw.p.pid) as f:
                status = dict(line.split(":\t", 1) for line in f.read().splitlines())
            check(status["CapEff"].strip("0") == "" and status["Uid"].split()[0] == "65534", status)
            check("interface: any, by UDP sockets" in gw.log(), gw.log())
            load(lab, "mixed", 1000000, 20)
            stop(gw)


def test_listens_everywhere():
    """A server on all interfaces and addresses of both families, without any route but those of its links."""
    with Lab("ks") as lab:
        net(lab, 2)
        lab.ip("s", "addr", "add", "192.0.2.1/32", "dev", "lo")
        lab.ip("c", "route", "add", "192.0.2.1", "via", "10.80.1.1")
        srv = gateway(lab, "server", "-l", ":4000", "-t", "127.0.0.1:9000")
        for to in ("10.80.0.1", "10.80.1.1", "[fd80:0::1]", "[fd80:1::1]", "192.0.2.1"):
            cli = stock(lab, "client", "-r", to + ":4000", "-l", "127.0.0.1:13000")
            load(lab, "small", 5)
            cli.stop()
        stop(srv)


def test_two_workers():
    """Four sessions of stock's to two workers' server; four of two workers' client to stock: each is one worker's."""
    def conf(role, far):
        return (eal(2) + 'ports = ( { name = "sock"; device = "net_kudp0"; } );\ntunnels = ( { name = "t"; role = "%s"; %s '
                'key = "k"; mode = "fast3"; compat = "2021"; } );\n' % (role, far))

    with Lab("ks") as lab:
        net(lab)
        gw = lab.gateway("ours", "s", conf("server", 'listen = ":4000"; target = "127.0.0.1:9000";'))
        cli = stock(lab, "client", "-r", "10.80.0.1:4000", "-l", "127.0.0.1:13000", "--conn", "8")
        load(lab, "mixed", 500000, 100)
        workers = {row["worker"] for row in lab.telemetry(gw, "/kcpgate/sessions")}
        check(workers == {0, 1}, workers)
        cli.stop()
        stop(gw)
    with Lab("ks") as lab:
        net(lab)
        stock(lab, "server", "-l", ":4000", "-t", "127.0.0.1:9000")
        gw = lab.gateway("ours", "c", conf("client", 'listen = "127.0.0.1:13000"; remote = "10.80.0.1:4000"; conn = 4;'))
        load(lab, "mixed", 500000, 100)
        sessions = [row["worker"] for row in lab.telemetry(gw, "/kcpgate/sessions")]
        check(sorted(sessions) == [0, 0, 1, 1], sessions)
        check(sum(row["steered_out"] for row in lab.telemetry(gw, "/kcpgate/workers")) == 0, "steered")
        stop(gw)


# ---- MTU ----

def test_mtu_at_start():
    """The link takes 1280 bytes; kcptun's datagrams are of 1378."""
    def one(lab, ours):
        lab.add_ns("c", "s")
        link(lab, mtu=1280)
        target(lab)
        gw = ends(lab, ours)
        load(lab, "mixed", 1000000, 10)
        stop(gw)
    in_each_role(one)


def test_mtu_at_run_time():
    """And another does so from the middle of a transfer on."""
    def one(lab, ours):
        net(lab)
        gw = ends(lab, ours)
        load(lab, "small", 2)
        p = load(lab, "big", 20000000, wait=False)
        time.sleep(0.2)
        for ns in "c", "s":
            lab.ip(ns, "link", "set", ns + "0", "mtu", "1280")
        p.end()
        check(p.p.returncode == 0, p.log())
        load(lab, "big", 1000000)
        stop(gw)
    in_each_role(one)


def routed(lab):
    """c - r - q - s: 10.80.1 to 10.80.3 and fd80:1:: to fd80:3::, the lower end's is .1."""
    lab.add_ns("c", "s", "r", "q")
    for a, b, n in ("c", "r", 1), ("r", "q", 2), ("q", "s", 3):
        lab.veth(a, "%s%d" % (a, n), b, "%s%d" % (b, n), offload=True)
        lab.addr(a, "%s%d" % (a, n), "10.80.%d.1/24" % n, "fd80:%d::1/64" % n)
        lab.addr(b, "%s%d" % (b, n), "10.80.%d.2/24" % n, "fd80:%d::2/64" % n)
    for ns in "r", "q":
        lab.sysctl(ns, "net.ipv4.ip_forward", 1)
        lab.sysctl(ns, "net.ipv6.conf.all.forwarding", 1)
    for ns, net_, host in ("c", 1, 2), ("r", 2, 2), ("q", 2, 1), ("s", 3, 1):
        lab.ip(ns, "route", "add", "default", "via", "10.80.%d.%d" % (net_, host))
        lab.ip(ns, "-6", "route", "add", "default", "via", "fd80:%d::%d" % (net_, host))
    target(lab)


def way_lowered(lab, ours, remote):
    """The link between the routers takes 1280 bytes from the middle of a transfer on; the session as it is then."""
    routed(lab)
    gw = ends(lab, ours, remote)
    load(lab, "small", 2)
    p = load(lab, "big", 20000000, wait=False)
    time.sleep(0.2)
    lab.ip("r", "link", "set", "r2", "mtu", "1280")
    lab.ip("q", "link", "set", "q2", "mtu", "1280")
    p.end()
    check(p.p.returncode == 0, p.log())
    load(lab, "big", 1000000)
    ports = telemetry(gw, "/kcpgate/ports")["sockets"]["sockets"]
    session = [v for v in telemetry(gw, "/kcpgate/sessions").values() if isinstance(v, dict)][0]
    check(ports["send_long"] + ports["send_failed"] == 0, ports)
    stop(gw)
    return ports, session


def test_mtu_on_the_way():
    """By IPv4: long runs bear no DF, and the router may cut their datagrams; or it tells of its MTU."""
    in_each_role(lambda lab, ours: way_lowered(lab, ours, "10.80.3.2:4000"))


def test_mtu_told():
    """By IPv6 the router tells of it in any case, and what is sent fits it from then on."""
    def one(lab, ours):
        ports, session = way_lowered(lab, ours, "[fd80:3::2]:4000")
        check(ports["receive_icmp"] > 0, ports)
        check(session["path_mtu"] == 1280 and session["mtu_from"] == "icmp", session)
    in_each_role(one)


# ---- routes ----

def count(lab, ns, *rules):
    """Counters of what leaves, by nft's words."""
    lab.sh(ns, "nft", "add table inet count { chain out { type filter hook output priority 0; %s } ; }" % " ".join(
        "%s counter;" % r for r in rules))


def counted(lab, ns):
    text = lab.sh(ns, "nft", "list", "table", "inet", "count")
    return [int(part.split()[0]) for part in text.split("counter packets ")[1:]]


def far_ends(lab):
    """Addresses that both links lead to: 192.0.2.9 in c, 192.0.2.1 in s; c0 and s0 first."""
    net(lab, 2)
    for ns, own, other, via in ("c", 9, 1, 1), ("s", 1, 9, 2):
        lab.ip(ns, "addr", "add", "192.0.2.%d/32" % own, "dev", "lo")
        lab.ip(ns, "route", "add", "default", "via", "10.80.0.%d" % via, "src", "192.0.2.%d" % own)
        for n in 0, 1:
            lab.sysctl(ns, "net.ipv4.conf.%s%d.rp_filter" % (ns, n), 0)
        lab.sysctl(ns, "net.ipv4.conf.all.rp_filter", 0)


def test_policy_routing():
    """A rule leads by the second uplink: nothing that it is about leaves by the first."""
    with Lab("ks") as lab:
        far_ends(lab)
        lab.ip("s", "rule", "add", "from", "10.80.1.1", "table", "5")
        lab.ip("s", "route", "add", "default", "via", "10.80.1.2", "table", "5")
        lab.ip("c", "route", "add", "10.80.1.1", "via", "10.80.1.1", "src", "192.0.2.9")
        count(lab, "s", "oif s0 udp sport 4000", "oif s1 udp sport 4000")
        gw = ends(lab, "server", "10.80.1.1:4000")
        load(lab, "mixed", 500000, 10)
        wrong, right = counted(lab, "s")
        check(wrong == 0 and right > 5, wrong, right)
        stop(gw)
    with Lab("ks") as lab:
        far_ends(lab)
        lab.ip("c", "rule", "add", "ipproto", "udp", "dport", "4000", "table", "5")
        lab.ip("c", "route", "add", "default", "via", "10.80.1.1", "table", "5", "src", "192.0.2.9")
        count(lab, "c", "oif c0 udp dport 4000", "oif c1 udp dport 4000")
        gw = ends(lab, "client", "192.0.2.1:4000")
        load(lab, "mixed", 500000, 10)
        wrong, right = counted(lab, "c")
        check(wrong == 0 and right > 5, wrong, right)
        stop(gw)


def test_default_route_moves():
    """To another uplink, in the middle of a transfer; the first is then shut."""
    def one(lab, ours):
        far_ends(lab)
        gw = ends(lab, ours, "192.0.2.1:4000")
        load(lab, "small", 2)
        p = load(lab, "big", 20000000, wait=False)
        time.sleep(0.2)
        for ns, own, via in ("c", 9, 1), ("s", 1, 2):
            lab.ip(ns, "route", "replace", "default", "via", "10.80.1.%d" % via, "src", "192.0.2.%d" % own)
        lab.ip("c", "link", "set", "c0", "down")
        p.end()
        check(p.p.returncode == 0, p.log())
        load(lab, "small", 5)
        stop(gw)
    in_each_role(one)


def test_before_the_network():
    """Started without link, route or address; an application that connected meanwhile is served."""
    with Lab("ks") as lab:
        lab.add_ns("c", "s")
        target(lab)
        srv = gateway(lab, "server", "-l", "10.80.0.1:4000", "-t", "127.0.0.1:9000")
        cli = gateway(lab, "client", "-r", "10.80.0.1:4000", "-l", "127.0.0.1:13000")
        p = load(lab, "small", 3, wait=False)
        time.sleep(2)
        check(srv.alive() and cli.alive() and p.alive(), p.log())
        link(lab)
        p.end()
        check(p.p.returncode == 0, p.log())
        stop(srv, cli)


# ---- the host's firewall ----

def test_rejected():
    """A port that the firewall REJECTs is answered by nobody but the kernel; once it is let in, it is served."""
    def one(lab, ours):
        net(lab)
        lab.sh("s", "nft", "add table inet fw { chain in { type filter hook input priority 0; udp dport 4000 reject; }; }")
        count(lab, "s", "udp sport 4000")
        gw = ends(lab, ours)
        p = load(lab, "small", 1, wait=False)
        time.sleep(3)
        check(p.alive() and counted(lab, "s") == [0], counted(lab, "s"))
        lab.sh("s", "nft", "delete", "table", "inet", "fw")
        p.end()
        check(p.p.returncode == 0, p.log())
        load(lab, "small", 5)
        stop(gw)
    in_each_role(one)


def test_redirected():
    """A range that NAT leads to one port of the server's: stock's client to a port of it, ours to all of it."""
    for ours, remote in ("server", "10.80.0.1:5005"), ("client", "10.80.0.1:5000-5009"):
        with Lab("ks") as lab:
            net(lab)
            lab.sh("s", "nft", "add table ip nat { chain pre { type nat hook prerouting priority -100; "
                   "udp dport 5000-5009 redirect to :4000; }; }")
            gw = ends(lab, ours, remote)
            load(lab, "mixed", 500000, 20)
            stop(gw)


# ---- an interface without Ethernet ----

RELAY = """
import ctypes, fcntl, os, select, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
fds = []
for ns in sys.argv[1:]:
    if libc.setns(os.open("/run/netns/" + ns, os.O_RDONLY), 0):
        sys.exit("setns")
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    fds.append(fd)
print("relaying", flush=True)
while True:
    for fd in select.select(fds, [], [])[0]:
        p = os.read(fd, 65536)
        try:
            os.write(fds[1 - fds.index(fd)], p)
        except OSError:
            pass
"""


def test_tun():
    """c and s are joined by a tun interface, as by WireGuard or ppp: there are no link addresses."""
    def one(lab, ours):
        lab.add_ns("c", "s")
        lab.run("relay", None, sys.executable, lab.file("relay.py", RELAY), lab.ns("c"), lab.ns("s")).wait_for("relaying")
        for ns, host in ("c", 2), ("s", 1):
            lab.ip(ns, "link", "set", "tun0", "mtu", "1420", "up")
            lab.ip(ns, "addr", "add", "10.80.0.%d/24" % host, "dev", "tun0")
        target(lab)
        gw = ends(lab, ours)
        load(lab, "mixed", 500000, 10)
        stop(gw)
    in_each_role(one)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
