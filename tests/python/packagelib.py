# SPDX-License-Identifier: Apache-2.0
"""The built package `kvshm` against a private daemon, for the tests of the package."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import unittest

from daemonlib import BUILD, Daemon

sys.path.insert(0, os.path.join(BUILD, "python"))
if not os.path.exists(os.path.join(BUILD, "python", "kvshm", "_kvshm.abi3.so")):
    print("the package is not built here: no Python.h, or a sanitizer")
    sys.exit(77)

import kvshm  # noqa: E402

BLOCK = 65536
TOKENS = 16


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHONS = (sys.executable, "/usr/bin/python3", *(os.path.join(ROOT, "build", "engines", name, "bin", "python")
                             for name in ("python", os.path.join("vllm", "venv"))))


def tool_with(*modules):
    """An interpreter that can import all the modules; None: there is none here."""
    code = f"import importlib.util as u, sys; sys.exit(not all(u.find_spec(m) for m in {modules!r}))"
    for python in PYTHONS:
        if os.access(python, os.X_OK) and not subprocess.run([python, "-c", code]).returncode:
            return python
    return None


def need(*modules):
    """Go on in an interpreter that has the modules; without one the whole program is a skip."""
    python = tool_with(*modules)
    if python is None:
        print(f"no Python with {' and '.join(modules)} here: make setup, or make check-engines")
        sys.exit(77)
    if python != sys.executable:
        os.execv(python, [python, *sys.argv])


def keys_of(chain, nr):
    return [hashlib.sha256(b"%d %d" % (chain, i)).digest() for i in range(nr)]


def bytes_of(chain, i, length=BLOCK):
    """Bytes that tell which block they belong to."""
    return hashlib.sha256(b"bytes %d %d" % (chain, i)).digest() * (length // 32)


def put(ns, chain, nr, wait=True):
    """Put a chain and wait for its outcome."""
    ok = ns.put(keys_of(chain, nr), [bytes_of(chain, i) for i in range(nr)], tag=chain, timeout=5.0)
    if not wait:
        return ok
    assert ok
    done = until(lambda: ns.client.poll(timeout=1.0))
    assert done and done[0].tag == chain, done
    return done[0]


def until(look, seconds=10):
    """What `look` returns once that is true; the last of it after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen or time.monotonic() > deadline:
            return seen
        time.sleep(0.005)


def attach(client, name=b"tests", **other):
    desc = {"fingerprint": name, "layout": b"bytes", "block_len": BLOCK, "block_tokens": TOKENS, "label": "tests"}
    return client.attach_ns(**{**desc, **other})


class WithDaemon(unittest.TestCase):
    """Each test has a daemon of its own, a client and a namespace."""

    options = ()

    def setUp(self):
        self.daemon = Daemon(*self.options)
        self.addCleanup(self.end)
        self.client = self.open()
        self.ns = attach(self.client)

    def published(self):
        """Blocks that were put, of all namespaces."""
        done = subprocess.run([os.path.join(BUILD, "kvshm"), "stat", "namespaces", "--json", "--socket", self.daemon.socket],
                              capture_output=True, text=True, check=True)
        return sum(row["put_blocks"] for row in json.loads(done.stdout)["rows"])

    def open(self, **options):
        client = kvshm.open(socket=self.daemon.socket, label="tests", timeout=10.0, **options)
        self.addCleanup(client.close)
        return client

    def end(self):
        if self.daemon.process.poll() is None:
            self.daemon.kill()
        for folder in (self.daemon.dir, self.daemon.memory):
            shutil.rmtree(folder, ignore_errors=True)
