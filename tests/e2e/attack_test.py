#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A stranger without the key, who hears everything, and sends what he recorded from wherever he likes."""
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import ROOT, Lab, eal, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
GUARD = 150  # seconds: nothing here takes so long

# Records frames of UDP port 4000, both ways, until it is told to stop: [to the server?, client's port, frame].
RECORD = """
import json, signal, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((sys.argv[1], 0))
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
s.settimeout(0.2)
stop = []
signal.signal(signal.SIGTERM, lambda *a: stop.append(1))
print("recording", flush=True)
seen = []
while not stop:
    try:
        p = s.recv(4096)
    except TimeoutError:
        continue
    if p[12:14] != b"\\x08\\x00" or p[23] != 17:
        continue
    ports = int.from_bytes(p[34:36], "big"), int.from_bytes(p[36:38], "big")
    if 4000 in ports:
        seen.append((ports[1] == 4000, ports[ports[1] != 4000 and 1 or 0], p.hex()))
json.dump(seen, open(sys.argv[2], "w"))
"""

# Sends recorded frames once more, from that port: of IPv4, where a UDP checksum of 0 is none.
REPLAY = """
import json, socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
for p in json.load(open(sys.argv[2])):
    p = bytearray(bytes.fromhex(p))
    p[34:36] = int(sys.argv[3]).to_bytes(2, "big")
    p[40:42] = b"\\0\\0"
    s.send(p)
    time.sleep(0.002)
print("sent", flush=True)
"""


def conf(iface, role, listen, far, state="", **opts):
    o = dict(key='"k"', mode='"fast3"', **opts)
    return (eal() + 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n' % iface +
            'tunnels = ( { name = "t"; role = "%s"; listen = "%s"; %s = "%s"; %s } );\n' % (
                role, listen, "target" if role == "server" else "remote", far,
                " ".join("%s = %s;" % kv for kv in o.items())) + 'log = { level = "info"; };\nsecurity = { state = "%s"; };\n' % state)


def up(lab):
    lab.add_ns("g", "p")
    lab.veth("g", "g0", "p", "p0")
    lab.addr("g", "g0", "10.77.0.1/24")
    lab.addr("p", "p0", "10.77.0.2/24")
    lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")


def server(lab, name, **opts):
    return lab.gateway(name, "g", conf("g0", "server", ":4000", "127.0.0.1:9000", **opts))


def client(lab, name, port, **opts):
    return lab.gateway(name, "p", conf("p0", "client", "127.0.0.1:%d" % port, "10.77.0.1:4000", **opts))


def load(lab, name, *argv):
    return lab.run(name, "p", sys.executable, LOAD, *[str(a) for a in argv])


def done(p):
    p.p.wait(GUARD)
    case.check(p.p.returncode == 0, p.log())


