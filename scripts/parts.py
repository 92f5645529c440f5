#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs parts of a test, several at once, and sums up what they counted.

scripts/parts.py [WORD...] --part [OPTIONS] NAME COMMAND... [--part ...]

Only the parts whose names contain a WORD run, and those that the others need; without a WORD all. OPTIONS of a part:

  --seconds N    what it takes, about: those that take longest begin first (60)
  --first        nothing else begins before it has passed
  --after NAME   begins when the part of that name has passed; a failure there is one here
  --alone        nothing runs beside it: it changes what the whole machine has; begins as early as it can
  --beside       fills the CPUs: runs beside the others, niced, one such part at a time, in the order of the list
  --full         only by --full, which stands before the first WORD

A part tells its counts in the last line "N passed, N failed" of its output, or as meson does; otherwise it is one test,
passed when it exits with 0. One that exits with anything else has failed at least once, whatever it says, and so has one
that counts nothing; but a part that cannot run here may say so: "0 passed, 0 failed, N skipped: REASON" with exit status
0 is neither, the table has the reason, and what needs it is skipped as well. What a part prints is printed when it ends,
in one piece. The last line is the sum; the exit status is 0 when nothing failed, and something passed or was skipped.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

LIMIT = 7200  # seconds of one part: nothing hangs for ever
GRACE = 40  # for a part that is asked to end: it takes its namespaces down
NICE = 5


