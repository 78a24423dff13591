#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kvshm-gpud with a real daemon and the fake driver: copies on request of the queue pair, and every way to fail.

Whatever happens to the device, to kvshm-gpud or to a client, the daemon serves host memory as before, no pin
ends before its copy has landed, and no byte that was told to be there is wrong.
"""
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

from daemonlib import ABI, BUILD, MAGIC, Daemon, close_all
from gpulib import BLOCK, DONE, GPUD, GRANULARITY, JOB, LINK, Client, Engine, FakeCuda, Gpud, content, until_counted
from queuelib import ALL, DROP, NOP, STAGE_IN, key

with open(os.path.join(BUILD, "fake", "libcuda.so.1"), "rb") as driver:
    if b"__asan_init" in driver.read():
        print("the driver of a sanitizer's build cannot be loaded into Python")
        sys.exit(77)

SLOW = "h2d=5e5"                # a block takes half a second
QUARANTINED = 4
NOTCONN, NOENT, EINVAL, ERANGE, STALE, EXIST, ADDRINUSE, TIMEDOUT, EIO, RESET = 107, 2, 22, 34, 116, 17, 98, 110, 5, 104


class Base(unittest.TestCase):
    script, options = "", ()

    @classmethod
    def setUpClass(cls):
        cls.cuda = FakeCuda()

    def setUp(self):
        # what is freed is overwritten, so that it shows
        self.daemon = Daemon("--set", "clients.max=16", "--set", "arena.scrub=always")
        self.gpud = Gpud(self.daemon, self.script, *self.options)
        self.c = Client(self.daemon)
        self.engine = Engine(self.gpud)
        self.device = self.cuda.alloc(16 * BLOCK)
        self.token, error = self.engine.register(self.device, self.cuda.piece(self.device, 16 * BLOCK))
        self.assertEqual(error, 0)

    def tearDown(self):
        self.assertEqual(self.c.call(NOP)[1], 0, "host memory is not served")
        self.c.leave()
        self.engine.close()
        self.assertEqual(self.gpud.stop(), 0)
        self.assertEqual(self.daemon.stop(), 0, "the daemon did not end well")
        self.cuda.free(self.device)

    def counts(self, **wanted):
        until_counted(self.daemon, **wanted)

    def landed(self, number, at=0):
        self.assertEqual(self.cuda.read(self.device + at * BLOCK, BLOCK), content(number), f"block {number}")


class Copies(Base):
    def test_blocks_land_whole_and_are_told(self):
        refs = [self.c.put(i, content(i)) for i in range(4)]
        self.gpud.until(registered=1)
        self.c.ask(self.token, refs, user_data=9)
        self.assertEqual(self.c.pop()[:3], (9, 4, STAGE_IN))
        for i in range(4):
            self.landed(i, i)
        n = self.gpud.until(landed_h2d=4)
        self.assertEqual((n["bytes_h2d"], n["pageable"], n["misuses"], n["batches"]), (4 * BLOCK, 0, 0, 1))
        self.c.ask(1, refs)
        self.assertEqual(self.c.pop()[1], -NOENT)
        self.counts(up=1, links=1, jobs=1, jobs_failed=1, loaded_bytes=4 * BLOCK)

    def test_a_part_of_a_block_to_a_part_of_a_buffer(self):
        ref = self.c.put(1, content(1))
        self.c.ask(self.token, [ref], off=4096, length=8192, buffer_off=12345)
        self.assertEqual(self.c.pop()[1], 1)
        self.assertEqual(self.cuda.read(self.device + 12344, 8194), b"\xee" + content(1)[4096:12288] + b"\xee")

    def test_memory_of_expandable_segments_by_descriptor(self):
        address, pieces, fds = self.cuda.alloc_vmm(3)
        token, error = self.engine.register(address, pieces, fds)
        close_all(fds)
        self.assertEqual(error, 0)
        refs = [self.c.put(i, content(i)) for i in range(3)]
        # across the seam of two pieces
        self.c.ask(token, refs, buffer_off=GRANULARITY - BLOCK // 2)
        self.assertEqual(self.c.pop()[1], 3)
        for i in range(3):
            self.assertEqual(self.cuda.read(address + GRANULARITY - BLOCK // 2 + i * BLOCK, BLOCK), content(i))

    def test_what_is_wrong_is_refused_and_copies_nothing(self):
        ref = self.c.put(1, content(1))
        other = self.c.attach_ns(b"other", BLOCK)
        for what, error in (
                (dict(token=self.token ^ 1), NOENT), (dict(buffer_off=15 * BLOCK + 1), ERANGE),
                (dict(off=1), ERANGE), (dict(refs=[(ref[0], ref[1] + 1)]), STALE), (dict(refs=[(ref[0] + 7, 0)]), STALE),
                (dict(refs=[(0, 0)]), EINVAL), (dict(refs=[(1 << 30, 0)]), EINVAL), (dict(length=0), EINVAL),
                (dict(token=0), EINVAL), (dict(buffer_off=(1 << 64) - 1), ERANGE)):
            args = dict(dict(token=self.token, refs=[ref]), **what)
            self.c.ask(**args)
            self.assertEqual(self.c.pop()[1], -error, what)
        self.c.args(struct.pack("<IIIIQQQ", *ref, 0, BLOCK, self.token, 0, 1), off=4096)
        self.assertEqual(self.c.call(STAGE_IN, ns=self.c.ns, nr=1, off=4096, length=40)[1], -EINVAL, "reserved")
        self.c.args(struct.pack("<IIIIQQQ", *ref, 0, BLOCK, self.token, 0, 0), off=4096)
        self.assertEqual(self.c.call(STAGE_IN, ns=other, nr=1, off=4096, length=40)[1], -EINVAL, "another namespace")
        # one bad record among good ones: none of them
        self.c.ask(self.token, [ref, (ref[0], ref[1] + 1)])
        self.assertEqual(self.c.pop()[1], -STALE)
        self.assertEqual(self.gpud.counters()["copies_h2d"], 0)
        self.assertEqual(self.cuda.read(self.device, 16 * BLOCK), b"\xee" * (16 * BLOCK))

    def test_a_buffer_is_registered_once_and_not_by_its_own_pid(self):
        piece = self.cuda.piece(self.device, 16 * BLOCK)
        self.assertEqual(self.engine.register(self.device, piece), (0, -EXIST))
        part = self.cuda.piece(self.device, BLOCK, off=BLOCK)
        self.assertEqual(self.engine.register(self.device + BLOCK, part)[1], 0)
        self.assertEqual(self.gpud.counters()["imports"], 1, "an allocation is opened once")
        same = Engine(self.gpud, pid=self.engine.worker)
        self.assertEqual(same.register(self.device, piece), (0, -ADDRINUSE))
        same.close()
        self.assertIn("the same PID", self.gpud.said())

    def test_detach_closes_and_only_then_tells(self):
        self.engine.detach(self.device)
        self.assertEqual(self.engine.detached(), 0)
        self.assertEqual(self.gpud.counters()["imports"], 0)
        self.c.ask(self.token, [self.c.put(1, content(1))])
        self.assertEqual(self.c.pop()[1], -NOENT)
        self.engine.detach(self.device)
        self.assertEqual(self.engine.detached(), -NOENT)

    def test_a_client_that_speaks_nonsense_is_hung_up_on(self):
        for kind, body, fds in ((64, b"\0" * 8, ()), (66, b"\0" * 16, ()), (71, b"\0" * 32, ()), (99, b"", ()),
                                (68, b"\0" * 32, (0,)), (66, b"\0" * 8 + b"\1\0\0\0" + b"\0" * 4 + b"\0" * 120, (0, 0))):
            bad = Engine(self.gpud)
            bad.send(kind, body, fds)
            self.assertTrue(bad.is_hung_up(), kind)
            bad.close()
        self.c.ask(self.token, [self.c.put(1, content(1))])
        self.assertEqual(self.c.pop()[1], 1)


    def test_a_client_that_floods_or_says_nothing_holds_nobody_up(self):
        silent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        silent.settimeout(10)
        silent.connect(self.gpud.path)
        flood = Engine(self.gpud)
        flood.sock.setblocking(False)
        stop = threading.Event()

        def go():
            while not stop.is_set():
                try:
                    flood.detach(4096)
                except BlockingIOError:
                    time.sleep(0.0001)
                except OSError:         # it does not read its answers, and is hung up on
                    return
        thread = threading.Thread(target=go)
        thread.start()
        try:
            for i in range(20):
                ref = self.c.put(i, content(i))
                self.c.ask(self.token, [ref])
                self.assertEqual(self.c.pop(2)[1], 1)
                self.landed(i)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(silent.recv(1), b"", "who says nothing keeps its place")
        silent.close()
        flood.close()
        self.assertNotIn("another starts", self.gpud.said())

    def test_a_client_has_its_share_of_buffers(self):
        at = self.cuda.alloc(1100 * 4096)
        for i in range(1100):
            error = self.engine.register(at + i * 4096, self.cuda.piece(at, 4096, i * 4096))[1]
            # one is there from the start
            self.assertEqual(error, 0 if i < 1023 else -28, i)
        other = Engine(self.gpud)
        self.assertEqual(other.register(at, self.cuda.piece(at, 4096))[1], 0)
        other.close()
        self.cuda.free(at)


class SlowCopies(Base):
    script = SLOW

    def test_detach_waits_for_what_is_under_way(self):
        ref = self.c.put(1, content(1))
        self.c.ask(self.token, [ref])
        self.gpud.until(copies_h2d=1)
        start = time.monotonic()
        self.engine.detach(self.device)
        self.assertEqual(self.engine.detached(), 0)
        self.assertGreater(time.monotonic() - start, 0.1)
        self.assertEqual(self.gpud.counters()["landed_h2d"], 1)
        self.assertEqual(self.gpud.counters()["misuses"], 0)
        self.assertEqual(self.c.pop()[1], 1)
        self.landed(1)

    def test_a_block_dropped_under_a_copy_stays_until_it_has_landed(self):
        ref = self.c.put(1, content(1))
        self.c.ask(self.token, [ref])
        self.gpud.until(copies_h2d=1)
        self.c.push(DROP, ns=self.c.ns, key=key(1))
        self.assertEqual(self.c.pop()[1:3], (1, DROP))
        time.sleep(0.15)
        state = self.c.desc(ref[0])[0]
        self.assertEqual(self.gpud.counters()["landed_h2d"], 0, "this was too slow to show anything")
        self.assertEqual((state & 0xF, state >> 32), (QUARANTINED, ref[1]))
        self.assertEqual(self.c.pop()[1:3], (1, STAGE_IN))
        self.landed(1)
        deadline = time.monotonic() + 5
        while self.c.desc(ref[0])[0] & 0xF == QUARANTINED:
            self.assertLess(time.monotonic(), deadline, "it stays in quarantine")
            time.sleep(0.01)

    def test_a_pin_protects_a_chain_and_nothing_beside_it(self):
        a, b = self.c.put_chain(range(10, 14)), self.c.put_chain(range(20, 23))
        loose, other = self.c.put(30, content(30)), self.c.put(31, content(31))
        self.c.ask(self.token, [a[0], loose, b[1], a[2], a[0]])
        self.gpud.until(copies_h2d=5)
        self.c.push(DROP, flags=ALL, ns=self.c.ns)
        self.assertEqual(self.c.pop()[1:3], (9, DROP))
        time.sleep(0.15)
        states = self.c.states(a + b + [loose, other])
        self.assertEqual(self.gpud.counters()["landed_h2d"], 0, "this was too slow to show anything")
        # a[1] and b[0] are ancestors of what is copied; a[3], b[2] and the other one are nobody's
        self.assertEqual(states, [QUARANTINED] * 3 + [None] + [QUARANTINED] * 2 + [None, QUARANTINED, None])
        self.assertEqual(self.c.pop(10)[1:3], (5, STAGE_IN))
        for at, number in enumerate((10, 30, 21, 12, 10)):
            self.landed(number, at)
        deadline = time.monotonic() + 5
        while QUARANTINED in self.c.states(a + b + [loose]):
            self.assertLess(time.monotonic(), deadline, "it stays in quarantine")
            time.sleep(0.01)

    def test_a_killed_client_takes_no_memory_from_under_its_copies(self):
        code = ("import sys, time; sys.path.insert(0, sys.argv[1]);"
                "from test_gpud import *; daemon = type('D', (), dict(socket=sys.argv[2], connect=Daemon.connect))();"
                "gpud = type('G', (), dict(path=sys.argv[3]));"
                "cuda = FakeCuda(); c = Client(daemon); e = Engine(gpud); at = cuda.alloc(4 * BLOCK);"
                "token, _ = e.register(at, cuda.piece(at, 4 * BLOCK));"
                "c.ask(token, [c.put(50 + i, content(50 + i)) for i in range(4)]);"
                "print('asked', flush=True); time.sleep(60)")
        child = subprocess.Popen([sys.executable, "-c", code, os.path.dirname(os.path.abspath(__file__)),
                                  self.daemon.socket, self.gpud.path], stdout=subprocess.PIPE, text=True)
        self.assertEqual(child.stdout.readline(), "asked\n")
        self.gpud.until(imports=2, copies_h2d=4)
        child.kill()
        child.wait()
        child.stdout.close()
        self.gpud.wait("copies of it land first")
        self.assertEqual(self.gpud.counters()["imports"], 2, "closed under a copy")
        n = self.gpud.until(imports=1, landed_h2d=4)
        self.assertEqual(n["misuses"], 0)
        self.c.ask(self.token, [self.c.put(1, content(1))])
        self.assertEqual(self.c.pop()[1], 1)
        self.landed(1)

    def test_a_killed_worker_fails_its_copies_and_another_starts(self):
        ref = self.c.put(1, content(1))
        self.c.ask(self.token, [ref], user_data=3)
        self.gpud.until(copies_h2d=1)
        os.kill(self.engine.worker, signal.SIGKILL)
        self.assertEqual(self.c.pop()[:2], (3, -RESET))
        self.assertTrue(self.engine.is_hung_up())
        self.gpud.wait("ready:", 2)
        self.assertIn("ended by signal 9", self.gpud.said())
        self.counts(up=1, links=2, jobs_failed=1)
        again = Engine(self.gpud)
        self.assertNotEqual(again.life, self.engine.life)
        self.c.ask(self.token, [ref])
        self.assertEqual(self.c.pop()[1], -NOENT, "a token of another life")
        token, error = again.register(self.device, self.cuda.piece(self.device, 16 * BLOCK))
        self.assertEqual(error, 0)
        self.c.ask(token, [ref])
        self.assertEqual(self.c.pop()[1], 1)
        self.landed(1)
        again.close()


class Wedged(Base):
    script, options = SLOW, ("--deadline", "300")

    def test_a_worker_that_the_driver_holds_is_killed_by_its_keeper(self):
        ref = self.c.put(1, content(1))
        self.c.ask(self.token, [ref])
        self.gpud.until(copies_h2d=1)
        os.kill(self.engine.worker, signal.SIGSTOP)
        # the cache is served meanwhile, and the block stays pinned by a process that is not dead
        self.assertEqual(self.c.drop(1), 1)
        self.c.put(2, content(2))
        self.assertEqual(self.c.desc(ref[0])[0] & 0xF, QUARANTINED)
        self.gpud.wait("hangs in the driver, it is killed")
        self.assertEqual(self.c.pop(10)[1], -RESET)
        self.gpud.wait("ready:", 2)
        deadline = time.monotonic() + 5
        while self.c.desc(ref[0])[0] & 0xF == QUARANTINED:
            self.assertLess(time.monotonic(), deadline, "what the dead worker had pinned stays in quarantine")
            time.sleep(0.01)


class Kills(Base):
    """Workers and clients die at any time; what was told to be there is right."""
    script = "h2d=2e7"          # a block takes 13 ms

    def test_workers_killed_in_mid_copy_leave_no_wrong_byte(self):
        refs = [self.c.put(i, content(i)) for i in range(8)]
        told = 0
        for n in range(6):
            self.c.ask(self.token, refs[:4], user_data=0)
            self.c.ask(self.token, refs[4:], user_data=1, buffer_off=4 * BLOCK, args_off=8192)
            time.sleep(0.02 * n)
            os.kill(self.engine.worker, signal.SIGKILL)
            for done in (self.c.pop(20), self.c.pop(20)):
                self.assertIn(done[1], (4, -RESET), done)
                if done[1] == 4:
                    told += 1
                    for i in range(4 * done[0], 4 * done[0] + 4):
                        self.landed(i, i)
            self.engine.close()
            self.gpud.wait("ready:", n + 2, 30)
            self.engine = Engine(self.gpud)
            self.token, error = self.engine.register(self.device, self.cuda.piece(self.device, 16 * BLOCK))
            self.assertEqual(error, 0)
        self.assertTrue(0 < told < 12, f"{told} of 12 landed: nothing was killed in mid-copy")
        for i in range(8):
            self.assertEqual(self.c.drop(i), 1)
            self.assertEqual(self.c.desc(refs[i][0])[0] & 0xF, 0, "a pin of a dead worker counts")


class Failures(Base):
    """The script is that of every worker: each fails as the first one did."""
    options = ("--deadline", "300")

    def fails(self, error, status):
        ref = self.c.put(1, content(1))
        start = time.monotonic()
        self.c.ask(self.token, [ref])
        self.assertEqual(self.c.pop()[1], -error)
        self.gpud.wait(f"ended with status {status}")
        self.gpud.wait("ready:", 2)
        self.assertLess(time.monotonic() - start, 10)
        self.assertEqual(self.c.call(NOP)[1], 0)
        self.assertEqual(self.c.drop(1), 1)


class Hang(Failures):
    script = "hang=1"

    def test_a_hung_copy_ends_at_its_deadline(self):
        self.fails(TIMEDOUT, 75)
        self.assertIn("a copy hangs", self.gpud.said())


class Sticky(Failures):
    script = "land=1:700"

    def test_a_lost_context_ends_the_worker(self):
        self.fails(EIO, 70)
        self.assertIn("context is lost", self.gpud.said())


class Ecc(Failures):
    script = "land=1:214"

    def test_an_uncorrectable_memory_error_ends_the_worker(self):
        self.fails(EIO, 70)


class Unmarked(Failures):
    script = "fail=cuEventRecord:1:2"

    def test_copies_that_nobody_would_see_land_end_the_worker(self):
        self.fails(EIO, 70)


class Refusal(Base):
    script = "missing=cuMemcpyBatchAsync;fail=cuMemcpyHtoDAsync:3:2"

    def test_a_copy_that_is_refused_fails_its_entry_after_the_others_have_landed(self):
        refs = [self.c.put(i, content(i)) for i in range(4)]
        self.c.ask(self.token, refs)
        self.assertEqual(self.c.pop()[1], -12)
        self.assertEqual(self.gpud.counters()["landed_h2d"], 2)
        self.c.ask(self.token, refs)
        self.assertEqual(self.c.pop()[1], 4)
        for i in range(4):
            self.landed(i, i)


class Unpinned(Base):
    script = "fail=cuMemHostRegister:0:2"

    def test_an_arena_that_cannot_be_pinned_is_copied_all_the_same(self):
        self.c.ask(self.token, [self.c.put(1, content(1))])
        self.assertEqual(self.c.pop()[1], 1)
        self.landed(1)
        self.assertEqual(self.gpud.counters()["pageable"], 1)


class Alone(unittest.TestCase):
    def test_without_kvshm_gpud_the_entry_is_refused(self):
        daemon = Daemon()
        c = Client(daemon)
        c.ask(1, [c.put(1, content(1))])
        self.assertEqual(c.pop()[1], -NOTCONN)
        c.leave()
        self.assertEqual(daemon.stop(), 0)

    def test_without_a_driver_it_tries_again_later_each_time(self):
        daemon = Daemon()
        run = subprocess.Popen(["timeout", "2", GPUD, "--socket", daemon.socket, "--libcuda",
                                "/nowhere/libcuda.so.1"], stderr=subprocess.PIPE, text=True)
        said = run.communicate(timeout=30)[1]
        self.assertIn("no driver", said)
        self.assertIn("another starts in 100 ms", said)
        self.assertIn("another starts in 400 ms", said)
        self.assertLess(said.count("no driver"), 8)
        self.assertEqual(daemon.stop(), 0)

    def test_a_link_that_speaks_nonsense_is_hung_up_on(self):
        daemon = Daemon()
        c = Client(daemon)
        path = os.path.join(os.path.dirname(daemon.socket), "gpud.link")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        good = struct.pack("<IHHII", MAGIC, LINK, 16, ABI, 0)
        for bad in (struct.pack("<IHHQiI", MAGIC, DONE, 24, 77, 1, 0), struct.pack("<IHHQiI", MAGIC, DONE, 24, 0, 1, 0),
                    struct.pack("<IHH", MAGIC, DONE, 8), struct.pack("<IHHII", MAGIC, LINK, 16, ABI + 1, 1), b"?",
                    struct.pack("<IHHII", MAGIC ^ 1, LINK, 16, ABI, 1)):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.settimeout(10)
            s.connect(path)
            s.send(good)
            self.assertEqual(s.recv(100), good)
            s.send(bad)
            self.assertEqual(s.recv(1), b"", bad)
            s.close()
            self.assertEqual(c.call(NOP)[1], 0)
        # one that takes a job and dies with it
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(10)
        s.connect(path)
        s.send(good)
        self.assertEqual(s.recv(100), good)
        c.ask(1, [c.put(1, content(1))])
        job = s.recv(32768)
        self.assertEqual(struct.unpack_from("<H", job, 4)[0], JOB)
        s.close()
        self.assertEqual(c.pop()[1], -RESET)
        c.leave()
        self.assertEqual(daemon.stop(), 0)

    def test_a_session_that_ends_takes_its_completions_with_it(self):
        daemon = Daemon()
        gpud = Gpud(daemon, SLOW)
        cuda, c, engine = FakeCuda(), Client(daemon), Engine(gpud)
        at = cuda.alloc(BLOCK)
        token = engine.register(at, cuda.piece(at, BLOCK))[0]
        c.ask(token, [c.put(1, content(1))])
        gpud.until(copies_h2d=1)
        c.leave()
        gpud.until(landed_h2d=1)
        self.assertEqual(cuda.read(at, BLOCK), content(1))
        other = Client(daemon)
        other.ask(token, [other.put(2, content(2))])
        self.assertEqual(other.pop()[1], 1)
        self.assertEqual(cuda.read(at, BLOCK), content(2))
        other.leave()
        engine.close()
        self.assertEqual(gpud.stop(), 0)
        self.assertEqual(daemon.stop(), 0)
        cuda.free(at)

    def test_a_daemon_that_comes_back_is_served_again(self):
        daemon = Daemon()
        gpud = Gpud(daemon)
        daemon.kill()
        gpud.wait("another starts")
        daemon.start()
        gpud.wait("ready:", 2)
        cuda, c, engine = FakeCuda(), Client(daemon), Engine(gpud)
        at = cuda.alloc(BLOCK)
        token, error = engine.register(at, cuda.piece(at, BLOCK))
        self.assertEqual(error, 0)
        c.ask(token, [c.put(1, content(1))])
        self.assertEqual(c.pop()[1], 1)
        self.assertEqual(cuda.read(at, BLOCK), content(1))
        c.leave()
        engine.close()
        self.assertEqual(gpud.stop(), 0)
        self.assertEqual(daemon.stop(), 0)
        cuda.free(at)


if __name__ == "__main__":
    unittest.main()
