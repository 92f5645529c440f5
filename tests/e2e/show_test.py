#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kcpgate show, dump and their like: what they print of a running gateway, and what telemetry answers to whatever it is asked."""
import fcntl
import importlib.util
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lab"))
import capture_test
import case
from lab import GUARD, Lab, eal, gateway_binary, telemetry, wait_until
from wan import Wan

STOCK = os.environ.get("KCPTUN_SERVER", "kcptun-server")


# Three connections that say nothing.
HOLD = "import socket, time; s = [socket.create_connection(('127.0.0.1', 13001)) for _ in range(3)]; time.sleep(300)"


def tool(gw, *argv, status=0, ns=""):
    """What a command of kcpgate's says of a gateway: the words on its standard output, or on the other one where it fails."""
    there = ["ip", "netns", "exec", ns] if ns else []
    p = subprocess.run([*there, gateway_binary(), argv[0], "-f", gw.prefix, *argv[1:]], capture_output=True, text=True, timeout=GUARD)
    case.check(p.returncode == status, argv, p.returncode, p.stdout, p.stderr)
    case.check(not (status == 0 and p.stderr), argv, p.stderr)
    return p.stdout if status == 0 else p.stderr


def table(text):
    """Rows by their heads. Columns are cut where their heads stand: to the left, or to the right where the cells are numbers."""
    lines = text.splitlines()
    return [dict(zip(re.split(r"\s{2,}", lines[0].strip()), re.split(r"\s{2,}", line.strip()))) for line in lines[1:]]


def test_everything():
    """Each WHAT, as a table, as JSON, and as lines whose columns the help names; no key anywhere."""
    with Lab("kK") as lab:
        srv = capture_test.gateways(lab)
        capture_test.exchange(lab, 1, 200000)
        held = lab.run("hold", "p", sys.executable, "-c", HOLD)
        wait_until("the streams to be there", lambda: sum(r["streams"] for r in lab.telemetry(srv, "/kcpgate/sessions")) == 3)
        said = {}
        for what in ("tunnels", "sessions", "workers", "histograms", "drops", "ports", "limits", "control", "security", "snmp", "config"):
            said[what] = tool(srv, "show", what)
            case.check(json.loads(tool(srv, "show", what, "--json")), what)
        case.check([t["TUNNEL"] for t in table(said["tunnels"])] == ["s1", "s2"], said["tunnels"])
        rows = table(said["sessions"])
        case.check(len(rows) == 1 and rows[0]["IS"] == "kcpgate" and rows[0]["STREAMS"] == "3", said["sessions"])
        session = rows[0]["SESSION"]
        one = json.loads(tool(srv, "show", "session", session, "--json"))
        case.check(one["id"] == session and one["tunnel"] == "s1" and one["fec_in"] == "10/3" and one["smux"] == 2, one)
        case.check(one["bytes_in"] > 200000 and one["segs_in"] > 100, one)
        case.check("peer" in tool(srv, "show", "session", session), "a session's lines")
        streams = table(tool(srv, "show", "streams", session))
        case.check(len(streams) == 3 and all(s["STATE"] == "open" for s in streams), streams)
        config = json.loads(tool(srv, "show", "config", "--json"))
        tunnel = next(o for o in config.values() if o["section"] == "tunnels")
        case.check(tunnel["name"] == "s1" and tunnel["crypt"] == "aes" and tunnel["sndwnd"] == 256, tunnel)
        everything = "".join(said.values()) + json.dumps(config)
        case.check(capture_test.KEY not in everything and "listen" in everything, "a key is shown")
        dump(srv, session)
        case.check("s1" in tool(srv, "show") and "WORKER" in tool(srv, "show"), "the overview")
        held.stop()
        case.check(srv.stop() == 0, "exit status")
        return "%d words of configuration" % len(said["config"].split())


def dump(srv, session):
    columns = {}
    for line in tool(srv, "show", "--help").split("one kind of them:")[1].strip("\n").splitlines():
        if re.match(r"  \S", line):
            kind = line.split()[0]
            columns[kind] = []
        columns[kind] += line.split()[0 if line.startswith("     ") else 1:]
    rows = [line.split("\t") for line in tool(srv, "dump").splitlines()]
    for row in rows:
        case.check(len(row) == 1 + len(columns[row[0]]) and all(row), row, columns[row[0]])
    kinds = {row[0] for row in rows}
    case.check(kinds == {"tunnel", "session", "worker", "drop", "snmp"}, kinds)
    ours = next(dict(zip(columns["session"], row[1:])) for row in rows if row[0] == "session")
    case.check(ours["id"] == session and ours["tunnel"] == "s1" and int(ours["bytes_in"]) > 200000, ours)
    case.check(tool(srv, "show", "dump", "session").splitlines()[0].split("\t")[0] == "session", "one kind")


