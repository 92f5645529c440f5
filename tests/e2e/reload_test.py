#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A gateway that is changed while it runs: its file read again, what is taken over, what needs a restart, and logs."""
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import GUARD, ROOT, Lab, eal, gateway_binary, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
PORTS = 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n'


def tunnel(name, role, listen, far, **opts):
    o = dict(dict(key='"k"', mode='"fast3"'), **opts)
    more = " ".join("%s = %s;" % kv for kv in o.items())
    return '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; %s }' % (
        name, role, listen, "target" if role == "server" else "remote", far, more)


def conf(iface, *tunnels, more=""):
    return eal() + PORTS % iface + "tunnels = (\n" + ",\n".join(tunnels) + "\n);\n" + more


# A target that says which one it is.
SAY = ("import socket,sys,threading\nl = socket.create_server((sys.argv[1], int(sys.argv[2])))\nprint('serving', flush=True)\n"
       "while True:\n    c = l.accept()[0]\n    c.sendall(sys.argv[3].encode())\n    c.close()\n")


def link(lab):
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/24")
    lab.addr("p", "p0", "10.77.0.2/24")


def said(lab, port):
    """What the target behind a client's port says."""
    return lab.sh("p", sys.executable, "-c", "import socket,sys\ns = socket.create_connection(('127.0.0.1', %d))\n"
                  "s.settimeout(%d)\nb = b''\nwhile True:\n    n = s.recv(100)\n    if not n: break\n    b += n\n"
                  "print(b.decode())" % (port, GUARD)).strip()


def rewrite(lab, gw, text):
    lab.file(gw.name + ".conf", text.replace("@PREFIX@", gw.prefix))


def ask(lab, gw, *argv):
    """A command for this gateway: its output and its exit status."""
    p = subprocess.run([gateway_binary(), *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=GUARD)
    return p.stdout, p.returncode


def reload(lab, gw, want=0):
    out, status = ask(lab, gw, "reload", "-f", gw.prefix)
    case.check(status == want, "exit status", status, out, gw.log())
    return out


def pair(lab, server, more=""):
    """g is the server with that tunnel, p the client of it, and of another one of the same gateway."""
    link(lab)
    srv = lab.gateway("srv", "g", conf("g0", *server, more=more))
    cli = lab.gateway("cli", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000"),
                                       tunnel("d", "client", "127.0.0.1:13001", "10.77.0.1:4001")))
    return srv, cli


def test_target():
    """The target is another from the next connection on, one under way goes on, and SIGHUP does it too."""
    with Lab("lr") as lab:
        one = [tunnel("s", "server", ":4000", "127.0.0.1:9001"), tunnel("t", "server", ":4001", "127.0.0.1:9000")]
        two = [tunnel("s", "server", ":4000", "127.0.0.1:9002"), one[1]]
        srv, cli = pair(lab, one)
        for i in (1, 2):
            lab.run("target%d" % i, "g", sys.executable, "-c", SAY, "127.0.0.1", str(9000 + i), "I am %d" % i).wait_for("serving")
        case.check(said(lab, 13000) == "I am 1", said(lab, 13000))
        rewrite(lab, srv, conf("g0", *two))
        out, status = ask(lab, srv, "check", "--against-running", "-c", os.path.join(lab.dir, "srv.conf"))
        case.check(status == 0 and 'tunnels.s.target: "127.0.0.1:9001" -> "127.0.0.1:9002" (by reload: new connections)' in out, out)
        case.check(said(lab, 13000) == "I am 1", "the check has changed something")
        out = reload(lab, srv)
        case.check("1 applied, 0 need a restart" in out, out)
        case.check(said(lab, 13000) == "I am 2", said(lab, 13000), srv.log())
        rewrite(lab, srv, conf("g0", *one))
        srv.p.send_signal(signal.SIGHUP)
        wait_until("the first target again", lambda: said(lab, 13000) == "I am 1")
        case.check('reload: tunnels.s.target: "127.0.0.1:9002" -> "127.0.0.1:9001" (applied: new connections)' in srv.log(), srv.log())
        out = reload(lab, srv)
        case.check("nothing differs" in out, out)


