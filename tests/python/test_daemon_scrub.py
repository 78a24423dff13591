#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A byte that changes in the arena's file is found in the background and its block is not served any more."""
import os
import struct
import time
import unittest

from daemonlib import Daemon
from test_daemon_queue import ALL, BLOCK, COMMIT, DROP, NOPARENT, STAGED, Session, record


class Scrub(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--set", "daemon.scrub=1s")
        self.s = Session(self.daemon, flags=1)
        self.ns = self.s.attach_ns(b"scrubbed")
        self.s.staging()

    def tearDown(self):
        self.s.leave()
        self.assertEqual(self.daemon.stop(), 0, "the daemon did not end well")

    def put(self, nr):
        """A chain of blocks, each full of its number."""
        self.s.args(b"".join(record(i, BLOCK) for i in range(1, nr + 1)))
        self.s.push(COMMIT, flags=STAGED | NOPARENT, ns=self.ns, nr=nr, length=64 * nr)
        for i in range(1, nr + 1):
            self.s.fill(bytes([i]) * BLOCK)
        self.assertEqual(self.s.pop()[1], nr)

    def flip(self, block):
        path = os.path.join(self.daemon.memory, "arena.0.0")
        with open(path, "r+b") as f:
            at = f.read().index(bytes([block]) * BLOCK)
            f.seek(at + 4242)
            f.write(struct.pack("B", block ^ 0x40))

    def test_the_block_goes_with_all_that_hangs_below_it(self):
        self.put(8)
        self.flip(6)
        deadline = time.monotonic() + 20
        while "does not match its checksum: 3 blocks dropped" not in self.daemon.said():
            self.assertLess(time.monotonic(), deadline, "it is not found")
            time.sleep(0.05)
        self.assertEqual(self.s.call(DROP, flags=ALL, ns=self.ns)[1], 5)


if __name__ == "__main__":
    unittest.main()
