#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Interfaces that go down, come late, are made anew or renamed, beside others that serve, and names that do not resolve yet."""
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, gateway_binary, wait_until
from lab import telemetry as lab_telemetry

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
BIG = 3000000


DEVICE = "net_af_packet%d,iface=%s"  # another kind of shared port is tried by tests of its own


def port(name, iface, more='exception = "kernel";', n=0):
    return '{ name = "%s"; device = "%s"; %s }' % (name, DEVICE % (n, iface), more)


def tunnel(name, role, listen, far, **opts):
    o = dict(key='"k"', mode='"fast3"', **opts)
    more = " ".join("%s = %s;" % kv for kv in o.items())
    return '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; %s }' % (
        name, role, listen, "target" if role == "server" else "remote", far, more)


def conf(ports, tunnels, workers=1):
    return (eal(workers) + "ports = ( " + ",\n".join(ports) + " );\ntunnels = ( " + ",\n".join(tunnels) + " );\n")


def target(lab, ns):
    lab.run("target-" + ns, ns, sys.executable, LOAD, "serve", "0.0.0.0", "9000").wait_for("serving")


def load(lab, ns, *argv, wait=True):
    p = lab.run("load%d" % len(lab.procs), ns, sys.executable, LOAD, *[str(a) for a in argv], "--timeout", "100")
    if wait:
        p.p.wait(120)
        case.check(p.p.returncode == 0, p.log())
    return p


def drops(lab, gw):
    return lab.telemetry(gw, "/kcpgate/drops")


def dropped(lab, gw, why):
    d = drops(lab, gw)
    return sum(v for k, v in d.items() if k.split(":")[0] == why and isinstance(v, int))


def two_links(lab):
    lab.add_ns("g", "p")
    for i in (1, 2):
        lab.veth("g", "g%d" % i, "p", "p%d" % i)
        lab.addr("g", "g%d" % i, "10.77.%d.1/24" % i)
        lab.addr("p", "p%d" % i, "10.77.%d.2/24" % i)
    target(lab, "g")


def two_ports(lab, workers=1, more=""):
    """g serves on two interfaces by one worker; p is a client of both."""
    two_links(lab)
    srv = lab.gateway("server", "g", conf([port("a", "g1" + more), port("b", "g2", n=1)],
                                          [tunnel("s", "server", ":4000", "127.0.0.1:9000")], workers))
    cli = lab.gateway("client", "p", conf([port("a", "p1"), port("b", "p2", n=1)],
                                          [tunnel("t%d" % i, "client", "127.0.0.1:1300%d" % i, "10.77.%d.1:4000" % i)
                                           for i in (1, 2)]))
    for i in (1, 2):
        load(lab, "p", "small", "127.0.0.1", 13000 + i, 3)
    return srv, cli


def one_down(workers):
    with Lab("kk") as lab:
        srv, cli = two_ports(lab, workers)
        slow = load(lab, "p", "big", "127.0.0.1", 13001, 80 * BIG, wait=False)
        wait_until("bytes by port a", lambda: any(s["bytes_in"] > 100000 for s in lab.telemetry(srv, "/kcpgate/sessions")
                                                  if "10.77.1." in s["peer"]))
        lab.ip("g", "link", "set", "g1", "down")
        time.sleep(1)  # what is on its way fills whatever there is to be filled
        load(lab, "p", "big", "127.0.0.1", 13002, 4 * BIG)
        case.check(slow.alive(), "the transfer over the port that is down has ended", slow.log())
        wait_until("port_down counted", lambda: dropped(lab, srv, "port_down"))
        lab.ip("g", "link", "set", "g1", "up")
        slow.p.wait(110)
        case.check(slow.p.returncode == 0, slow.log())
        n = dropped(lab, srv, "port_down")
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")
        return "port_down: %d" % n


def test_one_down():
    """A port that is down holds up nothing of another port of its worker; its own transfer goes on when it is up again."""
    return one_down(1)


def test_one_down_steered():
    """The same where a second worker sends over the one that owns the ports' queues."""
    return one_down(2)


