#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stage.py OUT - lay out the sources of the site: this folder, and a page for each manual by mandoc"""
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def manual(path):
    """The page's fragment of HTML, with links to the other manuals, under a title of Sphinx's."""
    name = os.path.basename(path)
    done = subprocess.run(["mandoc", "-T", "html", "-O", "fragment,man=%N.%S.html", path], capture_output=True, text=True,
                          check=True)
    html = re.sub(r'<a class="Xr" href="(?!(?:lib)?kvshm)[^"]*">([^<]*)</a>', r"\1", done.stdout)     # others' manuals
    title = "{}({})".format(*name.rsplit(".", 1))
    body = "\n".join("   " + line for line in html.splitlines())
    return f"{'=' * len(title)}\n{title}\n{'=' * len(title)}\n\n.. raw:: html\n\n   <div class=\"manual\">\n{body}\n   </div>\n"


def main():
    out = sys.argv[1]
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(HERE, out, ignore=shutil.ignore_patterns("examples", "man", "schema", "module.mk", "__pycache__", "stage.py"))
    pages = os.path.join(HERE, "man")
    os.mkdir(os.path.join(out, "man"))
    names = sorted(os.listdir(pages))
    for name in names:
        with open(os.path.join(out, "man", name + ".rst"), "w", encoding="utf-8") as f:
            f.write(manual(os.path.join(pages, name)))
    with open(os.path.join(out, "man", "index.rst"), "w", encoding="utf-8") as f:
        f.write("=======\nManuals\n=======\n\n.. toctree::\n\n" + "".join(f"   {name}\n" for name in names))


if __name__ == "__main__":
    main()
