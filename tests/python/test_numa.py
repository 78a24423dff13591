#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A daemon on two NUMA nodes (made up, below libnuma): a session's blocks lie on the node that it names.

When that one is full they lie on the other, and are counted.
"""
import json
import os
import struct
import subprocess
import time
import unittest

from daemonlib import BUILD, Daemon
from queuelib import COMMIT, GRANT, HINT, LOOSE, STAGED, BLOCK, EINVAL, Session, record

HINT_NODE = 6
EXTENT = 32 << 20
TWO_NODES = os.path.abspath(os.path.join(BUILD, "fake", "libtwonodes.so"))


class Placed(Session):
    """Which extent the blocks of a grant lie in."""

    def __init__(self, daemon, flags=0):
        super().__init__(daemon, flags)
        self.daemon = daemon

    def near(self, node, kind=HINT_NODE, block=(0, 0), ticket=0, ttl=0, priority=0):
        self.args(struct.pack("<IIIIQQII", *block, kind, node, ticket, ttl, priority, 0))
        return self.call(HINT, nr=1, length=40)[1]

    def nodes(self, ids):
        """Directory: descriptors of 64 bytes from desc_off on, page at 48; extents from extent_off, node at 16."""
        directory = self.fds[0]
        extent_off, desc_off = struct.unpack("<QQ", os.pread(directory, 16, 80))
        found = []
        for i in ids:
            page, = struct.unpack("<I", os.pread(directory, 4, desc_off + 64 * i + 48))
            extent = page * 4096 // EXTENT
            found.append(struct.unpack("<I", os.pread(directory, 4, extent_off + 64 * extent + 16))[0])
        return found

    def grant(self, ns, nr):
        _, res, _, runs, _, _ = self.call(GRANT, ns=ns, nr=nr)
        assert res == nr, res
        return self.nodes([first + i for first, n in runs for i in range(n)])


class Numa(unittest.TestCase):
    def setUp(self):
        if not os.path.exists(TWO_NODES):
            self.skipTest("no fake libnuma here")
        kept = dict(os.environ)
        os.environ["LD_PRELOAD"] = TWO_NODES
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        try:
            self.daemon = Daemon("--set", f"arena.extent={EXTENT}", "--set", "clients.credit_blocks=2000",
                                 "--set", "clients.credit_bytes=1G")
        finally:
            os.environ.clear()
            os.environ.update(kept)
        self.s = Placed(self.daemon)
        self.ns = self.s.attach_ns()
        self.wait_for(self.extents, [0, 1])

    def tearDown(self):
        self.s.leave()
        self.assertEqual(self.daemon.stop(), 0, self.daemon)

    def stat(self, *options):
        out = subprocess.run([os.path.join(BUILD, "kvshm"), "stat", "--socket", self.daemon.socket, "--json", *options],
                             capture_output=True, text=True, check=True).stdout
        return json.loads(out)

    def extents(self):
        return [row["node"] for row in self.stat("numa")["rows"]]

    def wait_for(self, what, wanted):
        deadline = time.monotonic() + 10
        while what() != wanted and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(what(), wanted)

    def counts(self):
        metrics = self.stat()["metrics"]
        return metrics["kvshm_numa_near_total"], metrics["kvshm_numa_spill_total"]

    def check_nothing_is_counted(self, granted):
        """Once the daemon's statistics know of as many blocks."""
        self.wait_for(lambda: self.stat()["metrics"]["kvshm_grants"], granted)
        self.assertEqual(self.counts(), (0, 0))

    def wait_for_counts(self, near, spilled):
        self.wait_for(self.counts, (near, spilled))

    def test_grants_lie_where_the_session_wants_them(self):
        for node in (1, 0, 1):
            self.assertEqual(self.s.near(node), 1)
            self.assertEqual(self.s.grant(self.ns, 20), [node] * 20)
        self.wait_for_counts(60, 0)

    def test_each_session_has_a_node_of_its_own(self):
        other = Placed(self.daemon)
        self.assertEqual((self.s.near(1), other.near(0)), (1, 1))
        self.assertEqual(self.s.grant(self.ns, 8) + other.grant(self.ns, 8), [1] * 8 + [0] * 8)
        other.leave()

    def test_a_full_node_spills_and_is_counted(self):
        room, each = EXTENT // BLOCK, 200       # a session may have no more than a quarter of the memory
        sessions = [Placed(self.daemon) for _ in range(3)]
        found = []
        for s in sessions:
            self.assertEqual(s.near(1), 1)
            found += s.grant(self.ns, each)
        self.assertEqual(found, [1] * room + [0] * (3 * each - room))
        self.wait_for_counts(room, 3 * each - room)
        self.assertIn(f"{room} blocks", self.stat("numa")["notes"][-1]["text"])
        for s in sessions:
            s.leave()

    def test_staged_puts_lie_there_too(self):
        self.assertEqual(self.s.near(1), 1)
        self.s.staging()
        for i in range(1, 9):
            self.s.args(record(i, BLOCK))
            self.s.push(COMMIT, flags=STAGED | LOOSE, ns=self.ns, nr=1, length=64)
            self.s.fill(bytes(BLOCK))
            self.assertEqual(self.s.pop()[1], 1)
        self.wait_for_counts(8, 0)

    def test_who_wants_nothing_fills_both_alike(self):
        nodes = sum((self.s.grant(self.ns, 16) for _ in range(10)), [])
        self.assertEqual((nodes.count(0), nodes.count(1)), (80, 80))
        self.check_nothing_is_counted(160)

    def test_a_node_that_is_not_there_counts_for_nothing(self):
        self.assertEqual(self.s.near(2), 1)
        self.s.grant(self.ns, 4)
        self.check_nothing_is_counted(4)

    def test_a_wish_says_nothing_else(self):
        for wrong in ({"block": (1, 1)}, {"ticket": 1}, {"ttl": 1}, {"priority": 1}):
            self.assertEqual(self.s.near(1, **wrong), -EINVAL, wrong)
        self.assertEqual(self.s.near(0xFFFFFFFF), -EINVAL)


unittest.main()
