#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kcpgate on the network cards of a virtual machine, by vfio-pci and its emulated IOMMU, and by uio_pci_generic.

  nic_test.py [DEVICE...] [CASE...]     one boot carries the devices; each runs the cases.  All, when none is named.
  nic_test.py --list

A name is of the lists below (`virtio`, `files_1_worker`); of a case, a part of its name will do.  Needs what
`scripts/deps vm` installs, as root; KCPGATE names another binary than the build's, KCPGATE_VM_CACHE where the kernel
and QEMU are kept.  KCPGATE_KEEP keeps what QEMU and the peers wrote.

QEMU emulates the CPU as well: nothing here says how fast anything is.
"""
import os
import re
import signal
import sys
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from bench import (BIG, MODERN, Device, Machine, Skip, check, image, peer_counters, qemu_or_skipped, skipping, time,
                   wait_until)
from lab import GUARD
from vm import MANAGED, Card, pci

HERE = os.path.dirname(os.path.abspath(__file__))


def devices():
    virtio = Card("virtio-net-pci", 2, MODERN)
    # QEMU gives each igb 8 virtual functions, in the two slots that lie 16 behind its own: two of them are not neighbours.
    return [
        Device("igb", Card("igb", 1, "romfile="), "vfio-pci", rss=True),
        Device("virtio", virtio, "vfio-pci"),
        Device("igb-uio", Card("igb", 1, "romfile="), "uio_pci_generic", rss=True),
        Device("virtio-nocsum", Card("virtio-net-pci", 2, MODERN + ",csum=off,guest_csum=off"), "vfio-pci"),
        Device("virtio-uio", Card("virtio-net-pci", 2, "disable-legacy=on,romfile="), "uio_pci_generic"),
        Device("transitional-uio", Card("virtio-net-pci", 2, "disable-legacy=off,romfile="), "uio_pci_generic"),
        Device("e1000", Card("e1000", 1, "romfile="), "vfio-pci"),
        Device("e1000-uio", Card("e1000", 1, "romfile="), "uio_pci_generic"),
        Device("e1000e", Card("e1000e", 1, "romfile="), "vfio-pci"),
        Device("e1000e-uio", Card("e1000e", 1, "romfile="), "uio_pci_generic"),
        Device("vmxnet3", Card("vmxnet3", 1, "romfile="), "vfio-pci"),
        Device("vmxnet3-uio", Card("vmxnet3", 1, "romfile="), "uio_pci_generic"),
    ]


# ---- the cases: functions of a device ----

def case_testpmd(d):
    """DPDK's own program on the card answers ARP and pings: what fails here is QEMU's or the driver's."""
    vm = d.up()
    d.drop_gateway()
    pmd = vm.run("testpmd", "exec dpdk-testpmd --in-memory -l 0,1 -m 256 -a %s -- --forward-mode=icmpecho --auto-start "
                 "--no-lsc-interrupt --stats-period=3600 --total-num-mbufs=4096" % pci(d.i))
    try:
        pmd.wait_for("Checking link statuses")
        wait_until("testpmd to answer pings", lambda: pmd.vm.pause() or " 2 received" in d.ping(check_it=False))
    finally:
        pmd.stop(signal.SIGINT)
    return "; ".join(sorted(set(d.vm.faults()[d.fault_count:])))


def case_files_1_worker(d):
    d.gateway(workers=1)
    d.files()


def case_files_2_workers(d):
    d.gateway(workers=2)
    d.files()


def case_ipv6(d):
    d.gateway(workers=2)
    d.files(family=6)


def case_arp_nd_ping(d):
    """The guest's kernel is reached, and reaches, through the exception path: address resolution and pings."""
    d.gateway(workers=2)
    for family in (4, 6):
        d.forget_neighbours()
        d.ping(family=family)
        d.ping("-s", "1400", family=family)
        d.forget_neighbours()
        d.vm.sh("ping -%d -n -c 2 -i 0.3 -W 20 %s" % (family, d.there(family)))


def case_tcp_outside(d):
    d.gateway(workers=2)
    for family in (4, 6):
        d.talk(family, True, 200000)


def case_tcp_guest(d):
    d.gateway(workers=2)
    for family in (4, 6):
        d.talk(family, False, 200000)


