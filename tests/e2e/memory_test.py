#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Memory: a start with just the hugepages that `check` promises, one with too few, and how much is really taken."""
import contextlib
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from behaviour_test import conf, link, load, target, total, tunnel
from lab import GUARD, Lab, gateway_binary, sh

NR = "/proc/sys/vm/nr_hugepages"
MOST = 2048  # pages that this test makes the kernel set aside for the second part


def pages(what):
    with open("/proc/meminfo") as f:
        return int(re.search(r"^%s:\s+(\d+)" % what, f.read(), re.M).group(1))


def read_nr():
    with open(NR) as f:
        return int(f.read())


def write_nr(n):
    with open(NR, "w") as f:
        f.write(str(n))


@contextlib.contextmanager
def as_before():
    """Skips where the kernel has no such pages, or lets nobody set them; puts back what was there."""
    try:
        before = read_nr()
        write_nr(before)
    except OSError as e:
        raise case.Skip("%s: %s" % (NR, e.strerror))
    if pages("Hugepagesize") != 2048:
        raise case.Skip("hugepages are of %d kB here" % pages("Hugepagesize"))
    try:
        yield before
    finally:
        write_nr(before)


def grant(n):
    """So many free pages, at least."""
    missing = n - pages("HugePages_Free")
    if missing > 0:
        write_nr(read_nr() + missing)
    if pages("HugePages_Free") < n:
        raise case.Skip("the kernel gives %d hugepages of %d" % (pages("HugePages_Free"), n))


def huge(text, memory=0):
    return text.replace("hugepages = false;", "hugepages = true;" + (" memory = %d;" % memory if memory else ""))


def held(gw):
    """Hugepages that the process has, by its own account: others may use some of the machine's meanwhile."""
    with open("/proc/%d/status" % gw.p.pid) as f:
        return int(re.search(r"^HugetlbPages:\s+(\d+) kB", f.read(), re.M).group(1)) // 2048


def promised(lab, text):
    path = lab.file("check.conf", text.replace("@PREFIX@", "kg"))
    out = sh(gateway_binary(), "check", "-c", path)
    return int(re.search(r"^hugepages\s+(\d+) of 2 MB", out, re.M).group(1)), out


def server(iface="g0", workers=1):
    return conf(iface, tunnel("s", "server", ":4000", "127.0.0.1:9000"), workers=workers)


def client():
    return conf("p0", tunnel("c", "client", "127.0.0.1:13000", "10.77.0.1:4000"))


