#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a machine may run out of, or do to its processes: ports, a disk, answers to names, memory; a clock that jumps. In
each there is a stated behaviour, nothing is lost in silence, and afterwards there is service as before.
"""
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from behaviour_test import conf, link, load, stock, target, total, tunnel
from lab import Lab, gateway_binary, sh, wait_until
from limits_test import Crowd, control, flood

GUARD = 120


def server(**opts):
    return conf("g0", tunnel("s", "server", ":4000", "127.0.0.1:9000", **opts))


def client(more="", **opts):
    return conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000", **opts), more=more)


def narrow(lab, ns, first, last):
    lab.sysctl(ns, "net.ipv4.ip_local_port_range", '"%d %d"' % (first, last))


# ---- ports ----

def test_udp_ports():
    """A client whose sessions find no port: those connections are refused by name, others served; with ports, all are."""
    with Lab("kq") as lab:
        link(lab)
        target(lab)
        lab.gateway("server", "g", server())
        cli = lab.gateway("client", "p", client(conn=4))
        narrow(lab, "p", 50000, 50001)  # the applications' own connections come from others
        done = fails_from(lab, 13000, 4)
        rows = lab.telemetry(cli, "/kcpgate/sessions")
        case.check(1 <= len(rows) <= 2, "sessions", len(rows))
        case.check(done["served"] >= 1 and done["served"] + done["refused"] == 4, done)
        narrow(lab, "p", 32768, 60999)
        wait_until("all slots have a session", lambda: fails_from(lab, 13000, 4)["served"] == 4)
        case.check("no port" in cli.log() or "Address already in use" in cli.log(), cli.log()[-1500:])
        case.check(cli.stop() == 0, "exit status")
        return "with two ports: %s" % done


# Applications that bind a port of their own, for the kernel has none to give.
FROM = """
import socket, struct, sys
sys.path.insert(0, %r)
import load
for i in range(int(sys.argv[2])):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", int(sys.argv[3]) + i))
    s.settimeout(100)
    try:
        s.connect(("127.0.0.1", int(sys.argv[1])))
        s.sendall(load.HEAD.pack(b"KG", b"B", b"\\0", i, 0, 1000))
        n = 0
        while n < 1032:
            c = s.recv(2000)
            if not c:
                break
            n += len(c)
        print("served" if n == 1032 else "cut", flush=True)
    except OSError as e:
        print("refused", flush=True)
    s.close()
