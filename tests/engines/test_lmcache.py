#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The installed LMCache with kvshm as its L2: its own benchmark with verification, and its adapter's contract."""
import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lmcachelib import NATIVE, PINNED, VENV, adapter_json, enter  # noqa: E402

enter()

from packagelib import BUILD, WithDaemon  # noqa: E402


class Bench(WithDaemon):
    options = ("--size", "512M")

    def bench(self, adapter, *options, **env):
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            done = subprocess.run(
                [os.path.join(VENV, "lmcache"), "bench", "l2", "--l2-adapter", adapter, "--num-keys", "16", "--data-size-kb",
                 "512", "--rounds", "4", "--warmup-rounds", "1", "--lookup-max-hit-rate", "1.0", "--no-skip-verify", "-q",
                 "--format", "json", "--output", out.name, *options], capture_output=True, text=True, timeout=300,
                env={**os.environ, "PYTHONPATH": os.path.join(BUILD, "python"), **env})
            text = out.read()
        found = json.loads(text)["metrics"] if text else {}
        return done, {m["operation"]: m for m in found.values() if "operation" in m}

    def test_its_benchmark_finds_the_bytes_it_stored(self):
        for params in ({}, {"part_bytes": 131072, "verify": True}, {"kind": PINNED}):
            done, found = self.bench(adapter_json(self.daemon, **params))
            self.assertEqual(done.returncode, 0, done.stderr[-2000:])
            self.assertEqual({name: m["total_success"] for name, m in found.items()}, {"Store": 64, "Lookup": 64, "Load": 64})

    def test_wrong_bytes_would_be_noticed(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "planted.py"), "w") as f:
                f.write("from kvshm.lmcache import KvshmL2\n"
                        "class Planted(KvshmL2):\n"
                        "    def get(self, task, names, places):\n"
                        "        super().get(task, names, places)\n"
                        "        task.views[places[0]].cast('B')[7] ^= 1\n")
            planted = adapter_json(self.daemon).replace("kvshm.lmcache", "planted").replace("KvshmL2", "Planted")
            done, _ = self.bench(planted, PYTHONPATH=folder + ":" + os.path.join(BUILD, "python"))
        self.assertNotEqual(done.returncode, 0)


class Adapter(WithDaemon):
    options = ("--size", "256M")
    length = 400_000
    kind = NATIVE

    def setUp(self):
        super().setUp()
        self.adapter = self.make()

    def make(self, **params):
        from lmcache.v1.distributed.l2_adapters import create_l2_adapter
        from lmcache.v1.distributed.l2_adapters.config import parse_args_to_l2_adapters_config

        parsed = parse_args_to_l2_adapters_config(argparse.Namespace(l2_adapter=[adapter_json(self.daemon, **{"kind": self.kind, **params})]))
        adapter = create_l2_adapter(parsed.adapters[0])
        self.addCleanup(adapter.close)
        return adapter

    def keys(self, numbers):
        from lmcache.v1.distributed.api import ObjectKey

        return [ObjectKey(chunk_hash=n.to_bytes(32, "big"), model_name="org/model", kv_rank=0x01000100) for n in numbers]

    class Memory:
        """As much of a MemoryObj as the adapter looks at."""

        def __init__(self, data):
            self.byte_array = memoryview(data)

    def wait(self, fd):
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        self.assertTrue(poller.poll(30000))
        os.read(fd, 8)                  # an event each

    def store(self, adapter, numbers):
        task = adapter.submit_store_task(self.keys(numbers), [self.Memory(bytearray([n % 256]) * self.length) for n in numbers])
        self.wait(adapter.get_store_event_fd())
        return adapter.pop_completed_store_tasks()[task]

    def lookup(self, adapter, numbers):
        task = adapter.submit_lookup_and_lock_task(self.keys(numbers), {})
        self.wait(adapter.get_lookup_and_lock_event_fd())
        found = adapter.query_lookup_and_lock_result(task)
        return [found.test(i) for i in range(len(numbers))]

    def load(self, adapter, numbers):
        memory = [self.Memory(bytearray(self.length)) for _ in numbers]
        task = adapter.submit_load_task(self.keys(numbers), memory)
        self.wait(adapter.get_load_event_fd())
        loaded = adapter.query_load_result(task)
        right = [loaded.test(i) for i in range(len(numbers))]
        for n, m, there in zip(numbers, memory, right):
            self.assertEqual(bytes(m.byte_array), bytes([n % 256 if there else 0]) * self.length)
        return right

    def test_a_restarted_server_finds_what_was_stored(self):
        self.store(self.adapter, [1, 2])
        again = self.make()
        self.assertEqual(self.lookup(again, [2, 3, 1]), [True, False, True])
        self.assertEqual(self.load(again, [2, 3, 1]), [True, False, True])
        self.assertEqual(self.lookup(self.make(layout="tests fp8"), [1]), [False])

    def test_what_is_locked_and_lost_is_not_loaded(self):
        self.store(self.adapter, [1, 2])
        self.assertEqual(self.lookup(self.adapter, [1, 2]), [True, True])
        other = self.make()
        other.delete(self.keys([1]))
        self.assertEqual(self.load(self.adapter, [1, 2]), [False, True])
        self.adapter.submit_unlock(self.keys([1, 2]))

    def test_the_daemon_dies_and_comes_back(self):
        self.store(self.adapter, [1])
        self.daemon.kill()
        self.assertEqual(self.load(self.adapter, [1]), [True])
        self.assertEqual(self.lookup(self.adapter, [9]), [False])
        self.store(self.adapter, [2])
        self.daemon.start()
        self.assertEqual(self.load(self.adapter, [1]), [True])


