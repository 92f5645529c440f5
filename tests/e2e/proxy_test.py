#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A target that is told, by a header of the PROXY protocol, who its client is: its bytes, and the stream's behind it."""
import ipaddress
import os
import shutil
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import GUARD, Lab, eal, gateway_binary, wait_until

PORTS = 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n'
SIZE = 3 << 20

# Greets before it hears anything but the header, tells what that was, then gives back what it gets.
TARGET = """import json,socket,sys,threading
def exactly(c, n):
    b = b''
    while len(b) < n:
        more = c.recv(n - len(b))
        if not more: raise EOFError('an end after %%d of %%d' %% (len(b), n))
        b += more
    return b
def run(c):
    c.settimeout(%d)
    try:
        if bare: head = b''
        else:
            head = exactly(c, 16)
            head += exactly(c, int.from_bytes(head[14:], 'big'))
        c.sendall(b'hello')
        print('head', head.hex(), flush=True)
        while True:
            b = c.recv(65536)
            if not b: break
            c.sendall(b)
        print('the end', flush=True)
        c.close()
    except Exception as e: print('failed', e, flush=True)
bare = len(sys.argv) > 2
if '/' in sys.argv[1]:
    l = socket.socket(socket.AF_UNIX)
    l.bind(sys.argv[1])
    l.listen(8)
else:
    host, port = sys.argv[1].rsplit(':', 1)
    l = socket.create_server((host, int(port)), family=socket.AF_INET6 if ':' in host else socket.AF_INET)
print('serving', flush=True)
while True: threading.Thread(target=run, args=(l.accept()[0],), daemon=True).start()
""" % GUARD

# What it is greeted with first, then as many bytes of chance, all of which come back.
CLIENT = """import os,socket,sys,threading
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.settimeout(%d)
out, back = os.urandom(int(sys.argv[2])), b'hello'
got = bytearray()
while len(got) < len(back): got += s.recv(len(back) - len(got)) or sys.exit('an end')
threading.Thread(target=s.sendall, args=(out,), daemon=True).start()
while len(got) < len(back) + len(out): got += s.recv(65536) or sys.exit('an end')
print('whole' if bytes(got) == back + out else 'differs', *s.getsockname())
""" % GUARD


def tunnel(name, role, listen, far, **opts):
    o = dict(dict(key='"k"', mode='"fast3"'), **opts)
    more = " ".join("%s = %s;" % kv for kv in o.items())
    return '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; %s }' % (
        name, role, listen, "target" if role == "server" else "remote", far, more)


def conf(iface, *tunnels, ports=PORTS, **kw):
    return eal(**kw) + (ports % iface if "%s" in ports else ports) + "tunnels = (\n" + ",\n".join(tunnels) + "\n);\n"


def link(lab):
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/24", "fd77::1/64")
    lab.addr("p", "p0", "10.77.0.2/24", "fd77::2/64")


def target(lab, name, where, *more):
    t = lab.run(name, "g", sys.executable, "-c", TARGET, where, *more)
    t.wait_for("serving")
    return t


def exchange(lab, port, size=SIZE):
    out = lab.sh("p", sys.executable, "-c", CLIENT, str(port), str(size))
    case.check(out.startswith("whole"), out)


def heads(t):
    case.check("failed" not in t.log(), t.log())
    return [bytes.fromhex(line[5:]) for line in t.log().splitlines() if line.startswith("head ")]


def header(src, dst):
    """As the specification has it (2.2); src, dst: address and port."""
    a, b = ipaddress.ip_address(src[0]), ipaddress.ip_address(dst[0])
    rest = a.packed + b.packed + struct.pack("!HH", src[1], dst[1])
    return b"\r\n\r\n\0\r\nQUIT\n\x21" + (b"\x11" if a.version == 4 else b"\x21") + struct.pack("!H", len(rest)) + rest