""" % os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab")
_from = [20000]


def fails_from(lab, port, count):
    """Exchanges from ports that the kernel has not to find: {how they ended: count}."""
    _from[0] += count
    p = lab.run("from%d" % _from[0], "p", sys.executable, "-c", FROM, str(port), str(count), str(_from[0]))
    p.p.wait(150)
    words = p.log().split()
    case.check(len(words) == count and "cut" not in words, "an end that is none, or an error:", p.log())
    return {w: words.count(w) for w in ("served", "refused")}


def test_tcp_ports():
    """A server that cannot dial for want of ports: those streams are refused, and told; as ports come back all are served."""
    with Lab("kq") as lab:
        link(lab)
        target(lab)
        srv = lab.gateway("server", "g", server())
        lab.gateway("client", "p", client())
        load(lab, "p", "small", "127.0.0.1", 13000, 5)
        narrow(lab, "g", 50000, 50019)
        crowd = Crowd(lab, "p", 13000, 60, "wait")
        wait_until("dials failed", lambda: control(lab, srv)["dial_failed"] >= 40)
        seen, drops = control(lab, srv), lab.telemetry(srv, "/kcpgate/drops")
        case.check(seen["streams"] <= 20 and drops["target"] >= 40, seen, drops)
        case.check("Cannot assign requested address" in srv.log(), srv.log()[-1500:])
        narrow(lab, "g", 32768, 60999)
        load(lab, "p", "small", "127.0.0.1", 13000, 50)
        crowd.p.p.kill()
        wait_until("no stream is left", lambda: total(lab, srv, "streams") == 0)
        case.check(srv.stop() == 0, "exit status")
        return "of 60 streams %d were dialled, %d refused" % (seen["streams"], seen["dial_failed"])


# ---- a disk ----

def test_full_disk():
    """A log and snmplog on a disk that is full: transfers go on, and both go on when there is room, in whole lines."""
    with Lab("kq") as lab:
        link(lab)
        target(lab)
        disk = os.path.join(lab.dir, "disk")
        os.mkdir(disk)
        sh("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk)
        lab.undo.append(["umount", disk])
        rows, log = os.path.join(disk, "snmp.csv"), os.path.join(disk, "log")
        lab.gateway("server", "g", server())
        text = client(more='telemetry = { snmplog = "%s"; snmpperiod = 1; };\n' % rows)
        text = text.replace('log = { level = "info"; };', 'log = { level = "info"; file = "%s"; };' % log)
        cli = lab.gateway("client", "p", text, ready=False)
        wait_until("ready", lambda: os.path.exists(log) and "ready:" in open(log, errors="replace").read())
        wait_until("a row", lambda: os.path.exists(rows))
        stuffing = os.path.join(disk, "stuffing")
        with open(stuffing, "wb", 0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        load(lab, "p", "small", "127.0.0.1", 13000, 400, "--at-once", 10)
        load(lab, "p", "mixed", "127.0.0.1", 13000, 1 << 20, 100)
        time.sleep(3)
        os.unlink(stuffing)
        had = len(open(rows).read().splitlines())
        wait_until("rows again", lambda: len(open(rows).read().splitlines()) >= had + 2)
        load(lab, "p", "small", "127.0.0.1", 13000, 5)
        case.check(cli.stop() == 0, "exit status")
        lines = open(rows).read().splitlines()
        case.check(all(l.count(",") == lines[0].count(",") for l in lines), "half a row", lines)
        said = open(log, errors="replace").read()
        case.check(said.endswith("\n") and "stream" in said, said[-500:])
        return "%d rows" % (len(lines) - 1)


# ---- names ----

DNS = r"""
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.53", 53))
print("answering", flush=True)
while True:
    q, peer = s.recvfrom(512)
    end = q.index(b"\0", 12) + 5
    a = struct.unpack("!H", q[end - 4:end - 2])[0] == 1
    with open(sys.argv[1]) as f:
        addr, wait = f.read().split()
    if addr == "nobody":
        continue
    time.sleep(float(wait))
    r = q[:2] + b"\x81\x80" + q[4:6] + struct.pack("!HHH", a, 0, 0) + q[12:end]
    if a:
        r += b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(addr)
    s.sendto(r, peer)
