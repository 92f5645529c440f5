#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A machine is looked at and prepared: kcpgate doctor on this one, scripts/host on one made up in a folder.

In the folder files are files, but for those by which the kernel is asked to let go of a card and to take it: they are
FIFOs, behind which a thread does what the kernel would.
"""
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import check
from lab import GUARD, ROOT, Lab, gateway_binary, wait_until

HOST = os.path.join(ROOT, "scripts", "host")
UNIT = "etc/systemd/system/kcpgate-host.service"


# ---- kcpgate doctor

def conf(path, device, exception, hugepages="false", memory=""):
    with open(path, "w") as f:
        f.write("""eal = { lcores = "0@0,1@0"; hugepages = %s; file_prefix = "kcpgate-doctor-%d"; %s };
ports = ( { name = "wan0"; device = "%s"; exception = "%s"; } );
tunnels = ( { name = "t"; role = "server"; listen = ":4000"; target = "127.0.0.1:9"; key = "k"; crypt = "aes"; } );
""" % (hugepages, os.getpid(), memory, device, exception))
    os.chmod(path, 0o600)
    return path


def doctor(*argv, ns=None):
    cmd = [gateway_binary(), "doctor", *argv]
    p = subprocess.run(["ip", "netns", "exec", ns, *cmd] if ns else cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, timeout=GUARD)
    return p.returncode, p.stdout, p.stderr


def test_doctor_good():
    """A file for which this machine has everything: 0; the same file is started then, and told apart."""
    with Lab("dr") as lab:
        lab.add_ns("g", "p")
        lab.veth("g", "g0", "p", "p0")
        lab.addr("g", "g0", "10.77.0.1/24")
        path = conf(os.path.join(lab.dir, "good.conf"), "net_af_packet0,iface=g0", "kernel")
        status, out, err = doctor("-c", path, ns=lab.ns("g"))
        check(status == 0 and not err, status, out, err)
        for want in ("cpu\n", "cipher aes: ", "FEC: ", "MB available in ordinary pages", "interface g0, up, MTU 1500",
                     "descriptors: ", "nobody else's", ": 0 missing [!!]"):
            check(want in out, "no", want, out)
        lab.run("gw", "g", gateway_binary(), "-c", path).wait_for("ready:")
        status, out, err = doctor("-c", path, ns=lab.ns("g"))
        check(status == 0 and "a process runs with it" in out, status, out, err)


def test_limits_raised():
    """Descriptors and locked memory, which vfio takes, are raised to what the process may have: doctor looks at that."""
    with Lab("lr") as lab:
        lab.add_ns("g", "p")
        lab.veth("g", "g0", "p", "p0")
        lab.addr("g", "g0", "10.77.0.1/24")
        path = conf(os.path.join(lab.dir, "good.conf"), "net_af_packet0,iface=g0", "kernel")
        gw = lab.run("gw", "g", "prlimit", "--memlock=65536:4194304", "--nofile=256:8192", gateway_binary(), "-c", path)
        gw.wait_for("ready:")
        with open("/proc/%d/limits" % gw.p.pid) as f:
            limits = f.read()
        for name, most in ("Max open files", "8192"), ("Max locked memory", "4194304"):
            line = [line for line in limits.split("\n") if line.startswith(name)][0]
            check(line[len(name):].split()[:2] == [most, most], line)


def test_doctor_missing():
    """What is not there is named, why, and how to mend it: 1, by both forms of output; a wrong file is 2."""
    with tempfile.TemporaryDirectory() as d:
        path = conf(os.path.join(d, "card.conf"), "0000:ff:1f.7", "tap", hugepages="true", memory="memory = 900000;")
        status, out, _ = doctor("-c", path)
        check(status == 1, status, out)
        for want in ("no PCI device 0000:ff:1f.7", "the file needs 450000 of 2 MB", "scripts/host -c " + path):
            check(want in out, "no", want, out)
        for line in out.split("\n"):
            check(not line.startswith("  [!!]") or out[out.index(line) + len(line):].startswith("\n       why:"), line, out)
        for argv in ("--json", "-c", path), ("-c", path, "--json"):
            status, out, _ = doctor(*argv)
            found = json.loads(out)
            check(status == 1 and found["good"] is False, status, out)
            check(found["needs"]["devices"] == ["0000:ff:1f.7"] and sum(found["needs"]["pages"].values()) == 450000, out)
        check(doctor("-c", os.path.join(d, "none.conf"))[0] == 2, "a file that is not there")
        check(doctor("-c", path, "more")[0] == 2, "an argument too many")


def test_doctor_machine():
    """Without a file, and with a command line of kcptun's."""
    status, out, err = doctor()
    check(status == 0 and "vfio-pci: " in out and "hugepages of 2 MB" in out and not err, status, out, err)
    status, out, err = doctor("client", "-r", "127.0.0.1:4000", "-l", "127.0.0.1:12948", "--iface", "lo", "--key", "k")
    check(status == 0 and "interface lo, up" in out, status, out, err)
    check(doctor("client", "-r", "nothing")[0] == 2, "a wrong command line")


