#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `meson install` installs: files, units as systemd reads them, manual pages, completion, and the version."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import case
from case import Skip, check
from lab import ROOT, gateway_binary, sh

BUILD = os.path.dirname(os.path.dirname(gateway_binary()))
UNITS = "lib/systemd/system/kcpgate.service", "lib/systemd/system/kcpgate@.service"
FILES = ("bin/kcpgate", *UNITS, "lib/sysusers.d/kcpgate.conf", "lib/tmpfiles.d/kcpgate.conf", "share/man/man5/kcpgate.conf.5",
         "share/man/man8/kcpgate.8", "share/bash-completion/completions/kcpgate", "share/zsh/site-functions/_kcpgate",
         "share/doc/kcpgate/MOVING.md", "share/doc/kcpgate/README.md", "share/doc/kcpgate/SECURITY.md", "share/doc/kcpgate/CHANGELOG.md",
         *("share/doc/kcpgate/examples/%s" % name for name in os.listdir(os.path.join(ROOT, "conf")) if
           name.endswith(".conf")),
         *("share/doc/kcpgate/examples/prometheus/" + name for name in os.listdir(os.path.join(ROOT, "conf", "prometheus"))))
folder = None


def installed(path=""):
    """Below the prefix, where everything has been installed."""
    global folder
    if not folder:
        folder = tempfile.mkdtemp(prefix="kcpgate-install-")
        sh("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", folder)
    return os.path.join(folder, "usr/local", path)


def have(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise Skip("no " + tool)


def program_help(*argv):
    return sh(gateway_binary(), *argv, "--help")


def commands():
    """Those of the program's own help."""
    words = re.findall(r"(?m)^  kcpgate ([a-z|]+) ", program_help())
    return {w for word in words for w in word.split("|")}


def options(text):
    """The long ones of a help text."""
    lines = re.findall(r"(?m)^  (-.*?)(?:  |$)", text)
    return {o for line in lines for o in re.findall(r"(?:^|, )--([A-Za-z][A-Za-z-]*)", line)}


def test_files():
    """Every file that is meant, and no other."""
    found = {os.path.relpath(os.path.join(d, f), installed()) for d, _, files in os.walk(installed()) for f in files}
    check(found == set(FILES), "missing:", set(FILES) - found, "more:", found - set(FILES))
    check(os.listdir(folder) == ["usr"], os.listdir(folder))


def test_version():
    """The commit, and the libraries that it runs with."""
    out = sh(installed("bin/kcpgate"), "--version")
    dpdk = sh("pkg-config", "--modversion", "libdpdk").strip()
    check(re.match(r"kcpgate version \d+\.\d+\.\d+(, commit [0-9a-f]{7,}(-dirty)?)?\n", out), out)
    if os.path.exists(os.path.join(ROOT, ".git")):
        head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], stdout=subprocess.PIPE, text=True).stdout.strip()
        commit = re.search(r"commit ([0-9a-f]+)", out)
        check(not head or commit and head.startswith(commit.group(1)), out, head)
    for name in "IPsec-MB", "ISA-L", "libgcrypt", "snappy", "libconfig", "jansson", "libmnl", "libbpf", "libxdp", "libseccomp":
        check(re.search(r"%s v?\d+\.\d+" % name, out), name, out)
    check("DPDK %s" % dpdk in out, dpdk, out)
    check(sh(installed("bin/kcpgate"), "client", "--version") == out, "a role's")


def test_package_is_built_of_the_same():
    """What scripts/deps installs to build with, Debian's package does, too."""
    with open(os.path.join(ROOT, "scripts", "deb", "control")) as f:
        needs = set(re.findall(r"[a-z0-9.+-]+-dev", f.read().split("\n\n")[0]))
    wanted = {p for p in sh(os.path.join(ROOT, "scripts", "deps"), "list", "build").split() if p.endswith("-dev")}
    check(needs == wanted - {"libc6-dev"}, "missing:", wanted - needs, "more:", needs - wanted)


# ---- systemd ----

def test_exposure():
    """Below 4 by systemd's own rating, offline."""
    have("systemd-analyze")
    rates = []
    for unit in UNITS:
        out = sh("systemd-analyze", "security", "--offline=true", "--no-pager", installed(unit))
        rate = re.search(r"Overall exposure level for .*: ([\d.]+)", out)
        check(rate and float(rate.group(1)) < 4, out)
        rates.append(rate.group(1))
    return "exposure " + ", ".join(rates)


def test_units_make_sense():
    """systemd finds nothing wrong in them, and each runs its own file."""
    have("systemd-analyze")
    root = os.path.join(folder, "verify")
    os.makedirs(root, exist_ok=True)
    for unit, name in zip(UNITS, ("kcpgate", "%i")):
        with open(installed(unit)) as f:
            text = f.read()
        check("@" not in text.replace("kcpgate@", "").replace("@system-service", "").replace("~@keyring @setuid @chown", ""),
              text)
        check("ExecStart=/usr/local/bin/kcpgate -c /usr/local/etc/kcpgate/%s.conf\n" % name in text, text)
        path = os.path.join(root, os.path.basename(unit).replace("@.", "@x."))
        with open(path, "w") as f:
            f.write(text.replace("/usr/local/bin/kcpgate", gateway_binary()))
        out = sh("systemd-analyze", "verify", "--man=no", path, check=False)
        wrong = [line for line in out.splitlines() if "kcpgate" in line]
        check(not wrong, wrong)


