# SPDX-License-Identifier: MIT
"""Small requests, one after another on connections that stay: nginx as the target, wrk as the load."""
import os
import re
import resource
import shutil
import time

from lab import GUARD, LabError
from stream import process_cpu

PORT = 9001
BODY = "hello\n"
WARM = 1  # seconds
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}

NGINX = """daemon off;
worker_processes 1;
pid %(dir)s/nginx.pid;
error_log stderr;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 100000000;
	client_body_temp_path %(dir)s/nginx-body;
	proxy_temp_path %(dir)s/nginx-proxy;
	fastcgi_temp_path %(dir)s/nginx-fastcgi;
	uwsgi_temp_path %(dir)s/nginx-uwsgi;
	scgi_temp_path %(dir)s/nginx-scgi;
	server { listen 127.0.0.1:%(port)d backlog=4096; default_type text/plain; location / { return 200 "%(body)s"; } }
}
"""

ROWS = [  # key, unit, what; of all but the first less is better
    ("rate", "req/s", "requests"),
    ("p50", "ms", "latency, median"),
    ("p99", "ms", "latency, 99 of 100"),
    ("cpu", "us/req", "CPU of both gateways"),
    ("user", "us/req", "  in user space"),
    ("sys", "us/req", "  in the kernel, for them"),
    ("server", "us/req", "  of the server alone"),
    ("client", "us/req", "  of the client alone"),
    ("control", "us/req", "  of threads that turn TCP"),
    ("ends", "us/req", "CPU of wrk and nginx"),
]


def have():
    return all(shutil.which(x, path=os.environ.get("PATH", "") + ":/usr/sbin") for x in ("wrk", "nginx"))


def serve(lab, ns):
    """Starts the target; nginx's one worker does all of it."""
    conf = lab.file("nginx.conf", NGINX % {"dir": lab.dir, "port": PORT, "body": BODY.replace("\n", "\\n")})
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    return lab.run("nginx", ns, binary, "-c", conf, "-p", lab.dir)


def wait(lab, ns, port, body=BODY):
    """Until a request is answered, and rightly."""
    end = time.monotonic() + GUARD
    while True:
        got = lab.sh(ns, "curl", "-s", "--max-time", "5", "http://127.0.0.1:%d/" % port, check=False)
        if got == body:
            return
        if time.monotonic() > end:
            raise LabError("no answer through port %d: %r" % (port, got))
        time.sleep(0.05)


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


def control_cpu(pid):
    """Seconds of a gateway's threads that are no worker's: 0 where it has none."""
    total, workers = 0.0, False
    for t in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/comm" % (pid, t)) as f:
            worker = f.read().startswith(("rte-worker", "lcore-worker", "dpdk-worker"))
        workers |= worker
        if not worker:
            with open("/proc/%d/task/%s/schedstat" % (pid, t)) as f:
                total += int(f.read().split()[0]) / 1e9
    return total if workers else 0.0


def number(text, pattern):
    m = re.search(pattern, text)
    if not m:
        raise LabError("wrk: no %s in:\n%s" % (pattern, text))
    return m


def ms(text, part):
    m = number(text, r"\n\s+%s%%\s+([0-9.]+)(us|ms|s|m)\b" % part)
    return float(m.group(1)) * UNITS[m.group(2)]


def result(text):
    """What wrk has found, times in ms; an error when a request failed."""
    if "Socket errors" in text or "Non-2xx" in text:
        raise LabError("requests failed:\n" + text)
    v = {"count": int(number(text, r"\n\s+(\d+) requests in").group(1)),
         "rate": float(number(text, r"Requests/sec:\s+([0-9.]+)").group(1)), "p50": ms(text, "50"), "p99": ms(text, "99")}
    if v["count"] == 0:
        raise LabError("no request was answered:\n" + text)
    return v


def wrk(lab, name, ns, port, connections, seconds):
    """Runs it to its end; its result."""
    p = lab.run(name, ns, "wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--latency", "--timeout", "10s",
                "http://127.0.0.1:%d/" % port)
    if p.end():
        raise LabError("wrk: " + p.log())
    return result(p.log())


def usage(cli, srv, nginx):
    kids = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"client": process_cpu(cli), "server": process_cpu(srv), "control": [control_cpu(cli) + control_cpu(srv)],
            "ends": [sum(process_cpu(x)[0] for x in nginx) + kids.ru_utime + kids.ru_stime]}


def measure(lab, n, ns, port, connections, seconds, cli, srv, nginx):
    """One round through both gateways (pids); a row."""
    wait(lab, ns, port)
    wrk(lab, "warm%d" % n, ns, port, connections, WARM)
    pids = [nginx] + children(nginx)
    a = usage(cli, srv, pids)
    v = wrk(lab, "wrk%d" % n, ns, port, connections, seconds)
    b = usage(cli, srv, pids)
    each = {k: [(y - x) * 1e6 / v["count"] for x, y in zip(a[k], b[k])] for k in a}
    both = [x + y for x, y in zip(each["client"], each["server"])]
    row = {"rate": v["rate"], "p50": v["p50"], "p99": v["p99"], "cpu": both[0], "user": both[1], "sys": both[2],
           "client": each["client"][0], "server": each["server"][0], "ends": each["ends"][0]}
    if each["control"][0]:
        row["control"] = each["control"][0]
    return row