class Pinned(Adapter):
    """All of that, and what is locked stays."""

    options = ("--size", "64M", "--set", "policy.name=leaf-lru")        # others may keep what was used twice
    kind = PINNED

    def evict(self):
        """Store more than there is room for, with an adapter that knows nothing of the locks."""
        other = self.make(kind=NATIVE)
        for first in range(100, 400, 10):
            self.store(other, range(first, first + 10))

    def test_what_is_locked_is_not_evicted(self):
        self.store(self.adapter, [1, 2, 3])
        self.assertEqual(self.lookup(self.adapter, [1, 2]), [True, True])
        self.assertEqual(self.lookup(self.adapter, [1]), [True])
        self.adapter.submit_unlock(self.keys([1, 2]))
        self.evict()
        self.assertEqual(self.lookup(self.make(kind=NATIVE), [1, 2, 3]), [True, False, False])
        self.assertEqual(self.load(self.adapter, [1, 2]), [True, False])
        self.adapter.submit_unlock(self.keys([1, 2, 9]))
        self.assertEqual(self.adapter.pinning.pins, {})
        self.evict()
        self.assertEqual(self.lookup(self.adapter, [1]), [False])

    def test_long_objects_are_locked_whole(self):
        self.adapter = self.make(part_bytes=131072)
        self.store(self.adapter, [1])
        self.assertEqual(self.lookup(self.adapter, [1]), [True])
        self.evict()
        self.assertEqual(self.load(self.adapter, [1]), [True])

    def test_a_lock_that_is_never_ended_ends_by_itself(self):
        self.store(self.adapter, [1])
        self.assertEqual(self.lookup(self.adapter, [1]), [True])
        later = time.monotonic() + 301
        with mock.patch("kvshm.lmcache_pinned.time.monotonic", lambda: later):
            self.assertEqual(self.lookup(self.adapter, [2]), [False])
        self.assertEqual(self.adapter.pinning.pins, {})

    def test_what_may_not_be_pinned_is_not_there(self):
        self.store(self.adapter, range(1, 51))          # 20 MB, of which a quarter of the arena may be pinned
        found = self.lookup(self.adapter, list(range(1, 51)))
        self.assertTrue(30 < sum(found) < 50, found)
        self.adapter.submit_unlock(self.keys([n for n, there in zip(range(1, 51), found) if there]))
        self.assertEqual(self.lookup(self.adapter, [50]), [True])


if __name__ == "__main__":
    unittest.main()
