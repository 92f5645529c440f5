#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An idle gateway on a network card sleeps until the card interrupts, and the next frame wakes it.

What it costs is told, not judged: the CPU is emulated.  That it sleeps is judged by how often it looks.
"""
import os
import re
import sys
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
import image
from bench import BIG, Device, Machine, check, wait_until
from nic_test import MODERN, guarded, skipping
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
            check("0% packet loss" in d.lab.sh("q", "ping", "-%d" % family, "-n", "-c", str(PINGS), "-i", "1.5", "-W", "20",
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


def main(words):
    tests = types.SimpleNamespace()
    try:
        q = image.ready()
    except image.Missing as e:
        tests.test_idle = skipping(str(e))
        case.main(tests, ["test_"])
    every = [d for d in devices() if not words or d.name in words]
    here = [d for d in every if q.has(d.card.model)]
    machine = Machine([d.card for d in here])
    for d in every:
        if d not in here:
            setattr(tests, "test_" + d.name, skipping("QEMU %s has no %s" % (q.version, d.card.model)))
            continue
        d.place(machine, here.index(d)).all = here
        for c in (idles(1), idles(2)):
            setattr(tests, "test_%s_%s" % (d.name, c.__name__[5:]), guarded(d, c))
        setattr(tests, "test_%s_end" % d.name, d.down)
    try:
        case.main(tests, ["test_"])
    finally:
        machine.close()


if __name__ == "__main__":
    main(sys.argv[1:])
