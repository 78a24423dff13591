#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kvshm-gpud saves: blocks out of GPU buffers into the cache, for a client that may not write there.

Whatever dies in the middle, no block is found before all its bytes have landed, none that is found has a wrong one,
none that the device may still write to is given to anybody, and none is lost.
"""
import ctypes
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from daemonlib import EXTENT_FDS, EXTENTS, MAGIC, Daemon, close_all, plain, receive
from gpulib import DONE, GRANULARITY, JOB, Engine, FakeCuda, Gpud
from queuelib import EOPNOTSUPP, GRANT, NOPARENT, STAGE_IN, STAGE_OUT, key, record
from test_gpud import BLOCK, EINVAL, EIO, ERANGE, NOENT, NOTCONN, RESET, STALE, TIMEDOUT, Base, Client, content

UNTRUSTED = 1
GRANTED, PUBLISHED = 1, 2
SLOW = "d2h=5e5"                # a block takes half a second


class Saver(Client):
    """Maps everything read-only, and has its blocks copied."""

    def __init__(self, daemon):
        super().__init__(daemon, flags=UNTRUSTED)
        self.nr_desc = 1 + struct.unpack_from("<I", self.directory, 112)[0]

    def extent(self, offset):
        first = len(self.extents)
        for base, length, mapping in self.extents:
            if base <= offset < base + length:
                return mapping, base
        self.sock.send(plain(EXTENTS, arg=first))
        kind, _, fds = receive(self.sock)
        assert kind == EXTENT_FDS and fds, kind
        for i, fd in enumerate(fds):
            base, length = struct.unpack_from("<QQ", self.directory, self.extent_off + 64 * (first + i))
            self.extents.append((base, length, mmap.mmap(fd, length, prot=mmap.PROT_READ)))
        close_all(fds)
        return self.extent(offset)

    def pieces(self, token, nr, buffer_off=0, cut=1):
        part = BLOCK // cut
        return [[0, 0, j * part, part, token, buffer_off + i * BLOCK + j * part, 0]
                for i in range(nr) for j in range(cut)]

    def save(self, numbers, pieces, user_data=0, parent=None, args_off=4096):
        flags = 0 if parent is not None else NOPARENT
        args = b"".join(record(n, BLOCK) for n in numbers) + b"".join(struct.pack("<IIIIQQQ", *p) for p in pieces)
        self.args(args, off=args_off)
        self.push(STAGE_OUT, flags=flags, ns=self.ns, nr=len(numbers), user_data=user_data, off=args_off,
                  length=len(args), key=bytes(32) if parent is None else key(parent))

    def blocks(self, state):
        """Owner of each block in that state, by id and generation."""
        words = ((i, self.desc(i)[0]) for i in range(self.nr_desc))
        return {(i, w >> 32): w >> 8 & 0xFFFFFF for i, w in words if w & 0xF == state}

    def until(self, state, nr, seconds=10):
        """Until so many blocks are in that state."""
        deadline = time.monotonic() + seconds
        while len(self.blocks(state)) != nr:
            assert time.monotonic() < deadline, f"{len(self.blocks(state))} blocks of state {state}, not {nr}"
            time.sleep(0.01)
        return self.blocks(state)

    def find(self, number):
        """Bytes of a published block, None where there is none."""
        for block, _ in self.blocks(PUBLISHED):
            at = self.desc_off + 64 * block
            if self.directory[at + 8:at + 40] == key(number):
                mapping, base = self.extent(self.desc(block)[1])
                offset = self.desc(block)[1] - base
                return mapping[offset:offset + BLOCK]
        return None


class SaveBase(Base):
    def setUp(self):
        super().setUp()
        self.s = Saver(self.daemon)

    def tearDown(self):
        self.s.until(GRANTED, 0)
        for number in range(100):
            data = self.s.find(number)
            self.assertIn(data, (None, content(number)), f"wrong bytes in block {number}")
        self.s.leave()
        super().tearDown()

    def write(self, numbers, at=0):
        """The blocks' bytes into the buffer."""
        for i, n in enumerate(numbers):
            ctypes.memmove(self.device + (at + i) * BLOCK, content(n), BLOCK)

    def again(self, nr):
        """A worker that has come back, and the buffer with it."""
        self.engine.close()
        self.gpud.wait("ready:", nr, 30)
        self.engine = Engine(self.gpud)
        self.token, error = self.engine.register(self.device, self.cuda.piece(self.device, 16 * BLOCK))
        self.assertEqual(error, 0)


