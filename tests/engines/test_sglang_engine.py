# SPDX-License-Identifier: Apache-2.0
"""SGLang's engine itself, on the CPU: HiCache with kvshm behind it, two processes one after the other.

PyPI has no kernels for its CPU backend: sglang_cpu/ stands in for them, so the model and the host pool run in torch.
"""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sglanglib import HERE, ROOT, enter  # noqa: E402

enter()

from packagelib import BUILD, WithDaemon, until  # noqa: E402

MODEL = os.path.join(os.environ.get("KVSHM_MODELS", os.path.join(ROOT, "build", "engines", "vllm", "models")), "tiny")
IDS = [2 + (i * i * 7 + i * 13) % 250 for i in range(1000)]
NEW, CACHED = 16, 960                       # 15 pages of 64 tokens
LIMIT_S = 600


class Engine:
    def __init__(self, test, socket, runs=1):
        job = {"model": MODEL, "socket": socket, "ids": IDS, "new": NEW, "runs": runs}
        env = {**os.environ, "SGLANG_USE_CPU_ENGINE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
               "PYTHONPATH": os.pathsep.join((os.path.join(HERE, "sglang_cpu"), os.path.join(BUILD, "python")))}
        self.log = open(os.path.join(BUILD, "tests", "log", "engines.sglang_once.log"), "a", encoding="utf-8")
        self.child = subprocess.Popen([sys.executable, os.path.join(HERE, "sglang_once.py"), json.dumps(job)], env=env,
                                      text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        test.addCleanup(self.end)

    def answer(self):
        for line in self.child.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line[7:])
        raise AssertionError(f"the engine ended with {self.child.wait(LIMIT_S)}, see {self.log.name}")

    def go_on(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def end(self):
        self.child.stdin.close()
        self.child.wait(LIMIT_S)
        self.child.stdout.close()
        self.log.close()


class TwoEngines(WithDaemon):
    options = ("--size", "128M")

    def test_same_tokens_from_the_cache(self):
        first = Engine(self, self.daemon.socket, runs=2)
        computed = first.answer()
        self.assertEqual((computed["cached"], computed["storage"], len(computed["tokens"])), (0, 0, NEW))
        until(lambda: self.published() >= CACHED // 64, 60)
        first.go_on()                       # its own caches are emptied
        for engine in first, Engine(self, self.daemon.socket):
            loaded = engine.answer()
            self.assertEqual((loaded["cached"], loaded["storage"]), (CACHED, CACHED))
            self.assertEqual(loaded["tokens"], computed["tokens"])
            engine.end()


if __name__ == "__main__":
    unittest.main()
