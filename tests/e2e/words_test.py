#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What kcpgate says, and what happens when nobody listens: logs that do not take a line, causes named, traces left."""
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, gateway_binary, sh, wait_until
from lab import telemetry as lab_telemetry

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")


def link(lab):
    """g with the server and its target, p with the client; g has a default route."""
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.78.0.1/24")
    lab.addr("p", "p0", "10.78.0.2/24")
    lab.ip("g", "route", "add", "default", "via", "10.78.0.2")
    lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def ready(prefix, proc):
    """Until it answers: its words go nowhere."""
    def asked():
        case.check(proc.poll() is None, "ended with", proc.returncode)
        try:
            return lab_telemetry(prefix, "/kcpgate/control")
        except (OSError, KeyError):
            return None
    return wait_until("telemetry of %s" % prefix, asked, 60)


def load(lab, *argv):
    p = lab.run("load", "p", sys.executable, LOAD, *[str(a) for a in argv])
    p.p.wait(100)
    case.check(p.p.returncode == 0, p.log())
    return p.log()


class Deaf:
    """A gateway whose standard error is one end of a pipe that nobody reads, and that is full from the start."""

    def __init__(self, lab, ns, role, *argv, fill=True):
        self.r, self.w = os.pipe()
        if fill:
            os.set_blocking(self.w, False)
            try:
                while True:
                    os.write(self.w, b"x" * 4095 + b"\n")
            except BlockingIOError:
                pass
            os.set_blocking(self.w, True)
        self.p = subprocess.Popen(["ip", "netns", "exec", lab.ns(ns), gateway_binary(), role, *argv],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.w,
                                  start_new_session=True)
        os.close(self.w)
        self.prefix = "kcpgate-%d" % self.p.pid
        try:
            ready(self.prefix, self.p)
        except Exception:
            self.kill()
            raise

    def kill(self):
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait()

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        try:
            return self.p.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("no end within 60 s of SIGTERM")

    def lost(self):
        return lab_telemetry(self.prefix, "/kcpgate/control")["log_lines_lost"]

    def read(self, until):
        """The lines of the pipe, until one holds the text."""
        f, lines = os.fdopen(os.dup(self.r), "rb"), []
        for line in f:
            if line.startswith(b"xxxx"):
                continue
            lines.append(line.decode())
            if until in lines[-1]:
                break
        f.close()
        return lines


def fill(gw):
    """Makes it say more than pipe and queue hold: SIGUSR1 prints a long line."""
    end = time.monotonic() + 120
    while gw.lost() == 0 and time.monotonic() < end:
        for _ in range(50):
            gw.p.send_signal(signal.SIGUSR1)
            time.sleep(0.002)
    case.check(gw.lost() > 0, "nothing lost")


def test_full_pipe():
    """stderr of both ends is a pipe that was full before they started: exchanges whole, SIGTERM ends them with 0."""
    with Lab("kw") as lab:
        link(lab)
        srv = Deaf(lab, "g", "server", "-t", "127.0.0.1:9000", "-l", ":4000", "--key", "k")
        try:
            cli = Deaf(lab, "p", "client", "-r", "10.78.0.1:4000", "-l", ":13000", "--key", "k")
            try:
                load(lab, "small", "127.0.0.1", 13000, 20)
                fill(srv)
                fill(cli)
                load(lab, "small", "127.0.0.1", 13000, 20)
                case.check(cli.stop() == 0, "client:", cli.p.returncode)
                case.check(srv.stop() == 0, "server:", srv.p.returncode)
            finally:
                cli.kill()
        finally:
            srv.kill()


def test_lost_lines_are_told():
    """When the reader reads again: whole lines, and at the gap one that says how many are missing."""
    with Lab("kw") as lab:
        link(lab)
        srv = Deaf(lab, "g", "server", "-t", "127.0.0.1:9000", "-l", ":4000", "--key", "k", fill=False)
        try:
            fill(srv)
            lines = []
            t = threading.Thread(target=lambda: lines.extend(srv.read("log lines lost")))
            t.start()
            t.join(60)
            case.check(not t.is_alive(), "no word of the lines lost")
            case.check(all(re.match(r"(20\d\d/\d\d/\d\d \d\d:\d\d:\d\d |kcpgate: )", l) and l.endswith("\n") for l in lines),
                       "torn:", [l for l in lines if not re.match(r"20\d\d/|kcpgate: ", l)][:3])
            told = int(re.search(r"(\d+) log lines lost", lines[-1]).group(1))
            case.check(told == srv.lost(), "told", told, "lost", srv.lost())
            srv.p.send_signal(signal.SIGUSR1)
            case.check("KCP SNMP" in srv.read("KCP SNMP")[-1], "no line after the gap")
            case.check(srv.stop() == 0, srv.p.returncode)
        finally:
            srv.kill()


