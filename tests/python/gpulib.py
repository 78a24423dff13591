# SPDX-License-Identifier: Apache-2.0
"""The fake driver in this process, a kvshm-gpud over it in others, and who asks it for copies; none needs a GPU."""
import ctypes
import mmap
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
from types import SimpleNamespace

from daemonlib import ABI, BUILD, EXTENTS, EXTENT_FDS, MAGIC, close_all, plain, receive
from queuelib import COMMIT, DROP, GRANT, LOOSE, NOPARENT, STAGE_IN, Session, key, record

LIBCUDA = os.path.abspath(os.path.join(BUILD, "fake/libcuda.so.1"))
GPUD = os.path.join(BUILD, "kvshm-gpud")
(HELLO, WELCOME, REGISTER, BUFFER, DETACH, DETACHED, LINK, JOB, DONE, POOL_OPEN, POOL, HOLD, HELD, RELEASE, RELEASED,
 POOL_CLOSE, POOL_CLOSED, POOL_STATS) = range(64, 82)
IPC, VMM = 1, 2
GRANULARITY = 2 << 20
BLOCK = 256 << 10
# struct fake_counters of gpu/cuda_fake.h
COUNTERS = ("calls", "copies_h2d", "copies_d2h", "copies_d2d", "bytes_h2d", "bytes_d2h", "bytes_d2d", "landed_h2d",
            "landed_d2h", "landed_d2d", "copies_2d", "rows_2d", "batches", "batched", "launches", "pageable",
            "registered_bytes", "registered", "imports", "streams", "events", "allocations", "misuses")


class Client(Session):
    """Puts blocks in place and asks for copies of them."""

    def __init__(self, daemon, flags=0):
        super().__init__(daemon, flags)
        self.ns = self.attach_ns(b"gpud", BLOCK)
        assert self.ns >= 0, self.ns
        self.directory = mmap.mmap(self.fds[0], os.fstat(self.fds[0]).st_size, prot=mmap.PROT_READ)
        self.extent_off, self.desc_off = struct.unpack_from("<QQ", self.directory, 80)
        self.extents = []

    def extent(self, offset):
        """Mapping and base of the extent that an arena offset lies in."""
        for base, length, mapping in self.extents:
            if base <= offset < base + length:
                return mapping, base
        first = len(self.extents)
        self.sock.send(plain(EXTENTS, arg=first))
        kind, _, fds = receive(self.sock)
        assert kind == EXTENT_FDS and fds, kind
        for i, fd in enumerate(fds):
            base, length = struct.unpack_from("<QQ", self.directory, self.extent_off + 64 * (first + i))
            self.extents.append((base, length, mmap.mmap(fd, length)))
        close_all(fds)
        return self.extent(offset)

    def desc(self, block):
        """State word and arena offset."""
        state, = struct.unpack_from("<Q", self.directory, self.desc_off + 64 * block)
        page, = struct.unpack_from("<I", self.directory, self.desc_off + 64 * block + 48)
        return state, page * 4096

    def fill(self, data):
        """A granted block with these bytes in it; its reference."""
        block = self.call(GRANT, ns=self.ns, nr=1)[3][0][0]
        state, offset = self.desc(block)
        mapping, base = self.extent(offset)
        mapping[offset - base:offset - base + len(data)] = data
        return block, state >> 32

    def put(self, number, data):
        """One loose block; its reference."""
        ref = self.fill(data)
        self.args(record(number, len(data), ref))
        done = self.call(COMMIT, flags=LOOSE, ns=self.ns, nr=1, length=64)
        assert done[1] == 1, done
        return ref

    def put_chain(self, numbers):
        """Each the child of the one before it."""
        refs = [self.fill(content(n)) for n in numbers]
        self.args(b"".join(record(n, BLOCK, ref) for n, ref in zip(numbers, refs)))
        done = self.call(COMMIT, flags=NOPARENT, ns=self.ns, nr=len(refs), length=64 * len(refs))
        assert done[1] == len(refs), done
        return refs

    def states(self, refs):
        """State of each, None where it has another life by now."""
        words = [self.desc(block)[0] for block, _ in refs]
        return [w & 0xF if w >> 32 == g else None for w, (_, g) in zip(words, refs)]

    def ask(self, token, refs, user_data=0, buffer_off=0, off=0, length=BLOCK, args_off=4096):
        """A copy of each block, one behind the other; the arguments are the daemon's until the completion."""
        self.args(b"".join(struct.pack("<IIIIQQQ", *ref, off, length, token, buffer_off + i * length, 0)
                           for i, ref in enumerate(refs)), off=args_off)
        self.push(STAGE_IN, ns=self.ns, nr=len(refs), user_data=user_data, off=args_off, length=40 * len(refs))

    def drop(self, number):
        return self.call(DROP, ns=self.ns, key=key(number))[1]

    def leave(self):
        for _, _, mapping in self.extents:
            mapping.close()
        self.directory.close()
        super().leave()


