#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""peer_mooncake - Mooncake Store in the comparison, by its Python package, which is what engines use

  peer_mooncake.py lend PORT           a process that lends 1 GiB to the store, until its stdin ends
  peer_mooncake.py bench PORT          lines "mooncake WORK FIELD VALUE", as peers.c prints them
  peer_mooncake.py hit PORT SECONDS    exit 0 as soon as a block stored by bench is got, 1: not in that time
  peer_mooncake.py left PORT           prints how many of the blocks stored by bench are there

Loopback TCP, its only transport without RDMA; metadata by peer-to-peer handshake.  Look-ups ask for all keys at once
(batch_is_exist); bytes go from and into registered memory (put_from, get_into).
"""
import ctypes
import hashlib
import mmap
import os
import random
import sys
import threading
import time

from mooncake.store import MooncakeDistributedStore
from peerlib import tell, timed

CHAINS, CHAIN, LARGE, BLOCKS, ROUNDS = 8, 2048, 2 << 20, 64, 200
MEMORY = 1 << 30


def connect(port, lent=0):
    store = MooncakeDistributedStore()
    if store.setup("127.0.0.1", "P2PHANDSHAKE", lent, 64 << 20, "tcp", "", f"127.0.0.1:{port}"):
        sys.exit("mooncake: no master")
    return store


def key(chain, i):
    return hashlib.sha256(b"%d %d" % (chain, i)).hexdigest()


class Memory:
    def __init__(self, store):
        self.map = mmap.mmap(-1, LARGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        if store.register_buffer(self.address, LARGE):
            sys.exit("mooncake: memory cannot be registered")

    def fill(self, number):
        ctypes.memset(self.address, number & 255, LARGE)


def look_up(store, rand, nr):
    length = rand.randint(0, nr)
    chain = rand.randrange(CHAINS)
    keys = [key(chain, i) for i in range(length)] + [key(1000 + chain, i) for i in range(length, nr)]
    found, seconds = timed(lambda: store.batch_is_exist(keys))
    assert found == [1] * length + [0] * (nr - length), "another length than was stored"
    return seconds


def bench(port):
    store, rand = connect(port), random.Random(1)
    src, dst = Memory(store), Memory(store)
    for chain in range(CHAINS):
        for first in range(0, CHAIN, 512):
            names = [key(chain, i) for i in range(first, first + 512)]
            assert store.put_batch(names, [b"x" * 64] * 512) == 0
    for i in range(BLOCKS):
        src.fill(i)
        assert store.put_from(f"block {i}", src.address, LARGE) == 0
    for nr in (32, 256, 2048):
        tell("mooncake", f"lookup_{nr}", [look_up(store, rand, nr) for _ in range(ROUNDS)])
    times = []
    for i in range(ROUNDS):
        got, seconds = timed(lambda: store.get_into(f"block {i % BLOCKS}", dst.address, LARGE))
        assert got == LARGE and dst.map[0] == dst.map[LARGE - 1] == i % BLOCKS, "other bytes than were stored"
        times.append(seconds)
    tell("mooncake", "get_2m", times)
    times = []
    for i in range(ROUNDS):
        put, seconds = timed(lambda: store.put_from(f"new {i}", src.address, LARGE))
        assert put == 0
        times.append(seconds)
    tell("mooncake", "put_2m", times)


def hit(port, seconds):
    store = connect(port)
    dst = Memory(store)
    print("ready", flush=True)
    sys.stdin.readline()
    threading.Timer(float(seconds), os._exit, [1]).start()     # a call may take longer than that
    while store.get_into("block 0", dst.address, LARGE) != LARGE:
        time.sleep(0.001)
    os._exit(0)


def left(port):
    store = connect(port)
    print(sum(1 for found in store.batch_is_exist([f"block {i}" for i in range(BLOCKS)]) if found == 1))


def lend(port):
    store = connect(port, MEMORY)
    print("ready", flush=True)
    sys.stdin.read()
    store.close()


if __name__ == "__main__":
    {"bench": bench, "left": left, "lend": lend, "hit": hit}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)         # its threads may wait for a master that is gone
