#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=300
"""The documentation builds as a site without a warning: links, manuals, every function of the API."""
import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from packagelib import BUILD, ROOT, need

need("linuxdoc")
if not shutil.which("mandoc"):
    print("no mandoc here: make setup")
    sys.exit(77)
DOCUMENTATION = os.path.join(ROOT, "Documentation")


class Links(html.parser.HTMLParser):
    """What a page loads, where it leads, and what in it can be led to."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.leads, self.ids = [], [], set()
        with open(path, encoding="utf-8") as f:
            self.feed(f.read())

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if "id" in a:
            self.ids.add(a["id"])
        if tag in ("script", "img", "link") and (a.get("src") or a.get("href")):
            self.loads.append(a.get("src") or a["href"])
        if tag == "a" and "href" in a:
            self.leads.append(a["href"])


def build(source, out):
    return subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html", source, out],
                          env={**os.environ, "KVSHM_ROOT": ROOT}, capture_output=True, text=True)


class Site(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="kvshm-site.")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.source, cls.out = os.path.join(cls.dir, "src"), os.path.join(cls.dir, "html")
        subprocess.run([sys.executable, os.path.join(DOCUMENTATION, "sphinx/stage.py"), cls.source], check=True)
        cls.built = build(cls.source, cls.out)
        cls.pages = {os.path.relpath(os.path.join(d, f), cls.out): Links(os.path.join(d, f))
                     for d, _, files in os.walk(cls.out) for f in files if f.endswith(".html")}

    def test_nothing_is_warned_about(self):
        self.assertEqual((self.built.returncode, self.built.stderr), (0, ""))

    def test_each_page_and_each_manual_is_there(self):
        written = [os.path.relpath(os.path.join(d, f), DOCUMENTATION) for d, _, files in os.walk(DOCUMENTATION)
                   for f in files if re.search(r"\.(rst|[1-8])$", f)]
        want = {re.sub(r"\.rst$", "", f) + ".html" for f in written}
        self.assertEqual(want - set(self.pages), set())
        self.assertGreater(len(want), 40)

    def test_each_function_of_the_libraries_is_explained(self):
        ids = {i for p in self.pages.values() for i in p.ids}
        for library in filter(os.path.exists, (os.path.join(BUILD, n) for n in ("libkvshm.so", "libkvshm-llama.so"))):
            symbols = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
            names = re.findall(r" T (kvshm_\w+)", symbols.stdout)
            self.assertGreater(len(names), 5)
            self.assertEqual([n for n in names if f"c.{n}" not in ids], [])

    def test_no_page_loads_from_elsewhere_and_no_link_of_the_site_is_dead(self):
        for name, page in self.pages.items():
            self.assertEqual([u for u in page.loads if re.match(r"(\w+:)?//", u)], [], name)
            for link in page.leads:
                if re.match(r"\w+:", link):
                    continue
                target, _, anchor = link.partition("#")
                target = os.path.normpath(os.path.join(os.path.dirname(name), target)) if target else name
                self.assertIn(target, self.pages, f"{name}: {link}")
                if anchor:
                    self.assertIn(anchor, self.pages[target].ids, f"{name}: {link}")

    def test_a_link_to_a_page_that_is_not_there_is_an_error(self):
        source = os.path.join(self.dir, "broken")
        os.makedirs(os.path.join(source, "sphinx"))
        for name in ("conf.py", "sphinx/automarkup.py"):
            shutil.copy(os.path.join(DOCUMENTATION, name), os.path.join(source, name))
        os.mkdir(os.path.join(source, "sphinx/static"))
        shutil.copy(os.path.join(DOCUMENTATION, "sphinx/static/kvshm.css"), os.path.join(source, "sphinx/static"))
        for text in ("``howto/nothing.rst``", "``kvshm_nothing()``", "kvshm-nothing(1)"):
            with open(os.path.join(source, "index.rst"), "w", encoding="utf-8") as f:
                f.write(f"=\nA\n=\n\n{text}\n")
            done = build(source, os.path.join(self.dir, "broken-html"))
            self.assertNotEqual(done.returncode, 0, text)
            self.assertIn("nothing", done.stderr)


if __name__ == "__main__":
    unittest.main()
