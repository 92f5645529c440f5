# SPDX-License-Identifier: MIT
"""Network namespaces, links and processes for the tests that need a network, and for the demo.

Everything is made under a name of its own and taken down in reverse, also after a failure, Ctrl-C or SIGTERM.
Processes are ended by the pid under which they were started, and by nothing else.
"""
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# Seconds. What has not come by then never will, on any machine: a guard against hanging, and no statement about time.
GUARD = 120
LOAD_GUARD = 300  # for a load to end, which has a guard of its own


class LabError(Exception):
    pass


def sh(*argv, check=True, timeout=GUARD, **kw):
    """Runs a command to its end; its output as text."""
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, **kw)
    if check and p.returncode:
        raise LabError("%s: exit %d: %s" % (" ".join(argv), p.returncode, p.stdout.strip()))
    return p.stdout


class Proc:
    """A process in a namespace, with its output in a file."""

    def __init__(self, lab, name, ns, argv, env=None, stdin=subprocess.DEVNULL):
        self.name, self.lab = name, lab
        self.path = os.path.join(lab.dir, name + ".log")
        self.out = open(self.path, "wb")
        if ns:
            argv = ["ip", "netns", "exec", lab.ns(ns)] + argv
        self.argv = argv
        self.p = subprocess.Popen(argv, stdout=self.out, stderr=subprocess.STDOUT, stdin=stdin,
                                  env=dict(os.environ, **(env or {})), start_new_session=True)

    def log(self):
        with open(self.path, errors="replace") as f:
            return f.read()

    def wait_for(self, text, timeout=GUARD):
        """Waits until the output contains text."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if text in self.log():
                return
            if self.p.poll() is not None:
                raise LabError("%s ended with %s:\n%s" % (self.name, self.p.returncode, self.log()[-4000:]))
            time.sleep(0.02)
        raise LabError("%s: no %r within %d s:\n%s" % (self.name, text, timeout, self.log()[-4000:]))

    def alive(self):
        return self.p.poll() is None

    def end(self, timeout=LOAD_GUARD):
        """Waits until it ends of itself; its exit status."""
        try:
            return self.p.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError("%s did not end within %d s:\n%s" % (self.name, timeout, self.log()[-4000:]))

    def stop(self, sig=signal.SIGTERM, timeout=GUARD):
        """Ends it; its exit status. Killed when it does not end in time, which is an error."""
        if self.p.poll() is None:
            self.p.send_signal(sig)
            try:
                self.p.wait(timeout)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
                raise LabError("%s did not end within %d s of signal %d" % (self.name, timeout, sig))
        return self.p.returncode

    def cpu_seconds(self):
        """Time on a CPU so far, by the scheduler's own count: the clock tick's is too coarse for short naps."""
        total = 0
        for task in os.listdir("/proc/%d/task" % self.p.pid):
            with open("/proc/%d/task/%s/schedstat" % (self.p.pid, task)) as f:
                total += int(f.read().split()[0])
        return total / 1e9


class Lab:
    _n = 0
    _open = []

    def __init__(self, tag="kg"):
        Lab._n += 1
        letter, turn = chr(ord("a") + (Lab._n - 1) % 26), (Lab._n - 1) // 26
        self.tag = "%s%d%s%s" % (tag, os.getpid() % 100000, letter, turn or "")
        self.dir = tempfile.mkdtemp(prefix="kcpgate-lab-")
        self.namespaces, self.procs, self.undo = [], [], []
        self.keep = False
        self.lock, self.closing = threading.RLock(), False
        atexit.register(self.close)
        Lab._open.append(self)
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, self._on_signal)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        if kind and kind is not SystemExit:
            self.keep = True
            for p in self.procs:
                sys.stderr.write("---- %s (%s)\n%s\n" % (p.name, " ".join(p.argv), p.log()[-3000:]))
        self.close()

    def _on_signal(self, sig, frame):
        for lab in list(Lab._open):  # a test may have several
            try:
                lab.close()
            except LabError as e:
                sys.stderr.write("%s\n" % e)
        os._exit(128 + sig)

    def close(self):
        with self.lock:  # a thread of the test may be about to start one more
            again, self.closing = self.closing, True
        refused = [] if again else self.refused()
        for p in reversed(self.procs):
            if p.p.poll() is None:
                p.p.terminate()
        end = time.monotonic() + 30
        for p in reversed(self.procs):
            while p.p.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            if p.p.poll() is None:
                p.p.kill()
                p.p.wait()
            p.out.close()
        for argv in reversed(self.undo):
            subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.procs, self.undo, self.namespaces = [], [], []
        Lab._open = [lab for lab in Lab._open if lab is not self]
        if os.path.isdir(self.dir) and not os.environ.get("KCPGATE_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        if refused:
            raise LabError("\n".join(refused))

    def refused(self):
        """What the gateways' sandboxes refused: whatever a test does, nothing is."""
        return [line for p in self.procs for line in p.log().splitlines() if "system call refused" in line]

    # ---- network ----

    def ns(self, name):
        return self.tag + name

    def add_ns(self, *names):
        for name in names:
            full = self.ns(name)
            sh("ip", "netns", "add", full)
            self.undo.append(["ip", "netns", "del", full])
            self.namespaces.append(name)
            self.ip(name, "link", "set", "lo", "up")
            self.sysctl(name, "net.ipv6.conf.all.accept_dad", 0)
            self.sysctl(name, "net.ipv6.conf.default.accept_dad", 0)

    def sysctl(self, ns, key, value):
        sh("ip", "netns", "exec", self.ns(ns), "sh", "-c",
           "echo %s > /proc/sys/%s" % (value, key.replace(".", "/")), check=False)

    def ip(self, ns, *argv):
        return sh("ip", "-n", self.ns(ns), *argv)

    def sh(self, ns, *argv, check=True, timeout=GUARD):
        return sh("ip", "netns", "exec", self.ns(ns), *argv, check=check, timeout=timeout)

    def veth(self, ns_a, if_a, ns_b, if_b, offload=False):
        """A link between two namespaces. Checksum offload is off: DPDK reads what the kernel wrote."""
        sh("ip", "link", "add", if_a, "netns", self.ns(ns_a), "type", "veth", "peer", "name", if_b, "netns",
           self.ns(ns_b))
        for ns, dev in ((ns_a, if_a), (ns_b, if_b)):
            if not offload:
                self.sh(ns, "ethtool", "-K", dev, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off",
                        check=False)
            self.ip(ns, "link", "set", dev, "up")

    def addr(self, ns, dev, *addrs):
        for a in addrs:
            self.ip(ns, "addr", "add", a, "dev", dev, *(["nodad"] if ":" in a else []))

    def lose(self, ns, every):
        """A router's namespace drops one forwarded UDP packet in `every`, evenly; so its forwarding must be on."""
        self.sh(ns, "nft", "add table inet lab { chain fw { type filter hook forward priority 0; "
                "meta l4proto udp numgen inc mod %d 0 counter drop; }; }" % every)

    def lost(self, ns):
        """How many it has dropped."""
        return int(self.sh(ns, "nft", "list", "table", "inet", "lab").split("counter packets ")[1].split()[0])

    # ---- processes ----

    def run(self, name, ns, *argv, env=None, stdin=subprocess.DEVNULL):
        with self.lock:
            if self.closing:
                raise LabError("the lab is closing")
            p = Proc(self, name, ns, list(argv), env, stdin)
            self.procs.append(p)
        return p

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def gateway(self, name, ns, conf, ready=True):
        """Starts kcpgate with the given configuration text; its telemetry prefix is the lab's and the name's."""
        prefix = "%s-%s" % (self.tag, name)
        path = self.file(name + ".conf", conf.replace("@PREFIX@", prefix))
        p = self.run(name, ns, gateway_binary(), "-c", path)
        p.prefix = prefix
        if ready:
            p.wait_for("ready:")
        return p

    def captured(self, *taps):
        """Waits until each tcpdump (of --immediate-mode) sleeps: it has read all that came, however long it had to wait."""
        def sleeps(tap):
            for _ in range(5):
                time.sleep(0.02)
                with open("/proc/%d/stat" % tap.p.pid) as f:
                    if f.read().rsplit(")", 1)[1].split()[0] != "S":
                        return False
            return True

        time.sleep(0.3)  # for what is still on its way to them
        for tap in taps:
            wait_until("%s to have read what came" % tap.name, lambda: sleeps(tap))

    def telemetry(self, gw, command):
        """The value of a command's answer; of sessions and workers, the list of their rows."""
        v = telemetry(gw.prefix, command)
        if not command.startswith(("/kcpgate/sessions", "/kcpgate/workers")):
            return v
        rows = [row for row in v.values() if isinstance(row, dict)]
        while "next" in v:  # a page at a time
            v = telemetry(gw.prefix, "%s%s,%s" % (command, "" if "," in command else ",", v["next"]))
            rows += [row for row in v.values() if isinstance(row, dict)]
        return rows


