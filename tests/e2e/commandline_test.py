#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kcpgate run as kcptun is run: from its command line alone, against stock kcptun and against itself."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import GUARD, ROOT, Lab, gateway_binary
from lab import telemetry as lab_telemetry

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
JSON = os.path.join(ROOT, "tests", "conf", "json")


def link(lab):
    """g, which has a default route by which the server finds its interface, and p."""
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/24")
    lab.addr("p", "p0", "10.77.0.2/24")
    lab.ip("g", "route", "add", "default", "via", "10.77.0.2")
    lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def gateway(lab, ns, role, *argv, env=None):
    gw = lab.run("kcpgate-" + role, ns, gateway_binary(), role, *argv, env=env)
    gw.wait_for("ready:")
    return gw


def stock(role):
    return os.environ.get("KCPTUN_" + role.upper()) or shutil.which("kcptun-" + role)


def load(lab, *argv):
    p = lab.run("load", "p", sys.executable, LOAD, *[str(a) for a in argv])
    p.end()
    case.check(p.p.returncode == 0, p.log())


def cmdline(p):
    """Of the program itself: p may be `ip netns exec`, which becomes it."""
    with open("/proc/%d/cmdline" % p.p.pid) as f:
        return f.read()


def test_both_ends():
    """One dash or two; the key leaves the command line; the port is one of sockets; the prefix is the PID's."""
    with Lab("kl") as lab:
        link(lab)
        srv = gateway(lab, "g", "server", "-t", "127.0.0.1:9000", "-l", ":4000", "-mode", "fast3", "-nocomp", "-sockbuf",
                      "16777217", "--key", "open sesame")
        cli = gateway(lab, "p", "client", "-r", "10.77.0.1:4000", "-l", ":13000", "-mode", "fast3", "-nocomp",
                      "-sockbuf", "16777217", "--key=open sesame")
        load(lab, "small", "127.0.0.1", 13000, 20)
        for p in srv, cli:
            case.check("sesame" not in cmdline(p) and "xxxxxxxxxxx" in cmdline(p), repr(cmdline(p)))
            case.check("sockbuf: no socket, no effect" not in p.log(), p.log())
            ports = lab_telemetry("kcpgate-%d" % p.p.pid, "/kcpgate/ports")
            case.check([v["driver"] for v in ports.values()] == ["net_kudp"], ports)
        tunnels = lab_telemetry("kcpgate-%d" % cli.p.pid, "/kcpgate/tunnels")
        case.check("client" in str(tunnels), tunnels)
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")


def test_stock_client_and_server():
    """The same words make a peer of stock's, with its default of smux and the key from the environment."""
    with Lab("kl") as lab:
        link(lab)
        srv = gateway(lab, "g", "server", "-t", "127.0.0.1:9000", "-l", ":4000", "--compat", "2021",
                      env={**os.environ, "KCPTUN_KEY": "k"})
        lab.run("stock", "p", stock("client"), "-r", "10.77.0.1:4000", "-l", "127.0.0.1:13000", "--key",
                "k").wait_for("quiet:")
        load(lab, "small", "127.0.0.1", 13000, 20)
        case.check(srv.stop() == 0, "exit status")
    with Lab("kl") as lab:
        link(lab)
        lab.run("stock", "g", stock("server"), "-l", ":4000", "-t", "127.0.0.1:9000", "--key", "k").wait_for("quiet:")
        path = lab.file("client.json", '{"localaddr": "127.0.0.1:13000", "remoteaddr": "10.77.0.1:4000", "key": "k",\n'
                                       ' "smuxver": 1, "conn": 2, "autoexpire": 300}\n')
        cli = gateway(lab, "p", "client", "-c", path)
        load(lab, "small", "127.0.0.1", 13000, 20)
        case.check("everybody may read this file" in cli.log(), cli.log())
        case.check(cli.stop() == 0, "exit status")


def run(*argv, **more):
    return subprocess.run([gateway_binary(), *argv], capture_output=True, text=True, timeout=GUARD, **more)


def test_import():
    """What import prints is a file that check accepts."""
    with Lab("kl") as lab:
        for name, role in ("client", "client"), ("server", "server"), ("unsafe", "server"):
            p = run("import", os.path.join(JSON, name + ".json"))
            case.check(p.returncode == 0 and 'role = "%s";' % role in p.stdout, p.stdout + p.stderr)
            p = run("check", "-c", lab.file(name + ".conf", p.stdout))
            case.check(p.returncode == 0 and "1 tunnels: good" in p.stdout, p.stdout + p.stderr)


def test_wrong():
    """One line, which names the option, the value and what is allowed, and status 2."""
    for argv, words in (
            (("client", "--mtu", "abc"), '--mtu: found "abc"; allowed: an integer from 50 to 1500'),
            (("server", "--crpyt", "aes"), '"--crpyt": found an unknown option; did you mean --crypt?'),
            (("check", "server", "--dscp", "64"), "--dscp: found 64; allowed: an integer from 0 to 63"),
            (("client", "-c", os.path.join(JSON, "009-mtu-string.json")),
             '009-mtu-string.json:2: mtu: found "1350"; allowed: an integer from 50 to 1500'),
            (("import", os.path.join(JSON, "020-smuxver.json"), "--role", "client"),
             "020-smuxver.json:2: smuxver: found 3; allowed: an integer from 1 to 2"),
            (("import",), "import: found no file; allowed: FILE [--role client|server]")):
        p = run(*argv)
        case.check(p.returncode == 2 and p.stderr.count("\n") == 1 and words in p.stderr, argv, p.returncode, p.stderr)


def test_help():
    for role in "client", "server":
        p = run(role, "--help")
        case.check(p.returncode == 0 and "--parityshard VALUE, --ps VALUE" in p.stdout, p.stdout)
        p = run(role, "-v")
        case.check(p.returncode == 0 and re.match(r"kcpgate version \d", p.stdout), p.stdout)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
