# SPDX-License-Identifier: MIT
"""The rows of a scenario in real time: two namespaces, the emulator of tests/e2e/wan between them, kcpgate as built and
Debian's kcptun.  Results in the form of the program wan, as far as they can be had from outside."""
import json
import multiprocessing
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
from lab import Lab, eal, sh  # noqa: E402
from wan import Wan, socket_in  # noqa: E402

ENTRY, TARGET, PORT = 5201, 5202, 4000
ECHO = 200
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class NotHere(Exception):
    """A row that cannot be had in real time."""


# ---- the scenario: wan --check has found it good ----

def seconds(word):
    if word == "0":
        return 0.0
    n, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", word).groups()
    return float(n) * UNITS[unit]


def size(word):
    n, unit = re.fullmatch(r"(\d+)([KM]?)", word).groups()
    return int(n) * {"": 1, "K": 1024, "M": 1 << 20}[unit]


def rows(path):
    """name, statements of each row, each a list of words."""
    common, found = [], []
    with open(path) as f:
        for line in f:
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            parts = [p.split() for p in line.split(";")]
            if line.startswith("row "):
                found.append((line[4:].split(";")[0].strip(), common + [p for p in parts[1:] if p]))
            else:
                common += [p for p in parts if p]
    return found or [("", common)]


def options(words):
    """kcptun's options of an `ends` statement."""
    out, i = {}, 0
    while i < len(words):
        k, v = words[i], words[i + 1]
        i += 2
        if k == "fec":
            out["datashard"], out["parityshard"] = (0, 0) if v == "off" else (int(x) for x in v.split("/"))
        elif k in ("smuxbuf", "streambuf", "ratelimit"):
            out[k] = size(v)
        elif k == "hello":
            raise NotHere("hello")
        else:
            out[k] = v if k == "mode" else v == "on" if k == "acknodelay" else int(v)
    return out


def plan(statements):
    p = {"path": [], "run": 12.0, "from": 2.0, "flow": None, "ends": [{}, {}]}
    for s in statements:
        if s[0] in ("both", "up", "down", "at"):
            p["path"].append(" ".join(s))
        elif s[0] in ("run", "from"):
            p[s[0]] = seconds(s[1])
        elif s[0] in ("ends", "client", "server"):
            for e in (0, 1):
                if s[0] == "ends" or s[0] == ("client", "server")[e]:
                    p["ends"][e].update(options(s[1:]))
        elif s[0] == "flow":
            if p["flow"] or s[1] in ("cubic", "reno") or "stock2026" in s:
                raise NotHere("several flows, TCP, or a kcptun of 2026")
            p["flow"] = flow(s[1:])
    return p


def flow(words):
    f = {"kind": words[:2], "streams": 1, "up": False, "echo": 0.0, "lead": 0.5}
    i = 2
    while i < len(words):
        if words[i] == "up":
            f["up"] = True
            i += 1
            continue
        if words[i] not in ("streams", "echo", "lead"):
            raise NotHere(words[i])
        f[words[i]] = int(words[i + 1]) if words[i] == "streams" else seconds(words[i + 1])
        i += 2
    return f


# ---- ends ----

def conf(role, opts):
    # What a file without the option would have is told: a row is the same for both programs.
    body = "".join("    %s = %s;\n" % (k, ("false", "true")[v] if isinstance(v, bool) else
                                       v if isinstance(v, int) else '"%s"' % v) for k, v in opts.items())
    where = ('role = "server"; listen = ":%d"; target = "127.0.0.1:%d";' % (PORT, TARGET) if role == "server" else
             'role = "client"; listen = "127.0.0.1:%d"; remote = "%s:%d";' % (ENTRY, Wan.SERVER, PORT))
    return eal(memory=512) + """ports = ( { name = "wan0"; exception = "kernel"; mtu = 1500;
    device = "net_af_packet0,iface=wan0,blocksz=4096,framesz=2048,framecnt=1024"; } );
tunnels = ( { name = "t"; key = "it's a secrect"; nocomp = true; smuxver = 2; %s
%s  } );
""" % (where, body)


