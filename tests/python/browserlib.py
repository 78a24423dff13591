# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, driven by its DevTools protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol/, with --remote-debugging-pipe: JSON messages, each ended by a zero
byte, from descriptor 3 and to descriptor 4 of the browser.
"""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def find():
    """Path of a browser; None: there is none here."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """One page in a browser of its own; requests and errors are kept as they come."""

    def __init__(self, width=1280, height=1600):
        self.dir = tempfile.mkdtemp(prefix="kvshm-browser.")
        to_browser, from_browser = os.pipe(), os.pipe()

        def descriptors():
            # above 4 first: one of them may be 3 or 4 itself
            read, write = os.dup2(to_browser[0], 30), os.dup2(from_browser[1], 31)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            [find(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--remote-debugging-pipe", f"--user-data-dir={self.dir}", f"--window-size={width},{height}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
            preexec_fn=descriptors)
        os.close(to_browser[0])
        os.close(from_browser[1])
        self.out, self.inp = os.fdopen(to_browser[1], "wb", 0), os.fdopen(from_browser[0], "rb", 0)
        self.number, self.session, self.rest = 0, None, b""
        self.requests, self.errors, self.events = [], [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(domain + ".enable")

    def _message(self):
        while b"\0" not in self.rest:
            more = self.inp.read(65536)
            if not more:
                raise OSError("the browser ended")
            self.rest += more
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def _heard(self, m):
        method, p = m.get("method"), m.get("params", {})
        self.events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])
        elif method == "Log.entryAdded" and p["entry"]["level"] == "error":
            self.errors.append(p["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(p["exceptionDetails"]["text"])

    def call(self, method, **params):
        self.number += 1
        m = {"id": self.number, "method": method, "params": params}
        if self.session:
            m["sessionId"] = self.session
        self.out.write(json.dumps(m).encode() + b"\0")
        while True:
            m = self._message()
            if m.get("id") == self.number:
                if "error" in m:
                    raise OSError(f"{method}: {m['error']['message']}")
                return m["result"]
            self._heard(m)

    def open(self, url, seconds=20):
        self.events.clear()
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + seconds
        while "Page.loadEventFired" not in self.events:
            if time.monotonic() > deadline:
                raise OSError(f"{url} does not load")
            self.value("0")         # answers bring the events along

    def value(self, expression):
        """Of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def colours(self, scheme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def width(self, pixels):
        self.call("Emulation.setDeviceMetricsOverride", width=pixels, height=1200, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def end(self):
        self.process.kill()
        self.process.wait()
        self.out.close()
        self.inp.close()
        shutil.rmtree(self.dir, ignore_errors=True)
