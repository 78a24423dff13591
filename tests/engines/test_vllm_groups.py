# SPDX-License-Identifier: Apache-2.0
"""vLLM with KV cache groups: layers of one model that look at the whole context beside some that look at a window.

vLLM takes the pages behind a window away from a request, so they are neither loaded nor saved, and the window's layers
must have all of it: a load counts whole or not at all.

In float32: in bfloat16 vLLM's windowed kernel rounds by the shape of the batch, and behind a hit of its own prefix
cache gives other tokens now and then, too.
"""
import unittest
from types import SimpleNamespace
from unittest import mock

import torch
from enginetest import BLOCK, CACHED, PROMPT, EngineTest, make, stage
from vllmlib import document

from kvshm.vllm import groups

WINDOW = 512
BOTH = dict(hf_overrides={"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": WINDOW},
            dtype="float32")
ONE = dict(hf_overrides={"layer_types": ["sliding_attention"] * 4, "sliding_window": WINDOW}, dtype="float32")
IN_WINDOW = CACHED // BLOCK - (CACHED - WINDOW + 1) // BLOCK


def setUpModule():
    global ids, plain
    stage.begin(**BOTH)
    ids, plain = stage.ids, stage.plain


def tearDownModule():
    stage.end()


class Hybrid(EngineTest):
    settings = BOTH

    def group(self, kind):
        """The worker's, and its namespace in the scheduler."""
        kinds = [groups.kinds_of(g) for g in self.engine.core.scheduler.kv_cache_config.kv_cache_groups]
        self.assertEqual(sorted(kinds), [["FullAttentionSpec"], ["SlidingWindowSpec"]])
        index = kinds.index([kind])
        return self.engine.worker.groups[index], self.engine.scheduler.spaces[index][1]

    def test_hit(self):
        self.assertEqual(self.first.tokens, plain.tokens)
        for load in "sync", "async":
            self.engine.set_options(load=load)
            self.same(self.engine.run(ids), CACHED)

    def test_of_a_window_only_what_is_in_it_is_loaded(self):
        with mock.patch.object(self.engine.worker, "copy_in", wraps=self.engine.worker.copy_in) as copy_in:
            self.same(self.engine.run(ids), CACHED)
        pages = copy_in.call_args.args[0].pages
        window, whole = self.group("SlidingWindowSpec")[0], self.group("FullAttentionSpec")[0]
        self.assertEqual((len(pages[window.index]), len(pages[whole.index])), (IN_WINDOW, CACHED // BLOCK))
        self.assertNotIn(groups.NO_PAGE, pages[window.index])

    def test_each_groups_bytes_are_used(self):
        self.bytes_are_used({kind: self.group(kind)[0] for kind in ("SlidingWindowSpec", "FullAttentionSpec")}, CACHED)

    def test_a_hit_is_what_all_groups_have(self):
        other = document(PROMPT, skip=5000)
        first = self.engine.run(other)
        keys = self.seen_keys(other)
        for kind, at in ("SlidingWindowSpec", 9), ("FullAttentionSpec", 5):
            with self.subTest(kind=kind):
                self.group(kind)[1].drop(keys[at])
                self.same(self.engine.run(other), at * BLOCK, first)
                self.same(self.engine.run(other), CACHED, first)    # what was missing has been saved

    def seen_keys(self, prompt):
        with mock.patch.object(self.engine.scheduler, "add", wraps=self.engine.scheduler.add) as add:
            self.engine.run(prompt, new=1)
        return list(add.call_args.args[0].block_hashes)

    def test_lost_block_costs_the_whole_load(self):
        for at in 0, 5, 15:
            with self.subTest(at=at), self.failing(at, spoil=True):
                answer = self.engine.run(ids)
                self.assertEqual((answer.tokens, answer.finish), (plain.tokens, "length"))
            self.same(self.engine.run(ids), CACHED)

    def test_lost_block_of_several_requests(self):
        with self.failing(2, spoil=True):
            self.assertEqual([a.tokens for a in self.engine.run_many([ids, ids, ids])], [plain.tokens] * 3)

    def test_several_requests_at_once(self):
        prompts = [ids, ids[:1300], document(900, skip=9000), ids[:2000]]
        alone = [self.engine.run(prompt).tokens for prompt in prompts]
        self.assertEqual([a.tokens for a in self.engine.run_many(prompts)], alone)

    def test_generated_blocks_are_saved_too(self):
        answer = self.engine.run(ids[:1000], new=300)
        again = self.engine.run(ids[:1000] + answer.tokens[:280], new=20)
        self.assertEqual(again.cached, (1000 + 280) // BLOCK * BLOCK)
        self.assertEqual(again.tokens, answer.tokens[280:300])

    def test_longer_prompt_hits_its_prefix_and_saves_the_rest(self):
        other = ids[:1500] + document(700, skip=15000)
        first = self.engine.run(other)
        self.assertEqual(first.cached, 1500 // BLOCK * BLOCK)
        self.same(self.engine.run(other), CACHED, first)

    def test_nothing_is_in_the_way_of_other_kinds(self):
        labels = {space.label for space, _ in self.engine.scheduler.spaces}
        prints = {space.fingerprint for space, _ in self.engine.scheduler.spaces}
        self.assertEqual((len(labels), len(prints)), (2, 2))


class Chunks(EngineTest):
    """A prompt in steps of 512 tokens: the first pages of the window's layers are gone before the last step."""

    settings = dict(BOTH, max_num_batched_tokens=512, extra={"model_id": "chunks"})

    def test_hit(self):
        self.same(self.engine.run(ids), CACHED, self.first)

    def test_what_was_not_saved_in_time_is_not_saved_from_pages_of_others(self):
        other = document(PROMPT, skip=11000)
        send, steps = self.engine.worker.send, []

        def late(*args):
            steps.append(1)
            return send(*args) if len(steps) > 4 else 0         # both groups, for two steps

        with mock.patch.object(self.engine.worker, "send", late):
            first = self.engine.run(other)
        self.assertGreater(len(steps), 4)
        for cached in 0, CACHED:                                # no hit before it was computed again
            self.same(self.engine.run(other), cached, first)


class OwnPrefixCache(EngineTest):
    settings = dict(BOTH, enable_prefix_caching=True, extra={"model_id": "own prefix cache"})

    def fresh(self):
        self.assertTrue(self.engine.llm.reset_prefix_cache())

    def test_hit_behind_what_the_engine_has_itself(self):
        self.fresh()
        with mock.patch.object(self.engine.scheduler, "may_load", False):
            self.engine.run(ids[:1000], new=1)
        self.same(self.engine.run(ids), CACHED, self.first)

    def test_lost_block(self):
        for at in 0, 5:
            self.fresh()
            with self.failing(at, spoil=True):
                self.assertEqual(self.engine.run(ids).tokens, self.first.tokens)
            self.assertEqual(self.engine.run(ids).tokens, self.first.tokens)


class OneWindow(EngineTest):
    """All layers have the window: one group, and yet no going on behind a failed block."""

    settings = dict(ONE, extra={"model_id": "one window"})

    def test_hit(self):
        self.same(self.engine.run(ids), CACHED, self.first)

    def test_lost_block(self):
        for at in 0, 14:
            with self.subTest(at=at), self.failing(at, spoil=True):
                self.assertEqual(self.engine.run(ids).tokens, self.first.tokens)


class Policies(unittest.TestCase):
    def test_fail_ends_the_request(self):
        with make(policy="fail", **BOTH) as engine:
            self.assertEqual(engine.run(ids).finish, "length")
            with mock.patch.object(engine.worker, "copy_in", return_value=5):
                self.assertEqual(engine.run(ids).finish, "error")

    def test_preempted_request(self):
        prompts = [document(1300, skip=19000), document(1300, skip=23000)]
        with make(kv_cache_memory_bytes=34 << 18, max_model_len=2048, max_num_batched_tokens=512, **BOTH) as engine:
            alone = [engine.run(prompt, new=130).tokens for prompt in prompts]
            self.assertEqual([a.tokens for a in engine.run_many(prompts, new=130)], alone)
            preempted = sum(m.value for m in engine.llm.get_metrics() if m.name == "vllm:num_preemptions")
            self.assertGreater(preempted, 0)


class Served(unittest.TestCase):
    """Held against vLLM's own descriptions of groups."""

    def config(self, *specs, **group):
        from vllm.v1.kv_cache_interface import KVCacheGroupSpec

        return SimpleNamespace(kv_cache_groups=[KVCacheGroupSpec(["layer"], spec, **group) for spec in specs])

    def spec(self, name, tokens=BLOCK, **more):
        from vllm.v1 import kv_cache_interface

        if name == "MambaSpec":
            return kv_cache_interface.MambaSpec(block_size=tokens, shapes=((4, 4),), dtypes=(torch.float32,), **more)
        return getattr(kv_cache_interface, name)(block_size=tokens, num_kv_heads=2, head_size=64,
                                                 dtype=torch.bfloat16, **more)

    def test_what_is(self):
        full, window = self.spec("FullAttentionSpec"), self.spec("SlidingWindowSpec", sliding_window=512)
        chunked = self.spec("ChunkedLocalAttentionSpec", attention_chunk_size=1024)
        for specs, may_resume in ([full], True), ([window], False), ([full, window, window], False), ([full, chunked], False):
            self.assertIsNone(groups.why_not(self.config(*specs), BLOCK))
            self.assertEqual(groups.may_resume(self.config(*specs)), may_resume)

    def test_what_is_beside_blocks_of_other_sizes_and_states(self):
        full, wide = self.spec("FullAttentionSpec"), self.spec("SlidingWindowSpec", 2 * BLOCK, sliding_window=512)
        state = self.spec("MambaSpec", mamba_cache_mode="align")
        for specs in [full, wide], [full, state], [state]:
            self.assertIsNone(groups.why_not(self.config(*specs), BLOCK))
        self.assertEqual([groups.is_state(spec) for spec in (full, wide, state)], [False, False, True])

    def test_what_is_not(self):
        full = self.spec("FullAttentionSpec")
        ahead = self.spec("MambaSpec", mamba_cache_mode="align", num_speculative_blocks=1)
        for config, reason in ((self.config(full, self.spec("MambaSpec")), "without its own prefix caching"),
                               (self.config(full, ahead), "speculative"),
                               (self.config(full, self.spec("FullAttentionSpec", tokens=64)), "64 tokens"),
                               (self.config(self.spec("CrossAttentionSpec")), "CrossAttentionSpec"),
                               (self.config(full, enable_kv_transfer=False), "not cached")):
            with self.subTest(reason=reason):
                self.assertIn(reason, groups.why_not(config, BLOCK))

    def test_pages_behind_a_window(self):
        self.assertEqual([groups.behind_window(pages) for pages in ([], [5, 6], [0, 0, 7], [0, 0])], [0, 0, 2, 2])
        self.assertEqual([groups.until_gone(pages) for pages in ([], [5, 6], [5, 0, 7], [0, 7])], [[], [5, 6], [5], []])


if __name__ == "__main__":
    unittest.main()