def test_one_slow():
    """A port whose interface takes next to nothing: its driver would wait in the kernel for room."""
    with Lab("kk") as lab:
        srv, cli = two_ports(lab, more=",qdisc_bypass=0")  # the driver's frames wait in the qdisc only if told to
        lab.sh("g", "tc", "qdisc", "add", "dev", "g1", "root", "tbf", "rate", "64kbit", "burst", "4kb", "limit", "4mb")
        slow = load(lab, "p", "big", "127.0.0.1", 13001, 20 * BIG, wait=False)
        time.sleep(2)
        load(lab, "p", "big", "127.0.0.1", 13002, 2 * BIG)
        case.check(slow.alive(), "the transfer over the slow port has ended", slow.log())
        case.check(cli.stop() == 0, "exit status")


def one_link(lab, **kw):
    """g and p, a link between them, and a target in g."""
    lab.add_ns("g", "p")
    join(lab, **kw)
    target(lab, "g")


def join(lab, g="g1", p="p1"):
    lab.veth("g", g, "p", p)
    lab.addr("g", g, "10.77.1.1/24")
    lab.addr("p", p, "10.77.1.2/24")


def server(lab, iface="g1", more='exception = "kernel";', device="", **kw):
    return lab.gateway("server", "g", conf([port("a", iface + device, more)],
                                           [tunnel("s", "server", ":4000", "127.0.0.1:9000")], **kw))


def client(lab, iface="p1", remote="10.77.1.1:4000", **kw):
    return lab.gateway("client", "p", conf([port("a", iface)], [tunnel("c", "client", "127.0.0.1:13000", remote)]), **kw)


def sessions(lab, gw):
    return sorted(k for k, v in lab_telemetry(gw.prefix, "/kcpgate/sessions").items() if isinstance(v, dict))


def transfer(lab, n=BIG):
    load(lab, "p", "big", "127.0.0.1", 13000, n)


def anew(workers):
    with Lab("kk") as lab:
        one_link(lab)
        srv, cli = server(lab, workers=workers), client(lab)
        transfer(lab)
        before = sessions(lab, srv)
        slow = load(lab, "p", "big", "127.0.0.1", 13000, 80 * BIG, wait=False)
        wait_until("a transfer", lambda: any(s["bytes_in"] > 4 * BIG for s in lab.telemetry(srv, "/kcpgate/sessions")))
        lab.ip("g", "link", "del", "g1")
        for gw, iface in (srv, "g1"), (cli, "p1"):
            gw.wait_for("interface %s has gone" % iface, 60)
        time.sleep(1)
        case.check(slow.alive() and srv.alive() and cli.alive(), slow.log())
        join(lab)
        for gw, iface in (srv, "g1"), (cli, "p1"):
            gw.wait_for("interface %s is there, and served" % iface, 60)
        slow.p.wait(110)
        case.check(slow.p.returncode == 0, slow.log())
        case.check(sessions(lab, srv) == before, "other sessions", before, sessions(lab, srv))
        # Once more, now with nothing to do, and with other names of the queues' sockets.
        lab.ip("g", "link", "del", "g1")
        wait_until("it is gone", lambda: srv.log().count("has gone") == 2 and cli.log().count("has gone") == 2, 60)
        join(lab)
        wait_until("it is there", lambda: srv.log().count("is there, and") == 2 and cli.log().count("is there, and") == 2, 60)
        transfer(lab)
        # Whether anything found the port down depends on what was under way: sessions keep what they have.
        n = dropped(lab, srv, "port_down")
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")
        return "port_down: %d" % n


def test_made_anew():
    """An interface that is deleted and made again under both gateways: the sessions live on and their transfer is whole."""
    return anew(1)


def test_made_anew_two_workers():
    return anew(2)


def test_renamed():
    """An interface that gets another name is served as before; made anew it is found by its old name, or the new one."""
    with Lab("kk") as lab:
        one_link(lab)
        srv, cli = server(lab), client(lab)
        transfer(lab)
        before = sessions(lab, srv)
        lab.ip("g", "link", "set", "g1", "down")
        lab.ip("g", "link", "set", "g1", "name", "wan")
        lab.ip("g", "link", "set", "wan", "up")
        srv.wait_for("interface g1 is called wan now", 60)
        transfer(lab)
        case.check(sessions(lab, srv) == before, "other sessions", before, sessions(lab, srv))
        for name in "wan", "g1":
            lab.ip("p", "link", "del", "p1")
            gone = "interface %s has gone" % ("wan")
            srv.wait_for(gone, 60)
            join(lab, g=name)
            srv.wait_for("interface %s is there" % name, 60)
            cli.wait_for("interface p1 is there", 60)
            transfer(lab)
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")


EXCLUSIVE = ('exception = "tap"; ifname = "kg0"; addresses = [ "10.77.1.1/24" ];')