def test_hugepages():
    """A gateway on hugepages takes what `check` says, no more and no less, and carries every byte; so one without any."""
    with Lab("km") as lab, as_before():
        link(lab)
        want, out = promised(lab, huge(server()))
        grant(want)
        gw = lab.gateway("server", "g", huge(server()))
        case.check(held(gw) == want, "hugepages taken:", held(gw), "promised:", want)
        plain = lab.gateway("client", "p", client())
        case.check(held(plain) == 0, "hugepages taken without being wanted")
        target(lab)
        load(lab, "p", "mixed", "127.0.0.1", 13000, 8 << 20, 50)
        case.check(held(gw) == want, "hugepages taken under load:", held(gw), "promised:", want)
        control = lab.telemetry(gw, "/kcpgate/control")
        case.check(control["mbufs_free"] > int(re.search(r"packet buffers\s+(\d+)", out).group(1)) // 2, control)
        case.check(gw.stop() == 0, "exit status")
        return "%d pages" % want


def test_sizes():
    """What `check` promises is enough for DPDK, with little left over, whatever the file asks for."""
    notes = []
    with Lab("km") as lab:
        link(lab)
        for name, text in (("one", server()), ("three", server(workers=3)),
                           ("given", server().replace("hugepages = false;", "hugepages = false; memory = 301;"))):
            gw = lab.gateway(name, "g", text)
            heap = lab.telemetry(gw, "/eal/heap_info,0")
            path = lab.file("check.conf", text.replace("@PREFIX@", "kg"))
            said = int(re.search(r"^memory\s+(\d+) MB", sh(gateway_binary(), "check", "-c", path), re.M).group(1))
            case.check(heap["Heap_size"] <= said << 20, name, "promised:", said, "MB, taken:", heap)
            case.check(heap["Alloc_size"] > 0.85 * (said << 20), name, "promised:", said, "MB, used:", heap)
            notes.append("%s %d of %d MB" % (name, heap["Alloc_size"] >> 20, said))
            case.check(gw.stop() == 0, "exit status")
    return ", ".join(notes)


def test_too_few_pages():
    """With too few pages the start fails in one line; the command that it names makes the same start succeed."""
    with Lab("km") as lab, as_before():
        link(lab)
        free = pages("HugePages_Free")
        want = max(promised(lab, huge(server()))[0], free + 16)
        text = huge(server(), 2 * want)
        p = lab.gateway("few", "g", text, ready=False)
        case.check(p.end() == 1, p.p.returncode, p.log())
        lines = [x for x in p.log().split("\n") if "cannot start" in x]
        case.check(len(lines) == 1 and "EAL" not in p.log(), p.log())
        m = re.search(r"(\d+) hugepages of 2 MB needed \((\d+) MB\), (\d+) free, (\d+) missing: .*"
                      r"\((sysctl -w vm.nr_hugepages=\d+)\)", lines[0])
        case.check(m, lines[0])
        need, mb, had, missing = [int(x) for x in m.groups()[:4]]
        case.check(need == want and mb == 2 * want and missing == need - had, lines[0])
        if want > MOST:
            return "%d missing; not reserved" % missing
        subprocess.run(m.group(5).split(), check=True, stdout=subprocess.DEVNULL)
        if pages("HugePages_Free") < want:
            raise case.Skip("the kernel gives %d hugepages of %d" % (pages("HugePages_Free"), want))
        gw = lab.gateway("enough", "g", text)
        case.check(held(gw) == want, "hugepages taken:", held(gw), "wanted:", want)
        case.check(gw.stop() == 0, "exit status")
        return "%d missing" % missing


def test_taken_meanwhile():
    """Pages that are there when we look and gone when DPDK wants them: where they were not asked for, the start goes on with
    ordinary ones, the key of the environment and that of the command line still known; where they were, it fails and says
    what is missing."""
    free = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
    with Lab("km") as lab:
        link(lab)
        if not os.path.exists(free):
            raise case.Skip("no " + free)
        with open(free) as f:
            if int(f.read()) > 1000:
                raise case.Skip("there really are pages")
        many = lab.file("free_hugepages", "100000\n")

        def run(name, ns, *argv, env=None):
            return lab.run(name, ns, "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', many, free,
                           gateway_binary(), *argv, env=env)
        target(lab)
        srv = run("server", "g", "server", "-t", "127.0.0.1:9000", "-l", "10.77.0.1:4000", "--key", "open sesame")
        cli = run("client", "p", "client", "-r", "10.77.0.1:4000", "-l", "127.0.0.1:13000",
                  env={**os.environ, "KCPTUN_KEY": "open sesame"})
        for gw in srv, cli:
            gw.wait_for("ready:")
            case.check("starting again with ordinary pages" in gw.log() and "cannot start" not in gw.log(), gw.log())
            with open("/proc/%d/cmdline" % gw.p.pid) as f:
                case.check("sesame" not in f.read(), "the key can be seen")
        load(lab, "p", "mixed", "127.0.0.1", 13000, 1 << 20, 5)
        case.check(srv.stop() == 0 and cli.stop() == 0, "exit status")
        path = lab.file("huge.conf", huge(server()).replace("@PREFIX@", "kg"))
        gw = run("asked", "g", "-c", path)
        case.check(gw.end() == 1, gw.log())
        lines = [x for x in gw.log().split("\n") if "cannot start" in x]
        case.check(len(lines) == 1 and "hugepages" in lines[0], gw.log())


def test_too_little():
    """A memory that nothing can run in is refused by `check` and at the start, with the least that would do."""
    with Lab("km") as lab:
        link(lab)
        text = server().replace("hugepages = false;", "hugepages = false; memory = 64;")
        path = lab.file("check.conf", text.replace("@PREFIX@", "kg"))
        p = subprocess.run([gateway_binary(), "check", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True, timeout=GUARD)
        m = re.search(r"eal.memory: found 64; allowed: (\d+) or more", p.stderr)
        case.check(p.returncode == 2 and m, p.returncode, p.stderr)
        gw = lab.gateway("little", "g", text, ready=False)
        case.check(gw.end() == 1 and "eal.memory: found 64" in gw.log(), gw.log())
        gw = lab.gateway("least", "g", text.replace("memory = 64;", "memory = %s;" % m.group(1)))
        lab.gateway("client", "p", client())
        target(lab)
        load(lab, "p", "small", "127.0.0.1", 13000, 20)
        case.check(total(lab, gw, "sessions") == 1, "sessions")
        case.check(gw.stop() == 0, "exit status")
        return "%s MB is enough" % m.group(1)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
