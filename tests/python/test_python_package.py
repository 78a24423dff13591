#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The package as users get it: the wheel, the doctor, the examples, the types."""
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest

from packagelib import BUILD, WithDaemon, attach, kvshm, tool_with

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE = os.path.join(ROOT, "kvshm", "python")


def run(argv, **env):
    return subprocess.run(argv, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": os.path.join(BUILD, "python"), **env})


class Wheel(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="kvshm-test.")
        self.addCleanup(shutil.rmtree, self.dir)

    def pack(self, out):
        done = run([sys.executable, os.path.join(SOURCE, "pack.py"), "--build", BUILD, "--out", os.path.join(self.dir, out)])
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    @unittest.skipIf(sys.version_info < (3, 11), "packing needs Python 3.11")
    def test_the_same_build_gives_the_same_wheel(self):
        a, b = self.pack("a"), self.pack("b")
        self.assertIn("-cp39-abi3-", a)
        with open(a, "rb") as first, open(b, "rb") as second:
            self.assertEqual(first.read(), second.read())

    @unittest.skipIf(sys.version_info < (3, 11), "packing needs Python 3.11")
    def test_it_installs_with_its_library_and_its_plug_in(self):
        wheel = self.pack("a")
        site = os.path.join(self.dir, "site")
        done = run([sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", site, wheel])
        if "No module named pip" in done.stderr:
            self.skipTest("no pip here")
        self.assertEqual(done.returncode, 0, done.stderr)
        look = ("import importlib.metadata as m, kvshm; print(kvshm.__version__, m.version('kvshm'), kvshm.__file__);"
                "print([e.value for e in m.distribution('kvshm').entry_points if e.group == 'vllm.general_plugins'])")
        done = run([sys.executable, "-c", look], PYTHONPATH=site)
        self.assertEqual(done.returncode, 0, done.stderr)
        mine, dist, place = done.stdout.splitlines()[0].split()
        self.assertEqual(mine, dist)
        self.assertTrue(place.startswith(site))
        self.assertIn("kvshm.vllm.plugin:register", done.stdout)

    def test_the_extension_names_no_symbol_of_one_python(self):
        """What the limited API of 3.9 has not, all later versions would have to keep."""
        if not shutil.which("nm"):
            self.skipTest("no nm here")
        done = run(["nm", "-D", "--undefined-only", os.path.join(BUILD, "python/kvshm/_kvshm.abi3.so")])
        names = {line.split()[-1] for line in done.stdout.splitlines()}
        python = {n for n in names if n.startswith(("Py", "_Py"))}
        self.assertIn("PyObject_GetBuffer", python)
        allowed = {"_Py_NoneStruct", "_Py_TrueStruct", "_Py_FalseStruct", "_Py_Dealloc",
                   "_PyArg_ParseTuple_SizeT", "_PyArg_ParseTupleAndKeywords_SizeT", "_Py_BuildValue_SizeT"}
        self.assertEqual({n for n in python if n.startswith("_Py")} - allowed, set())


class Doctor(WithDaemon):
    def doctor(self, *options, **env):
        env = {"KVSHM_SOCKET": self.daemon.socket, **env}
        return run([sys.executable, "-m", "kvshm", "doctor", *options], **env)

    def findings(self, *options, **env):
        done = self.doctor("--json", *options, **env)
        report = json.loads(done.stdout)
        self.assertEqual(report["schema"], "kvshm.python_doctor/1")
        return done.returncode, {f["what"]: (f["state"], f["text"]) for f in report["findings"]}

    def test_a_daemon_that_serves_is_found_and_a_block_goes_there_and_back(self):
        status, found = self.findings()
        self.assertEqual({what for what, (state, _) in found.items() if state == "ok"} - {"pages"},
                         {"package", "socket", "daemon", "session", "round trip"})
        self.assertEqual(status, 0 if found["pages"][0] == "ok" else 6)
        self.assertIn(self.daemon.socket, found["socket"][1])
        self.assertEqual(self.client.stats()["hit_blocks"], 0)

    def test_it_leaves_nothing_behind(self):
        self.findings()
        ns = self.client.attach_ns(b"kvshm python doctor", b"bytes", 4096, 1)
        self.assertEqual(ns.drop(), 0)

    def test_what_is_missing_is_said_with_its_cure(self):
        status, found = self.findings(KVSHM_SOCKET=self.daemon.dir + "/none")
        self.assertEqual((status, found["socket"][0]), (6, "fix"))
        self.assertIn("start kvshmd", found["socket"][1])
        self.daemon.kill()
        status, found = self.findings()
        self.assertEqual((status, found["daemon"][0]), (6, "fix"))
        self.assertIn("start kvshmd", found["daemon"][1])
        done = self.doctor()
        self.assertEqual(done.returncode, 6)
        self.assertIn("fix  daemon", done.stdout)

    def test_an_instance_is_looked_for_where_the_library_looks(self):
        os.makedirs(os.path.join(self.daemon.dir, "kvshm"))
        os.symlink(self.daemon.dir, os.path.join(self.daemon.dir, "kvshm", "other"))
        _, found = self.findings("-i", "other", XDG_RUNTIME_DIR=self.daemon.dir)
        self.assertEqual(found["round trip"][0], "ok")
        _, found = self.findings("-i", "nobody", XDG_RUNTIME_DIR=self.daemon.dir)
        self.assertIn("/run/kvshm/nobody/kvshm.sock", found["socket"][1])

    def test_a_wrong_command_says_which_there_are(self):
        done = run([sys.executable, "-m", "kvshm", "nurse"])
        self.assertEqual(done.returncode, 2)
        self.assertIn("doctor", done.stderr)


class Bench(unittest.TestCase):
    def test_it_measures_what_it_says_and_an_assert_can_fail(self):
        argv = [sys.executable, os.path.join(ROOT, "tests", "bench", "bench_python.py"), "--json", "--keys", "64",
                "--chains", "2", "--batches", "3", "--assert", "p50_ns<=0"]
        done = run(argv)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("p50_ns is", done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["schema"], report["keys"], report["blocks"]), ("kvshm.bench_python/1", 64, 128))
        self.assertEqual(report["wrong_lengths"], 0)
        for field in ("p50_ns", "p99_ns", "packed_p50_ns", "joined_p50_ns", "resolve_p50_ns", "hand_over_p50_ns",
                      "c_p50_ns", "python_to_c_ratio"):
            self.assertGreater(report[field], 0, field)


class Examples(WithDaemon):
    def example(self, name, *args):
        done = run([sys.executable, os.path.join(ROOT, "Documentation", "examples", name), *args],
                   KVSHM_SOCKET=self.daemon.socket)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.splitlines()

    def test_share_finds_what_it_put_and_what_files_have_in_common(self):
        first, second = (os.path.join(self.daemon.dir, n) for n in ("first", "second"))
        with open(first, "wb") as f:
            f.write(os.urandom(65536 * 6 + 5))
        shutil.copy(first, second)
        with open(second, "r+b") as f:
            f.seek(65536 * 4)
            f.write(b"other")
        self.assertEqual(self.example("share.py", first),
                         ["cached 0 of 6 blocks, equal", "published 6 duplicate 0 dropped 0"])
        self.assertEqual(self.example("share.py", first), ["cached 6 of 6 blocks, equal"])
        self.assertEqual(self.example("share.py", second),
                         ["cached 4 of 6 blocks, equal", "published 2 duplicate 0 dropped 0"])

    def test_workers_read_what_the_scheduler_pinned(self):
        lines = self.example("workers.py")
        self.assertEqual(lines[0], "scheduler: 32 of 32 blocks cached")
        self.assertEqual(sorted(lines[1:]), ["worker 0: 32 blocks, right", "worker 1: 31 blocks, right"])


class Types(unittest.TestCase):
    def test_mypy_finds_no_fault_in_the_package_and_its_examples(self):
        python = tool_with("mypy")
        if not python:
            self.skipTest("no mypy here: make setup")
        # what needs an engine's own types is checked where the engine is installed
        files = [os.path.join(SOURCE, "kvshm", n + ".py") for n in
                 ("__init__", "__main__", "doctor", "facts", "gpu_layout", "hints", "link", "pieces", "views")]
        examples = os.path.join(ROOT, "Documentation", "examples")
        files += [os.path.join(examples, n) for n in sorted(os.listdir(examples)) if n.endswith(".py")]
        with tempfile.TemporaryDirectory() as cache:
            done = run([python, "-m", "mypy", "--strict", "--cache-dir", cache, *files], MYPYPATH=SOURCE, PYTHONPATH="")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
