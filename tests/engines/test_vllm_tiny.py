# SPDX-License-Identifier: Apache-2.0
"""vLLM with the tiny model, many engines in one process: what is cached, what is said, that tokens are equal."""
import os
import tempfile
import unittest
from unittest import mock

import kvshm
import vllmlib
from enginetest import BLOCK, CACHED, PROMPT, EngineTest, make, stage
from vllmlib import connector_config, document

LOADS = "sync", "async"


def setUpModule():
    global ids, plain
    stage.begin()
    ids, plain = stage.ids, stage.plain


def tearDownModule():
    stage.end()


class Hits(EngineTest):
    def test_load_by_each_way(self):
        for load in LOADS:
            with self.subTest(load=load):
                self.engine.set_options(load=load)
                self.same(self.engine.run(ids), CACHED)

    def test_tokens_depend_on_the_prompt(self):
        self.assertNotEqual(self.engine.run(document(PROMPT, skip=7)).tokens, plain.tokens)

    def test_load_is_async_above_a_size(self):
        with mock.patch.object(self.engine.worker, "load_now", side_effect=AssertionError):
            self.engine.set_options(async_mib=1)
            self.same(self.engine.run(ids), CACHED)
        with mock.patch.object(self.engine.worker, "load_beside", side_effect=AssertionError):
            self.engine.set_options(async_mib=64)
            self.same(self.engine.run(ids), CACHED)

    def test_whole_prompt_leaves_a_block_to_compute_when_sync(self):
        whole = document(CACHED, skip=1000)
        first = self.engine.run(whole)
        self.same(self.engine.run(whole), CACHED - BLOCK, first)
        self.engine.set_options(load="async")
        self.same(self.engine.run(whole), CACHED, first)    # the last token's logits are computed again

    def test_longer_prompt_hits_its_prefix_and_saves_the_rest(self):
        other = ids[:1500] + document(700, skip=5000)
        first = self.engine.run(other)
        self.assertEqual(first.cached, 1500 // BLOCK * BLOCK)
        self.same(self.engine.run(other), CACHED, first)

    def test_generated_blocks_are_saved_too(self):
        answer = self.engine.run(ids[:1000], new=200)
        again = self.engine.run(ids[:1000] + answer.tokens[:180], new=2)
        self.assertEqual(again.cached, (1000 + 180) // BLOCK * BLOCK)
        self.assertEqual(again.tokens[:2], answer.tokens[180:182])

    def test_short_prompt_is_left_alone(self):
        self.assertEqual(self.engine.run(ids[:100], new=2).cached, 0)

    def test_several_requests_at_once(self):
        prompts = [ids, ids[:1300], document(900, skip=9000), ids[:2000]]
        alone = [self.engine.run(prompt).tokens for prompt in prompts]
        for load in LOADS:
            with self.subTest(load=load):
                self.engine.set_options(load=load)
                self.assertEqual([a.tokens for a in self.engine.run_many(prompts)], alone)

    def test_aborted_request(self):
        from vllm import SamplingParams

        for load in LOADS:
            with self.subTest(load=load):
                self.engine.set_options(load=load)
                core = self.engine.llm.llm_engine
                core.add_request("gone", {"prompt_token_ids": ids}, SamplingParams(max_tokens=50))
                core.step()
                core.abort_request(["gone"])
                self.same(self.engine.run(ids), CACHED)

    def test_host_hits_in_metrics(self):
        def hits():
            return sum(m.value for m in self.engine.llm.get_metrics()
                       if m.name == "vllm:external_prefix_cache_hits")

        before = hits()
        self.engine.run(ids)
        self.assertEqual(hits() - before, CACHED)

    def test_hint_of_a_request(self):
        with mock.patch.object(self.engine.scheduler, "client") as client:
            self.engine.run(ids, extra_args={"kv_transfer_params": {"kvshm": {"kind": 3, "turn": 2}}})
            words = [call.args[0] for call in client.set_hint.call_args_list]
        self.assertEqual(words[0], kvshm.hint(kind=3, turn=2))
        self.assertEqual(words[-1], kvshm.hint(kind=3, turn=2, stop=2, output_tokens=vllmlib.NEW_TOKENS))

    def test_holds_of_a_request(self):
        spaces = self.engine.scheduler.spaces
        watched = mock.Mock(wraps=spaces[0][1])
        with mock.patch.object(self.engine.scheduler.hits, "spaces", [(spaces[0][0], watched)]):
            self.engine.run(ids)
            self.assertEqual([call.args[1] for call in watched.hold.call_args_list], ["queued"])
            self.engine.run(ids, extra_args={"kv_transfer_params": {"kvshm": {"tool": True}}})
            self.assertEqual([call.args[1] for call in watched.hold.call_args_list], ["queued", "queued", "tool"])
            watched.session_closed.assert_not_called()
            own = 2 * spaces[0][1].block_tokens + 1
            self.engine.run(ids, extra_args={"kv_transfer_params": {"kvshm": {"over": True, "own_tokens": own}}})
            self.assertEqual(watched.session_closed.call_args.args[1], 2)

    def test_session_gives_turn_and_pause(self):
        from types import SimpleNamespace

        from kvshm.vllm.hints import Sessions

        sessions, request = Sessions(), SimpleNamespace(session_id="a")
        with mock.patch("time.monotonic", side_effect=[10.0, 14.0, 20.0]):
            self.assertEqual([sessions.fields(request) for _ in range(2)],
                             [{"turn": 1, "gap": -1.0}, {"turn": 2, "gap": 4.0}])
            self.assertEqual(sessions.fields(SimpleNamespace(session_id="b")), {"turn": 1, "gap": -1.0})
        self.assertEqual(sessions.fields(SimpleNamespace(session_id=None)), {})

    def test_keys_with_an_adapter_cover_its_files(self):
        from types import SimpleNamespace

        from kvshm.vllm.keys import Keys

        hashes = [bytes([i]) * 32 for i in range(3)]
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            for folder in one, other:
                with open(os.path.join(folder, "adapter_model.safetensors"), "wb") as f:
                    f.write(folder.encode())
            made = [Keys(SimpleNamespace(block_hashes=hashes, lora_request=SimpleNamespace(lora_path=path)))()
                    for path in (one, other, one)]
        self.assertEqual(made[0], made[2])
        self.assertFalse(set(made[0]) & set(made[1]) or set(made[0]) & set(hashes))
        self.assertIs(Keys(SimpleNamespace(block_hashes=hashes, lora_request=None))(), hashes)

    def test_hint_that_cannot_be_is_none(self):
        with mock.patch.object(self.engine.scheduler, "client") as client:
            self.same(self.engine.run(ids, extra_args={"kv_transfer_params": {"kvshm": {"kind": "chat"}}}), CACHED)
            self.assertEqual({call.args[0] for call in client.set_hint.call_args_list}, {0})


class Failures(EngineTest):
    """Whatever is lost is computed: a load that fails at block n, in every way that vLLM takes it."""

    def test_lost_block_is_computed(self):
        for load in LOADS:
            for at in 0, 5:
                self.engine.set_options(load=load)
                with self.subTest(load=load, at=at), self.failing(at, spoil=True):
                    answer = self.engine.run(ids)
                    self.assertEqual((answer.tokens, answer.finish), (plain.tokens, "length"))

    def test_lost_block_of_several_requests(self):
        for load in LOADS:
            self.engine.set_options(load=load)
            with self.subTest(load=load), self.failing(2, spoil=True):
                self.assertEqual([a.tokens for a in self.engine.run_many([ids, ids, ids])], [plain.tokens] * 3)

    def test_what_stands_on_a_lost_block_is_not_published(self):
        """The step of a failed load computes KV from bytes that never came; nobody else may hit it."""
        other = ids[:1500] + document(700, skip=17000)
        with self.failing(3, spoil=True):
            first = self.engine.run(other)
        self.same(self.engine.run(other), CACHED, first)
        with mock.patch.object(self.engine.scheduler, "may_load", False):
            self.same(self.engine.run(other), 0, first)

    def test_corrupted_store_changes_the_tokens(self):
        """The comparison of all other tests can fail."""
        self.bytes_are_used({"the only one": self.engine.worker.groups[0]}, CACHED)

    def test_mistake_of_ours_costs_a_miss(self):
        with mock.patch.object(self.engine.worker.groups[0], "pages") as pages:
            pages.load.side_effect = IndexError("planted")
            self.assertEqual(self.engine.run(ids).tokens, plain.tokens)

    def test_blocks_dropped_by_the_daemon_are_saved_again(self):
        worker = self.engine.worker
        other = document(PROMPT, skip=21000)
        with mock.patch.object(worker, "send", return_value=0):
            first = self.engine.run(other)
        self.same(self.engine.run(other), 0, first)
        self.same(self.engine.run(other), CACHED, first)


class OwnPrefixCache(EngineTest):
    settings = dict(enable_prefix_caching=True, extra={"model_id": "own prefix cache"})

    def fresh(self):
        self.assertTrue(self.engine.llm.reset_prefix_cache())

    def test_it_comes_first(self):
        loads = mock.patch.object(self.engine.worker, "load_now", side_effect=AssertionError)
        with loads:
            self.same(self.engine.run(ids), CACHED)

    def test_hit_behind_what_the_engine_has_itself(self):
        self.fresh()
        with mock.patch.object(self.engine.scheduler, "may_load", False):
            self.engine.run(ids[:1000], new=1)
        with mock.patch.object(self.engine.worker, "copy_in", wraps=self.engine.worker.copy_in) as copy_in:
            self.same(self.engine.run(ids), CACHED)
        self.assertEqual(len(copy_in.call_args.args[0].pages[0]), CACHED // BLOCK - 1000 // BLOCK)

    def test_lost_block(self):
        for at in 0, 5:
            self.fresh()
            with self.subTest(at=at):
                with self.failing(at, spoil=True):
                    self.assertEqual(self.engine.run(ids).tokens, plain.tokens)
                self.assertEqual(self.engine.run(ids).tokens, plain.tokens)

    def test_reset_of_the_connector_forgets_all(self):
        other = document(PROMPT, skip=27000)
        self.engine.run(other, new=2)
        self.assertTrue(self.engine.llm.reset_prefix_cache(reset_connector=True))
        self.assertEqual(self.engine.run(other, new=2).cached, 0)
        self.engine.run(ids)


class Kinds(unittest.TestCase):
    """Each changes what bytes or keys mean, so an engine finds nothing of the others and all of its own."""

    def check(self, nr_cached=CACHED, **options):
        with make(**options) as engine:
            first, second = engine.run(ids), engine.run(ids)
        self.assertEqual((first.cached, second.cached), (0, nr_cached))
        self.assertEqual(second.tokens, first.tokens)
        return first

    def test_same_kind_in_another_engine(self):
        with make() as engine:
            first = engine.run(ids)
            self.assertEqual(first.tokens, plain.tokens)
        with make() as engine:
            second = engine.run(ids)
            self.assertEqual((second.tokens, second.cached), (plain.tokens, CACHED))

    def test_block_of_32_tokens(self):
        self.check(block_size=32)

    def test_float32(self):
        self.check(dtype="float32")

    def test_sha256_cbor(self):
        self.assertEqual(self.check(prefix_caching_hash_algo="sha256_cbor").tokens, plain.tokens)

    def test_chunked_prefill(self):
        self.check(max_num_batched_tokens=512, extra={"model_id": "chunked"})

    def test_other_weights(self):
        self.check(extra={"model_id": "other weights"})

    def test_xxhash_with_a_random_seed_hits_in_its_engine_only_and_is_warned_of(self):
        with self.assertLogs("vllm.kvshm", "WARNING") as logs:
            self.check(prefix_caching_hash_algo="xxhash")
        self.assertIn("PYTHONHASHSEED", "".join(logs.output))
        self.check(prefix_caching_hash_algo="xxhash")

    def test_xxhash_with_a_seed(self):
        with mock.patch.dict("os.environ", PYTHONHASHSEED="0"):
            self.check(prefix_caching_hash_algo="xxhash", extra={"model_id": "seeded"})
            with make(prefix_caching_hash_algo="xxhash", extra={"model_id": "seeded"}) as engine:
                self.assertEqual(engine.run(ids).cached, CACHED)

    def test_client_that_is_not_trusted(self):
        real = kvshm.open
        with mock.patch.object(kvshm, "open", lambda *a, **k: real(*a, untrusted=True, **k)):
            self.check(extra={"model_id": "untrusted"})

    def test_policy_fail_ends_the_request_and_is_warned_of(self):
        with self.assertLogs("vllm.kvshm", "WARNING") as logs:
            engine = make(policy="fail")
        self.assertIn("kv_load_failure_policy", "".join(logs.output))
        with engine:
            self.assertEqual(engine.run(ids).finish, "length")
            with mock.patch.object(engine.worker, "copy_in", return_value=5):
                self.assertEqual(engine.run(ids).finish, "error")

    def test_consumer_saves_nothing(self):
        with make(role="kv_consumer", extra={"model_id": "consumer"}) as engine:
            self.assertEqual([engine.run(ids, new=2).cached for _ in range(2)], [0, 0])

    def test_producer_loads_nothing(self):
        with make(role="kv_producer", extra={"model_id": "producer"}) as engine:
            self.assertEqual([engine.run(ids, new=2).cached for _ in range(2)], [0, 0])
            self.assertGreater(engine.worker.client.stats()["commits"], 0)

    def test_preempted_request(self):
        """Memory for one and a half of two: one starts again, and loads what it had saved."""
        prompts = [document(1300, skip=19000), document(1300, skip=23000)]
        with make(kv_mib=6, max_model_len=2048) as engine:
            alone = [engine.run(prompt, new=300).tokens for prompt in prompts]
            self.assertEqual([a.tokens for a in engine.run_many(prompts, new=300)], alone)
            preempted = sum(m.value for m in engine.llm.get_metrics() if m.name == "vllm:num_preemptions")
            self.assertGreater(preempted, 0)

    def test_events(self):
        from vllm.config import KVEventsConfig

        config = KVEventsConfig(enable_kv_cache_events=True, publisher="null")
        with make(kv_events_config=config, extra={"model_id": "events"}) as engine:
            seen, take = [], engine.scheduler.events.take
            with mock.patch.object(engine.scheduler.events, "take", lambda: seen.extend(take()) or []):
                engine.run(ids)
        stored = [e for e in seen if e.medium == "CPU"]
        self.assertEqual([t for e in stored for t in e.token_ids], ids[:CACHED])
        self.assertEqual(sum(len(e.block_hashes) for e in stored), CACHED // BLOCK)


class Layout(unittest.TestCase):
    def resolved(self, is_cpu, supported):
        from vllm.config import KVTransferConfig, VllmConfig
        from vllm.platforms import current_platform
        from vllm.v1.attention.backends.utils import resolve_kv_cache_layout

        config = VllmConfig(kv_transfer_config=KVTransferConfig(**connector_config()))
        with mock.patch.object(type(current_platform), "is_cpu", lambda _: is_cpu):
            return resolve_kv_cache_layout(config, [supported]).name

    def test_a_page_of_all_layers_is_wished_for_where_there_is_such_a_layout(self):
        self.assertEqual(self.resolved(False, ["LBHNC", "BLHNC"]), "BLHNC")
        self.assertEqual(self.resolved(False, ["LBHNC"]), "LBHNC")
        self.assertEqual(self.resolved(True, ["LBHNC", "BLHNC"]), "LBHNC")


class Options(unittest.TestCase):
    def test_what_is_none_is_refused(self):
        from kvshm.vllm.options import Options as Parsed

        for extra in {"sokcet": "x"}, {"load": "later"}, {"async_mib": -1}, {"save_wait_ms": "20"}:
            with self.subTest(extra=extra), self.assertRaises(ValueError):
                Parsed.parse(extra)


if __name__ == "__main__":
    unittest.main()