def start(lab, role, kind, opts):
    if kind == "kcpgate":
        return lab.gateway(role, role, conf(role, opts))
    if not shutil.which("kcptun-" + role):
        raise NotHere("kcptun-%s is not installed" % role)
    argv = ["kcptun-" + role, "--nocomp", "--smuxver", "2"]
    argv += (["-l", ":%d" % PORT, "-t", "127.0.0.1:%d" % TARGET] if role == "server" else
             ["-l", "127.0.0.1:%d" % ENTRY, "-r", "%s:%d" % (Wan.SERVER, PORT)])
    for k, v in opts.items():
        argv += ["--" + k] if v is True else [] if v is False else ["--" + k, str(v)]
    p = lab.run(role, role, *argv)
    p.wait_for("listening on")
    return p


def counters(lab, kind, p):
    if kind == "kcpgate":
        c = lab.telemetry(p, "/kcpgate/snmp")
    else:
        p.p.send_signal(signal.SIGUSR1)
        p.wait_for("SNMP")
        time.sleep(0.1)
        c = {k: int(v) for k, v in re.findall(r"(\w+):(\d+)", p.log().split("SNMP")[-1])}
    return {"segs": c["OutSegs"], "timeouts": c["LostSegs"], "fast": c["FastRetransSegs"], "early": c["EarlyRetransSegs"],
            "repeats": c["RepeatSegs"], "recovered": c["FECRecovered"], "parity_in": c["FECParityShards"],
            "dgrams_in": c["InPkts"]}


def sent_bytes(lab, ns):
    return json.loads(sh("ip", "-n", lab.ns(ns), "-s", "-j", "link", "show", "wan0"))[0]["stats64"]["tx"]["bytes"]


# ---- applications: each side a process of its own ----

def serve(c):
    try:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kind = c.recv(1)
        blob = os.urandom(1 << 20)
        got, told = 0, 0.0
        while True:
            if kind == b"D":
                c.sendall(blob)
                continue
            b = c.recv(1 << 18)
            if not b:
                return
            if kind == b"E":
                c.sendall(b)
                continue
            got += len(b)
            if time.monotonic() - told > 0.02:
                told = time.monotonic()
                c.sendall(struct.pack("!Q", got))
    except OSError:
        pass
    finally:
        c.close()


def plain_signals():
    """The lab is the parent's to take down."""
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_DFL)


def target(listener):
    plain_signals()
    while True:
        c, _ = listener.accept()
        threading.Thread(target=serve, args=(c,), daemon=True).start()


def connect(lab, kind):
    s = socket_in(lab, "client", kind=socket.SOCK_STREAM)
    s.connect(("127.0.0.1", ENTRY))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(kind)
    return s


class Bulk:
    def __init__(self, lab, f):
        self.total, self.up, self.stop = 0, f["up"], False
        for _ in range(f["streams"]):
            s = connect(lab, b"U" if self.up else b"D")
            threading.Thread(target=self.push if self.up else self.pull, args=(s,), daemon=True).start()
            if self.up:
                threading.Thread(target=self.told, args=(s,), daemon=True).start()

    def pull(self, s):
        buf = bytearray(1 << 18)
        while not self.stop:
            n = s.recv_into(buf)
            if not n:
                return
            self.total += n

    def push(self, s):
        blob = os.urandom(1 << 16)
        while not self.stop:
            s.sendall(blob)

    def told(self, s):
        acc, last = b"", 0
        while True:
            acc += s.recv(4096)
            while len(acc) >= 8:
                v = struct.unpack("!Q", acc[:8])[0]
                acc = acc[8:]
                self.total += v - last
                last = v


