#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Scripted sessions of ours, captured between the ends and read by a decoder that shares nothing with the gateway."""
import json
import os
import random
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
import load as traffic
from decode import ACK, PUSH, WAYS, Shape, WireError, decode, pcap
from kcptun_test import stock
from lab import ROOT, Lab, eal, wait_until

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
BIG, SMALL = 150000, 12


# ---- the decoder on what stock programs sent

def recorded(name, **opts):
    with open(os.path.join(ROOT, "tests", "vectors", "e2e_%s.pcap.json" % name)) as f:
        j = json.load(f)
    packets = [(p["t_us"] / 1e6, p["dir"], bytes.fromhex(p["hex"])) for p in j["packets"]]
    return packets, Shape(**opts), bytes.fromhex(j["app_request"]), bytes.fromhex(j["app_response"])


RECORDED = [("aes_fec_snappy_smux1", dict(smuxver=1), 0),
            ("none_nofec_nocomp_smux2", dict(crypt="none", ds=0, ps=0, nocomp=True), 0),
            ("aes128gcm_fec_snappy_smux2", dict(crypt="aes-128-gcm", ds=3, ps=2), 0),
            ("null_nofec_nocomp_smux2_qpp", dict(crypt="null", ds=0, ps=0, nocomp=True, qpp=61), 0),
            ("v2021_defaults", dict(smuxver=1, generation=2021), 0),
            ("v2016_defaults", dict(smuxver=1, generation=2016), 3)]


def test_recorded():
    """The decoder takes every recorded session of the stock programs."""
    for name, opts, garbage in RECORDED:
        packets, shape, request, response = recorded(name, **opts)
        s = decode(packets, shape, garbage=garbage > 0)
        case.check(list(s.streams) == [3], name, "streams", list(s.streams))
        case.check(s.streams[3].data["c2s"] == request and s.streams[3].data["s2c"] == response, name, "other bytes")
        case.check(sum(s.refused.values()) == garbage, name, "refused", s.refused)
    return "%d captures" % len(RECORDED)


def test_refusals():
    """And it can say no: to a datagram missing, changed, or of another session."""
    packets, shape, _, _ = recorded("aes_fec_snappy_smux1", smuxver=1)
    first = next(i for i, p in enumerate(packets) if p[1] == "c2s")
    flipped = bytearray(packets[5][2])
    flipped[30] ^= 1
    wrong = {
        "one missing": packets[:first + 3] + packets[first + 4:],
        "one bit": packets[:5] + [(packets[5][0], packets[5][1], bytes(flipped))] + packets[6:],
        "one twice": packets[:6] + [packets[5]] + packets[6:],
        "other way": [(t, "s2c" if w == "c2s" else "c2s", p) for t, w, p in packets],
    }
    for what, v in wrong.items():
        try:
            decode(v, shape)
        except WireError:
            continue
        case.check(False, what, "went unnoticed")
    for other in (dict(smuxver=2), dict(smuxver=1, nocomp=True), dict(smuxver=1, ds=9), dict(smuxver=1, key="x")):
        try:
            decode(packets, Shape(**other))
        except WireError:
            continue
        case.check(False, other, "went unnoticed")


# ---- sessions of ours

def tunnel(role, listen, far, shape, **more):
    o = dict(key='"%s"' % shape.key, crypt='"%s"' % shape.crypt, mode='"fast2"', datashard=shape.ds, parityshard=shape.ps,
             nocomp=str(shape.nocomp).lower(), smuxver=shape.smuxver, mtu=shape.mtu, sndwnd=256, rcvwnd=256,
             closewait=0 if role == "server" else 2, **more)
    if shape.qpp:
        o.update({"qpp": "true", "qpp-count": shape.qpp})
    return '{ name = "t"; role = "%s"; listen = "%s"; %s = "%s"; %s }' % (
        role, listen, "target" if role == "server" else "remote", far, " ".join("%s = %s;" % kv for kv in o.items()))


def conf(iface, text):
    return (eal() + 'ports = ( { name = "p0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n' % iface +
            "tunnels = ( %s );\n" % text)


