# SPDX-License-Identifier: MIT
"""Captures of kcpgate-mkpcap replayed into a gateway, and the counters of both sides brought together to the packet.

No hardware: the gateway's port is DPDK's pcap driver, or memif with dpdk-testpmd at the other end. README.md here says
what such a run shows.
"""
import json
import os
import re
import signal
import selectors
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
from lab import GUARD, Lab, LabError, telemetry, wait_until  # noqa: E402

SMAC = "02:00:00:00:00:01"
DMAC = {"pcap": "02:70:63:61:70:00", "memif": "02:00:00:00:00:02"}
NEAR = {4: ("198.19.0.1/24", "198.19.0.2"), 6: ("2001:2:0:1::1/64", "2001:2:0:1::2")}
PORT = 9000  # of the target
BURST = 256  # packets that a worker may hold within a turn

# What a dropped packet was before: on its way to a session; within one, where it has been counted as InPkts; or on its
# way out. The rest of the list drops sessions and streams.
BEFORE = ("frame_short not_for_us other_host vlan ip_header ip_checksum ip_fragment udp_length udp_checksum tcp_control "
          "multi_segment steer_full punt_full crypt_short crypt_bad no_listener foreign short stray conv parity_alone "
          "session_limit").split()
OUT = "inject_full tx_full tx_long port_down no_route no_neighbour".split()