def drive(lab, f, run, begin, out):
    """Echo and bulk; tells {total, goodput's bytes and seconds, echo times}."""
    plain_signals()
    echo = connect(lab, b"E")
    sent, back, acc = [], [], b""
    t0 = time.monotonic()
    bulk, mark = None, None
    every = f["echo"] or 0.05
    echo.setblocking(False)
    while time.monotonic() - t0 < run:
        now = time.monotonic() - t0
        if f["echo"] and now >= len(sent) * every:
            sent.append(time.monotonic())
            try:
                echo.sendall(b"e" * ECHO)
            except BlockingIOError:
                sent.pop()
        if not bulk and f["streams"] and now >= f["lead"]:
            bulk = Bulk(lab, f)
        if bulk and not mark and now >= f["lead"] + begin:
            mark = (time.monotonic(), bulk.total)
        wait = min(len(sent) * every - now if f["echo"] else 0.02, 0.02)
        if select.select([echo], [], [], max(wait, 0))[0]:
            acc += echo.recv(65536)
            t = time.monotonic()
            while len(acc) >= ECHO:
                acc = acc[ECHO:]
                back.append((t - sent[len(back)]) * 1e3)
    end = time.monotonic()
    r = {"echo": back, "echo_sent": len(sent), "total": 0, "mbit": 0.0}
    if bulk:
        r["total"] = bulk.total
        r["mbit"] = (bulk.total - mark[1]) * 8e-6 / (end - mark[0]) if mark else 0.0
        bulk.stop = True
    out.send(r)
    out.close()
    os._exit(0)


# ---- a run ----

def quantile(v, share):
    v = sorted(v)
    return v[min(int(len(v) * share), len(v) - 1)] if v else 0.0


def result(p, r, wire, ends, c):
    f = p["flow"]
    snd, rcv = (0, 1) if f["up"] else (1, 0)
    ends[snd].update(parity=ends[rcv]["parity_in"], dgrams=ends[rcv]["dgrams_in"])
    ends[rcv].update(parity=ends[snd]["parity_in"], dgrams=ends[snd]["dgrams_in"])
    return {"flows": [{"mbit": r["mbit"], "ratio": wire / r["total"] if r["total"] else 0.0,
                       "echo": [quantile(r["echo"], q) for q in (0.5, 0.99, 1)], "echo_n": len(r["echo"]),
                       "echo_lost": r["echo_sent"] - len(r["echo"]), "up": f["up"], "streams": f["streams"],
                       "client": ends[0], "server": ends[1]}],
            "up": dict(c["up"], dropped=c["up"]["queue_drops"]), "down": dict(c["down"], dropped=c["down"]["queue_drops"])}


def once(p, seed):
    f = p["flow"]
    fork = multiprocessing.get_context("fork")
    with Lab("wr") as lab:
        wan = Wan(lab, "seed %d" % seed, *p["path"])
        listener = socket_in(lab, "server", kind=socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", TARGET))
        listener.listen(64)
        t = fork.Process(target=target, args=(listener,), daemon=True)
        t.start()
        try:
            server = start(lab, "server", f["kind"][1], p["ends"][1])
            client = start(lab, "client", f["kind"][0], p["ends"][0])
            before = sent_bytes(lab, "client" if f["up"] else "server")
            mine, theirs = fork.Pipe(False)
            d = fork.Process(target=drive, args=(lab, f, p["run"], p["from"], theirs), daemon=True)
            d.start()
            theirs.close()
            r = mine.recv()
            wire = sent_bytes(lab, "client" if f["up"] else "server") - before
            d.join()
            ends = [counters(lab, f["kind"][0], client), counters(lab, f["kind"][1], server)]
            return result(p, r, wire, ends, wan.stop())
        finally:
            t.terminate()
            t.join()


def run(path, only, rounds, sink):
    """Like report.run."""
    if os.geteuid():
        sys.exit("perf/run wan --real makes network namespaces: run it as root")
    program = os.path.join(ROOT, "build", "perf", "wan", "wan")
    if subprocess.run([program, "--check", path]).returncode:
        return [], False
    found = []
    with open(path) as f:
        title = next((x[1:].strip() for x in f if x.startswith("#")), "")
    for name, statements in rows(path):
        if only and only not in name:
            continue
        try:
            p = plan(statements)
            for seed in range(1, rounds + 1):
                r = once(p, seed)
                r.update(scenario=path, title=title + " (real time)", row=name, seed=seed)
                found.append(r)
                if sink:
                    sink.write(json.dumps(r) + "\n")
        except NotHere as e:
            print("%s: not in real time: %s" % (name, e), file=sys.stderr)
    return found, True
