#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What kcptun's users set and grep for: Unix sockets, port ranges, log lines, snmplog, DSCP, waiting for a server."""
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, gateway_binary, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
PORTS = 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n'
COLUMNS = ("Unix,BytesSent,BytesReceived,MaxConn,ActiveOpens,PassiveOpens,CurrEstab,InErrs,InCsumErrors,KCPInErrors,InPkts,"
           "OutPkts,InSegs,OutSegs,InBytes,OutBytes,RetransSegs,FastRetransSegs,EarlyRetransSegs,LostSegs,RepeatSegs,"
           "FECFullShards,FECParityShards,FECErrs,FECRecovered,FECShardSet,FECShardMin,RingBufferSndQueue,"
           "RingBufferRcvQueue,RingBufferSndBuffer,OOBPackets")

# A byte stream through Unix sockets: an echo, and a client that checks it and then half-closes.
ECHO = ("import socket,sys,threading\n"
        "l = socket.socket(socket.AF_UNIX)\nl.bind(sys.argv[1])\nl.listen(64)\nprint('serving', flush=True)\n"
        "def run(c):\n"
        "    while True:\n"
        "        b = c.recv(65536)\n"
        "        if not b:\n            break\n"
        "        c.sendall(b)\n"
        "    c.close()\n"
        "while True:\n"
        "    threading.Thread(target=run, args=(l.accept()[0],), daemon=True).start()\n")


def tunnel(name, role, listen, far, **opts):
    o = dict(dict(key='"k"', mode='"fast3"'), **opts)
    more = " ".join("%s = %s;" % kv for kv in o.items())
    return '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; %s }' % (
        name, role, listen, "target" if role == "server" else "remote", far, more)


def conf(iface, *tunnels, more=""):
    return eal() + PORTS % iface + "tunnels = (\n" + ",\n".join(tunnels) + "\n);\n" + more