def mkpcap(path, *options):
    """Writes a capture; its expectation."""
    tool = os.path.join(os.environ.get("KCPGATE_BUILD", os.path.join(ROOT, "build")), "perf", "pktgen", "kcpgate-mkpcap")
    p = subprocess.run([tool, *[str(o) for o in options], path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode:
        raise LabError("kcpgate-mkpcap: exit %d: %s" % (p.returncode, p.stderr.strip()))
    return json.loads(p.stdout)


def family(e):
    return 6 if ":" in e["tunnel"]["address"] else 4


# ---- the gateway and what stands round it

def cpus(workers):
    """Control's CPU and the workers': the last ones are theirs alone where there are enough."""
    have = sorted(os.sched_getaffinity(0))
    mine = have[-workers:]
    return have[0], (mine if len(mine) == workers else [have[-1]] * workers)


def conf(e, device, workers=1, poll=False):
    t, (near, via) = e["tunnel"], NEAR[family(e)]
    control, mine = cpus(workers)
    lcores = ",".join(["0@%d" % control] + ["%d@%d" % (i + 1, c) for i, c in enumerate(mine)])
    sessions = max(64, e["sessions"] + 64)
    return """
eal = { lcores = "%s"; hugepages = false; file_prefix = "@PREFIX@"; idle = "%s"; };
limits = { sessions = %d; streams = %d; };
ports = ( { name = "p0"; device = "%s"; exception = "tap"; ifname = "x0"; addresses = [ "%s" ]; gateway = [ "%s" ]; } );
tunnels = ( { name = "t"; congestion = "stock"; role = "server"; listen = ":%d"; target = "127.0.0.1:%d"; key = "%s"; crypt = "%s";
              datashard = %d; parityshard = %d; nocomp = %s; smuxver = %d; mtu = %d; mode = "fast3"; replaycheck = false; } );
log = { level = "info"; };
""" % (lcores, "poll" if poll else "adaptive", sessions, max(1024, 2 * e["streams"]), device, near, via, t["port"], PORT,
       t["key"], t["crypt"], t["datashard"], t["parityshard"], str(t["nocomp"]).lower(), t["smuxver"], t["mtu"])


def sink():
    """A target that reads and counts; SIGTERM makes it say how much."""
    counts = [0, 0]

    def tell(*_):
        print("%d connections, %d bytes" % tuple(counts), flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, tell)
    listener = socket.create_server(("127.0.0.1", PORT), backlog=4096)
    sel = selectors.DefaultSelector()
    sel.register(listener, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        for key, _ in sel.select():
            if key.fileobj is listener:
                c, _ = listener.accept()
                counts[0] += 1
                sel.register(c, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(1 << 20)
            except OSError:
                data = b""
            counts[1] += len(data)
            if not data:
                sel.unregister(key.fileobj)
                key.fileobj.close()


class Testpmd:
    """dpdk-testpmd that moves packets from a capture to memif, and what comes back into another capture or nowhere."""

    def __init__(self, lab, capture, path, infinite, answers=None):
        self.prefix = lab.tag + "-testpmd"
        control, _ = cpus(1)
        device = "net_pcap0,rx_pcap=%s%s%s" % (capture, ",tx_pcap=%s" % answers if answers else "",
                                              ",infinite_rx=1" if infinite else "")
        self.p = lab.run("testpmd", "a", "stdbuf", "-oL", "dpdk-testpmd", "--lcores", "0@%d,1@%d" % (control, control),
                         "--no-huge", "-m", "256", "--no-shconf", "--no-pci", "--file-prefix", self.prefix, "--vdev", device,
                         "--vdev", "net_memif0,role=client,socket=%s,socket-abstract=no" % path, "--", "--nb-cores=1",
                         "--total-num-mbufs=16384", "--no-flush-rx", "-i", stdin=subprocess.PIPE)
        self.p.wait_for("testpmd> ")
        # The exact run waits for room in the ring; a flood counts what finds none.
        self.say("set fwd io" if infinite else "set fwd io retry")
        if not infinite:
            self.say("set burst tx delay 1 retry 1000000")

    def say(self, command):
        self.p.p.stdin.write((command + "\n").encode())
        self.p.p.stdin.flush()

    def start(self):
        self.say("start")

    def stop(self):
        """Stops forwarding; what both of its ports have counted."""
        self.say("stop")
        wait_until("testpmd stops", lambda: "Accumulated forward statistics" in self.p.log())
        lost = re.findall(r"statistics for port 1 .*?TX-dropped: (\d+)", self.p.log(), re.S)
        pcap, memif = [telemetry(self.prefix, "/ethdev/stats,%d" % i) for i in (0, 1)]
        return {"read": pcap["ipackets"], "no_room": int(lost[-1]) if lost else 0, "sent": memif["opackets"],
                "answers": memif["ipackets"], "answers_written": pcap["opackets"]}

    def quit(self):
        self.say("quit")
        self.p.end()


# ---- counters

def look(lab, gw):
    """All counters of the gateway, summed over its workers, in an order in which what is accounted for cannot be ahead."""
    v = {"at": time.monotonic()}
    before = lab.telemetry(gw, "/kcpgate/workers")
    # What is on its way from one worker to another has been received, and is nobody's yet.
    v["rx_before"] = sum(w["rx_packets"] - w["steered_out"] + w["steered_in"] for w in before)
    v["snmp"] = lab.telemetry(gw, "/kcpgate/snmp")
    v["drops"] = lab.telemetry(gw, "/kcpgate/drops")
    v["control"] = lab.telemetry(gw, "/kcpgate/control")
    workers = lab.telemetry(gw, "/kcpgate/workers")
    v["workers"] = {k: sum(w[k] for w in workers) for k in workers[0]}
    v["turns"] = [w["turns"] for w in workers]
    v["port"] = {k: n for k, n in lab.telemetry(gw, "/ethdev/stats,0").items() if not k.startswith("q_")}
    return v


def received_and_lost(prefix):
    """What `counters` prints, of any kcpgate on this host."""
    drops = telemetry(prefix, "/kcpgate/drops")
    full = [drops[k] for k in ("steer_full", "punt_full", "no_mbuf")]
    received = telemetry(prefix, "/kcpgate/snmp")["InPkts"] + sum(drops[k] for k in BEFORE if not k.endswith("_full"))
    ports = [telemetry(prefix, "/ethdev/stats,%d" % i) for i in telemetry(prefix, "/ethdev/list")]
    return received, sum(full) + sum(p["imissed"] + p["rx_nombuf"] for p in ports)


def missing(sent, now, since=(0, 0)):
    """What was sent, received and lost between two of the above, and what nobody has seen: lost before the port."""
    received, lost = now[0] - since[0], now[1] - since[1]
    return sent, received, lost, sent - received - lost


MOVES = ("turns", "busy_turns", "busy_cycles", "total_cycles", "cycles_per_packet", "sleeps", "memory_used", "max_burst")


def at_rest(v):
    """The counters without those that a gateway's mere being moves."""
    w = {k: n for k, n in v["workers"].items() if k not in MOVES and not k.startswith("cycles_")}
    c = {k: n for k, n in v["control"].items() if k not in ("mbufs_free", "snapshots")}
    return v["snmp"], v["drops"], w, c, v["port"]


def settle(lab, gw, done, timeout=GUARD):
    """Looks until done(v) or the time is over, and then until nothing moves between two looks.

    A worker may be kept from its CPU in the middle of a turn: between the looks each must have made two.
    """
    end = time.monotonic() + timeout
    v = look(lab, gw)
    while not done(v) and time.monotonic() < end:
        time.sleep(0.05)
        v = look(lab, gw)
    for _ in range(100):
        time.sleep(0.1)
        was, v = v, look(lab, gw)
        if at_rest(was) == at_rest(v) and all(b >= a + 2 for a, b in zip(was["turns"], v["turns"])):
            break
    return v


class Table:
    """Rows of what is the same by two ways of counting."""

    def __init__(self):
        self.rows, self.bad = [], 0

    def note(self, name, n):
        self.rows.append((name, n, None, ""))

    def same(self, name, found, expected):
        ok = found == expected
        self.bad += not ok
        off = "OFF BY %d" % (found - expected) if isinstance(found, int) else "NOT THE SAME"
        self.rows.append((name, found, expected, "" if ok else off))

    def within(self, name, found, low, high):
        ok = low <= found <= high
        self.bad += not ok
        self.rows.append((name, found, "%d..%d" % (low, high), "" if ok else "OUTSIDE"))

    def text(self):
        return "\n".join("  %-46s %12s %26s  %s" % (n, str(f), "" if e is None else str(e), w) for n, f, e, w in self.rows)


def accounted(t, v):
    """Where every packet of the gateway went that it received; how many that explains."""
    t.note("  InPkts (reached a session)", v["snmp"]["InPkts"])
    total = v["snmp"]["InPkts"] + v["workers"]["punted"]
    if v["workers"]["punted"]:
        t.note("  to the kernel", v["workers"]["punted"])
    for name in BEFORE:
        if v["drops"][name]:
            t.note("  dropped: %s" % name, v["drops"][name])
        total += v["drops"][name]
    return total


def outgoing(t, v):
    sent = v["workers"]["tx_packets"] + sum(v["drops"][name] for name in OUT)
    t.same("sent, or dropped by name = sessions' + kernel's", sent,
           v["snmp"]["OutPkts"] + v["control"]["exception_from_kernel"] + v["drops"]["inject_full"])
    t.same("port opackets = workers' tx_packets", v["port"]["opackets"], v["workers"]["tx_packets"])


def reconcile(t, v, came, source):
    """At rest: what came (by the sender's count), what the port received, what became of it. To the packet."""
    t.same("port ipackets = %s" % source, v["port"]["ipackets"], came)
    for k in ("imissed", "ierrors", "rx_nombuf"):
        t.same("port %s" % k, v["port"][k], 0)
    t.same("workers' rx_packets", v["workers"]["rx_packets"], v["port"]["ipackets"])
    t.same("rx_packets = accounted for", v["workers"]["rx_packets"], accounted(t, v))
    outgoing(t, v)


def expected(t, v, e, target=None):
    """Once through the capture: everything is as mkpcap foretold."""
    t.same("capture: packets", v["workers"]["rx_packets"], e["packets"])
    for name in BEFORE + ["kcp_input", "oob", "fec", "no_memory"]:
        if v["drops"][name] or e["drops"].get(name):
            t.same("capture: dropped: %s" % name, v["drops"][name], e["drops"].get(name, 0))
    t.same("capture: sessions replaced", v["drops"]["replaced"], e["replaced"])
    for name, n in e["snmp"].items():
        t.same("capture: %s" % name, v["snmp"][name], n)
    if not e["replaced"] and target:
        t.same("capture: streams = target's connections", target[0], e["streams"])
        t.same("capture: payload = bytes to the target", v["control"]["tcp_out_bytes"], e["payload"])
        t.same("capture: payload = target's bytes", target[1], e["payload"])


def speed(a, b):
    """Of the worker between two looks."""
    s = b["at"] - a["at"]
    d = {k: b["workers"][k] - a["workers"][k] for k in b["workers"] if k not in ("max_burst", "tsc_hz")}
    n = d["rx_packets"] or 1
    out = {"seconds": s, "packets_per_s": d["rx_packets"] / s, "gbit_per_s": d["rx_bytes"] * 8 / s / 1e9,
           "tx_per_s": d["tx_packets"] / s, "cycles_per_rx_packet": d["busy_cycles"] / n,
           "busy": d["busy_cycles"] / max(1, d["total_cycles"])}
    out["stages"] = {k[7:]: d[k] / n for k in d if k.startswith("cycles_") and k != "cycles_per_packet"}
    return out


# ---- runs

class Run:
    """One replay. what: 'pcap' or 'memif', the way in; seconds: 0 for once through the capture."""

    def __init__(self, options=(), source="pcap", seconds=0, workers=1, keep=None):
        self.options, self.source, self.seconds, self.workers = list(options), source, seconds, workers
        self.keep = keep  # folder for the captures, else the lab's
        self.table, self.speed, self.last = Table(), None, None

    def device(self, infinite):
        if self.source == "memif":
            return "net_memif0,role=server,socket=%s,socket-abstract=no,mac=%s" % (self.socket, DMAC["memif"])
        # Both directions of the driver have as many queues as there are files.
        return "net_pcap0,rx_pcap=%s%s" % (self.capture, ",infinite_rx=1" if infinite else ",tx_pcap=" + self.answers)

    def go(self):
        """Runs; the table's faults."""
        with Lab("kq") as lab:
            folder = self.keep or lab.dir
            self.capture, self.answers = os.path.join(folder, "in.pcap"), os.path.join(folder, "out.pcap")
            self.socket = os.path.join(lab.dir, "memif")
            self.e = mkpcap(self.capture, "--smac", SMAC, "--dmac", DMAC[self.source], *self.options)
            lab.add_ns("a")
            target = lab.run("target", "a", sys.executable, os.path.abspath(__file__), "sink")
            target.wait_for("listening")
            gw = lab.gateway("gw", "a", conf(self.e, self.device(self.seconds > 0), self.workers, self.seconds > 0))
            lab.ip("a", "neigh", "replace", NEAR[family(self.e)][1], "lladdr", SMAC, "dev", "x0", "nud", "permanent")
            if self.seconds:
                self.long(lab, gw, target)
            else:
                self.once(lab, gw, target)
            if gw.stop() != 0:
                raise LabError("the gateway's exit status is %d" % gw.p.returncode)
        return self.table.bad

    def once(self, lab, gw, target):
        pmd = self.testpmd(lab)
        v = settle(lab, gw, lambda v: v["workers"]["rx_packets"] >= self.e["packets"] and
                   (self.e["replaced"] or v["control"]["tcp_out_bytes"] >= self.e["payload"]))
        came, source = self.e["packets"], "packets of the capture"
        if pmd:
            came, source = self.sent(pmd.stop()), "testpmd's opackets"
            v = settle(lab, gw, lambda v: True)
            pmd.quit()
        self.counters = [self.told(gw, sent) for sent in (None, self.e["packets"], self.e["packets"] + 7)]
        target.stop()
        counts = [int(n) for n in re.search(r"(\d+) connections, (\d+) bytes", target.log()).groups()]
        reconcile(self.table, v, came, source)
        expected(self.table, v, self.e, counts)
        n = self.e["packets"]
        self.table.same("perf/pktgen/counters", self.counters[0], (0, "received %d lost 0" % n))
        self.table.same("  --sent", self.counters[1], (0, "sent %d received %d lost 0 missing 0" % (n, n)))
        self.table.same("  --sent 7 more", self.counters[2], (1, "sent %d received %d lost 0 missing 7" % (n + 7, n)))
        self.last = v

    def told(self, gw, sent):
        """By perf/pktgen/counters: its exit status and its line."""
        p = subprocess.run([os.path.join(ROOT, "perf", "pktgen", "counters"), gw.prefix,
                            *(["--sent", str(sent)] if sent else [])], stdout=subprocess.PIPE, text=True, timeout=GUARD)
        return p.returncode, p.stdout.strip()

    def long(self, lab, gw, target):
        """The capture again and again; the rate is taken after a second."""
        pmd = self.testpmd(lab)
        time.sleep(1)
        a = look(lab, gw)
        time.sleep(self.seconds)
        b = look(lab, gw)
        self.speed = speed(a, b)
        if pmd:
            came = self.sent(pmd.stop())
            v = settle(lab, gw, lambda v: v["port"]["ipackets"] >= came)
            pmd.quit()
            reconcile(self.table, v, came, "testpmd's opackets")
            self.opened(v)
            return
        # The driver cannot be stopped: what was accounted for lies between two looks at what was received.
        t, total = self.table, None
        for k in ("imissed", "ierrors", "rx_nombuf"):
            t.same("port %s" % k, b["port"][k], 0)
        t.note("rx_packets, before and after the other counters", "%d" % b["rx_before"])
        total = accounted(t, b)
        t.within("accounted for", total, b["rx_before"] - BURST * len(b["turns"]), b["workers"]["rx_packets"])
        self.opened(b)

    def opened(self, v):
        """The capture's sessions begin in its first round, and later ones find them, until they end for want of news."""
        if not self.e["replaced"]:
            self.table.within("sessions opened", v["snmp"]["PassiveOpens"], self.e["sessions"],
                              self.e["sessions"] + v["drops"]["timeout"])

    def testpmd(self, lab):
        if self.source != "memif":
            return None
        p = Testpmd(lab, self.capture, self.socket, self.seconds > 0, None if self.seconds else self.answers)
        p.start()
        return p

    def sent(self, s):
        """testpmd's own books; what it has sent."""
        t = self.table
        t.note("testpmd: read from the capture", s["read"])
        if s["no_room"]:
            t.note("testpmd: found no room in the ring", s["no_room"])
        t.same("testpmd: sent = read - no room", s["sent"], s["read"] - s["no_room"])
        return s["sent"]


if __name__ == "__main__" and sys.argv[1:] == ["sink"]:
    sink()