def gateway_binary():
    path = os.environ.get("KCPGATE", os.path.join(ROOT, "build", "app", "kcpgate"))
    if not os.access(path, os.X_OK):
        raise LabError("%s: not built; run scripts/dev build" % path)
    return path


def telemetry(prefix, command, timeout=GUARD):
    """One command of DPDK's telemetry socket; the value of its answer."""
    path = "/var/run/dpdk/%s/dpdk_telemetry.v2" % prefix
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(timeout)
    try:
        s.connect(path)
        s.recv(16384)
        s.send(command.encode())
        return json.loads(s.recv(65536).decode())[command.split(",")[0]]
    finally:
        s.close()


def eal(workers=1, memory=0, extra=""):
    """The eal group for a lab: lcores float over the CPUs, no hugepages."""
    cpus = "@(%s)" % ",".join(str(c) for c in sorted(os.sched_getaffinity(0)))
    controls = int(os.environ.get("KCPGATE_CONTROLS", "1"))  # any script of these under several
    lcores = ",".join("(%d)%s" % (i, cpus) for i in range(workers + controls))
    extra += "control = %d; " % controls if controls > 1 else ""
    mem = "memory = %d; " % memory if memory else ""
    return 'eal = { lcores = "%s"; hugepages = false; file_prefix = "@PREFIX@"; %s%s };\n' % (lcores, mem, extra)


def wait_until(what, fn, timeout=GUARD):
    end = time.monotonic() + timeout
    while True:
        v = fn()
        if v:
            return v
        if time.monotonic() > end:
            raise LabError("not within %d s: %s" % (timeout, what))
        time.sleep(0.05)
