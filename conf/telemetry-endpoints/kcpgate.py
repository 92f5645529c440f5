# SPDX-License-Identifier: MIT
"""kcpgate for DPDK's dpdk-telemetry-exporter (24.03 and later), beside its own endpoints:

    dpdk-telemetry-exporter.py -p /usr/share/dpdk/telemetry-endpoints:FOLDER_OF_THIS -s /run/dpdk/PREFIX/dpdk_telemetry.v2

kcpgate has an endpoint of its own as well, telemetry.metrics, which tells more and needs no other program.
"""

TUNNEL = {
    "sessions": ("sessions now", "gauge"),
    "bytes_in": ("bytes from peers, above KCP", "counter"),
    "bytes_out": ("bytes to peers, above KCP", "counter"),
    "csum_errors": ("datagrams that did not open: another key, or noise", "counter"),
    "memory": ("bytes of memory that sessions hold", "gauge"),
    "chunks_refused": ("times that the tunnel's share of memory was used up", "counter"),
}
WORKER = {
    "busy_cycles": ("cycles in turns that did something", "counter"),
    "total_cycles": ("cycles since the start", "counter"),
    "rx_packets": ("frames received", "counter"),
    "tx_packets": ("frames sent", "counter"),
    "delivered": ("datagrams that sessions have taken", "counter"),
    "memory_used": ("bytes of the worker's heap in use", "gauge"),
}


def info():
    """Name -> (description, type) of every metric that metrics() gives."""
    all_of = {"tunnel_" + k: v for k, v in TUNNEL.items()}
    all_of.update({"worker_" + k: v for k, v in WORKER.items()})
    all_of["drops"] = ("what was dropped, by reason", "counter")
    all_of["snmp"] = ("kcptun's SNMP counters, by name; some are gauges", "counter")
    return all_of


def pages(sock, uri):
    """All pages of an answer, row by row."""
    page = sock.cmd(uri)
    while page:
        for key, row in page.items():
            if isinstance(row, dict):
                yield key, row
        page = sock.cmd(uri, "," + page["next"]) if "next" in page else None


def metrics(sock):
    """(name, value, labels) of what the gateway counts."""
    found = []
    for _, row in pages(sock, "/kcpgate/tunnels"):
        found += [("tunnel_" + k, row[k], {"tunnel": row["name"]}) for k in TUNNEL]
    for worker, row in pages(sock, "/kcpgate/workers"):
        found += [("worker_" + k, row[k], {"worker": worker}) for k in WORKER]
    found += [("drops", n, {"reason": reason}) for reason, n in sock.cmd("/kcpgate/drops").items()]
    found += [("snmp", n, {"counter": name}) for name, n in sock.cmd("/kcpgate/snmp").items()]
    return found
