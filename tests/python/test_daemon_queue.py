#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The queue pair, touch ring and staging window of a real daemon, spoken byte by byte by a bad client.

What is malformed is refused, what is impossible ends that session, and neither harms another one.
"""
import mmap
import os
import struct
import time
import unittest

from daemonlib import EXTENTS, EXTENT_FDS, Daemon, close_all, leave, plain, receive
from queuelib import (NOP, GRANT, RETURN, COMMIT, DROP, HINT, PREFETCH, DETACH, NOPARENT, LOOSE, STAGED, ALL, EPERM,
                      EINVAL, EFAULT, EOPNOTSUPP, SQ_TAIL, SQ_HEAD, CQ_TAIL, TOUCH_TAIL,
                      STAGING_TAIL, SLICE, BLOCK, Session, key, record)


class Queue(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "clients.max=8", "--set", "clients.credit_blocks=16")

    @classmethod
    def tearDownClass(cls):
        assert cls.daemon.stop() == 0, "the daemon did not end well"

    def setUp(self):
        self.good = Session(self.daemon)
        self.s = Session(self.daemon)

    def tearDown(self):
        self.assertEqual(self.good.call(NOP, user_data=7)[:2], (7, 0), "the neighbour is not served")
        self.good.leave()
        self.s.leave()

    def test_a_nop_comes_back_with_its_user_data(self):
        for i in range(600):
            self.assertEqual(self.s.call(NOP, user_data=i)[:3], (i, 0, NOP))

    def test_malformed_entries_are_refused_one_by_one(self):
        s = self.s
        self.assertEqual(s.call(PREFETCH)[1], -EOPNOTSUPP)
        self.assertEqual(s.call(HINT, nr=0)[1], -EINVAL)
        self.assertEqual(s.call(200)[1], -EOPNOTSUPP)
        self.assertEqual(s.call(NOP, flags=0x80)[1], -EINVAL)
        self.assertEqual(s.call(NOP, key=key(1))[1], -EINVAL)
        self.assertEqual(s.call(GRANT, nr=0)[1], -EINVAL)
        self.assertEqual(s.call(RETURN, nr=1, length=8, off=s.args_len)[1], -EFAULT)
        self.assertEqual(s.call(RETURN, nr=1, length=8, off=0xFFFFFFF8)[1], -EFAULT)
        self.assertEqual(s.call(COMMIT, flags=STAGED | NOPARENT, nr=1, length=64)[1], -EINVAL)
        self.assertEqual(s.call(NOP)[1], 0)

    def test_too_many_malformed_entries_end_the_session(self):
        for _ in range(400):
            self.s.push(200)
            if not self.s.pop(seconds=0.2):
                break
        self.assertTrue(self.s.is_hung_up())

    def test_a_forged_sq_tail_ends_the_session(self):
        for tail in (257, 0x80000000, 0xFFFFFFFF):
            s = Session(self.daemon)
            s.store(SQ_TAIL, tail)
            s.ring()
            self.assertTrue(s.is_hung_up())
            s.leave()

    def test_a_forged_touch_tail_ends_the_session(self):
        self.s.store(TOUCH_TAIL, 0x7FFFFFFF)
        self.assertTrue(self.s.is_hung_up())

    def test_a_forged_staging_tail_ends_the_session(self):
        ns = self.s.attach_ns()
        self.s.staging()
        self.s.args(record(1, BLOCK))
        self.s.push(COMMIT, flags=STAGED | NOPARENT, ns=ns, nr=1, length=64)
        self.s.store(STAGING_TAIL, 17)
        self.s.ring()
        self.assertTrue(self.s.is_hung_up())

    def test_a_full_completion_queue_pauses_its_session_and_loses_nothing(self):
        s, sent = self.s, 0
        deadline = time.monotonic() + 5
        while (sent < 700 or s.word(CQ_TAIL) < 512) and time.monotonic() < deadline:
            if sent < 700 and s.tail - s.word(SQ_HEAD) < s.sq_entries:
                s.push(NOP, user_data=sent)
                sent += 1
        self.assertEqual(s.word(CQ_TAIL), 512)
        for i in range(sent):
            self.assertEqual(s.pop()[0], i)

    def test_grants_keep_to_the_credit(self):
        s = self.s
        ns = s.attach_ns()
        _, res, _, runs, _, _ = s.call(GRANT, ns=ns, nr=100)
        self.assertEqual(res, 16)
        self.assertEqual(sum(n for _, n in runs), 16)
        self.assertEqual(s.call(GRANT, ns=ns, nr=1)[1], 0)
        # rubbish, and one block twice, do not make room for more
        first = runs[0][0]
        s.args(struct.pack("<IIII", 999999, 1, first, 77))
        self.assertEqual(s.call(RETURN, nr=2, length=16)[1], 0)
        self.assertEqual(s.call(GRANT, ns=ns, nr=1)[1], 0)

    def put_small(self, s, ns, first, nr):
        """That many loose blocks of 4 KiB, staged."""
        s.args(b"".join(record(first + i, 4096) for i in range(nr)))
        s.push(COMMIT, flags=STAGED | LOOSE, ns=ns, nr=nr, length=64 * nr, user_data=first)
        for i in range(nr):
            s.fill(bytes([i]) * 4096)
        self.assertEqual(s.pop()[:2], (first, nr))

    def test_a_long_drop_is_complete_before_what_follows_it(self):
        s = Session(self.daemon, flags=1)
        ns = s.attach_ns(b"small", 4096)
        s.staging()
        for first in range(1000, 1700, 100):
            self.put_small(s, ns, first, 100)
        s.push(DROP, flags=ALL, ns=ns, user_data=1)
        s.push(DROP, flags=ALL, ns=ns, user_data=2)
        s.push(NOP, user_data=3)
        self.assertEqual(self.good.call(NOP, user_data=4)[:2], (4, 0))
        self.assertEqual([s.pop()[:2] for _ in range(3)], [(1, 700), (2, 0), (3, 0)])
        s.leave()

    def test_a_client_may_leave_in_the_middle_of_its_drop(self):
        s = Session(self.daemon, flags=1)
        ns = s.attach_ns(b"small", 4096)
        s.staging()
        self.put_small(s, ns, 1000, 200)
        s.push(DROP, flags=ALL, ns=ns, user_data=1)
        s.leave()
        t = Session(self.daemon, flags=1)
        self.assertEqual(t.attach_ns(b"small", 4096), ns)
        self.assertGreaterEqual(t.call(DROP, flags=ALL, ns=ns)[1], 0)
        self.assertEqual(t.call(DROP, flags=ALL, ns=ns)[1], 0)
        t.leave()

    def test_a_grant_of_an_unknown_namespace_is_refused(self):
        self.assertLess(self.s.call(GRANT, ns=999, nr=1)[1], 0)
        self.assertLess(self.s.call(GRANT, ns=999, nr=1, length=BLOCK)[1], 0)

    def test_a_commit_of_blocks_of_another_session_publishes_nothing(self):
        ns = self.good.attach_ns()
        runs = self.good.call(GRANT, ns=ns, nr=2)[3]
        for generation in range(1, 40):
            self.s.args(record(5, BLOCK, (runs[0][0], generation)))
            res = self.s.call(COMMIT, flags=NOPARENT, ns=ns, nr=1, length=64)
            self.assertTrue(res[1] <= 0 and res[5] == 1, res)

    def test_an_untrusted_client_may_not_be_granted_or_commit_in_place(self):
        s = Session(self.daemon, flags=1)
        ns = s.attach_ns()
        self.assertEqual(s.call(GRANT, ns=ns, nr=1)[1], -EPERM)
        s.args(record(5, BLOCK))
        self.assertEqual(s.call(COMMIT, flags=NOPARENT, ns=ns, nr=1, length=64)[1], -EPERM)
        s.leave()

    def test_an_untrusted_client_gets_read_only_descriptors(self):
        s = Session(self.daemon, flags=1)
        s.sock.send(plain(EXTENTS))
        kind, _, fds = receive(s.sock)
        self.assertEqual(kind, EXTENT_FDS)
        for fd in [s.fds[0]] + fds:
            self.assertRaises(OSError, os.pwrite, fd, b"x", 0)
            self.assertRaises(OSError, mmap.mmap, fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        if "no namespace" in open(os.path.join(self.daemon.dir, "stats"), "rb").read().decode("latin-1"):
            for fd in [s.fds[0]] + fds:
                self.assertRaises(OSError, os.open, f"/proc/self/fd/{fd}", os.O_RDWR)
        close_all(fds)
        s.leave()

    def test_staged_blocks_are_published_in_order_with_their_bytes(self):
        s = Session(self.daemon, flags=1)
        ns = s.attach_ns(b"staged", 600 << 10)
        s.staging()
        lengths = [600 << 10, 600 << 10, 10000, 1]
        s.args(b"".join(record(100 + i, n) for i, n in enumerate(lengths)))
        s.push(COMMIT, flags=STAGED | NOPARENT, ns=ns, nr=len(lengths), length=64 * len(lengths), user_data=9)
        for i, n in enumerate(lengths):
            data = bytes([65 + i]) * n
            for at in range(0, n, SLICE):
                s.fill(data[at:at + SLICE])
        self.assertEqual(s.pop(), (9, 4, COMMIT, [], 0, 0))
        # again: all of them are there, the window moves on all the same
        s.push(COMMIT, flags=STAGED | NOPARENT, ns=ns, nr=len(lengths), length=64 * len(lengths), user_data=10)
        for i, n in enumerate(lengths):
            for at in range(0, n, SLICE):
                s.fill(bytes(min(SLICE, n - at)))
        self.assertEqual(s.pop(), (10, 0, COMMIT, [], 4, 0))
        s.sock.send(plain(EXTENTS))
        _, _, fds = receive(s.sock)
        with mmap.mmap(fds[0], os.fstat(fds[0]).st_size, prot=mmap.PROT_READ) as arena:
            self.assertGreaterEqual(arena.find(b"A" * (600 << 10)), 0)
            self.assertGreaterEqual(arena.find(b"B" * (600 << 10)), 0)
            self.assertGreaterEqual(arena.find(b"C" * 10000), 0)
        close_all(fds)
        s.leave()

    def test_a_staged_chain_without_its_parent_is_dropped_and_its_slices_are_taken(self):
        s = Session(self.daemon, flags=1)
        ns = s.attach_ns(b"orphan")
        s.staging()
        for turn in range(12):
            s.args(record(200, BLOCK) + record(201, BLOCK))
            s.push(COMMIT, flags=STAGED, ns=ns, nr=2, length=128, key=key(4444), user_data=turn)
            s.fill(b"x" * BLOCK)
            s.fill(b"y" * BLOCK)
            _, res, _, _, dup, dropped = s.pop()
            self.assertEqual((max(res, 0), dup, dropped), (0, 0, 2))
        s.leave()

    def test_a_client_that_leaves_in_the_middle_of_a_staged_put_leaves_nothing(self):
        s = Session(self.daemon, flags=1)
        ns = s.attach_ns(b"half")
        s.staging()
        s.args(b"".join(record(300 + i, BLOCK) for i in range(8)))
        s.push(COMMIT, flags=STAGED | NOPARENT, ns=ns, nr=8, length=512)
        s.fill(b"x" * BLOCK)
        s.leave()
        s = Session(self.daemon)
        self.assertEqual(s.attach_ns(b"half"), ns)
        deadline = time.monotonic() + 5
        granted = 1
        while granted and time.monotonic() < deadline:
            time.sleep(0.05)
            granted = self.granted()
        self.assertEqual(granted, 0)
        s.leave()

    def granted(self):
        """Blocks in state GRANTED in the directory, by its own descriptors."""
        with open(os.path.join(self.daemon.memory, "directory"), "rb") as f:
            d = f.read()
        desc_off = struct.unpack_from("<Q", d, 88)[0]
        max_blocks = struct.unpack_from("<I", d, 112)[0]
        return sum(d[desc_off + 64 * i] & 15 == 1 for i in range(1, max_blocks + 1))

    def test_detach_is_answered_and_ends_the_service(self):
        self.assertEqual(self.s.call(DETACH, user_data=3)[:2], (3, 0))
        self.s.push(NOP)
        self.assertIsNone(self.s.pop(seconds=0.2))


if __name__ == "__main__":
    unittest.main()