class Part:
    def __init__(self, words):
        self.seconds, self.first, self.after, self.alone, self.beside, self.full = 60, False, None, False, False, False
        while words and words[0].startswith("--"):
            option = words.pop(0)[2:]
            if option in ("first", "alone", "beside", "full"):
                setattr(self, option, True)
            elif option == "after":
                self.after = words.pop(0)
            elif option == "seconds":
                self.seconds = float(words.pop(0))
            else:
                sys.exit("scripts/parts.py: no option --" + option)
        if len(words) < 2:
            sys.exit("scripts/parts.py: a part needs a name and a command: %s" % words)
        self.name, self.argv = words[0], words[1:]
        self.state, self.passed, self.failed, self.why = "waiting", 0, 0, None
        self.took = self.cpu = self.asked = 0.0

    def start(self):
        print(".... %s: begins" % self.name, flush=True)
        self.out = tempfile.TemporaryFile()
        self.begin, self.state = time.monotonic(), "running"
        try:
            # A session of its own: a Ctrl-C reaches the parts through here, once.
            nice = ["nice", "-n", str(NICE)] if self.beside else []
            self.p = subprocess.Popen(nice + self.argv, stdin=subprocess.DEVNULL, stdout=self.out,
                                      stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as e:
            self.ended(127, note=str(e))

    def poll(self):
        """Has it ended? By wait4, which tells the CPU time of it and of all that it has waited for."""
        pid, status, usage = os.wait4(self.p.pid, os.WNOHANG)
        if pid:
            self.p.returncode = os.waitstatus_to_exitcode(status)
            self.cpu = usage.ru_utime + usage.ru_stime
            self.ended(self.p.returncode)
        elif time.monotonic() - self.begin > LIMIT:
            self.stop("not done within %d s" % LIMIT)

    def ask(self, sig):
        """To the whole group: a shell's children too."""
        self.asked = time.monotonic()
        try:
            os.killpg(self.p.pid, sig)
        except ProcessLookupError:
            pass

    def stop(self, why):
        """Waits for its own cleaning, if it has been asked to end; then, whatever is left of it is killed."""
        if not self.asked:
            self.ask(signal.SIGTERM)
        pid, end = 0, self.asked + GRACE
        while not pid and time.monotonic() < end:
            pid, status, usage = os.wait4(self.p.pid, os.WNOHANG)
            time.sleep(0.02)
        self.ask(signal.SIGKILL)
        if not pid:
            _, status, usage = os.wait4(self.p.pid, 0)
        self.p.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = usage.ru_utime + usage.ru_stime
        self.ended(self.p.returncode or 1, why)

    def ended(self, status, note=""):
        self.took = time.monotonic() - self.begin
        self.out.seek(0)
        text = self.out.read().decode(errors="replace")
        self.out.close()
        self.passed, self.failed, self.why = counts(text, status)
        self.state = "failed" if self.failed else "skipped" if self.why else "passed"
        print("==== %s\n%s" % (self.name, text), end="" if text.endswith("\n") or not text else "\n")
        print("---- %s: exit %d, %d s%s" % (self.name, status, self.took, ", " + note if note else ""), flush=True)

    def not_run(self, why):
        self.state, self.failed = "failed", 1
        print("---- %s: not run, %s" % (self.name, why), flush=True)

    def skipped(self, why):
        self.state, self.why = "skipped", why
        print("---- %s: skipped, %s" % (self.name, why), flush=True)


def counts(text, status):
    """Passed, failed, and why all was skipped if it was, by a part's output and exit status."""
    passed = failed = why = None
    for line in text.splitlines():
        m = re.match(r"(\d+) passed, (\d+) failed(?:, [1-9]\d* skipped: *(\S.*))?", line)
        if m:
            passed, failed, why = int(m.group(1)), int(m.group(2)), m.group(3)
    if passed is None and re.search(r"(?m)^Ok: ", text):  # meson's summary
        n = {k: int(v) for k, v in re.findall(r"(?m)^(Ok|Fail|Timeout|Unexpected Pass): +(\d+)", text)}
        passed, failed = n.pop("Ok"), sum(n.values())
    if passed is None and re.search(r"(?m)^No (suitable )?tests defined", text):  # meson's too
        passed, failed = 0, 1
    if passed is None:
        passed, failed = (1, 0) if status == 0 else (0, 1)
    if status or passed or failed:
        return passed, failed or int(status != 0), None
    return 0, int(not why), why


def chosen(parts, words, full):
    """Those that are to run, with all that they need."""
    names = {p.name for p in parts}
    for p in parts:
        if p.after and p.after not in names:
            sys.exit("scripts/parts.py: %s: no part %s" % (p.name, p.after))
    if len(names) != len(parts):
        sys.exit("scripts/parts.py: two parts of one name")
    take = {p.name for p in parts if (full or not p.full) and (not words or any(w in p.name for w in words))}
    if not take:
        sys.exit("scripts/parts.py: no part is called so: %s" % " ".join(words))
    for _ in parts:
        take |= {p.after for p in parts if p.name in take and p.after}
    return [p for p in parts if p.name in take or p.first]


def at_once():
    """Parts wait for most of their time, so one more than there are CPUs; but each wants some memory too."""
    return min(6, 1 + len(os.sched_getaffinity(0)))


def begin(parts):
    """Starts what may run now. True when something is still to come."""
    running = [p for p in parts if p.state == "running"]
    waiting = [p for p in parts if p.state == "waiting"]
    state = {p.name: p.state for p in parts}
    first = [p for p in parts if p.first and p.state not in ("passed", "skipped")]
    for p in waiting:
        if first and not p.first and any(f.state == "failed" for f in first):
            p.not_run(first[0].name + " failed")
        elif p.after and state[p.after] == "failed":
            p.not_run(p.after + " failed")
        elif p.after and state[p.after] == "skipped":
            p.skipped(p.after + " was skipped")
    waiting = [p for p in waiting if p.state == "waiting" and (not p.after or state[p.after] == "passed")]
    if first:
        waiting = [p for p in waiting if p is first[0]]
    alone = [p for p in waiting if p.alone][:1]
    if alone or any(p.alone for p in running):
        waiting = [] if running else alone
    for p in [p for p in waiting if p.beside][:1]:
        if not any(r.beside for r in running):
            p.start()
    front = sorted((p for p in waiting if not p.beside), key=lambda p: -p.seconds)
    for p in front[:at_once() - sum(not r.beside for r in running)]:
        p.start()
    return any(p.state in ("running", "waiting") for p in parts)


def table(parts, took):
    width = max(len(p.name) for p in parts)
    print("\n%-*s %8s %8s %8s %8s" % (width, "part", "passed", "failed", "seconds", "of CPU"))
    for p in sorted(parts, key=lambda p: -p.took):
        print("%-*s %8d %8d %8.0f %8.0f%s" % (width, p.name, p.passed, p.failed, p.took, p.cpu,
                                              "  skipped: " + p.why if p.why else ""))
    print("%-*s %8d %8d %8.0f %8.0f" % (width, "all", sum(p.passed for p in parts), sum(p.failed for p in parts), took,
                                        sum(p.cpu for p in parts)))


def main(argv):
    head = argv[:argv.index("--part")] if "--part" in argv else argv
    words, full = [w for w in head if w != "--full"], "--full" in head
    lists = []
    for w in argv[len(head):]:
        lists.append([]) if w == "--part" else lists[-1].append(w)
    parts = chosen([Part(words) for words in lists], words, full)
    asked = []
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda s, _: asked.append(s))
    start = time.monotonic()
    while not asked and begin(parts):
        time.sleep(0.05)
        for p in parts:
            if p.state == "running":
                p.poll()
    for p in parts:  # of an interrupted run
        if p.state == "running":
            p.ask(signal.SIGTERM)
    for p in parts:
        if p.state == "running":
            p.stop("interrupted")
        elif p.state == "waiting":
            p.not_run("interrupted")
    table(parts, time.monotonic() - start)
    passed, failed = sum(p.passed for p in parts), sum(p.failed for p in parts)
    print("\n%d passed, %d failed" % (passed, failed), flush=True)
    sys.exit(128 + asked[0] if asked else int(failed > 0 or not (passed or any(p.why for p in parts))))


if __name__ == "__main__":
    main(sys.argv[1:])
