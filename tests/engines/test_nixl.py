#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The installed NIXL with our plug-in: objects of a name to and from memory, by NIXL's own agent."""
import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("KVSHM_BUILD", os.path.join(ROOT, "build"))
PLUGINS = os.path.join(BUILD, "nixl")
VENV = os.path.join(ROOT, "build", "engines", "nixl", "venv")
sys.path.insert(0, os.path.join(ROOT, "tests", "python"))


def enter():
    """Go on in NIXL's environment; without one, or without a plug-in, the whole program is a skip."""
    for path, how in (os.path.join(VENV, "bin", "python"), "tests/engines/nixl.sh build/engines"), (PLUGINS, "make"):
        if not os.path.exists(path):
            print(f"no {path}: {how}")
            sys.exit(77)
    if os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        os.execv(os.path.join(VENV, "bin", "python"), [os.path.join(VENV, "bin", "python"), *sys.argv])


enter()
os.environ.update(NIXL_PLUGIN_DIR=PLUGINS, NIXL_LOG_LEVEL="FATAL")

import numpy  # noqa: E402
from daemonlib import Daemon  # noqa: E402
from nixl_cu12._api import nixl_agent, nixl_agent_config  # noqa: E402
from nixl_cu12._bindings import nixlBackendError, nixlInvalidParamError, nixlMismatchError, nixlNotFoundError  # noqa: E402

LENGTH = 300_000
MIB = 1 << 20


class Agent:
    nr = 0

    def __init__(self, daemon, layout="tests bf16", **params):
        Agent.nr += 1
        self.name = f"agent {Agent.nr}"
        self.agent = nixl_agent(self.name, nixl_agent_config(backends=[]))
        self.agent.create_backend("KVSHM", {"layout": layout, "socket": daemon.socket, **params})

    def move(self, what, names, memory, offset=0):
        """WRITE or READ: each object's bytes from or into its row of @memory."""
        rows = [(row.ctypes.data, row.nbytes, 0) for row in memory]
        dram = self.agent.register_memory([(*row, "") for row in rows], "DRAM", backends=["KVSHM"])
        objects = self.agent.register_memory([(0, offset + rows[0][1], i, name) for i, name in enumerate(names)], "OBJ",
                                             backends=["KVSHM"])
        try:
            handle = self.agent.initialize_xfer(
                what, self.agent.get_xfer_descs(rows, "DRAM"),
                self.agent.get_xfer_descs([(offset, rows[0][1], i) for i in range(len(names))], "OBJ"), self.name,
                backends=["KVSHM"])
            try:
                return self.agent.transfer(handle)
            finally:
                self.agent.release_xfer_handle(handle)
        finally:
            self.agent.deregister_memory(objects)
            self.agent.deregister_memory(dram)

    def write(self, names, memory):
        return self.move("WRITE", names, memory)

    def read(self, names, length=LENGTH, offset=0):
        memory = numpy.zeros((len(names), length), numpy.uint8)
        self.move("READ", names, memory, offset)
        return memory

    def found(self, names):
        return [answer is not None for answer in self.agent.query_memory([(0, 0, 0, name) for name in names], "KVSHM", "OBJ")]


def content(nr, length=LENGTH, seed=0):
    return numpy.random.default_rng(seed).integers(0, 256, (nr, length), numpy.uint8)


