#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A device that cannot be had: `check` and the start say the same one line, and nothing was begun."""
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from lab import GUARD, ROOT, Lab, eal, gateway_binary

PCI = "/sys/bus/pci/devices/"
TUNNELS = 'tunnels = ( { name = "s"; role = "server"; listen = ":4000"; target = "127.0.0.1:9"; key = "k"; } );\n'


def conf(*devices, huge="false"):
    ports = ",\n".join('{ name = "wan%d"; device = "%s"; }' % (i, d) for i, d in enumerate(devices))
    return eal().replace("hugepages = false", "hugepages = " + huge) + "ports = (\n" + ports + "\n);\n" + TUNNELS


def check(lab, text):
    path = lab.file("check.conf", text.replace("@PREFIX@", "kd"))
    os.chmod(path, 0o600)
    p = subprocess.run([gateway_binary(), "check", "-c", path], capture_output=True, text=True, timeout=GUARD)
    return p.returncode, p.stdout, p.stderr.replace(path, "FILE")


def refused(lab, text, line):
    """By check with 2, and by the start with 1 before any key was derived: in the same words."""
    rc, out, err = check(lab, text)
    case.check(rc == 2 and re.fullmatch("kcpgate: FILE: " + line + "\n", err), rc, err)
    case.check(re.search(r"^memory +\d+ MB", out, re.M) and "good" not in out, out)
    gw = lab.gateway("g", "n", text, ready=False)
    case.check(gw.end() == 1, gw.log())
    said = [x for x in gw.log().split("\n") if "cannot start" in x]
    case.check(len(said) == 1 and re.search("cannot start: DPDK: " + line + "$", said[0]), gw.log())
    case.check("key derivation" not in gw.log() and "EAL" not in gw.log(), gw.log())
    return err.split(": ", 2)[2].strip()


def free_address():
    return next(a for a in ("0000:%02x:1f.7" % bus for bus in range(255, 0, -1)) if not os.path.exists(PCI + a))


def test_conf():
    """The files of conf/ are good, but for the card of server.conf where the machine has none of its own there."""
    with Lab("kd") as lab:
        for f in sorted(os.listdir(os.path.join(ROOT, "conf"))):
            if not f.endswith(".conf"):
                continue
            with open(os.path.join(ROOT, "conf", f)) as h:
                rc, out, err = check(lab, h.read())
            wrong = [x for x in err.splitlines() if ": warning: " not in x]
            if f == "server.conf" and rc:
                case.check(rc == 2 and len(wrong) == 1 and "port wan0: 0000:03:00.0: " in wrong[0], err)
            elif f.startswith("vps-"):  # whose keys are beside them
                case.check(rc == 2 and len(wrong) == 1 and "key_file: found" in wrong[0] and "No such file" in wrong[0], err)
            else:
                case.check(rc == 0 and not wrong and "good" in out, f, err)


def test_absent():
    """In each form that people write, an address at which there is nothing."""
    a = free_address()
    with Lab("kd") as lab:
        lab.add_ns("n")
        for form in (a, a[5:], a.upper(), a[5:].upper(), "pci:" + a, a + ",speed=10000"):
            said = refused(lab, conf(form), "port wan0: %s: no PCI device at this address; .*" % a)
    return said


def test_the_kernels():
    """A card that the kernel has: its driver, its interface, and the command that takes it away."""
    cards = [d for d in sorted(glob.glob(PCI + "*")) if open(d + "/class").read().startswith("0x02") and
             os.path.basename(os.path.realpath(d + "/driver")) not in ("driver", "mlx4_core", "mlx5_core", "mana") and
             not re.search("vfio|uio", os.path.basename(os.path.realpath(d + "/driver")))]
    if not cards:
        raise case.Skip("no card in the kernel's hands here")
    a, driver = os.path.basename(cards[0]), os.path.basename(os.path.realpath(cards[0] + "/driver"))
    with Lab("kd") as lab:
        lab.add_ns("n")
        return refused(lab, conf(a.upper()), "port wan0: %s: bound to the kernel's driver %s.*: .*dpdk-devbind.py -b "
                       "vfio-pci %s.*" % (a, driver, a))


def test_no_network_device():
    others = [d for d in sorted(glob.glob(PCI + "*")) if open(d + "/class").read()[:4] in ("0x01", "0x06")]
    if not others:
        raise case.Skip("nothing else on PCI here")
    a = os.path.basename(others[0])
    with Lab("kd") as lab:
        lab.add_ns("n")
        return refused(lab, conf(a), "port wan0: %s: a device of PCI class [0-9a-f]{6}, .*, and no network device" % a)


def test_vdevs():
    """A driver that DPDK has not, and an argument that the driver has not; an interface that is not there is waited for."""
    with Lab("kd") as lab:
        lab.add_ns("n")
        refused(lab, conf("net_nothing0,iface=lo"),
                "port wan0: net_nothing0: DPDK has no driver of this name in .*; those that need no card are .*net_null.*")
        refused(lab, conf("net_af_packet0,iface=lo,bogus=1"),
                "port wan0: net_af_packet0: the driver net_af_packet knows no argument `bogus'; it lists iface=.*")
        refused(lab, conf("net_null0,bogus"), "port wan0: net_null0: the driver net_null knows no argument `bogus'; .*")
        rc, out, err = check(lab, conf("net_af_packet0,iface=kd-nowhere,qpairs=1"))
        case.check(rc == 0 and "good" in out and "the gateway waits for it" in err, err)


def test_each_is_told():
    """Of two ports that are wrong, check names both."""
    a = free_address()
    with Lab("kd") as lab:
        rc, _, err = check(lab, conf("net_null0", a, "net_nothing0"))
        case.check(rc == 2 and err.count("\n") == 2, err)
        case.check("port wan1: %s: " % a in err and "port wan2: net_nothing0: " in err and "wan0" not in err, err)


if __name__ == "__main__":
    case.main(sys.modules[__name__])