def need(lab, text):
    """Skips the test where `check` does not know an option."""
    path = lab.file("need.conf", text.replace("@PREFIX@", "x"))
    p = subprocess.run([gateway_binary(), "check", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        raise case.Skip(p.stdout.strip())


def link(lab):
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/24")
    lab.addr("p", "p0", "10.77.0.2/24")


def target(lab):
    lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def load(lab, *argv):
    p = lab.run("load", "p", sys.executable, LOAD, *[str(a) for a in argv])
    p.end()
    case.check(p.p.returncode == 0, p.log())


def test_unix_sockets():
    """A path on either side: bytes, half-close, a stale file, and nothing left behind."""
    with Lab("ko") as lab:
        link(lab)
        here, there = os.path.join(lab.dir, "in.sock"), os.path.join(lab.dir, "out.sock")
        server = conf("g0", tunnel("s", "server", ":4000", there))
        client = conf("p0", tunnel("c", "client", here, "10.77.0.1:4000"))
        need(lab, client)
        lab.run("echo", "g", sys.executable, "-c", ECHO, there).wait_for("serving")
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(here)
        stale.close()
        srv, cli = lab.gateway("server", "g", server), lab.gateway("client", "p", client)
        case.check("listening on: %s\n" % here in cli.log() and "target: %s\n" % there in srv.log(), srv.log())
        data = os.urandom(1 << 20)
        for i in range(5):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(120)
            s.connect(here)
            got = b""
            for at in range(0, len(data), 65536):
                s.sendall(data[at:at + 65536])
                while len(got) < at:
                    got += s.recv(65536)
            s.shutdown(socket.SHUT_WR)
            while True:
                b = s.recv(65536)
                if not b:
                    break
                got += b
            case.check(got == data, "connection", i, "got", len(got))
            s.close()
        wait_until("lines", lambda: srv.log().count("stream closed") == 5 and cli.log().count("stream closed") == 5)
        case.check(re.search(r"stream opened in: @ out: 10\.77\.0\.1:4000\(\d+\)", cli.log()), cli.log())
        case.check(re.search(r"stream opened in: 10\.77\.0\.2:\d+\(\d+\) out: %s" % re.escape(there), srv.log()), srv.log())
        case.check(cli.stop() == 0 and not os.path.exists(here), "the socket is left")
        case.check(srv.stop() == 0 and os.path.exists(there), "the target's socket is not ours")


def test_port_ranges():
    """Sessions spread over the range, and each goes on where it began."""
    with Lab("ko") as lab:
        link(lab)
        target(lab)
        srv = lab.gateway("server", "g", conf("g0", tunnel("s", "server", ":4000-4009", "127.0.0.1:9000")))
        cli = lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000-4009", conn=32)))
        load(lab, "small", "127.0.0.1", 13000, 64)
        rows = lab.telemetry(srv, "/kcpgate/sessions,s")
        ports = {int(r["local"].rsplit(":", 1)[1]) for r in rows}
        # 24 of a page of rows; fewer than 5 of 10 ports: once in 10^7 runs
        case.check(len(ports) >= 5 and ports <= set(range(4000, 4010)), ports)
        for p in range(4000, 4010):
            case.check("Listening on: :%d/udp\n" % p in srv.log(), srv.log())
        case.check([p.stop() for p in (cli, srv)] == [0, 0], "exit status")


def test_log_lines():
    """kcptun's words, in a process of one tunnel without a prefix."""
    with Lab("ko") as lab:
        link(lab)
        target(lab)
        srv = lab.gateway("server", "g", conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000")))
        cli = lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000", sndwnd=300,
                                                           bandwidth='"20M/1.5G"')))
        load(lab, "small", "127.0.0.1", 13000, 5)
        both = ["version: ", "encryption: aes$", r"nodelay parameters: 1 10 2 1$", "compression: true$",
                "mtu: 1350$", "datashard: 10 parityshard: 3$", "acknodelay: false$", "dscp: 0$", "smuxbuf: 4194304$",
                "streambuf: 2097152$", "keepalive: 10$", "quiet: false$", "tcp: false$", "initiating key derivation$",
                "key derivation done$"]
        server = ["smux version: auto$", "listening on: :4000$", r"target: 127\.0\.0\.1:9000$", "sndwnd: auto rcvwnd: auto$", "congestion: auto$", "Listening on: :4000/udp$",
                  r"remote address: 10\.77\.0\.2:\d+$", r"smux version: 2 on connection: 10\.77\.0\.1:4000 -> 10\.77\.0\.2:\d+$",
                  r"stream opened in: 10\.77\.0\.2:\d+\(\d+\) out: 127\.0\.0\.1:9000$",
                  r"stream closed in: 10\.77\.0\.2:\d+\(\d+\) out: 127\.0\.0\.1:9000$"]
        client = ["smux version: 2$", r"listening on: 127\.0\.0\.1:13000$", r"remote address: 10\.77\.0\.1:4000$", "sndwnd: 300 rcvwnd: auto$", "conn: 1$",
                  "congestion: auto$", "bandwidth: 20M/1500M$",
                  r"smux version: 2 on connection: 10\.77\.0\.2:\d+ -> 10\.77\.0\.1:4000$",
                  r"stream opened in: 127\.0\.0\.1:\d+ out: 10\.77\.0\.1:4000\(\d+\)$",
                  r"stream closed in: 127\.0\.0\.1:\d+ out: 10\.77\.0\.1:4000\(\d+\)$"]
        wait_until("streams closed", lambda: srv.log().count("stream closed") == 5)
        for gw, lines in ((srv, both + server), (cli, both + client)):
            for x in lines:
                case.check(re.search(r"(?m)^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d " + x, gw.log()), gw.name, x, gw.log())
        srv.stop()
        cli.stop()
        two = lab.gateway("two", "g", conf("g0", tunnel("s1", "server", ":4000", "127.0.0.1:9000", compat='"2021"'),
                                           tunnel("s2", "server", ":4001", "127.0.0.1:9000"), more="log = { quiet = true; };\n"))
        for x in ("s1: sndwnd: 1024 rcvwnd: 1024\n", "s1: congestion: stock\n", "s2: sndwnd: auto rcvwnd: auto\n"):
            case.check(" " + x in two.log(), x, two.log())
        case.check(" s1: listening on: :4000\n" in two.log() and " s2: Listening on: :4001/udp\n" in two.log(), two.log())
        cli = lab.gateway("client2", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4001"),
                                               more="log = { quiet = true; };\n"))
        load(lab, "small", "127.0.0.1", 13000, 5)
        wait_until("the session's line", lambda: "smux version: 2 on connection: " in two.log())
        for gw in (two, cli):
            case.check("stream " not in gw.log(), gw.log())


def test_bandwidth_of_the_link():
    """What a port's link does not carry is cut, and said by check and at the start: of a veth 10 Gbit/s."""
    with Lab("ko") as lab:
        link(lab)
        text = conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000", bandwidth='"1G/20G"'),
                    tunnel("t", "server", ":4001", "127.0.0.1:9000", bandwidth='"20G/10G"'))
        says = "tunnel s: bandwidth: found 20G to send, and its port carries 10G: counted as that\n"
        p = lab.run("check", "g", gateway_binary(), "check", "-c", lab.file("check.conf", text.replace("@PREFIX@", "x")))
        p.end()
        case.check("warning: " in p.log() and says in p.log() and p.log().count("bandwidth") == 1, p.log())
        srv = lab.gateway("server", "g", text)
        case.check(says in srv.log() and srv.log().count("counted as") == 1, srv.log())
        case.check(srv.stop() == 0, "exit status")


