#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPUs that nobody has at hand, by QEMU's emulation of one program: what a gateway says on one that is too old, and that
the forms which a plain CPU gets are right."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lab"))
import case
from lab import GUARD, LOAD_GUARD, gateway_binary

BUILD = os.environ.get("KCPGATE_BUILD", os.path.join(HERE, "..", "..", "build"))
# QEMU's names, and what each lacks of what a gateway needs.
TOO_OLD = {
    "qemu64": ["SSSE3", "SSE4.1", "SSE4.2", "POPCNT"],
    "Conroe": ["CX16", "SSE4.1", "SSE4.2", "POPCNT"],
    "Penryn": ["SSE4.2", "POPCNT"],
    "Nehalem,-popcnt": ["POPCNT"],
}
# The least there is; AES-NI; AVX2; all that QEMU has.
GOOD = ["Nehalem", "Westmere", "Haswell", "max"]
# IPsec-MB emulates AES-NI until 1.5, and requires it from 2.0 on.
with open("/usr/include/intel-ipsec-mb.h") as f:
    if "define IMB_FLAG_AESNI_OFF" not in f.read():
        TOO_OLD["Nehalem"] = []
        TOO_OLD = {cpu: lacks + ["PCLMULQDQ", "AES-NI"] for cpu, lacks in TOO_OLD.items()}
        GOOD.remove("Nehalem")
CONF = """
ports = ( { name = "p0"; device = "net_memif0"; exception = "tap"; addresses = [ "192.0.2.1/24" ]; } );
tunnels = ( { name = "t"; role = "server"; listen = ":4000"; target = "127.0.0.1:9"; key = "k"; } );
"""


def qemu(cpu, *argv, limit=GUARD):
    if not shutil.which("qemu-x86_64"):
        raise case.Skip("no qemu-x86_64 here")
    p = subprocess.run(["qemu-x86_64", "-cpu", cpu, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=limit)
    # Its own warnings: what a CPU of this name has and no emulation.
    return p.returncode, p.stdout, "".join(l for l in p.stderr.splitlines(True) if not l.startswith("qemu-x86_64: warning"))


class Conf:
    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="kcpgate-cpu-")
        path = os.path.join(self.folder, "conf")
        with open(path, "w") as f:
            f.write(CONF)
        return path

    def __exit__(self, *_):
        shutil.rmtree(self.folder)


def test_too_old():
    """One line that names what is missing, whatever was asked; no signal."""
    with Conf() as path:
        for cpu, lacks in TOO_OLD.items():
            for argv in (["--version"], ["check", "-c", path], ["-c", path]):
                status, out, err = qemu(cpu, gateway_binary(), *argv)
                m = re.fullmatch(r"kcpgate: this CPU lacks (.*), without which it cannot run \(README: the least CPU\)\n", err)
                case.check(status == 1 and not out and m, cpu, argv, "exit", status, out, err)
                case.check(m.group(1).split(", ") == lacks, cpu, err)


def test_good():
    """Every other command works that needs no port."""
    with Conf() as path:
        for cpu in GOOD:
            status, out, err = qemu(cpu, gateway_binary(), "--version")
            case.check(status == 0 and out.startswith("kcpgate version") and not err, cpu, "exit", status, out, err)
            status, out, err = qemu(cpu, gateway_binary(), "check", "-c", path)
            case.check(status == 0 and ": good" in out, cpu, "exit", status, out, err)


def suites(cpu):
    """The rooms that have forms for several CPUs."""
    tests = [os.path.join(BUILD, "tests", "unit", room, name) for room in ("crypt", "fec", "net")
             for name in sorted(os.listdir(os.path.join(BUILD, "tests", "unit", room)))
             if name.endswith("_test") and (room != "net" or name == "net_csum_test")]
    case.check(len(tests) > 10, "tests", tests)
    passed = 0
    for t in tests:
        status, out, err = qemu(cpu, t, limit=LOAD_GUARD)
        case.check(status == 0, cpu, t, out, err)
        passed += int(re.search(r"Passing: (\d+)", out + err).group(1))
    return passed


def test_suites():
    """Without AES-NI, without AVX, without AVX-512."""
    return "%s tests" % ", ".join("%s: %d" % (cpu, suites(cpu)) for cpu in GOOD if cpu != "max")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