class Frozen:
    """A file system of its own that can be frozen: writing there hangs, as on a disk or a server that is gone."""

    def __init__(self, lab):
        self.dir = os.path.join(lab.dir, "disk")
        image = os.path.join(lab.dir, "image")
        with open(image, "wb") as f:
            f.truncate(16 << 20)
        os.mkdir(self.dir)
        try:
            sh("mkfs.ext4", "-q", image)
            sh("mount", "-o", "loop", image, self.dir)
        except Exception as e:
            raise case.Skip("no loop device: %s" % e)

    def freeze(self, on):
        sh("fsfreeze", "-f" if on else "-u", self.dir)

    def gone(self):
        sh("fsfreeze", "-u", self.dir, check=False)
        sh("umount", self.dir, check=False)


def test_hung_disk():
    """Log and snmplog lie on a disk that hangs: exchanges whole, and when it is back, both go on, with whole lines."""
    with Lab("kw") as lab:
        link(lab)
        disk = Frozen(lab)
        try:
            log, csv = os.path.join(disk.dir, "log"), os.path.join(disk.dir, "snmp.csv")
            srv = lab.run("srv", "g", gateway_binary(), "server", "-t", "127.0.0.1:9000", "-l", ":4000", "--key", "k",
                          "--log", log, "--snmplog", csv, "--snmpperiod", "1")
            ready("kcpgate-%d" % srv.p.pid, srv.p)
            cli = lab.run("cli", "p", gateway_binary(), "client", "-r", "10.78.0.1:4000", "-l", ":13000", "--key", "k")
            cli.wait_for("ready:", 60)
            wait_until("rows", lambda: os.path.exists(csv) and open(csv).read().count("\n") > 2, 60)
            disk.freeze(True)
            time.sleep(3)
            for _ in range(20):
                srv.p.send_signal(signal.SIGUSR1)
                time.sleep(0.01)
            load(lab, "small", "127.0.0.1", 13000, 20)
            disk.freeze(False)
            rows = open(csv).read().count("\n")
            wait_until("rows", lambda: open(csv).read().count("\n") > rows + 2, 60)
            case.check(len({line.count(",") for line in open(csv).read().splitlines()}) == 1, open(csv).read())
            case.check("rows left out" in open(log).read(), open(log).read()[-2000:])
            case.check(open(log).read().count("KCP SNMP") > 0, "the log does not go on")
            disk.freeze(True)
            srv.p.send_signal(signal.SIGUSR1)
            time.sleep(2)
            srv.p.send_signal(signal.SIGTERM)
            try:  # its last writes are still under way in the kernel, so it can be seen dead only behind them
                wait_until("stop", lambda: srv.p.poll() is not None or not serving(lab), 60)
            finally:
                disk.freeze(False)
            case.check(srv.p.wait(60) == 0, srv.p.returncode)
        finally:
            disk.gone()


def serving(lab):
    return ":4000" in lab.sh("g", "ss", "-Hlnu")


ANY = "interface: any, by UDP sockets of the kernel's (--iface names one)"
PUBLIC = "kcptun's public passphrase is used, and ANYBODY can use and read this tunnel"


def last_lines(gw, n=3):
    """The last lines of its output, without their time."""
    return [re.sub(r"^20\d\d/\d\d/\d\d \d\d:\d\d:\d\d ", "", line) for line in gw.log().splitlines()[-n:]]


def test_interface_and_key():
    """The last lines: ready, the interface that nobody named, and that the key is missing."""
    with Lab("kw") as lab:
        link(lab)
        for role, argv, interface in (
                ("server", ("-t", "127.0.0.1:9000"), ANY),
                ("server", ("--tcp",), "interface: g0, of the kernel's default route, and lo (--iface names another)"),
                ("server", ("-l", "10.78.0.1:4001", "--tcp"), "interface: g0, which has 10.78.0.1 (--iface names another)"),
                ("server", ("-l", ":4002", "--iface", "g0"), None),
                ("client", ("-r", "10.78.0.2:4000", "-l", ":13000"), ANY),
                ("client", ("-r", "10.78.0.2:4000", "-l", ":13000", "--tcp"),
                 "interface: g0, of the kernel's route to 10.78.0.2 (--iface names another)")):
            for key in ("", "k"):
                gw = lab.run("gw", "g", gateway_binary(), role, *argv, *(["--key", key] if key else []))
                gw.wait_for("ready:", 60)
                want = ["--key is missing: " + PUBLIC] if not key else []
                want = ([interface] if interface else []) + want
                wait_until("the lines behind ready", lambda: not want or want[-1] in gw.log(), 60)
                got = last_lines(gw, len(want) + 1)
                case.check(got[0].startswith("ready:") and got[1:] == want, role, argv, key, got, "want", want)
                case.check(gw.stop(timeout=60) == 0, "exit status")


