#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""README's "On a server's NIC" in a machine with real drivers and an IOMMU: its lines as they are written, then back.

The first two lines, packages and build, are what this tree was made by; all that follow run in the machine, a card of
which is virtio's and in the kernel's hands.  `editor`, which README leaves to the reader, is a script.
"""
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
import image
from bench import MODERN, Machine
from case import Skip, check
from lab import LOAD_GUARD, ROOT, gateway_binary
from vm import MANAGED, Card, pci

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
HEADING = "### On a server's NIC\n"
EDITOR = r"""#!/bin/sh
# What a person does with the file.
sed -i -e 's/0000:03:00\.0/%s/' -e 's/put your own passphrase here/vm/' -e 's/198\.51\.100\.7/10.80.0.1/' \
	-e 's/198\.51\.100\.1"/10.80.0.2"/' -e 's/2001:db8::7/fd80::1/' -e 's/2001:db8::1/fd80::2/' \
	-e 's/127\.0\.0\.1:8388/%s:9000/' "$1"
"""


def lines():
    """The commands of README's section, without what is said about them."""
    with open(os.path.join(ROOT, "README.md")) as f:
        section = f.read().split(HEADING)[1].split("\n### ")[0]
    found = [re.sub(r"\s{2,}#.*", "", line[4:]).strip() for line in section.split("\n") if line.startswith("    ")]
    check(len(found) == 10, "README says ten lines", found)
    return found


def guest_with_etc(vm):
    """Its root is the host's and read only: what is to be written lies over it, the rest of /etc is linked."""
    vm.sh("mkdir -p /run/vm/etc /run/vm/bin && mount --bind /etc /run/vm/etc && mount -t tmpfs etc /etc && "
          "cd /run/vm/etc && for f in * .[a-z]*; do case $f in systemd|modules-load.d) ;; *) ln -s /run/vm/etc/$f /etc/$f ;; "
          "esac; done && mkdir /etc/systemd /etc/systemd/system /etc/modules-load.d && "
          "echo 0 >/proc/sys/vm/nr_hugepages && ip route add default via %s" % MANAGED[0])
    vm.file("bin/editor", EDITOR % (pci(0), MANAGED[0]), 0o755)


def driver(vm):
    return os.path.basename(vm.sh("readlink /sys/bus/pci/devices/%s/driver" % pci(0)).strip())


def in_tree(vm, line, check=True):
    return vm.sh("cd %s && export PATH=/run/vm/bin:$PATH LC_ALL=C HOME=/run/vm && { %s\n}" % (ROOT, line), check=check,
                 timeout=LOAD_GUARD)


def traffic(lab, vm):
    """Ping and a file both ways by stock kcptun, from beyond the card."""
    lab.sh("q", "ping", "-n", "-c", "2", "-W", "100", "10.80.0.1")
    client = lab.run("client", "q", shutil.which("kcptun-client"), "-l", "127.0.0.1:13000", "-r", "10.80.0.1:4000", "--key",
                     "vm", "--crypt", "aes", "--mode", "fast", "--smuxver", "2", "--quiet")
    client.wait_for("derivation done")
    load = lab.run("load", "q", sys.executable, LOAD, "mixed", "127.0.0.1", "13000", str(1 << 20), "10", "--timeout",
                   str(LOAD_GUARD - 20))
    check(load.end() == 0, load.log())
    client.stop()


def back(vm):
    """undo: the card is the kernel's again, with an interface, and the pages are free."""
    out = in_tree(vm, "scripts/host show; scripts/host undo; scripts/host undo; scripts/host show")
    check("%s vfio-pci, IOMMU group" % pci(0) in out and "before: virtio-pci" in out and "nothing to undo" in out, out)
    check(driver(vm) == "virtio-pci", driver(vm))
    check(vm.sh("ls /sys/bus/pci/devices/%s/virtio*/net" % pci(0)).startswith("eth"), "no interface")
    check(vm.sh("cat /proc/sys/vm/nr_hugepages").strip() == "0", "pages are held still")
    check(vm.sh("ls /etc/systemd/system /etc/modules-load.d").split() ==
          ["/etc/modules-load.d:", "/etc/systemd/system:"], "files are left")


