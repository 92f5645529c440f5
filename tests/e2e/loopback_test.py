#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Both ends of a tunnel on one host, over the loopback interface, as kcptun's README is tried out."""
import os
import re
import shutil
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, gateway_binary, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
PORT = 'ports = ( { name = "lo"; device = "net_af_packet0,iface=lo"; exception = "kernel"; } );\n'
SWITCHES = "route_localnet", "accept_local"


def tunnel(name, role, listen, far):
    return '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; key = "k"; mode = "fast3"; }' % (
        name, role, listen, "target" if role == "server" else "remote", far)


def conf(*tunnels, workers=1, peers=False):
    port = PORT.replace("; } );", "; local_peers = true; } );") if peers else PORT
    return eal(workers) + port + "tunnels = (\n" + ",\n".join(tunnels) + "\n);\n"


def stock(lab, role, *argv):
    binary = os.environ.get("KCPTUN_" + role.upper()) or shutil.which("kcptun-" + role)
    p = lab.run("stock", "h", binary, *argv, "--key", "k", "--mode", "fast3", "--smuxver", "2")
    p.wait_for("key derivation done")
    return p


def host(lab):
    lab.add_ns("h")
    lab.run("target", "h", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def load(lab, *argv):
    p = lab.run("load", "h", sys.executable, LOAD, *[str(a) for a in argv])
    p.end()
    case.check(p.p.returncode == 0, p.log())


def traffic(lab, addr="127.0.0.1"):
    load(lab, "small", addr, 13000, 20)
    load(lab, "big", addr, 13000, 4 << 20)


def snmp(p):
    """The counters that a process prints on SIGUSR1, ours or stock."""
    before = p.log().count("KCP SNMP:&{")
    p.p.send_signal(signal.SIGUSR1)
    wait_until("counters", lambda: p.log().count("KCP SNMP:&{") > before)
    wait_until("a whole line", lambda: p.log().endswith("\n"))
    line = p.log()[p.log().rindex("KCP SNMP:&{"):]
    return {k: int(v) for k, v in re.findall(r"(\w+):(\d+)", line)}


def once(gw, peer):
    """Frames that the kernel sends are seen on lo twice, and must be taken once."""
    got, sent = snmp(gw), snmp(peer)
    case.check(got["InPkts"] <= sent["OutPkts"], "taken", got["InPkts"], "sent", sent["OutPkts"])
    case.check(got["InCsumErrors"] == 0 and got["KCPInErrors"] == 0, got)


def test_two_gateways():
    """Server and client are two processes of kcpgate."""
    with Lab("kl") as lab:
        host(lab)
        srv = lab.gateway("server", "h", conf(tunnel("s", "server", ":4000", "127.0.0.1:9000")))
        cli = lab.gateway("client", "h", conf(tunnel("c", "client", "127.0.0.1:13000", "127.0.0.1:4000")))
        traffic(lab)
        once(srv, cli)
        once(cli, srv)
        case.check([p.stop() for p in (cli, srv)] == [0, 0], "exit status")


def test_one_gateway():
    """One process is its own peer; the sessions' two ends differ in ports alone, and may live on different workers."""
    for workers in (1, 2):
        with Lab("kl") as lab:
            host(lab)
            gw = lab.gateway("both", "h", conf(tunnel("s", "server", ":4000", "127.0.0.1:9000"),
                                               tunnel("c", "client", "127.0.0.1:13000", "127.0.0.1:4000"),
                                               workers=workers))
            traffic(lab)
            case.check(gw.stop() == 0, "exit status")


def test_stock_server():
    """The kernel hands our frames to a stock server's socket, also where it filters by reverse path."""
    for rp_filter in (0, 1, 2):
        with Lab("kl") as lab:
            host(lab)
            for key in ("all", "lo"):
                lab.sysctl("h", "net.ipv4.conf.%s.rp_filter" % key, rp_filter)
            srv = stock(lab, "server", "-l", ":4000", "-t", "127.0.0.1:9000")
            cli = lab.gateway("client", "h", conf(tunnel("c", "client", "127.0.0.1:13000", "127.0.0.1:4000"), peers=True))
            case.check("net.ipv4.conf.lo.route_localnet is on now" in cli.log(), cli.log())
            traffic(lab)
            once(cli, srv)
            case.check(cli.stop() == 0, "exit status")


def test_stock_client():
    """A stock client's datagrams, whose checksums the kernel leaves half done on lo, reach our server once each."""
    with Lab("kl") as lab:
        host(lab)
        srv = lab.gateway("server", "h", conf(tunnel("s", "server", ":4000", "127.0.0.1:9000"), peers=True))
        cli = stock(lab, "client", "-l", "127.0.0.1:13000", "-r", "127.0.0.1:4000")
        traffic(lab)
        once(srv, cli)
        case.check(srv.stop() == 0, "exit status")


def test_ipv6():
    """::1 needs no switches."""
    with Lab("kl") as lab:
        host(lab)
        srv = lab.gateway("server", "h", conf(tunnel("s", "server", ":4000", "127.0.0.1:9000")))
        cli = stock(lab, "client", "-l", "127.0.0.1:13000", "-r", "[::1]:4000")
        traffic(lab)
        once(srv, cli)
        cli.stop()
        case.check(srv.stop() == 0, "exit status")
        srv = stock(lab, "server", "-l", ":4001", "-t", "127.0.0.1:9000")
        cli = lab.gateway("client", "h", conf(tunnel("c", "client", "127.0.0.1:13000", "[::1]:4001")))
        traffic(lab)
        case.check(cli.stop() == 0, "exit status")


def test_other_addresses():
    """127.0.0.2, and the host's address on another interface: lo is the way to both."""
    with Lab("kl") as lab:
        host(lab)
        lab.add_ns("o")
        lab.veth("h", "d0", "o", "d1")
        lab.addr("h", "d0", "10.77.0.1/24")
        srv = lab.gateway("server", "h", conf(tunnel("s", "server", ":4000", "127.0.0.1:9000"), peers=True))
        for addr in ("127.0.0.2", "10.77.0.1"):
            cli = stock(lab, "client", "-l", "127.0.0.1:13000", "-r", addr + ":4000")
            traffic(lab)
            cli.stop()
        srv.stop()
        for addr in ("127.0.0.2", "10.77.0.1"):
            # One that listens on all addresses would answer from 127.0.0.1.
            srv = stock(lab, "server", "-l", addr + ":4000", "-t", "127.0.0.1:9000")
            cli = lab.gateway("client-" + addr, "h", conf(tunnel("c", "client", "127.0.0.1:13000", addr + ":4000"), peers=True))
            traffic(lab)
            case.check(cli.stop() == 0, "exit status")
            srv.stop()


def test_command_lines():
    """As kcptun's README has it: a server on all addresses, a client to 127.0.0.1, two command lines on one host."""
    with Lab("kl") as lab:
        host(lab)
        lab.add_ns("o")
        lab.veth("h", "e0", "o", "e1")
        lab.addr("h", "e0", "10.77.0.1/24")
        lab.ip("h", "route", "add", "default", "via", "10.77.0.2")
        common = ["--key", "k", "--mode", "fast3", "--smuxver", "2"]
        srv = lab.run("server", "h", gateway_binary(), "server", "-t", "127.0.0.1:9000", "-l", ":4000", *common)
        srv.wait_for("ready:")
        for addr in ("127.0.0.1", "10.77.0.1"):
            cli = lab.run("client-" + addr, "h", gateway_binary(), "client", "-r", addr + ":4000", "-l", ":13000", *common)
            cli.wait_for("ready:")
            traffic(lab)
            case.check(cli.stop() == 0, "exit status")
        cli = stock(lab, "client", "-l", "127.0.0.1:13000", "-r", "127.0.0.1:4000")
        traffic(lab)
        case.check(srv.stop() == 0, "exit status")


def switches(lab):
    return [lab.sh("h", "cat", "/proc/sys/net/ipv4/conf/lo/" + key).strip() for key in SWITCHES]


def records():
    return [f for f in os.listdir("/var/run/dpdk") if f.startswith("kcpgate-lo-")]


def test_switches():
    """The kernel's switches are touched where it was asked for, for as long as one gateway wants them, killed or not."""
    srv, cli = (tunnel("s", "server", ":4000", "127.0.0.1:9000"), tunnel("c", "client", "127.0.0.1:13000", "127.0.0.1:4000"))
    with Lab("kl") as lab:
        host(lab)
        before = records()
        lab.sysctl("h", "net.ipv4.conf.lo.accept_local", 1)
        gw = lab.gateway("unasked", "h", conf(srv))
        case.check(switches(lab) == ["0", "1"] and "unless local_peers" in gw.log(), switches(lab), gw.log())
        case.check(gw.stop() == 0, "exit status")
        # Two that want them: the last one out puts back what was off, and leaves on what was.
        one, two = lab.gateway("one", "h", conf(srv, peers=True)), lab.gateway("two", "h", conf(cli, peers=True))
        case.check(switches(lab) == ["1", "1"], switches(lab))
        case.check(one.stop() == 0 and switches(lab) == ["1", "1"], switches(lab))
        off = "route_localnet is off again"
        case.check(two.stop() == 0 and switches(lab) == ["0", "1"] and off in two.log(), switches(lab), two.log())
        case.check(records() == before, records())
        # Killed: the next one puts it back, though it has no port on lo, and another that lives is not disturbed.
        one, two = lab.gateway("third", "h", conf(srv, peers=True)), lab.gateway("fourth", "h", conf(cli, peers=True))
        one.stop(signal.SIGKILL)
        other = conf(srv).replace(PORT, 'ports = ( { name = "s"; device = "net_kudp0"; } );\n')
        gw = lab.gateway("beside", "h", other)
        case.check(gw.stop() == 0 and switches(lab) == ["1", "1"], switches(lab))
        two.stop(signal.SIGKILL)
        case.check(switches(lab) == ["1", "1"], switches(lab))
        gw = lab.gateway("next", "h", other)
        case.check(switches(lab) == ["0", "1"] and "which a killed gateway" in gw.log(), switches(lab), gw.log())
        case.check(gw.stop() == 0 and records() == before, records())


if __name__ == "__main__":
    case.main(sys.modules[__name__])