def test_key_in_a_log_of_its_own():
    """With --log the two lines are in the file and on stderr, where nothing else of the log is."""
    with Lab("kw") as lab:
        link(lab)
        log = os.path.join(lab.dir, "own.log")
        gw = lab.run("gw", "g", gateway_binary(), "server", "--log", log)
        gw.wait_for("--key is missing", 60)
        want = [ANY, "--key is missing: " + PUBLIC]
        case.check(last_lines(gw, 2) == ["kcpgate: " + w for w in want], gw.log())
        case.check("ready:" not in gw.log(), gw.log())
        case.check(all(w in open(log).read() for w in want), open(log).read())
        case.check(gw.stop(timeout=60) == 0, "exit status")


def conf(tunnels, port="g0", **more):
    return eal(**more) + """
ports = ( { name = "w"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );
tunnels = ( %s );
""" % (port, ", ".join("{ %s }" % t for t in tunnels))


def test_key_of_a_file():
    """The tunnels that have none, by name, last; and of many no more than eight, and how many there are."""
    with Lab("kw") as lab:
        link(lab)

        def tunnel(name, port, key=""):
            return 'name = "%s"; role = "server"; listen = ":%d"; target = "127.0.0.1:9000"; %s' % (name, port, key)
        gw = lab.gateway("one", "g", conf([tunnel("a", 4000), tunnel("b", 4001, 'key = "k";'), tunnel("c", 4002)]))
        want = ["tunnel %s: key is missing: %s" % (t, PUBLIC) for t in "ac"]
        wait_until("the lines", lambda: want[-1] in gw.log(), 60)
        case.check(last_lines(gw, 3)[0].startswith("ready:") and last_lines(gw, 2) == want, last_lines(gw, 3))
        case.check(gw.stop(timeout=60) == 0, "exit status")
        gw = lab.gateway("many", "g", conf([tunnel("t%d" % i, 4000 + i) for i in range(11)]))
        gw.wait_for("in 3 more tunnels", 60)
        case.check(last_lines(gw, 1) == ["key is missing in 3 more tunnels"], last_lines(gw, 2))
        case.check(gw.log().count("tunnel t7: key is missing") == 1 and "tunnel t8: key is missing" not in gw.log(), gw.log())
        case.check(gw.stop(timeout=60) == 0, "exit status")


def test_closed_stderr():
    """Where standard error is closed, no socket and no file of ours becomes number 2."""
    with Lab("kw") as lab:
        link(lab)
        gw = lab.run("gw", "g", "sh", "-c", "exec %s server --key k 2>&-" % gateway_binary())
        ready("kcpgate-%d" % gw.p.pid, gw.p)
        case.check(os.readlink("/proc/%d/fd/2" % gw.p.pid) == "/dev/null", os.readlink("/proc/%d/fd/2" % gw.p.pid))
        case.check(gw.stop(timeout=60) == 0, "exit status")


SERVER = 'name = "hk"; role = "server"; listen = ":4000"; target = "127.0.0.1:9000"; key = "k";'


def check(lab, text):
    path = lab.file("check.conf", text.replace("@PREFIX@", "kw"))
    p = subprocess.run([gateway_binary(), "check", "-c", path], capture_output=True, text=True, timeout=60)
    return p.returncode, p.stdout + p.stderr


def test_many_workers():
    """40 workers, which need more rings than DPDK has memzones: check names the least memory, with it they serve."""
    n = 40
    with Lab("kw") as lab:
        link(lab)
        rc, text = check(lab, conf([SERVER], workers=n, memory=64) + "limits = { sessions = 1000; };")
        case.check(rc == 2 and "allowed: " in text, text)
        least = int(re.search(r"allowed: (\d+) or more for %d workers" % n, text).group(1))
        good = conf([SERVER], workers=n, memory=least) + "limits = { sessions = 1000; };"
        rc, text = check(lab, good)
        case.check(rc == 0 and re.search(r"workers +%d\n" % n, text), text)
        gw = lab.gateway("many", "g", good)
        case.check("ready: %d workers" % n in gw.log(), gw.log()[-500:])
        cli = lab.run("cli", "p", gateway_binary(), "client", "-r", "10.78.0.1:4000", "-l", ":13000", "--key", "k",
                      "--conn", "4")
        cli.wait_for("ready:", 60)
        load(lab, "small", "127.0.0.1", 13000, 20)
        case.check(cli.stop(timeout=60) == 0 and gw.stop(timeout=60) == 0, "exit status")


