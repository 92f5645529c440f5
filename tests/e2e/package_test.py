#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's package on machines that systemd runs: README's first page line by line, the unit with every kind of port, what
becomes of a gateway that hangs, is killed or has a wrong file, an upgrade, a purge.

KCPGATE_DEB is the package; else scripts/release makes it.  The machines' root is build-install/root, made when packages change.
"""
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import Skip, check
from lab import ROOT, Lab, sh, wait_until
from machine import Machine

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
WORK = os.path.join(ROOT, "build-install")
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
RELEASE = 1800  # seconds, a guard: the package is compiled from nothing


def package():
    """The path of the package; it is made once."""
    if os.environ.get("KCPGATE_DEB"):
        return os.environ["KCPGATE_DEB"]
    if not os.path.isdir(os.path.join(ROOT, ".git")):
        raise Skip("no clone, and KCPGATE_DEB names no package")
    out = sh(os.path.join(ROOT, "scripts", "release"), timeout=RELEASE)
    os.environ["KCPGATE_DEB"] = out.strip().split("\n")[-1]
    return os.environ["KCPGATE_DEB"]


def field(deb, name):
    return sh("dpkg-deb", "-f", deb, name).strip()


def base():
    """The root that machines stand on: what the package depends on, and systemd, without the package."""
    needs = [re.sub(r"[ (|].*", "", d.strip()) for d in field(package(), "Depends").split(",")]
    wanted = ",".join(sorted({"systemd", "iproute2", "procps", *needs}))
    root, record = os.path.join(WORK, "root"), os.path.join(WORK, "packages")
    os.makedirs(WORK, exist_ok=True)
    with open(os.path.join(WORK, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(record) and open(record).read() == wanted:
            return root
        if subprocess.run([os.path.join(ROOT, "scripts", "deps"), "debian"]).returncode:
            raise Skip("mmdebstrap cannot be installed")
        if subprocess.run(["/usr/lib/apt/apt-helper", "download-file", MIRROR + "/dists/bookworm/Release",
                           os.path.join(WORK, "Release")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            raise Skip("Debian bookworm cannot be reached at " + MIRROR)
        shutil.rmtree(root, ignore_errors=True)
        sh("mmdebstrap", "--quiet", "--aptopt=Acquire::Check-Valid-Until \"false\"", "--variant=apt", "--include=" + wanted,
           "bookworm", root, MIRROR, timeout=RELEASE)
        with open(record, "w") as f:
            f.write(wanted)
    return root


@contextlib.contextmanager
def machines(*names):
    if os.geteuid() != 0:
        raise Skip("not root")
    root = base()
    with Lab("pk") as lab:
        have = []
        try:
            for name in names:
                have.append(Machine(lab, name, root))
                shutil.copy(package(), have[-1].path("/root/kcpgate.deb"))
            yield (lab, *have)
        finally:
            for m in reversed(have):
                m.close()


def install(m, deb="kcpgate.deb"):
    return m.run("apt-get install -y ./" + deb)


def link(a, b, addr_a, addr_b):
    sh("ip", "link", "add", "eth0", "netns", str(a.init), "type", "veth", "peer", "name", "eth0", "netns", str(b.init))
    for m, addr in (a, addr_a), (b, addr_b):
        m.run("ip addr add %s dev eth0; ip link set eth0 up; ip route add default dev eth0" % addr)


def readme(head):
    """The lines of commands behind a line of README's that ends so."""
    with open(os.path.join(ROOT, "README.md")) as f:
        text = f.read()
    part = text[text.index(head) + len(head):]
    return [line[4:].split("    #")[0].rstrip() for line in re.match(r"\n\n((?:    .*\n)+)", part).group(1).splitlines()]


SCP = """#!/bin/sh
# In place of ssh's: what it would fetch was laid here.
[ "$1" = root@203.0.113.5:/etc/kcpgate/server.key ] && cp /var/tmp/server.key "$2"
"""


