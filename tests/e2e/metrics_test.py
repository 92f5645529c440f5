#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""telemetry.metrics: OpenMetrics, read by its own parser, promtool and Prometheus; the endpoint against who misuses it."""
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lab"))
import case
from browser import Browser
from case import check
from lab import ROOT, Lab, eal, telemetry, wait_until
from wan import socket_in

LOAD = os.path.join(ROOT, "tests", "lab", "load.py")
CONF = os.path.join(ROOT, "conf", "prometheus")
OPEN = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5"
DEBIAN = "/usr/lib/python3/dist-packages"
CONNECTIONS = 32  # METRICS_CONNECTIONS
PORT = 9911


def conf(port, tunnels, metrics):
    one = '{ name = "%s"; role = "%s"; listen = "%s"; %s = "%s"; key = "of the metrics"; mode = "fast3"; nocomp = true; }'
    return eal(1) + 'ports = ( { name = "wan0"; device = "net_af_packet0,iface=%s"; exception = "kernel"; } );\n' % port \
        + "tunnels = ( %s );\n" % ",\n".join(one % t for t in tunnels) \
        + 'telemetry = { metrics = "%s"; };\n' % metrics


@contextlib.contextmanager
def gateways(metrics="127.0.0.1:%d" % PORT, metrics_of_client=""):
    """A server with two tunnels in g, a client of each in p."""
    with Lab("kM") as lab:
        lab.add_ns("g", "p")
        lab.veth("g", "g1", "p", "p1")
        lab.addr("g", "g1", "10.79.1.1/24")
        lab.addr("p", "p1", "10.79.1.2/24")
        lab.run("target", "g", sys.executable, LOAD, "serve", "127.0.0.1", "9000").wait_for("serving")
        metrics = metrics.replace("@DIR@", lab.dir)
        srv = lab.gateway("server", "g", conf("g1", [("s%d" % i, "server", ":400%d" % i, "target", "127.0.0.1:9000")
                                                     for i in (1, 2)], metrics))
        lab.gateway("client", "p", conf("p1", [("c%d" % i, "client", "127.0.0.1:1300%d" % i, "remote", "10.79.1.1:400%d" % i)
                                               for i in (1, 2)], metrics_of_client))
        srv.metrics = metrics
        yield lab, srv


def exchange(lab, i, n=200000, wait=True):
    p = lab.run("load%d" % len(lab.procs), "p", sys.executable, LOAD, "big", "127.0.0.1", "1300%d" % i, str(n),
                "--seed", str(i), "--timeout", "100")
    if wait:
        check(p.end() == 0, p.log())
    return p