def test_untouched():
    """A transfer on another tunnel goes on over 20 reloads, whole by its hash, and a rate takes hold of what is under way."""
    with Lab("lr") as lab:
        def text(i):
            return conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:%d" % (9000 + i), ratelimit=100000 * i,
                                     allow='[ "10.77.0.0/%d" ]' % (24 - i % 2), closewait=i, dscp=i),
                        tunnel("t", "server", ":4001", "127.0.0.1:9000"), more='log = { level = "%s"; };\n' % ("debug", "info")[i % 2])
        link(lab)
        srv = lab.gateway("srv", "g", text(0))
        lab.gateway("cli", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000"),
                                     tunnel("d", "client", "127.0.0.1:13001", "10.77.0.1:4001")))
        lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
        up = lab.run("load", "p", sys.executable, LOAD, "big", "127.0.0.1", "13001", str(100 << 20))
        sessions = wait_until("a session", lambda: [s for s in lab.telemetry(srv, "/kcpgate/sessions") if s["tunnel"] == "t"])
        n = 0
        while n < 20 or up.alive():
            n += 1
            rewrite(lab, srv, text(n % 7))
            out, status = ask(lab, srv, "reload", "-f", srv.prefix)
            case.check(status == 0 and "0 need a restart" in out, out)
            if n > 200:
                break
        case.check(up.end() == 0, up.log())
        now = [s for s in lab.telemetry(srv, "/kcpgate/sessions") if s["tunnel"] == "t"]
        case.check([s["peer"] for s in now] == [s["peer"] for s in sessions], sessions, now)
        return "%d reloads" % n


# One connection that is held: it says what it gets back for each line, and how it ends.
HOLD = ("import socket,sys\ns = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\ns.settimeout(%d)\n"
        "for line in sys.stdin:\n    try:\n        s.sendall(line.encode())\n        b = s.recv(100)\n"
        "    except OSError as e:\n        b = str(e).encode()\n    print('got', b.decode().strip() or 'the end', flush=True)\n" % GUARD)
ECHO = ("import socket,sys,threading\nl = socket.create_server(('127.0.0.1', 9000))\nprint('serving', flush=True)\n"
        "def run(c):\n    while True:\n        b = c.recv(65536)\n        if not b: break\n        c.sendall(b)\n    c.close()\n"
        "while True:\n    threading.Thread(target=run, args=(l.accept()[0],), daemon=True).start()\n")


class Held:
    def __init__(self, lab, name, port):
        self.proc = lab.run(name, "p", sys.executable, "-c", HOLD, str(port), stdin=subprocess.PIPE)
        self.n = 0

    def says(self, want):
        self.n += 1
        word = "line %d" % self.n
        self.proc.p.stdin.write((word + "\n").encode())
        self.proc.p.stdin.flush()
        wait_until("an answer", lambda: self.proc.log().count("got") == self.n)
        got = self.proc.log().splitlines()[-1]
        case.check(got == "got " + (word if want is None else want), got)

    def close(self):
        self.proc.p.stdin.close()
        self.proc.end()


def refused(lab, port):
    """A new connection's fate: what a byte sent to it brings back."""
    return lab.sh("p", sys.executable, "-c", "import socket\ntry:\n    s = socket.create_connection(('127.0.0.1', %d))\n"
                  "    s.settimeout(%d)\n    s.sendall(b'x')\n    print('got', s.recv(10))\nexcept OSError as e:\n    print(e)\n"
                  % (port, GUARD)).strip()


