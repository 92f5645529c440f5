#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small machine: what a gateway started as kcptun is takes of memory when it is idle, and after it has carried something."""
import os
import re
import resource
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from commandline_test import gateway, link, load
from lab import Lab, gateway_binary

MB = 1 << 20
IDLE = 48 * MB    # of a machine with 512, beside whatever else it is for
LOADED = 96 * MB  # more than a window's bytes in every place where they wait


def status(gw, field):
    with open("/proc/%d/status" % gw.p.pid) as f:
        return int(re.search(r"^%s:\s+(\d+) kB" % field, f.read(), re.M).group(1)) << 10


def plain(gw):
    """Sanitizers have memory of their own, several times ours."""
    with open("/proc/%d/maps" % gw.p.pid) as f:
        return not re.search(r"lib[at]san|libclang_rt|\[shadow", f.read()) and status(gw, "VmSize") < 64 << 30


def resident(gw):
    """Now, and the most so far."""
    return status(gw, "VmRSS"), status(gw, "VmHWM")


def test_idle_and_loaded():
    """By the defaults a client and a server have under 48 MB resident when idle, and bounded memory after 64 MB each way."""
    with Lab("ks") as lab:
        link(lab)
        srv = gateway(lab, "g", "server", "-t", "127.0.0.1:9000", "-l", ":4000", "--key", "k")
        cpu = srv.cpu_seconds()
        cli = gateway(lab, "p", "client", "-r", "10.77.0.1:4000", "-l", ":13000", "--key", "k")
        idle = [resident(gw) for gw in (srv, cli)]
        load(lab, "big", "127.0.0.1", 13000, 64 << 20)
        after = [resident(gw) for gw in (srv, cli)]
        note = "server %d, client %d MB idle, %d and %d after 64 MB each way (highest %d, %d); start %.2f CPU s" % (
            *[rss // MB for rss, _ in idle], *[rss // MB for rss, _ in after], *[most // MB for _, most in after], cpu)
        if plain(srv):
            case.check(max(most for _, most in idle) < IDLE, "idle:", note)
            case.check(max(most for _, most in after) < LOADED, "after a load:", note)
        sanitized = not plain(srv)
        for gw in srv, cli:
            case.check(gw.stop() == 0, "exit status")
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10  # of any process here that has ended
        case.check(most < LOADED or sanitized, "at the end:", most // MB, "MB;", note)
        return note


def test_little_memory():
    """Where less is available than the defaults may come to they come to less, and carry every byte; the log says so."""
    with Lab("ks") as lab:
        link(lab)
        with open("/proc/meminfo") as f:
            text = re.sub(r"(MemAvailable:\s+)\d+", r"\g<1>204800", f.read())
        little = lab.file("meminfo", text)

        def run(ns, role, *argv):
            gw = lab.run("kcpgate-" + role, ns, "sh", "-c", 'mount --bind "$0" /proc/meminfo && exec "$@"', little,
                         gateway_binary(), role, "--key", "k", *argv)
            gw.wait_for("ready:")
            return gw
        srv = run("g", "server", "-t", "127.0.0.1:9000", "-l", ":4000")
        cli = run("p", "client", "-r", "10.77.0.1:4000", "-l", ":13000")
        for gw in srv, cli:
            case.check("memory: 150 MB at most, for 200 MB are available" in gw.log(), gw.log())
        load(lab, "big", "127.0.0.1", 13000, 8 << 20)
        load(lab, "small", "127.0.0.1", 13000, 200, "--at-once", 50)
        for gw in srv, cli:
            case.check(gw.stop() == 0, "exit status")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
