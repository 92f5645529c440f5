# SPDX-License-Identifier: MIT
"""Headless Chromium in a namespace, by its DevTools protocol over two pipes."""
import base64
import json
import os
import shutil
import subprocess
import time

import case
from lab import GUARD, LabError


class Browser:
    def __init__(self, lab, ns, width=1280, height=900):
        path = shutil.which("chromium")
        if not path:
            raise case.Skip("Debian's chromium is not installed")
        self.lab, self.n, self.events = lab, 0, []
        there, self.out = os.pipe()
        self.back, here = os.pipe()
        for fd, at in ((there, 103), (here, 104)):
            os.dup2(fd, at)
            os.close(fd)
        # The pipes are its descriptors 3 and 4.  Without a sandbox of its own, for root has none; it sees nothing but us.
        script = 'exec 3<&103 4>&104 103<&- 104>&-; exec "$@"'
        self.log = open(os.path.join(lab.dir, "chromium.log"), "wb")
        self.p = subprocess.Popen(
            ["ip", "netns", "exec", lab.ns(ns), "bash", "-c", script, "bash", path, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--remote-debugging-pipe", "--hide-scrollbars", "--no-first-run", "--mute-audio",
             "--disable-background-networking", "--user-data-dir=" + os.path.join(lab.dir, "chromium")],
            stdout=self.log, stderr=self.log, pass_fds=(103, 104), env=dict(os.environ, HOME=lab.dir), start_new_session=True)
        os.close(103)
        os.close(104)
        os.set_blocking(self.back, False)
        self.buf = b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.page(domain + ".enable")
        self.size(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.p.poll() is None:
            self.p.terminate()
            try:
                self.p.wait(30)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        for fd in (self.out, self.back):
            os.close(fd)
        self.log.close()

    def _next(self, until):
        while b"\0" not in self.buf:
            if time.monotonic() > until or self.p.poll() is not None:
                raise LabError("chromium does not answer: " + open(self.log.name, errors="replace").read()[-2000:])
            try:
                self.buf += os.read(self.back, 1 << 20)
            except BlockingIOError:
                time.sleep(0.01)
        one, self.buf = self.buf.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, session=None, **params):
        self.n += 1
        v = {"id": self.n, "method": method, "params": params}
        if session:
            v["sessionId"] = session
        os.write(self.out, json.dumps(v).encode() + b"\0")
        until = time.monotonic() + GUARD
        while True:
            got = self._next(until)
            if got.get("id") != self.n:
                self.events.append(got)
            elif "error" in got:
                raise LabError("%s: %s" % (method, got["error"]))
            else:
                return got["result"]

    def page(self, method, **params):
        return self.call(method, self.session, **params)

    def size(self, width, height, scale=1, mobile=False):
        self.page("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)

    def scheme(self, name):
        self.page("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def go(self, url):
        self.page("Page.navigate", url=url)
        self.wait("it to be there", "location.href === %s && document.readyState === 'complete'" % json.dumps(url))

    def js(self, text):
        """The value of an expression, maybe a promise's."""
        r = self.page("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in r:
            raise LabError("%s: %s" % (text, r["exceptionDetails"]))
        return r["result"].get("value")

    def wait(self, what, text):
        end = time.monotonic() + GUARD
        while not self.js(text):
            if time.monotonic() > end:
                raise LabError("the page: not within %d s: %s" % (GUARD, what))
            time.sleep(0.1)

    def key(self, key, code=None):
        for kind in ("keyDown", "keyUp"):
            self.page("Input.dispatchKeyEvent", type=kind, key=key, code=code or key,
                      windowsVirtualKeyCode={"Tab": 9, "Enter": 13, " ": 32}.get(key, 0),
                      **({"text": "\r"} if key == "Enter" and kind == "keyDown" else {}))

    def picture(self, path, whole=False):
        r = self.page("Page.captureScreenshot", format="png", captureBeyondViewport=whole,
                      **({"clip": {**{k: self.page("Page.getLayoutMetrics")["cssContentSize"][k] for k in ("x", "y", "width", "height")},
                                   "scale": 1}} if whole else {}))
        with open(path, "wb") as f:
            f.write(base64.b64decode(r["data"]))

    def said(self):
        """What went wrong on the page: exceptions, console errors, refused by its policy, requests that failed."""
        self.js("1")
        bad = []
        for e in self.events:
            m, p = e.get("method"), e.get("params", {})
            if m == "Runtime.exceptionThrown" or (m == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning")):
                bad.append(json.dumps(p)[:600])
            elif m == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
                bad.append(p["entry"]["text"])
        return bad

    def asked(self):
        """The addresses that it has asked for."""
        self.js("1")
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