"""


class Names:
    """A name server of a namespace, which says what the test wants, and when."""

    def __init__(self, lab, ns):
        self.path = lab.file("names-" + ns, "")
        self.say("nobody")
        etc = "/etc/netns/" + lab.ns(ns)
        os.makedirs(etc)
        lab.undo.append(["rm", "-r", etc])
        with open(etc + "/resolv.conf", "w") as f:
            f.write("nameserver 127.0.0.53\noptions timeout:2 attempts:1\n")
        with open(etc + "/nsswitch.conf", "w") as f:
            f.write("hosts: dns\n")
        lab.run("dns-" + ns, ns, sys.executable, "-c", DNS, self.path).wait_for("answering")

    def say(self, addr, wait=0.0):
        with open(self.path + ".new", "w") as f:
            f.write("%s %s" % (addr, wait))
        os.rename(self.path + ".new", self.path)


def test_names():
    """A name server that is dead, slow, and alive: other tunnels and what stands go on, and names are asked for again."""
    with Lab("kq") as lab:
        link(lab)
        names = Names(lab, "g"), Names(lab, "p")
        target(lab)
        srv = lab.gateway("server", "g", conf("g0", tunnel("named", "server", ":4000", "target.test:9000"),
                                              tunnel("plain", "server", ":4001", "127.0.0.1:9000")))
        cli = lab.gateway("client", "p", conf("p0", tunnel("named", "client", "127.0.0.1:13000", "remote.test:4000"),
                                              tunnel("plain", "client", "127.0.0.1:13001", "10.77.0.1:4001")))
        steady = load(lab, "p", "steady", "127.0.0.1", 13001, 20, 4, 20000, "--timeout", 120, wait=False)
        first = load(lab, "p", "small", "127.0.0.1", 13000, 5, "--timeout", 100, wait=False)
        first.p.wait(GUARD)
        case.check(first.p.returncode == 1, "served without a name", first.log())
        names[0].say("127.0.0.1", 1.0)
        names[1].say("10.77.0.1", 1.0)
        wait_until("served by a slow name server", lambda: load_works(lab, 13000))
        names[0].say("nobody")
        names[1].say("nobody")
        load(lab, "p", "small", "127.0.0.1", 13000, 20, "--timeout", 100)  # with the addresses that there were
        steady.p.wait(150)
        case.check(steady.p.returncode == 0, "the plain tunnel", steady.log())
        for gw in srv, cli:
            case.check(gw.stop() == 0, "exit status")


def load_works(lab, port, n=5):
    p = load(lab, "p", "small", "127.0.0.1", port, n, "--timeout", 60, wait=False)
    p.p.wait(GUARD)
    return p.p.returncode == 0


# ---- a clock ----

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

/* Seconds by which the wall clock is off: of a file, read each time. */
static long off(void)
{
	FILE *f = fopen(getenv("CLOCK_OFF"), "r");
	long n = 0;

	if (f) {
		if (fscanf(f, "%ld", &n) != 1)
			n = 0;
		fclose(f);
	}
	return n;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*real)(clockid_t, struct timespec *);
	int ret;

	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	ret = real(id, ts);
	if (id == CLOCK_REALTIME)
		ts->tv_sec += off();
	return ret;
}

time_t time(time_t *t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (t)
		*t = ts.tv_sec;
	return ts.tv_sec;
}

int gettimeofday(struct timeval *tv, void *tz)
{
	struct timespec ts;

	(void)tz;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}
"""


def test_clock_jumps():
    """The wall clock goes back and forth by days under a transfer, and between two starts of a client: nothing of ours goes
    by it but what is written. The nonces of aes-128-gcm begin at it, and no datagram of the second start is taken amiss."""
    if not shutil.which("cc"):
        raise case.Skip("no C compiler")
    if "asan" in gateway_binary():
        raise case.Skip("sanitizers want to be the first library")
    with Lab("kq") as lab:
        link(lab)
        target(lab)
        src, lib, off = lab.file("shim.c", SHIM), os.path.join(lab.dir, "shim.so"), os.path.join(lab.dir, "off")
        sh("cc", "-O1", "-shared", "-fPIC", "-o", lib, src, "-ldl")

        def jump(seconds):
            with open(off + ".new", "w") as f:
                f.write(str(seconds))
            os.rename(off + ".new", off)

        def start(name, ns, text):
            prefix = "%s-%s" % (lab.tag, name)
            path = lab.file(name + ".conf", text.replace("@PREFIX@", prefix))
            p = lab.run(name, ns, gateway_binary(), "-c", path, env={"LD_PRELOAD": lib, "CLOCK_OFF": off})
            p.prefix = prefix
            p.wait_for("ready:")
            return p

        jump(0)
        rows = os.path.join(lab.dir, "snmp.csv")
        gcm = dict(crypt='"aes-128-gcm"', keepalive=1)
        srv = start("server", "g", server(**gcm) + 'telemetry = { snmplog = "%s"; snmpperiod = 1; };\n' % rows)
        cli = start("client", "p", client(**gcm))
        steady = load(lab, "p", "steady", "127.0.0.1", 13000, 12, 4, 20000, "--timeout", 120, wait=False)
        for seconds in (86400, -86400, 40 * 86400, -3600):
            jump(seconds)
            time.sleep(2.5)
        steady.p.wait(150)
        case.check(steady.p.returncode == 0, steady.log())
        times = [int(l.split(",")[0]) for l in open(rows).read().splitlines()[1:]]
        case.check(len(times) >= 6, "rows by the wall clock's pace:", times)
        now = time.time()
        case.check(any(t > now + 80000 for t in times) and any(t < now - 80000 for t in times), "no jump", times)
        rows_of = lab.telemetry(cli, "/kcpgate/sessions")
        case.check(len(rows_of) == 1 and rows_of[0]["age_ms"] > 9000, "the session of the beginning", rows_of)
        case.check(cli.stop() == 0, "exit status")
        jump(-10 * 86400)
        cli = start("again", "p", client(**gcm))
        load(lab, "p", "mixed", "127.0.0.1", 13000, 1 << 20, 20)
        drops = lab.telemetry(srv, "/kcpgate/drops")
        case.check(drops["crypt_bad"] == 0, drops)
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")
        return "%d rows at %s" % (len(times), [round((t - now) / 86400, 1) for t in times])