def routed(lab):
    """a and b, the ends, and a router m between them, where both directions can be seen as they arrive."""
    lab.add_ns("a", "b", "m")
    lab.sysctl("m", "net.ipv4.ip_forward", 1)
    for i, ns in enumerate("ab"):
        lab.veth(ns, "k%d" % i, "m", "m%d" % i)
        lab.addr(ns, "k%d" % i, "10.77.%d.1/24" % (i + 1))
        lab.addr("m", "m%d" % i, "10.77.%d.254/24" % (i + 1))
        lab.ip(ns, "route", "add", "default", "via", "10.77.%d.254" % (i + 1))


def capture(lab):
    taps = []
    for i in range(2):
        tap = lab.run("tap%d" % i, "m", "tcpdump", "-i", "m%d" % i, "-Q", "in", "-w", os.path.join(lab.dir, "m%d" % i),
                      "-U", "--immediate-mode", "-B", "16384", "udp port 4000")
        tap.wait_for("listening")
        taps.append(tap)
    return taps


def captured(lab, taps):
    """The packets of both taps as decode() wants them, and their conversations' client ports."""
    v = []
    lab.captured(*taps)
    for i, tap in enumerate(taps):
        tap.stop(signal.SIGINT)
        case.check("\n0 packets dropped by kernel" in tap.log(), tap.log())
        for t, src, dst, p in pcap(os.path.join(lab.dir, "m%d" % i)):
            v.append((t, "c2s" if dst[1] == 4000 else "s2c", p, src if dst[1] == 4000 else dst))
    v.sort(key=lambda p: p[0])
    return [p[:3] for p in v], {p[3] for p in v}


def side(seed, up, down):
    """What the two applications of one exchange write."""
    data = b"".join(traffic.pattern(seed, up))
    return (traffic.HEAD.pack(b"KG", b"B", b"\0", seed, up, down) + data,
            b"".join(traffic.pattern(seed ^ 0x5a5a5a5a, down)) + traffic.digest(seed, up))


def expected():
    """The streams of the script, by their bytes."""
    rnd = random.Random(SMALL)
    shapes = [(1, BIG, BIG)] + [(1000 + i, rnd.randrange(1, 3000), rnd.randrange(1, 3000)) for i in range(SMALL)]
    seed, up, down = 1, 5000, 20000
    half = (traffic.HEAD.pack(b"KG", b"H", b"\0", seed, up, down) + b"".join(traffic.pattern(seed, up)),
            traffic.digest(seed, up) + b"".join(traffic.pattern(seed ^ 0x5a5a5a5a, down)))
    return sorted([side(*s) for s in shapes] + [half])


def script(lab, port=13000, half=True):
    for argv in [("mixed", BIG, SMALL)] + ([("half", 20000)] if half else []):
        p = lab.run("load-" + argv[0], "b", sys.executable, LOAD, argv[0], "127.0.0.1", str(port),
                    *[str(a) for a in argv[1:]])
        p.end()
        case.check(p.p.returncode == 0, p.log())


def accept(lab, taps, shape, want, hello):
    packets, ports = captured(lab, taps)
    case.check(len(ports) == 1, "client ports", ports)
    s = decode(packets, shape)
    got = sorted((st.data["c2s"], st.data["s2c"]) for st in s.streams.values())
    case.check(got == want, "the decoder found other bytes: streams", len(got), "of", len(want))
    ends = {sid: st.fin for sid, st in s.streams.items() if not any(st.fin.values())}
    case.check(not ends, "streams without a FIN", ends)
    case.check({w for w in WAYS if s.hello[w] is not None} == set(hello), "HELLO", s.hello)
    case.check(all(s.count[w, PUSH] > 10 and s.count[w, ACK] > 0 for w in WAYS), s.count)
    if shape.fec:
        case.check(s.parities > 10, "parities", s.parities)
    return "%d packets, %d streams" % (len(packets), len(got))