def test_readme():
    """Server in five lines, client in three, each run as it stands; and what an operator sees then."""
    with machines("server", "client") as (lab, server, client):
        link(server, client, "203.0.113.5/24", "203.0.113.6/24")
        lines = readme("On the server, here 203.0.113.5:")
        check(len(lines) == 5, lines)
        for line in lines:
            server.run(line)
        check(server.show("kcpgate@server", "ActiveState") == "active", server.log("kcpgate@server"))
        with open(client.path("/usr/local/bin/scp"), "w") as f:
            f.write(SCP)
        os.chmod(client.path("/usr/local/bin/scp"), 0o755)
        shutil.copy(server.path("/etc/kcpgate/server.key"), client.path("/var/tmp/server.key"))
        lines = readme("On the client:")
        check(len(lines) == 3, lines)
        for line in lines:
            client.run(line)
        check(client.show("kcpgate@client", "ActiveState") == "active", client.log("kcpgate@client"))
        lab.run("target", None, *server.inside(sys.executable, LOAD, "serve", "127.0.0.1", "22")).wait_for("serving")
        load = lab.run("load", None, *client.inside(sys.executable, LOAD, "mixed", "127.0.0.1", "2222", "500000", "20"))
        check(load.end() == 0, load.log())
        for m, unit in (server, "kcpgate@server"), (client, "kcpgate@client"):
            log = m.log(unit)
            check("capabilities none, sandbox on, keys locked" in log, log)
            check("refused" not in log and "public" not in log and "everybody" not in log, log)
            check(m.run("stat -c '%U %a' /var/lib/kcpgate /run/kcpgate").split("\n")[:2] == ["kcpgate 700", "kcpgate 750"], log)
            # Root finds it where systemd's gateways are.
            m.run("kcpgate capture --seconds 1 -w /dev/null")
            check("-rw-r-----" in m.run("ls -l /etc/kcpgate/*.key") and "everybody" not in m.run(
                "kcpgate check -c /etc/kcpgate/%s.conf 2>&1" % unit.split("@")[1]), m.run("ls -l /etc/kcpgate"))
        server.run("sed -i s/:22/:23/ /etc/kcpgate/server.conf; systemctl reload kcpgate@server")
        check("target" in server.log("kcpgate@server") and server.show("kcpgate@server", "ActiveState") == "active",
              server.log("kcpgate@server"))
        out = server.run("echo nonsense >>/etc/kcpgate/server.conf; systemctl reload kcpgate@server 2>&1; true")
        check("failed" in out and "server.conf:19: syntax error" in server.log("kcpgate@server") and server.show(
            "kcpgate@server", "ActiveState") == "active", out, server.log("kcpgate@server"))
        check(server.run("systemctl is-enabled kcpgate@server").strip() == "enabled", "server")
        server.run("systemctl stop kcpgate@server")
        check("stopped" in server.log("kcpgate@server") and server.show("kcpgate@server", "Result") == "success",
              server.log("kcpgate@server"))


KINDS = {
    "packet": ("net_af_packet0,iface=v0", 'exception = "kernel";', 443, "NET_BIND_SERVICE, NET_ADMIN, NET_RAW, IPC_LOCK"),
    "xdp": ("net_af_xdp0,iface=v0", 'exception = "kernel";', 4001, "NET_ADMIN, NET_RAW, IPC_LOCK, PERFMON, BPF"),
    "tap": ("net_af_packet0,iface=v1", 'exception = "tap"; addresses = ["10.9.0.2/24"];', 4002, "NET_ADMIN, NET_RAW, IPC_LOCK"),
}


def conf(m, name, device="net_kudp0", more="", port=4000):
    with open(m.path("/etc/kcpgate/%s.conf" % name), "w") as f:
        f.write('eal = { file_prefix = "%s"; };\nports = ( { name = "w"; device = "%s"; %s } );\n'
                'tunnels = ( { name = "t"; role = "server"; listen = ":%d"; target = "127.0.0.1:22"; key = "%s"; } );\n' % (
                    name, device, more, port, "a key of some length"))
    m.run("chmod 640 /etc/kcpgate/%s.conf" % name)


