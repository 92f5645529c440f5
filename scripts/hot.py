#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Nothing that worker_turn reaches may allocate, lock, log, enter the kernel or divide: read from the program's code.

Direct calls and tail jumps are followed through the program's own code; drivers and libraries behind DPDK's function
pointers are not, and libsnappy's own working memory is known (lib/README.md).
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
START = ["worker_turn"]
FORBIDDEN = re.compile(
    r"^(malloc|calloc|realloc|free|aligned_alloc|posix_memalign|rte_z?malloc.*|rte_free|mmap|munmap|"
    r"pthread_.*|sem_.*|read|write|readv|writev|send.*|recv.*|poll|ppoll|epoll_.*|ioctl|open|close|nanosleep|usleep|"
    r"clock_gettime|gettimeofday|time|getrandom|syscall|"
    r"printf|puts|fprintf|vfprintf|fwrite|syslog|log_line|rte_log|rte_vlog|abort|exit|__assert_fail)$")
# Called from the turn once in a session's or process's life, with the reason.
EXCUSED = {
}
# Functions that divide, with the reason.
MAY_DIVIDE = {
    "kcp_tick_after": "only after more than one interval of silence",
    "pace_room": "only with a rate limit, when a session runs short of tokens",
    "dec_params": "once a session, and when a peer's FEC parameters turn out to be others",
}


def graph(binary):
    out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", binary], stdout=subprocess.PIPE, text=True,
                         check=True).stdout
    calls, divides, here = {}, {}, None
    for line in out.split("\n"):
        m = re.match(r"^[0-9a-f]+ <([^>]+)>:", line)
        if m:
            name = m.group(1)
            here = calls.setdefault(name, set())
            continue
        if here is not None and re.search(r"\ti?div[lq]?\s", line):
            divides[name] = divides.get(name, 0) + 1
        m = re.search(r"\t(?:call|jmp|j[a-z]+)\s+[0-9a-f]+ <([^>+]+)(\+0x[0-9a-f]+)?>", line)
        if m and here is not None:
            here.add(m.group(1))
    return calls, divides


def base(sym):
    """A symbol without what the compiler or linker adds."""
    return re.sub(r"(\.(part|isra|constprop|cold|lto_priv)\.?\d*)+|@plt|@GLIBC.*", "", sym)


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build", "app", "kcpgate")
    calls, divides = graph(binary)
    by_base = {}
    for s in calls:
        by_base.setdefault(base(s), set()).add(s)
    todo = [(s, START[0]) for s in START if s in calls]
    if not todo:
        sys.exit("hot: no worker_turn in %s" % binary)
    seen, bad = {}, []
    while todo:
        sym, path = todo.pop()
        if sym in seen:
            continue
        seen[sym] = path
        for callee in calls.get(sym, ()):
            if FORBIDDEN.match(base(callee)) and base(callee) not in EXCUSED:
                bad.append("%s -> %s" % (path, base(callee)))
            elif callee not in seen:
                todo.append((callee, path + " -> " + base(callee)))
    slow = sorted(s for s in seen if s in divides and base(s) not in MAY_DIVIDE)
    for s in slow:
        print("division below worker_turn: %s, %d times" % (seen[s], divides[s]))
    for b in sorted(set(bad)):
        print("forbidden below worker_turn: " + b)
    print("hot: %d functions below worker_turn, %d forbidden calls, %d divide" % (len(seen), len(set(bad)), len(slow)))
    sys.exit(1 if bad or slow else 0)


if __name__ == "__main__":
    main()
