#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A shared port beside a TCP service of the host: floods to our port and to others cut nobody off.

  flood, stock kcptun client, the service's users [p] ==== veth [g] kcpgate server on a shared port, an echo service

As many datagrams as are asked for (300,000 a second, which slower machines do not reach) go to the tunnel's port and to
others in turn, while the service is asked by a new connection each 20 ms and a transfer goes through the tunnel. Every
connection must be answered, and every byte be right.
"""
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
FLOOD = os.path.join(ROOT, "build", "perf", "flood")
G, P, UDP, ECHO, ENTRY = "10.80.1.1", "10.80.1.2", 4000, 9001, 13000
RATE, SECONDS = 300000, 5
PORTS = {"af_packet": 'device = "net_af_packet0,iface=g0"; exception = "kernel";',
         "kudp": 'device = "net_kudp0";',
         "af_xdp": 'device = "net_af_xdp0,iface=g0"; exception = "kernel";'}
# Asks a service by one connection after the other; prints how many, and their times.
USER = r"""
import json, socket, sys, time
host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
times, lost, end = [], [], time.monotonic() + seconds
while time.monotonic() < end:
    begin = time.monotonic()
    try:
        s = socket.create_connection((host, port), timeout=120)
        s.settimeout(120)
        s.sendall(b"x" * 64)
        got = b""
        while len(got) < 64:
            part = s.recv(64)
            if not part:
                raise OSError("closed")
            got += part
        s.close()
    except OSError as e:
        lost.append(str(e))
    times.append(time.monotonic() - begin)
    time.sleep(max(0, 0.02 - times[-1]))
times.sort()
print(json.dumps({"asked": len(times), "lost": lost, "p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}))
"""
ECHOES = r"""
import socket, sys, threading
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen(1000)
print("serving", flush=True)
while True:
    c, _ = s.accept()
    def one(c=c):
        with c:
            while (b := c.recv(4096)):
                c.sendall(b)
    threading.Thread(target=one, daemon=True).start()
"""


def link(lab):
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", G + "/24")
    lab.addr("p", "p0", P + "/24")


def ask(lab, seconds):
    p = lab.run("user-%d" % time.monotonic_ns(), "p", sys.executable, "-c", USER, G, str(ECHO), str(seconds))
    return p


def answers(p):
    p.end(300)
    v = json.loads(p.log().splitlines()[-1])
    case.check(not v["lost"] and v["asked"], v)
    return v


def flooded(lab, name, port, ports):
    p = lab.run(name, "p", FLOOD, "--from", "%s:%d" % (P, 50000 + port % 1000), "--to", "%s:%d" % (G, port), "--ports",
                str(ports), "--size", "100", "--rate", str(RATE // 2), "--seconds", "120")
    p.wait_for("flooding")
    return p


def beside(port):
    with Lab("ks") as lab:
        link(lab)
        gw = lab.gateway("server", "g", eal() + "ports = ( { name = \"p0\"; %s } );\n" % PORTS[port] +
                         'tunnels = ( { name = "s"; role = "server"; listen = ":%d"; target = "127.0.0.1:9000"; key = "k"; '
                         'smuxver = 1; } );\n' % UDP)
        lab.run("echo", "g", sys.executable, "-c", ECHOES, G, str(ECHO)).wait_for("serving")
        lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
        cli = lab.run("kcptun", "p", "kcptun-client", "-r", "%s:%d" % (G, UDP), "-l", "127.0.0.1:%d" % ENTRY, "--key", "k",
                      "--quiet")
        cli.wait_for("key derivation done")
        calm = answers(ask(lab, 1))
        floods = [flooded(lab, "flood-ours", UDP, 1), flooded(lab, "flood-others", UDP + 100, 16)]
        user = ask(lab, SECONDS)
        big = lab.run("big", "p", sys.executable, LOAD, "big", "127.0.0.1", str(ENTRY), str(4 << 20))
        busy = answers(user)
        big.end(600)
        case.check(big.p.returncode == 0, big.log())
        sent = 0.0
        for f in floods:
            f.stop()
            v = json.loads(f.log().splitlines()[-1])
            sent += v["sent"] / v["seconds"]
        refused = lab.telemetry(gw, "/kcpgate/drops")["crypt_bad"]
        case.check(refused > 1000, "the flood was heard:", refused)
        case.check(gw.stop() == 0, "exit status")
        return "%.0f datagrams a second; %d connections, p50 %.1f, p99 %.1f ms (before: %.1f, %.1f)" % (
            sent, busy["asked"], busy["p50"] * 1e3, busy["p99"] * 1e3, calm["p50"] * 1e3, calm["p99"] * 1e3)


def test_af_packet():
    return beside("af_packet")


def test_kudp():
    return beside("kudp")


def test_af_xdp():
    return beside("af_xdp")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
