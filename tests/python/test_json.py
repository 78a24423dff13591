#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=300
"""What the commands print with --json is as Documentation/ABI/schema says: fields never disappear within a version."""
import glob
import json
import os
import re
import subprocess
import tempfile
import unittest

from packagelib import BUILD, ROOT, need

need("kubernetes_validate")             # which brings jsonschema
import jsonschema  # noqa: E402
from daemonlib import Daemon  # noqa: E402

KVSHM = os.path.join(BUILD, "kvshm")
SCHEMAS = {}
for _path in glob.glob(os.path.join(ROOT, "Documentation/ABI/schema/*.json")):
    with open(_path, encoding="utf-8") as _f:
        SCHEMAS[os.path.basename(_path)[:-5]] = json.load(_f)


class Json(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--size", "128M")
        cls.dir = tempfile.mkdtemp(prefix="kvshm-json.")
        cls.trace = os.path.join(cls.dir, "t.jsonl")
        with open(cls.trace, "w", encoding="utf-8") as f:
            subprocess.run([KVSHM, "trace", "gen", "-n", "400"], stdout=f, check=True)
        cls.seen = set()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        os.unlink(cls.trace)
        os.rmdir(cls.dir)

    def check(self, *command, status=0):
        done = subprocess.run([KVSHM, *command, "--json"], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, status, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertGreater(len(lines), 0)
        for d in lines:
            name = re.sub(r"^kvshm\.(.*)/(\d+)$", r"\1-\2", d["schema"])
            jsonschema.Draft202012Validator(SCHEMAS[name]).validate(d)
            self.seen.add(name)
        return lines

    def live(self, *command, **other):
        return self.check(*command, "--socket", self.daemon.socket, **other)

    def test_1_of_a_running_daemon(self):
        load = self.live("load", "--procs", "2", "--seconds", "1")[0]
        self.assertGreater(load["published_blocks"], 0)
        self.live("stat")
        self.live("stat", "--rate", "--prefill-rate", "5000")
        self.assertEqual(len(self.live("stat", "-w0.1", "-n2")), 2)
        for view in ("summary", "clients", "tiers", "namespaces", "classes", "queues", "pins", "gpu", "numa", "hist", "mrc",
                     "events", "config", "metrics"):
            if view != "summary":
                self.assertEqual(self.live("stat", view)[0]["view"], view)
        self.live("clients")
        self.live("verify")
        self.live("mrc", "--seconds", "0.2")
        done = subprocess.run([KVSHM, "doctor", "--socket", self.daemon.socket, "--json"], capture_output=True, text=True)
        self.live("doctor", status=done.returncode)

    def test_2_of_traces(self):
        self.assertEqual(len(self.check("replay", self.trace, "-p", "gix,leaf-lru", "-c", "1%,5%")[0]["results"]), 4)
        self.check("mrc", self.trace)
        self.check("mrc", self.trace, "--policy", "gix", "--at", "5%")
        self.check("trace", "characterise", self.trace)
        self.check("load", "--trace", self.trace, "--lockstep")
        self.check("load", "--trace", self.trace, "--lockstep", "--policy", "gix,leaf-lru")
        self.check("load", "--shared-prefix")

    def test_3_of_benchmarks(self):
        run = self.check("bench", "match", "--blocks", "20000")[0]
        for what in (["resolve", "--blocks", "20000"], ["get", "--bytes", "64K"], ["put", "--bytes", "64K"],
                     ["put", "--staged", "--bytes", "64K"], ["qp"], ["evict", "--blocks", "20000"], ["attach"],
                     ["policy", "--blocks", "20000"], ["plan", "--blocks", "64"], ["stage", "--fake", "--blocks", "8"],
                     ["tier", "--fake", "--blocks", "8"]):
            self.check("bench", *what)
        before = os.path.join(self.dir, "run.json")
        with open(before, "w", encoding="utf-8") as f:
            json.dump(run, f)
        self.check("bench", "compare", before, before)
        os.unlink(before)

    def test_4_each_schema_was_met_and_each_command_has_one(self):
        self.assertEqual(self.seen, set(SCHEMAS))
        names = set()
        for path in glob.glob(os.path.join(ROOT, "utils/*.c")):
            with open(path, encoding="utf-8") as f:
                names |= set(re.findall(r'j(?:doc|son)_begin\((?:now, )?(?:is_clients \? )?"([\w-]+)"', f.read()))
        self.assertEqual({n + "-1" for n in names} - set(SCHEMAS), set())
        self.assertGreater(len(names), 8)


if __name__ == "__main__":
    unittest.main()