def test_user_and_folders():
    """By systemd-sysusers and systemd-tmpfiles in a root of their own: who is made, and what is whose."""
    have("systemd-sysusers", "systemd-tmpfiles")
    root = tempfile.mkdtemp(prefix="kcpgate-root-")
    try:
        os.makedirs(os.path.join(root, "etc"))
        sh("systemd-sysusers", "--root", root, installed("lib/sysusers.d/kcpgate.conf"))
        with open(os.path.join(root, "etc/passwd")) as f:
            user = re.search(r"^kcpgate:x:(\d+):(\d+):[^:]*:/var/lib/kcpgate:(.*)$", f.read(), re.M)
        check(user and user.group(3).endswith("nologin"), user)
        sh("systemd-tmpfiles", "--root", root, "--create", installed("lib/tmpfiles.d/kcpgate.conf"))
        for name, mode, uid in ("run/kcpgate", 0o750, int(user.group(1))), ("usr/local/etc/kcpgate", 0o2750, 0):
            st = os.stat(os.path.join(root, name))
            check((st.st_mode & 0o7777, st.st_uid, st.st_gid) == (mode, uid, int(user.group(2))), name, oct(st.st_mode), st.st_uid,
                  st.st_gid)
    finally:
        shutil.rmtree(root)


# ---- manual pages ----

def page(name):
    have("man")
    p = subprocess.run(["man", "--warnings=w", "-E", "UTF-8", "-l", installed("share/man/man%s/%s" % (name[-1], name))],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                       env={**os.environ, "MANWIDTH": "200", "MAN_KEEP_FORMATTING": "0", "PAGER": "cat", "LC_ALL": "C.UTF-8"})
    check(p.returncode == 0 and not p.stderr, name, p.returncode, p.stderr)
    return re.sub(".\b", "", p.stdout)


def test_page_of_commands():
    """Every command and every option of the program's help is in kcpgate(8), and no others."""
    text = page("kcpgate.8")
    part = text[text.index("\nCOMMANDS"):text.index("Options without a command")]
    told = {w for line in re.findall(r"(?m)^     ([a-z|]+)(?: |$)", part) for w in line.split("|")}
    check(told == commands(), "kcpgate.8 has", sorted(told), "and --help", sorted(commands()))
    part = text[text.index("\nOPTIONS OF KCPTUN"):text.index("\nSERVICE")]
    told = set(re.findall(r"--([A-Za-z][A-Za-z-]*)", "\n".join(re.findall(r"(?m)^     (--.*)$", part))))
    want = options(program_help("client")) | options(program_help("server"))
    check(told - {"qpp", "qpp-count"} == want - {"help", "version", "qpp"}, "more:", told - want, "missing:", want - told)


def test_page_of_settings():
    """Settings of kcpgate.conf(5) are those that the examples know, group by group; what the tables have: config_manual."""
    text = page("kcpgate.conf.5")
    for group, name in (("eal", "lcores"), ("limits", "sessions"), ("ports", "device"), ("tunnels", "datashard"),
                        ("telemetry", "snmplog"), ("log", "level"), ("security", "sandbox")):
        part = text[text.index("\n   %s\n" % group):]
        check(re.search(r"(?m)^     %s\b" % name, part), group, name)
    with open(os.path.join(ROOT, "conf", "server.conf")) as f:
        for name in set(re.findall(r"(?m)^\t+(?:# )?([a-z_-]+) = ", f.read())):
            check(re.search(r"(?m)^     (\S+, )?%s\b" % re.escape(name), text), "not in kcpgate.conf(5):", name)


# ---- completion ----

def bash(*words):
    """What is offered for the last of the words."""
    script = 'source "%s"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kcpgate "$1" 2>/dev/null; printf "%%s\\n" "${COMPREPLY[@]}"' % (
        installed("share/bash-completion/completions/kcpgate"))
    return {w for w in sh("bash", "-c", script, "bash", gateway_binary(), *words).split("\n") if w}


def zsh(*words):
    """The same: compadd is not there outside of a line that is edited, and what it is given is what is offered."""
    script = ('compadd() { [[ $1 == -- ]] && shift; print -l -- ${(M)@:#$words[CURRENT]*} }\n_files() { print FILES }\n'
              'words=("$@"); CURRENT=$#\nsource "%s"' % installed("share/zsh/site-functions/_kcpgate"))
    return {w for w in sh("zsh", "-f", "-c", script, "zsh", gateway_binary(), *words).split("\n") if w}


def completes(shell):
    have(shell.__name__)
    check(shell("") == commands(), shell(""), commands())
    check(shell("imp") == {"import"}, shell("imp"))
    for role in "client", "server":
        got = {o.lstrip("-") for o in shell(role, "--") if len(o) > 2}
        want = options(program_help(role))
        check(got == want, role, "more:", got - want, "missing:", want - got)
        check(shell("check", role, "--aut") == shell(role, "--aut"), "check", role)
    check(shell("client", "--autoe") == {"--autoexpire"}, shell("client", "--autoe"))
    check(shell("server", "--autoe") == set(), shell("server", "--autoe"))
    check(shell("client", "--mode", "") == {"normal", "fast", "fast2", "fast3", "manual"}, shell("client", "--mode", ""))
    check(shell("client", "-crypt", "aes-1") >= {"aes-128", "aes-192"}, shell("client", "-crypt", "aes-1"))
    check("--snaplen" in shell("capture", "--"), shell("capture", "--"))
    check(shell("check", "cl") == {"client"}, shell("check", "cl"))
    check(shell("import", "x.json", "--role", "") == {"client", "server"}, "role")
    check(shell("no_such", "--") == set(), shell("no_such", "--"))


def test_bash():
    completes(bash)


def test_zsh():
    completes(zsh)


if __name__ == "__main__":
    try:
        case.main(sys.modules[__name__])
    finally:
        if folder:
            shutil.rmtree(folder)
