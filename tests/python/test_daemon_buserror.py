#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that goes away under the daemon: it dies once, without a core, and the next one keeps clear of it.

A file cut short stands for a page that the hardware gave up: both answer with SIGBUS.
"""
import os
import signal
import unittest

from daemonlib import Daemon
from test_daemon_queue import ALL, BLOCK, COMMIT, DROP, NOPARENT, STAGED, Session, record

UNIT = 2 << 20


class BusError(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--set", "daemon.scrub=0s")
        self.path = os.path.join(self.daemon.memory, "arena.0.0")
        self.size = os.path.getsize(self.path)
        self.attach()

    def tearDown(self):
        self.assertEqual(self.daemon.stop(), 0, "the daemon did not end well")

    def attach(self):
        self.s = Session(self.daemon, flags=1)
        self.ns = self.s.attach_ns(b"memory")
        self.s.staging()

    def put(self, first, nr):
        """A chain of its own.  Return: blocks published, None: no answer."""
        self.s.args(b"".join(record(first + i, BLOCK) for i in range(nr)))
        self.s.push(COMMIT, flags=STAGED | NOPARENT, ns=self.ns, nr=nr, length=64 * nr)
        for i in range(nr):
            self.s.fill(bytes([(first + i) % 255 + 1]) * BLOCK)
        answer = self.s.pop(2)
        return answer and answer[1]

    def die_of(self, length):
        """Cut the arena's file down to that and put into what is gone."""
        os.truncate(self.path, length)
        self.put(101, 4)
        self.assertEqual(self.daemon.process.wait(timeout=10), -signal.SIGBUS)
        self.assertIn("bus error in the arena", self.daemon.said())

    def restart(self):
        self.s.leave()
        self.daemon.log.close()
        self.daemon.start()

    def test_the_unit_is_not_used_again_and_the_others_are_whole(self):
        # The first unit is full, and the next block would lie in the second.
        self.assertEqual(self.put(1, 16), 16)
        self.assertEqual(self.put(17, 15), 15)
        self.assertEqual(self.put(51, 3), 3)  # one in the first unit, two in the second
        self.die_of(UNIT)
        os.truncate(self.path, self.size)
        self.restart()
        self.assertIn("1 units of 2 MiB lie in bad memory and are not used, 2 blocks dropped", self.daemon.said())
        self.assertIn("warm", self.daemon.said())
        self.attach()
        # more than the arena holds: every place is had, the bad ones are not
        for turn in range(self.size // BLOCK // 16 + 2):
            self.assertEqual(self.put(1000 + turn * 16, 16), 16)
        with open(self.path, "rb") as f:
            f.seek(UNIT)
            self.assertEqual(f.read(UNIT), bytes(UNIT), "bad memory was written")
        self.assertGreater(self.s.call(DROP, flags=ALL, ns=self.ns)[1], 0)
        self.s.leave()

    def test_a_file_that_stays_short_is_a_cold_start_not_a_loop(self):
        self.die_of(0)
        self.restart()
        self.assertIn("cold", self.daemon.said())
        self.attach()
        self.assertEqual(self.put(1, 16), 16)
        self.s.leave()


if __name__ == "__main__":
    unittest.main()