# ---- memory ----

def controllers(path):
    try:
        with open(path + "/cgroup.controllers") as f:
            return f.read().split()
    except OSError:
        return []


def limited(lab, name, ns, text, mb):
    """A gateway in a memory cgroup of its own, as a service has; Skip where there is none to be had."""
    v2 = "memory" in controllers("/sys/fs/cgroup")
    base, limit = ("/sys/fs/cgroup", "memory.max") if v2 else ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    group = os.path.join(base, lab.tag + name)
    try:
        os.mkdir(group)
        lab.undo.append(["rmdir", group])
        with open(os.path.join(group, limit), "w") as f:
            f.write(str(mb << 20))
    except OSError as e:
        raise case.Skip("no memory cgroup: %s" % e)
    prefix = "%s-%s" % (lab.tag, name)
    path = lab.file(name + ".conf", text.replace("@PREFIX@", prefix))
    # `ip netns exec` gives a /sys without control groups: they are mounted again.
    mount = ("mount -t cgroup2 none /sys/fs/cgroup" if v2 else
             "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/memory && "
             "mount -t cgroup -o memory none /sys/fs/cgroup/memory")
    p = lab.run(name, None, "sh", "-c", 'echo $$ > "$0"/cgroup.procs && exec "$@"', group, "ip", "netns", "exec",
                lab.ns(ns), "sh", "-c", mount + ' && exec "$@"', "sh", gateway_binary(), "-c", path)
    p.prefix = prefix
    p.wait_for("ready:")
    return p


def test_cgroup():
    """A service that may have 128 MB takes no more, and says so: peers without a key who fill what there is are refused,
    and the kernel has no reason to kill it."""
    with Lab("kq") as lab:
        link(lab)
        target(lab)
        null = dict(crypt='"null"', datashard=0, parityshard=0)
        srv = limited(lab, "server", "g", conf("g0", tunnel("null", "server", ":4000", "127.0.0.1:9000", **null),
                                               tunnel("ok", "server", ":4001", "127.0.0.1:9000")), 128)
        case.check("MB at most, for 128 MB are available" in srv.log(), srv.log())
        lab.gateway("client", "p", conf("p0", tunnel("c", "client", "127.0.0.1:13001", "10.77.0.1:4001")))
        big = load(lab, "p", "big", "127.0.0.1", 13001, 8 << 20, "--timeout", 140, wait=False)
        p = lab.run("flood", "p", *flood(500, 400, 2))
        p.p.wait(150)
        case.check(p.p.returncode == 0, p.log())
        big.p.wait(150)
        case.check(srv.alive(), "killed:", srv.p.returncode, srv.log()[-500:])
        case.check(big.p.returncode == 0, big.log())
        seen, drops = lab.telemetry(srv, "/kcpgate/tunnels"), lab.telemetry(srv, "/kcpgate/drops")
        case.check(drops["no_memory"] > 0, drops)
        load(lab, "p", "mixed", "127.0.0.1", 13001, 4 << 20, 50)
        case.check(srv.stop() == 0, "exit status")
        return "null holds %.1f MB of %.1f" % (seen["null"]["memory"] / 1e6, seen["null"]["memory_share"] / 1e6)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