class Saves(SaveBase):
    def test_blocks_land_whole_and_are_found(self):
        self.write(range(4))
        self.gpud.until(registered=1)
        self.s.save(range(4), self.s.pieces(self.token, 4, cut=2), user_data=9)
        self.assertEqual(self.s.pop(), (9, 4, STAGE_OUT, [], 0, 0))
        for i in range(4):
            self.assertEqual(self.s.find(i), content(i))
        n = self.gpud.until(landed_d2h=8)
        self.assertEqual((n["bytes_d2h"], n["pageable"], n["misuses"], n["batches"]), (4 * BLOCK, 0, 0, 1))
        self.counts(jobs=1, jobs_failed=0, saved_bytes=4 * BLOCK, loaded_bytes=0)

    def test_a_chain_grows_and_what_is_there_is_a_duplicate(self):
        self.write(range(10, 16))
        self.s.save([10, 11], self.s.pieces(self.token, 2), user_data=1)
        self.s.save([12, 13], self.s.pieces(self.token, 2, 2 * BLOCK), user_data=2, parent=11, args_off=8192)
        self.assertEqual(self.s.pop()[:2], (1, 2))
        self.assertEqual(self.s.pop()[:2], (2, 2))
        self.s.save([12, 13, 14, 15], self.s.pieces(self.token, 4, 2 * BLOCK), parent=11)
        self.assertEqual(self.s.pop()[1:], (2, STAGE_OUT, [], 2, 0))

    def test_memory_of_expandable_segments_by_descriptor(self):
        address, pieces, fds = self.cuda.alloc_vmm(3)
        token, error = self.engine.register(address, pieces, fds)
        close_all(fds)
        self.assertEqual(error, 0)
        for i in range(3):
            ctypes.memmove(address + GRANULARITY - BLOCK // 2 + i * BLOCK, content(i), BLOCK)
        # across the seam of two pieces
        self.s.save(range(3), self.s.pieces(token, 3, GRANULARITY - BLOCK // 2))
        self.assertEqual(self.s.pop()[1], 3)

    def test_what_is_wrong_publishes_nothing(self):
        self.write(range(3))
        for what, error in ((dict(token=self.token ^ 1), NOENT), (dict(buffer_off=14 * BLOCK + 1), ERANGE),
                            (dict(buffer_off=(1 << 64) - 2 * BLOCK), ERANGE), (dict(token=0), EINVAL)):
            args = dict(dict(token=self.token, nr=2), **what)
            self.s.save([0, 1], self.s.pieces(**args))
            self.assertEqual(self.s.pop()[1:], (-error, STAGE_OUT, [], 0, 2), what)
        good = self.s.pieces(self.token, 2, cut=2)
        for field, value in ((0, 1), (1, 1), (2, 1), (3, BLOCK // 2 - 1), (3, BLOCK // 2 + 1), (3, 0), (6, 1)):
            bad = [list(p) for p in good]
            bad[1][field] = value
            self.s.save([0, 1], bad)
            self.assertEqual(self.s.pop()[1:], (-EINVAL, STAGE_OUT, [], 0, 2), (field, value))
        self.s.save([0, 1], self.s.pieces(self.token, 2), parent=77)
        self.assertEqual(self.s.pop()[1:], (-NOENT, STAGE_OUT, [], 0, 2), "no such parent")
        other = Engine(self.gpud)
        at = self.cuda.alloc(BLOCK)
        token = other.register(at, self.cuda.piece(at, BLOCK))[0]
        mixed = self.s.pieces(self.token, 1) + self.s.pieces(token, 1)
        self.s.save([0, 1], mixed)
        self.assertEqual(self.s.pop()[1], -NOENT, "buffers of two clients")
        other.close()
        self.cuda.free(at)
        self.assertEqual(len(self.s.blocks(PUBLISHED)), 0)
        self.assertEqual(len(self.s.blocks(GRANTED)), 0)

    def test_what_finds_no_room_is_dropped(self):
        # all there is, granted to clients that do nothing with it
        hogs = [Client(self.daemon)]
        while hogs[-1].call(GRANT, ns=self.c.ns, nr=4096)[1] > 0:
            hogs.append(Client(self.daemon))
        self.write([1])
        self.s.save([1], self.s.pieces(self.token, 1))
        self.assertEqual(self.s.pop()[1:], (0, STAGE_OUT, [], 0, 1))
        for c in hogs:
            c.leave()
        self.s.until(GRANTED, 0)
        self.s.save([1], self.s.pieces(self.token, 1))
        self.assertEqual(self.s.pop()[1], 1)


class SlowBase(SaveBase):
    script = SLOW

    def saving(self, numbers):
        """Under way: the blocks, in the worker's name."""
        self.write(numbers)
        self.s.save(numbers, self.s.pieces(self.token, len(numbers)), user_data=4)
        self.gpud.until(copies_d2h=len(numbers))
        granted = self.s.until(GRANTED, len(numbers))
        self.assertNotIn(struct.unpack_from("<I", self.s.welcome, 16)[0], granted.values(), "granted to the client")
        self.assertEqual(len(set(granted.values())), 1)
        return granted


class SlowSaves(SlowBase):
    def test_nobody_finds_a_block_before_it_has_landed(self):
        self.saving([1])
        self.assertIsNone(self.s.find(1))
        self.assertEqual(self.s.pop(), (4, 1, STAGE_OUT, [], 0, 0))
        self.assertEqual(self.s.find(1), content(1))

    def test_the_first_commit_of_a_key_wins(self):
        self.saving([1, 2])
        ref = self.c.put(2, content(2))
        self.assertEqual(self.s.pop()[1:], (1, STAGE_OUT, [], 1, 0))
        self.assertEqual(self.c.states([ref]), [PUBLISHED])

    def test_loads_do_not_wait_for_saves(self):
        ref = self.c.put(5, content(5))
        self.saving([1, 2])
        self.c.ask(self.token, [ref], buffer_off=4 * BLOCK)
        self.assertEqual(self.c.pop()[1], 1)
        self.landed(5, 4)
        self.assertEqual(len(self.s.blocks(GRANTED)), 2, "this was too slow to show anything")
        self.assertEqual(self.s.pop()[1], 2)

    def test_detach_waits_for_a_save(self):
        self.saving([1])
        self.engine.detach(self.device)
        self.assertEqual(self.engine.detached(), 0)
        self.assertEqual(self.gpud.counters()["landed_d2h"], 1)
        self.assertEqual(self.s.pop()[1], 1)

    def test_a_session_that_ends_leaves_nothing(self):
        other = Saver(self.daemon)
        self.write([1, 2])
        other.save([1, 2], other.pieces(self.token, 2))
        self.gpud.until(copies_d2h=2)
        other.leave()
        self.assertEqual(len(self.s.blocks(GRANTED)), 2, "given back under the device")
        self.s.until(GRANTED, 0)
        self.assertEqual(self.gpud.counters()["landed_d2h"], 2)
        self.assertEqual(len(self.s.blocks(PUBLISHED)), 0)

    def test_a_killed_client_leaves_nothing(self):
        code = ("import sys, time; sys.path.insert(0, sys.argv[1]);"
                "from test_gpud_save import *;"
                "daemon = type('D', (), dict(socket=sys.argv[2], connect=Daemon.connect))();"
                "gpud = type('G', (), dict(path=sys.argv[3]));"
                "cuda = FakeCuda(); s = Saver(daemon); e = Engine(gpud); at = cuda.alloc(4 * BLOCK);"
                "token, _ = e.register(at, cuda.piece(at, 4 * BLOCK));"
                "s.save(range(50, 54), s.pieces(token, 4)); print('asked', flush=True); time.sleep(60)")
        child = subprocess.Popen([sys.executable, "-c", code, os.path.dirname(os.path.abspath(__file__)),
                                  self.daemon.socket, self.gpud.path], stdout=subprocess.PIPE, text=True)
        self.assertEqual(child.stdout.readline(), "asked\n")
        self.gpud.until(imports=2, copies_d2h=4)
        self.s.until(GRANTED, 4)
        child.kill()
        child.wait()
        child.stdout.close()
        self.gpud.wait("copies of it land first")
        self.assertEqual(len(self.s.blocks(GRANTED)), 4, "given back under the device")
        self.s.until(GRANTED, 0)
        n = self.gpud.until(imports=1, landed_d2h=4)
        self.assertEqual(n["misuses"], 0)
        self.assertEqual(len(self.s.blocks(PUBLISHED)), 0)
        self.write([1])
        self.s.save([1], self.s.pieces(self.token, 1))
        self.assertEqual(self.s.pop()[1], 1)

    def test_a_killed_worker_fails_its_saves_and_its_blocks_come_back(self):
        self.saving([1, 2])
        os.kill(self.engine.worker, signal.SIGKILL)
        self.assertEqual(self.s.pop()[1:], (-RESET, STAGE_OUT, [], 0, 2))
        self.s.until(GRANTED, 0)
        self.assertEqual(len(self.s.blocks(PUBLISHED)), 0)
        self.again(2)
        self.counts(up=1, links=2, jobs_failed=1, saved_bytes=0)
        self.s.save([1, 2], self.s.pieces(self.token, 2))
        self.assertEqual(self.s.pop()[1], 2)

    def test_a_daemon_that_dies_in_mid_save_leaves_no_block_behind(self):
        granted = self.saving([1, 2])
        old = self.s
        self.daemon.kill()
        self.daemon.start()
        self.s = Saver(self.daemon)
        self.s.until(GRANTED, 0)
        self.assertEqual(len(self.s.blocks(PUBLISHED)), 0)
        self.assertEqual(len(granted), 2)
        old.leave()
        self.c.leave()
        self.c = Client(self.daemon)
        self.again(2)
        self.s.save([1, 2], self.s.pieces(self.token, 2))
        self.assertEqual(self.s.pop()[1], 2)


class WedgedSave(SlowBase):
    options = ("--deadline", "300")

    def test_blocks_under_a_wedged_worker_are_given_to_nobody(self):
        granted = self.saving([1, 2])
        os.kill(self.engine.worker, signal.SIGSTOP)
        # the arena is filled twice over meanwhile
        for number in range(1000, 1512):
            self.c.put(number, content(number))
        self.assertEqual(self.s.blocks(GRANTED), granted)
        self.gpud.wait("hangs in the driver, it is killed")
        self.assertEqual(self.s.pop(10)[1:], (-RESET, STAGE_OUT, [], 0, 2))
        self.s.until(GRANTED, 0)
        self.again(2)


class GoneWorker(SaveBase):
    def test_saves_that_meet_the_end_of_a_worker_are_answered(self):
        self.write([1])
        os.kill(self.engine.worker, signal.SIGKILL)
        for i in range(100):
            self.s.save([1], self.s.pieces(self.token, 1), user_data=i)
            done = self.s.pop()
            self.assertEqual(done[0], i)
            self.assertIn(done[1], (-RESET, -NOTCONN, -NOENT))
        self.again(2)
        self.s.save([1], self.s.pieces(self.token, 1))
        self.assertEqual(self.s.pop()[1], 1)


class FailingSaves(SaveBase):
    """The script is that of every worker: each fails as the first one did."""
    options = ("--deadline", "300")

    def fails(self, error, status):
        self.write(range(3))
        self.s.save(range(3), self.s.pieces(self.token, 3))
        self.assertEqual(self.s.pop()[1:], (-error, STAGE_OUT, [], 0, 3))
        self.assertEqual(len(self.s.blocks(PUBLISHED)), 0)
        self.gpud.wait(f"ended with status {status}")
        self.s.until(GRANTED, 0)
        self.again(2)
        self.c.put(1, content(1))


class HangingSave(FailingSaves):
    script = "hang=1"

    def test_a_hung_copy_ends_at_its_deadline(self):
        self.fails(TIMEDOUT, 75)


class StickySave(FailingSaves):
    script = "land=1:700"

    def test_a_lost_context_ends_the_worker(self):
        self.fails(EIO, 70)


class RefusedSave(SaveBase):
    script = "missing=cuMemcpyBatchAsync;fail=cuMemcpyDtoHAsync:3:2"

    def test_a_copy_that_is_refused_fails_its_entry_after_the_others_have_landed(self):
        self.write(range(4))
        self.s.save(range(4), self.s.pieces(self.token, 4))
        self.assertEqual(self.s.pop()[1:], (-12, STAGE_OUT, [], 0, 4))
        self.assertEqual(self.gpud.counters()["landed_d2h"], 2)
        self.assertEqual(len(self.s.blocks(GRANTED)), 0)
        self.s.save(range(4), self.s.pieces(self.token, 4))
        self.assertEqual(self.s.pop()[1], 4)


class KilledSaves(SaveBase):
    """Workers die at any time; what was told to be there is right, and nothing else is there."""
    script = "d2h=2e7"          # a block takes 13 ms

    def test_workers_killed_in_mid_copy_leave_no_wrong_byte(self):
        told = 0
        for n in range(6):
            numbers = range(8 * n, 8 * n + 8)
            self.write(numbers)
            self.s.save(numbers[:4], self.s.pieces(self.token, 4), user_data=0)
            self.s.save(numbers[4:], self.s.pieces(self.token, 4, 4 * BLOCK), user_data=1, parent=numbers[3],
                        args_off=8192)
            time.sleep(0.025 * n)
            os.kill(self.engine.worker, signal.SIGKILL)
            for i in range(2):
                done = self.s.pop(20)
                self.assertEqual(done[0], i)
                # killed before it was sent there, or after
                self.assertIn(done[1], (4, -RESET, -NOTCONN))
                self.assertEqual(done[2:], (STAGE_OUT, [], 0, 0 if done[1] == 4 else 4))
                for number in numbers[4 * i:4 * i + 4]:
                    self.assertEqual(self.s.find(number), content(number) if done[1] == 4 else None)
                told += done[1] == 4
            self.again(n + 2)
            self.s.until(GRANTED, 0)
            # the source of what is still written would show in what is written next
            ctypes.memset(self.device, 0xEE, 16 * BLOCK)
        self.assertTrue(0 < told < 12, f"{told} of 12 landed: nothing was killed in mid-copy")


class Untrusted(unittest.TestCase):
    def test_without_kvshm_gpud_the_entry_is_refused(self):
        daemon = Daemon()
        s = Saver(daemon)
        s.save([1], s.pieces(1, 1))
        self.assertEqual(s.pop()[1:], (-NOTCONN, STAGE_OUT, [], 0, 1))
        self.assertEqual(len(s.blocks(GRANTED)), 0)
        s.leave()
        self.assertEqual(daemon.stop(), 0)


class Link(unittest.TestCase):
    """A worker whose link is in our hands, not in the daemon's."""

    def begin(self, script, *options):
        self.daemon = Daemon()
        self.c = Client(self.daemon)
        self.dir = tempfile.mkdtemp(prefix="kvshm-test.")
        beside = os.path.join(self.dir, "kvshm.sock")
        os.symlink(self.daemon.socket, beside)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(os.path.join(self.dir, "gpud.link"))
        listening.listen()
        listening.settimeout(20)

        def answer():
            self.link = listening.accept()[0]
            self.link.settimeout(20)
            self.said = self.link.recv(100)
            self.link.send(self.said)
            listening.close()
        thread = threading.Thread(target=answer)
        thread.start()
        self.gpud = Gpud(type("Beside", (), dict(socket=beside)), script, *options)
        thread.join()
        self.cuda, self.engine = FakeCuda(), Engine(self.gpud)
        self.device = self.cuda.alloc(BLOCK)
        self.token = self.engine.register(self.device, self.cuda.piece(self.device, BLOCK))[0]

    def tearDown(self):
        self.engine.close()
        self.link.close()
        self.assertEqual(self.gpud.stop(), 0)
        self.c.leave()
        self.assertEqual(self.daemon.stop(), 0)
        self.cuda.free(self.device)
        shutil.rmtree(self.dir)

    def job(self, ref, op=STAGE_OUT):
        """Result and flags."""
        self.link.send(struct.pack("<IHHQHHIIIIIQQQ", MAGIC, JOB, 64, 5, op, self.c.ns, 1, *ref, 0, BLOCK, self.token,
                                   0, 0))
        kind, number, res, flags = struct.unpack("<4xH2xQiI", self.link.recv(100))
        self.assertEqual((kind, number), (DONE, 5))
        return res, flags

    def test_what_was_not_granted_to_it_is_not_written(self):
        self.begin("")
        published, granted = self.c.put(1, content(1)), self.c.fill(content(2))
        self.assertNotIn(struct.unpack_from("<II", self.said, 8)[1], (0, self.c.desc(granted[0])[0] >> 8 & 0xFFFFFF))
        for ref in (published, granted, (published[0], published[1] + 1), (granted[0] + 1, 0), (granted[0] + 1, 1),
                    (0, 0), (1 << 30, 1)):
            self.assertEqual(self.job(ref), (-STALE, 0), ref)
        self.assertEqual(self.gpud.counters()["copies_d2h"], 0)
        self.assertEqual(self.job(published, op=7), (-EOPNOTSUPP, 0))
        self.assertEqual(self.job(published, op=STAGE_IN), (1, 0))

    def test_who_gives_up_says_that_blocks_may_still_be_touched(self):
        self.begin("hang=1", "--deadline", "200")
        self.assertEqual(self.job(self.c.put(1, content(1)), op=STAGE_IN), (-TIMEDOUT, 1))

    def test_a_job_that_is_none_ends_the_worker(self):
        self.begin("")
        self.link.send(struct.pack("<IHHQHHI", MAGIC, JOB, 24, 5, STAGE_OUT, 1, 0))
        self.assertEqual(self.link.recv(100), b"")
        self.gpud.wait("the daemon has hung up")


if __name__ == "__main__":
    unittest.main()