def both_ours(lossy=False, **opts):
    """kcpgate on both sides; half-closes too, which only its own kind understands. The taps see what is lost later."""
    shape = Shape(ours=WAYS, window=256, **opts)
    with Lab("kw") as lab:
        routed(lab)
        lab.run("target", "a", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
        srv = lab.gateway("server", "a", conf("k0", tunnel("server", ":4000", "127.0.0.1:9000", shape)))
        cli = lab.gateway("client", "b", conf("k1", tunnel("client", "127.0.0.1:13000", "10.77.1.1:4000", shape)))
        taps = capture(lab)
        if lossy:
            lab.lose("m", 10)
        script(lab)
        wait_until("streams closed", lambda: all(w["streams"] == 0 for g in (srv, cli)
                                                 for w in lab.telemetry(g, "/kcpgate/workers")))
        case.check(cli.stop() == 0 and srv.stop() == 0, "exit status")
        note = accept(lab, taps, shape, expected(), WAYS)
        return note + (", %d lost" % lab.lost("m") if lossy else "")


def one_stock(role, **opts):
    """kcpgate in `role`, Debian's kcptun as the other."""
    c = dict(crypt=opts["crypt"], mode="fast2", ds=opts["ds"], ps=opts["ps"], nocomp=opts["nocomp"],
             smuxver=opts["smuxver"])
    # The generation's frames are of any size up to its buffer's, and its parity follows whatever the gap.
    shape = Shape(key="interop", ours=("c2s",) if role == "client" else ("s2c",), framesize=32768, window=1024, **opts)
    with Lab("kw") as lab:
        routed(lab)
        lab.run("target", "a", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
        if role == "client":
            lab.run("stock", "a", *stock(c, "server", ":4000", "127.0.0.1:9000")).wait_for("key derivation done")
            gw = lab.gateway("gw", "b", conf("k1", tunnel("client", "127.0.0.1:13000", "10.77.1.1:4000", shape)))
            taps = capture(lab)
        else:
            gw = lab.gateway("gw", "a", conf("k0", tunnel("server", ":4000", "127.0.0.1:9000", shape)))
            taps = capture(lab)
            lab.run("stock", "b", *stock(c, "client", "127.0.0.1:13000", "10.77.1.1:4000")).wait_for("key derivation done")
        script(lab, half=False)
        wait_until("streams closed", lambda: all(w["streams"] == 0 for w in lab.telemetry(gw, "/kcpgate/workers")))
        case.check(gw.stop() == 0, "exit status")
        want = [e for e in expected() if e[0][2:3] != b"H"]
        return accept(lab, taps, shape, want, shape.ours)


def test_ours_aes_fec_snappy_smux1():
    return both_ours(crypt="aes", smuxver=1)


def test_ours_aes128_fec_snappy_smux2():
    return both_ours(crypt="aes-128", ds=3, ps=2, key="wire", mtu=1200)


def test_ours_aes192_fec_nocomp_smux2():
    return both_ours(crypt="aes-192", ds=20, ps=10, nocomp=True, mtu=1472)


def test_ours_none_nofec_nocomp_smux2():
    return both_ours(crypt="none", ds=0, ps=0, nocomp=True)


def test_ours_null_nofec_snappy_smux2():
    return both_ours(crypt="null", ds=0, ps=0)


def test_ours_gcm_fec_snappy_smux2():
    return both_ours(crypt="aes-128-gcm", ds=3, ps=2)


def test_ours_xor_nofec_qpp():
    return both_ours(crypt="xor", ds=0, ps=0, nocomp=True, smuxver=1, qpp=13)


def test_ours_lossy():
    """One packet in ten is lost behind the taps: retransmissions say again what was said."""
    return both_ours(lossy=True, crypt="aes-128", ds=10, ps=3)


def test_our_client_stock_server():
    return one_stock("client", crypt="aes", ds=10, ps=3, nocomp=False, smuxver=1)


def test_our_server_stock_client():
    return one_stock("server", crypt="aes-128", ds=5, ps=2, nocomp=True, smuxver=2)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
