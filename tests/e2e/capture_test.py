#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kcpgate capture: chosen sessions as they are on the wire, beside what tcpdump saw there, and what is in them."""
import collections
import contextlib
import hashlib
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lab"))
sys.path.insert(0, os.path.join(HERE, "..", "interop"))
import case
import decode
import load as traffic
import memory_test
import pure
from lab import ROOT, Lab, eal, gateway_binary, telemetry, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
KEY = "of the capture's test"

Packet = collections.namedtuple("Packet", "iface ns out frame whole comment")


class Capture:
    """A pcapng file, read by nothing of ours: interfaces, packets, and statistics by interface."""

    def __init__(self, path):
        with open(path, "rb") as f:
            raw = f.read()
        self.ifaces, self.packets, self.stats, self.app, at = [], [], {}, None, 0
        while at < len(raw):
            kind, n = struct.unpack_from("<II", raw, at)
            case.check(n % 4 == 0 and at + n <= len(raw) and raw[at + n - 4:at + n] == raw[at + 4:at + 8],
                       "block of", n, "bytes at", at, "of", len(raw))
            self.block(kind, raw[at + 8:at + n - 4])
            at += n

    @staticmethod
    def options(b):
        found = {}
        while b:
            code, n = struct.unpack_from("<HH", b)
            if code == 0:
                break
            found[code] = b[4:4 + n]
            b = b[4 + (n + 3) // 4 * 4:]
        return found

    def block(self, kind, b):
        if kind == 0x0a0d0d0a:
            case.check(struct.unpack_from("<IHH", b) == (0x1a2b3c4d, 1, 0), "section", b[:8])
            self.app = self.options(b[16:]).get(4, b"").decode()
        elif kind == 1:
            link, _, snap = struct.unpack_from("<HHI", b)
            o = self.options(b[8:])
            case.check(link == 1 and o[9] == b"\x09", "link type", link, "resolution", o[9])
            self.ifaces.append((o[2].decode(), snap))
        elif kind == 6:
            i, high, low, n, whole = struct.unpack_from("<IIIII", b)
            o = self.options(b[20 + (n + 3) // 4 * 4:])
            self.packets.append(Packet(self.ifaces[i][0], high << 32 | low, struct.unpack("<I", o[2])[0] == 2,
                                       b[20:20 + n], whole, o.get(1, b"").decode()))
        elif kind == 5:
            i = struct.unpack_from("<I", b)[0]
            o = self.options(b[12:])
            self.stats[self.ifaces[i][0]] = tuple(struct.unpack("<Q", o.get(k, bytes(8)))[0] for k in (4, 5))
        else:
            case.check(False, "block of type", kind)

    def of(self, iface):
        return [p for p in self.packets if p.iface == iface]


def is_udp(frame):
    return frame[12:14] == b"\x08\x00" and frame[23] == 17 or frame[12:14] == b"\x86\xdd" and frame[20] == 17


def udp(frame):
    """(source port, destination port, payload) of a datagram over IPv4 or IPv6."""
    case.check(is_udp(frame), "no UDP", frame[:24])
    ip = 54 if frame[12:14] == b"\x86\xdd" else 14 + 4 * (frame[14] & 15)
    sport, dport, n = struct.unpack_from(">HHH", frame, ip)
    return sport, dport, frame[ip + 8:ip + n]


def conf(port, tunnels, more=""):
    one = ('{ name = "%%s"; role = "%%s"; listen = "%%s"; %%s = "%%s"; key = "%s"; mode = "fast3"; nocomp = true;'
           ' sndwnd = 256; rcvwnd = 256; congestion = "stock"; }') % KEY
    return eal(1) + 'ports = ( { name = "wan0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n' % port \
        + "tunnels = ( %s );\n" % ",\n".join(one % t for t in tunnels) + more


def network(lab):
    lab.add_ns("g", "p")
    lab.veth("g", "g1", "p", "p1")
    lab.addr("g", "g1", "10.78.1.1/24")
    lab.addr("p", "p1", "10.78.1.2/24")
    lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def gateways(lab, more=""):
    """A server with two tunnels in g, and a client of each in p."""
    network(lab)
    srv = lab.gateway("server", "g", conf("g1", [("s%d" % i, "server", ":400%d" % i, "target", "127.0.0.1:9000")
                                                 for i in (1, 2)], more))
    lab.gateway("client", "p", conf("p1", [("c%d" % i, "client", "127.0.0.1:1300%d" % i, "remote", "10.78.1.1:400%d" % i)
                                           for i in (1, 2)]))
    return srv


def capture(lab, gw, *argv, name="capture", **kw):
    """A capture that has begun."""
    path = os.path.join(lab.dir, name + ".pcapng")
    p = lab.run(name, "g", gateway_binary(), "capture", "-f", gw.prefix, *argv, "-w", path, **kw)
    p.wait_for("capturing")
    p.file = path
    return p


def exchange(lab, i, n=200000):
    p = lab.run("load%d" % len(lab.procs), "p", sys.executable, LOAD, "big", "127.0.0.1", "1300%d" % i, str(n),
                "--seed", str(i), "--timeout", "100")
    case.check(p.end() == 0, p.log())


def payloads(packets):
    return collections.Counter((p[0], hashlib.sha256(p[1]).digest()) for p in packets)


def tcpdump(lab, ns, iface):
    """What arrives: of what leaves past the qdisc its own interface tells nobody."""
    path = os.path.join(lab.dir, ns + ".pcap")
    p = lab.run("tcpdump-" + ns, ns, "tcpdump", "-i", iface, "-Q", "in", "-w", path, "-U", "--immediate-mode", "-B", "16384",
                "--time-stamp-precision=nano", "-Z", "root", "udp port 4001")
    p.wait_for("listening")
    p.file = path
    return p


ALLOW = "telemetry = { allow_plaintext = true; };\n"


def test_beside_tcpdump():
    """A session beside another one: each datagram that tcpdump saw of it, both ways, and none of the other's."""
    with Lab("kG") as lab:
        srv = gateways(lab)
        for i in (1, 2):
            exchange(lab, i, 1000)
        ids = {v["tunnel"]: k for k, v in telemetry(srv.prefix, "/kcpgate/sessions").items() if isinstance(v, dict)}
        case.check(len(ids) == 2, ids)
        cap = capture(lab, srv, "--session", ids["s1"])
        taps = [tcpdump(lab, "g", "g1"), tcpdump(lab, "p", "p1")]
        for i in (1, 2):
            exchange(lab, i)
        lab.captured(*taps)
        for t in taps:
            t.stop(signal.SIGINT)
        case.check(cap.stop(signal.SIGINT) == 0 and "0 more were left out" in cap.log(), cap.log())
        got, seen = Capture(cap.file), sorted(p for t in taps for p in decode.pcap(t.file))
        case.check(stat.S_IMODE(os.stat(cap.file).st_mode) == 0o600, "the file's mode")
        case.check(got.ifaces == [("wan0", 65535)], got.ifaces)
        case.check(all(p.comment == "tunnel s1, session " + ids["s1"] for p in got.packets), "a stranger's packet")
        first, last = seen[0][0], seen[-1][0]
        ours = [(p.out, udp(p.frame)) for p in got.packets if first - 0.05 < p.ns / 1e9 < last + 0.05]
        case.check(all(u[0 if out else 1] == 4001 and p.whole == len(p.frame) for (out, u), p in zip(ours, got.packets)),
                   "ports, or a packet cut")
        want = payloads((s[1] == 4001, p) for _, s, _, p in seen)
        have = payloads((out, u[2]) for out, u in ours)
        case.check(not want - have, sum((want - have).values()), "of", len(seen), "datagrams that tcpdump saw are missing")
        # What fell between the two programs' beginnings and ends: the session's acknowledgements, keepalives.
        case.check(sum((have - want).values()) < 20, sum((have - want).values()), "datagrams that tcpdump did not see")
        case.check(got.stats["wan0"] == (len(got.packets), 0), got.stats)
        text = subprocess.run(["tcpdump", "-n", "-r", cap.file], capture_output=True, text=True)
        case.check(text.returncode == 0 and text.stdout.count("\n") == len(got.packets), text.stderr)
        case.check(srv.stop() == 0, "exit status")
        return "%d datagrams" % len(got.packets)


def test_decrypted():
    """The same datagrams without encryption, as a plain decoder opens them, which give the application's bytes."""
    with Lab("kG") as lab:
        srv = gateways(lab, ALLOW)
        cap = capture(lab, srv, "--tunnel", "s1", "--plaintext")
        exchange(lab, 2)
        exchange(lab, 1)
        wait_until("all to be acknowledged", lambda: all(r["snd_buf"] == 0 for r in lab.telemetry(srv, "/kcpgate/sessions")))
        case.check(cap.stop() == 0, cap.log())
        got = Capture(cap.file)
        case.check([i[0] for i in got.ifaces] == ["wan0", "wan0 decrypted"], got.ifaces)
        wire, plain = got.of("wan0"), got.of("wan0 decrypted")
        opened = pure.opener("aes", KEY.encode())
        case.check(payloads((p.out, opened(udp(p.frame)[2])) for p in wire) ==
                   payloads((p.out, udp(p.frame)[2]) for p in plain), "other bytes than the wire's")
        s = decode.decode([(p.ns / 1e9, "s2c" if p.out else "c2s", udp(p.frame)[2]) for p in plain],
                          decode.Shape(crypt="null", nocomp=True, ours=decode.WAYS))
        st = next(iter(s.streams.values()))
        up, down = b"".join(traffic.pattern(1, 200000)), b"".join(traffic.pattern(1 ^ 0x5a5a5a5a, 200000))
        case.check(bytes(st.data["c2s"])[traffic.HEAD.size:] == up, "the request's bytes")
        case.check(bytes(st.data["s2c"])[:200000] == down, "the answer's bytes")
        case.check(srv.stop() == 0, "exit status")
    return "%d payloads" % len(plain)


def run_capture(lab, gw, *argv):
    p = subprocess.run([gateway_binary(), "capture", "-f", gw.prefix, "-w", os.path.join(lab.dir, "x"), *argv],
                       capture_output=True, text=True, timeout=120)
    return p.returncode, p.stderr


def test_refused():
    """What is not allowed, unknown or senseless is refused with its name; a capture ends by count, time, and its reader's end."""
    with Lab("kG") as lab:
        srv = gateways(lab)
        for argv, word in ((["--plaintext"], "allow_plaintext"), (["--tunnel", "t"], "tunnel=t; allowed: the name"),
                           (["--peer", "1.2.3"], "peer=1.2.3"), (["--snaplen", "0"], "snaplen=0; allowed: 1 to 65535"),
                           (["--count", "x"], "count=x"), (["--session", "1,count=3"], "--session")):
            status, text = run_capture(lab, srv, *argv)
            case.check(status in (1, 2) and word in text and not os.path.exists(os.path.join(lab.dir, "x")), argv, text)
        status, text = run_capture(lab, srv, "-f", "nobody")
        case.check(status == 1 and "nobody" in text, text)
        one = capture(lab, srv, "--count", "5", "--snaplen", "60", "--peer", "10.78.1.2")
        status, text = run_capture(lab, srv)
        case.check(status == 1 and "another capture is under way" in text, text)
        exchange(lab, 1, 1000)
        case.check(one.end() == 0, one.log())
        got = Capture(one.file)
        case.check(len(got.packets) == 5 and all(len(p.frame) <= 60 for p in got.packets) and
                   any(p.whole > 60 for p in got.packets), got.packets)
        status, text = run_capture(lab, srv, "--seconds", "1", "--peer", "10.78.1.9")
        case.check(status == 0 and "0 packets" in text, text)
        gone = capture(lab, srv, name="gone")
        gone.stop(signal.SIGKILL)
        wait_until("the capture to end", lambda: lab.telemetry(srv, "/kcpgate/capture")["state"] == "ended")
        held = capture(lab, srv, name="held")
        case.check(srv.stop() == 0, "exit status while a capture is under way")
        case.check(held.end() == 1 and "has ended" in held.log(), held.p.returncode, held.log())


def test_slow_reader():
    """A reader that reads nothing costs the capture packets, and the tunnel nothing; the file tells how many."""
    with Lab("kG") as lab:
        srv = gateways(lab, ALLOW)
        path = os.path.join(lab.dir, "pipe")
        os.mkfifo(path)
        cap = lab.run("slow", "g", gateway_binary(), "capture", "-f", srv.prefix, "--plaintext", "-w", path)
        fd = os.open(path, os.O_RDONLY)
        head = os.read(fd, 4096)
        cap.wait_for("capturing")
        exchange(lab, 1, 30000000)
        lost = lab.telemetry(srv, "/kcpgate/capture")["lost"]
        case.check(lost > 0, "nothing was lost")
        cap.p.send_signal(signal.SIGTERM)
        whole = lab.file("slow.pcapng", "")
        with open(whole, "wb") as f:
            f.write(head)
            while True:
                b = os.read(fd, 1 << 20)
                if not b:
                    break
                f.write(b)
        os.close(fd)
        case.check(cap.end() == 0, cap.log())
        got = Capture(whole)
        for name, (taken, gone) in got.stats.items():
            case.check(taken == len(got.of(name)) and gone > 0, name, taken, gone)
        case.check(sum(s[1] for s in got.stats.values()) >= lost, got.stats, lost)
        return "%d taken, %d left out" % tuple(map(sum, zip(*got.stats.values())))


@contextlib.contextmanager
def hugetlbfs(lab, n):
    """So many hugepages more, and a mount of their files that every process finds."""
    with memory_test.as_before():
        memory_test.write_nr(memory_test.pages("HugePages_Total") + n)
        if memory_test.pages("HugePages_Free") < n:
            raise case.Skip("the kernel gives %d hugepages of %d" % (memory_test.pages("HugePages_Free"), n))
        where = tempfile.mkdtemp(prefix="kcpgate-huge-")
        subprocess.run(["mount", "-t", "hugetlbfs", "hugetlbfs", where], check=True)
        try:
            yield where
        finally:
            lab.close()
            subprocess.run(["umount", where], check=True)
            os.rmdir(where)


def test_dumpcap():
    """dpdk-dumpcap sees every datagram of a port, both ways, where eal.dumpcap lets it attach; nothing is left behind."""
    if not shutil.which("dpdk-dumpcap"):
        raise case.Skip("no dpdk-dumpcap: apt install dpdk")
    with Lab("kG") as lab, hugetlbfs(lab, 420) as pages:
        network(lab)
        one = [("s1", "server", ":4001", "target", "127.0.0.1:9000")]
        text = conf("g1", one).replace("hugepages = false;", "dumpcap = true;")
        srv = lab.gateway("server", "g", text)
        lab.gateway("client", "p", conf("p1", [("c1", "client", "127.0.0.1:13001", "remote", "10.78.1.1:4001")]))
        exchange(lab, 1, 1000)
        path = os.path.join(lab.dir, "dump.pcapng")
        dump = lab.run("dumpcap", "g", "dpdk-dumpcap", "--file-prefix", srv.prefix, "-i", "0", "-w", path)
        dump.wait_for("Packets captured:")
        taps = [tcpdump(lab, "g", "g1"), tcpdump(lab, "p", "p1")]
        exchange(lab, 1)
        lab.captured(*taps)
        for t in taps + [dump]:
            t.stop(signal.SIGINT)
        got = Capture(path)
        want = payloads((s[1] == 4001, p) for t in taps for _, s, _, p in decode.pcap(t.file))
        have = payloads((p.out, udp(p.frame)[2]) for p in got.packets if is_udp(p.frame))
        case.check(want and not want - have, sum((want - have).values()), "of", sum(want.values()), "are missing")
        exchange(lab, 1)
        srv.stop(signal.SIGKILL)
        case.check(os.listdir(pages), "files of the one that was killed")
        srv = lab.gateway("again", "g", text.replace("@PREFIX@", srv.prefix))
        case.check(srv.stop() == 0, "exit status")
        srv.prefix = srv.prefix.replace("again", "server")
        case.check(not os.listdir(pages) and not os.path.exists("/var/run/dpdk/" + srv.prefix), "files left behind")
        return "%d datagrams" % sum(want.values())


if __name__ == "__main__":
    case.main(sys.modules[__name__])
