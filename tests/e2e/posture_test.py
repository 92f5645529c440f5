#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the gateway keeps for itself, and from others: its binary, its rights, its memory, its sockets, what it leaves."""
import hashlib
import os
import re
import resource
import signal
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import check
from lab import GUARD, ROOT, Lab, eal, gateway_binary, sh, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
CAPS = {"DAC_OVERRIDE": 1, "NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13, "IPC_LOCK": 14, "PERFMON": 38, "BPF": 39}
WIRE = "NET_ADMIN", "NET_RAW", "IPC_LOCK"
SETS = "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"
SOCKETS = "kernel's", '{ name = "sock"; device = "net_kudp0"; }'
PACKET = "a packet socket's", '{ name = "w"; device = "net_af_packet0,iface=g0"; exception = "kernel"; }'
TAP = "with a TAP", '{ name = "w"; device = "net_af_packet0,iface=g0"; exception = "tap"; addresses = ["10.78.0.1/24"]; }'
XDP = "AF_XDP's", '{ name = "w"; device = "net_af_xdp0,iface=g0"; exception = "kernel"; }'


def conf(port, role="server", extra="", listen=None):
    far = 'target = "127.0.0.1:9000"' if role == "server" else 'remote = "10.78.0.1:4000"'
    return (eal() + "ports = ( %s );\n" % port + extra +
            'tunnels = ( { name = "t"; role = "%s"; listen = "%s"; %s; key = "posture"; mode = "fast3"; } );\n' % (
                role, listen or (":4000" if role == "server" else "127.0.0.1:13000"), far))


def link(lab, tap=False):
    """g, whose address 10.78.0.1 is the gateway's or the interface's, and p."""
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    if not tap:
        lab.addr("g", "g0", "10.78.0.1/24")
    lab.addr("p", "p0", "10.78.0.2/24")
    lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def client(lab):
    return lab.gateway("client", "p", conf(SOCKETS[1], "client"))


def load(lab, size=500000):
    p = lab.run("load", "p", sys.executable, LOAD, "mixed", "127.0.0.1", "13000", str(size), "20")
    p.end()
    check(p.p.returncode == 0, p.log())


def threads(gw):
    """(name, what its status says) of each thread."""
    for tid in os.listdir("/proc/%d/task" % gw.p.pid):
        with open("/proc/%d/task/%s/status" % (gw.p.pid, tid)) as f:
            s = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
        yield s["Name"], s


def mask(*names):
    return sum(1 << CAPS[n] for n in names)


def rights(gw, want, uid=0):
    """Every thread has these capabilities and no others, in any set, and no way to new ones."""
    n = 0
    for name, s in threads(gw):
        for which in SETS:
            have = int(s[which], 16)
            check(have & ~want == 0, gw.name, name, which, s[which], "wanted", hex(want))
        check(int(s["CapEff"], 16) == want, gw.name, name, s["CapEff"], "wanted", hex(want))
        check(s["NoNewPrivs"] == "1", name, "NoNewPrivs", s["NoNewPrivs"])
        check(s["Uid"].split() == [str(uid)] * 4 and s["Gid"].split() == [str(uid)] * 4, name, s["Uid"], s["Gid"])
        n += 1
    check(n >= 5, n, "threads")
    return n


# ---- the binary ----

def readelf(*what):
    return sh("readelf", "-W", *what, gateway_binary())


def test_binary():
    """Position independent, relocations read-only, no executable stack; fortified, with guards of stack and of jumps."""
    head, program, dynamic = readelf("-h"), readelf("-l"), readelf("-d")
    check(re.search(r"Type:\s+DYN", head) and "PIE" in dynamic, head, dynamic)
    check("GNU_RELRO" in program, program)
    check("BIND_NOW" in dynamic or re.search(r"FLAGS_1.*NOW", dynamic), dynamic)
    check(re.search(r"GNU_STACK\s.*\sRW\s", program), program)
    check(not re.search(r"LOAD\s.*\sRWE\s", program), program)
    check("TEXTREL" not in dynamic and "RPATH" not in dynamic and "RUNPATH" not in dynamic, dynamic)
    symbols = readelf("--dyn-syms")
    check("__stack_chk_fail" in symbols, "no stack protector")
    fortified = set(re.findall(r"(__\w+_chk)@", symbols)) - {"__stack_chk_fail"}
    check({"__memcpy_chk", "__snprintf_chk"} & fortified and len(fortified) >= 3, fortified)
    code = sh("objdump", "-d", "--no-show-raw-insn", "--disassemble=main", gateway_binary())
    check("endbr64" in code, "no guard of indirect jumps:", code[:400])
    # A stack that grows by more than a page touches each page.
    probes = sh("sh", "-c", "objdump -d --no-show-raw-insn %s | grep -c 'orq *$0x0,(%%rsp)' || true" % gateway_binary())
    check(int(probes) > 0, "no guard against a stack that clashes")
    return "%d fortified calls" % len(fortified)


# ---- rights ----

def test_capabilities_of_ports():
    """Root without a user: what the port needs, in every thread, in every set; traffic as ever."""
    notes = []
    for (name, port), want in ((SOCKETS, ()), (PACKET, WIRE), (TAP, WIRE)):
        with Lab("kF") as lab:
            link(lab, tap=port == TAP[1])
            gw = lab.gateway("server", "g", conf(port))
            cli = client(lab)
            load(lab)
            notes.append("%s: %d threads" % (name, rights(gw, mask(*want))))
            check("capabilities %s" % (", ".join(want) or "none") in gw.log(), gw.log())
            check([p.stop() for p in (cli, gw)] == [0, 0], "exit status")
    return ", ".join(notes)


def test_capabilities_xdp():
    """AF_XDP's: what it takes to find what a killed process has left is gone when it is ready."""
    with Lab("kF") as lab:
        link(lab)
        want = mask("NET_ADMIN", "NET_RAW", "IPC_LOCK", "PERFMON", "BPF")
        gw = lab.gateway("server", "g", conf(XDP[1]))
        rights(gw, want)
        gw.stop(signal.SIGKILL)
        gw = lab.gateway("server2", "g", conf(XDP[1]))
        check("a killed process had left" in gw.log(), gw.log())
        rights(gw, want)
        cli = client(lab)
        load(lab)
        check([p.stop() for p in (cli, gw)] == [0, 0], "exit status")


def test_low_port_and_files():
    """A port below 1024, and a folder of another user's for snmplog, keep the one capability each that they need."""
    with Lab("kF") as lab:
        link(lab)
        folder = os.path.join(lab.dir, "theirs")
        os.mkdir(folder, 0o700)
        os.chown(folder, 65534, 65534)
        extra = 'telemetry = { snmplog = "%s/snmp.log"; snmpperiod = 1; };\n' % folder
        gw = lab.gateway("server", "g", conf(SOCKETS[1], extra=extra, listen=":443"))
        rights(gw, mask("NET_BIND_SERVICE", "DAC_OVERRIDE"))
        said = lab.sh("g", gateway_binary(), "check", "-c", os.path.join(lab.dir, "server.conf"))
        check(re.search(r"^capabilities +DAC_OVERRIDE, NET_BIND_SERVICE$", said, re.M), said)
        wait_until("snmplog", lambda: os.path.exists(folder + "/snmp.log"))
        check(stat.S_IMODE(os.stat(folder + "/snmp.log").st_mode) & 0o007 == 0, "snmplog is everybody's")
        check(gw.stop() == 0, "exit status")


def test_user():
    """Another user, of whom every thread is; its log was made by root; a port goes, comes back, and serves."""
    for name, port, want in (SOCKETS + ((),), PACKET + (WIRE,), TAP + (WIRE,)):
        with Lab("kF") as lab:
            link(lab, tap=port == TAP[1])
            os.chmod(lab.dir, 0o755)
            log = os.path.join(lab.dir, "own.log")
            extra = 'security = { user = "nobody"; };\nlog = { file = "%s"; };\n' % log
            gw = lab.gateway("server", "g", conf(port, extra=extra), ready=False)
            wait_until("ready", lambda: os.path.exists(log) and "ready:" in open(log).read() or gw.p.poll() is not None)
            rights(gw, mask(*want), 65534)
            check(stat.S_IMODE(os.stat(log).st_mode) == 0o640, oct(os.stat(log).st_mode))
            cli = client(lab)
            load(lab)
            if port != SOCKETS[1]:
                sh("ip", "-n", lab.ns("g"), "link", "del", "g0")
                wait_until("gone", lambda: "has gone" in open(log).read())
                lab.veth("g", "g0", "p", "p0")
                if port != TAP[1]:
                    lab.addr("g", "g0", "10.78.0.1/24")
                lab.addr("p", "p0", "10.78.0.2/24")
                load(lab)
            check([p.stop() for p in (cli, gw)] == [0, 0], "exit status", open(log).read())


def test_user_unknown():
    """A user that is not there is told by `check`, and at the start, and nothing is started."""
    with Lab("kF") as lab:
        lab.add_ns("g")
        text = conf(SOCKETS[1], extra='security = { user = "no-such-user"; };\n')
        path = lab.file("u.conf", text.replace("@PREFIX@", "kF"))
        for argv in (["check", "-c", path], ["-c", path]):
            p = lab.run("u%d" % len(argv), "g", gateway_binary(), *argv)
            p.end()
            check(p.p.returncode in (1, 2) and "security.user: found no-such-user" in p.log(), p.log())


# ---- system calls ----

def test_sandbox():
    """Every thread is under the filter, and nothing that is done was refused; `sandbox = false` has none."""
    for port, on in ((SOCKETS[1], True), (PACKET[1], True), (TAP[1], True), (XDP[1], True), (PACKET[1], False)):
        with Lab("kF") as lab:
            link(lab, tap=port == TAP[1])
            gw = lab.gateway("server", "g", conf(port, extra="" if on else "security = { sandbox = false; };\n"))
            check("sandbox %s" % ("on" if on else "off") in gw.log(), gw.log())
            for name, s in threads(gw):
                check(s["Seccomp"].strip() == ("2" if on else "0"), name, s["Seccomp"])
            cli = client(lab)
            load(lab)
            gw.p.send_signal(signal.SIGUSR1)
            gw.wait_for("KCP SNMP", 60)
            lab.telemetry(gw, "/kcpgate/sessions")
            said = lab.telemetry(gw, "/kcpgate/security")
            check(said["sandbox"] == ("on" if on else "off") and said["calls_refused"] == 0 and said["user"] == 0, said)
            check(said["key_bytes"] > 0 and (said["key_bytes_not_locked"] == 0 or not may_lock()), said)
            check("capabilities %s, sandbox" % said["capabilities"] in gw.log(), said)
            check([p.stop() for p in (cli, gw)] == [0, 0], "exit status")
            check("system call refused" not in gw.log() + cli.log(), gw.log(), cli.log())


# ---- memory ----

def test_no_core():
    """Nobody of its user looks into its memory, and it leaves no core; with core_dumps both are as usual."""
    for dumps in False, True:
        with Lab("kF") as lab:
            lab.add_ns("g")
            os.chmod(lab.dir, 0o755)
            extra = 'security = { user = "nobody"; core_dumps = %s; };\n' % ("true" if dumps else "false")
            gw = lab.gateway("server", "g", conf(SOCKETS[1], extra=extra))
            # Without sandboxes of ours: as the gateway's own user, without any capability.
            look = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "dd", "bs=1", "count=0",
                                   "if=/proc/%d/mem" % gw.p.pid], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            check((look.returncode == 0) == dumps, "core_dumps", dumps, look.stdout)
            with open("/proc/%d/limits" % gw.p.pid) as f:
                core = re.search(r"Max core file size\s+(\S+)", f.read()).group(1)
            check(dumps or core == "0", core)
            check(gw.stop() == 0, "exit status")