def ends(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def peers(lab, srv, name):
    return [ends(s["peer"]) for s in lab.telemetry(srv, "/kcpgate/sessions") if s["tunnel"] == name]


def holds(lab, srv, name, t, at):
    """Each header is that of a session which there is, and every session has one."""
    want = sorted(header(p, at) for p in peers(lab, srv, name))
    got = sorted(set(heads(t)))
    case.check(got == want, "got", [h.hex() for h in got], "want", [h.hex() for h in want], srv.log())


def families(ports):
    """IPv4 and IPv6 clients, to targets of IPv4, IPv6 and Unix: the header exact, ahead of all bytes, which are whole."""
    with Lab("px") as lab:
        link(lab)
        unix = os.path.join(lab.dir, "t.sock")
        where = ["127.0.0.1:9000", "[::1]:9001", unix]
        srv = lab.gateway("srv", "g", conf("g0", *[tunnel("s%d" % i, "server", ":40%d0-40%d9" % (i, i), w, proxy_protocol="true")
                                                   for i, w in enumerate(where)], ports=ports, workers=2))
        targets = [target(lab, "t%d" % i, w.replace("[", "").replace("]", "")) for i, w in enumerate(where)]
        clients = [tunnel("c%d%d" % (i, k), "client", "127.0.0.1:13%d%d0" % (i, k), "%s:40%d%d" % (host, i, 3 + k), conn=2)
                   for i in range(3) for k, host in enumerate(("10.77.0.1", "[fd77::1]"))]
        lab.gateway("cli", "p", conf("p0", *clients))
        for i, t in enumerate(targets):
            for k, host in enumerate(("10.77.0.1", "fd77::1")):
                before = len(heads(t))
                for _ in range(4):
                    exchange(lab, 13000 + 100 * i + 10 * k)
                wait_until("the end", lambda: t.log().count("the end") == 4 * (k + 1))
                mine = heads(t)[before:]
                src = [p for p in peers(lab, srv, "s%d" % i) if (":" in p[0]) == (":" in host)]
                case.check(len(src) == 2 and len(mine) == 4, src, mine)
                want = [header(p, (host, 4000 + 10 * i + 3 + k)) for p in src]
                case.check(set(mine) <= set(want), [h.hex() for h in mine], [h.hex() for h in want], srv.log())
        return "24 exchanges"


def test_families():
    return families(PORTS)


def test_by_sockets():
    return families('ports = ( { name = "p0"; device = "net_kudp0"; } );\n')


def test_stock_client():
    """A stock client's, beside another tunnel of the same gateway whose target is told nothing."""
    if not (os.environ.get("KCPTUN_CLIENT") or shutil.which("kcptun-client")):
        return "skipped: no kcptun-client"
    with Lab("px") as lab:
        link(lab)
        srv = lab.gateway("srv", "g", conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000", proxy_protocol="true"),
                                           tunnel("t", "server", ":4001", "127.0.0.1:9001", proxy_protocol="false"),
                                           tunnel("u", "server", ":4002", "127.0.0.1:9001")))
        told, bare = target(lab, "told", "127.0.0.1:9000"), target(lab, "bare", "127.0.0.1:9001", "bare")
        for i in range(3):
            lab.run("stock%d" % i, "p", os.environ.get("KCPTUN_CLIENT") or shutil.which("kcptun-client"), "-l",
                    "127.0.0.1:1300%d" % i, "-r", "10.77.0.1:400%d" % i, "--key", "k", "--mode", "fast3").wait_for("quiet:")
            exchange(lab, 13000 + i)
        exchange(lab, 13000)
        holds(lab, srv, "s", told, ("10.77.0.1", 4000))
        case.check(len(heads(told)) == 2 and heads(bare) == [b"", b""], told.log(), bare.log())
        case.check(srv.stop() == 0, "exit status")


def test_reload():
    """By a reload from the next connection on, with the target that goes with it; and off again."""
    with Lab("px") as lab:
        def text(port, on):
            return conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:%d" % port, proxy_protocol="true" if on else "false"))
        link(lab)
        srv = lab.gateway("srv", "g", text(9001, False))
        lab.gateway("cli", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000")))
        told, bare = target(lab, "told", "127.0.0.1:9000"), target(lab, "bare", "127.0.0.1:9001", "bare")
        for i, on in enumerate((False, True, False)):
            if i:
                lab.file("srv.conf", text(9000 if on else 9001, on).replace("@PREFIX@", srv.prefix))
                out = lab.sh("g", gateway_binary(), "reload", "-f", srv.prefix)
                line = "tunnels.s.proxy_protocol: %s -> %s (by reload: new connections)" % (("false", "true")[not on], ("false", "true")[on])
                case.check(line in out.replace('"', ""), out)
            exchange(lab, 13000, 100000)
        holds(lab, srv, "s", told, ("10.77.0.1", 4000))
        case.check(heads(bare) == [b"", b""] and len(heads(told)) == 1, told.log(), bare.log())


if __name__ == "__main__":
    case.main(sys.modules[__name__])
