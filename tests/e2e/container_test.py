#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scripts/Containerfile and scripts/compose.yaml, by podman: the image is made of the package, on the root of package_test.py in place
of a registry's, and a gateway runs in it as the compose file has it, without any right, on a file system that is read only."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import Skip, check
from lab import ROOT, Lab, sh
from package_test import RELEASE, base, package

COMPOSE = os.path.join(ROOT, "scripts", "compose.yaml")
# A cgroup file system of version 2 alone, which crun wants; in a namespace, and with it gone.
INSIDE = ["unshare", "--mount", "--cgroup", "--propagation", "private", "sh", "-c",
          'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"', "inside"]


class Podman:
    """Its images and containers in a folder, and none of the host's."""

    def __init__(self, folder):
        self.argv = ["podman", "--root", folder + "/root", "--runroot", folder + "/run", "--tmpdir", folder + "/tmp",
                     "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]

    def __call__(self, *argv, check=True, timeout=RELEASE, **kw):
        return sh(*INSIDE, *self.argv, *argv, check=check, timeout=timeout, **kw)


def service():
    """The compose file's one service."""
    read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"
    whole = json.loads(sh("/usr/bin/python3", "-c", read, COMPOSE))
    check(sorted(whole) == ["services", "volumes"] and list(whole["services"]) == ["kcpgate"], whole)
    s = whole["services"]["kcpgate"]
    here = os.path.dirname(COMPOSE)
    check(os.path.samefile(os.path.join(here, s["build"]["context"]), ROOT), s["build"])
    check(os.path.exists(os.path.join(ROOT, s["build"]["dockerfile"])), s["build"])
    for v in s["volumes"]:
        name = v.split(":")[0]
        check(name == "${KCPGATE_CONF" or name in whole["volumes"], v)
    return s


def options(s, conf):
    """What podman is told in place of compose; each key is known, and nothing of it is passed over."""
    def nofile(limit):
        return min(limit, 4096)  # of a machine that allows no more

    known = {
        "image": lambda v: [], "build": lambda v: [], "restart": lambda v: [], "stop_grace_period": lambda v: [],
        "network_mode": lambda v: ["--network", "none" if v == "host" else v],  # of this test's own
        "read_only": lambda v: ["--read-only"] if v else [],
        "cap_drop": lambda v: ["--cap-drop=" + c for c in v],
        "security_opt": lambda v: ["--security-opt=" + o for o in v],
        "ulimits": lambda v: ["--ulimit=nofile=%d" % nofile(v["nofile"]), "--ulimit=nproc=4096:4096"],
        "volumes": lambda v: ["-v=" + one.replace("${KCPGATE_CONF:-./kcpgate.conf}", conf) for one in v if "CONF" in one],
        "tmpfs": lambda v: ["--tmpfs=" + t for t in v],
    }
    check(set(s) == set(known), "unknown:", set(s) ^ set(known))
    return [o for key, value in s.items() for o in known[key](value)]


def test_image():
    if os.geteuid() != 0:
        raise Skip("not root")
    root, deb = base(), package()
    if subprocess.run([os.path.join(ROOT, "scripts", "deps"), "container"]).returncode:
        raise Skip("podman cannot be installed")
    s = service()
    folder = tempfile.mkdtemp(prefix="kcpgate-podman-")
    podman = Podman(folder)
    try:
        os.mkdir(folder + "/deb")
        shutil.copy(deb, folder + "/deb/kcpgate.deb")
        tar = subprocess.Popen(["tar", "-C", root, "--exclude=./proc", "--exclude=./sys", "--exclude=./dev", "-c", "."],
                               stdout=subprocess.PIPE)
        podman("import", "-", "localhost/base", stdin=tar.stdout)
        check(tar.wait() == 0, "tar")
        out = podman("build", "--isolation=chroot", "--network=host", "--layers=false", "--build-arg=BASE=localhost/base",
                     "--build-context=package=" + folder + "/deb", "-f", os.path.join(ROOT, s["build"]["dockerfile"]), "-t",
                     "localhost/" + s["image"], ROOT)
        check("Setting up kcpgate" in out, out)
        runs(podman, s)
    finally:
        podman("rm", "-fa", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def runs(podman, s):
    with Lab("co") as lab:
        with open(os.path.join(ROOT, "conf", "vps-server.conf")) as f:
            conf = lab.file("kcpgate.conf", f.read().replace('key_file = "server.key"', 'key = "a key of some length"'))
        os.chmod(lab.dir, 0o755)
        argv = ["run", "--rm", "--name", "gateway", "--cgroups=disabled", *options(s, conf), "localhost/" + s["image"]]
        gw = lab.run("container", None, *INSIDE, *podman.argv, *argv)
        gw.wait_for("ready: 1 workers, 1 tunnels, 1 ports")
        check("capabilities none, sandbox on" in gw.log() and "security: user 0" not in gw.log(), gw.log())
        # Asked from within, where its telemetry is.
        podman("exec", "gateway", "kcpgate", "capture", "--seconds", "1", "-w", "/tmp/x.pcapng", timeout=120)
        podman("stop", "-t", "60", "gateway")
        check(gw.end() == 0 and "stopped" in gw.log(), gw.log())


if __name__ == "__main__":
    case.main(sys.modules[__name__])