def may_lock():
    """Whether the machine lets us lock what a gateway's keys take: a container may have next to nothing."""
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    return most == resource.RLIM_INFINITY or most >= 4 << 20


def mappings(gw):
    """(readable, flags, bytes) of each mapping that a core file could have."""
    with open("/proc/%d/smaps" % gw.p.pid) as f:
        parts = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) .*?^VmFlags: ([^\n]*)", f.read(), re.M | re.S)
    with open("/proc/%d/mem" % gw.p.pid, "rb", buffering=0) as mem:
        for begin, end, may, flags in parts:
            if may[0] != "r":
                continue
            at, end = int(begin, 16), int(end, 16)
            try:
                mem.seek(at)
                yield flags.split(), mem.read(end - at)
            except (OSError, OverflowError):
                continue  # the kernel's own


def test_keys():
    """The passphrase is nowhere, and a key only in memory that is in no core file (dd) and not swapped (lo)."""
    words = "correct horse battery posture"
    want = hashlib.pbkdf2_hmac("sha1", words.encode(), b"kcp-go", 4096, 32)[:16]
    notes = []
    for cipher in "aes", "aes-128-gcm", "salsa20", "blowfish", "twofish":
        with Lab("kF") as lab:
            lab.add_ns("g")
            text = conf(SOCKETS[1]).replace('key = "posture"', 'key = "%s"; crypt = "%s"; qpp = true' % (words, cipher))
            gw = lab.gateway("server", "g", text)
            places = 0
            for flags, data in mappings(gw):
                check(words.encode() not in data, cipher, "the passphrase is in a mapping", flags)
                if want in data:
                    check("dd" in flags and ("lo" in flags or not may_lock()), cipher, "the key is in a mapping", flags)
                    places += 1
            check("keys locked" in gw.log() or not may_lock(), gw.log())
            check(places or cipher == "salsa20", cipher, "the key was not found: the test sees nothing")
            notes.append("%s %d" % (cipher, places))
            check(gw.stop() == 0, "exit status")
    return "mappings with the key: " + ", ".join(notes)


