# SPDX-License-Identifier: MIT
"""A minimal frame for system tests: functions named test_* run in order, one line each, and a count at the end."""
import sys
import time
import traceback


class Skip(Exception):
    pass


def check(ok, *what):
    if not ok:
        raise AssertionError(" ".join(str(w) for w in what))


def main(module, only=None):
    """
    Runs the module's tests; exits 0 when all passed, or were skipped: then the last line says why. Arguments: parts of
    names to run.
    """
    have = [n for n in vars(module) if n.startswith("test_")]
    for word in [] if only else sys.argv[1:]:
        if not any(word in n for n in have):
            sys.exit("no test is called so: " + word)
    only = only or sys.argv[1:]
    passed = failed = skipped = 0
    reasons = []
    for name, fn in list(vars(module).items()):
        if not name.startswith("test_") or (only and not any(o in name for o in only)):
            continue
        begin = time.monotonic()
        try:
            note = fn() or ""
            passed += 1
            word = "PASS"
        except Skip as e:
            skipped += 1
            word, note = "SKIP", str(e)
            reasons.append(note)
        except Exception:
            failed += 1
            word, note = "FAIL", "\n" + traceback.format_exc()
        print("%s %s (%.1f s) %s" % (word, name[5:], time.monotonic() - begin, note), flush=True)
    why = "" if passed or failed or not skipped else ": " + "; ".join(dict.fromkeys(" ".join(r.split()) for r in reasons))
    print("%d passed, %d failed, %d skipped%s" % (passed, failed, skipped, why), flush=True)
    sys.exit(1 if failed or not passed and not why else 0)
