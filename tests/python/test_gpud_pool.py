#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The staging pool of kvshm-gpud, with a real daemon and the fake driver: one copy a block for several processes.

Prefill and decode read the same device memory and nothing is loaded twice; what a client holds stays where it is, and
is let go however the client ends; what cannot be is refused with the reason, and nobody else notices.
"""
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
import types
import unittest

from daemonlib import Daemon
from gpulib import BLOCK, GPUD, Client, Engine, Gpud, PoolClient, content, until_counted
from queuelib import NOP

SLOW = "h2d=5e5"                # a block takes half a second
NOENT, BUSY, EINVAL, NOSPC, DQUOT, STALE, ACCES, NOMEM, OPNOTSUPP = 2, 16, 22, 28, 122, 116, 13, 12, 95
POOL = 16 * BLOCK


class Base(unittest.TestCase):
    script, options = "", ("--pool", "4M", "--pool-quota", "4M")

    def setUp(self):
        self.daemon = Daemon("--set", "clients.max=16", "--set", "arena.scrub=always")
        self.gpud = Gpud(self.daemon, self.script, *self.options)
        self.c = Client(self.daemon)
        self.clients = []

    def tearDown(self):
        self.assertEqual(self.c.call(NOP)[1], 0, "host memory is not served")
        for client in self.clients:
            client.close()
        self.c.leave()
        self.assertEqual(self.gpud.stop(), 0)
        self.assertEqual(self.daemon.stop(), 0, "the daemon did not end well")

    def client(self):
        client = PoolClient(self.gpud)
        self.clients.append(client)
        self.assertEqual(client.open(), 0)
        return client

    def stranger(self):
        """Another user, who may connect."""
        if os.geteuid():
            self.skipTest("only root can be another user")
        folder, name = os.path.split(self.gpud.path)
        os.chmod(self.gpud.path, 0o666)
        os.chmod(folder, 0o711)
        # from there, for it may not go down to it
        here = os.getcwd()
        os.chdir(folder)
        os.seteuid(4242)
        try:
            return PoolClient(types.SimpleNamespace(path=name))
        finally:
            os.seteuid(0)
            os.chdir(here)

    def put(self, first, nr):
        return [self.c.put(i, content(i)) for i in range(first, first + nr)]

    def held(self, client, refs, first=None):
        """Hold them; what is there is right."""
        error, offsets = client.hold(self.c.ns, refs)
        self.assertEqual(error, 0)
        if first is not None:
            self.lies(client, offsets, first)
        return offsets

    def lies(self, client, offsets, first):
        for i, off in enumerate(offsets):
            self.assertEqual(client.read(off, BLOCK), content(first + i), f"block {first + i}")

    def counts(self, **wanted):
        until_counted(self.daemon, **{"pool_" + name: v for name, v in wanted.items()})


class Sharing(Base):
    def test_prefill_and_decode_read_one_copy_and_nothing_is_loaded_twice(self):
        refs = self.put(0, 8)
        prefill, decode = self.client(), self.client()
        first = self.held(prefill, refs, 0)
        second = self.held(decode, refs, 0)
        self.assertEqual(first, second)
        n = self.gpud.until(landed_h2d=8)
        self.assertEqual((n["copies_h2d"], n["bytes_h2d"], n["misuses"]), (8, 8 * BLOCK, 0))
        self.counts(bytes=POOL, used_bytes=8 * BLOCK, held_bytes=8 * BLOCK, clients=2, staged_blocks=8,
                    staged_bytes=8 * BLOCK, shared_blocks=8, evicted_blocks=0, refused=0)
        self.assertEqual(prefill.release(refs), (8, 0))
        self.counts(held_bytes=8 * BLOCK)
        self.lies(decode, second, 0)
        self.assertEqual(decode.release(refs), (8, 0))
        self.counts(held_bytes=0, used_bytes=8 * BLOCK)

    def test_two_processes_read_it(self):
        refs = self.put(0, 4)
        code = ("import sys, types; sys.path.insert(0, sys.argv[1]);"
                "from gpulib import *;"
                "gpud = types.SimpleNamespace(path=sys.argv[2]);"
                "c = PoolClient(gpud); assert c.open() == 0;"
                "refs = eval(sys.argv[4]); error, offs = c.hold(int(sys.argv[3]), refs); assert not error, error;"
                "assert all(c.read(o, BLOCK) == content(i) for i, o in enumerate(offs));"
                "print(offs, flush=True); sys.stdin.read()")
        children = [subprocess.Popen([sys.executable, "-c", code, os.path.dirname(os.path.abspath(__file__)),
                                      self.gpud.path, str(self.c.ns), repr(refs)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        offsets = [child.stdout.readline() for child in children]
        self.assertEqual(offsets[0], offsets[1])
        self.assertEqual(len(eval(offsets[0])), 4)
        self.counts(held_bytes=4 * BLOCK, staged_blocks=4, shared_blocks=4, clients=2)
        for child in children:
            child.communicate()
            self.assertEqual(child.returncode, 0)
        self.counts(held_bytes=0, used_bytes=4 * BLOCK, clients=0)

    def test_a_block_that_the_cache_has_evicted_is_served_from_the_pool(self):
        refs = self.put(0, 1)
        client = self.client()
        self.held(client, refs, 0)
        self.assertEqual(self.c.drop(0), 1)
        self.held(client, refs, 0)
        self.assertEqual(client.release(refs + refs), (2, 0))
        # nobody brings it back once it has left the pool
        self.held(client, self.put(20, 16), 20)
        self.assertEqual(client.hold(self.c.ns, refs), (-STALE, [0]))

    def test_blocks_that_nobody_holds_are_evicted_the_longest_idle_first(self):
        refs = self.put(0, 20)
        client = self.client()
        for i in range(16):
            self.held(client, refs[i:i + 1], i)
            self.assertEqual(client.release(refs[i:i + 1]), (1, 0))
        self.held(client, refs[:1])
        client.release(refs[:1])
        self.held(client, refs[16:20], 16)
        self.counts(evicted_blocks=4, shared_blocks=1, staged_blocks=20)
        # 1 to 4 had been idle for longest, 0 had been used since
        self.held(client, refs[:1] + refs[5:16])
        self.counts(shared_blocks=13, staged_blocks=20)

    def test_held_blocks_stay_where_they_are_under_pressure(self):
        refs = self.put(0, 40)
        one, two = self.client(), self.client()
        kept = self.held(one, refs[:4], 0)
        for i in range(4, 40, 4):
            self.held(two, refs[i:i + 4], i)
            self.assertEqual(two.release(refs[i:i + 4]), (4, 0))
            self.lies(one, kept, 0)
        self.counts(evicted_blocks=24, refused=0)

    def test_a_full_pool_is_said_and_room_is_found_when_some_is_released(self):
        refs = self.put(0, 20)
        one, two = self.client(), self.client()
        self.held(one, refs[:14], 0)
        self.assertEqual(two.hold(self.c.ns, refs[14:17]), (-NOSPC, [0] * 3))
        self.counts(refused=1, held_bytes=14 * BLOCK, staged_blocks=14)
        self.assertIn("gets no place in the staging pool: 3 of 4 MiB are held, 0 MiB by it: it is full", self.gpud.said())
        # all or nothing: what was there already is not held either
        self.assertEqual(two.hold(self.c.ns, refs[:1] + refs[14:17])[0], -NOSPC)
        self.assertEqual(two.release(refs[:1]), (0, -NOENT))
        self.assertEqual(one.release(refs[:1]), (1, 0))
        self.held(two, refs[14:17], 14)

    def test_a_block_named_twice_is_held_twice_and_copied_once(self):
        refs = self.put(0, 10)
        client = self.client()
        offsets = self.held(client, [refs[3], refs[4], refs[3]])
        self.assertEqual(offsets[0], offsets[2])
        self.assertEqual(self.gpud.counters()["copies_h2d"], 2)
        self.assertEqual(client.release([refs[3], refs[3], refs[4]]), (3, 0))
        self.held(client, refs * 25)
        self.counts(staged_blocks=10, held_bytes=10 * BLOCK)
        self.assertEqual(client.release(refs * 25), (250, 0))
        self.counts(held_bytes=0)

    def test_a_client_that_closes_holds_nothing_and_may_open_again(self):
        refs = self.put(0, 4)
        one, two = self.client(), self.client()
        self.held(one, refs, 0)
        offsets = self.held(two, refs, 0)
        one.shut()
        self.counts(clients=1, held_bytes=4 * BLOCK)
        self.lies(two, offsets, 0)
        self.assertEqual(one.open(), 0)
        self.assertEqual(one.release(refs), (0, -NOENT))
        self.held(one, refs, 0)


class Torture(Base):
    """Prefill and decode at once, more blocks than there is room for, anybody killed at any time."""
    script = "h2d=5e8"          # a block takes half a millisecond: an answer that comes too early shows
    CODE = ("import random, sys, types; sys.path.insert(0, sys.argv[1]);"
            "from gpulib import *;"
            "c = PoolClient(types.SimpleNamespace(path=sys.argv[2])); assert c.open() == 0;"
            "ns, refs, r, done = int(sys.argv[3]), eval(sys.argv[4]), random.Random(sys.argv[5]), 0\n"
            "while True:\n"
            "    some = r.sample(range(len(refs)), r.randint(1, 6))\n"
            "    error, offs = c.hold(ns, [refs[i] for i in some])\n"
            "    assert error in (0, -28), error\n"
            "    if not error:\n"
            "        for i, off in zip(some, offs):\n"
            "            assert c.read(off, BLOCK) == content(i), i\n"
            "        assert c.release([refs[i] for i in some]) == (len(some), 0)\n"
            "    done += not error\n"
            "    if done % 50 == 0: print(done, flush=True)\n")

    def child(self, refs, seed):
        child = subprocess.Popen([sys.executable, "-c", self.CODE, os.path.dirname(os.path.abspath(__file__)),
                                  self.gpud.path, str(self.c.ns), repr(refs), str(seed)],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(child.kill)
        return child

    def kill(self, child):
        """It has worked by now, so that it is killed in the middle of something."""
        if not child.stdout.readline():
            self.fail("it ended by itself: " + child.stderr.read())
        child.kill()
        child.communicate()

    def test_no_byte_is_wrong_and_no_hold_is_left(self):
        refs = self.put(0, 40)
        children = [self.child(refs, seed) for seed in range(3)]
        for seed in range(3, 9):
            self.kill(children.pop(0))
            children.append(self.child(refs, seed))
        for child in children:
            self.kill(child)
        self.counts(held_bytes=0, clients=0)
        n = self.gpud.counters()
        self.assertEqual((n["misuses"], n["landed_h2d"]), (0, n["copies_h2d"]))
        self.assertGreater(n["copies_h2d"], 200, "everything was there all the time")


class Refusals(Base):
    def test_what_is_wrong_is_refused_and_holds_nothing(self):
        refs = self.put(0, 4)
        other = self.c.attach_ns(b"other", BLOCK)
        client = self.client()
        block, generation = refs[0]
        for ns, bad, error in (
                (self.c.ns, (block, generation + 1), STALE), (self.c.ns, (block, generation - 1), STALE),
                (self.c.ns, (0, 0), STALE), (self.c.ns, (1 << 31, 0), STALE), (self.c.ns, (block + 50, 0), STALE),
                (other, refs[0], EINVAL), (0xFFFF, refs[0], EINVAL)):
            self.assertEqual(client.hold(ns, [bad]), (-error, [0]), bad)
            # one bad block among good ones: none of them
            self.assertEqual(client.hold(ns, refs[1:] + [bad])[0], -(EINVAL if ns != self.c.ns else error), bad)
        self.counts(held_bytes=0, used_bytes=0, staged_blocks=0)
        self.held(client, refs, 0)
        self.assertEqual(client.hold(other, refs[:1]), (-EINVAL, [0]), "one that is there is another namespace's, too")

    def test_what_one_does_not_hold_one_cannot_release(self):
        refs = self.put(0, 4)
        one, two = self.client(), self.client()
        offsets = self.held(one, refs, 0)
        self.assertEqual(two.release(refs), (0, -NOENT))
        self.assertEqual(one.release([refs[0], refs[0], refs[1]]), (1, -NOENT), "released twice")
        self.assertEqual(one.release([(refs[1][0], refs[1][1] + 1)]), (0, -NOENT))
        self.assertEqual(one.release([(1 << 31, 5)]), (0, -NOENT))
        self.counts(held_bytes=3 * BLOCK)
        self.lies(one, offsets, 0)

    def test_nonsense_is_hung_up_on_and_gives_up_what_it_held(self):
        refs = self.put(0, 2)
        innocent = self.client()
        offsets = self.held(innocent, refs[:1], 0)
        ref = struct.pack("<II", *refs[1])
        for name, kind, body in (
                ("no blocks", 75, struct.pack("<QIHH", 1, 0, self.c.ns, 0)),
                ("too many blocks", 75, struct.pack("<QIHH", 1, 257, self.c.ns, 0) + ref * 257),
                ("more than said", 75, struct.pack("<QIHH", 1, 1, self.c.ns, 0) + ref * 2),
                ("fewer than said", 75, struct.pack("<QIHH", 1, 2, self.c.ns, 0) + ref),
                ("reserved", 75, struct.pack("<QIHH", 1, 1, self.c.ns, 1) + ref),
                ("a release of a namespace", 77, struct.pack("<QIHH", 0, 1, self.c.ns, 0) + ref),
                ("opened twice", 73, b""), ("an answer", 76, struct.pack("<QIIQ", 1, 1, 0, 0)),
                ("statistics", 81, bytes(72))):
            bad = PoolClient(self.gpud)
            self.assertEqual(bad.open(), 0)
            self.held(bad, refs, 0)
            bad.send(kind, body)
            self.assertTrue(bad.is_hung_up(), name)
            bad.close()
            self.counts(held_bytes=BLOCK, clients=1)
        for kind, body in ((75, struct.pack("<QIHH", 1, 1, self.c.ns, 0) + ref),
                           (77, struct.pack("<QIHH", 0, 1, 0, 0) + ref), (79, b"")):
            bad = PoolClient(self.gpud)
            bad.send(kind, body)
            self.assertTrue(bad.is_hung_up(), f"{kind} before it was opened")
            bad.close()
        self.lies(innocent, offsets, 0)

    def test_other_users_are_refused_unless_they_are_listed(self):
        stranger = self.stranger()
        self.assertEqual(stranger.open(), -ACCES)
        self.assertIn("may not map the staging pool", self.gpud.said())
        stranger.close()


class Listed(Base):
    options = ("--pool", "4M", "--pool-uids", "7,4242")

    def test_a_listed_user_maps_it(self):
        listed = self.stranger()
        self.clients.append(listed)
        self.assertEqual(listed.open(), 0)
        self.held(listed, self.put(0, 2), 0)


class Share(Base):
    options = ("--pool", "4M")

    def test_a_client_holds_half_of_it_at_most(self):
        refs = self.put(0, 17)
        one, two, three = self.client(), self.client(), self.client()
        self.held(one, refs[:8], 0)
        self.assertEqual(one.hold(self.c.ns, refs[8:9]), (-DQUOT, [0]))
        self.assertIn("it may hold no more", self.gpud.said())
        # one more hold of what it has is nothing more
        self.held(one, refs[:8])
        self.held(two, refs[8:16], 8)
        self.assertEqual(three.hold(self.c.ns, refs[16:17]), (-NOSPC, [0]))
        # and others share what it has
        self.held(three, refs[:8], 0)
        self.counts(refused=2, held_bytes=POOL)


class SlowCopies(Base):
    script = SLOW

    def test_a_block_on_its_way_is_shared_and_both_are_answered_when_it_has_landed(self):
        refs = self.put(0, 1)
        one, two = self.client(), self.client()
        start = time.monotonic()
        one.ask(self.c.ns, refs, 5)
        self.gpud.until(copies_h2d=1)
        two.ask(self.c.ns, refs, 6)
        for client, name in ((one, 5), (two, 6)):
            request, error, offsets = client.answer()
            self.assertEqual((request, error), (name, 0))
            self.lies(client, offsets, 0)
        self.assertGreater(time.monotonic() - start, 0.3)
        self.assertEqual(self.gpud.counters()["copies_h2d"], 1)

    def test_what_is_there_is_answered_while_others_wait(self):
        refs = self.put(0, 2)
        one, two = self.client(), self.client()
        self.held(one, refs[:1], 0)
        one.ask(self.c.ns, refs[1:])
        self.gpud.until(copies_h2d=2)
        self.held(two, refs[:1], 0)
        self.assertEqual(self.gpud.counters()["landed_h2d"], 1, "it waited for another's copy")
        self.assertEqual(one.answer()[1], 0)

    def test_a_block_dropped_under_its_copy_lands_whole(self):
        refs = self.put(0, 1)
        client = self.client()
        client.ask(self.c.ns, refs)
        self.gpud.until(copies_h2d=1)
        self.assertEqual(self.c.drop(0), 1)
        self.assertEqual(self.c.states(refs), [4], "not in quarantine under its copy")
        _, error, offsets = client.answer()
        self.assertEqual(error, 0)
        self.lies(client, offsets, 0)
        deadline = time.monotonic() + 5
        while self.c.states(refs) == [4]:
            self.assertLess(time.monotonic(), deadline, "it stays in quarantine")
            time.sleep(0.01)

    def test_requests_beyond_a_clients_share_are_refused(self):
        refs = self.put(0, 1)
        client = self.client()
        for i in range(33):
            client.ask(self.c.ns, refs, i)
        answers = sorted(client.answer() for _ in range(33))
        self.assertEqual(answers[:32], [(i, 0, answers[0][2]) for i in range(32)])
        self.assertEqual(answers[32], (32, -BUSY, [0]))
        self.assertEqual(client.release(refs * 32), (32, 0))
        self.counts(held_bytes=0)

    def test_what_is_released_before_it_was_told_is_not_held(self):
        refs = self.put(0, 2)
        client = self.client()
        client.ask(self.c.ns, refs)
        self.gpud.until(copies_h2d=2)
        client.send_release(refs[:1])
        self.assertEqual(client.released(), (1, 0))
        self.assertEqual(client.answer()[1], 0)
        self.counts(held_bytes=BLOCK)
        self.assertEqual(client.release(refs[:1]), (0, -NOENT))

    def test_a_client_that_closes_in_mid_copy_gets_no_answer_of_it(self):
        refs = self.put(0, 1)
        client = self.client()
        client.ask(self.c.ns, refs)
        self.gpud.until(copies_h2d=1)
        client.shut()
        self.gpud.until(landed_h2d=1)
        self.counts(held_bytes=0, used_bytes=BLOCK, clients=0)
        self.assertEqual(client.open(), 0)
        self.held(client, refs, 0)
        self.assertEqual(self.gpud.counters()["copies_h2d"], 1)

    def killed(self, refs, wait):
        """A process that holds the first, waits for the second, and is killed."""
        code = ("import sys, time, types; sys.path.insert(0, sys.argv[1]);"
                "from gpulib import *;"
                "gpud = types.SimpleNamespace(path=sys.argv[2]);"
                "c = PoolClient(gpud); c.open(); ns = int(sys.argv[3]); refs = eval(sys.argv[4]);"
                "print(c.hold(ns, refs[:1])[0], flush=True); c.ask(ns, refs[1:]); time.sleep(60)")
        child = subprocess.Popen([sys.executable, "-c", code, os.path.dirname(os.path.abspath(__file__)),
                                  self.gpud.path, str(self.c.ns), repr(refs)], stdout=subprocess.PIPE, text=True)
        self.assertEqual(child.stdout.readline(), "0\n")
        wait()
        child.kill()
        child.wait()
        child.stdout.close()

    def test_a_client_killed_in_mid_hold_gives_its_holds_back(self):
        refs = self.put(0, 2)
        client = self.client()
        offsets = self.held(client, refs[:1], 0)
        self.killed(refs, lambda: self.gpud.until(copies_h2d=2))
        self.counts(clients=1, held_bytes=BLOCK)
        # what was on its way for it landed, and is there for the next one
        self.gpud.until(landed_h2d=2)
        self.held(client, refs[1:], 1)
        self.lies(client, offsets, 0)
        n = self.gpud.counters()
        self.assertEqual((n["copies_h2d"], n["misuses"]), (2, 0))
        self.assertEqual(client.release(refs), (2, 0))
        self.counts(held_bytes=0)

    def test_a_killed_worker_hangs_up_on_all_and_the_next_one_starts_empty(self):
        refs = self.put(0, 2)
        one, two = self.client(), self.client()
        offsets = self.held(one, refs[:1], 0)
        self.held(two, refs[:1])
        self.counts(staged_blocks=1, shared_blocks=1)
        two.ask(self.c.ns, refs[1:])
        self.gpud.until(copies_h2d=2)
        os.kill(one.worker, signal.SIGKILL)
        self.assertTrue(one.is_hung_up() and two.is_hung_up())
        # the memory is a mapping of ours until we close it
        self.lies(one, offsets, 0)
        self.gpud.wait("ready:", 2)
        self.counts(bytes=POOL, used_bytes=0, held_bytes=0, clients=0, staged_blocks=1)
        again = self.client()
        self.held(again, refs, 0)
        self.counts(staged_blocks=3, held_bytes=2 * BLOCK)
        # of the worker that died nothing is pinned
        for i in range(2):
            self.assertEqual(self.c.drop(i), 1)
            self.assertEqual(self.c.desc(refs[i][0])[0] & 0xF, 0)


class Failures(Base):
    options = ("--pool", "4M", "--deadline", "300")

    def dies(self, status):
        refs = self.put(0, 1)
        client = self.client()
        client.ask(self.c.ns, refs)
        self.assertTrue(client.is_hung_up())
        self.gpud.wait(f"ended with status {status}")
        self.gpud.wait("ready:", 2)


class Hang(Failures):
    script = "hang=1"

    def test_a_hung_copy_ends_the_worker_at_its_deadline(self):
        self.dies(75)
        self.assertIn("a copy into the staging pool hangs", self.gpud.said())


class Lost(Failures):
    script = "land=1:700"

    def test_a_lost_context_ends_the_worker(self):
        self.dies(70)


class Refused(Base):
    script = "missing=cuMemcpyBatchAsync;fail=cuMemcpyHtoDAsync:3:2"

    def test_a_copy_that_is_refused_fails_the_request_whole_and_the_next_one_brings_it(self):
        refs = self.put(0, 4)
        client = self.client()
        self.assertEqual(client.hold(self.c.ns, refs), (-NOMEM, [0] * 4))
        self.counts(used_bytes=0, held_bytes=0, staged_blocks=0)
        self.assertEqual(client.release(refs), (0, -NOENT))
        self.held(client, refs, 0)
        # pins of the failed copy are gone
        self.assertEqual(client.release(refs), (4, 0))
        self.assertEqual(self.c.drop(0), 1)
        self.assertEqual(self.c.desc(refs[0][0])[0] & 0xF, 0)


class Shared(Base):
    """A block that another client waits for, in a copy that fails."""
    script = "missing=cuMemcpyBatchAsync;fail=cuMemcpyHtoDAsync:2:2;h2d=5e5"

    def test_all_that_wait_for_a_failed_copy_are_told(self):
        refs = self.put(0, 3)
        one, two, three = self.client(), self.client(), self.client()
        one.ask(self.c.ns, refs[:2])
        self.gpud.until(copies_h2d=1)
        two.ask(self.c.ns, refs[1:2])
        three.ask(self.c.ns, refs[1:])
        self.assertEqual(one.answer()[1:], (-NOMEM, [0, 0]))
        self.assertEqual(two.answer()[1:], (-NOMEM, [0]))
        self.assertEqual(three.answer()[1:], (-NOMEM, [0, 0]))
        # the one that came well is there, held by nobody
        self.counts(used_bytes=BLOCK, held_bytes=0, staged_blocks=1)
        self.held(three, refs, 0)


class Options(unittest.TestCase):
    def test_what_is_no_size_and_no_user_is_refused(self):
        for option, value in (("--pool", "0"), ("--pool", "x"), ("--pool", "4Q"), ("--pool", "4MX"), ("--pool", "-4M"),
                              ("--pool", "99999999T"), ("--pool-quota", "0"), ("--pool-uids", ""), ("--pool-uids", "1,"),
                              ("--pool-uids", "1,,2"), ("--pool-uids", "root"), ("--pool-uids", "4294967296"),
                              ("--pool-uids", ",".join(["1"] * 17))):
            run = subprocess.run([GPUD, option, value], capture_output=True, text=True)
            self.assertEqual(run.returncode, 64, option)
            self.assertIn(f'not "{value}"', run.stderr)
        run = subprocess.run([GPUD, "--pool", "4M", "--pool-quota", "1G", "--pool-uids", ",".join(["1"] * 16), "--version"],
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 0)


class Without(Base):
    options = ()

    def test_without_a_pool_it_is_said(self):
        client = PoolClient(self.gpud)
        self.assertEqual(client.open(), -NOENT)
        client.close()
        self.counts(bytes=0)


class Unable(Base):
    script = "attr=103:0"

    def test_a_device_that_does_not_share_memory_is_said_and_buffers_are_served(self):
        self.assertIn("no staging pool of 4 MiB: the device does not share memory by descriptor", self.gpud.said())
        client = PoolClient(self.gpud)
        self.assertEqual(client.open(), -OPNOTSUPP)
        client.close()
        self.assertEqual(Engine(self.gpud).worker > 0, True)


class TooLarge(Base):
    script = "fail=cuMemCreate:1:2"

    def test_memory_that_cannot_be_had_is_said(self):
        self.assertIn("no staging pool of 4 MiB: Cannot allocate memory", self.gpud.said())
        client = PoolClient(self.gpud)
        self.assertEqual(client.open(), -NOMEM)
        client.close()


if __name__ == "__main__":
    unittest.main()
