# SPDX-License-Identifier: MIT
"""A Debian that systemd runs, beside this one: a root of its own over a folder that it changes nothing in, in namespaces of its
own.  It ends with whoever started it, and leaves nothing."""
import os
import signal
import subprocess

from case import Skip
from lab import GUARD, sh, wait_until

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT = r"""
set -eu
base=$1 at=$2
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$at"
mkdir "$at/upper" "$at/work" "$at/root"
mount -t overlay -o lowerdir="$base",upperdir="$at/upper",workdir="$at/work" overlay "$at/root"
root=$at/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t bpf bpf "$root/sys/fs/bpf" 2>/dev/null || true
for d in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$d"; done
chmod 1777 "$root/tmp"
mkdir "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
for d in null zero full random urandom tty net/tun; do
	[ -e "/dev/$d" ] || continue
	touch "$root/dev/$d"
	mount --bind "/dev/$d" "$root/dev/$d"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
cd "$root"
mkdir -p oldroot
pivot_root . oldroot
umount -l /oldroot
rmdir /oldroot
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target
"""


class Machine:
    """One that has booted.  name: its host name, and that of its folder."""

    def __init__(self, lab, name, base):
        self.name, at = name, os.path.join(lab.dir, name)
        os.mkdir(at)
        with open(at + ".log", "wb") as log:
            self.p = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc",
                                       "--net", "bash", "-c", BOOT, "boot", base, at], stdin=subprocess.DEVNULL, stdout=log,
                                      stderr=log)
        try:
            self.boot(at)
        except BaseException:
            self.close()
            raise

    def boot(self, at):
        self.init = wait_until("%s's init" % self.name, lambda: self.gone(at) or self.child())
        wait_until("%s to boot" % self.name, lambda: self.gone(at) or self.run("systemctl is-system-running", check=False).strip()
                   in ("running", "degraded"))
        self.run("hostname %s; ip link set lo up" % self.name)

    def gone(self, at):
        if self.p.poll() is None:
            return False
        with open(at + ".log") as f:
            raise Skip("no systemd can be started here: %s" % f.read()[-300:])

    def child(self):
        with open("/proc/%d/task/%d/children" % (self.p.pid, self.p.pid)) as f:
            return int((f.read().split() or ["0"])[0])

    def run(self, script, check=True, cwd="/root", timeout=GUARD):
        """A script of bash's on it; what it printed."""
        return sh("nsenter", "-t", str(self.init), "-m", "-p", "-n", "-u", "-i", "-C", "--", "env", "-i", PATH, "HOME=/root",
                  "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "bash", "-c", "cd %s && %s" % (cwd, script), check=check,
                  timeout=timeout)

    def inside(self, *argv):
        """A command of ours in its network."""
        return ["nsenter", "-t", str(self.init), "-n", "--", *argv]

    def path(self, path):
        """A file of its, from here."""
        return "/proc/%d/root%s" % (self.init, path)

    def show(self, unit, name):
        return self.run("systemctl show --value -p %s %s" % (name, unit)).strip()

    def log(self, unit):
        return self.run("journalctl --no-pager -o cat -u %s" % unit, check=False)

    def close(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGKILL)  # and so its child, who is init there, and all others
            self.p.wait()
