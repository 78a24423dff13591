#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=180
"""The exporter's status page in a real browser: whole in itself, light and dark, narrow and wide, also when STALE.

KVSHM_SCREENSHOTS=DIR keeps pictures of what was seen.
"""
import os
import re
import subprocess
import sys
import unittest

import browserlib
from daemonlib import BUILD, Daemon

KVSHM = os.path.join(BUILD, "kvshm")


def light(colour):
    """How bright "rgb(r, g, b)" is, 0 to 255."""
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


class StatusPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--size", "128M")
        subprocess.run([KVSHM, "load", "--socket", cls.daemon.socket, "--procs", "2", "--seconds", "1"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([sys.executable, "tests/lib/age_events.py", os.path.join(cls.daemon.dir, "events")], check=True)
        cls.exporter = subprocess.Popen([KVSHM, "exporter", "--listen", "0", "--socket", cls.daemon.socket],
                                        stderr=subprocess.PIPE, text=True)
        cls.url = "http://" + re.search(r"\S+:\d+$", cls.exporter.stderr.readline())[0] + "/"
        cls.page = browserlib.Page()

    @classmethod
    def tearDownClass(cls):
        cls.page.end()
        cls.exporter.terminate()
        cls.exporter.wait()
        cls.exporter.stderr.close()
        if cls.daemon.process.returncode is None:
            cls.daemon.kill()

    def look(self, name):
        self.page.requests.clear()
        self.page.errors.clear()
        self.page.open(self.url)
        if "KVSHM_SCREENSHOTS" in os.environ:
            self.page.screenshot(os.path.join(os.environ["KVSHM_SCREENSHOTS"], name + ".png"))
        return self.page.value("document.body.innerText")

    def test_1_it_shows_the_daemon_and_asks_nobody_else(self):
        text = self.look("light")
        for word in ("running", "hit ratio", "Namespaces", "Queues", "How long things take", "Miss-ratio curve"):
            self.assertIn(word, text)
        self.assertEqual(self.page.requests[0], self.url)
        self.assertEqual([r for r in self.page.requests if not r.startswith((self.url, "data:"))], [])
        self.assertEqual([e for e in self.page.errors if "favicon" not in e], [])
        self.assertEqual(self.page.value("document.scripts.length"), 0)
        self.assertGreater(self.page.value("document.querySelectorAll('svg').length"), 2)

    def test_1_it_draws_what_more_memory_would_give(self):
        text = self.look("curve")
        self.assertRegex(text, r"\+64 GiB would give [+-]\d+\.\d points")
        self.assertRegex(text, r"with 64 GiB more, \d+\.\d % without any limit")
        for part in ("polyline", "line.mark", "rect.part"):
            self.assertEqual(self.page.value(f"document.querySelectorAll('svg.chart {part}').length"), 2)   # a namespace each
        points = self.page.value("document.querySelector('svg.chart polyline').points.length")
        self.assertEqual(points, 8)

    def test_2_it_is_light_or_dark_as_the_system_is(self):
        seen = {}
        for scheme in ("light", "dark"):
            self.page.colours(scheme)
            self.look(scheme)
            seen[scheme] = [light(self.page.value(f"getComputedStyle(document.body).{what}"))
                            for what in ("backgroundColor", "color")]
        self.assertGreater(seen["light"][0], seen["light"][1] + 100)
        self.assertGreater(seen["dark"][1], seen["dark"][0] + 100)
        self.page.colours("light")

    def test_3_it_fits_a_telephone_and_a_wide_screen(self):
        for width in (390, 2560):
            self.page.width(width)
            self.look(f"{width}")
            self.assertLessEqual(self.page.value("document.documentElement.scrollWidth"), width)
        self.page.width(1280)

    def test_4_a_dead_daemon_is_told(self):
        self.daemon.kill()
        text = self.look("stale")
        self.assertIn("STALE", text)
        self.assertIn("Namespaces", text)


if __name__ == "__main__":
    if not browserlib.find():
        print("no chromium here: apt-get install chromium")
        sys.exit(77)
    if not os.access(KVSHM, os.X_OK):
        print(f"no {KVSHM}")
        sys.exit(77)
    unittest.main()