def test_drain():
    """A drained tunnel takes nothing new, what it has goes on and ends by itself or at its time; another serves on."""
    with Lab("lr") as lab:
        link(lab)
        srv = lab.gateway("srv", "g", conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000"),
                                           tunnel("t", "server", ":4001", "127.0.0.1:9000")))
        cli = lab.gateway("cli", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000"),
                                           tunnel("d", "client", "127.0.0.1:13001", "10.77.0.1:4001")))
        lab.run("echo", "g", sys.executable, "-c", ECHO).wait_for("serving")
        s, t = Held(lab, "s", 13000), Held(lab, "t", 13001)
        s.says(None)
        t.says(None)
        out, status = ask(lab, srv, "drain", "-f", srv.prefix, "nonsense")
        case.check(status == 2 and "no tunnel has" in out, out)
        out, status = ask(lab, srv, "drain", "-f", srv.prefix, "s")
        case.check(status == 0 and "s: draining, 1 sessions, 1 streams" in out, out)
        what = refused(lab, 13000)
        case.check("reset" in what, "a new stream is taken, or seems to have ended well", what)
        s.says(None)
        t.says(None)
        case.check(refused(lab, 13001) == "got b'x'", refused(lab, 13001))
        s.close()
        out, status = ask(lab, srv, "drain", "-f", srv.prefix, "--wait", "s")
        case.check(status == 0 and "s: drained, 0 sessions, 0 streams" in out, out)
        srv.wait_for("tunnel s: drained: it has no session and no connection any more")
        t.says(None)
        # A client's: connections are refused at once; what is left is cut off at the deadline.
        out, status = ask(lab, cli, "drain", "-f", cli.prefix, "--deadline", "1", "--wait", "d")
        case.check(status == 0 and "d: drained" in out, out)
        what = refused(lab, 13001)
        case.check("refused" in what, what)
        t.n += 1
        t.proc.p.stdin.write(b"more\n")
        t.proc.p.stdin.flush()
        wait_until("its end", lambda: t.proc.log().count("got") == t.n)
        case.check("got more" not in t.proc.log(), t.proc.log())
        case.check(lab.telemetry(srv, "/kcpgate/drops")["draining"] > 0, lab.telemetry(srv, "/kcpgate/drops"))


def test_key_rotated():
    """
    A key is replaced while it runs: the new one beside the old one, which ends when its time has come and then leaves the
    file; whoever has the new one notices nothing, and a third one takes the old one's turn.
    """
    with Lab("lr") as lab:
        link(lab)
        old = tunnel("old", "server", ":4000", "127.0.0.1:9000", key='"old"', until='"%s"')
        new = tunnel("new", "server", ":4000", "127.0.0.1:9000", key='"new"')
        third = tunnel("third", "server", ":4000", "127.0.0.1:9000", key='"third"', crypt='"aes-128-gcm"')
        srv = lab.gateway("srv", "g", conf("g0", old % "2099-01-01"))
        clients = [tunnel("c%d" % i, "client", "127.0.0.1:%d" % (13000 + i), "10.77.0.1:4000", key='"%s"' % key, crypt='"%s"' % crypt)
                   for i, (key, crypt) in enumerate((("old", "aes"), ("new", "aes"), ("third", "aes-128-gcm"), ("old", "aes")))]
        cli = lab.gateway("cli", "p", conf("p0", *clients))
        lab.run("echo", "g", sys.executable, "-c", ECHO).wait_for("serving")
        held = Held(lab, "held", 13000)
        held.says(None)
        rewrite(lab, srv, conf("g0", old % "2099-01-01", new))
        case.check("1 applied, 0 need a restart" in reload(lab, srv), srv.log())
        case.check(refused(lab, 13001) == "got b'x'", srv.log()[-2000:], cli.log()[-2000:])
        held.says(None)
        beside = Held(lab, "beside", 13001)
        rewrite(lab, srv, conf("g0", old % "2001-01-01", new))
        case.check("tunnels.old.until: " in reload(lab, srv), srv.log())
        srv.wait_for("tunnel old: its time has come (until)")
        held.says(None)  # what there is may end by itself
        late = Held(lab, "late", 13003)
        wait_until("nothing new", lambda: lab.telemetry(srv, "/kcpgate/drops")["draining"] > 0)
        held.close()
        srv.wait_for("tunnel old: drained", 150)
        rewrite(lab, srv, conf("g0", third, new))
        out = reload(lab, srv)
        case.check("tunnels.old: removed" in out and "tunnels.third: added" in out and "0 need a restart" in out, out)
        case.check(refused(lab, 13002) == "got b'x'", srv.log()[-2000:], cli.log()[-2000:])
        beside.says(None)
        case.check(refused(lab, 13001) == "got b'x'", srv.log()[-2000:])
        case.check(lab.telemetry(srv, "/kcpgate/drops")["no_listener"] == 0, lab.telemetry(srv, "/kcpgate/drops"))
        # When none is left that listens there, the port is anybody's.
        cli.stop()
        rewrite(lab, srv, conf("g0", tunnel("other", "server", ":4001", "127.0.0.1:9000")))
        reload(lab, srv)
        for name in "new", "third":
            srv.wait_for("tunnel .%s: drained" % name, 150)
        wait_until("the port is free", lambda: "bound" in lab.sh(
            "g", sys.executable, "-c", "import socket\ns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\ntry:\n"
            "    s.bind(('::', 4000))\n    print('bound')\nexcept OSError as e:\n    print(e)\n"))