def test_tap_removed():
    """The TAP of an exclusive port that somebody removes is made again, with its addresses; then its base goes and comes."""
    with Lab("kk") as lab:
        one_link(lab)
        lab.ip("g", "addr", "del", "10.77.1.1/24", "dev", "g1")
        srv, cli = server(lab, more=EXCLUSIVE), client(lab)
        transfer(lab)
        before = sessions(lab, srv)
        lab.ip("g", "link", "del", "kg0")
        srv.wait_for("interface kg0 has been removed", 60)
        wait_until("the TAP is back", lambda: "10.77.1.1/24" in lab.sh("g", "ip", "addr", "show", check=False), 60)
        transfer(lab)
        lab.sh("p", "ping", "-c", "1", "-W", "100", "10.77.1.1")
        case.check(sessions(lab, srv) == before, "other sessions", before, sessions(lab, srv))
        lab.ip("g", "link", "del", "g1")
        srv.wait_for("interface g1 has gone", 60)
        lab.veth("g", "g1", "p", "p1")
        lab.addr("p", "p1", "10.77.1.2/24")
        srv.wait_for("interface g1 is there", 60)
        cli.wait_for("interface p1 is there", 60)
        transfer(lab)
        lab.sh("p", "ping", "-c", "1", "-W", "100", "10.77.1.1")
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")


def carrier(lab, ns, iface):
    out = lab.ip(ns, "link", "show", iface)
    case.check(("LOWER_UP" in out) != ("NO-CARRIER" in out), out)
    return "LOWER_UP" in out


def other_way(workers):
    with Lab("kk") as lab:
        two_links(lab)
        exclusive = lambda i: 'exception = "tap"; ifname = "kg%d"; addresses = [ "10.77.%d.1/24" ];' % (i, i)
        for i in (1, 2):
            lab.ip("g", "addr", "del", "10.77.%d.1/24" % i, "dev", "g%d" % i)
        lab.addr("g", "lo", "10.99.0.1/32")
        lab.addr("p", "lo", "10.98.0.1/32")
        srv = lab.gateway("server", "g", conf([port("a", "g1", exclusive(1)), port("b", "g2", exclusive(2), n=1)],
                                              [tunnel("s", "server", ":4000", "127.0.0.1:9000")], workers))
        for i in (1, 2):
            lab.ip("g", "route", "add", "10.98.0.1", "via", "10.77.%d.2" % i, "dev", "kg%d" % i, "metric", str(i))
            lab.ip("p", "route", "add", "10.99.0.1", "via", "10.77.%d.1" % i, "src", "10.98.0.1", "metric", str(i))
        cli = lab.gateway("client", "p", conf([port("a", "p1"), port("b", "p2", n=1)],
                                              [tunnel("c", "client", "127.0.0.1:13000", "10.99.0.1:4000")]))
        transfer(lab)
        case.check(carrier(lab, "g", "kg1") and carrier(lab, "g", "kg2"), "no carrier at first")
        before = sessions(lab, srv)
        going = load(lab, "p", "big", "127.0.0.1", 13000, 40 * BIG, wait=False)
        wait_until("a transfer", lambda: any(s["bytes_in"] > 4 * BIG for s in lab.telemetry(srv, "/kcpgate/sessions")))
        lab.ip("g", "link", "set", "g1", "down")  # and p1 has no carrier
        for gw in srv, cli:
            gw.wait_for("port a: link is down")
        wait_until("kg1 without carrier", lambda: not carrier(lab, "g", "kg1"))
        going.p.wait(110)
        case.check(going.p.returncode == 0, going.log())
        case.check(sessions(lab, srv) == before, "other sessions", before, sessions(lab, srv))
        down = lab.telemetry(srv, "/kcpgate/ports")
        case.check(down["a"]["link"] == "down" and down["b"]["link"] == "up", down)
        case.check(carrier(lab, "g", "kg2"), "the other port's carrier")
        lab.ip("g", "link", "set", "g1", "up")
        for gw in srv, cli:
            gw.wait_for("port a: link is up")
        wait_until("kg1's carrier", lambda: carrier(lab, "g", "kg1"))
        transfer(lab)
        up = lab.telemetry(srv, "/kcpgate/ports")
        case.check(up["a"]["link"] == "up" and up["a"]["link_changes"] == 2 and up["b"]["link_changes"] == 0, up)
        case.check(sessions(lab, srv) == before, "other sessions", before, sessions(lab, srv))
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")