def test_refused():
    """What there is not is refused with a word of what there is; so is a gateway that does not run."""
    with Lab("kK") as lab:
        srv = capture_test.gateways(lab)
        for argv, word, status in ((["show", "sesions"], "allowed: tunnels, sessions", 2),
                                   (["show", "tunnels", "nobody"], "allowed: the name of a tunnel", 1),
                                   (["show", "session"], "ID is needed", 2), (["show", "session", "x"], "the id of a session", 1),
                                   (["show", "session", "999"], "no session 999", 1), (["show", "workers", "0"], "nothing", 2),
                                   (["show", "a", "b", "c"], "unknown argument: c", 2), (["show", "dump", "x"], "allowed", 2),
                                   (["show", "-f", "nobody"], "no gateway nobody", 1), (["show", "--jso"], "", 0),
                                   (["show", "-c", "/nonexistent"], "/nonexistent", 2)):
            text = tool(srv, *argv, status=status)
            case.check(word in text, argv, text)
        for command in ("/kcpgate/workers,x", "/kcpgate/drops,", "/kcpgate/sessions,s1,x", "/kcpgate/tunnels,,9",
                        "/kcpgate/config,hk", "/kcpgate/streams", "/kcpgate/capture,stop", "/kcpgate/snmp,s3"):
            answer = telemetry(srv.prefix, command)
            case.check(("error" in answer) == (command != "/kcpgate/drops,"), command, answer)
        case.check(telemetry(srv.prefix, "/kcpgate/nothing") is None, "DPDK's answer to what it does not know")
        case.check(srv.stop() == 0, "exit status")


def connect(srv):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("/var/run/dpdk/%s/dpdk_telemetry.v2" % srv.prefix)  # which waits where others are before it
    s.settimeout(GUARD)
    s.recv(16384)
    return s


def test_many_askers():
    """Clients that ask at the same time, each its own question, get each its own answer; those that read nothing, or stay
    connected, delay neither these nor a tunnel."""
    with Lab("kK") as lab:
        srv = capture_test.gateways(lab)
        capture_test.exchange(lab, 1, 1000)
        idle, slow = connect(srv), connect(srv)
        slow.setblocking(False)
        asked = 0
        try:
            while asked < 100000:  # until its answers fill the socket, and the gateway's thread waits
                slow.send(b"/kcpgate/config")
                asked += 1
        except BlockingIOError:
            pass
        case.check(asked < 100000, "the gateway never waited for a reader")
        wrong, good, lock = [], [], threading.Lock()

        def asker(name):
            s = connect(srv)
            for _ in range(1500):
                s.send(("/kcpgate/tunnels,%s" % name).encode())
                answer = json.loads(s.recv(65536).decode())["/kcpgate/tunnels"]
                if list(answer) != [name]:
                    with lock:
                        wrong.append((name, answer))
            s.close()
            good.append(name)

        threads = [threading.Thread(target=asker, args=(name,)) for name in ("s1", "s2") * 2]
        for t in threads:
            t.start()
        capture_test.exchange(lab, 2, 300000)
        for t in threads:
            t.join()
        case.check(len(good) == len(threads), good)
        case.check(not wrong, len(wrong), "of 6000 answers were another's:", wrong[:1])
        idle.close()
        slow.close()
        case.check(srv.stop() == 0, "exit status")
        return "6000 answers beside a reader that took none of %d" % asked


GARBAGE = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(%d):
    s.sendto(b"%%d" %% i + bytes(100), ("10.78.1.1", 4001))
for i in range(%d):
    s.sendto(bytes(1900), ("10.78.1.1", 4002))
