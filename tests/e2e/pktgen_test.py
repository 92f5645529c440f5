#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What perf/pktgen makes: captures that are what they say, and replays of which every packet is accounted for."""
import copy
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("lab", "interop", os.path.join("..", "perf", "pktgen")):
    sys.path.insert(0, os.path.join(HERE, "..", folder))
import case
import replay
from decode import PUSH, Shape, decode, pcap
from lab import GUARD, LOAD_GUARD, LabError

KINDS = ["--mix", "new=1,steady=20,repeat=4,garbage=3,truncated=3"]
SIX = ["--src", "2001:2::1", "--dst", "2001:2:0:1::1"]


class Folder:
    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="kcpgate-pktgen-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)


def options(shape, *more):
    v = ["--crypt", shape.crypt, "--key", shape.key, "--datashard", shape.ds, "--parityshard", shape.ps, "--smuxver",
         shape.smuxver, "--mtu", shape.mtu] + list(more)
    return v + ["--nocomp"] if shape.nocomp else v


# ---- captures

SHAPES = [Shape(crypt=c, **o) for c, o in (
    ("aes", dict()), ("aes-128", dict(ds=3, ps=2, smuxver=1)), ("aes-192", dict(ds=1, ps=1, nocomp=True)),
    ("aes-128-gcm", dict(ds=5, ps=1, mtu=1400)), ("none", dict(ds=0, ps=0, smuxver=1)),
    ("null", dict(ds=0, ps=0, nocomp=True)), ("null", dict(ds=2, ps=3)), ("xor", dict(ds=20, ps=10, mtu=500)))]


def test_decoder():
    """The plain decoder of the wire reads what mkpcap makes, and finds as much in it as mkpcap says."""
    packets = 0
    with Folder() as folder:
        path = os.path.join(folder, "a")
        for i, shape in enumerate(SHAPES):
            e = replay.mkpcap(path, *options(shape, "--packets", 60, "--mix", "steady=3,repeat=1", "--streams", 1 + i % 3,
                                             "--seed", i, *(["--text"] if i % 2 else [])))
            s = decode([(t, "c2s", p) for t, _, _, p in pcap(path)], shape)
            case.check(sum(len(st.data["c2s"]) for st in s.streams.values()) == e["payload"], shape.crypt, "payload")
            case.check(len(s.streams) == e["streams"], shape.crypt, "streams", len(s.streams))
            case.check(s.count["c2s", PUSH] == 60, shape.crypt, s.count)
            case.check(getattr(s, "parities", 0) == e["kinds"]["parity"], shape.crypt, "parity", e["kinds"])
            packets += e["packets"]
    return "%d packets" % packets


def frames(path):
    with open(path, "rb") as f:
        raw = f.read()
    case.check(struct.unpack_from("<IHHiIII", raw) == (0xa1b2c3d4, 2, 4, 0, 0, 65535, 1), "the capture's header")
    at = 24
    while at < len(raw):
        _, _, n, whole = struct.unpack_from("<IIII", raw, at)
        case.check(n == whole and at + 16 + n <= len(raw), "a frame of", n)
        yield raw[at + 16:at + 16 + n]
        at += 16 + n