# ---- sockets ----

def test_sockets():
    """Telemetry's socket is 0600 in a folder of its user's; another user's connection is refused."""
    with Lab("kF") as lab:
        lab.add_ns("g")
        gw = lab.gateway("server", "g", conf(SOCKETS[1]))
        path = "/var/run/dpdk/%s/dpdk_telemetry.v2" % gw.prefix
        s = os.stat(path)
        check(stat.S_IMODE(s.st_mode) == 0o600 and s.st_uid == 0, oct(s.st_mode), s.st_uid)
        check(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) & 0o077 == 0, "the folder")
        try_it = ("import socket,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
                  "try: s.connect(sys.argv[1])\nexcept PermissionError: sys.exit(7)")
        other = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c",
                                try_it, path], timeout=GUARD)
        check(other.returncode == 7, other.returncode)
        check(lab.telemetry(gw, "/kcpgate/drops") is not None, "ours")
        check(gw.stop() == 0, "exit status")


# ---- what is left ----

def in_ns(lab, *argv):
    return lab.sh("g", *argv, check=False)


def left(lab):
    """All that a gateway could have left, by name, as text."""
    volatile = re.compile(r"nf_conntrack_count|tcp_(mem|fastopen_key)|random|stable_secret")
    inode = os.stat("/run/netns/" + lab.ns("g")).st_ino
    links = in_ns(lab, "ip", "-o", "-d", "link")
    return {
        "links": sorted(re.findall(r"^\d+: ([^:@]+)", links, re.M)),
        "flags": sorted(re.findall(r"^\d+: [^:]+: <[^>]*>", links, re.M)),
        "programs": sorted(re.findall(r"xdp\S*|prog/\S+", links)),
        "addresses": re.findall(r"inet6? \S+", in_ns(lab, "ip", "-o", "addr")),
        "routes": sorted(in_ns(lab, "ip", "route", "show", "table", "all").splitlines() +
                         in_ns(lab, "ip", "-6", "route", "show", "table", "all").splitlines()),
        "rules": in_ns(lab, "ip", "rule") + in_ns(lab, "ip", "-6", "rule") + in_ns(lab, "nft", "list", "ruleset"),
        "switches": [k for k in in_ns(lab, "sysctl", "-a", "-r", "^net").splitlines() if not volatile.search(k)],
        "sockets": sorted(re.findall(r"^(\S+)\s+\S+\s+\d+\s+\d+\s+(\S+)", in_ns(lab, "ss", "-Hlnutwx"), re.M)),
        "folders": sorted(f for f in os.listdir("/var/run/dpdk") if f.startswith(lab.tag) or f == "kcpgate-lo-%d" % inode),
        "files": sorted(f for f in os.listdir(lab.dir) if not f.endswith((".log", ".conf"))),
        "pinned": sorted(os.listdir("/sys/fs/bpf")) if os.path.isdir("/sys/fs/bpf") else [],
    }


