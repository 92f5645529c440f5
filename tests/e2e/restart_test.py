#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A server that is killed and started again, and clients that are killed: who notices, how, and what is left."""
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
GUARD = 150  # seconds: nothing here takes so long

# One verified exchange after another until one succeeds; the time when it began and when it was over.
PROBE = """
import asyncio, os, sys, time
sys.path.insert(0, %r)
import load
for i in range(400):
    begin = time.monotonic()
    try:
        asyncio.run(asyncio.wait_for(load.exchange("127.0.0.1", int(sys.argv[1]), i, 20000, 20000), float(sys.argv[2])))
        print("served", time.monotonic(), i, flush=True)
        break
    except Exception as e:
        print("attempt %%d: %%.2f s: %%s" %% (i, time.monotonic() - begin, type(e).__name__), flush=True)
        time.sleep(0.1)
""" % os.path.dirname(LOAD)

# A connection that has been used and then waits: how it ends.
WAIT = """
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(struct.pack("<2sccIQQ", b"KG", b"H", b"\\0", 1, 0, 0))
print("waiting", flush=True)
s.settimeout(%d)
try:
    print("end", len(s.recv(1)), flush=True)
except TimeoutError:
    print("end never", flush=True)
except ConnectionError:
    print("end reset", flush=True)
""" % GUARD

# An application that sends to a target that does not read.
STUCK = """
import socket, struct, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(struct.pack("<2sccIQQ", b"KG", b"S", b"\\0", 0, 0, 0))
while True:
    s.sendall(b"x" * 65536)
"""


def tunnel(name, role, listen, far, **opts):
    o = dict(key='"k"', mode='"fast3"', **opts)
    return '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; %s }' % (
        name, role, listen, "target" if role == "server" else "remote", far, " ".join("%s = %s;" % kv for kv in o.items()))


def conf(iface, *tunnels):
    return (eal() + 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n' % iface +
            "tunnels = (\n" + ",\n".join(tunnels) + "\n);\n" + 'log = { level = "info"; };\n')


def up(lab):
    """g: the server and its target; p: clients."""
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/24")
    lab.addr("p", "p0", "10.77.0.2/24")
    target = lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000")
    target.wait_for("serving")
    return target


def client(**opts):
    return conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000", **opts))


def server(**opts):
    return conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000", **opts))


def stock(lab, name, ns, role, *argv):
    path = os.environ.get("KCPTUN_" + role.upper()) or shutil.which("kcptun-" + role)
    p = lab.run(name, ns, path, *argv, "--key", "k", "--mode", "fast3")
    p.wait_for("quiet:")
    return p


def small(lab, port, count):
    p = lab.run("small%d" % count, "p", sys.executable, LOAD, "small", "127.0.0.1", str(port), str(count))
    p.p.wait(GUARD)
    case.check(p.p.returncode == 0, p.log())


def kill(p):
    p.p.send_signal(signal.SIGKILL)
    p.p.wait()


def served(probe):
    """When its exchange was over."""
    probe.p.wait(GUARD)
    case.check("served" in probe.log(), "no service:", probe.log())
    return float(probe.log().split("served ")[1].split()[0])


def drops(lab, gw, *names):
    d = lab.telemetry(gw, "/kcpgate/drops")
    return tuple(d[n] for n in names)


def restart(**opts):
    """Both sessions end because the server says that it does not know them, and the next connections are served."""
    with Lab("kr") as lab:
        up(lab)
        srv = lab.gateway("server", "g", server(**opts))
        cli = lab.gateway("client", "p", client(conn=2, **opts))
        small(lab, 13000, 6)
        idle = [lab.run("idle%d" % i, "p", sys.executable, "-c", WAIT, "13000") for i in range(2)]
        for p in idle:
            p.wait_for("waiting")
        wait_until("streams", lambda: sum(w["streams"] for w in lab.telemetry(srv, "/kcpgate/workers")) == 2)
        rows = lab.telemetry(cli, "/kcpgate/sessions")
        case.check(len(rows) == 2 and all(r["peer_is"] == "kcpgate" for r in rows), rows)
        kill(srv)
        probes = [lab.run("probe%d" % i, "p", sys.executable, "-c", PROBE, "13000", str(GUARD)) for i in range(2)]
        again = lab.gateway("again", "g", server(**opts))
        ready = time.monotonic()
        took = max(served(p) for p in probes) - ready
        # Each of the two has its end from the server's word, and none from anything else.
        wait_until("both sessions told", lambda: drops(lab, cli, "forgotten") == (2,), GUARD)
        case.check(drops(lab, cli, "timeout", "oob") == (0, 0), lab.telemetry(cli, "/kcpgate/drops"))
        lines = [x for x in cli.log().split("\n") if "does not know it" in x]
        case.check(len(lines) == 2, cli.log())
        for p in idle:
            p.p.wait(GUARD)
            case.check("end reset" in p.log(), "an idle connection:", p.log())
        small(lab, 13000, 6)
        snmp = lab.telemetry(again, "/kcpgate/snmp")
        case.check(snmp["PassiveOpens"] == 2, "sessions made at the new server:", snmp["PassiveOpens"])
        case.check(drops(lab, again, "never_began", "timeout", "replaced") == (0, 0, 0),
                   lab.telemetry(again, "/kcpgate/drops"))
        asked = sum(w["asked"] for w in lab.telemetry(cli, "/kcpgate/workers"))
        answered = sum(w["answered"] for w in lab.telemetry(again, "/kcpgate/workers"))
        case.check(2 <= answered <= asked, "asked and answered", asked, answered)
        case.check(cli.stop() == 0 and again.stop() == 0, "exit status")
        return "service %.2f s after the server was ready" % took