# ---- scripts/host

class Machine:
    """sysfs below a folder, `ip`, modprobe and systemctl that only remember, and the kernel's part."""

    def __init__(self, d):
        self.root, self.native = os.path.join(d, "root"), {}
        self.log, self.links = os.path.join(d, "log"), {}
        self.pipes = {}
        self.bin = os.path.join(d, "bin")
        os.mkdir(self.bin)
        self.tool("modprobe", 'echo "modprobe $1" >>%s; mkdir -p "%s/wanted"; touch "%s/wanted/$1"' %
                  (self.log, self.root, self.root))
        self.tool("systemctl", 'echo "systemctl $*" >>%s' % self.log)
        self.put("run/systemd/system/x", "")
        self.put("proc/net/if_inet6", "")
        self.put("proc/net/tcp", "  sl  local_address rem_address   st\n")
        for name in "igb", "virtio-pci", "vfio-pci", "pcieport":
            self.driver(name)
        self.fifo("sys/bus/pci/drivers_probe", None)
        self.pages(0, 0)
        self.addr, self.routes, self.tables = {}, [], []
        self.ip, self.refuse, self.let_go = None, None, []  # what it is instead; addresses that were unbound
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.kernel, daemon=True)
        self.thread.start()

    def path(self, name):
        return os.path.join(self.root, name)

    def put(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w") as f:
            f.write(text)

    def get(self, name):
        with open(self.path(name)) as f:
            return f.read().strip()

    def tool(self, name, text):
        with open(os.path.join(self.bin, name), "w") as f:
            f.write("#!/bin/sh\n%s\n" % text)
        os.chmod(f.name, 0o755)

    def fifo(self, name, driver):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        os.mkfifo(self.path(name))
        self.pipes[os.open(self.path(name), os.O_RDWR | os.O_NONBLOCK)] = driver

    def driver(self, name):
        self.fifo("sys/bus/pci/drivers/%s/unbind" % name, name)

    def pages(self, total, free, where="sys/kernel/mm/hugepages"):
        self.put(where + "/hugepages-2048kB/nr_hugepages", "%d\n" % total)
        self.put(where + "/hugepages-2048kB/free_hugepages", "%d\n" % free)

    def total(self, where="sys/kernel/mm/hugepages"):
        return int(self.get(where + "/hugepages-2048kB/nr_hugepages"))

    def card(self, addr, driver, ifname=None, group=None, kind="0x020000"):
        dev = "sys/bus/pci/devices/" + addr
        self.put(dev + "/class", kind + "\n")
        self.put(dev + "/driver_override", "(null)\n")
        self.native[addr] = driver
        if ifname:
            self.put("%s/%snet/%s/x" % (dev, "virtio0/" if driver == "virtio-pci" else "", ifname), "")
            self.put("sys/class/net/%s/x" % ifname, "")
        if group is not None:
            os.symlink("../../../../kernel/iommu_groups/%d" % group, self.path(dev + "/iommu_group"))
            self.put("sys/kernel/iommu_groups/%d/devices/%s" % (group, addr), "")
        if driver:
            self.link(addr, driver)

    def link(self, addr, driver):
        os.symlink("../../drivers/" + driver, self.path("sys/bus/pci/devices/%s/driver" % addr))

    def bound(self, addr):
        try:
            return os.path.basename(os.readlink(self.path("sys/bus/pci/devices/%s/driver" % addr)))
        except OSError:
            return None

    def kernel(self):
        """Letting go before taking, as they were written."""
        while not self.stop.is_set():
            ready = select.select(list(self.pipes), [], [], 0.1)[0]
            ready = sorted(select.select(ready, [], [], 0)[0], key=lambda fd: self.pipes[fd] is None)
            for fd in ready:
                for addr in os.read(fd, 4096).decode().split():
                    if self.pipes[fd]:
                        self.let_go.append(addr)
                        if self.bound(addr) == self.pipes[fd]:
                            os.unlink(self.path("sys/bus/pci/devices/%s/driver" % addr))
                        continue
                    if addr == self.refuse and self.get("sys/bus/pci/devices/%s/driver_override" % addr):
                        continue
                    want = self.get("sys/bus/pci/devices/%s/driver_override" % addr)
                    want = want if want not in ("", "(null)") else self.native[addr]
                    if want and not self.bound(addr) and os.path.exists(self.path("sys/bus/pci/drivers/" + want)):
                        self.link(addr, want)

    def host(self, *argv, env=None):
        """Exit status and what was printed."""
        for name, value in (("4", self.routes), ("all", self.routes + self.tables),
                            ("addr", [{"ifname": i, "addr_info": a} for i, a in self.addr.items()])):
            with open(os.path.join(self.bin, name + ".json"), "w") as f:
                json.dump(value, f)
        self.tool("ip", self.ip or 'case "$*" in *addr*) cat %s/addr.json ;; *-4*"table all"*) cat %s/all.json ;; '
                  '*-4*) cat %s/4.json ;; *) echo "[]" ;; esac' % (self.bin, self.bin, self.bin))
        e = {k: v for k, v in os.environ.items() if k != "SSH_CONNECTION"}
        e.update(HOST_ROOT=self.root, KCPGATE=gateway_binary(), PATH=self.bin + ":" + os.environ["PATH"])
        e.update(env or {})
        p = subprocess.run([HOST, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=GUARD, env=e)
        return p.returncode, p.stdout

    def good(self, *argv, **kw):
        status, out = self.host(*argv, **kw)
        check(status == 0, argv, status, out)
        return out

    def bad(self, want, *argv, **kw):
        """Refused in one line that says so, and nothing done."""
        before = self.state()
        status, out = self.host(*argv, **kw)
        check(status == 1 and want in out, argv, status, out)
        check(out.startswith("scripts/host: ") and out.count("\n") == 1, out)
        check(self.state() == before, "something was done", out)

    def state(self):
        """All files and links, but for the FIFOs' insides."""
        found = {}
        for folder, dirs, files in os.walk(self.root):
            for name in files + dirs:
                p = os.path.join(folder, name)
                found[p] = os.readlink(p) if os.path.islink(p) else open(p).read() if name in files and \
                    os.path.isfile(p) else None
        return found

    def at_boot(self):
        """The files below /etc."""
        return [os.path.join(folder, name) for folder, _, files in os.walk(self.path("etc")) for name in files]

    def said(self):
        try:
            with open(self.log) as f:
                return f.read()
        except OSError:
            return ""


@contextlib.contextmanager
def machine():
    d = tempfile.mkdtemp(prefix="kcpgate-host-")
    m = Machine(d)
    try:
        yield m
    finally:
        m.stop.set()
        m.thread.join()
        for fd in m.pipes:
            os.close(fd)
        shutil.rmtree(d)


CARD = "0000:03:00.0"


def test_there_and_back():
    """Bound, reserved and written down; a second time nothing is done; undo leaves the machine as it was."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        m.pages(20, 5)
        begin = m.state()
        out = m.good("03:00.0", "--pages", "183")
        check(m.bound(CARD) == "vfio-pci" and m.total() == 20 + 183 - 5, m.bound(CARD), m.total(), out)
        check(m.get("etc/modules-load.d/kcpgate.conf") == "vfio-pci", out)
        check("systemctl enable kcpgate-host.service" in m.said() and "modprobe" not in m.said(), m.said())
        after = m.state()
        check("nothing to do" in m.good(CARD, "--pages", "183"), "it was done again")
        m.pages(198, 0)  # the gateway runs, and has them all
        check("nothing to do" in m.good(CARD, "--pages", "183") and m.total() == 198, m.total())
        m.pages(198, 5)
        m.put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "5\n")
        check(m.state() == after, "changed")
        show = m.good("show")
        check("0000:03:00.0 vfio-pci (ens3), IOMMU group 4; by this script, before: igb" in show, show)
        m.good("undo")
        check(m.bound(CARD) == "igb" and m.total() == 20, m.bound(CARD), m.total())
        end = {k: v for k, v in m.state().items() if not k.startswith(m.path("etc"))}
        end[m.path("sys/bus/pci/devices/%s/driver_override" % CARD)] = "(null)\n"
        check(end == begin, set(end.items()) ^ set(begin.items()))
        check(not os.path.exists(m.path(UNIT)) and not os.path.exists(m.path("etc/modules-load.d/kcpgate.conf")), "left")
        check("nothing to undo" in m.good("undo"), "undone twice")


def test_at_boot():
    """What the unit's commands do to a machine that has just started is what the script did."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        m.card("0000:04:00.0", None, group=5)
        m.good(CARD, "04:00.0", "--pages", "100")
        lines = [line[len("ExecStart=-"):] for line in m.get(UNIT).split("\n") if line.startswith("ExecStart=")]
        check(len(lines) == 3 and m.bound("0000:04:00.0") == "vfio-pci", m.get(UNIT))
        if shutil.which("systemd-analyze"):
            wrong = subprocess.run(["systemd-analyze", "verify", m.path(UNIT)], stderr=subprocess.PIPE, text=True,
                                   timeout=GUARD).stderr
            check("kcpgate-host" not in wrong, wrong)
        for addr, driver in (CARD, "igb"), ("0000:04:00.0", None):  # the boot: as if nothing had been done
            os.unlink(m.path("sys/bus/pci/devices/%s/driver" % addr))
            m.put("sys/bus/pci/devices/%s/driver_override" % addr, "(null)\n")
            if driver:
                m.link(addr, driver)
        m.pages(0, 0)
        for line in lines:
            check("/sys/" in line and m.root not in line, line)
            subprocess.run(line.replace("/sys/", m.root + "/sys/"), shell=True, check=True, timeout=GUARD)
        drivers_are(lambda: m.bound(CARD) == m.bound("0000:04:00.0") == "vfio-pci")
        check(m.total() == 100, m.total())
        gone = len(m.let_go)  # again, as by systemctl restart: a gateway that has the card is not waited for
        for line in lines:
            subprocess.run(line.replace("/sys/", m.root + "/sys/"), shell=True, check=True, timeout=GUARD)
        m.good("undo", "04:00.0")  # what it asks of the kernel comes behind all that
        check(m.let_go[gone:] == ["0000:04:00.0"], m.let_go)
        m.good("undo")
        check(m.bound(CARD) == "igb" and m.bound("0000:04:00.0") is None, m.bound(CARD), m.bound("0000:04:00.0"))


def drivers_are(ok):
    wait_until("the drivers", ok, GUARD)


def test_dry():
    """-n prints what would be done, and does nothing of it; run by a shell it does the same."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        m.addr = {"ens3": [{"local": "192.0.2.7", "prefixlen": 24, "scope": "global"}]}
        before = m.state()
        out = m.good("-n", CARD, "--pages", "100")
        check(m.state() == before and not m.said(), "something was done", m.said())
        check("ens3 goes away, and with it 192.0.2.7/24" in out, out)
        script = "".join(line + "\n" for line in out.split("\n") if "goes away" not in line)
        subprocess.run(["sh", "-e", "-c", script], check=True, timeout=GUARD,
                       env=dict(os.environ, PATH=m.bin + ":" + os.environ["PATH"]))
        drivers_are(lambda: m.bound(CARD) == "vfio-pci")
        check(m.total() == 100 and "nothing to do" in m.good(CARD, "--pages", "100"), m.total())
        before = m.state()
        m.good("undo", "-n")
        check(m.state() == before, "undone")


def test_file():
    """Cards and pages by a file, of which two nodes' pages are asked of each; two cards come and one goes back."""
    with machine() as m:
        m.card("0000:ff:1f.6", "igb", "ens3", group=4)
        m.card("0000:ff:1f.7", "virtio-pci", "ens4", group=5)
        path = conf(os.path.join(m.bin, "two.conf"), "ff:1f.6", "tap", hugepages="true", memory="memory = 400;")
        m.good("-c", path)
        check(m.bound("0000:ff:1f.6") == "vfio-pci" and m.total() == 200, m.bound("0000:ff:1f.6"), m.total())
        m.good("0000:ff:1f.7")
        check(m.bound("0000:ff:1f.7") == "vfio-pci", m.get(UNIT))
        m.good("undo", "ff:1f.6")
        check(m.bound("0000:ff:1f.6") == "igb" and m.bound("0000:ff:1f.7") == "vfio-pci" and m.total() == 200, m.get(UNIT))
        check("Device=0000:ff:1f.7 vfio-pci virtio-pci" in m.get(UNIT) and "ff:1f.6" not in m.get(UNIT), m.get(UNIT))
        with open(path, "a") as f:
            f.write("nonsense")
        m.bad("syntax error", "-c", path)


def test_pages_of_nodes():
    """On a machine with two nodes each has its own; a page size that is not there is named."""
    with machine() as m:
        m.put("sys/devices/system/node/has_memory", "0-1\n")
        for node in "0", "1":
            m.pages(8, 8, "sys/devices/system/node/node%s/hugepages" % node)
        m.good("--pages", "4", "--pages", "50@1")
        total = [m.total("sys/devices/system/node/node%d/hugepages" % n) for n in (0, 1)]
        check(total == [8, 50], total)
        m.put("sys/devices/system/node/node1/hugepages/hugepages-1048576kB/free_hugepages", "2\n")
        check("nothing to do" in m.good("--pages", "1024@1"), "pages of 1 GB serve too")
        m.bad("no such NUMA node", "--pages", "4@2")
        m.bad("--pages: found x; allowed: N, or N@NODE", "--pages", "x")
        m.good("undo")
        check([m.total("sys/devices/system/node/node%d/hugepages" % n) for n in (0, 1)] == [8, 8], "not put back")


def test_refused():
    """What would cut the operator off, or cannot work, is refused in one line with the way out."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        m.routes = [{"dst": "default", "dev": "ens3"}]
        m.bad("carries the default route (ens3)", CARD)
        m.routes = [{"dst": "default", "nexthops": [{"dev": "br0.7"}]}]
        m.put("sys/class/net/ens3/upper_br0/x", "")
        m.put("sys/class/net/br0/upper_br0.7/x", "")
        m.bad("carries the default route (br0.7)", CARD)
        m.routes, m.addr = [], {"br0": [{"local": "10.1.2.3", "prefixlen": 8}]}
        m.bad("carries an SSH connection (br0)", CARD, env={"SSH_CONNECTION": "10.9.9.9 5555 10.1.2.3 22"})
        m.put("proc/net/tcp", "  sl  local\n   0: 0302010A:0016 0909090A:9999 01 0 0\n")
        m.bad("carries an SSH connection (br0)", CARD)
        m.good(CARD, "--force")
        check(m.bound(CARD) == "vfio-pci", m.bound(CARD))
        m.put("proc/77/comm", "kcpgate\n")
        os.makedirs(m.path("proc/77/fd"))
        os.symlink("/dev/vfio/4", m.path("proc/77/fd/5"))
        m.bad("in use by process 77 (kcpgate)", "undo")
        m.bad("network cards are: " + CARD, "0000:04:00.0")
        m.bad("is no PCI address", "eth0")
        m.bad("nothing named")
        m.card("0000:05:00.0", "ahci", kind="0x010601")
        m.bad("is no network card", "0000:05:00.0")
        for addr, kind in ("0000:05:00.1", "0x0b4000"), ("0000:05:00.2", "0x120000"), ("0000:05:00.3", "0xff0000"):
            m.card(addr, "igb", group=9, kind=kind)  # accelerators, and what has no class, may have ports
        m.good("05:00.1", "05:00.2", "05:00.3")
        check(m.bound("0000:05:00.3") == "vfio-pci", m.bound("0000:05:00.3"))


def test_life_lines_unknown():
    """Where it cannot be told what carries the default route or SSH nothing is bound, but by --force; show still shows."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        for answer in 'echo "Option \\"-j\\" is unknown" >&2; exit 255', "echo nonsense", "exit 0":
            m.ip = answer
            m.bad("cannot tell what carries the default route or an SSH connection: ip (package iproute2)", CARD)
            check("0000:03:00.0 igb (ens3)" in m.good("show"), answer)
        m.ip = None
        only = os.path.join(m.bin, "only")  # a PATH without it
        os.mkdir(only)
        for name in "sh", "env", "python3", "mkdir", "cat", "rm":
            os.symlink(shutil.which(name), os.path.join(only, name))
        m.bad("ip (package iproute2) is not installed", CARD, env={"PATH": only})
        m.good("--pages", "3", env={"PATH": only})
        m.good(CARD, "--force", env={"PATH": only})
        check(m.bound(CARD) == "vfio-pci", m.bound(CARD))


def test_route_of_another_table():
    """A default route that a rule leads to, as many machines with several addresses have."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        m.tables = [{"dst": "default", "dev": "ens3", "table": "77"}]
        m.bad("carries the default route (ens3)", CARD)


def test_groups():
    """A group goes as a whole, but for the bridge above it."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        m.card("0000:03:00.1", "igb", "ens4", group=4)
        m.card("0000:00:1c.0", "pcieport", group=4, kind="0x060400")
        m.bad("shares its IOMMU group 4 with 0000:03:00.1 igb (ens4)", CARD)
        m.good(CARD, "03:00.1")
        check(m.bound("0000:03:00.1") == "vfio-pci" and m.bound("0000:00:1c.0") == "pcieport", "bound")


def test_without_iommu():
    """vfio is refused with both ways out; --uio loads its module and takes the card; mlx5 stays where it is."""
    with machine() as m:
        m.card(CARD, "virtio-pci", "ens3")
        m.bad("or scripts/host --uio", CARD)
        m.tool("modprobe", 'echo "modprobe $1" >>%s; mkdir -p %s/sys/bus/pci/drivers/$1' % (m.log, m.root))
        m.good("--uio", CARD)
        check(m.bound(CARD) == "uio_pci_generic" and "modprobe uio_pci_generic" in m.said(), m.bound(CARD), m.said())
        check(m.get("etc/modules-load.d/kcpgate.conf") == "uio_pci_generic", "not at the next boot")
        m.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n")
        os.mkfifo(m.path("sys/bus/pci/drivers/uio_pci_generic/unbind"))
        m.pipes[os.open(m.path("sys/bus/pci/drivers/uio_pci_generic/unbind"), os.O_RDWR | os.O_NONBLOCK)] = \
            "uio_pci_generic"
        m.good(CARD)
        check(m.bound(CARD) == "vfio-pci" and "Device=0000:03:00.0 vfio-pci virtio-pci" in m.get(UNIT), m.get(UNIT))
        check(m.get("etc/modprobe.d/kcpgate.conf") == "options vfio enable_unsafe_noiommu_mode=1", "not at the next boot")
        m.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n")
        check("nothing to do" in m.good(CARD), "with the boot's mode not yet set, it is forgotten")
        m.card("0000:07:00.0", "igb", group=7)
        m.good("07:00.0")
        check(os.path.exists(m.path("etc/modprobe.d/kcpgate.conf")), "one of two needs it still")
        m.good("undo", CARD)
        check(not os.path.exists(m.path("etc/modprobe.d/kcpgate.conf")), "left")
        m.driver("mlx5_core")
        m.card("0000:06:00.0", "mlx5_core", "ens6")
        check("DPDK works beside mlx5_core" in m.good("06:00.0") and m.bound("0000:06:00.0") == "mlx5_core", "bound")


def test_fails():
    """A command that fails, and a card that does not come, are told; --now writes nothing."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        m.good("--now", CARD, "--pages", "3")
        check(m.bound(CARD) == "vfio-pci" and m.total() == 3 and not os.path.exists(m.path("etc")), "written")
        m.good("undo", "--now", CARD)
        check(m.bound(CARD) == "igb", m.bound(CARD))
        m.tool("modprobe", "echo no such module >&2; exit 1")
        status, out = m.host("--uio", CARD)
        check(status == 1 and "no such module" in out and m.bound(CARD) == "igb", status, out)
        check(not m.at_boot(), "a boot would do what could not be done now", out)


def overrides(m, *addrs):
    return [m.get("sys/bus/pci/devices/%s/driver_override" % a) for a in addrs]


def test_fails_halfway():
    """The second of two cards does not come: both are with their old drivers, and nothing is left for the next boot."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        m.card("0000:04:00.0", "virtio-pci", "ens4", group=5)
        m.refuse = "0000:04:00.0"
        begin = m.state()
        status, out = m.host(CARD, "04:00.0", "--pages", "7", env={"HOST_SECONDS": "5"})
        check(status == 1 and "0000:04:00.0: bound to no driver, and not to vfio-pci" in out, status, out)
        check(m.bound(CARD) == "igb" and m.bound("0000:04:00.0") == "virtio-pci", m.bound(CARD), m.bound("0000:04:00.0"))
        check(overrides(m, CARD, "0000:04:00.0") == ["", ""], overrides(m, CARD, "0000:04:00.0"))
        check("enable" not in m.said() and not m.at_boot(), m.said(), m.at_boot())
        for a in CARD, "0000:04:00.0":
            m.put("sys/bus/pci/devices/%s/driver_override" % a, "(null)\n")
        left = {k: v for k, v in m.state().items() if begin.get(k) != v}
        check(not left and m.total() == 0, left)


def test_ends_halfway():
    """It is killed between the cards and the boot's files: undo, and the same again, know of what was done."""
    with machine() as m:
        m.card(CARD, "igb", "ens3", group=4)
        m.tool("mkdir", 'case "$*" in */systemd/*) kill -9 $(cut -d" " -f4 /proc/$PPID/stat) $PPID ;; '
               '*) exec /bin/mkdir "$@" ;; esac')
        for again in False, True:
            status, out = m.host(CARD, "--pages", "7")
            check(status == -9 and m.bound(CARD) == "vfio-pci" and m.total() == 7, status, out)
            check(not os.path.exists(m.path(UNIT)), out)
            if again:
                os.unlink(os.path.join(m.bin, "mkdir"))
                m.good(CARD, "--pages", "7")
                check("Device=0000:03:00.0 vfio-pci igb" in m.get(UNIT) and "Pages=0 7 0" in m.get(UNIT), m.get(UNIT))
            m.good("undo")
            check(m.bound(CARD) == "igb" and m.total() == 0 and not os.path.exists(m.path(UNIT)), m.bound(CARD), m.total())


if __name__ == "__main__":
    case.main(sys.modules[__name__])
