#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scripts/demo: two namespaces, two gateways, an HTTP server behind the one and a download through the other."""
import argparse
import hashlib
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import LOAD_GUARD, Lab, LabError, eal

TUNNEL = '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; key = "demo"; crypt = "aes"; mode = "fast3"; nocomp = true; ' \
         'sndwnd = 2048; rcvwnd = 2048; }'


def conf(iface, tunnel):
    return (eal() + 'ports = ( { name = "%s"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n' %
            (iface, iface) + "tunnels = ( %s );\n" % tunnel)


def make_file(path, megabytes):
    rnd, h = random.Random(2026), hashlib.sha256()
    with open(path, "wb") as f:
        for _ in range(megabytes):
            b = rnd.randbytes(1 << 20)
            h.update(b)
            f.write(b)
    return h.hexdigest()


def file_sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for b in iter(lambda: f.read(1 << 20), b""):
            h.update(b)
    return h.hexdigest()


def table(title_a, a, title_b, b):
    print("\n%-22s %16s %16s" % ("SNMP", title_a, title_b))
    for k in a:
        if a[k] or b[k]:
            print("%-22s %16d %16d" % (k, a[k], b[k]))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--megabytes", type=int, default=100)
    o = p.parse_args()
    with Lab("kgdemo") as lab:
        lab.add_ns("srv", "cli")
        lab.veth("srv", "wan0", "cli", "wan1")
        lab.addr("srv", "wan0", "192.0.2.1/24")
        lab.addr("cli", "wan1", "192.0.2.2/24")
        print("kcpgate demo: http server - kcpgate server [192.0.2.1:4000/udp] ---- kcpgate client - curl", flush=True)
        www = os.path.join(lab.dir, "www")
        os.mkdir(www)
        want = make_file(os.path.join(www, "file"), o.megabytes)
        lab.run("http", "srv", sys.executable, "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", www)
        srv = lab.gateway("server", "srv", conf("wan0", TUNNEL % ("demo", "server", ":4000", "target", "127.0.0.1:8000")))
        cli = lab.gateway("client", "cli", conf("wan1", TUNNEL % ("demo", "client", "127.0.0.1:8001", "remote",
                                                                  "192.0.2.1:4000")))
        got = os.path.join(lab.dir, "got")
        cpu, begin = srv.cpu_seconds() + cli.cpu_seconds(), time.monotonic()
        lab.sh("cli", "curl", "-sS", "--fail", "--retry", "5", "--retry-connrefused", "--max-time", "280", "-o", got,
               "http://127.0.0.1:8001/file", timeout=LOAD_GUARD)
        span = time.monotonic() - begin
        cpu = srv.cpu_seconds() + cli.cpu_seconds() - cpu
        have = file_sha256(got)
        print("sha256 sent     %s\nsha256 received %s" % (want, have))
        if want != have:
            raise LabError("the file did not arrive as it was sent")
        print("%d MB in %.2f s: %.0f Mbit/s, %.1f CPU seconds a GB for both gateways" %
              (o.megabytes, span, o.megabytes * 8.388608 / span, cpu / (o.megabytes / 1024)))
        table("server", lab.telemetry(srv, "/kcpgate/snmp"), "client", lab.telemetry(cli, "/kcpgate/snmp"))
        row = lab.telemetry(cli, "/kcpgate/sessions")[0]
        print("\nsession %s -> %s: %d stream(s), srtt %d ms, rto %d ms" %
              (row["local"], row["peer"], row["streams"], row["srtt_ms"], row["rto_ms"]))
    print("""
What to try next
  conf/server.conf, conf/client.conf   commented configurations: copy one, set the interface, addresses and key
  build/app/kcpgate check -c FILE      tells what is wrong with a file, and the memory that it needs
  build/app/kcpgate -c FILE            runs it; kcptun-server or kcptun-client may be on the other side
  dpdk-telemetry.py -f kcpgate         then /kcpgate/snmp, /kcpgate/sessions, /kcpgate/workers, /kcpgate/drops
  scripts/test                         every test, against stock kcptun too""")


if __name__ == "__main__":
    try:
        main()
    except (LabError, OSError) as e:
        print("demo failed: %s" % e, file=sys.stderr)
        sys.exit(1)