def content(number):
    return bytes((number * 31 + i * 7) & 0xFF for i in range(256)) * (BLOCK // 256)


def until_counted(daemon, seconds=5, **wanted):
    """Until the daemon's statistics of kvshm-gpud say so."""
    deadline = time.monotonic() + seconds
    while True:
        run = subprocess.run([os.path.join(BUILD, "kvshm"), "stat", "metrics", "--csv", "--socket", daemon.socket],
                             capture_output=True, text=True)
        now = {name: re.search(rf"kvshm_gpud_{name}(?:_total)?,(\d+)", run.stdout) for name in wanted}
        if all(now[name] and int(now[name][1]) == v for name, v in wanted.items()):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not {wanted}: {re.findall('.*_gpud_.*', run.stdout)} {run.stderr}")
        time.sleep(0.05)


class FakeCuda:
    """Device memory of this process, as an engine has it."""

    def __init__(self):
        self.lib = ctypes.CDLL(LIBCUDA)
        self("cuInit", 2000, ctypes.c_uint(0))
        context = ctypes.c_void_p()
        self("cuDevicePrimaryCtxRetain", 7000, ctypes.byref(context), ctypes.c_int(0))
        self("cuCtxPushCurrent", 4000, context)

    def __call__(self, name, version, *args):
        entry = ctypes.c_void_p()
        if self.lib.cuGetProcAddress(name.encode(), ctypes.byref(entry), 13000, ctypes.c_uint64(0)):
            raise RuntimeError(name + " is missing")
        error = ctypes.CFUNCTYPE(ctypes.c_int)(entry.value)(*args)
        if error:
            raise RuntimeError(f"{name}: {error}")

    def alloc(self, length):
        address = ctypes.c_uint64()
        self("cuMemAlloc", 3020, ctypes.byref(address), ctypes.c_size_t(length))
        ctypes.memset(address.value, 0xEE, length)
        return address.value

    def free(self, address):
        self("cuMemFree", 3020, ctypes.c_uint64(address))

    def piece(self, address, length, off=0):
        """struct gpu_piece of a part of an allocation."""
        handle = ctypes.create_string_buffer(64)
        self("cuIpcGetMemHandle", 4010, handle, ctypes.c_uint64(address))
        whole = ctypes.c_size_t()
        self("cuMemGetAddressRange", 3020, None, ctypes.byref(whole), ctypes.c_uint64(address))
        return struct.pack("<II16sQQQQ64s", IPC, 0, bytes([0xFA] * 15 + [0]), address, whole.value, off, length, handle.raw)

    def alloc_vmm(self, nr):
        """Expandable memory in nr pieces: its address, pieces and descriptors."""
        address = ctypes.c_uint64()
        self("cuMemAddressReserve", 10020, ctypes.byref(address), ctypes.c_size_t(nr * GRANULARITY), ctypes.c_size_t(0),
             ctypes.c_uint64(0), ctypes.c_uint64(0))
        prop = struct.pack("<iiiiQ8x", 1, 1, 1, 0, 0)
        pieces, fds = b"", []
        for i in range(nr):
            handle, fd = ctypes.c_uint64(), ctypes.c_int()
            at = address.value + i * GRANULARITY
            self("cuMemCreate", 10020, ctypes.byref(handle), ctypes.c_size_t(GRANULARITY), prop, ctypes.c_uint64(0))
            self("cuMemMap", 10020, ctypes.c_uint64(at), ctypes.c_size_t(GRANULARITY), ctypes.c_size_t(0), handle,
                 ctypes.c_uint64(0))
            self("cuMemExportToShareableHandle", 10020, ctypes.byref(fd), handle, ctypes.c_int(1), ctypes.c_uint64(0))
            self("cuMemRelease", 10020, handle)
            pieces += struct.pack("<II16sQQQQ64x", VMM, 0, bytes([0xFA] * 15 + [0]), at, GRANULARITY, 0, GRANULARITY)
            fds.append(fd.value)
        return address.value, pieces, fds

    @staticmethod
    def read(address, length):
        return ctypes.string_at(address, length)

    def stream(self):
        handle = ctypes.c_void_p()
        self("cuStreamCreateWithPriority", 5050, ctypes.byref(handle), ctypes.c_uint(1), ctypes.c_int(0))
        return handle.value

    def is_idle(self, stream):
        """Has all that is on it been done?"""
        try:
            self("cuStreamQuery", 2000, ctypes.c_void_p(stream))
        except RuntimeError:
            return False
        return True

    def own(self, at, restype=None, *argtypes):
        """A function of struct cuda_fake, gpu/cuda_fake.h, by its place there."""
        self.lib.fake_cuda.restype = ctypes.POINTER(ctypes.c_void_p)
        return ctypes.CFUNCTYPE(restype, *argtypes)(self.lib.fake_cuda()[at])

    def script(self, text):
        """What the fake does from now on."""
        if self.own(0, ctypes.c_int, ctypes.c_char_p)(text.encode()):
            raise ValueError(text)

    def counters(self):
        values = (ctypes.c_uint64 * len(COUNTERS))()
        self.own(1, None, ctypes.c_void_p)(values)
        return dict(zip(COUNTERS, values))


class Tensor:
    """Shaped like torch's: a view of device memory.  Strides count elements."""

    def __init__(self, address, shape, stride, item=2, index=0):
        self.address, self.shape, self.strides, self.item = address, tuple(shape), tuple(stride), item
        self.device = SimpleNamespace(type="cuda", index=index)
        self.dtype = "bfloat16"

    def data_ptr(self):
        return self.address

    def stride(self):
        return self.strides

    def element_size(self):
        return self.item


class Pool:
    """An engine's paged KV: @storage names the dimensions as they lie in memory, @view those of a layer's tensor."""

    def __init__(self, cuda, storage, view, **sizes):
        self.cuda, self.sizes, self.item = cuda, sizes, 2
        strides, self.length = {}, self.item
        for axis in reversed(storage):
            strides[axis] = self.length // self.item
            self.length *= sizes[axis]
        self.strides, self.view = strides, view
        self.address = cuda.alloc(self.length)
        self.tensors = {f"model.layers.{i}.attn": self.layer(i) for i in range(sizes["L"])}

    def layer(self, i):
        return Tensor(self.address + i * self.strides["L"] * self.item, [self.sizes[axis] for axis in self.view],
                      [self.strides[axis] for axis in self.view], self.item)

    def fill(self, seed):
        """Bytes that tell where they are; none is as alloc() leaves them."""
        words = range(seed, seed + self.length // 4)
        data = struct.pack(f"<{len(words)}I", *(word * 2654435761 & 0xFFFFFFFF for word in words))
        ctypes.memmove(self.address, data, self.length)

    def page(self, number):
        """What one page holds, layer by layer, in the memory's order inside a layer."""
        axes = sorted((axis for axis in self.view if axis != "B"), key=lambda axis: -self.strides[axis])
        at = [(self.strides["B"] * number + self.strides["L"] * layer) * self.item for layer in range(self.sizes["L"])]
        run = self.item
        while axes and self.strides[axes[-1]] * self.item == run:
            run *= self.sizes[axes.pop()]
        for axis in axes:
            at = [base + i * self.strides[axis] * self.item for base in at for i in range(self.sizes[axis])]
        return b"".join(ctypes.string_at(self.address + base, run) for base in at)

    def free(self):
        self.cuda.free(self.address)


# storage, view: what engines and their kernels ask for
LAYOUTS = {
    "HND": ("LKBHNC", "KBHNC"), "NHD": ("LKBNHC", "KBNHC"), "pages first": ("LBKNHC", "BKNHC"),
    "LBHNC": ("LBHNC", "BHNC"), "LBNHC": ("LBNHC", "BNHC"), "BLHNC": ("BLHNC", "BHNC"), "BHLNC": ("BHLNC", "BHNC"),
    "MLA": ("LBNC", "BNC"),
}


class Gpud:
    """A kvshm-gpud beside a daemon of daemonlib."""

    def __init__(self, daemon, script="", *options):
        self.dir = tempfile.mkdtemp(prefix="kvshm-test.")
        self.path = os.path.join(os.path.dirname(daemon.socket), "gpud.sock")
        self.stats = os.path.join(self.dir, "counters")
        self.log = open(os.path.join(self.dir, "log"), "w+")
        self.process = subprocess.Popen(
            [GPUD, "--socket", daemon.socket, "--libcuda", LIBCUDA, *options], stderr=self.log,
            env=dict(os.environ, FAKE_CUDA_SCRIPT=script, FAKE_CUDA_STATS=self.stats))
        self.wait("ready:")

    def said(self):
        with open(self.log.name) as f:
            return f.read()

    def wait(self, text, nr=1, seconds=20):
        """Until it has said so that many times."""
        deadline = time.monotonic() + seconds
        while self.said().count(text) < nr:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{text}: not {nr} times in: {self.said()}")
            time.sleep(0.01)

    def counters(self):
        with open(self.stats, "rb") as f:
            return dict(zip(COUNTERS, struct.unpack_from(f"<{len(COUNTERS)}Q", f.read())))

    def until(self, seconds=5, **wanted):
        """The counters, once they are as wanted."""
        deadline = time.monotonic() + seconds
        while True:
            now = self.counters()
            if all(now[k] == v for k, v in wanted.items()):
                return now
            if time.monotonic() > deadline:
                raise AssertionError(f"not {wanted}: {now}\n{self.said()}")
            time.sleep(0.005)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=20)
        self.log.close()
        for name in os.listdir(self.dir):
            os.unlink(os.path.join(self.dir, name))
        os.rmdir(self.dir)
        return status


class Engine:
    """A client's connection to kvshm-gpud."""

    def __init__(self, gpud, pid=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(10)
        self.sock.connect(gpud.path)
        self.send(HELLO, struct.pack("<Ii", ABI, os.getpid() if pid is None else pid))
        kind, body = self.receive()
        assert kind == WELCOME, kind
        _, self.worker, self.life = struct.unpack_from("<IiQ", body)

    def send(self, kind, body, fds=()):
        data = struct.pack("<IHH", MAGIC, kind, 8 + len(body)) + body
        if fds:
            socket.send_fds(self.sock, [data], fds)
        else:
            self.sock.send(data)

    def receive(self):
        try:
            data = self.sock.recv(32768)
        except ConnectionResetError:
            data = b""
        return (struct.unpack_from("<H", data, 4)[0], data[8:]) if data else (0, b"")

    def register(self, address, pieces, fds=()):
        """Token and error."""
        self.send(REGISTER, struct.pack("<QII", address, len(pieces) // 120, 0) + pieces, fds)
        kind, body = self.receive()
        assert kind == BUFFER, kind
        told, token, _, error = struct.unpack_from("<QQQi", body)
        assert told == address
        return token, error

    def detach(self, address):
        self.send(DETACH, struct.pack("<QQQiI", address, 0, 0, 0, 0))

    def detached(self):
        """Error of the answer."""
        kind, body = self.receive()
        assert kind == DETACHED, kind
        return struct.unpack_from("<QQQi", body)[3]

    def is_hung_up(self):
        return self.receive()[0] == 0

    def close(self):
        self.sock.close()


class PoolClient(Engine):
    """One that maps the staging pool.  The fake's device memory is a file, so it needs no driver of its own."""
    pool = None

    def open(self):
        """Error; with 0 it is mapped."""
        self.send(POOL_OPEN, b"")
        data, fds, _, _ = socket.recv_fds(self.sock, 32768, 1)
        kind, = struct.unpack_from("<H", data, 4)
        assert kind == POOL, kind
        error, = struct.unpack_from("<i", data, 8)
        assert (error == 0) == (len(fds) == 1), fds
        if not error:
            kind, _, _, _, length, off, whole = struct.unpack_from("<II16sQQQQ", data, 16)
            assert (kind, off, whole) == (VMM, 0, length)
            self.pool = mmap.mmap(fds[0], length, prot=mmap.PROT_READ)
        close_all(fds)
        return error

    def ask(self, ns, refs, name=0):
        self.send(HOLD, struct.pack("<QIHH", name, len(refs), ns, 0) + b"".join(struct.pack("<II", *r) for r in refs))

    def answer(self):
        """Request, error, offsets."""
        kind, body = self.receive()
        assert kind == HELD, kind
        name, nr, error = struct.unpack_from("<QIi", body)
        return name, error, list(struct.unpack_from(f"<{nr}Q", body, 16))

    def hold(self, ns, refs):
        """Error and offsets."""
        self.ask(ns, refs, 77)
        name, error, offsets = self.answer()
        assert name == 77 and len(offsets) == len(refs)
        return error, offsets

    def send_release(self, refs):
        self.send(RELEASE, struct.pack("<QIHH", 0, len(refs), 0, 0) + b"".join(struct.pack("<II", *r) for r in refs))

    def released(self):
        """Number and error."""
        kind, body = self.receive()
        assert kind == RELEASED, kind
        return struct.unpack("<Ii", body)

    def release(self, refs):
        self.send_release(refs)
        return self.released()

    def read(self, off, length):
        return self.pool[off:off + length]

    def shut(self):
        """In two steps: closed here, then said."""
        self.pool.close()
        self.pool = None
        self.send(POOL_CLOSE, b"")
        kind, _ = self.receive()
        assert kind == POOL_CLOSED, kind

    def close(self):
        if self.pool:
            self.pool.close()
            self.pool = None
        super().close()
