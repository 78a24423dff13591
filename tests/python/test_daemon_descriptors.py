#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A daemon without descriptors left takes no more clients, serves those it has, and takes more when it can."""
import os
import resource
import select
import time
import unittest

from daemonlib import WELCOME, Daemon, close_all, hello, leave, receive
from test_daemon_queue import NOP, Session

NOFILE = 96


class Descriptors(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        resource.prlimit(self.daemon.process.pid, resource.RLIMIT_NOFILE, (NOFILE, NOFILE))

    def tearDown(self):
        self.assertEqual(self.daemon.stop(), 0, "the daemon did not end well")

    def nr_fds(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))

    def answer(self, sock, seconds):
        """What the daemon says to a HELLO: kind and descriptors; None: nothing in time."""
        if not select.select([sock], [], [], seconds)[0]:
            return None, []
        try:
            kind, _, fds = receive(sock)
        except ConnectionError:
            return 0, []
        return kind, fds

    def test_neighbours_are_served_and_others_wait_or_are_refused(self):
        try:
            before = self.nr_fds()
        except PermissionError:
            self.skipTest("this user may not count the daemon's descriptors")
        good = Session(self.daemon)
        taken, others = [], []
        for _ in range(40):
            sock = self.daemon.connect()
            sock.send(hello())
            kind, fds = self.answer(sock, 0.3)
            (taken if kind == WELCOME else others).append((sock, fds))
            if len(others) >= 4:
                break
        self.assertGreaterEqual(len(taken), 5)
        self.assertGreaterEqual(len(others), 4)
        for i in range(50):
            self.assertEqual(good.call(NOP, user_data=i)[:2], (i, 0))
        for sock, fds in taken + others:
            leave(sock, fds)
        deadline = time.monotonic() + 10
        while True:
            sock = self.daemon.connect()
            sock.send(hello())
            kind, fds = self.answer(sock, 2)
            close_all(fds)
            sock.close()
            if kind == WELCOME:
                break
            self.assertLess(time.monotonic(), deadline, "it takes nobody any more")
        good.leave()
        while self.nr_fds() > before:
            self.assertLess(time.monotonic(), deadline, "descriptors leak")
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