def test_tunnels_come_and_go():
    """Tunnels of both roles are added and removed while it runs; one that cannot be added says why; others notice nothing."""
    with Lab("lr") as lab:
        link(lab)
        s = tunnel("s", "server", ":4000", "127.0.0.1:9000")
        c = tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000")
        few = "limits = { spare_tunnels = 4; };\n"
        srv = lab.gateway("srv", "g", conf("g0", s, more=few))
        cli = lab.gateway("cli", "p", conf("p0", c))
        lab.run("echo", "g", sys.executable, "-c", ECHO).wait_for("serving")
        held = Held(lab, "held", 13000)
        held.says(None)
        lab.run("other", "g", sys.executable, "-c", "import socket,time\ns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
                "s.bind(('::', 4009))\nprint('bound', flush=True)\ntime.sleep(1000)\n").wait_for("bound")
        t = [tunnel("t%d" % i, "server", ":%d" % (4001 + i), "127.0.0.1:9000", key='"k%d"' % i, crypt='"%s"' % crypt)
             for i, crypt in enumerate(("aes-128-gcm", "salsa20", "null"))]
        d = [tunnel("d%d" % i, "client", "127.0.0.1:%d" % (13001 + i), "10.77.0.1:%d" % (4001 + i), key='"k%d"' % i,
                    crypt='"%s"' % crypt, conn=2) for i, crypt in enumerate(("aes-128-gcm", "salsa20", "null"))]
        rewrite(lab, srv, conf("g0", s, *t, tunnel("taken", "server", ":4009", "127.0.0.1:9000"), more=few))
        rewrite(lab, cli, conf("p0", c, *d))
        out, status = ask(lab, srv, "check", "--against-running", "-c", os.path.join(lab.dir, "srv.conf"))
        case.check(status == 0 and "tunnels.t0: added (by reload" in out, out)
        out = reload(lab, srv, 3)
        case.check("tunnels.taken: added (needs a restart: tunnel taken: UDP port 4009 is in use by another process)" in out, out)
        out = reload(lab, cli)
        case.check("3 applied, 0 need a restart" in out, out)
        for i in range(3):
            case.check(refused(lab, 13001 + i) == "got b'x'", i, srv.log()[-2000:], cli.log()[-2000:])
        rows = lab.telemetry(srv, "/kcpgate/tunnels")
        case.check([n for n in ("s", "t0", "t1", "t2", "taken") if n in rows] == ["s", "t0", "t1", "t2"], rows)
        held.says(None)
        # Their options change as those of any other; and they go.
        rewrite(lab, srv, conf("g0", s, t[0].replace("}", "ratelimit = 5000000; }"), t[2], more=few))
        out = reload(lab, srv)
        case.check("tunnels.t0.ratelimit: 0 -> 5000000" in out and "tunnels.t1: removed" in out, out)
        case.check(refused(lab, 13001) == "got b'x'" and refused(lab, 13003) == "got b'x'", srv.log()[-2000:])
        srv.wait_for(": drained: it has no session and no connection any more")
        lab.sh("g", sys.executable, "-c", "import socket\ns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\ns.bind(('::', 4002))\n")
        # The name, and the port, of one that was removed: there is one place left, and then none.
        rewrite(lab, srv, conf("g0", s, t[0], t[1], t[2], more=few))
        reload(lab, srv)
        case.check(refused(lab, 13002) == "got b'x'", srv.log()[-3000:], cli.log()[-2000:])
        rewrite(lab, srv, conf("g0", s, t[0], t[1], t[2], tunnel("more", "server", ":4010", "127.0.0.1:9000"), more=few))
        for argv in (("check", "--against-running", "-c", os.path.join(lab.dir, "srv.conf")), ("reload", "-f", srv.prefix)):
            out, status = ask(lab, srv, *argv)
            case.check(status == 3 and "tunnels.more: added (needs a restart: limits.spare_tunnels are used up)" in out, out)
        held.says(None)
        held.close()


