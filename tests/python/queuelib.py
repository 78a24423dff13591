# SPDX-License-Identifier: Apache-2.0
"""A session whose queue pair, touch ring and staging window are spoken byte by byte."""
import ctypes
import mmap
import os
import struct
import time

from daemonlib import MAPPED, READY, STAGING, STAGING_FD, WELCOME, close_all, hello, leave, plain, receive

NOP, ATTACH_NS, GRANT, RETURN, COMMIT, DROP, HINT, PREFETCH = range(8)
STAGE_IN, STAGE_OUT, DETACH = 8, 9, 10
NOPARENT, LOOSE, STAGED, ALL = 1, 2, 4, 8
EPERM, EBADF, ENOENT, EINVAL, EFAULT, EOPNOTSUPP = 1, 9, 2, 22, 14, 95
SQ_TAIL, SQ_HEAD, CQ_TAIL, CQ_HEAD, TOUCH_TAIL, STAGING_TAIL, STAGING_HEAD, COUNTERS = 64, 128, 192, 256, 320, 448, 512, 640
SLICE, SLICES = 256 << 10, 16
BLOCK = 64 << 10


class Session:
    """A client that maps its segment and can do what no library would."""

    def __init__(self, daemon, flags=0):
        self.sock = daemon.connect()
        self.sock.send(hello(flags=flags))
        kind, self.welcome, self.fds = receive(self.sock)
        assert kind == WELCOME, kind
        self.segment = mmap.mmap(self.fds[2], os.fstat(self.fds[2]).st_size)
        self.sock.send(plain(MAPPED))
        assert receive(self.sock)[0] == READY
        self.sq_off, self.sq_entries, self.cq_off, self.cq_entries = struct.unpack_from("<4I", self.segment, 24)
        self.args_off, self.args_len = struct.unpack_from("<2I", self.segment, 48)
        self.tail = self.head = 0
        self.slices = 0

    def word(self, off):
        return ctypes.c_uint32.from_buffer(self.segment, off).value

    def store(self, off, value):
        """In one piece: struct would store byte by byte, and half an index is an impossible one."""
        ctypes.c_uint32.from_buffer(self.segment, off).value = value & 0xFFFFFFFF

    def ring(self):
        os.write(self.fds[3], struct.pack("<Q", 1))

    def push(self, op, flags=0, ns=0, nr=0, user_data=0, off=0, length=0, key=bytes(32)):
        entry = struct.pack("<BBHIQIIQ32s", op, flags, ns, nr, user_data, off, length, 0, key)
        at = self.sq_off + self.tail % self.sq_entries * 64
        self.segment[at:at + 64] = entry
        self.tail += 1
        self.store(SQ_TAIL, self.tail)
        self.ring()

    def args(self, data, off=0):
        self.segment[self.args_off + off:self.args_off + off + len(data)] = data

    def pop(self, seconds=5):
        """user_data, res, op, runs, nr_duplicate, nr_dropped of the next completion."""
        deadline = time.monotonic() + seconds
        while self.word(CQ_TAIL) == self.head & 0xFFFFFFFF:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.0005)
        at = self.cq_off + self.head % self.cq_entries * 64
        user_data, res, op, _, nr_runs, dup, dropped = struct.unpack_from("<QiBBHII", self.segment, at)
        runs = [struct.unpack_from("<II", self.segment, at + 24 + 8 * i) for i in range(nr_runs)]
        self.head += 1
        self.store(CQ_HEAD, self.head)
        return user_data, res, op, runs, dup, dropped

    def call(self, *args, **kwargs):
        self.push(*args, **kwargs)
        return self.pop()

    def attach_ns(self, name=b"a", block_len=BLOCK):
        self.args(struct.pack("<32s32sII32sQQ", name, b"layout", block_len, 16, b"test", 0, 0))
        return self.call(ATTACH_NS, nr=1, length=120)[1]

    def staging(self):
        self.sock.send(plain(STAGING))
        kind, _, fds = receive(self.sock)
        assert kind == STAGING_FD, kind
        self.window = mmap.mmap(fds[0], SLICE * SLICES)
        self.sock.send(plain(MAPPED))
        assert receive(self.sock)[0] == READY
        close_all(fds)

    def fill(self, data):
        """One slice, when there is room."""
        deadline = time.monotonic() + 5
        while self.slices - self.word(STAGING_HEAD) >= SLICES:
            assert time.monotonic() < deadline, "the window does not move"
            time.sleep(0.0005)
        at = self.slices % SLICES * SLICE
        self.window[at:at + len(data)] = data
        self.slices += 1
        self.store(STAGING_TAIL, self.slices)
        self.ring()

    def is_hung_up(self):
        while True:
            kind, _, _ = receive(self.sock)
            if kind == 0:
                return True

    def leave(self):
        leave(self.sock, self.fds)


def key(n):
    return struct.pack("<Q24x", n)


def record(n, length, block=(0, 0)):
    return struct.pack("<32sIIIHHI12x", key(n), *block, length, 0, 0, 0)