class Recording:
    """What an end receives: what a gateway sends by AF_PACKET, no other socket of its interface sees."""

    def __init__(self, lab, name, end="g"):
        self.path = lab.file(name + ".json", "")
        self.p = lab.run(name, end, sys.executable, "-c", RECORD, end + "0", self.path)
        self.p.wait_for("recording")

    def stop(self):
        self.p.p.send_signal(signal.SIGTERM)
        self.p.p.wait(GUARD)
        with open(self.path) as f:
            self.seen = json.load(f)
        return self

    def sent(self, port=None):
        """Frames to the server, of that client's port."""
        return [p for up, c, p in self.seen if up and port in (None, c)]

    def back(self, port):
        """Bytes of UDP payload that the server has sent to that port."""
        return sum(len(p) // 2 - 42 for up, c, p in self.seen if not up and c == port)


def replay(lab, name, frames, port):
    path = lab.file(name + ".frames", json.dumps(frames))
    p = lab.run(name, "p", sys.executable, "-c", REPLAY, "p0", path, str(port))
    p.p.wait(GUARD)
    case.check("sent" in p.log(), p.log())


def recorded(lab, port, what, n):
    """The frames to the server of what a client's port is used for."""
    rec = Recording(lab, "rec")
    done(load(lab, what, what, "127.0.0.1", port, n))
    return rec.stop().sent()


def drops(lab, gw, name):
    return lab.telemetry(gw, "/kcpgate/drops")[name]


def opened(lab, gw):
    return lab.telemetry(gw, "/kcpgate/snmp")["PassiveOpens"]


def ports(lab, gw):
    return [int(r["peer"].rsplit(":", 1)[1]) for r in lab.telemetry(gw, "/kcpgate/sessions")]


def test_recording_from_elsewhere():
    """What was served once is not served again: no session, no connection to the target, not a byte back."""
    with Lab("ka") as lab:
        up(lab)
        srv = server(lab, "server")
        client(lab, "client", 13000)
        frames = recorded(lab, 13000, "small", 5)
        case.check(len(frames) > 5, len(frames))
        had, before = opened(lab, srv), drops(lab, srv, "replayed")
        rec = Recording(lab, "back", "p")
        replay(lab, "again", frames, 20001)
        wait_until("all seen", lambda: drops(lab, srv, "replayed") >= before + len(frames))
        case.check(rec.stop().back(20001) == 0, "bytes back:", rec.back(20001))
        case.check(opened(lab, srv) == had, "sessions")
        return "%d datagrams" % len(frames)


def test_recording_at_a_session():
    """Another client's first datagrams, old and of before a restart, with a victim's address and port."""
    with Lab("ka") as lab:
        up(lab)
        first = server(lab, "first")
        client(lab, "other", 13001)
        frames = recorded(lab, 13001, "small", 5)
        case.check(first.stop() == 0, "exit status")
        srv = server(lab, "second")
        client(lab, "victim", 13000)
        big = load(lab, "big", "big", "127.0.0.1", 13000, 30000000)
        wait_until("the victim's session", lambda: lab.telemetry(srv, "/kcpgate/snmp")["BytesSent"] > 100000)
        victim = ports(lab, srv)
        case.check(len(victim) == 1, victim)
        replay(lab, "attack", frames, victim[0])
        replay(lab, "attack2", frames, victim[0])
        done(big)
        case.check(drops(lab, srv, "rival") > 0, lab.telemetry(srv, "/kcpgate/drops"))
        case.check(drops(lab, srv, "replaced") == 0, "replaced")
        return "rival %d, replayed %d" % (drops(lab, srv, "rival"), drops(lab, srv, "replayed"))


def test_what_a_recording_is_sent():
    """A recorded download, of before a restart, from elsewhere: little comes back, for nobody acknowledges it."""
    with Lab("ka") as lab:
        up(lab)
        first = server(lab, "first")
        cli = client(lab, "client", 13000)
        frames = recorded(lab, 13000, "half", 1000000)[:30]
        case.check(cli.stop() == 0 and first.stop() == 0, "exit status")
        srv = server(lab, "second")
        rec = Recording(lab, "back", "p")
        replay(lab, "again", frames, 20001)
        time.sleep(8)
        got, paid = rec.stop().back(20001), sum(len(p) // 2 - 42 for p in frames)
        case.check(opened(lab, srv) == 1, "sessions")
        case.check(20000 < got < 60000 + paid, "%d bytes for %d" % (got, paid))
        return "%d bytes for %d" % (got, paid)


def after_a_restart(sig):
    """A download of before, recorded: the target hears nothing, and less comes back than was sent."""
    with Lab("ka") as lab:
        up(lab)
        state = os.path.dirname(lab.file("state", ""))
        first = server(lab, "first", state=state)
        cli = client(lab, "client", 13000)
        frames = recorded(lab, 13000, "half", 1000000)
        case.check(cli.stop() == 0, "exit status")
        first.stop(sig)
        srv = server(lab, "second", state=state)
        client(lab, "other", 13001)
        rec = Recording(lab, "back", "p")
        replay(lab, "again", frames, 20001)
        wait_until("in doubt", lambda: lab.telemetry(srv, "/kcpgate/limits")["unproved_sessions"]["in_doubt"] == 1)
        done(load(lab, "beside", "small", "127.0.0.1", 13001, 5))
        time.sleep(1)
        got, paid = rec.stop().back(20001), sum(len(p) // 2 - 42 for p in frames)
        limits, streams = lab.telemetry(srv, "/kcpgate/limits"), lab.telemetry(srv, "/kcpgate/sessions")
        case.check(limits["unproved_sessions"]["doubted"] == 1, limits)
        mine = [r for r in streams if r["peer"].endswith(":20001")]
        case.check(len(mine) == 1 and mine[0]["streams"] == 0, mine)
        case.check(0 < got <= paid, "%d bytes for %d" % (got, paid))
        return "%d bytes for %d" % (got, paid)


def test_recording_of_before_a_restart():
    return after_a_restart(signal.SIGTERM)


def test_recording_of_before_a_kill():
    return after_a_restart(signal.SIGKILL)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
