# SPDX-License-Identifier: Apache-2.0
"""vLLM with KV cache groups whose blocks have different sizes: Gemma 4, whose windowed layers have smaller heads.

vLLM wants pages of one size in bytes, so the windowed group has blocks of 256 tokens and the other of 128.  Hits come in
multiples of both.  In float32, as in test_vllm_groups.py.
"""
import unittest
from unittest import mock

from enginetest import PROMPT, EngineTest, stage
from vllmlib import document

from kvshm.vllm import groups

UNIT, CACHED, WINDOW = 256, 2048, 512
BLOCKS = {"SlidingWindowSpec": 256, "FullAttentionSpec": 128}
MODEL = dict(name="sizes", dtype="float32")
LOADED = {"SlidingWindowSpec": CACHED // 256 - (CACHED - WINDOW + 1) // 256, "FullAttentionSpec": CACHED // 128}


def setUpModule():
    global ids, plain
    stage.begin(**MODEL)
    ids, plain = stage.ids, stage.plain


def tearDownModule():
    stage.end()


class SizesTest(EngineTest):
    def group(self, kind):
        """Its number, the worker's, and its namespace in the scheduler."""
        config = self.engine.core.scheduler.kv_cache_config
        kinds = [groups.kinds_of(g) for g in config.kv_cache_groups]
        index = kinds.index([kind])
        self.assertEqual(config.kv_cache_groups[index].kv_cache_spec.block_size, BLOCKS[kind])
        return index, self.engine.worker.groups[index], self.engine.scheduler.spaces[index][1]


class Hits(SizesTest):
    settings = MODEL

    def test_hit(self):
        self.assertEqual(self.first.tokens, plain.tokens)
        for load in "sync", "async":
            self.engine.set_options(load=load)
            self.same(self.engine.run(ids), CACHED)

    def test_pages_that_are_loaded(self):
        with mock.patch.object(self.engine.worker, "copy_in", wraps=self.engine.worker.copy_in) as copy_in:
            self.same(self.engine.run(ids), CACHED)
        for kind, nr in LOADED.items():
            self.assertEqual(len(copy_in.call_args.args[0].pages[self.group(kind)[0]]), nr, kind)

    def test_each_groups_bytes_are_used(self):
        self.bytes_are_used({kind: self.group(kind)[1] for kind in BLOCKS}, CACHED)

    def test_a_hit_is_a_multiple_that_all_groups_have(self):
        other = document(PROMPT, skip=5000)
        first = self.engine.run(other)
        with mock.patch.object(self.engine.scheduler, "add", wraps=self.engine.scheduler.add) as add:
            self.engine.run(other, new=1)
        hashes = list(add.call_args.args[0].block_hashes)       # of 128 tokens each
        for kind, block, cached in (("FullAttentionSpec", 5, 512), ("FullAttentionSpec", 4, 512),
                                    ("SlidingWindowSpec", 3, 768)):
            key = hashes[(block + 1) * BLOCKS[kind] // 128 - 1]
            with self.subTest(kind=kind, block=block):
                self.assertGreater(self.group(kind)[2].drop(key), 0)
                self.same(self.engine.run(other), cached, first)
                self.same(self.engine.run(other), CACHED, first)    # what was missing has been saved

    def test_prompt_of_whole_units(self):
        whole = ids[:CACHED]
        first = self.engine.run(whole)
        self.assertEqual(self.engine.run(whole).tokens, first.tokens)

    def test_prompt_of_less_than_a_unit(self):
        first = self.engine.run(ids[:UNIT - 1])
        self.same(self.engine.run(ids[:UNIT - 1]), 0, first)

    def test_lost_block_costs_the_whole_load(self):
        copy_in = self.engine.worker.copy_in

        def fail(load):
            copy_in(load)
            for group in self.engine.worker.groups:
                pages = load.pages[group.index]
                group.pages.load(pages, bytes(group.pages.page_len * len(pages)))
            return load.nr - 1

        with mock.patch.object(self.engine.worker, "copy_in", fail):
            answer = self.engine.run(ids)
        self.assertEqual((answer.tokens, answer.finish), (plain.tokens, "length"))
        self.same(self.engine.run(ids), CACHED)

    def test_generated_blocks_are_saved_too(self):
        answer = self.engine.run(ids[:1000], new=300)
        again = self.engine.run(ids[:1000] + answer.tokens[:290], new=10)
        self.assertEqual(again.cached, 1290 // UNIT * UNIT)
        self.assertEqual(again.tokens, answer.tokens[290:300])

    def test_several_requests_at_once(self):
        prompts = [ids, ids[:1300], document(900, skip=9000), ids[:2000]]
        alone = [self.engine.run(prompt).tokens for prompt in prompts]
        self.assertEqual([a.tokens for a in self.engine.run_many(prompts)], alone)


class OwnPrefixCache(SizesTest):
    settings = dict(MODEL, enable_prefix_caching=True, extra={"model_id": "own prefix cache"})

    def test_hit_behind_what_the_engine_has_itself(self):
        self.assertTrue(self.engine.llm.reset_prefix_cache())
        with mock.patch.object(self.engine.scheduler, "may_load", False):
            self.engine.run(ids[:1000], new=1)
        self.same(self.engine.run(ids), CACHED, self.first)


class Chunks(SizesTest):
    """Steps of 384 tokens end within blocks of the one group, and at the ends of the other's."""

    settings = dict(MODEL, max_num_batched_tokens=384, extra={"model_id": "chunks"})

    def test_hit(self):
        self.same(self.engine.run(ids), CACHED, self.first)


if __name__ == "__main__":
    unittest.main()