s.sendto(b"x", ("10.78.1.1", 9))
"""


def test_accounted():
    """Every frame that came is delivered, or dropped for a reason that is told: to the packet, over telemetry."""
    with Lab("kK") as lab:
        srv = capture_test.gateways(lab)
        capture_test.exchange(lab, 1, 2000000)
        lab.sh("p", sys.executable, "-c", GARBAGE % (700, 30))
        capture_test.exchange(lab, 2, 100000)

        def quiet():
            return lab.telemetry(srv, "/kcpgate/workers")

        wait_until("all garbage to have come", lambda: sum(lab.telemetry(srv, "/kcpgate/drops").values()) >= 730)
        row, drops = quiet()[0], lab.telemetry(srv, "/kcpgate/drops")
        while row != quiet()[0]:  # keepalives
            row, drops = quiet()[0], lab.telemetry(srv, "/kcpgate/drops")
        went = sum(row[k] for k in ("delivered", "answered", "punted", "steered_out", "rx_dropped", "fragments_joined"))
        case.check(row["rx_packets"] + row["steered_in"] == went, row)
        case.check(row["rx_dropped"] == sum(drops.values()) == 730 + drops["not_for_us"], row["rx_dropped"], drops)
        case.check(row["delivered"] > 2000, row)  # fragments the kernel has joined before this port sees them
        told = lab.telemetry(srv, "/kcpgate/histograms")
        case.check(told["rx_width"]["sum"] == row["rx_packets"], told["rx_width"], row["rx_packets"])
        case.check(told["rx_to_chan"]["count"] == told["open_width"]["sum"] > row["delivered"], told)
        case.check(told["chan_to_tx"]["count"] == told["tx_width"]["sum"] > 2000, told)
        case.check(telemetry(srv.prefix, "/kcpgate/histograms,0") and "error" in telemetry(srv.prefix, "/kcpgate/histograms,1"),
                   "a worker's own")
        case.check(srv.stop() == 0, "exit status")
        return "%d frames: %d delivered, %d dropped" % tuple(row[k] for k in ("rx_packets", "delivered", "rx_dropped"))


class ExporterSocket:
    """What DPDK's exporter gives an endpoint: a single method."""

    def __init__(self, sock):
        self.sock = sock

    def cmd(self, uri, arg=None):
        self.sock.send((uri if arg is None else "%s,%s" % (uri, arg)).encode())
        return json.loads(self.sock.recv(65536).decode())[uri]


def test_exporter():
    """The endpoint file for DPDK's exporter, loaded as that does: every metric is announced, and is a number."""
    path = os.path.join(HERE, "..", "..", "conf", "telemetry-endpoints", "kcpgate.py")
    spec = importlib.util.spec_from_file_location("kcpgate", path)
    endpoint = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    spec.loader.exec_module(endpoint)
    with Lab("kK") as lab:
        srv = capture_test.gateways(lab)
        capture_test.exchange(lab, 1, 100000)
        sock = connect(srv)
        info, found = endpoint.info(), endpoint.metrics(ExporterSocket(sock))
        sock.close()
        case.check(all(kind in ("counter", "gauge") and text for text, kind in info.values()), info)
        case.check({name for name, _, _ in found} == set(info), {name for name, _, _ in found} ^ set(info))
        case.check(all(isinstance(v, int) and isinstance(labels, dict) for _, v, labels in found), found)
        case.check([v for name, v, labels in found if name == "tunnel_bytes_in" and labels == {"tunnel": "s1"}][0] >= 100000, found)
        case.check(srv.stop() == 0, "exit status")
        return "%d values" % len(found)


def test_top():
    """Once, as text; on a terminal, where keys sort, scroll and end it; not where there is no terminal."""
    with Lab("kK") as lab:
        srv = capture_test.gateways(lab)
        capture_test.exchange(lab, 1, 1000)
        once = tool(srv, "top", "--once", "-d", "0.2")
        case.check(re.match(r"1 sessions, \d+ streams: .* in, .* out, \d+ drops/s; sorted by rate\nworker 0: busy ", once), once)
        case.check(re.search(r"\n\d+ +s1 +10.78.1.2:\d+ ", once), once)
        case.check("0 sessions" in tool(srv, "top", "--once", "-d", "0.2", "s2"), "the other tunnel")
        case.check("--once" in tool(srv, "top", status=1), "without a terminal")
        case.check("0.1 to 3600" in tool(srv, "top", "-d", "0", status=2), "a delay of 0")
        pid, fd = pty.fork()
        if not pid:
            os.environ["TERM"] = "xterm"
            os.execv(gateway_binary(), ["kcpgate", "top", "-f", srv.prefix, "-d", "0.3"])
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        seen = [b""]

        def shows(*words):
            if select.select([fd], [], [], 0.1)[0]:
                seen[0] += os.read(fd, 65536)
            return all(w in seen[0] for w in words)

        wait_until("the screen", lambda: shows(b"sorted by rate", b"SESSION", b"q quit", b"10.78.1.2"))
        os.write(fd, b"l")
        wait_until("the other order", lambda: shows(b"loss"))
        os.write(fd, b"q")
        wait_until("its end", lambda: shows() or os.waitpid(pid, os.WNOHANG) == (pid, 0))
        os.close(fd)
        case.check(srv.stop() == 0, "exit status")