def test_server_killed():
    return restart()


def test_server_killed_without_fec():
    return restart(datashard=0, parityshard=0, crypt='"aes-128-gcm"', nocomp="true", smuxver=1)


def test_server_killed_fake_tcp():
    return restart(tcp="true")


def test_server_killed_under_stock_client():
    """What a stock client goes on sending makes no session; it finds out by itself, as with a stock server."""
    with Lab("kr") as lab:
        up(lab)
        opts = ("--smuxver", "2", "--conn", "1")
        srv = lab.gateway("server", "g", server())
        theirs = stock(lab, "theirs", "g", "server", "-l", ":4001", "-t", "127.0.0.1:9000", "--smuxver", "2")
        for port in (4000, 4001):
            stock(lab, "client%d" % port, "p", "client", "-l", "127.0.0.1:%d" % (9000 + port), "-r",
                  "10.77.0.1:%d" % port, *opts)
            small(lab, 9000 + port, 6)
        kill(srv)
        kill(theirs)
        begin = time.monotonic()
        again = lab.gateway("again", "g", server())
        stock(lab, "again-theirs", "g", "server", "-l", ":4001", "-t", "127.0.0.1:9000", "--smuxver", "2")
        probes = [lab.run("probe%d" % p, "p", sys.executable, "-c", PROBE, str(9000 + p), "3") for p in (4000, 4001)]
        # Sessions there are before the client dials anew: none, however much it sends.
        wait_until("strays", lambda: drops(lab, again, "stray")[0] > 0, GUARD)
        while probes[0].p.poll() is None:
            rows = lab.telemetry(again, "/kcpgate/sessions")
            case.check(all(r["bytes_in"] > 0 or r["age_ms"] < 5000 for r in rows), "a zombie:", rows)
            case.check(time.monotonic() - begin < GUARD, "no service")
            time.sleep(0.2)
        took = [served(p) - begin for p in probes]
        strays = drops(lab, again, "stray")[0]
        case.check(lab.telemetry(again, "/kcpgate/snmp")["PassiveOpens"] == 1, "strays made sessions")
        case.check(drops(lab, again, "never_began") == (0,), "zombies")
        answered = sum(w["answered"] for w in lab.telemetry(again, "/kcpgate/workers"))
        case.check(answered == 0, "a stock client was answered")
        return "%.1f s, stock with stock %.1f s; %d strays, no session of them" % (took[0], took[1], strays)


def test_clients_of_a_hung_target_killed():
    """A target that reads nothing: when its clients are killed, their sessions go; with the target, all that was held."""
    with Lab("kr") as lab:
        target = up(lab)
        srv = lab.gateway("server", "g", server(smuxver=1))

        def chunks():
            return lab.telemetry(srv, "/kcpgate/control")["chunks_free_permille"]

        free, used = chunks(), sum(w["memory_used"] for w in lab.telemetry(srv, "/kcpgate/workers"))
        ours = lab.gateway("ours", "p", client(smuxver=1))
        theirs = stock(lab, "theirs", "p", "client", "-l", "127.0.0.1:13001", "-r", "10.77.0.1:4000", "--smuxver", "1")
        apps = [lab.run("stuck%d" % p, "p", sys.executable, "-c", STUCK, str(p)) for p in (13000, 13001)]

        def stalled():
            rows = lab.telemetry(srv, "/kcpgate/sessions")
            return len(rows) == 2 and all(r["held_bytes"] >= 4 << 20 and r["rcv_queue"] for r in rows)

        wait_until("both stalled", stalled, GUARD)
        time.sleep(5)
        case.check(stalled(), lab.telemetry(srv, "/kcpgate/sessions"))
        low = chunks()
        case.check(low < free - 50, "they hold nothing:", low, free)
        kill(ours)
        kill(theirs)
        begin = time.monotonic()
        wait_until("sessions gone", lambda: not lab.telemetry(srv, "/kcpgate/sessions"), 90)
        took = time.monotonic() - begin
        case.check(drops(lab, srv, "timeout") == (2,), lab.telemetry(srv, "/kcpgate/drops"))
        # What the clients' applications sent is still the target's to take, who lives: until it does not.
        kill(target)
        wait_until("streams gone", lambda: sum(w["streams"] for w in lab.telemetry(srv, "/kcpgate/workers")) == 0, GUARD)
        # All but what the lcores keep at hand.
        wait_until("chunks back", lambda: chunks() >= free - (free - low) // 2, GUARD)
        case.check(sum(w["memory_used"] for w in lab.telemetry(srv, "/kcpgate/workers")) <= used, "memory")
        for a in apps:
            a.p.kill()
        note = "gone %.0f s after; free chunks %d, %d, %d per mille" % (took, free, low, chunks())
        case.check(srv.stop() == 0, "exit status")
        return note


if __name__ == "__main__":
    case.main(sys.modules[__name__])
