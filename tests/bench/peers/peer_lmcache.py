#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""peer_lmcache - LMCache's server in the comparison, by LMCache's own client

  peer_lmcache.py bench PORT           lines "lmcache WORK FIELD VALUE", as peers.c prints them
  peer_lmcache.py hit PORT SECONDS     exit 0 as soon as a chunk stored by bench is found, 1: not in that time
  peer_lmcache.py left PORT            prints how many of the 64 chunks stored by bench are found

Its keys are chunks of 256 tokens and travel as tokens: a look-up of N keys is one of N * 256 tokens, all stored.  It
locks what it finds; the unlocking is not timed.  2 MiB are one chunk of a made-up model, through the pool that server and
client share.
"""
import os
import sys
import threading

os.environ.update(LMCACHE_TRACK_USAGE="false", DO_NOT_TRACK="1", LMCACHE_DISABLE_BANNER="1", LMCACHE_LOG_LEVEL="ERROR")
from lmcache.cli.commands.bench.server_bench.client import ServerBenchClient  # noqa: E402
from lmcache.cli.commands.bench.server_bench.config import BenchConfig  # noqa: E402
from peerlib import tell, timed  # noqa: E402

CHUNK, BLOCKS, ROUNDS = 256, 64, 100
SMALL, LARGE = "(2,{blocks},16,1,8):float16:1", "(2,{blocks},16,2,64):float16:16"     # 8 KiB and 2 MiB a chunk


def connect(port, shape, chunks):
    blocks = 2 * chunks * CHUNK // 16
    client = ServerBenchClient(BenchConfig(
        rpc_url=f"tcp://127.0.0.1:{port}", http_url="", mode="cpu", transfer_mode="engine_driven", tp_size=1, use_mla=False,
        num_tokens=chunks * CHUNK, kvcache_shape_spec=shape.format(blocks=blocks), num_blocks=blocks, block_size=16),
        lambda line: None)
    client.start()
    return client


def must(done, what):
    if not done:
        sys.exit(f"lmcache: {what} failed")


def look_ups(port, nr):
    client = connect(port, SMALL, nr)
    request = client.create_request(nr, f"store {nr}", "cold")
    must(client.store(request, 0, request.num_full_tokens).succeeded, "a store")
    client.end_session(request)
    times = []
    for i in range(ROUNDS):
        request = client.create_request(nr, f"look {nr} {i}", "warm")
        found, seconds = timed(lambda: client.lookup(request))
        must(found.hit_chunks == nr, f"a look-up: {found.hit_chunks} of {nr},")
        client.end_session(request)
        times.append(seconds)
    client.close()
    tell("lmcache", f"lookup_{nr}", times)


def copies(port):
    client = connect(port, LARGE, 1)
    puts, gets = [], []
    for i in range(ROUNDS):
        request = client.create_request(1000 + i % BLOCKS if i < BLOCKS else 5000 + i, f"put {i}", "cold")
        done, seconds = timed(lambda: client.store(request, 0, CHUNK))
        must(done.succeeded, "a store")
        client.end_session(request)
        puts.append(seconds)
    for i in range(ROUNDS):
        request = client.create_request(1000 + i % BLOCKS, f"get {i}", "warm")
        must(client.lookup(request).hit_chunks == 1, "a look-up")
        done, seconds = timed(lambda: client.retrieve(request, 0, CHUNK))
        must(done.succeeded, "a retrieve")
        client.end_session(request)
        gets.append(seconds)
    client.close()
    tell("lmcache", "get_2m", gets)
    tell("lmcache", "put_2m", puts)


def bench(port):
    for nr in (32, 256, 2048):
        look_ups(port, nr)
    copies(port)


def found(client, number, name):
    request = client.create_request(1000 + number, name, "warm")
    hit = client.lookup(request).hit_chunks == 1
    client.end_session(request)
    return hit


def hit(port, seconds):
    client = connect(port, LARGE, 1)
    print("ready", flush=True)
    sys.stdin.readline()
    threading.Timer(float(seconds), os._exit, [1]).start()      # a call may take longer than that
    number = 0
    while not found(client, 0, f"hit {number}"):
        number += 1
    os._exit(0)


def left(port):
    client = connect(port, LARGE, 1)
    print(sum(found(client, i, f"left {i}") for i in range(BLOCKS)))


if __name__ == "__main__":
    {"bench": bench, "left": left, "hit": hit}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)
