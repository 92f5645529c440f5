#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One behaviour a test: half-close, backpressure, fairness, ends of sessions, bad input, signals, idleness."""
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import GUARD, ROOT, Lab, eal, gateway_binary, wait_until
from lab import telemetry as lab_telemetry

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
PORTS = 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n'


def tunnel(name, role, listen, far, **opts):
    o = dict(key='"k"', mode='"fast3"', **opts)
    more = " ".join("%s = %s;" % kv for kv in o.items())
    return '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; %s }' % (
        name, role, listen, "target" if role == "server" else "remote", far, more)


def conf(iface, *tunnels, workers=1, more="", log="info"):
    return (eal(workers) + PORTS % iface + "tunnels = (\n" + ",\n".join(tunnels) + "\n);\n" +
            'log = { level = "%s"; };\n' % log + more)


def link(lab):
    """g (gateway under test) and p (its peer), one link."""
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/24")
    lab.addr("p", "p0", "10.77.0.2/24")


def target(lab, ns="g"):
    t = lab.run("target-" + ns, ns, sys.executable, LOAD, "serve", "127.0.0.1", "9000")
    t.wait_for("serving")
    return t


def pair(lab, server_opts=None, client_opts=None):
    link(lab)
    srv = lab.gateway("server", "g", conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000", **(server_opts or {}))))
    cli = lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000",
                                                       **(client_opts or {}))))
    target(lab)
    return srv, cli


def load(lab, ns, *argv, wait=True):
    p = lab.run("load", ns, sys.executable, LOAD, *[str(a) for a in argv])
    if wait:
        p.end()
        case.check(p.p.returncode == 0, p.log())
    return p


def stock(role, *argv):
    return [os.environ.get("KCPTUN_" + role.upper()) or shutil.which("kcptun-" + role), *argv]


def workers(lab, gw):
    return lab.telemetry(gw, "/kcpgate/workers")


def total(lab, gw, field):
    return sum(w[field] for w in workers(lab, gw))


def test_half_close_through_stock_server():
    """A stock server knows no half-close: our client holds the FIN back, and the reply arrives in full."""
    with Lab("kb") as lab:
        link(lab)
        target(lab, "p")
        lab.run("stock", "p", *stock("server", "-l", ":4000", "-t", "127.0.0.1:9000", "--key", "k", "--mode", "fast3",
                                     "--smuxver", "2")).wait_for("quiet:")
        gw = lab.gateway("gw", "g", conf("g0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.2:4000", closewait=5)))
        load(lab, "g", "late", "127.0.0.1", 13000, 1 << 20)
        rows = lab.telemetry(gw, "/kcpgate/sessions")
        case.check(rows and rows[0]["peer_is"] == "stock", rows)
        case.check(gw.stop() == 0, "exit status")


def test_stopped_target():
    """A target that stops reading stops its sender, and nothing else; what lies in between is bounded."""
    with Lab("kb") as lab:
        srv, cli = pair(lab)
        code = ("import socket,struct,sys,time\n"
                "s = socket.create_connection(('127.0.0.1', 13000))\n"
                "s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
                "s.sendall(struct.pack('<2sccIQQ', b'KG', b'S', b'\\0', 0, 0, 0))\n"
                "s.settimeout(3)\n"
                "n = 0\n"
                "try:\n"
                "    while n < 200 << 20:\n"
                "        n += s.send(b'x' * 65536)\n"
                "except TimeoutError:\n"
                "    pass\n"
                "print('stuck', n, flush=True)\n"
                "time.sleep(900)\n")
        stuck = lab.run("stuck", "p", sys.executable, "-c", code)
        stuck.wait_for("stuck")
        n = int(stuck.log().split()[1])
        # 2 MiB of stream window, and the sockets and rings on either side; not the 200 MiB that it would send.
        case.check(n < 32 << 20, "the sender was not stopped:", n)
        load(lab, "p", "mixed", "127.0.0.1", 13000, 4 << 20, 100)
        held = max(r["held_bytes"] for r in lab.telemetry(srv, "/kcpgate/sessions"))
        case.check(0 < held <= 4 << 20, "held", held)
        # The sender's reset waits behind what was taken from it, and that goes when the target does.
        stuck.p.kill()
        next(p for p in lab.procs if p.name == "target-g").stop()
        wait_until("streams closed", lambda: total(lab, srv, "streams") == 0 and total(lab, cli, "streams") == 0)
        return "stopped after %d bytes, %d held" % (n, held)