TUNNEL = ('{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; key = "of the test"; mode = "fast3"; nocomp = true;'
          ' smuxver = 2; %s }')


def slow_path(lab, tunnels, target=9000):
    """Tunnels over a path of 60 ms: (name, options of the server, options of the client); a server of None is stock kcptun's."""
    Wan(lab, "both delay 30ms")
    lab.run("target", "server", sys.executable, capture_test.LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
    port = 'ports = ( { name = "wan0"; device = "net_af_packet0,iface=wan0"; exception = "kernel"; } );\n'
    ours, theirs = [], []
    for i, (name, server, client) in enumerate(tunnels):
        theirs.append(TUNNEL % (name, "client", "127.0.0.1:1300%d" % i, "remote", "%s:400%d" % (Wan.SERVER, i), client))
        if server is not None:
            ours.append(TUNNEL % (name, "server", ":400%d" % i, "target", "127.0.0.1:%d" % target, server))
            continue
        lab.run("stock-" + name, "server", STOCK, "-l", ":400%d" % i, "-t", "127.0.0.1:9000", "--key", "of the test", "--mode",
                "fast3", "--nocomp", "--smuxver", "2", "--rcvwnd", "64").wait_for("listening on")
    gateways = [lab.gateway("server", "server", eal(1) + port + "tunnels = ( %s );\n" % ",".join(ours))]
    return gateways + [lab.gateway("client", "client", eal(1) + port + "tunnels = ( %s );\n" % ",".join(theirs))]


def explained(gw, of, *words):
    """Asks until the sentences have these words: what bounds a session shows a while after it begins."""
    said = []

    def has():
        said.append(tool(gw, "explain", of))
        return all(w in said[-1] for w in words)

    try:
        wait_until("explain %s to say %s" % (of, words), has)
    except Exception:
        print(said[-1])
        raise
    return said[-1]


def test_explain():
    """Sessions that are bound by a window of the peer's (a kcpgate, a stock one), a rate limit, and their application."""
    with Lab("kK") as lab:
        _, cli = slow_path(lab, [("narrow", "rcvwnd = 64;", ""), ("limited", "", "ratelimit = 300000;"), ("calm", "", ""),
                                 ("stock", None, "")])
        loads = [lab.run("load%d" % i, "client", sys.executable, capture_test.LOAD, "big", "127.0.0.1", "1300%d" % i,
                         str(n), "--timeout", "200") for i, n in ((0, 200000000), (1, 100000000), (2, 1000), (3, 200000000))]
        narrow = explained(cli, "narrow", "the peer's window is full: it takes 64 segments", "in the peer's file: rcvwnd = ")
        explained(cli, "limited", "ratelimit is used up: 300000 bytes a second", "a higher ratelimit")
        explained(cli, "calm", "limits what is sent (10 of 10 looks): the application has no more")
        explained(cli, "stock", "stock: kcptun", "the peer's window is full", "on the peer (kcptun): --rcvwnd ")
        session = re.search(r"session (\d+) of tunnel narrow", narrow).group(1)
        one = json.loads(tool(cli, "explain", session, "--json"))
        case.check([s["session"] for s in one["sessions"]] == [session], one)
        case.check(one["sessions"][0]["words"][0]["side"] == "peer" and one["sessions"][0]["out_bps"] > 1e5, one)
        case.check("found nobody" in tool(cli, "explain", "nobody", status=1), "an unknown tunnel")
        case.check("no session 77" in tool(cli, "explain", "77", status=1), "an unknown session")
        everything = tool(cli, "explain")
        case.check(all("of tunnel " + name in everything for name in ("narrow", "limited", "calm", "stock")), everything)
        for p in loads:
            p.stop()
        return narrow.splitlines()[1].strip()


def test_ping():
    """Through a path of 60 ms, both ways round, to a kcpgate and a stock peer, and to targets that are there and not."""
    with Lab("kK") as lab:
        srv, cli = slow_path(lab, [("ours", "", ""), ("stock", None, "")])
        client, server = {"ns": lab.ns("client")}, {"ns": lab.ns("server")}
        said = tool(cli, "ping", "-n", "3", "-d", "0.1", "ours", **client)
        case.check("no session yet" in said and "(kcpgate), session " in said and "3 of 3 answered: least " in said, said)
        took = [float(x) for x in re.findall(r"\n  \d: ([\d.]+) ms", said)]
        case.check(len(took) == 3 and all(60 <= x for x in took), said)
        case.check(re.search(r"target, through 127.0.0.1:13000: it ended without a word after \d+", said), said)
        back = tool(srv, "ping", "-n", "2", "-d", "0.1", "ours", **server)
        case.check("2 of 2 answered" in back and "target 127.0.0.1:9000: connected after " in back, back)
        stock = tool(cli, "ping", "-n", "2", "-d", "0.1", "stock", **client)
        case.check("(stock), session " in stock and "2 of 2 answered" in stock and "--send TEXT" in stock, stock)
        lab.procs[1].stop()  # the target
        case.check("connected" not in tool(srv, "ping", "-n", "1", "ours", **server), "a target that is gone")
        gone = tool(cli, "ping", "-n", "1", "ours", **client)
        case.check("Connection reset" in gone and "Its log says why" in gone, gone)
        case.check("found nobody" in tool(cli, "ping", "nobody", status=1), "an unknown tunnel")
        case.check("one tunnel" in tool(cli, "ping", status=2) and "1 to 100000" in tool(cli, "ping", "-n", "0", "ours", status=2),
                   "wrong arguments")
        return said.splitlines()[-2]


def test_kick():
    """A session that is kicked resets its connections on both sides, and its client comes again; what is no session is said."""
    with Lab("kK") as lab:
        srv = capture_test.gateways(lab)
        capture_test.exchange(lab, 1, 1000)
        held = lab.run("hold", "p", sys.executable, "-c",
                       "import socket; s = socket.create_connection(('127.0.0.1', 13001)); print('held', flush=True)\n"
                       "try:\n    print('got', s.recv(1))\nexcept OSError as e:\n    print(e)")
        held.wait_for("held")
        wait_until("the stream", lambda: any(r["streams"] for r in lab.telemetry(srv, "/kcpgate/sessions")))
        (number,) = [x["SESSION"] for x in table(tool(srv, "show", "sessions"))]
        case.check(tool(srv, "kick", number) == "", "nothing to say")
        case.check(held.end() == 0 and "reset" in held.log(), held.log())
        case.check(lab.telemetry(srv, "/kcpgate/drops")["kicked"] == 1, lab.telemetry(srv, "/kcpgate/drops"))
        capture_test.exchange(lab, 1, 100000)
        case.check("no session " + number in tool(srv, "kick", number, status=1), "an id that is gone")
        case.check("allowed: the id" in tool(srv, "kick", "x", status=1) and "one session" in tool(srv, "kick", status=2), "wrong arguments")


# Whoever sends "get" is sent bytes without end; what anybody else sends is thrown away.
TARGET = """
import socket, threading
def serve(c):
    try:
        if c.recv(3) == b"get":
            while True:
                c.sendall(bytes(65536))
        while c.recv(65536):
            pass
    except OSError:
        pass
s = socket.create_server(("127.0.0.1", 9001))
print("serving", flush=True)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


def test_speedtest():
    """Down and up through a path of 60 ms with a window that bounds it: what is measured is what that window lets through."""
    with Lab("kK") as lab:
        _, cli = slow_path(lab, [("up", "rcvwnd = 64;", ""), ("down", "sndwnd = 64;", "")], 9001)
        lab.run("sink", "server", sys.executable, "-c", TARGET).wait_for("serving")
        there = {"ns": lab.ns("client")}
        up = tool(cli, "speedtest", "--seconds", "6", "--up", "up", **there)
        down = tool(cli, "speedtest", "--seconds", "6", "--send", "get\\n", "down", **there)
        rates = {}
        for way, text in (("up", up), ("down", down)):
            m = re.search(way + r" through tunnel %s: ([\d.]+) (k|M)bit/s, without the first two seconds" % way, text)
            case.check(m and text.count(" s: ") >= 6, text)
            rates[way] = float(m.group(1)) * (1000 if m.group(2) == "M" else 1)
            case.check(rates[way] <= 64 * 1350 * 8 / 60 * 1.05, text)  # kbit/s: no more than a window a round trip
        case.check("the peer's window is full: it takes 64 segments" in up, up)
        case.check("client's tunnel" in tool(cli, "speedtest", "up", status=2), "neither way")
        return "%(up)d kbit/s up, %(down)d down, of 11520" % rates


if __name__ == "__main__":
    case.main(sys.modules[__name__])