class Objects(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--size", "256M")
        self.addCleanup(self.daemon.stop)
        self.agent = Agent(self.daemon)

    def same(self, one, other):
        self.assertTrue(numpy.array_equal(one, other))

    def test_agent_knows_the_plug_in(self):
        self.assertEqual(self.agent.agent.get_plugin_list(), ["KVSHM"])
        self.assertEqual(self.agent.agent.get_plugin_mem_types("KVSHM"), ["DRAM_SEG", "OBJ_SEG"])
        self.assertEqual(self.agent.agent.get_plugin_params("KVSHM")["object_bytes"], "67108864")

    def test_what_one_agent_writes_another_reads(self):
        names, data = [f"block {i}" for i in range(20)], content(20)
        self.assertEqual(self.agent.write(names, data), "DONE")
        self.same(Agent(self.daemon).read(names), data)
        self.same(Agent(self.daemon).read(names[7:8], 1000, offset=2000), data[7:8, 2000:3000])

    def test_what_is_not_there(self):
        self.agent.write(["a"], content(1))
        self.assertEqual(self.agent.found(["a", "b"]), [True, False])
        self.assertRaises(nixlNotFoundError, self.agent.read, ["b"])
        self.assertRaises(nixlNotFoundError, self.agent.read, ["a", "b"])

    def test_other_layouts_and_lengths_are_kept_apart(self):
        self.agent.write(["a"], content(1))
        self.assertEqual(Agent(self.daemon, "tests fp8").found(["a"]), [False])
        self.assertEqual(Agent(self.daemon, object_bytes="1048576").found(["a"]), [False])

    def test_what_is_longer_than_the_object_is_not_read(self):
        self.agent.write(["a"], content(1))
        self.assertRaises(nixlMismatchError, self.agent.read, ["a"], LENGTH + 1)
        self.assertRaises(nixlMismatchError, self.agent.read, ["a"], 10, LENGTH - 9)

    def test_first_bytes_of_a_name_stay(self):
        self.agent.write(["a"], content(1))
        self.assertEqual(self.agent.write(["a"], content(1, seed=1)), "DONE")
        self.same(self.agent.read(["a"]), content(1))

    def test_what_cannot_be(self):
        for params in {"layout": ""}, {"object_bytes": "1"}, {"object_bytes": "much"}:
            with self.subTest(params=params), self.assertRaises(Exception):
                Agent(self.daemon, **params)
        short = Agent(self.daemon, object_bytes="4096")
        self.assertRaises(nixlInvalidParamError, short.write, ["a"], content(1))

    def test_more_than_there_is_room_for(self):
        for first in range(0, 400, 20):
            data = content(20, MIB, seed=first)
            names = [f"{first} {i}" for i in range(20)]
            self.agent.write(names, data)
            there = [name for name, is_there in zip(names, self.agent.found(names)) if is_there]
            self.same(self.agent.read(there, MIB), data[[names.index(name) for name in there]])
        all_names = [f"{first} {i}" for first in range(0, 400, 20) for i in range(20)]
        self.assertLessEqual(sum(self.agent.found(all_names)), 256)

    def test_the_daemon_dies_and_comes_back(self):
        self.agent.write(["a"], content(1))
        self.daemon.kill()
        self.same(self.agent.read(["a"]), content(1))
        self.assertRaises(nixlBackendError, self.agent.write, ["b"], content(1))
        self.daemon.start()
        self.same(Agent(self.daemon).read(["a"]), content(1))
        self.until_written(self.agent, "b")

    def until_written(self, agent, name):
        deadline = time.monotonic() + 60
        while True:
            try:
                self.assertEqual(agent.write([name], content(1)), "DONE")
                break
            except nixlBackendError:
                self.assertLess(time.monotonic(), deadline)
        self.same(agent.read([name]), content(1))

    def test_no_daemon_at_first(self):
        self.daemon.kill()
        os.unlink(self.daemon.socket)
        early = Agent(self.daemon)
        self.assertEqual(early.found(["a"]), [False])
        self.assertRaises(nixlNotFoundError, early.read, ["a"])
        self.daemon.start()
        self.until_written(early, "a")

    def test_speed_beside_a_copy(self):
        names, data, got = [f"{i}" for i in range(32)], content(32, 2 * MIB), content(32, 2 * MIB, seed=1)
        seconds = {}
        for what, work in (("written", lambda: self.agent.write(names, data)),
                           ("read", lambda: self.agent.move("READ", names, got)),
                           ("copied by numpy", lambda: numpy.copyto(got, data))):
            start = time.perf_counter()
            work()
            seconds[what] = time.perf_counter() - start
            self.same(got, data if what != "written" else content(32, 2 * MIB, seed=1))
        print("32 objects of 2 MiB: " + ", ".join(f"{what} at {data.nbytes / s / 1e9:.2f} GB/s" for what, s in seconds.items()),
              file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