def connect(lab, gw, ns="g"):
    if gw.metrics.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(120)
        s.connect(gw.metrics[5:])
        return s
    host, port = gw.metrics.rsplit(":", 1)
    s = socket_in(lab, ns, socket.AF_INET6 if host[0] == "[" else socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(120)
    s.connect((host.strip("[]"), int(port)))
    return s


class Answer:
    def __init__(self, r):
        self.status, self.body, self.head = r.status, r.read().decode(), {k.lower(): v for k, v in r.getheaders()}


def ask(lab, gw, path="/metrics", method="GET", body=None, sock=None, **headers):
    c = http.client.HTTPConnection("127.0.0.1", PORT)
    c.sock = sock or connect(lab, gw)
    c.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    a = Answer(c.getresponse())
    if not sock:
        c.close()
    return a


def parser():
    if DEBIAN not in sys.path:  # whichever Python this is: the package is Debian's
        sys.path.append(DEBIAN)
    try:
        from prometheus_client.openmetrics import parser as strict
    except ImportError:
        raise case.Skip("python3-prometheus-client is not installed")
    return strict


def value(families, sample, **labels):
    return sum(s.value for f in families for s in f.samples if s.name == sample and labels.items() <= s.labels.items())


def frames(families):
    """Between two turns what came is what has become of it."""
    came, became = (sum(value(families, "kcpgate_worker_%s_packets_total" % k) for k in ks) for ks in (
        ("received", "steered_in"), ("delivered", "answered", "punted", "steered_out", "dropped", "joined")))
    return came == became > 0


def test_openmetrics():
    """As its reference's strict parser reads it; the figures are telemetry's; the text of before has the same ones."""
    strict = parser()
    with gateways() as (lab, srv):
        for i, n in ((1, 300000), (2, 1000)):
            exchange(lab, i, n)
        wait_until("a look at the sessions", lambda: ask(lab, srv).body.count("kcpgate_tunnel_sampled_sessions{") == 2)
        a = ask(lab, srv, Accept=OPEN)
        check(a.status == 200 and a.head["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8", a.head)
        families = list(strict.text_string_to_metric_families(a.body))
        check(a.body.endswith("# EOF\n") and len(families) > 100, len(families), "families")
        check(all(f.documentation.endswith(".") for f in families), [f.name for f in families if not f.documentation])
        for t, i in (("s1", 1), ("s2", 2)):
            snmp = lab.telemetry(srv, "/kcpgate/snmp," + t)
            for sample, name in (("sent_bytes_total", "BytesSent"), ("received_bytes_total", "BytesReceived"),
                                 ("accepted_sessions_total", "PassiveOpens"), ("sessions", "CurrEstab")):
                check(value(families, "kcpgate_tunnel_" + sample, tunnel=t) == snmp[name] > 0, t, sample, snmp[name])
        check(value(families, "kcpgate_tunnel_received_bytes_total", tunnel="s1") > 300000, "bytes of s1")
        check(value(families, "kcpgate_tunnel_sampled_sessions") == 2, "sessions looked at")
        drops = lab.telemetry(srv, "/kcpgate/drops")
        check({s.labels["reason"] for f in families if f.name == "kcpgate_drops" for s in f.samples} == set(drops), "reasons")
        check(value(families, "kcpgate_port_up", port="wan0") == 1, "port")
        check(value(families, "kcpgate_port_received_bytes_total", port="wan0") > 300000, "the port's bytes")
        busy, run = (value(families, "kcpgate_worker_%s_seconds_total" % k) for k in ("busy", "run"))
        check(0 < busy < run, busy, run)
        hists = {f.name: f for f in families if f.type == "histogram"}
        check(len(hists) == 5, list(hists))
        both = lab.telemetry(srv, "/kcpgate/histograms")
        count = {n: value(families, n + "_count") for n in hists}
        check(0 < count["kcpgate_worker_receive_seconds"] <= both["rx_to_chan"]["count"] and
              0 < count["kcpgate_worker_seal_burst"] <= both["tx_width"]["count"], count, both)
        wait_until("every frame to be accounted for", lambda: frames(list(strict.text_string_to_metric_families(
            ask(lab, srv, Accept=OPEN).body))))
        b = ask(lab, srv)
        check(b.head["content-type"] == "text/plain; version=0.0.4; charset=utf-8" and "# EOF" not in b.body, b.head)
        names = [{line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[0] != "#"} for text in (a.body, b.body)]
        check(names[0] == names[1], names[0] ^ names[1])
        return "%d families, %d samples" % (len(families), sum(len(f.samples) for f in families))


def tool(*argv, **kw):
    if not shutil.which(argv[0]):
        raise case.Skip("Debian's prometheus is not installed (%s)" % argv[0])
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, **kw)


def test_promtool():
    """What it says of the metrics, the rules, their tests and the example of a configuration: nothing."""
    with gateways() as (lab, srv):
        exchange(lab, 1)
        p = tool("promtool", "check", "metrics", input=ask(lab, srv).body)
        check(p.returncode == 0 and p.stdout.strip() == "", p.stdout)
    for argv in (["check", "rules", CONF + "/alerts.yml"], ["check", "config", CONF + "/prometheus.yml"],
                 ["test", "rules", os.path.join(ROOT, "tests", "prometheus", "alerts_test.yml")]):
        p = tool("promtool", *argv)
        check(p.returncode == 0 and "SUCCESS" in p.stdout, p.stdout)


def dashboard():
    """The dashboard's expressions by panel, as Grafana would ask for them: all gateways, all tunnels."""
    with open(CONF + "/grafana.json") as f:
        d = json.load(f)
    check([v["name"] for v in d["templating"]["list"]] == ["datasource", "instance", "tunnel"], "variables")
    ids = [p["id"] for p in d["panels"]]
    check(len(set(ids)) == len(ids), "a panel's id twice")
    found = [(p["title"], t["expr"]) for p in d["panels"] for t in p.get("targets", [])]
    for title, expr in found:
        expr = expr.replace("$instance", ".*").replace("$tunnel", ".*").replace("$__rate_interval", "5s")
        check("$" not in expr, title, expr)
        yield title, expr


def rules():
    """Alerts by name, with their expressions: enough of YAML for this one file."""
    with open(CONF + "/alerts.yml") as f:
        text = re.sub(r">\n\s+((?:.|\n)*?)(?=\n        (?:for|labels):)", lambda m: " ".join(m[1].split()), f.read())
    return re.findall(r"- alert: (\w+)\n\s+expr: (.*)", text)


def names(expr):
    return set(re.findall(r"\b(?:kcpgate|process)_\w+", expr))


def query(lab, expr):
    out = lab.sh("g", "curl", "-s", "--max-time", "60", "http://127.0.0.1:9090/api/v1/query?" + urllib.parse.urlencode({"query": expr}))
    v = json.loads(out)
    check(v["status"] == "success", expr, out)
    return v["data"]["result"]


def test_prometheus():
    """Debian's Prometheus scrapes it and runs the alerts; all that dashboard and alerts name is there, and is drawn."""
    if not shutil.which("prometheus"):
        raise case.Skip("Debian's prometheus is not installed")
    with gateways() as (lab, srv):
        exchange(lab, 1)
        shutil.copy(CONF + "/alerts.yml", lab.dir)
        with open(CONF + "/prometheus.yml") as f:
            lab.file("prometheus.yml", f.read().replace("interval: 15s", "interval: 1s"))
        lab.run("prometheus", "g", "prometheus", "--config.file=" + lab.dir + "/prometheus.yml", "--web.listen-address=127.0.0.1:9090",
                "--storage.tsdb.path=" + lab.dir + "/tsdb", "--log.level=warn")
        wait_until("Prometheus to have scraped it", lambda: subprocess.run(
            ["ip", "netns", "exec", lab.ns("g"), "curl", "-s", "http://127.0.0.1:9090/-/ready"],
            stdout=subprocess.PIPE, text=True).stdout.startswith("Prometheus Server is Ready") and query(lab, 'up == 1'))
        exchange(lab, 2)
        wait_until("a look at the sessions", lambda: query(lab, "kcpgate_tunnel_rtt_seconds"))
        there = {r["metric"]["__name__"] for r in query(lab, '{job="kcpgate"}')}
        panels, alerts = list(dashboard()), rules()
        check(len(panels) > 20 and len(alerts) == 14, len(panels), len(alerts))
        for title, expr in panels + alerts:
            check(names(expr) <= there, title, names(expr) - there)
        exchange(lab, 1)
        wait_until("rates", lambda: query(lab, "rate(kcpgate_tunnel_sent_bytes_total[5s]) > 0"))
        nothing = [(title, expr) for title, expr in panels
                   if not wait_until(title, lambda: exchange_and_query(lab, expr))]
        check(not nothing, nothing)
        for title, expr in alerts:
            query(lab, expr)
        out = json.loads(lab.sh("g", "curl", "-s", "http://127.0.0.1:9090/api/v1/rules"))
        loaded = [r for g in out["data"]["groups"] for r in g["rules"]]
        check(sorted(r["name"] for r in loaded) == sorted(a for a, _ in alerts), "rules that run", loaded)
        check(all(r["health"] != "err" and r["state"] == "inactive" for r in loaded), loaded)
        check(query(lab, "scrape_samples_scraped")[0]["value"][1] != "0", "samples")
        return "%d expressions, %d alerts" % (len(panels), len(alerts))


def exchange_and_query(lab, expr):
    """A rate is none of a tunnel that stands still."""
    got = query(lab, expr)
    if not got:
        exchange(lab, 1, 20000)
    return got


def test_get_only():
    """Other methods, bodies, paths, hosts and heads without end are refused in words, and nothing of it does harm."""
    with gateways() as (lab, srv):
        for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "PATCH", "X"):
            a = ask(lab, srv, method=method)
            check(a.status == 405 and a.head["allow"] == "GET", method, a.status, a.head)
        check(ask(lab, srv, body="x").status == 400, "a body")
        check(ask(lab, srv, "/").status == 200, "the page")
        for path in ("/x", "/metrics/", "/../etc/passwd", "/metrics%00", "//metrics"):
            check(ask(lab, srv, path).status == 404, path)
        check(ask(lab, srv, "/metrics?x=y&&=").status == 200, "a query")
        a = ask(lab, srv, Host="rebound.example:9911")
        check(a.status == 403 and "localhost" in a.body, a.status, a.body)
        for host in ("localhost:9911", "[::1]:9911"):
            check(ask(lab, srv, Host=host).status == 200, host)
        s = connect(lab, srv)
        with contextlib.suppress(OSError):
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n")
        check(s.recv(100).split()[1:2] == [b"431"], "a head without end")
        held = []
        for whole, junk in ((False, b"\x16\x03\x01\x02\x00\x01\x00"), (False, b"\r\n\r\n\r\n"), (False, b"GET /me"), (True, b"GET\r\n\r\n"),
                            (True, b"GET /metrics HTTP/9.9\r\n\r\n"), (True, bytes(range(256)) * 30),
                            (True, b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n")):
            s = connect(lab, srv)
            with contextlib.suppress(OSError):
                s.sendall(junk)
                check(not whole or not s.recv(100).startswith(b"HTTP/1.1 200"), junk[:20])
            held.append(s)
        check(ask(lab, srv).status == 200, "afterwards")
        check(srv.stop() == 0, "exit status")


def test_status():
    """What the page asks for is what telemetry has; what it may ask is bounded, and else refused in words."""
    with gateways() as (lab, srv):
        exchange(lab, 1)
        ask(lab, srv, "/status.json")  # from now on sessions are followed
        wait_until("sessions", lambda: json.loads(ask(lab, srv, "/status.json").body)["followed"])
        a = ask(lab, srv, "/status.json?since=0&sort=age")
        v = json.loads(a.body)
        check(a.head["content-type"] == "application/json; charset=utf-8" and a.head["cache-control"] == "no-store", a.head)
        check([t["name"] for t in v["tunnels"]] == ["s1", "s2"], v["tunnels"])
        rows = lab.telemetry(srv, "/kcpgate/sessions")
        check({s["peer"] for s in v["sessions"]} == {r["peer"] for r in rows} and len(rows) == 1, v["sessions"])
        n = v["second"]
        check(len(v["history"]["0"]["in"]) == n > 0 and sum(v["history"]["0"]["in"]) > 100000, v["history"]["0"])
        later = json.loads(ask(lab, srv, "/status.json?tunnel=1&since=%d" % n).body)
        check(list(later["history"]) == ["1"] and later["from"] == n + 1 and not later["sessions"], later)
        for wrong in ("since=-1", "since=x", "since=99999999999999999999", "tunnel=2", "tunnel=", "tunnel=s1", "sort=peer", "sort="):
            a = ask(lab, srv, "/status.json?" + wrong)
            check(a.status == 400 and "allowed: " in a.body, wrong, a.status, a.body)


def test_page():
    """In Chromium: it draws, sorts, filters and pauses, by the keyboard too; light, dark, on a phone; it asks nobody else."""
    with gateways() as (lab, srv), Browser(lab, "g") as b:
        a = ask(lab, srv, "/")
        policy = a.head["content-security-policy"]
        check("default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy, policy)
        for i in (1, 2):
            exchange(lab, i)
        load = lab.run("steady", "p", sys.executable, LOAD, "steady", "127.0.0.1", "13001", "600", "2", "300000")
        b.scheme("light")
        b.go("http://127.0.0.1:%d/" % PORT)
        b.wait("its first figures", "document.getElementById('state').className === 'live'")
        b.wait("sessions", "document.querySelectorAll('#sessions tbody th').length === 2")
        b.wait("points", "document.querySelector('#plot-out .plot').getAttribute('aria-label').includes('bit/s')")
        check(b.js("document.querySelectorAll('figure canvas').length") == 8, "plots")
        check(b.js("[...document.querySelectorAll('#tunnels tbody th')].map(e => e.textContent)") == ["s1", "s2"], "tunnels")
        peers = {r["peer"] for r in lab.telemetry(srv, "/kcpgate/sessions")}
        check(set(b.js("[...document.querySelectorAll('#sessions tbody th')].map(e => e.textContent)")) == peers, peers)
        b.wait("lines", "(%s)('in', '--c0')" % COLOURED)
        light = b.js(BACK)

        # A script that somebody got into the page is not run.
        b.js("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.inside = 1'}))")
        check(b.js("window.inside") is None, "a script of somebody's ran")
        check(any("Content Security Policy" in s for s in b.said()), b.said())
        b.events.clear()

        # By the keyboard: the first stop is the way round what is above; the button of a column sorts.
        b.js("document.activeElement.blur()")
        b.key("Tab")
        check(b.js("document.activeElement.className") == "skip", "first stop")
        seen = []
        for _ in range(40):
            b.key("Tab")
            seen.append(b.js("document.activeElement.textContent || document.activeElement.id"))
            if seen[-1] == "Round trip":
                break
        check(seen[:4] == ["Pause", "Theme: system", "s1", "s2"] and seen[-1] == "Round trip", seen)
        b.key("Enter")
        b.wait("an order", "document.querySelector('#sessions th[aria-sort=descending]')?.textContent === 'Round trip'")
        check(b.js("document.activeElement.textContent") == "Round trip", "focus")
        wait_until("the order to be asked for", lambda: any("sort=rtt" in u for u in b.asked()))

        # One of the tunnels.
        b.js("document.querySelectorAll('#chips button')[0].click()")
        check(not b.js("(%s)('in', '--c0')" % COLOURED), "a line that is hidden")
        b.js("document.querySelectorAll('#chips button')[0].click()")
        b.js("(e => { e.value = '1'; e.dispatchEvent(new Event('change')); })(document.getElementById('only'))")
        b.wait("one tunnel's sessions", "document.querySelectorAll('#sessions tbody th').length === 1")
        b.js("(e => { e.value = ''; e.dispatchEvent(new Event('change')); })(document.getElementById('only'))")
        b.wait("all again", "document.querySelectorAll('#sessions tbody th').length === 2")

        # Dark, as the system has it and by the button; a phone, on which nothing is wider than it.
        b.scheme("dark")
        b.wait("dark", "document.documentElement.dataset.theme === 'dark'")
        dark = b.js(BACK)
        check(sum(light) > 3 * 220 and sum(dark) < 3 * 40, light, dark)
        b.wait("lines in the dark", "(%s)('out', '--c0')" % COLOURED)
        b.js("document.getElementById('theme').click()")
        check(b.js(BACK) == light and b.js("document.getElementById('theme').textContent") == "Theme: light", "the button")
        b.size(360, 740, 2, True)
        b.wait("one below the other", "new Set([...document.querySelectorAll('figure')].map(e => e.getBoundingClientRect().x)).size === 1")
        check(b.js("document.documentElement.scrollWidth") <= 360, "wider than the phone")
        b.wait("plots as wide", "document.querySelector('figure canvas').getBoundingClientRect().right <= 360")
        b.picture(os.path.join(lab.dir, "phone.png"))
        if os.environ.get("KCPGATE_PICTURES"):
            shutil.copy(os.path.join(lab.dir, "phone.png"), os.environ["KCPGATE_PICTURES"])

        # Paused, it asks nothing; where nobody answers it says so.
        check(not b.said(), b.said())
        b.js("document.getElementById('pause').click()")
        n = len(b.asked())
        time.sleep(2.5)
        check(len(b.asked()) <= n + 1 and b.js("document.getElementById('state').textContent") == "paused", "paused")
        b.js("document.getElementById('pause').click()")
        b.wait("live again", "document.getElementById('state').className === 'live'")
        asked = {urllib.parse.urlsplit(u)[:2] for u in b.asked()}
        check(asked <= {("http", "127.0.0.1:%d" % PORT), ("data", "")}, asked)
        load.stop()
        check(srv.stop() == 0, "exit status")
        b.wait("that nobody answers", "document.getElementById('state').className === 'lost'")
        return b.js("document.getElementById('state').textContent")


BACK = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
# Whether a plot has pixels of a line's color.
COLOURED = """(plot, name) => {
    const c = document.querySelector('#plot-' + plot + ' canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
    const want = getComputedStyle(document.documentElement).getPropertyValue(name).trim().match(/\\w\\w/g).map(x => parseInt(x, 16));
    for (let i = 0; i < d.length; i += 4)
        if (d[i + 3] > 200 && want.every((v, k) => Math.abs(d[i + k] - v) < 24)) return true;
    return false;
}"""


def test_slow_readers():
    """Who says nothing, or reads nothing, holds up nobody: there are only so many, and the one that came first goes."""
    with gateways() as (lab, srv):
        steady = connect(lab, srv)  # as Prometheus': one connection for all its questions
        check(ask(lab, srv, sock=steady).status == 200, "steady")
        held = []
        for i in range(4 * CONNECTIONS):
            s = connect(lab, srv)
            if i % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
                s.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20)
            held.append(s)
            if i % 10 == 0:
                check(ask(lab, srv, sock=steady).status == 200, "steady, beside", i)
        check(ask(lab, srv).status == 200, "a new one")
        fds = os.listdir("/proc/%d/fd" % srv.p.pid)
        sockets = [f for f in fds if os.readlink("/proc/%d/fd/%s" % (srv.p.pid, f)).startswith("socket:")]
        check(len(sockets) < CONNECTIONS + 30, len(sockets), "sockets")
        exchange(lab, 1)
        check(telemetry(srv.prefix, "/kcpgate/version")["kcpgate"], "telemetry")
        check(ask(lab, srv, sock=steady).status == 200, "steady, after all")
        begin = time.monotonic()
        check(srv.stop() == 0 and time.monotonic() - begin < 60, "the end, with all of them connected")


def test_unix():
    """A socket file of its user and group, made anew over a dead one, gone at the end; no name is asked for there."""
    with gateways("unix:@DIR@/metrics", "127.0.0.1:%d" % PORT) as (lab, srv):
        path = srv.metrics[5:]
        st = os.stat(path)
        check(stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o660, oct(st.st_mode))
        exchange(lab, 1)
        check("kcpgate_tunnel_sent_bytes_total" in ask(lab, srv, Host="anything").body, "by the socket")
        check(srv.stop() == 0 and not os.path.exists(path), "it is left")
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(path)
        dead.close()
        again = lab.gateway("again", "g", conf("g1", [("s1", "server", ":4001", "target", "127.0.0.1:9000")], srv.metrics))
        again.metrics = srv.metrics
        check(ask(lab, again).status == 200, "over a dead one")
        other = lab.gateway("other", "g", conf("g1", [("s2", "server", ":4002", "target", "127.0.0.1:9000")], srv.metrics),
                            ready=False)
        check(other.end() == 1 and "cannot start: metrics: unix:%s: Address already in use" % path in other.log(), other.log())
        check(ask(lab, again).status == 200, "and the first one goes on")


def test_in_use():
    """A port that somebody has: said, and not started."""
    with Lab("kM") as lab:
        lab.add_ns("g", "p")
        lab.veth("g", "g1", "p", "p1")
        lab.addr("g", "g1", "10.79.1.1/24")
        lab.run("somebody", "g", sys.executable, LOAD, "serve", "127.0.0.1", str(PORT)).wait_for("serving")
        p = lab.gateway("server", "g", conf("g1", [("s1", "server", ":4001", "target", "127.0.0.1:9000")],
                                            "127.0.0.1:%d" % PORT), ready=False)
        check(p.end() == 1 and "cannot start: metrics: 127.0.0.1:%d: Address already in use" % PORT in p.log(), p.log())


def test_ipv6():
    with gateways("[::1]:%d" % PORT) as (lab, srv):
        check(ask(lab, srv, Host="[::1]:%d" % PORT).status == 200, "::1")


if __name__ == "__main__":
    case.main(sys.modules[__name__])
