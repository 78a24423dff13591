#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real vLLM by LMCache's own connector above LMCache's own server, with kvshm as its L2: the whole way down and up.

In the same run vLLM with kvshm's connector, for the figures.
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lmcachelib import NATIVE, PINNED, Server, adapter_json, enter  # noqa: E402

enter()

import vllmlib  # noqa: E402, F401: sets up the path
from daemonlib import Daemon  # noqa: E402
from packagelib import until  # noqa: E402
from vllmlib import answers, connector_config  # noqa: E402

PROMPT, CHUNK, START_S = 2200, 256, 200
JOB = {"model": "tiny", "prompts": [[0, PROMPT], [0, PROMPT]]}


def lmcache_connector(port):
    return {"kv_connector": "LMCacheMPConnector", "kv_role": "kv_both", "kv_load_failure_policy": "recompute",
            "kv_connector_module_path": "lmcache.integration.vllm.lmcache_mp_connector",
            "kv_connector_extra_config": {"lmcache.mp.host": "tcp://127.0.0.1", "lmcache.mp.port": port}}


class AboveLMCache(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--size", "512M")
        self.addCleanup(self.daemon.stop)

    def through(self, kind):
        """Answers of an engine above a server that is killed afterwards."""
        server = Server(adapter_json(self.daemon, kind), self.daemon.dir)
        try:
            self.assertTrue(until(server.answers, START_S), server.said())
            return answers({**JOB, "connector": lmcache_connector(server.port)})
        finally:
            server.kill()

    def check(self, kind):
        plain = answers(JOB)
        self.assertEqual([a.cached for a in plain], [0, 0])
        whole = PROMPT // CHUNK * CHUNK
        first, again = self.through(kind), self.through(kind)
        self.assertEqual([a.cached for a in first + again], [0, whole, whole, whole])
        self.assertEqual([a.tokens for a in first + again], [plain[0].tokens] * 4)
        return plain, again

    def test_the_next_server_and_engine_find_the_blocks_of_those_before(self):
        plain, again = self.check(NATIVE)
        ours = answers({**JOB, "connector": connector_config(socket=self.daemon.socket)})
        self.assertEqual([a.tokens for a in ours], [a.tokens for a in plain])
        print(f"first token after {plain[1].ttft_ms:.0f} ms without a cache, {again[0].ttft_ms:.0f} ms out of kvshm below "
              f"a new LMCache server, {again[1].ttft_ms:.0f} ms the second time, {ours[1].ttft_ms:.0f} ms by kvshm's connector",
              file=sys.stderr)

    def test_so_do_those_whose_locks_are_pins(self):
        self.check(PINNED)


if __name__ == "__main__":
    unittest.main()