def test_bad_file():
    """A file that is wrong, or cannot be read, changes nothing, and says why on every way out."""
    with Lab("lr") as lab:
        good = conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9001"), more='log = { level = "info"; };\n')
        link(lab)
        srv = lab.gateway("srv", "g", good)
        rewrite(lab, srv, good.replace('level = "info"', 'level = "debug"').replace("fast3", "fastest"))
        out = reload(lab, srv, 2)
        case.check('tunnels.s.mode: found "fastest"; allowed: ' in out, out)
        srv.wait_for("nothing has changed")
        out, status = ask(lab, srv, "check", "--against-running", "-c", os.path.join(lab.dir, "srv.conf"))
        case.check(status == 2 and "fastest" in out, out)
        case.check("error" in lab.telemetry(srv, "/kcpgate/reload"), lab.telemetry(srv, "/kcpgate/reload"))
        os.unlink(os.path.join(lab.dir, "srv.conf"))
        out = reload(lab, srv, 2)
        case.check("No such file" in out, out)
        os.mkfifo(os.path.join(lab.dir, "srv.conf"))  # whoever reads it waits: the gateway does not
        srv.p.send_signal(signal.SIGHUP)
        time.sleep(0.5)  # else the question itself may be what reads it, and waits for a minute
        wait_until("it is read", lambda: "under way" in str(lab.telemetry(srv, "/kcpgate/reload")))
        lab.telemetry(srv, "/kcpgate/control")
        case.check(srv.stop() == 0, srv.p.returncode, srv.log())


def test_restart_needed():
    """What is fixed at the start is told, and is told again until it was started again; the rest of the file is taken over."""
    with Lab("lr") as lab:
        base = conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9001"), more='limits = { streams = 100; };\n')
        link(lab)
        srv = lab.gateway("srv", "g", base)
        rewrite(lab, srv, conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9001", ratelimit=1000000, key='"other"'),
                               more='limits = { streams = 200; address_rate = 7; };\nlog = { level = "debug"; };\n'))
        for _ in range(2):
            out, status = ask(lab, srv, "check", "--against-running", "-c", os.path.join(lab.dir, "srv.conf"))
            case.check(status == 3 and "limits.streams: 100 -> 200 (needs a restart: sizes tables)" in out, out)
            case.check("tunnels.s.key: changed (needs a restart" in out and "other" not in out, out)
        out = reload(lab, srv, 3)
        case.check("3 applied, 2 need a restart" in out and "ratelimit: 0 -> 1000000" in out, out)
        out = reload(lab, srv, 3)
        case.check("0 applied, 2 need a restart" in out, out)
        case.check(lab.telemetry(srv, "/kcpgate/limits")["address_rate"]["limit"] == 7, lab.telemetry(srv, "/kcpgate/limits"))


def test_log():
    """Level, format and rate change while it runs; a file moved away is let go by SIGHUP, one that is truncated is gone on with."""
    with Lab("lr") as lab:
        path = os.path.join(lab.dir, "k.log")
        base = conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9001"))
        link(lab)
        srv = lab.gateway("srv", "g", base + 'log = { file = "%s"; };\n' % path, ready=False)

        def log(p=path):
            try:
                with open(p) as f:
                    return f.read()
            except FileNotFoundError:
                return ""
        wait_until("ready", lambda: "ready:" in log())
        rewrite(lab, srv, base + 'log = { file = "%s"; format = "json"; level = "debug"; };\n' % path)
        reload(lab, srv)
        wait_until("JSON", lambda: "2 changes applied" in log())
        line = json.loads([x for x in log().splitlines() if "2 changes applied" in x][0])
        case.check(line["level"] == "info" and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", line["time"]), line)
        os.rename(path, path + ".1")
        srv.p.send_signal(signal.SIGHUP)
        wait_until("a new file", lambda: "nothing has changed" in log())
        old = log(path + ".1")
        srv.p.send_signal(signal.SIGUSR1)
        wait_until("a line in the new file", lambda: "KCP SNMP" in log())
        case.check(log(path + ".1") == old, "the file that was moved away is written to")
        os.truncate(path, 0)
        srv.p.send_signal(signal.SIGUSR1)
        wait_until("a line behind the truncation", lambda: "KCP SNMP" in log())
        case.check(log().startswith('{"time"'), repr(log()[:100]))


if __name__ == "__main__":
    case.main(sys.modules[__name__])