def test_ports_and_faults():
    """The unit's rights do for each kind of port; a gateway that hangs or dies is back, one whose file is wrong is not."""
    with machines("ports") as (lab, m):
        install(m)
        m.run("ip link add v0 type veth peer name v1; ip addr add 10.9.0.1/24 dev v0; ip link set v0 up; ip link set v1 up")
        for name, (device, more, port, caps) in KINDS.items():
            if "tap" in more and not os.path.exists("/dev/net/tun"):
                continue
            conf(m, name, device, more, port)
            m.run("systemctl start kcpgate@" + name)
            log = m.log("kcpgate@" + name)
            check("capabilities %s, sandbox on, keys locked" % caps in log, log)
            m.run("systemctl stop kcpgate@" + name)
            log = m.log("kcpgate@" + name)
            check(m.show("kcpgate@" + name, "Result") == "success" and "stopped" in log and "refused" not in log, log)
        check("kg-" not in m.run("ip -br link") and "xdp" not in m.run("ip link show v0"), m.run("ip link"))

        conf(m, "wrong", "no")
        check("failed" in m.run("systemctl start kcpgate@wrong 2>&1; true"), "it started")
        check(m.show("kcpgate@wrong", "ActiveState") == "failed" and m.show("kcpgate@wrong", "NRestarts") == "0", "tried again")
        check('wrong.conf:2: ports.w.device: found "no"; allowed:' in m.log("kcpgate@wrong"), m.log("kcpgate@wrong"))

        conf(m, "life")
        m.run("mkdir -p /run/systemd/system/kcpgate@.service.d; printf '[Service]\\nWatchdogSec=3\\n' "
              ">/run/systemd/system/kcpgate@.service.d/x.conf; systemctl daemon-reload; systemctl start kcpgate@life")
        for n, sig in enumerate(("KILL", "STOP"), 1):
            pid = m.show("kcpgate@life", "MainPID")
            m.run("kill -%s %s" % (sig, pid))
            wait_until("a new start after " + sig, lambda: m.show("kcpgate@life", "NRestarts") == str(n) and m.show(
                "kcpgate@life", "ActiveState") == "active")
            check(m.show("kcpgate@life", "MainPID") not in (pid, "0"), "the same")
        check("Watchdog timeout" in m.log("kcpgate@life"), m.log("kcpgate@life"))


def newer(deb, folder):
    """The same package with a later version."""
    tree, out = os.path.join(folder, "tree"), os.path.join(folder, "newer.deb")
    sh("dpkg-deb", "-R", deb, tree)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control) as f:
        text = f.read()
    with open(control, "w") as f:
        f.write(re.sub(r"(?m)^Version: .*", "Version: 999-1", text))
    sh("dpkg-deb", "-b", "--root-owner-group", tree, out)
    return out


def left(m):
    return sorted(m.run("find / -xdev -path /proc -prune -o -name '*kcpgate*' -print; find /run /tmp /dev -name '*kcpgate*'").split())


def test_upgrade_and_purge():
    """An upgrade goes on with the new program and the old files; a purge leaves what is the owner's, and nothing without that."""
    with machines("life") as (lab, m):
        before = left(m)
        shutil.copy(newer(package(), lab.dir), m.path("/root/newer.deb"))
        install(m)
        conf(m, "a")
        m.run("systemctl enable --now kcpgate@a")
        pid = m.show("kcpgate@a", "MainPID")
        install(m, "newer.deb")
        check(m.run("dpkg-query -W -f '${Version} ${db:Status-Abbrev}' kcpgate").strip() == "999-1 ii", "not upgraded")
        check(m.show("kcpgate@a", "ActiveState") == "active" and m.show("kcpgate@a", "MainPID") != pid, m.log("kcpgate@a"))
        m.run("apt-get purge -y kcpgate")
        check(m.run("systemctl is-active kcpgate@a", check=False).strip() in ("inactive", "unknown"), "it runs on")
        now = left(m)
        check(set(now) - set(before) == {"/etc/kcpgate", "/root/kcpgate.deb"} - set(before), now)
        check(m.run("ls /etc/kcpgate").split() == ["a.conf"], m.run("ls /etc/kcpgate"))

        install(m)
        m.run("rm /etc/kcpgate/a.conf; apt-get purge -y kcpgate")
        check(set(left(m)) - set(before) <= {"/root/kcpgate.deb"}, left(m))


if __name__ == "__main__":
    case.main(sys.modules[__name__])