def test_check_and_start_agree():
    """What check takes starts: few pads of QPP, each generation's mtu, as many arguments for EAL as may be."""
    with Lab("kw") as lab:
        link(lab)
        for tunnel, eal_more, port_more, good in (
                ("qpp = true; qpp-count = 2;", "", "", True), ("qpp = true; qpp-count = 3;", "", "", True),
                ("qpp = true; qpp-count = 5;", "", "", True), ("qpp = true; qpp-count = 4;", "", "", False),
                ("qpp = true; qpp-count = 251;", "", "", True), ("", "", "mtu = 1500;", True), ("", "", "mtu = 1501;", False),
                ("", "args = ( %s );" % ", ".join(['"--log-level=5"'] * 32), "", True),
                ("", "args = ( %s );" % ", ".join(['"--log-level=5"'] * 33), "", False)):
            text = conf([SERVER + tunnel], extra=eal_more).replace('exception = "kernel";', 'exception = "kernel"; ' + port_more)
            rc, words = check(lab, text)
            case.check((rc == 0) == good, tunnel, port_more, words)
            gw = lab.gateway("gw", "g", text, ready=False)
            wait_until("start or end", lambda: "ready:" in gw.log() or not gw.alive(), 60)
            case.check(("ready:" in gw.log()) == good, tunnel, port_more, gw.log()[-500:])
            case.check(gw.stop(timeout=60) == (0 if good else 2), "exit status")


def test_missing_capability():
    """What a capability is missing for is named, by the kind of port; and with no more than those it starts."""
    raw, admin = "CAP_NET_RAW is missing, for packet sockets", "CAP_NET_ADMIN is missing, for the interface's flags"
    tap = conf([SERVER], port="none").replace("net_af_packet0,iface=none", "net_tap0,iface=kt0").replace(
        'exception = "kernel";', 'addresses = [ "10.79.0.1/24" ];')
    null = tap.replace("net_tap0,iface=kt0", "net_null0")
    with Lab("kw") as lab:
        link(lab)
        os.chmod(lab.dir, 0o755)
        for text, drop, want in (
                (conf([SERVER]), "net_raw", "the driver refused (Operation not permitted): " + raw),
                (conf([SERVER]), "net_admin", "start: Operation not permitted: " + admin),
                (conf([SERVER]), "net_raw,-net_admin", "the driver refused (Operation not permitted): %s, %s" % (raw, admin)),
                (tap, "net_admin", "CAP_NET_ADMIN is missing, for making its interface"),
                (null, "net_admin", "making interface kg-w needs root or CAP_NET_ADMIN"),
                (conf([SERVER.replace("4000", "500")]), "net_bind_service",
                 "UDP port 500: Permission denied: CAP_NET_BIND_SERVICE is missing, for ports below 1024"),
                (conf(['name = "c"; role = "client"; listen = ":80"; remote = "10.78.0.2:4000"; key = "k";']), "net_bind_service",
                 "TCP port 80 on all addresses: Permission denied: CAP_NET_BIND_SERVICE is missing, for ports below 1024")):
            path = lab.file("cap.conf", text.replace("@PREFIX@", lab.tag + "-cap"))
            gw = lab.run("cap", "g", "setpriv", "--bounding-set", "-" + drop, gateway_binary(), "-c", path)
            wait_until("the end", lambda: not gw.alive(), 60)
            line = gw.log().splitlines()[-1]
            case.check("cannot start: " in line and line.endswith(want), drop, line)
        caps = "+net_raw,+net_admin"
        path = lab.file("cap.conf", conf([SERVER]).replace("@PREFIX@", lab.tag + "-cap"))
        os.chmod(path, 0o644)
        gw = lab.run("cap", "g", "setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps", caps, "--ambient-caps", caps,
                     gateway_binary(), "-c", path)
        gw.wait_for("ready:", 60)
        case.check(gw.stop(timeout=60) == 0, "exit status")


def copies(pid, secret):
    """Where the bytes are in the memory of a process that it may write, but for DPDK's own."""
    found = []
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            where, perms, rest = line.split(None, 2)
            if "w" not in perms or "/dev/" in rest:
                continue
            a, b = (int(x, 16) for x in where.split("-"))
            if b - a > 32 << 20:
                continue
            mem.seek(a)
            try:
                found += [rest.split()[-1]] * mem.read(b - a).count(secret)
            except OSError:
                pass
    return found


