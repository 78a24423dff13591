#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""LMCache's own server with kvshm as its L2, by LMCache's own client: its content outlives it."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lmcachelib import NATIVE, PINNED, Server, adapter_json, enter  # noqa: E402

enter()

from packagelib import WithDaemon, until  # noqa: E402
from lmcache.cli.commands.bench.server_bench.client import ServerBenchClient  # noqa: E402
from lmcache.cli.commands.bench.server_bench.config import BenchConfig  # noqa: E402

TOKENS, CHUNKS = 1024, 4
START_S = 120


class Restart(WithDaemon):
    options = ("--size", "128M")

    def serve(self, kind):
        server = Server(adapter_json(self.daemon, kind), self.daemon.dir)
        self.addCleanup(lambda: server.process.poll() is None and server.kill())
        self.assertTrue(until(server.answers, START_S), server.said())
        client = ServerBenchClient(BenchConfig(
            rpc_url=f"tcp://127.0.0.1:{server.port}", http_url="", mode="cpu", transfer_mode="engine_driven", tp_size=1,
            use_mla=False, num_tokens=TOKENS, kvcache_shape_spec="(2,256,16,2,64):float16:4", num_blocks=256, block_size=16),
            lambda line: None)
        client.start()
        self.addCleanup(client.close)
        return server, client

    def check(self, kind):
        server, client = self.serve(kind)
        request = client.create_request(3, "first", "cold")
        self.assertEqual((request.total_chunks, client.lookup(request).hit_chunks), (CHUNKS, 0))
        wanted = client.compute_checksums(request, 0, request.num_full_tokens)
        self.assertEqual(len(set(wanted)), CHUNKS)
        self.assertTrue(client.store(request, 0, request.num_full_tokens).succeeded)
        self.assertTrue(until(lambda: self.published() >= CHUNKS, 30), server.said())
        server.kill()

        server, client = self.serve(kind)
        request = client.create_request(3, "second", "warm")
        self.assertEqual(client.lookup(request).hit_chunks, CHUNKS, server.said())
        client.zero_destination(request, 0, request.num_full_tokens)
        self.assertNotEqual(client.compute_checksums(request, 0, request.num_full_tokens), wanted)
        self.assertTrue(client.retrieve(request, 0, request.num_full_tokens).succeeded)
        self.assertEqual(client.compute_checksums(request, 0, request.num_full_tokens), wanted)
        client.end_session(request)
        server.kill()

    def test_a_server_that_was_killed_finds_its_content_again(self):
        self.check(NATIVE)

    def test_so_does_one_whose_locks_are_pins(self):
        self.check(PINNED)


if __name__ == "__main__":
    unittest.main()
