# SPDX-License-Identifier: Apache-2.0
"""vLLM with layers that carry a state: LFM2, every other layer of which is a short convolution.

vLLM keeps such states only with its prefix cache, which is emptied before each load here: at a prompt's last block,
and, if it is told to, each so many tokens.  2,200 tokens leave states behind 512, 1,024, 1,536, 2,048 and 2,176 here.

What vLLM computes of this model depends on how its tokens were cut into steps and on what else is in them, without
any connector, too; so answers are compared that were given alone and in the same steps, to prompts of a test's own.
"""
import unittest
from unittest import mock

from enginetest import BLOCK, CACHED, PROMPT, EngineTest, make, stage
from vllmlib import document

from kvshm.vllm import groups

STEP = 512
MODEL = dict(name="state", dtype="float32", enable_prefix_caching=True, max_num_batched_tokens=STEP,
             prefix_cache_retention_interval=STEP)


def setUpModule():
    global ids, plain
    stage.begin(**MODEL)
    ids, plain = stage.ids, stage.plain


def tearDownModule():
    stage.end()


class StateTest(EngineTest):
    settings = MODEL

    def run_fresh(self, prompt, **more):
        """Without what the engine has itself."""
        self.assertTrue(self.engine.llm.reset_prefix_cache())
        return self.engine.run(prompt, **more)

    def group(self, kind):
        """Its number, the worker's, and its namespace in the scheduler."""
        kinds = [groups.kinds_of(g) for g in self.engine.core.scheduler.kv_cache_config.kv_cache_groups]
        self.assertEqual(sorted(kinds), [["FullAttentionSpec"], ["MambaSpec"]])
        index = kinds.index([kind])
        return index, self.engine.worker.groups[index], self.engine.scheduler.spaces[index][1]

    def seen_keys(self, prompt):
        with mock.patch.object(self.engine.scheduler, "add", wraps=self.engine.scheduler.add) as add:
            self.run_fresh(prompt, new=1)
        return list(add.call_args.args[0].block_hashes)

    def drop(self, keys, kind, *tokens):
        for end in tokens:
            self.assertEqual(self.group(kind)[2].drop(keys[end // BLOCK - 1]) > 0, True, (kind, end))


class Hits(StateTest):
    def test_hit(self):
        self.assertEqual(self.first.tokens, plain.tokens)
        for load in "sync", "async":
            self.engine.set_options(load=load)
            self.same(self.run_fresh(ids), CACHED)

    def test_one_state_is_loaded_and_a_block_is_no_longer_than_it(self):
        index, group, space = self.group("MambaSpec")
        with mock.patch.object(self.engine.worker, "copy_in", wraps=self.engine.worker.copy_in) as copy_in:
            self.same(self.run_fresh(ids), CACHED)
        self.assertEqual(len(copy_in.call_args.args[0].pages[index]), 1)
        spec = self.engine.core.scheduler.kv_cache_config.kv_cache_groups[index].kv_cache_spec
        self.assertEqual(space.block_len, 2 * spec.state_content_size_bytes)       # two layers
        self.assertLess(spec.state_content_size_bytes, spec.page_size_bytes)
        self.assertEqual(group.pages.page_len, space.block_len)

    def test_each_groups_bytes_are_used(self):
        prompt = ids[:CACHED] + [9]         # the state is of the two tokens before: the next one shows it
        want = self.run_fresh(prompt)
        for kind in "MambaSpec", "FullAttentionSpec":
            with self.subTest(kind=kind), self.spoiling(self.group(kind)[1], at=0, nr=1024):
                answer = self.run_fresh(prompt)
                self.assertEqual(answer.cached, CACHED)
                self.assertNotEqual(answer.tokens, want.tokens)
        self.same(self.run_fresh(prompt), CACHED, want)

    def test_a_hit_ends_where_there_is_a_state(self):
        other = document(PROMPT, skip=5000)
        first = self.run_fresh(other)
        keys = self.seen_keys(other)
        for gone, cached in ((CACHED,), 2048), ((CACHED, 2048), 1536), ((512, 1024, 1536, 2048, CACHED), 0):
            with self.subTest(gone=gone):
                self.drop(keys, "MambaSpec", *gone)
                self.same(self.run_fresh(other), cached, first)
                self.same(self.run_fresh(other), CACHED, first)     # what was missing has been saved

    def test_a_state_is_of_no_use_without_the_blocks_before_it(self):
        other = document(PROMPT, skip=7000)
        first = self.run_fresh(other)
        self.drop(self.seen_keys(other), "FullAttentionSpec", 1280)
        self.same(self.run_fresh(other), 1024, first)
        self.same(self.run_fresh(other), CACHED, first)

    def test_the_state_behind_the_last_token_is_not_taken(self):
        """A token must be computed, and it would be put into its own state."""
        for end, skip in (2048, 3000), (CACHED, 14000):
            whole = document(end, skip=skip)
            first = self.run_fresh(whole)
            self.run_fresh(whole + [9])
            self.assertEqual(self.run_fresh(whole + [9]).cached, end)
            self.same(self.run_fresh(whole), end - BLOCK, first)

    def test_longer_prompt(self):
        other = ids[:1500] + document(700, skip=15000)
        first = self.run_fresh(other)
        self.assertEqual(first.cached, 1024)
        self.same(self.run_fresh(other), CACHED, first)

    def test_states_of_generated_tokens(self):
        prompt = document(1000, skip=12000)
        answer = self.run_fresh(prompt, new=100)
        again = self.run_fresh(prompt + answer.tokens[:25], new=15)
        self.assertEqual(again.cached, 1024)
        self.assertEqual(again.tokens, answer.tokens[25:40])

    def test_several_requests_at_once(self):
        prompts = [document(tokens, skip=skip) for tokens, skip in ((2200, 20000), (1300, 23000), (900, 25000), (2000, 27000))]
        alone = [self.run_fresh(prompt).tokens for prompt in prompts]
        self.assertTrue(self.engine.llm.reset_prefix_cache())
        answers = self.engine.run_many(prompts)
        self.assertEqual([a.cached for a in answers], [(len(prompt) - 1) // BLOCK * BLOCK for prompt in prompts])
        self.assertEqual([self.run_fresh(prompt).tokens for prompt in prompts], alone)

    def test_hit_behind_what_the_engine_has_itself(self):
        self.assertTrue(self.engine.llm.reset_prefix_cache())
        with mock.patch.object(self.engine.scheduler, "may_load", False):
            self.engine.run(ids[:2 * STEP] + [9], new=1)
        self.same(self.engine.run(ids), CACHED)

    def test_lost_block_costs_the_whole_load(self):
        with self.failing(0, spoil=True):
            answer = self.run_fresh(ids)
            self.assertEqual((answer.tokens, answer.finish), (plain.tokens, "length"))
        self.same(self.run_fresh(ids), CACHED)

    def test_state_that_is_not_of_the_hits_end_is_not_loaded(self):
        """vLLM may take less than it was offered."""
        order_load, group = self.engine.scheduler.order_load, self.group("MambaSpec")[0]

        def less(state, pages, end):
            tables = [list(table) for table in pages]
            tables[group][end - 2:end] = reversed(tables[group][end - 2:end])
            return order_load(state, tables, end - 1)

        copy_in, come = self.engine.worker.copy_in, []

        def seen(load):
            come.append((copy_in(load), load.nr))
            return come[-1][0]

        with mock.patch.object(self.engine.scheduler, "order_load", less), \
             mock.patch.object(self.engine.worker, "copy_in", seen):
            self.assertEqual(self.run_fresh(ids).tokens, plain.tokens)
        self.assertEqual(come, [(CACHED // BLOCK - 2, CACHED // BLOCK - 1)])


class NoPrefixCache(unittest.TestCase):
    def test_not_served_and_said_why(self):
        with self.assertLogs("vllm.kvshm", "WARNING") as logs:
            engine = make(**dict(MODEL, enable_prefix_caching=False, prefix_cache_retention_interval=0))
        with engine:
            self.assertIn("states", "".join(logs.output))
            self.assertIsNone(engine.scheduler)
            self.assertEqual(engine.run(ids).tokens, plain.tokens)


class Preemption(unittest.TestCase):
    def test_preempted_request(self):
        prompts = [document(1300, skip=19000), document(1300, skip=23000)]
        with make(kv_cache_memory_bytes=52 << 17, max_model_len=2048, **MODEL) as engine:
            alone = [engine.run(prompt, new=130).tokens for prompt in prompts]
            self.assertTrue(engine.llm.reset_prefix_cache())
            self.assertEqual([a.finish for a in engine.run_many(prompts, new=130)], ["length"] * 2)
            preempted = sum(m.value for m in engine.llm.get_metrics() if m.name == "vllm:num_preemptions")
            self.assertGreater(preempted, 0)
            for prompt, want in zip(prompts, alone):
                self.assertTrue(engine.llm.reset_prefix_cache())
                self.assertEqual(engine.run(prompt, new=130).tokens, want)


if __name__ == "__main__":
    unittest.main()