def same(what, before, lab):
    def differs():
        return {k: (before[k], v) for k, v in left(lab).items() if v != before[k]}

    try:  # the kernel takes its time over a removed interface's routes
        wait_until("nothing left", lambda: not differs(), 10)
    except Exception:
        raise AssertionError("%s: left behind (before, after): %s" % (what, differs()))


LO = "lo's", '{ name = "w"; device = "net_af_packet0,iface=lo"; exception = "kernel"; local_peers = true; }'


def memif(lab):
    """Which waits for another program at a socket's file."""
    return "memif's", ('{ name = "w"; device = "net_memif0,role=server,socket=%s/memif,socket-abstract=no"; exception = "tap"; '
                       'addresses = ["10.78.0.1/24"]; }' % lab.dir)


def nothing_left(*ports):
    for port in ports:
        with Lab("kF") as lab:
            name, port = port(lab) if callable(port) else port
            link(lab, tap="tap" in port)
            before = left(lab)
            runs, unix = conf(port), conf(port, "client", listen=os.path.join(lab.dir, "in.sock"))
            lab.gateway("stopped", "g", runs).stop()
            same(name + " stopped", before, lab)
            fails = lab.gateway("fails", "g", conf(port, "client", listen="127.0.0.1:9000"), ready=False)
            check(fails.end() == 1, fails.log())
            same(name + " start that failed", before, lab)
            for text in runs, unix:
                lab.gateway("killed", "g", text).stop(signal.SIGKILL)
                check(text != unix or left(lab)["files"] != before["files"], name, "the test sees nothing")
                check(lab.gateway("next", "g", text).stop() == 0, "exit status")
                same(name + " killed, and started again", before, lab)


def test_nothing_left():
    """After a stop, a start that fails, and the next start after a kill, all is as it was: nothing of ours is there."""
    nothing_left(SOCKETS, LO)


def test_nothing_left_of_interfaces():
    """Nor with interfaces that are shared, made, or have a program."""
    nothing_left(PACKET, TAP, XDP, memif)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
