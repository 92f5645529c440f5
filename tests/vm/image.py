# SPDX-License-Identifier: MIT
"""What a machine boots: Debian's kernel, QEMU, and a first filesystem of modules, DPDK's drivers and the agent.

Packages are fetched by apt and unpacked into a cache (KCPGATE_VM_CACHE, .cache/vm of the tree if that is not set), never
installed: the machine that tests keeps its own kernel.  What cannot be had is a Missing, with the reason.
"""
import contextlib
import fcntl
import glob
import gzip
import lzma
import os
import re
import shutil
import struct
import subprocess
import time

from lab import ROOT

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("KCPGATE_VM_CACHE", os.path.join(ROOT, ".cache", "vm"))
AGAIN = 86400  # seconds until a mirror that was away is asked again
FETCH = 600  # seconds for apt, which waits for its mirrors itself

# Loaded in this order, each behind what it depends on.  Of network drivers only virtio's: it has the machine's own link.
MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "virtio_net", "vfio-pci", "vfio_iommu_type1",
           "uio_pci_generic", "tun", "vhost_net", "8021q"]
ARGS = {}
# DPDK's drivers: EAL loads whatever lies in its folder, 200 of them, each read through 9p.
PMDS = ["bus_pci", "bus_vdev", "mempool_ring", "mempool_stack", "net_virtio", "net_e1000", "net_vmxnet3", "net_tap",
        "net_af_packet", "net_ring", "net_vhost", "net_memif"]


class Missing(Exception):
    """A machine cannot be had here, and why."""


def sh(*argv, **kw):
    try:
        p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=FETCH, **kw)
    except (subprocess.TimeoutExpired, OSError) as e:
        raise Missing("%s: %s" % (" ".join(argv[:3]), e)) from e
    if p.returncode:
        raise Missing("%s: %s" % (" ".join(argv[:3]), p.stdout.strip()[-300:]))
    return p.stdout