def test_thousand_streams():
    """1,000 streams over one session, all at once: every one ends, and not after all the others."""
    with Lab("kb") as lab:
        srv, cli = pair(lab, dict(sndwnd=2048, rcvwnd=2048), dict(sndwnd=2048, rcvwnd=2048))
        p = load(lab, "p", "fair", "127.0.0.1", 13000, 1000, 20000)
        case.check(len(lab.telemetry(cli, "/kcpgate/sessions")) == 1, "one session was asked for")
        wait_until("streams closed", lambda: total(lab, srv, "streams") == 0 and total(lab, cli, "streams") == 0)
        return p.log().split("\n")[0]


def test_peer_gone():
    """A client that vanishes leaves nothing behind: sessions, streams and memory go after smux's timeout."""
    with Lab("kb") as lab:
        link(lab)
        target(lab)
        gw = lab.gateway("gw", "g", conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000")))
        used = total(lab, gw, "memory_used")
        peer = lab.run("stock", "p", *stock("client", "-l", "127.0.0.1:13000", "-r", "10.77.0.1:4000", "--key", "k",
                                            "--mode", "fast3", "--smuxver", "2", "--conn", "3"))
        peer.wait_for("quiet:")
        for i in range(3):
            load(lab, "p", "small", "127.0.0.1", 13000, 10)
        half = load(lab, "p", "big", "127.0.0.1", 13000, 400 << 20, wait=False)
        wait_until("traffic", lambda: lab.telemetry(gw, "/kcpgate/snmp")["BytesReceived"] > 4 << 20)
        case.check(total(lab, gw, "sessions") == 3, "sessions", workers(lab, gw))
        peer.p.send_signal(signal.SIGKILL)
        half.end()
        wait_until("sessions gone", lambda: total(lab, gw, "sessions") == 0 and total(lab, gw, "streams") == 0, 240)
        case.check(lab.telemetry(gw, "/kcpgate/drops")["timeout"] == 3, lab.telemetry(gw, "/kcpgate/drops"))
        case.check(total(lab, gw, "memory_used") <= used + (1 << 20), "memory", total(lab, gw, "memory_used"), used)
        w = workers(lab, gw)[0]
        case.check(w["held_mbufs"] == 0 and w["spilled_bytes"] == 0, w)
        case.check(gw.stop() == 0, "exit status")


def test_wrong_key():
    """A wrong key is counted, and told in one line, not in one a packet."""
    with Lab("kb") as lab:
        srv, cli = pair(lab, dict(), dict())
        cli.stop()
        bad = conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000")).replace('key = "k"', 'key = "other"')
        cli = lab.gateway("client2", "p", bad)
        p = load(lab, "p", "small", "127.0.0.1", 13000, 5, wait=False)
        wait_until("packets counted", lambda: lab.telemetry(srv, "/kcpgate/snmp")["InCsumErrors"] > 5)
        wait_until("drops counted", lambda: lab.telemetry(srv, "/kcpgate/drops")["crypt_bad"] > 5)
        wait_until("a line", lambda: "wrong key" in srv.log())
        time.sleep(3)
        case.check(p.alive() or p.p.returncode, "it worked with a wrong key")
        lines = [x for x in srv.log().split("\n") if "wrong key" in x]
        case.check(1 <= len(lines) <= 4, "log lines:", lines)
        return lines[0]


def test_refused_target():
    """A target that refuses ends the stream, with a line that says why."""
    with Lab("kb") as lab:
        link(lab)
        srv = lab.gateway("server", "g", conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9")))
        lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000")))
        p = lab.run("try", "p", sys.executable, "-c",
                    "import socket\ns = socket.create_connection(('127.0.0.1', 13000))\ns.settimeout(120)\n"
                    "try:\n    print('got', len(s.recv(10)), flush=True)\nexcept ConnectionError:\n    print('got reset')\n")
        p.end()
        case.check("got" in p.log(), p.log())
        case.check("Connection refused" in srv.log(), srv.log())
        case.check(lab.telemetry(srv, "/kcpgate/drops")["target"] == 1, "drop not counted")


def noise(n, sizes, seed):
    rnd = random.Random(seed)
    return [rnd.randbytes(rnd.choice(sizes)) for _ in range(n)]


def test_garbage():
    """Foreign, truncated, corrupted and replayed datagrams are counted by name; a session beside them does not notice."""
    with Lab("kb") as lab:
        srv, cli = pair(lab)
        tap = lab.run("capture", "g", "tcpdump", "-i", "g0", "-w", os.path.join(lab.dir, "cap.pcap"), "-U", "-c", "400",
                      "udp dst port 4000")
        tap.wait_for("listening")
        load(lab, "p", "mixed", "127.0.0.1", 13000, 1 << 20, 20)
        tap.end()
        with open(os.path.join(lab.dir, "cap.pcap"), "rb") as f:
            raw, at, seen = f.read(), 24, []
        while at + 16 <= len(raw):
            n = struct.unpack_from("<I", raw, at + 8)[0]
            seen.append(raw[at + 16 + 42:at + 16 + n])
            at += 16 + n
        case.check(len(seen) == 400, "captured", len(seen))
        rnd = random.Random(7)
        bad = noise(500, [0, 1, 5, 19], 1) + noise(1000, [20, 24, 44, 100, 1350, 1400], 2)
        for d in seen[:200]:
            k = bytearray(d)
            k[rnd.randrange(len(k))] ^= 1 << rnd.randrange(8)
            bad.append(bytes(k))
            bad.append(d[:rnd.randrange(len(d))])
        path = lab.file("bad.hex", "\n".join(d.hex() for d in bad + seen))
        before = lab.telemetry(srv, "/kcpgate/drops")
        side = load(lab, "p", "big", "127.0.0.1", 13000, 8 << 20, wait=False)
        diff = {}

        def counted():
            """Once more each time: what finds the port's ring full on a busy machine is never seen by the gateway."""
            lab.sh("p", sys.executable, "-c",
                   "import socket,time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                   "for i, line in enumerate(open(%r)):\n"
                   "    s.sendto(bytes.fromhex(line.strip()), ('10.77.0.1', 4000))\n"
                   "    if i %% 50 == 0: time.sleep(0.01)\n" % path)
            after = lab.telemetry(srv, "/kcpgate/drops")
            diff.update({k: after[k] - before[k] for k in after if after[k] != before[k]})
            return diff.get("crypt_short", 0) >= 500 and diff.get("crypt_bad", 0) >= 1000

        wait_until("all kinds counted", counted)
        case.check(side.end() == 0, side.log())
        wait_until("InCsumErrors", lambda: lab.telemetry(srv, "/kcpgate/snmp")["InCsumErrors"] >= 1000)
        # A client's port hears its server, and nobody else.
        port = int(lab.telemetry(cli, "/kcpgate/sessions")[0]["local"].rsplit(":", 1)[1])
        lab.sh("g", sys.executable, "-c",
               "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
               "for i in range(10): s.sendto(b'x' * 100, ('10.77.0.2', %d))\n" % port)
        wait_until("strangers counted", lambda: lab.telemetry(cli, "/kcpgate/drops")["foreign"] == 10)
        case.check(lab.telemetry(cli, "/kcpgate/snmp")["InErrs"] == 10, "InErrs")
        return str(diff)


def test_fragments():
    """A peer behind a small MTU sends its datagrams in IP fragments; they are put together again, both families."""
    with Lab("kb") as lab:
        link(lab)
        target(lab)
        for ns, dev, a in (("g", "g0", "fd77::1/64"), ("p", "p0", "fd77::2/64")):
            lab.addr(ns, dev, a)
        lab.ip("p", "link", "set", "p0", "mtu", "1280")
        gw = lab.gateway("gw", "g", conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000", mtu=1200)))
        for i, dst in enumerate(("10.77.0.1:4000", "[fd77::1]:4000")):
            port = 13000 + i
            lab.run("stock%d" % i, "p", *stock("client", "-l", "127.0.0.1:%d" % port, "-r", dst, "--key", "k", "--mode",
                                               "fast3", "--smuxver", "2", "--nocomp=false")).wait_for("quiet:")
            load(lab, "p", "mixed", "127.0.0.1", port, 1 << 20, 20)
        reasm = lab.sh("p", "cat", "/proc/net/snmp")
        names, values = [x.split()[1:] for x in reasm.split("\n") if x.startswith("Ip: ")]
        frags = int(dict(zip(names, values))["FragCreates"])
        case.check(frags > 500, "the peer sent no fragments:", frags)
        drops = lab.telemetry(gw, "/kcpgate/drops")
        case.check(drops["crypt_bad"] == 0, drops)
        return "%d fragments" % frags


def test_answer_address():
    """A server answers from the address and port that it was called on: stock clients take nothing else."""
    with Lab("kb") as lab:
        link(lab)
        target(lab)
        for a in ("10.77.0.9/24", "fd77::1/64", "fd77::9/64"):
            lab.addr("g", "g0", a)
        lab.addr("p", "p0", "fd77::2/64")
        gw = lab.gateway("gw", "g", conf("g0", tunnel("s", "server", ":4000-4003", "127.0.0.1:9000"),
                                         tunnel("one", "server", "10.77.0.9:4010", "127.0.0.1:9000")))
        for i, dst in enumerate(("10.77.0.9:4000", "10.77.0.1:4003", "[fd77::9]:4001", "[fd77::1]:4002")):
            lab.run("stock%d" % i, "p", *stock("client", "-l", "127.0.0.1:%d" % (13000 + i), "-r", dst, "--key", "k",
                                               "--mode", "fast3", "--smuxver", "2")).wait_for("quiet:")
            load(lab, "p", "small", "127.0.0.1", 13000 + i, 20)
        lab.sh("p", sys.executable, "-c", "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
               "for i in range(10): s.sendto(b'x' * 100, ('10.77.0.1', 4010))\n")
        wait_until("no listener there", lambda: lab.telemetry(gw, "/kcpgate/drops")["no_listener"] == 10)
        rows = sorted(r["local"] for r in lab.telemetry(gw, "/kcpgate/sessions"))
        case.check(rows == ["10.77.0.1:4003", "10.77.0.9:4000", "[fd77::1]:4002", "[fd77::9]:4001"], rows)


def test_telemetry():
    """Every command answers; a page of sessions leads to the next; unknown tunnels are refused, in words."""
    with Lab("kb") as lab:
        srv, cli = pair(lab, {}, dict(conn=60))
        load(lab, "p", "small", "127.0.0.1", 13000, 120)
        for c in ("/kcpgate/snmp", "/kcpgate/snmp,s", "/kcpgate/tunnels", "/kcpgate/workers", "/kcpgate/control",
                  "/kcpgate/drops", "/kcpgate/version"):
            case.check(lab.telemetry(srv, c), c)
        case.check(lab.telemetry(srv, "/kcpgate/snmp,nobody").keys() == {"error"}, "an unknown tunnel was answered")
        seen, more = set(), ""
        for _ in range(10):
            page = lab_telemetry(srv.prefix, "/kcpgate/sessions,s" + more)
            seen |= {row["peer"] for row in page.values() if isinstance(row, dict)}
            if "next" not in page:
                break
            more = "," + page["next"]
        case.check(len(seen) == 60, "sessions seen on all pages:", len(seen))
        snmp = lab.telemetry(srv, "/kcpgate/snmp")
        case.check(snmp["CurrEstab"] == 60 and snmp["PassiveOpens"] == 60, snmp)


def test_signals():
    """SIGUSR1 prints the table; SIGTERM and SIGINT end it with status 0 and nothing left behind."""
    with Lab("kb") as lab:
        for sig in (signal.SIGTERM, signal.SIGINT):
            sub = Lab("kc")
            with sub:
                srv, cli = pair(sub)
                load(sub, "p", "small", "127.0.0.1", 13000, 5)
                idle = sub.run("idle", "p", sys.executable, "-c",
                               "import socket\ns = socket.create_connection(('127.0.0.1', 13000))\ns.settimeout(120)\n"
                               "try:\n    print('end', len(s.recv(1)))\nexcept ConnectionError:\n    print('end reset')\n")
                wait_until("a stream", lambda: total(sub, srv, "streams") == 1)
                cli.p.send_signal(signal.SIGUSR1)
                cli.wait_for("KCP SNMP:&{BytesSent:")
                case.check(cli.stop(sig) == 0, "exit status", cli.p.returncode, cli.log())
                idle.end()
                case.check("end" in idle.log(), "the application was not told", idle.log())
                wait_until("the peer's stream closed", lambda: total(sub, srv, "streams") == 0)
                case.check(srv.stop(sig) == 0, "exit status", srv.p.returncode)
                case.check("4000" not in sub.sh("g", "ss", "-uln"), "UDP port still held")


def test_ports_reserved():
    """On a shared interface the kernel sends no ICMP port-unreachable for our ports, and nobody else may take them."""
    with Lab("kb") as lab:
        srv, cli = pair(lab)
        out = lab.sh("p", sys.executable, "-c",
                     "import socket,time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                     "s.connect(('10.77.0.1', 4000))\nfor i in range(20):\n    s.send(b'x' * 30)\n    time.sleep(0.01)\n"
                     "print('no icmp')\n")
        case.check("no icmp" in out, out)
        out = lab.sh("g", sys.executable, "-c", "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                     "s.bind(('0.0.0.0', 4000))\n", check=False)
        case.check("in use" in out, out)


def test_idle():
    """A gateway that carries nothing uses under 3 % of one core."""
    with Lab("kb") as lab:
        srv, cli = pair(lab)
        load(lab, "p", "small", "127.0.0.1", 13000, 1)
        time.sleep(4)
        for _ in range(5):  # time on a CPU grows where others take its caches and its clock away: a quiet moment will do
            a, begin = [g.cpu_seconds() for g in (srv, cli)], time.monotonic()
            time.sleep(8)
            span = time.monotonic() - begin
            used = [100 * (g.cpu_seconds() - x) / span for g, x in zip((srv, cli), a)]
            if max(used) < 3:
                return "%.2f and %.2f %% of a core" % tuple(used)
        case.check(False, "percent of a core:", used)


def test_failures_at_start():
    """What is missing is named in one line: memory, hugepages, a port that is taken."""
    good = tunnel("s", "server", ":4000", "127.0.0.1:9000")
    with Lab("kb") as lab:
        link(lab)
        free = lab.run("holder", "g", sys.executable, "-c",
                       "import socket,time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                       "s.bind(('0.0.0.0', 4001))\nprint('held', flush=True)\ntime.sleep(900)\n")
        free.wait_for("held")
        huge = 'hugepages = true;'
        cases = [
            ("memory", conf("g0", good).replace("hugepages = false;", "hugepages = false; memory = 900000;"), ["900000 MB"]),
            ("hugepages", conf("g0", good).replace("hugepages = false;", huge + " memory = 8192;"),
             ["8192 MB", "eal.hugepages"]),
            ("taken", conf("g0", tunnel("s", "server", ":4001", "127.0.0.1:9000")), ["4001", "in use"]),
        ]
        for what, text, words in cases:
            p = lab.gateway("fail-" + what, "g", text, ready=False)
            case.check(p.end() == 1, what, p.p.returncode, p.log())
            lines = [x for x in p.log().split("\n") if "cannot start" in x]
            case.check(len(lines) == 1 and all(w in lines[0] for w in words), what, p.log())
            case.check("PANIC" not in p.log() and "EAL:" not in p.log().replace(lines[0], ""), what, p.log())


def test_wrong_files():
    """`kcpgate check` refuses every file of tests/conf with the message that its first line promises."""
    folder = os.path.join(ROOT, "tests", "conf")
    files = sorted(f for f in os.listdir(folder) if f.endswith(".conf"))
    case.check(len(files) >= 30, len(files))
    for f in files:
        path = os.path.join(folder, f)
        with open(path, errors="replace") as h:
            want = re.match(r"# expect: (.*)", h.readline())
        case.check(want, f, "has no expectation")
        p = subprocess.run([gateway_binary(), "check", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True, timeout=GUARD)
        case.check(p.returncode == 2, f, "exit status", p.returncode, p.stderr)
        case.check(want.group(1).strip() in p.stderr, f, "expected", want.group(1), "got", p.stderr)
    return "%d files" % len(files)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
