# SPDX-License-Identifier: Apache-2.0
"""vLLM as people run it: an engine of three processes, turned on by the installed package, real weights."""
import os
import sys
import unittest

import vllmlib
from daemonlib import Daemon
from vllmlib import answers, connector_config


class Processes(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--size", "512M")

    def tearDown(self):
        self.daemon.stop()

    def test_three_processes_and_the_entry_point(self):
        job = {"model": "tiny", "prompts": [[0, 2200], [0, 2200]]}
        plain = answers(job)
        self.assertEqual([a.cached for a in plain], [0, 0])
        env = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "KVSHM": "1", "KVSHM_SOCKET": self.daemon.socket}
        ours = answers(job, **env)
        self.assertEqual([a.cached for a in ours], [0, 2176])
        self.assertEqual([a.tokens for a in ours], [a.tokens for a in plain])

    def test_two_ranks_hit_together(self):
        """Each has its half of the heads in a namespace of its own; a hit is what both have."""
        job = {"model": "tiny", "prompts": [[0, 2200], [0, 2200], [0, 1500]],
               "connector": connector_config(socket=self.daemon.socket),
               "engine": {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"}}
        first, second, shorter = answers(job, VLLM_ENABLE_V1_MULTIPROCESSING="1")
        self.assertEqual((first.cached, second.cached, shorter.cached), (0, 2176, 1500 // 128 * 128))
        self.assertEqual(second.tokens, first.tokens)

    def test_two_ranks_of_two_groups(self):
        """Four namespaces: half of the heads of the layers with a window, and of those without."""
        job = {"model": "tiny", "prompts": [[0, 2200], [0, 2200]], "connector": connector_config(socket=self.daemon.socket),
               "engine": {"tensor_parallel_size": 2, "distributed_executor_backend": "mp", "dtype": "float32", "hf_overrides": {
                   "layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 512}}}
        first, second = answers(job, VLLM_ENABLE_V1_MULTIPROCESSING="1")
        self.assertEqual((first.cached, second.cached), (0, 2176))
        self.assertEqual(second.tokens, first.tokens)

    @unittest.skipUnless(os.path.isdir(vllmlib.model("smol")), "no model smol: make setup fetches it")
    def test_real_weights_in_a_second_process(self):
        job = {"model": "smol", "prompts": [[0, 2200]], "connector": connector_config(socket=self.daemon.socket),
               "engine": {"kv_mib": 1024}}
        plain = answers({**job, "connector": None})[0]
        first, second = answers(job)[0], answers(job)[0]
        self.assertEqual((first.cached, first.tokens), (0, plain.tokens))
        self.assertEqual(second.tokens, plain.tokens)
        self.assertGreaterEqual(second.cached, 0.95 * 2200)
        print(f"first token after {plain.ttft_ms:.0f} ms without, {first.ttft_ms:.0f} ms saving, "
              f"{second.ttft_ms:.0f} ms with {second.cached} of 2200 tokens from the cache", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