def checksum(b):
    b += b"\0" * (len(b) % 2)
    s = sum(struct.unpack(">%dH" % (len(b) // 2), b))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return s


def headers(f, six):
    """(whole, source address and port): whole when lengths and checksums are right."""
    ip, at = f[14:], 40 if six else 20
    case.check(f[12:14] == (b"\x86\xdd" if six else b"\x08\x00"), "type of", f[:14].hex())
    case.check(f[:12] == bytes.fromhex("027063617000" "020000000001"), "addresses of", f[:14].hex())
    length = struct.unpack_from(">H", ip, 4 if six else 2)[0] + (40 if six else 0)
    sport, dport, udp, _ = struct.unpack_from(">HHHH", ip, at)
    src, dst = (ip[8:24], ip[24:40]) if six else (ip[12:16], ip[16:20])
    case.check(dport == 4000, "port", dport)
    case.check(six or checksum(ip[:20]) == 0xffff, "IPv4 checksum")
    whole = len(ip) == length and udp == length - at
    if whole:
        case.check(checksum(src + dst + struct.pack(">II", udp, 17) + ip[at:]) == 0xffff, "UDP checksum")
    return whole, (src, sport)


def test_frames():
    """Headers are right but where they are meant not to be; flows are as many as asked for, over ports and addresses."""
    with Folder() as folder:
        path = os.path.join(folder, "a")
        for six in (False, True):
            e = replay.mkpcap(path, "--sessions", 60, "--packets", 20, "--flows", 40, "--strangers", 10, "--sport", 65530,
                              "--mix", "new=4,steady=20,repeat=4,garbage=3,truncated=3", *(SIX if six else []))
            seen = [headers(f, six) for f in frames(path)]
            cut = sum(not whole for whole, _ in seen)
            case.check(len(seen) == e["packets"], "packets", len(seen))
            case.check(cut == e["drops"]["udp_length"] + e["drops"]["ip_header"], "cut short:", cut, e["drops"])
            case.check(0 < cut < e["kinds"]["truncated"], "cut short:", cut)
            flows = {flow for _, flow in seen}
            case.check(len(flows) == 50 and len({a for a, _ in flows}) == 9, "flows", len(flows))
            case.check(e["replaced"] == e["sessions"] - 40, "replaced", e)


def test_seed():
    """The same options give the same file, another seed another."""
    with Folder() as folder:
        files = []
        for i, seed in enumerate((7, 7, 8)):
            files.append(os.path.join(folder, str(i)))
            replay.mkpcap(files[-1], "--sessions", 20, "--packets", 20, "--crypt", "aes-128-gcm", "--seed", seed, *KINDS)
        a, b, c = [open(f, "rb").read() for f in files]
        case.check(a == b, "one seed, two captures")
        case.check(a != c, "two seeds, one capture")


def test_refusals():
    for argv in (["--mix", "steady"], ["--mix", "other=1"], ["--mix", "steady=0"], ["--crypt", "rot13"], ["--smuxver", "3"],
                 ["--length", "1400", "--mtu", "1350"], ["--garbage-length", "9-8"], ["--sessions", "0"],
                 ["--datashard", "200", "--parityshard", "100"], ["--src", "2001:2::1"], ["--smac", "02:00"],
                 ["--length", "128", "--streams", "16"], ["--dst", "host"]):
        try:
            replay.mkpcap(os.devnull, *argv)
        except LabError:
            continue
        case.check(False, argv, "went unnoticed")


# ---- replays

def run(*options, **how):
    r = replay.Run(options, **how)
    case.check(r.go() == 0, "\n" + r.table.text())
    return r


def test_exact():
    """Once through captures of every kind: the gateway counts what mkpcap foretold, to the packet and the byte."""
    packets = 0
    for i, (shape, more) in enumerate(zip(SHAPES, ([], SIX, ["--flows", 10], ["--streams", 2, "--text"], SIX,
                                                   ["--strangers", 30], [], ["--garbage-length", "0-40"]))):
        packets += run(*options(shape, "--sessions", 30, "--packets", 20, "--seed", i, *KINDS, *more)).e["packets"]
    return "%d packets" % packets


def test_exact_two_workers():
    run("--sessions", 60, "--packets", 20, *KINDS, workers=2)


def test_exact_new_sessions():
    e = run("--sessions", 2000, "--packets", 1, "--mix", "new=1", "--length", 200).e
    case.check(e["kinds"]["new"] == e["sessions"] == 2000, e)


def test_answers():
    """And what it sent back, acknowledgements and window updates, fits what it was sent."""
    shape = Shape(crypt="aes-128", ds=3, ps=2, ours=("s2c",))
    with Folder() as folder:
        run(*options(shape, "--packets", 60, "--mix", "steady=3,repeat=1"), keep=folder)
        # The answers' times are real: a gateway that had to wait for its CPU may skip parity, as the decoder knows.
        both = [(t if w == "s2c" else 0.0, w, p) for w, name in (("c2s", "in.pcap"), ("s2c", "out.pcap"))
                for t, _, _, p in pcap(os.path.join(folder, name))]
        s = decode(both, shape)
        case.check(s.count["s2c", 82] > 0, "no acknowledgements", s.count)
        case.check(s.streams[3].consumed["s2c"] > 0, "no window update")


def test_memif():
    for workers in (1, 2):
        run("--sessions", 50, "--packets", 40, "--seed", workers, *KINDS, source="memif", workers=workers)


def test_again_and_again():
    """The endless forms: nothing is foretold but that everything is accounted for."""
    run("--sessions", 16, "--packets", 16, "--nocomp", seconds=0.3)
    run("--packets", 1000, "--mix", "garbage=1", "--garbage-length", "64-64", seconds=0.3)
    run("--packets", 1000, "--mix", "garbage=1", "--garbage-length", "64-64", seconds=0.3, source="memif")


def test_unaccounted():
    """One packet more or less, of any counter, is found."""
    r = run("--sessions", 10, "--packets", 20, *KINDS)

    def faults(change):
        v, e, t = copy.deepcopy(r.last), copy.deepcopy(r.e), replay.Table()
        change(v, e)
        replay.reconcile(t, v, e["packets"], "packets of the capture")
        replay.expected(t, v, e)
        return t.bad

    def less(group, name):
        def change(v, e):
            v[group][name] -= 1
        return change

    case.check(faults(lambda v, e: None) == 0, "faults without a fault")
    for group, name in (("port", "ipackets"), ("workers", "rx_packets"), ("snmp", "InPkts"), ("drops", "crypt_bad"),
                        ("drops", "udp_length"), ("snmp", "RepeatSegs"), ("snmp", "PassiveOpens"), ("snmp", "OutPkts"),
                        ("workers", "tx_packets"), ("port", "opackets")):
        case.check(faults(less(group, name)) > 0, "one fewer", name, "went unnoticed")
    case.check(faults(lambda v, e: e["snmp"].update(BytesReceived=1)) > 0, "bytes")


STANDIN = """
-- Pktgen and a gateway of CAPACITY packets/s, as far as the search can see them.
local LINK, CAPACITY, HELD, FORM, SEEN = 14880952, %d, %d, %d, %d
local rate, on, sent, received = 0, false, 0, 0
pktgen = {
	screen = function() end,
	pcap = function(port, how) assert(port == "0" and (how == "on" or how == "off")) end,
	set = function(port, what, v)
		assert(port == "0" and (what == "rate" or what == "count" or what == "burst"))
		if what == "rate" then rate = v end
	end,
	start = function() on = true end,
	stop = function() on = false end,
	delay = function(ms)
		if not on then return end
		local n = math.floor(LINK * rate / 100 * ms / 1000)
		local room = (ms > 10000 and HELD or CAPACITY) * ms // 1000
		sent = sent + n
		received = received + math.min(n, room)
	end,
	portStats = function(...)
		local port, what = ...
		assert(select("#", ...) == FORM, "portStats, wrong number of arguments")
		assert(port == "0" and (what == "port" or FORM == 1))
		local counters = {opackets = sent}
		return {[0] = FORM == 1 and {curr = counters, rate = {opackets = 1}} or counters, n = 1}
	end,
}
io.popen = function(command)
	assert(command == "ask")
	return {
		read = function() return string.format("received %%d lost %%d\\n", received, (sent - received) * SEEN) end,
		close = function() end,
	}
end
dofile(os.getenv("KCPGATE_PKTGEN") .. "/%s.lua")
"""


def search(folder, name, capacity, held, form, seen):
    """What Pktgen prints."""
    where = os.path.join(HERE, "..", "..", "perf", "pktgen")
    path = os.path.join(folder, "standin.lua")
    with open(path, "w") as f:
        f.write(STANDIN % (capacity, held, form, seen, name))
    p = subprocess.run(["lua5.4", path], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=GUARD, env=dict(os.environ, KCPGATE_PKTGEN=where, KCPGATE_COUNTERS="ask"))
    case.check(p.returncode == 0, p.stdout)
    with open(os.path.join(folder, name + ".txt")) as f:
        case.check(f.read() == p.stdout, "the file says something else")
    return p.stdout


def test_search():
    """Pktgen's scripts, run by Lua with stand-ins for Pktgen and the gateway, find the rate that these lose nothing at: with
    portStats of 23.03 and of 26.02, and also where the gateway has no counter for what it did not get."""
    found = []
    with Folder() as folder:
        for name, form, seen in (("single-flow", 2, 1), ("many-flows", 2, 0), ("single-flow", 1, 0), ("many-flows", 1, 1)):
            for capacity, held, low, high in ((5000000, 5000000, 33.5, 33.61), (20000000, 20000000, 100, 100),
                                              (5000000, 4800000, 31.5, 32.26), (0, 0, 0, 0)):
                out = search(folder, name, capacity, held, form, seen)
                rate = float(out.strip().split("\n")[-1].split()[2])
                case.check(low <= rate <= high, rate, out)
                # The first trial is at the link's rate, for ten seconds: what of it did not arrive is said to be where it is.
                gone = str(max(0, 148809520 - 10 * capacity))
                words = ("no room %s, missing 0\n" if seen else "no room 0, missing %s\n") % gone
                case.check(words in out, words, out)
                found.append(rate)
    return "%s %%" % found


def test_run():
    """The command: its exit status, its JSON."""
    with Folder() as folder:
        out = os.path.join(folder, "json")
        p = subprocess.run([os.path.join(HERE, "..", "..", "perf", "pktgen", "run"), "exact", "--json", out, "--",
                            "--sessions", "5"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LOAD_GUARD)
        case.check(p.returncode == 0 and "all packets accounted for" in p.stdout, p.stdout)
        with open(out) as f:
            case.check(json.load(f)["exact"]["faults"] == 0, "faults")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
