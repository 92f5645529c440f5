#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kcpgate as a service: what it tells the manager that started it."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import check
from lab import GUARD, Lab, eal, gateway_binary

CONF = eal() + """
ports = ( { name = "sock"; device = "net_kudp0"; } );
tunnels = ( { name = "t"; role = "server"; listen = ":4000"; target = "127.0.0.1:9000"; key = "service"; } );
"""


class Manager:
    """The socket of a service manager, which reads when it is asked to."""

    def __init__(self, lab):
        self.path = os.path.join(lab.dir, "notify")
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(self.path)
        self.s.settimeout(GUARD)

    def env(self, **more):
        return {"NOTIFY_SOCKET": self.path, **more}

    def next(self):
        return self.s.recv(4096).decode()


def start(lab, env, conf=CONF):
    lab.add_ns("g")
    path = lab.file("service.conf", conf.replace("@PREFIX@", lab.tag))
    return lab.run("kcpgate", "g", gateway_binary(), "-c", path, env=env)


def test_told():
    """READY behind the start, WATCHDOG again and again, STOPPING at the end; nothing of it is refused by the sandbox."""
    with Lab("sv") as lab:
        manager = Manager(lab)
        gw = start(lab, manager.env(WATCHDOG_USEC="200000"))
        check(manager.next() == "READY=1", "the first word")
        check("ready: 1 workers" in gw.log(), gw.log())
        for _ in range(3):
            word = manager.next()
            check(word == "WATCHDOG=1", word)
        check("sandbox on" in gw.log(), gw.log())
        check(gw.stop() == 0, gw.log())
        while True:
            word = manager.next()
            if word != "WATCHDOG=1":
                break
        check(word == "STOPPING=1", word)


def test_reload():
    """A reload has a beginning and an end, also where its file is wrong and nothing changes."""
    with Lab("sv") as lab:
        manager = Manager(lab)
        gw = start(lab, manager.env())
        check(manager.next() == "READY=1", "the first word")
        for conf in CONF.replace("9000", "9001"), "nonsense":
            lab.file("service.conf", conf.replace("@PREFIX@", lab.tag))
            lab.sh("g", "sh", "-c", "kill -HUP %d" % gw.p.pid)
            word = manager.next()
            check(word.startswith("RELOADING=1\nMONOTONIC_USEC="), word)
            word = manager.next()
            check(word == "READY=1", word)
        check("nothing has changed" in gw.log() and gw.stop() == 0, gw.log())


def test_failing_start_is_no_ready():
    with Lab("sv") as lab:
        manager = Manager(lab)
        gw = start(lab, manager.env(), CONF.replace("net_kudp0", "net_no_such0"))
        check(gw.end() != 0, gw.log())
        manager.s.setblocking(False)
        try:
            check(False, manager.next())
        except BlockingIOError:
            pass


def test_manager_that_does_not_read():
    """The gateway serves and ends all the same."""
    with Lab("sv") as lab:
        manager = Manager(lab)
        gw = start(lab, manager.env(WATCHDOG_USEC="2"))
        gw.wait_for("ready:")
        # Turns of control's: the manager's queue is full by then.
        lab.sh("g", "sh", "-c", "for i in $(seq 600); do kill -USR1 %d; sleep 0.002; done" % gw.p.pid)
        check(gw.stop() == 0, gw.log())
        check("stopped" in gw.log(), gw.log())


if __name__ == "__main__":
    case.main(sys.modules[__name__])
