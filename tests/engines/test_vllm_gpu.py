# SPDX-License-Identifier: Apache-2.0
"""vLLM with its KV on a device: the connector's loads and saves beside the steps, over the fake driver."""
import os
import shutil
import struct
import tempfile
import unittest
from unittest import mock

from enginetest import BLOCK, CACHED, PROMPT, EngineTest, make, stage
from gpulib import COUNTERS
from vllmgpu import Device, cuda, drain, everywhere, kvshm
from vllmlib import answers, connector_config, document

from kvshm.vllm import gpu as way

LAYERS = 4
SLOW_SAVES = "d2h=5e6"                  # a prompt takes a second
FAST = "h2d=25e9;d2h=25e9"
COPIES = "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuMemcpy2DAsync", "cuMemcpyBatchAsync", "cuLaunchKernel"


def setUpModule():
    global device, ids, plain
    stage.begin()
    ids, plain, device = stage.ids, stage.plain, Device()


def tearDownModule():
    device.end()
    stage.end()


class GpuTest(EngineTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        drain(cls.engine)

    def setUp(self):
        super().setUp()
        cuda.script("reset")
        device.seen.clear()

    def calm(self):
        """All has landed, and nothing fails any more."""
        cuda.script(FAST)
        drain(self.engine)
        cuda.script("reset")

    def tearDown(self):
        self.calm()
        worker = self.engine.worker
        self.assertEqual((worker.loads, worker.saves, worker.queue, worker.layered), ([], [], [], []))
        self.assertEqual((worker.landing, worker.commits, worker.waiting), ({}, {}, {}))
        super().tearDown()

    def run_and_drain(self, prompt, **how):
        answer = self.engine.run(prompt, **how)
        drain(self.engine)
        return answer

    def refuse(self, nr, code=700):
        cuda.script(";".join(f"fail={name}:{nr}:{code}" for name in COPIES))


class Hits(GpuTest):
    def test_a_step_waits_layer_by_layer(self):
        self.engine.set_options(load="sync")
        self.same(self.engine.run(ids), CACHED)
        self.assertEqual(device.seen[0], ("load", 1))
        self.assertEqual([seen for seen in device.seen if seen[0] == "block"], [("block", i) for i in range(LAYERS)])

    def test_a_load_beside_the_steps_is_one(self):
        self.engine.set_options(load="async")
        self.same(self.engine.run(ids), CACHED)
        self.assertEqual([seen for seen in device.seen if seen[0] != "save"], [("load", 0)])

    def test_a_graph_of_the_whole_step_waits_before_it(self):
        self.engine.set_options(load="sync")
        with mock.patch("kvshm.vllm.connector.is_layered", lambda *_: False):
            self.same(self.engine.run(ids), CACHED)
        self.assertEqual(device.seen[:2], [("load", 0), ("block", None)])

    def test_a_layer_that_does_not_wait_costs_one_load(self):
        self.engine.set_options(load="sync")
        worker = self.engine.worker
        with mock.patch.object(worker, "wait_for_layer", side_effect=lambda name: None):
            self.assertEqual(self.engine.run(ids).tokens, plain.tokens)
            self.assertFalse(worker.has_hooks)
            drain(self.engine)
            self.same(self.engine.run(ids), CACHED)
        worker.has_hooks = True

    def test_bytes_of_the_cache_are_used(self):
        """The comparison of all other tests can fail."""
        load = self.engine.worker.gpu.load

        def less(entries, **how):
            (pin, pages), = entries
            return load([(pin, pages[:5])], **how)

        for kind in "sync", "async":
            self.engine.set_options(load=kind)
            with self.subTest(load=kind), mock.patch.object(self.engine.worker.gpu, "load", less, create=True):
                answer = self.engine.run(ids)
                self.assertEqual(answer.cached, CACHED)
                self.assertNotEqual(answer.tokens, plain.tokens)

    def test_a_devices_blocks_are_not_taken_for_others(self):
        from kvshm.vllm.identity import space_of

        part, core = self.engine.worker.layout.parts[0], self.engine.core
        order = part.box.order()
        in_memory = {name: tensor.tensor for name, tensor in part.tensors.items()}
        config = core.vllm_config, core.scheduler.kv_cache_config
        prints = {space_of(*config, 0, tensors, 4096, "model", order).fingerprint for tensors, order in
                  ((part.tensors, order), (part.tensors, order[:-1] + [1 - order[-1]]), (in_memory, ()))}
        self.assertEqual(len(prints), 3)

    def test_several_requests_at_once(self):
        prompts = [ids, ids[:1300], document(900, skip=9000), ids[:2000]]
        alone = [self.run_and_drain(prompt).tokens for prompt in prompts]
        for load in "sync", "async":
            with self.subTest(load=load):
                self.engine.set_options(load=load)
                self.assertEqual([a.tokens for a in self.engine.run_many(prompts)], alone)

    def test_more_loads_than_jobs(self):
        self.engine.worker.gpu.close()
        self.engine.worker.gpu.inner = self.engine.worker.layout.open(self.engine.worker.client, max_jobs=1,
                                                                      max_blocks=64).inner
        self.addCleanup(setattr, self.engine.worker, "has_hooks", True)
        cuda.script("h2d=2e7")
        for load in "async", "sync":
            with self.subTest(load=load):
                self.engine.set_options(load=load)
                answers = self.engine.run_many([ids] * 3)
                self.assertEqual([(a.tokens, a.cached) for a in answers], [(plain.tokens, CACHED)] * 3)

    def test_longer_prompt_hits_its_prefix_and_saves_the_rest(self):
        other = ids[:1500] + document(700, skip=5000)
        first = self.run_and_drain(other)
        self.assertEqual(first.cached, 1500 // BLOCK * BLOCK)
        self.same(self.engine.run(other), CACHED, first)

    def test_generated_blocks_are_saved_too(self):
        answer = self.run_and_drain(ids[:1000], new=200)
        again = self.engine.run(ids[:1000] + answer.tokens[:180], new=2)
        self.assertEqual(again.cached, (1000 + 180) // BLOCK * BLOCK)
        self.assertEqual(again.tokens[:2], answer.tokens[180:182])

    def test_aborted_request(self):
        from vllm import SamplingParams

        cuda.script("h2d=2e7")
        for load in "sync", "async":
            with self.subTest(load=load):
                self.engine.set_options(load=load)
                core = self.engine.llm.llm_engine
                core.add_request("gone", {"prompt_token_ids": ids}, SamplingParams(max_tokens=50))
                core.step()
                core.abort_request(["gone"])
                self.same(self.engine.run(ids), CACHED)


class Failures(GpuTest):
    def test_refused_copy_is_computed(self):
        for load in "sync", "async":
            for nr in 1, 3:
                self.engine.set_options(load=load)
                self.refuse(nr)
                failed = self.engine.worker.gpu.info()["failed"]
                with self.subTest(load=load, nr=nr):
                    answer = self.engine.run(ids)
                    self.assertEqual((answer.tokens, answer.finish), (plain.tokens, "length"))
                    self.assertEqual(self.engine.worker.gpu.info()["failed"], failed + 1)
                self.calm()
                self.same(self.engine.run(ids), CACHED)

    def test_refused_copy_of_several_requests(self):
        for load in "sync", "async":
            self.engine.set_options(load=load)
            self.refuse(3)
            with self.subTest(load=load):
                self.assertEqual([a.tokens for a in self.engine.run_many([ids, ids, ids])], [plain.tokens] * 3)
            self.calm()

    def test_blocks_that_are_gone_are_computed(self):
        from kvshm.vllm.worker import Group

        space = self.engine.worker.groups[0].space
        for load in "sync", "async":
            for at in 0, 5:
                self.engine.set_options(load=load)
                pin = way.GpuWorker.pin

                def less(worker, load, at=at, pin=pin):
                    entries, _ = pin(worker, load)
                    (held, pages), = entries
                    return ([(held, pages[:at])], at) if at else ([None], 0)

                with self.subTest(load=load, at=at), mock.patch.object(way.GpuWorker, "pin", less):
                    self.assertEqual(self.engine.run(ids).tokens, plain.tokens)
                drain(self.engine)
                self.same(self.engine.run(ids), CACHED)
        self.assertIsInstance(self.engine.worker.groups[0], Group)
        self.assertIs(space, self.engine.worker.groups[0].space)

    def test_refused_copy_of_a_save_is_saved_again(self):
        other = document(PROMPT, skip=21000)
        cuda.script(";".join(f"fail={name}:1:1" for name in COPIES))
        first = self.run_and_drain(other)
        self.calm()
        self.same(self.run_and_drain(other), 0, first)
        self.same(self.engine.run(other), CACHED, first)

    def test_mistake_of_ours_costs_a_miss(self):
        for name in "load", "save":
            wrong = mock.patch.object(self.engine.worker.gpu, name, side_effect=IndexError("planted"), create=True)
            with self.subTest(call=name), wrong:
                self.assertEqual(self.engine.run(ids).tokens, plain.tokens)

    def test_a_request_waits_until_its_load_has_landed(self):
        from vllm import SamplingParams

        self.engine.set_options(load="async")
        cuda.script("h2d=1e7")          # half a second
        engine, worker, outs = self.engine.llm.llm_engine, self.engine.worker, []
        engine.add_request("waits", {"prompt_token_ids": ids}, SamplingParams(temperature=0, max_tokens=5))
        engine.step()
        while worker.loads:
            outs += engine.step()
            self.assertTrue(not outs or not worker.loads)
        while engine.has_unfinished_requests():
            outs += engine.step()
        self.assertEqual(list(outs[-1].outputs[0].token_ids), plain.tokens[:5])

    def test_a_step_does_not_compute_where_a_hung_copy_may_land(self):
        worker = self.engine.worker
        flight = mock.Mock(is_failed=False)
        flight.is_over.return_value = False
        flight.job.block.return_value = False
        with mock.patch.object(way, "HANG_S", 0.05), self.assertRaises(RuntimeError):
            worker.wait_for(flight, None)
        flight.job.cancel.assert_called_once_with()


class Behind(GpuTest):
    """A save reads pages while later steps run."""

    settings = dict(kv_cache_memory_bytes=34 << 18, max_model_len=2560, extra={"model_id": "behind"})
    prompts = 19000, 23000, 27000

    def test_pages_are_not_given_away_under_a_save(self):
        cuda.script(SLOW_SAVES)
        prompts = [document(PROMPT, skip=skip) for skip in self.prompts]
        with mock.patch.object(self.engine.worker, "before_step", wraps=self.engine.worker.before_step) as before:
            first = [self.engine.run(prompt) for prompt in prompts]     # each takes the pages of the one before
        self.assertTrue(before.call_args_list)
        self.assertTrue(any(seen == ("block", None) for seen in device.seen))
        self.calm()
        for prompt, answer in zip(prompts, first):
            self.same(self.engine.run(prompt), CACHED, answer)

    def test_one_that_cannot_be_waited_for_is_given_up(self):
        cuda.script(SLOW_SAVES)
        prompts = [document(PROMPT, skip=skip + 40) for skip in self.prompts]
        with mock.patch.object(self.engine.worker, "is_ordered", return_value=False):
            first = [self.engine.run(prompt) for prompt in prompts]
        self.calm()
        self.assertGreater(self.engine.worker.gpu.info()["cancelled"], 0)
        for prompt, answer in zip(prompts, first):
            again = self.run_and_drain(prompt)
            self.assertEqual(again.tokens, answer.tokens)

    def test_without_either_the_cache_would_be_wrong(self):
        """The comparison above can fail."""
        cuda.script(SLOW_SAVES)
        prompts = [document(PROMPT, skip=skip + 80) for skip in self.prompts]
        with mock.patch.object(self.engine.worker, "before_step"):
            first = [self.engine.run(prompt) for prompt in prompts]
        self.calm()
        again = [self.engine.run(prompt) for prompt in prompts]
        self.assertTrue(any(a.cached and a.tokens != b.tokens for a, b in zip(again, first)))


class Groups(GpuTest):
    """Layers with a window beside others: two groups of the device's side, one job."""

    settings = dict(hf_overrides={"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 512},
                    dtype="float32", extra={"model_id": "groups"})

    def test_hit(self):
        self.assertEqual(len(self.engine.worker.layout.parts), 2)
        self.same(self.engine.run(ids), CACHED, self.first)
        self.assertEqual([seen for seen in device.seen if seen[0] == "load"], [("load", 0)])

    def test_refused_copy_costs_the_whole_load(self):
        self.refuse(1)
        self.assertEqual(self.engine.run(ids).tokens, self.first.tokens)
        self.calm()
        self.same(self.engine.run(ids), CACHED, self.first)


class Untrusted(GpuTest):
    settings = dict(extra={"model_id": "untrusted"})

    @classmethod
    def setUpClass(cls):
        from kvshm.vllm.connector import KvshmConnector

        def open_client(self, label):
            return kvshm.open(self.options.socket, label=label, untrusted=True)

        with mock.patch.object(KvshmConnector, "open_client", open_client):
            super().setUpClass()

    def test_hit(self):
        self.assertFalse(self.engine.worker.client.stats()["is_trusted"])
        self.assertEqual(self.first.tokens, plain.tokens)
        for load in "sync", "async":
            with self.subTest(load=load):
                self.engine.set_options(load=load)
                self.same(self.engine.run(ids), CACHED)
        info = self.engine.worker.gpu.info()
        self.assertEqual((info["nr_pinned"], info["bounced_bytes"] > 0), (0, True))

    def test_more_blocks_than_the_librarys_buffer_holds(self):
        other = document(PROMPT, skip=31000)
        with mock.patch.object(self.engine.worker, "slots", 3):
            first = self.run_and_drain(other)
        self.assertEqual(len([seen for seen in device.seen if seen[0] == "save"]), -(-CACHED // BLOCK // 3))
        self.same(self.engine.run(other), CACHED, first)


class Ranks(unittest.TestCase):
    def test_two_ranks_in_processes_of_their_own(self):
        """Each with a device; the engine's own loop steps until the saves have ended."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        job = {"model": "tiny", "prompts": [[0, 2200], [0, 2200], [0, 1500]],
               "connector": connector_config(socket=stage.daemon.socket, save_wait_ms=5000),
               "engine": {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"}}
        first, second, shorter = answers(job, VLLM_ENABLE_V1_MULTIPROCESSING="1", **everywhere(folder))
        self.assertEqual((first.cached, second.cached, shorter.cached), (0, CACHED, 1500 // BLOCK * BLOCK))
        self.assertEqual(second.tokens, first.tokens)
        with open(os.path.join(folder, "counters"), "rb") as f:
            counters = dict(zip(COUNTERS, struct.unpack_from(f"<{len(COUNTERS)}Q", f.read())))
        self.assertGreater(counters["copies_d2h"] + counters["launches"], 0)


class Served(unittest.TestCase):
    def goes_without(self, reason, **settings):
        """One warning, and no cache.  Return: what the engine says to the prompt."""
        with self.assertLogs("vllm.kvshm", "WARNING") as logs:
            engine = make(**settings)
        with engine:
            self.assertEqual(len(logs.output), 1)
            self.assertIn(reason, logs.output[0])
            first = engine.run(ids)
            self.assertTrue(engine.llm.reset_prefix_cache())
            again = engine.run(ids)
            self.assertEqual((again.tokens, first.cached, again.cached), (first.tokens, 0, 0))
        return first

    def test_no_driver(self):
        with mock.patch.dict(os.environ, KVSHM_LIBCUDA="/nonexistent/libcuda.so.1"):
            self.assertEqual(self.goes_without("no driver").tokens, plain.tokens)

    def test_blocks_of_different_sizes(self):
        self.goes_without("blocks of 128 beside 256 tokens", name="sizes", dtype="float32")

    def test_layers_with_a_state(self):
        self.goes_without("layers with a state", name="state", dtype="float32", enable_prefix_caching=True)

    def test_a_daemon_that_dies_during_a_load_and_a_save(self):
        self.addCleanup(stage.daemon.start)
        with make(extra={"model_id": "dies"}) as engine:
            first = engine.run(ids)
            drain(engine)
            cuda.script("h2d=2e7;d2h=2e7")
            engine.set_options(load="async")
            load = engine.worker.gpu.load

            def and_die(*args, **how):
                job = load(*args, **how)
                stage.daemon.kill()
                return job

            with mock.patch.object(engine.worker.gpu, "load", and_die, create=True):
                answer = engine.run(ids)
            self.assertEqual((answer.tokens, answer.cached), (first.tokens, CACHED))
            other = document(PROMPT, skip=13000)
            self.assertEqual(engine.run(other).finish, "length")
            cuda.script(FAST)
            drain(engine)
            cuda.script("reset")
            self.assertEqual(engine.run(ids).tokens, first.tokens)


if __name__ == "__main__":
    unittest.main()