def boot_again(vm):
    """What the unit says, run by a shell as systemd would: the card and the pages are there as they were."""
    in_tree(vm, "scripts/host %s --pages 50" % pci(0))
    unit = vm.sh("cat /etc/systemd/system/kcpgate-host.service")
    vm.unbind(0)
    vm.sh("echo 0 >/proc/sys/vm/nr_hugepages; echo %s >/sys/bus/pci/drivers_probe" % pci(0))
    check(driver(vm) == "virtio-pci", "it is to be the kernel's at the boot")
    for line in re.findall(r"(?m)^ExecStart=-(.*)", unit):
        vm.sh(line)
    check(driver(vm) == "vfio-pci" and vm.sh("cat /proc/sys/vm/nr_hugepages").strip() == "50", driver(vm), unit)
    in_tree(vm, "scripts/host undo")


def others(vm):
    """The other driver, whose devices doctor tells the costs of; and the card that the machine is reached by."""
    out = in_tree(vm, "scripts/host --uio %s && build/app/kcpgate doctor -c /etc/kcpgate.conf" % pci(0), check=False)
    check(driver(vm) == "uio_pci_generic" and "[--] port wan0: %s (1af4:1041), uio_pci_generic" % pci(0) in out, out)
    in_tree(vm, "scripts/host undo")
    out = in_tree(vm, "scripts/host 0000:00:1e.0", check=False)
    check("0000:00:1e.0 carries the default route (eth" in out, out)
    check(vm.sh("ping -n -c 1 -W 100 " + MANAGED[0]), "the machine is not reached any more")


def test_readme():
    try:
        image.ready()
    except image.Missing as e:
        raise Skip(str(e))
    build, todo = lines()[:2], lines()[2:]
    check(build == ["scripts/deps build nic", "scripts/dev build"], build)
    if os.path.realpath(gateway_binary()) != os.path.realpath(os.path.join(ROOT, "build", "app", "kcpgate")):
        raise Skip("README's lines run build/app/kcpgate")
    machine = Machine([Card("virtio-net-pci", 2, MODERN)])
    try:
        vm, lab = machine.get(), machine.lab
        guest_with_etc(vm)
        gw, seen = None, {}
        for line in todo:
            if line.endswith(" &"):
                gw = vm.run("gw", "cd %s && exec %s" % (ROOT, line[:-2]))
                gw.wait_for("ready:")
                continue
            seen[line] = in_tree(vm, line)
            print("     " + line, flush=True)
        out = {word: text for line, text in seen.items() for word in line.split()}
        check("%s (1af4:1041), virtio-pci (eth" % pci(0) in seen[todo[0]] and "IOMMU: on" in seen[todo[0]], seen[todo[0]])
        check(driver(vm) == "vfio-pci", out["scripts/host"])
        check("183 hugepages of 2 MB, 183 free; the file needs 183" in seen[todo[4]], seen[todo[4]])
        check(": 0 missing [!!]" in seen[todo[4]], seen[todo[4]])
        check("10.80.0.1/24" in out["kg-wan0"] and "fd80::1/64" in out["kg-wan0"], out["kg-wan0"])
        check('"hk"' in seen[todo[-1]], seen[todo[-1]])
        traffic(lab, vm)
        status = vm.sh("cd %s && build/app/kcpgate doctor -c /etc/kcpgate.conf" % ROOT, check=False)
        check(": 0 missing [!!]" in status and "a process runs with it" in status, "while it runs", status)
        refused = in_tree(vm, "scripts/host undo", check=False)
        check("in use by process" in refused and "kcpgate" in refused, refused)
        check(gw.stop() == 0, gw.log())
        back(vm)
        boot_again(vm)
        others(vm)
        check(not vm.faults(), vm.faults())
    finally:
        machine.close()


if __name__ == "__main__":
    case.main(sys.modules[__name__])