def test_other_way():
    """Two ports lead to the peer, and the cheaper loses its link under a transfer: it goes on by the other, same session."""
    other_way(1)


def test_other_way_two_workers():
    other_way(2)


def test_tap_device():
    """A port that makes its own interface, as net_tap does: down it holds nobody up, removed it is made again."""
    with Lab("kk") as lab:
        two_links(lab)
        lab.ip("g", "addr", "del", "10.77.1.1/24", "dev", "g1")
        lab.ip("g", "link", "add", "br0", "type", "bridge")
        lab.ip("g", "link", "set", "g1", "master", "br0")
        lab.ip("g", "link", "set", "br0", "up")
        srv = lab.gateway("server", "g", conf(['{ name = "a"; device = "net_tap0,iface=w0"; %s }' % EXCLUSIVE,
                                               port("b", "g2", n=1)], [tunnel("s", "server", ":4000", "127.0.0.1:9000")]))
        cli = lab.gateway("client", "p", conf([port("a", "p1"), port("b", "p2", n=1)],
                                              [tunnel("t%d" % i, "client", "127.0.0.1:1300%d" % i, "10.77.%d.1:4000" % i)
                                               for i in (1, 2)]))
        # The bridge would keep the port's frames for itself under the port's own address, and its host answer for the TAP.
        lab.sysctl("g", "net.ipv4.conf.br0.arp_ignore", 1)
        plug = lambda mac: [lab.ip("g", "link", "set", "w0", *words.split()) for words in ("address " + mac, "master br0")]
        plug("02:00:00:00:00:77")
        load(lab, "p", "big", "127.0.0.1", 13001, BIG)
        slow = load(lab, "p", "big", "127.0.0.1", 13001, 20 * BIG, wait=False)
        wait_until("bytes by port a", lambda: any(s["bytes_in"] > BIG + 100000 for s in lab.telemetry(
            srv, "/kcpgate/sessions") if "10.77.1." in s["peer"]))
        lab.ip("g", "link", "set", "w0", "down")
        wait_until("port_down counted", lambda: dropped(lab, srv, "port_down"), 60)
        load(lab, "p", "big", "127.0.0.1", 13002, BIG)
        case.check(slow.alive(), "the transfer over the TAP has ended", slow.log())
        lab.ip("g", "link", "set", "w0", "up")
        slow.p.wait(110)
        case.check(slow.p.returncode == 0, slow.log())
        lab.ip("g", "link", "del", "w0")
        srv.wait_for("interface w0 has gone", 60)
        srv.wait_for("interface w0 is there", 60)
        plug("02:00:00:00:00:78")
        load(lab, "p", "big", "127.0.0.1", 13001, BIG)
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")


# ---- started before the network is there ----

DNS = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.53", 53))
print("answering", flush=True)
while True:
    q, peer = s.recvfrom(512)
    end = q.index(0, 12) + 5
    a = q[end - 4:end - 2] == bytes([0, 1])
    head = q[:2] + bytes([0x81, 0x80, 0, 1, 0, a, 0, 0, 0, 0])
    record = bytes([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 77, 1, 1]) if a else b""
    s.sendto(head + q[12:end] + record, peer)
"""


def resolver(lab, ns):
    """The namespace's resolver is at an address where nobody answers until dns() is called."""
    folder = "/etc/netns/" + lab.ns(ns)
    os.makedirs(folder)
    lab.undo.append(["rm", "-r", folder])
    with open(folder + "/resolv.conf", "w") as f:
        f.write("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")


def dns(lab, ns):
    lab.run("dns-" + ns, ns, sys.executable, lab.file("dns.py", DNS)).wait_for("answering")


def command(lab, ns, role, *argv):
    """A gateway from its command line, which may have to wait: for its interface, as fake TCP needs one."""
    p = lab.run("kcpgate-" + role, ns, gateway_binary(), role, "--key", "k", "-mode", "fast3", "--tcp", *argv)
    p.wait_for("ready:", 60)
    return p


def gateways(lab):
    """A server by its address and a client by a name, without a link, a route or a resolver; both wait."""
    lab.add_ns("g", "p")
    resolver(lab, "p")
    target(lab, "g")
    srv = command(lab, "g", "server", "-l", "10.77.1.1:4000", "-t", "127.0.0.1:9000")
    cli = command(lab, "p", "client", "-r", "far.test:4000", "-l", "127.0.0.1:13000")
    srv.wait_for("re-connecting: port port0: the kernel has no route to 10.77.1.1", 60)
    cli.wait_for("re-connecting: port port0: far.test: ", 60)
    return srv, cli


