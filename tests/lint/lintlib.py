# SPDX-License-Identifier: Apache-2.0
"""lintlib.py - what the lints share: the tree's files, code without comments, findings with a cure"""
import os
import re
import subprocess
import sys

ROOT = os.environ.get("KVSHM_LINT_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("kvshm", "gpu", "ipc", "policy", "utils")
PLAIN = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)


def sources(*suffixes, folders=FOLDERS):
    """Paths of the tree's files, relative to its root."""
    for folder in folders:
        for path, dirs, names in os.walk(os.path.join(ROOT, folder)):
            dirs[:] = sorted(d for d in dirs if not d.startswith((".", "build")))
            for name in sorted(names):
                if name.endswith(suffixes):
                    yield os.path.relpath(os.path.join(path, name), ROOT)


def text(path):
    with open(os.path.join(ROOT, path), errors="replace") as f:
        return f.read()


def code_lines(path):
    """Lines without comments and string contents; the numbering stays."""
    def blank(m):
        quote = m[0][0] if m[0][0] in "\"'" else ""
        return quote + re.sub(r"[^\n]", " ", m[0][len(quote):len(m[0]) - len(quote)]) + quote
    return PLAIN.sub(blank, text(path)).split("\n")


class Lint:
    """Collects findings; each says where, what, and what to do instead."""

    def __init__(self, name, what):
        self.name, self.what, self.findings = name, what, []

    def find(self, path, line, message, cure):
        self.findings.append(f"{path}:{line}: {message}; {cure}")

    def end(self):
        for f in self.findings:
            print(f)
        n = len(self.findings)
        print(f"{self.name}: {self.what}: " + (f"{n} finding{'s' if n > 1 else ''}" if n else "clean"))
        sys.exit(1 if n else 0)


def run(argv, stdin=None):
    return subprocess.run(argv, input=stdin, cwd=ROOT, capture_output=True, text=True)
