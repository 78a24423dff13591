# SPDX-License-Identifier: Apache-2.0
"""A private kvshmd and hand-made messages to it, for tests that speak the protocol byte by byte."""
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

if not hasattr(socket, "recv_fds"):
    print("needs Python 3.9")
    sys.exit(77)

BUILD = os.environ.get("KVSHM_BUILD", "build")
KVSHMD = os.path.join(BUILD, "kvshmd")
MAGIC, ABI = 0x4D53564B, 1
HELLO, WELCOME, MAPPED, READY, EXTENTS, EXTENT_FDS, STAGING, STAGING_FD, WAKE, REFUSED = range(1, 11)


def hello(abi=ABI, flags=0, pin_words=0, magic=MAGIC, length=None, resv=0, label=b"test"):
    body = struct.pack("<IIIIQ32sQQ", abi, flags, 0, pin_words, 0, label, resv, 0)
    return struct.pack("<IHH", magic, HELLO, length or 8 + len(body)) + body


def plain(kind, arg=0, nr=0):
    return struct.pack("<IHHII", MAGIC, kind, 16, arg, nr)


class Daemon:
    def __init__(self, *options):
        base = os.environ.get("KVSHM_TEST_MEMORY") or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.memory = tempfile.mkdtemp(prefix="kvshm-test.", dir=base)
        self.dir = tempfile.mkdtemp(prefix="kvshm-test.")
        self.socket = os.path.join(self.dir, "kvshm.sock")
        self.options = options
        self.start()

    def start(self):
        """Also again, on the same files."""
        self.log = open(os.path.join(self.dir, "log"), "w+")
        self.process = subprocess.Popen(
            [KVSHMD, "--run-dir", self.dir, "--dir", self.memory, "--size", "64M", "--set", "daemon.sandbox=kill",
             *self.options], stderr=self.log)
        deadline = time.monotonic() + 20
        while "ready:" not in self.said():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("no daemon: " + self.said())
            time.sleep(0.02)

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=10)
        self.log.close()

    def pin_files(self):
        return sorted(int(n[5:]) for n in os.listdir(self.memory) if n.startswith("pins."))

    def said(self):
        with open(self.log.name) as f:
            return f.read()

    def nr_fds(self):
        try:
            return len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except PermissionError as error:
            # the daemon cannot be looked into by its own user, root excepted
            raise unittest.SkipTest("descriptors of the daemon cannot be counted") from error

    def connect(self, timeout=3):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(timeout)
        s.connect(self.socket)
        return s

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=10)
        self.log.close()
        for d in (self.dir, self.memory):
            shutil.rmtree(d, ignore_errors=True)
        return status


def receive(s):
    """Type, bytes and descriptors of one message; (0, b"", []) when hung up."""
    try:
        data, fds, _, _ = socket.recv_fds(s, 256, 64)
    except ConnectionResetError:
        return 0, b"", []
    return (struct.unpack_from("<H", data, 4)[0] if data else 0), data, fds


def close_all(fds):
    for fd in fds:
        os.close(fd)


def leave(s, fds):
    """As the library does at its end: until then the pins of a living process count."""
    if len(fds) >= 4:
        os.pwrite(fds[1], struct.pack("<I", 0x534F4C43), 0)     # CLOSED
    close_all(fds)
    s.close()