def test_before_the_network():
    """Both wait for link, route and DNS, which come in this order; an application that connected meanwhile is served."""
    with Lab("kk") as lab:
        srv, cli = gateways(lab)
        early = load(lab, "p", "small", "127.0.0.1", 13000, 3, wait=False)
        time.sleep(2)
        case.check(srv.alive() and cli.alive() and early.alive(), early.log())
        lab.veth("g", "g1", "p", "p1")
        lab.addr("g", "g1", "10.77.1.1/24")
        lab.addr("p", "p1", "192.0.2.1/24")
        dns(lab, "p")
        srv.wait_for("interface g1 is there", 60)
        cli.wait_for("the kernel has no route to far.test", 60)
        lab.ip("p", "route", "add", "10.77.1.0/24", "dev", "p1")
        lab.ip("g", "route", "add", "192.0.2.0/24", "dev", "g1")
        cli.wait_for("interface p1 is there", 60)
        early.p.wait(110)
        case.check(early.p.returncode == 0, early.log())
        transfer(lab)
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")


def test_ended_while_waiting():
    """SIGTERM ends a gateway that waits, with status 0."""
    with Lab("kk") as lab:
        srv, cli = gateways(lab)
        for p in srv, cli:
            case.check(p.stop() == 0, p.name, p.p.returncode)
            case.check("stopped" in p.log(), p.log()[-300:])
        lab.sysctl("p", "net.ipv6.conf.all.disable_ipv6", 0)
        cli = lab.run("int", "p", gateway_binary(), "client", "-r", "far.test:4000", "-l", "127.0.0.1:13000",
                      "--tcp")
        cli.wait_for("initiating key derivation", 60)  # still starting
        case.check(cli.stop(signal.SIGINT) == 0, cli.p.returncode, cli.log())


def test_file_before_the_network():
    """A file's interfaces, remote and listen name come later; check says what is missing, and that the file is good."""
    with Lab("kk") as lab:
        lab.add_ns("g", "p")
        resolver(lab, "g")
        resolver(lab, "p")
        target(lab, "g")
        text = conf([port("a", "g1")], [tunnel("s", "server", "own.test:4000", "127.0.0.1:9000")])
        out = lab.sh("g", gateway_binary(), "check", "-c", lab.file("check.conf", text.replace("@PREFIX@", "x")))
        case.check("port a: no interface g1 now" in out and "tunnels: good" in out, out)
        srv = lab.gateway("server", "g", text)
        srv.wait_for("re-connecting: port a: no interface g1", 60)
        srv.wait_for("tunnel s: listen address own.test: ", 60)
        cli = client(lab, remote="far.test:4000")
        early = load(lab, "p", "small", "127.0.0.1", 13000, 3, wait=False)
        cli.wait_for("re-connecting: port a: no interface p1", 60)
        cli.wait_for("re-connecting: far.test: ", 60)
        join(lab)
        for gw, ns in (srv, "g"), (cli, "p"):
            gw.wait_for("is there, and served", 60)
            dns(lab, ns)
        srv.wait_for("tunnel s: listens on 10.77.1.1 now", 60)
        early.p.wait(110)
        case.check(early.p.returncode == 0, early.log())
        transfer(lab)
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")


def test_sought_anew():
    """A command line's client whose interface goes finds the one that the route leaves by then, of whatever name."""
    with Lab("kk") as lab:
        one_link(lab)
        srv = lab.gateway("server", "g", conf([port("a", "g1")],
                                              [tunnel("s", "server", ":4000", "127.0.0.1:9000", tcp="true")]))
        cli = command(lab, "p", "client", "-r", "10.77.1.1:4000", "-l", "127.0.0.1:13000", "--iface", "p1")
        transfer(lab)
        case.check(cli.stop() == 0, "exit status")
        resolver(lab, "p")
        dns(lab, "p")
        cli = command(lab, "p", "client", "-r", "far.test:4000", "-l", "127.0.0.1:13000")
        transfer(lab)
        lab.ip("p", "link", "del", "p1")
        cli.wait_for("interface p1 has gone", 60)
        join(lab, p="usb7")
        cli.wait_for("interface usb7 is there", 60)
        srv.wait_for("interface g1 is there", 60)
        transfer(lab)
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