@contextlib.contextmanager
def locked():
    """Several tests may begin at once; one of them fetches."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def download(into, package, options=()):
    os.makedirs(into, exist_ok=True)
    sh("apt-get", *options, "-q", "download", package, cwd=into)
    found = glob.glob(os.path.join(into, package + "_*.deb"))
    if not found:
        raise Missing("apt-get download %s brought nothing" % package)
    return found[0]


# ---- the kernel ----

def unpack_kernel(image):
    """The ELF file inside a bzImage, which QEMU enters directly (PVH): nothing is unpacked by an emulated CPU."""
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (image[0x1f1] + 1) * 512 + offset
    payload = image[start:start + length]
    if payload[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor().decompress(payload)
    if payload[:2] == b"\x1f\x8b":
        return gzip.decompress(payload[:-4])
    if payload[:4] == b"\x28\xb5\x2f\xfd" and shutil.which("zstd"):
        return subprocess.run(["zstd", "-dc"], input=payload[:-4], stdout=subprocess.PIPE, check=False).stdout
    raise Missing("the kernel is packed in a way that is not known here")


def kernel_package():
    for again in (False, True):
        if again:
            sh("apt-get", "update", "-q")
        names = re.findall(r"Depends: (linux-image-[0-9]\S*-amd64)", sh("apt-cache", "depends", "linux-image-amd64"))
        if names:
            return names[0]
    raise Missing("apt knows no linux-image-amd64")


def fetch_kernel():
    """A directory with vmlinux and modules/; fetched once."""
    have = sorted(glob.glob(os.path.join(CACHE, "linux-image-*", "complete")))
    if have:
        return os.path.dirname(have[-1])
    package = kernel_package()
    tmp, final = os.path.join(CACHE, "tmp"), os.path.join(CACHE, package)
    shutil.rmtree(tmp, ignore_errors=True)
    deb = download(tmp, package)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar:
        sh("tar", "-x", "-C", tmp, "--wildcards", "./boot/vmlinuz-*", "*/kernel/drivers/*", "*/kernel/fs/*",
           "*/kernel/net/*", "*/kernel/virt/*", "*/kernel/lib/*", "*/kernel/mm/*", stdin=tar.stdout)
    with open(glob.glob(os.path.join(tmp, "boot", "vmlinuz-*"))[0], "rb") as f:
        elf = unpack_kernel(f.read())
    shutil.rmtree(final, ignore_errors=True)
    os.makedirs(os.path.join(final, "modules"))
    with open(os.path.join(final, "vmlinux"), "wb") as f:
        f.write(elf)
    index = {os.path.basename(p).split(".ko")[0].replace("-", "_"): p
             for p in glob.glob(os.path.join(tmp, "**", "*.ko*"), recursive=True)}
    for path, content in with_dependencies(index, MODULES):
        with open(os.path.join(final, "modules", path), "wb") as f:
            f.write(content)
    with open(os.path.join(final, "modules", "order"), "w") as f:
        f.write("".join(name + "\n" for name, _ in with_dependencies(index, MODULES)))
    shutil.rmtree(tmp)
    open(os.path.join(final, "complete"), "w").close()
    return final


def module_bytes(path):
    with open(path, "rb") as f:
        content = f.read()
    return lzma.decompress(content) if path.endswith(".xz") else content


def with_dependencies(index, names):
    """[(name.ko, content)], each behind what it needs."""
    done = {}

    def add(name):
        name = name.replace("-", "_")
        if name in done or name not in index:  # not there: built in
            return
        content = module_bytes(index[name])
        for need in re.findall(rb"\0depends=([^\0]*)\0", content)[0].decode().split(","):
            if need:
                add(need)
        done[name] = content

    for n in names:
        if n.replace("-", "_") not in index:
            raise Missing("the kernel has no module %s" % n)
        add(n)
    return [(n + ".ko", c) for n, c in done.items()]


# ---- QEMU ----

class Qemu:
    def __init__(self, argv, env):
        self.argv, self.env, self.known = argv, env, {}
        self.version = self.says("--version").split("version ")[1].split()[0]

    def says(self, *argv):
        return subprocess.run(self.argv + list(argv), env=dict(os.environ, **self.env), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60, check=False).stdout

    def has(self, device):
        if device not in self.known:
            self.known[device] = device + " options" in self.says("-M", "none", "-device", device + ",help")
        return self.known[device]


def backports(release):
    """apt's options for a state of our own that knows backports, and leaves the machine's lists alone."""
    state = os.path.join(CACHE, "apt")
    for d in ("lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(state, d), exist_ok=True)
    with open(os.path.join(state, "list"), "w") as f:
        f.write("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s-backports main\n" %
                (os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian"), release))
    return ["-o", "Dir::Etc::sourcelist=" + os.path.join(state, "list"), "-o", "Dir::Etc::sourceparts=-",
            "-o", "Dir::State::lists=" + os.path.join(state, "lists"), "-o", "Dir::Cache=" + os.path.join(state, "cache")]


def fetch_newer_qemu():
    """QEMU of backports, which has igb; it runs with the libraries that Debian's own has brought."""
    final = os.path.join(CACHE, "qemu")
    had, why = os.path.join(final, "had"), os.path.join(final, "why")
    # A mirror that was away is asked again the next day.
    if os.path.exists(had) or (os.path.exists(why) and time.time() - os.path.getmtime(why) < AGAIN):
        return final
    shutil.rmtree(final, ignore_errors=True)
    os.makedirs(final)
    try:
        with open("/etc/os-release") as f:
            release = re.findall(r"VERSION_CODENAME=(\S+)", f.read())[0]
        options = backports(release)
        sh("apt-get", *options, "-q", "update")
        for package in ("qemu-system-x86", "qemu-system-common", "qemu-system-data"):
            deb = download(final, package, options)
            sh("dpkg-deb", "-x", deb, final)
            os.unlink(deb)
        open(had, "w").close()
    except (Missing, OSError, IndexError) as e:
        with open(why, "w") as f:
            f.write(str(e))
    return final