def test_passphrase_is_forgotten():
    """Once it runs, no copy of the passphrase is left in its memory, wherever it was read."""
    secret = "".join("%08x" % (7919 * i) for i in range(1, 100))[:700]
    with Lab("kw") as lab:
        link(lab)
        os.chmod(lab.file("secret", secret + "\n"), 0o600)
        server = ("server", "-l", ":4000", "-t", "127.0.0.1:9000")
        tunnel = SERVER.replace('key = "k";', "")
        json = '{"listen": ":4000", "target": "127.0.0.1:9000", "key": "%s", "nocomp": true, "QPP": true}' % secret
        text = {"key": tunnel + 'key = "%s"; closewait = 5;' % secret,
                "parts": tunnel + 'key : "%s" /* and */ "%s"; qpp = true;' % (secret[:9], secret[9:]),
                "key_file": tunnel + 'key_file = "secret";'}
        ways = [(k, ("-c", lab.file(k + ".conf", conf([v]).replace("@PREFIX@", lab.tag + k))), {}) for k, v in text.items()]
        ways += [("argv", (*server, "--key", secret), {}), ("argv=", (*server, "--key=" + secret), {}),
                 ("json", ("server", "-c", lab.file("s.json", json)), {}), ("env", server, {"KCPTUN_KEY": secret})]
        for name, argv, env in ways:
            gw = lab.run("gw", "g", gateway_binary(), *argv, env=env)
            gw.wait_for("ready:", 60)
            left = copies(gw.p.pid, secret[500:].encode())
            case.check(not left, name, left)
            case.check(copies(gw.p.pid, b"127.0.0.1") != [], "nothing is found at all")
            case.check(gw.stop(timeout=60) == 0, "exit status")


def folders(name):
    return [d for d in os.listdir("/var/run/dpdk") if d == name]


def test_runtime_folders():
    """DPDK's folder goes at the end of its process, whatever the end; what a killed one left, the next one removes."""
    with Lab("kw") as lab:
        link(lab)
        server = (gateway_binary(), "server", "-l", ":4000", "--key", "k")

        def start(*argv):
            gw = lab.run("gw", "g", *argv)
            gw.wait_for("ready:", 60)
            return gw
        gw = start(*server)
        mine = "kcpgate-%d" % gw.p.pid
        case.check(folders(mine) == [mine], folders(mine))
        case.check(gw.stop(timeout=60) == 0 and not folders(mine), folders(mine))
        gw = lab.gateway("file", "g", conf([SERVER]))
        case.check(folders(gw.prefix) == [gw.prefix], folders(gw.prefix))
        case.check(gw.stop(timeout=60) == 0 and not folders(gw.prefix), folders(gw.prefix))
        # A start that fails after DPDK is up: the address to listen on is taken.
        lab.run("taken", "g", sys.executable, "-c", "import socket,time\ns = socket.create_server(('127.0.0.1', 13000))\n"
                "print('taken', flush=True)\ntime.sleep(300)").wait_for("taken")
        gw = lab.gateway("fails", "g", conf(['name = "us"; role = "client"; listen = "127.0.0.1:13000"; '
                                             'remote = "10.77.0.2:4000"; key = "k";']), ready=False)
        gw.p.wait(60)
        case.check(gw.p.returncode == 1 and not folders(gw.prefix), folders(gw.prefix))
        killed, other = lab.gateway("killed", "g", conf([SERVER])), lab.gateway(
            "other", "p", conf([SERVER.replace(":4000", ":4001")], port="p0"))
        gw = start(*server[:3], ":4002", *server[4:])
        for p in killed, gw:
            p.stop(signal.SIGKILL)
        left = "kcpgate-%d" % gw.p.pid
        case.check(folders(left) == [left] and folders(killed.prefix) == [killed.prefix], "left behind")
        gw = start(*server)
        case.check(not folders(left) and not folders(killed.prefix), folders(left), folders(killed.prefix))
        case.check(folders(other.prefix) == [other.prefix], "another's folder is gone")
        case.check(lab.telemetry(other, "/kcpgate/version")["kcpgate"], "another's telemetry is gone")
        case.check(other.stop(timeout=60) == 0 and gw.stop(timeout=60) == 0, "exit status")
        case.check(not folders(other.prefix) and not folders("kcpgate-%d" % gw.p.pid), "left behind")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