def test_snmplog():
    """A row a period under a header; the file's name follows the clock, its folder does not."""
    with Lab("ko") as lab:
        link(lab)
        target(lab)
        folder = os.path.join(lab.dir, "2006")
        os.mkdir(folder)
        text = conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000"),
                    more='telemetry = { snmplog = "%s/snmp-20060102.csv"; snmpperiod = 1; };\n' % folder)
        need(lab, text)
        begin = time.strftime("%Y%m%d")
        srv = lab.gateway("server", "g", text)
        cli = lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000")))
        load(lab, "small", "127.0.0.1", 13000, 5)
        wait_until("the file", lambda: glob.glob(folder + "/*"))

        def lines():
            return sum(open(f).read().count("\n") for f in glob.glob(folder + "/*"))

        seen = lines()
        wait_until("two rows more", lambda: lines() >= seen + 2)
        srv.stop()
        files = sorted(glob.glob(folder + "/*"))
        case.check(files and files[0] == "%s/snmp-%s.csv" % (folder, begin), files)
        rows = open(files[0]).read().split("\n")
        case.check(rows[0] == COLUMNS and rows[-1] == "" and len(rows) >= 4, rows)
        table = [dict(zip(COLUMNS.split(","), map(int, r.split(",")))) for r in rows[1:-1]]
        case.check(all(len(r.split(",")) == 31 for r in rows[:-1]), rows)
        last = table[-1]
        case.check(last["PassiveOpens"] == 1 and last["BytesReceived"] > 0 and last["InPkts"] > 0, last)
        case.check(all(1 <= b["Unix"] - a["Unix"] for a, b in zip(table, table[1:])), rows)


def test_dscp():
    """The captured packets bear the code point, in both directions each its own."""
    with Lab("ko") as lab:
        link(lab)
        target(lab)
        server = conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000", dscp=46))
        need(lab, server)
        if not shutil.which("tcpdump"):
            raise case.Skip("no tcpdump")
        # At either end only what arrives is seen: AF_PACKET's own frames pass by the capture of their sender.
        caps = [lab.run("tcpdump-" + ns, ns, "tcpdump", "-i", ns + "0", "-n", "-v", "-l", "-c", "20", "udp", "port", "4000")
                for ns in ("g", "p")]
        for cap in caps:
            cap.wait_for("listening on ")
        srv = lab.gateway("server", "g", server)
        cli = lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000", dscp=10)))
        load(lab, "big", "127.0.0.1", 13000, 100000)
        seen = {}
        for cap in caps:
            cap.end()
            for tos, src in re.findall(r"\(tos (0x[0-9a-f]+),.*?\n\s+(10\.77\.0\.\d)\.\d+ >", cap.log()):
                seen.setdefault(src, set()).add(int(tos, 16))
        case.check(seen == {"10.77.0.1": {46 << 2}, "10.77.0.2": {10 << 2}}, seen)


def test_waiting_is_bounded():
    """Without a session 1024 connections wait for a slot, more are refused at once, and all of them in the end."""
    with Lab("ko") as lab:
        link(lab)
        cli = lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "nowhere.invalid:4000")))
        code = ("import socket,resource,select,time\n"
                "resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n"
                "p = select.epoll()\ns = {}\n"
                "for i in range(1100):\n"
                "    c = socket.create_connection(('127.0.0.1', 13000))\n"
                "    s[c.fileno()] = c\n    p.register(c, select.EPOLLIN)\n"
                "def reap(until, left=0):\n"
                "    while len(s) > left and time.monotonic() < until:\n"
                "        for fd, ev in p.poll(0.2):\n"
                "            p.unregister(fd)\n            s.pop(fd).close()\n"
                "reap(time.monotonic() + 100, 1024)\nreap(time.monotonic() + 5)\nprint('waiting', len(s), flush=True)\n"
                "reap(time.monotonic() + 100)\nprint('left', len(s), flush=True)\n")
        p = lab.run("crowd", "p", sys.executable, "-c", code)
        p.wait_for("waiting")
        case.check(int(re.search(r"waiting (\d+)", p.log()).group(1)) == 1024, p.log())
        p.wait_for("left")
        case.check("left 0" in p.log(), p.log())
        lines = cli.log().count("re-connecting: nowhere.invalid: ")
        case.check(1 <= lines <= 40, lines)
        case.check(cli.stop() == 0, "exit status")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
