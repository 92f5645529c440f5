#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An idle gateway on a network card sleeps until the card interrupts, and the next frame wakes it.

What it costs is told, not judged: the CPU is emulated.  That it sleeps is judged by how often it looks.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
from bench import BIG, MODERN, Device, check, wait_until
from nic_test import run
from vm import Card

SECONDS = 10
LOOKS = 2000  # a second: it sleeps for 2.5 ms at most, whatever wakes it; one that polls makes 100 times as many
PINGS = 4


class Server(Device):
    """Without tunnels of a client's: their sessions have timers of their own."""

    def conf(self, **wish):
        return re.sub(r',\n\{ name = "client.*?\}(?=,| \))', "", super().conf(**wish), flags=re.S)


def devices():
    return [Server("virtio", Card("virtio-net-pci", 2, MODERN), "vfio-pci"),
            Server("igb", Card("igb", 1, "romfile="), "vfio-pci")]


READ = ("p=$(pidof kcpgate) && cat /proc/uptime && cat /proc/$p/task/*/stat | sed 's/.*) //' && "
        "grep -h ^voluntary /proc/$p/task/*/status")


def reading(d):
    """Seconds since the guest's boot, CPU seconds of all threads, and how often one of them went to sleep."""
    lines = d.vm.sh(READ).splitlines()
    stat = [line.split() for line in lines[1:] if not line.startswith("voluntary")]
    return (float(lines[0].split()[0]), sum(int(s[11]) + int(s[12]) for s in stat) / 100,
            sum(int(line.split()[1]) for line in lines if line.startswith("voluntary")))


def idles(workers):
    def run(d):
        d.gateway(workers=workers)
        wait_until("pings", lambda: " 0% packet loss" in d.ping(check_it=False))
        d.vm.sh("sleep 3")
        before, first = d.workers(), reading(d)
        d.vm.sh("sleep %d" % SECONDS)
        last, after = reading(d), d.workers()
        wall, cpu, slept = [b - a for a, b in zip(first, last)]
        looked = [b["turns"] - a["turns"] for a, b in zip(before, after)]
        port = next(iter(d.vm.telemetry(d.gw, "/kcpgate/ports").values()))
        check(port["woken_by"] == "interrupts", port)
        check(all(n < LOOKS * wall for n in looked), "turns in %.0f s:" % wall, looked, "of", after)
        for family in (4, 6):  # and it is there at once
            check("0% packet loss" in d.lab.sh("q", "ping", "-%d" % family, "-n", "-c", str(PINGS), "-i", "1.5", "-W", "100",
                                              d.here(family)), "pings of a sleeper are lost")
        pinged = d.workers()
        struck, missed = [sum(b[k] - a[k] for a, b in zip(before, pinged)) for k in ("interrupts", "interrupts_missed")]
        # One may come just as a sleep ends, and is found without.
        check(struck + missed >= 2 * PINGS and struck > missed, "interrupts", struck, "missed", missed)
        d.files(big=BIG // 4, roles=("client",))
        return "%.1f %% of a core, %.0f turns and %.0f sleeps a second, %d interrupts by %d pings" % (
            100 * cpu / wall, max(looked) / wall, slept / wall, struck, 2 * PINGS)

    run.__name__ = "case_%d_worker" % workers
    return run


if __name__ == "__main__":
    run(sys.argv[1:], devices(), [idles(1), idles(2)])