def qemu():
    """The newest QEMU that can be had."""
    base = fetch_newer_qemu()
    exe = os.path.join(base, "usr/bin/qemu-system-x86_64")
    if os.access(exe, os.X_OK):
        argv = [exe]
        for d in (os.path.join(base, "usr/share/qemu"), "/usr/share/seabios", "/usr/share/qemu"):
            argv += ["-L", d]
        with contextlib.suppress(IndexError):  # it lacks a library: what it says is no version
            return Qemu(argv, {"QEMU_MODULE_DIR": os.path.join(base, "usr/lib/x86_64-linux-gnu/qemu")})
    exe = shutil.which("qemu-system-x86_64")
    if not exe:
        raise Missing("no QEMU: scripts/deps vm")
    return Qemu([exe], {})


# ---- the first filesystem ----

def cpio(entries):
    """An archive of (name, mode, bytes) in the kernel's format."""
    out, ino = bytearray(), 0
    for name, mode, content in entries + [("TRAILER!!!", 0, b"")]:
        ino += 1
        n = name.encode() + b"\0"
        out += b"070701" + b"".join(b"%08x" % v for v in (ino, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(n), 0)) + n
        out += b"\0" * (-len(out) % 4)
        out += content
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def pmd_dir():
    found = glob.glob("/usr/lib/*/dpdk/pmds-*")
    if not found:
        raise Missing("no drivers of DPDK: scripts/deps build")
    return found[0]


def file_entry(name, path):
    if os.path.islink(path):
        return name, 0o120777, os.readlink(path).encode()
    with open(path, "rb") as f:
        return name, 0o100755, f.read()


def first_filesystem(kernel, out):
    agent = os.path.join(os.path.dirname(out), "agent")
    sh("gcc", "-O2", "-Wall", "-Wextra", "-static", "-o", agent, os.path.join(HERE, "agent.c"))
    entries = [(name, 0o40755, b"") for name in ("dev", "pmds", "m")] + [file_entry("init", agent)]
    with open(os.path.join(kernel, "modules", "order")) as f:
        order = f.read().split()
    entries += [file_entry("m/" + name, os.path.join(kernel, "modules", name)) for name in order]
    entries.append(("modules", 0o100644, "".join("/m/%s %s\n" % (n, ARGS.get(n[:-3], "")) for n in order).encode()))
    for name in PMDS:
        for path in glob.glob(os.path.join(pmd_dir(), "librte_%s.so*" % name)):  # the library and its links
            entries.append(file_entry("pmds/" + os.path.basename(path), path))
    # testpmd is linked with some of the others: under these names the linker finds them, and EAL does not look for them.
    have = {name for name, _, _ in entries}
    for path in glob.glob(os.path.join(pmd_dir(), "librte_*.so.*")):
        name = os.path.basename(path)
        if re.search(r"\.so\.[0-9]+$", name) and "pmds/" + name not in have:
            entries.append(("pmds/" + name, 0o120777, ("/run/vm/pmds/" + name).encode()))
    with open(out, "wb") as f:
        f.write(cpio(entries))


def ready():
    """All that a machine needs is in the cache, and QEMU starts: QEMU."""
    if os.uname().machine != "x86_64":
        raise Missing("the machine under test is x86_64, and this one is not")
    for tool in ("apt-get", "dpkg-deb", "gcc"):
        if not shutil.which(tool):
            raise Missing("no " + tool)
    with locked():
        fetch_kernel()
        return qemu()


def prepare(directory):
    """(QEMU, kernel, first filesystem), all there is to boot."""
    q = ready()
    initrd = os.path.join(directory, "initrd")
    kernel = fetch_kernel()
    first_filesystem(kernel, initrd)
    return q, os.path.join(kernel, "vmlinux"), initrd