def case_checksums(d):
    """With the peer's checksum offload on and off: no kernel, on either side, sees a wrong checksum."""
    d.gateway(workers=1)
    before = d.checksum_errors()
    try:
        for offload in ("off", "on"):
            d.lab.sh("q", "ethtool", "-K", d.tap, "tx", offload, "tso", offload, "gso", offload)
            d.files(big=BIG // 4)
            for outside in (True, False):
                d.talk(4, outside, 100000)
    finally:
        d.lab.sh("q", "ethtool", "-K", d.tap, "tx", "on", check=False)
    wrong = d.checksum_errors() - before
    check(wrong == 0, "wrong checksums counted:", wrong)


def case_virtio_user(d):
    """exception = "virtio-user": the kernel by vhost-net, from the workers' own queues, and not by way of control."""
    if not d.rss and d.name not in ("virtio", "virtio-uio"):
        raise Skip("one card by each driver will do")
    before = None
    for workers in (1, 2):
        gw = d.gateway(workers=workers, exception="virtio-user")
        before = d.checksum_errors() if before is None else before
        does = d.vm.sh("ethtool -k %s" % d.ifname)
        for what in ("tx-checksumming", "tcp-segmentation-offload", "tx-tcp6-segmentation"):
            check(re.search(r"^\s*%s: on" % what, does, re.M), "the kernel is not spared its", what, does)
        d.wait_carrier(True)
        link = d.vm.sh("ip -o link show %s" % d.ifname)
        check("mtu 1500" in link and ",UP" in link, link)
        for family in (4, 6):
            d.forget_neighbours()
            d.ping(family=family)
            d.ping("-s", "1400", family=family)
            for outside in (True, False):
                cut = sum(w["exception_segmented"] for w in d.workers())
                d.talk(family, outside, 2 * BIG)
                check(sum(w["exception_segmented"] for w in d.workers()) > cut, "nothing was cut", family, outside)
        d.files(big=BIG // 4)
        seen = d.vm.telemetry(gw, "/kcpgate/control")
        check(seen["exception_to_kernel"] == seen["exception_from_kernel"] == 0, "frames went through control", seen)
        rows = d.workers()
        check(sum(w["punted"] for w in rows) > 300 and sum(w["injected"] for w in rows) > 300, rows)
        check(d.vm.sh("cat /sys/class/net/%s/address" % d.ifname).strip() in
              d.lab.ip("q", "neigh", "show", d.here()), "the interface has not the port's MAC")
        drops = d.drops()
        check(all(drops[why] == 0 for why in ("punt_full", "multi_segment", "segment", "tx_full", "no_mbuf")), drops)
    wrong = d.checksum_errors() - before
    check(wrong == 0, "wrong checksums counted:", wrong)
    d.vm.set_link(d.i, False)
    try:
        d.wait_carrier(False)
    finally:
        d.vm.set_link(d.i, True)
    d.wait_carrier(True)
    d.ping()
    check(d.gw.stop() == 0, "exit status", d.gw.log()[-600:])
    check(d.ifname not in d.vm.sh("ls /sys/class/net"), "the interface is left behind")


def case_no_hugepages(d):
    """Ordinary pages have no physical address that a program may know: with uio the start fails and says so."""
    if d.driver != "vfio-pci":
        d.up()
        d.drop_gateway()
        gw = d.vm.gateway("huge", d.conf(hugepages=False), ready=False)
        check(gw.end() != 0, "it started")
        check("hugepages" in gw.log(), gw.log()[-600:])
        return
    d.gateway(workers=2, hugepages=False)
    d.files()


def case_vlan(d):
    """Tagged frames pass between the wire and the guest's kernel, of full length as well."""
    d.gateway(workers=1)
    mac = d.lab.sh("q", "cat", "/sys/class/net/%s/address" % d.tap).strip()
    d.vm.sh("ip link add link {0} name v5 type vlan id 5 && ip addr add 10.85.0.1/24 dev v5 && ip link set v5 up && "
            "ip neigh add 10.85.0.2 lladdr {1} dev v5 nud permanent".format(d.ifname, mac))
    try:
        for size in (56, 1472):
            said = d.lab.sh("q", sys.executable, os.path.join(HERE, "tagged.py"), d.tap, "5", Card.mac(d.i), "10.85.0.2",
                            "10.85.0.1", str(size), check=False)
            check("answered with 5" in said, size, "bytes:", said)
    finally:
        d.vm.sh("ip link del v5")
    d.files(big=BIG // 4, roles=("client",))


def case_jumbo(d):
    """An underlay with a larger MTU: datagrams of 1500 bytes; and frames beyond the port's MTU hurt nothing."""
    vm = d.up()
    try:
        d.lab.ip("q", "link", "set", d.tap, "mtu", "2000")
        d.gateway(workers=1, mtu=2000, tunnel_mtu=1500)
        check(vm.sh("cat /sys/class/net/%s/mtu" % d.ifname).strip() == "2000", "the TAP's MTU")
        d.ping("-s", "1972", "-M", "do")
        d.files(more=("--mtu", "1500"))
        d.lab.ip("q", "link", "set", d.tap, "mtu", "9000")
        for size in (2100, 3000, 5000, 8900):
            d.lab.sh("q", "ping", "-n", "-c", "5", "-i", "0.01", "-W", "1", "-s", str(size), "-M", "do", d.here(), check=False)
        d.lab.ip("q", "link", "set", d.tap, "mtu", "2000")
        d.files(big=BIG // 4, roles=("client",), more=("--mtu", "1500"))
        d.ping()
    finally:
        d.lab.ip("q", "link", "set", d.tap, "mtu", "1500")


def case_link(d):
    """The link goes down and comes back: the log and the TAP's carrier say so, and a transfer goes on afterwards."""
    gw = d.gateway(workers=1)
    peer = d.stock("client")
    try:
        d.wait_carrier(True)
        load = d.load("big", "127.0.0.1", d.port(0), 6 * BIG, wait=False)
        wait_until("bytes", lambda: any(s["bytes_in"] > 100000 for s in d.vm.telemetry(gw, "/kcpgate/sessions")))
        d.vm.set_link(d.i, False)
        try:
            d.wait_carrier(False)
            check(load.alive(), "the transfer went on without a link")
        finally:
            d.vm.set_link(d.i, True)
        d.wait_carrier(True)
        check(load.end() == 0, load.log())
        check(gw.log().count("link") >= 2, "the log is silent:", gw.log()[-600:])
    finally:
        peer.stop()
    d.ping()


def case_stop_start(d):
    for _ in range(3):
        gw = d.gateway(workers=2)
        d.files(big=BIG // 4, roles=("client",))
        check(gw.stop() == 0, "exit status", gw.status, gw.log()[-600:])
    d.gateway(workers=2)
    d.files(big=BIG // 4)


def case_kill_start(d):
    """Killed in the middle of a transfer, and started again."""
    for _ in range(2):
        d.gateway(workers=2)
        peer = d.stock("client")
        load = d.load("big", "127.0.0.1", d.port(0), 50 * BIG, wait=False)
        wait_until("bytes", lambda: any(s["bytes_in"] > 100000 for s in d.vm.telemetry(d.gw, "/kcpgate/sessions")))
        d.gw.stop(signal.SIGKILL)
        load.stop()
        peer.stop()
    d.gateway(workers=2)
    d.files(big=BIG // 4)


def case_replies_come_home(d):
    """Sessions of ours on both workers: what the peer answers comes to the worker that has the session."""
    d.gateway(workers=2, conn=4)
    before = d.workers()
    d.server()
    d.load("mixed", MANAGED[1], d.port(4), BIG // 2, 40)
    rows = d.workers()
    check(all(w["sessions"] for w in rows), "a worker without sessions", rows)
    steered = sum(w["steered_in"] for w in rows) - sum(w["steered_in"] for w in before)
    heard = [a["rx_packets"] - b["rx_packets"] for a, b in zip(rows, before)]
    if d.rss:
        check(steered == 0, "steered", steered, "of", heard)
        check(all(heard), "a queue is idle", heard)
    return "received %s, steered %d" % (heard, steered)


def case_counters(d):
    """Without loss our counters mirror the stock peer's, and the namespace's interface saw as many frames."""
    gw = d.gateway(workers=1, conn=1, tunnel_mtu=1300)
    peer = d.stock("client", more=("--mtu", "1300"))
    try:
        d.load("mixed", "127.0.0.1", d.port(0), BIG, 20)
        last, end = None, time.monotonic() + GUARD
        while True:  # twice the same, a while apart: nothing is under way
            check(time.monotonic() < end, "never at rest:", last)
            time.sleep(1)
            us, it = d.vm.telemetry(gw, "/kcpgate/snmp,server"), peer_counters(peer)
            if last == (us["OutPkts"], us["InPkts"], it["OutPkts"]):
                break
            last = us["OutPkts"], us["InPkts"], it["OutPkts"]
        for a, b in [("BytesSent", "BytesReceived"), ("BytesReceived", "BytesSent"), ("OutPkts", "InPkts"),
                     ("InPkts", "OutPkts")]:
            check(us[a] > 500 and abs(us[a] - it[b]) <= max(us[a] // 50, 8), "our %s, its %s:" % (a, b), us[a], it[b])
        check(us["InCsumErrors"] == it["InCsumErrors"] == us["KCPInErrors"] == 0, us, it)
    finally:
        peer.stop()
    return "OutPkts %d/%d InPkts %d/%d" % (us["OutPkts"], it["InPkts"], us["InPkts"], it["OutPkts"])


def case_two_gateways(d):
    """A second gateway on another card of the machine: both carry files at once, and one's end is not the other's."""
    other = next((o for o in d.all if o is not d and o.driver == d.driver), None)
    if not other:
        raise Skip("one card only by %s" % d.driver)
    d.gateway(workers=1)
    other.gateway(workers=1)
    try:
        peers = [d.stock("client"), other.stock("client")]
        loads = [x.load("mixed", "127.0.0.1", x.port(0), BIG, 10, wait=False) for x in (d, other)]
        for load in loads:
            check(load.end() == 0, load.log())
        check(other.gw.stop() == 0, "exit status", other.gw.log()[-600:])
        d.load("mixed", "127.0.0.1", d.port(0), BIG, 10)
        for p in peers:
            p.stop()
    finally:
        other.down()


CASES = [v for k, v in list(globals().items()) if k.startswith("case_")]


# ---- running them ----

def guarded(d, fn):
    """A test: the case, what the guest's kernel said meanwhile, and after a failure the gateway's last words."""
    def test():
        try:
            note = fn(d)
        except (Skip, image.Missing):
            raise
        except Exception:
            print(last_words(d), flush=True)
            d.down()
            raise
        faults = ours(d, d.new_faults(), fn)
        check(not faults, len(faults), "faults, as", faults[:3])
        return note

    return test


def last_words(d):
    """What a gateway that failed has to say."""
    if not d.gw:
        return "---- no gateway"
    lines = ["---- the gateway: " + d.gw.log()[-1500:]]
    try:
        if d.gw.alive():
            lines += ["%s: %s" % (c, {k: v for k, v in d.vm.telemetry(d.gw, "/kcpgate/" + c).items() if v})
                      for c in ("drops", "control", "ports")] + ["workers: %s" % w for w in d.workers()]
        lines.append(d.vm.sh("ip -s link show %s; ip neigh; nstat -a | head -60" % d.ifname, check=False))
        lines.append(d.lab.sh("q", "ip", "-s", "link", "show", d.tap, check=False))
    except Exception as e:
        lines.append("no more of it: %s" % e)
    return "\n".join(lines)


def ours(d, faults, fn):
    """Of what the guest's kernel said, what it does not say of DPDK's own program on the same card as well."""
    if fn is case_testpmd:
        d.quirks = set(faults)
        return []
    if faults and d.quirks is None:
        case_testpmd(d)
        d.quirks = set(d.new_faults())
    return [f for f in faults if f not in d.quirks]


def select(words, every, cases):
    """Devices and cases of these names, of cases a part will do; all of a kind of which none is named."""
    parts = [w for w in words if all(w != d.name for d in every)]
    for p in parts:
        if not any(p in c.__name__ for c in cases):
            sys.exit("no device or case %s; devices: %s; cases: %s" % (
                p, " ".join(d.name for d in every), " ".join(c.__name__[5:] for c in cases)))
    return ([d for d in every if d.name in words] or every,
            [c for c in cases if not parts or any(p in c.__name__ for p in parts)])


def with_spares(chosen, qemu):
    """And a card more by a driver that only one is had by: two gateways need two."""
    placed = list(chosen)
    for d in chosen:
        if sum(o.driver == d.driver for o in placed) == 1:
            placed += [o for o in devices() if o.driver == d.driver and o.name != d.name and qemu.has(o.card.model)][:1]
    return placed


def run(words, every, cases, spares=lambda here, qemu: here, at_end=lambda placed: None):
    """The cases that `words` name, on the devices that they name, in one machine; ends the program."""
    chosen, cases = select(words, every, cases)
    q = qemu_or_skipped(*(d.name for d in chosen))
    placed = spares([d for d in chosen if q.has(d.card.model)], q)
    machine, tests = Machine([d.card for d in placed]), types.SimpleNamespace()
    for i, d in enumerate(placed):
        d.place(machine, i).all = placed
    for d in chosen:
        if d not in placed:
            setattr(tests, "test_" + d.name, skipping("QEMU %s has no %s" % (q.version, d.card.model)))
            continue
        for c in cases:
            setattr(tests, "test_%s_%s" % (d.name, c.__name__[5:]), guarded(d, c))
        setattr(tests, "test_%s_cost" % d.name, cost(d, machine))
    try:
        case.main(tests, ["test_"])
    finally:
        at_end(placed)
        machine.close()


def cost(d, machine):
    """What the device took since the one before, and its end."""
    def test():
        d.down()
        if not machine.vm or not machine.vm.proc.alive():
            return "no machine"
        cpu = machine.vm.cpu_seconds()
        spent, machine.cpu = cpu - (machine.cpu or machine.vm.boot_cpu), cpu
        return "%.0f s of CPU for its cases" % spent
    return test


def main(words):
    if words == ["--list"]:
        print("devices:", *[d.name for d in devices()])
        print("cases:", *[c.__name__[5:] for c in CASES])
        return
    run(words, devices(), CASES, with_spares)


if __name__ == "__main__":
    main(sys.argv[1:])
