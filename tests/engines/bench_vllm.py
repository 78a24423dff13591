#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the connector costs vLLM's scheduler: the match beside vLLM's own look-up, and a step with nothing to do.

The real scheduler is driven with made-up model outputs, so no model time is in any figure.  What is compared takes
turns in one run of one engine: the two look-ups, and steps without a connector, with one that does nothing (what vLLM
itself does for any connector), and with ours.  Prints one JSON object; needs KVSHM_BUILD and the engines' environment.
"""
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import vllmlib
from daemonlib import Daemon
from vllmlib import Engine, connector_config

BLOCKS, BLOCK = 2048, 32
TOKENS = BLOCKS * BLOCK
ROUNDS, TURNS, DECODING = 200, 40, (1, 8, 64)
LAYERS = 30
PROMPT = [2 + 7 * i % 250 for i in range(TOKENS + 8)]


def median_us(samples):
    return round(statistics.median(samples) * 1e6, 2)


def timed(call, *args):
    start = time.perf_counter()
    result = call(*args)
    return time.perf_counter() - start, result


class Bench:
    def __init__(self, engine):
        from vllm.v1.outputs import ModelRunnerOutput
        from vllm.v1.request import Request

        self.core, self.output, self.request_type, self.nr = engine.core, ModelRunnerOutput, Request, 0
        self.scheduler, self.blocks = engine.core.scheduler, engine.core.scheduler.kv_cache_manager

    def request(self, ids, new=1):
        from vllm import SamplingParams

        self.nr += 1
        return self.request_type(f"bench{self.nr}", list(ids),
                                 SamplingParams(temperature=0, max_tokens=new, ignore_eos=True), None,
                                 block_hasher=self.core.request_block_hasher)

    def step(self):
        """One of the scheduler, without a model.  Return: seconds of schedule() and update_from_output()."""
        schedule_s, out = timed(self.scheduler.schedule)
        ids = list(out.num_scheduled_tokens)
        fake = self.output(req_ids=ids, req_id_to_index={r: i for i, r in enumerate(ids)},
                           sampled_token_ids=[[5]] * len(ids))
        update_s, _ = timed(self.scheduler.update_from_output, out, fake)
        return schedule_s + update_s

    def begin_decoding(self, nr):
        """Requests none of which fills a block."""
        for i in range(nr):
            self.scheduler.add_request(self.request([3 + (i * 13 + k) % 200 for k in range(20)], new=BLOCK - 2 - 20))
        self.step()

    def decode_s(self, nr):
        self.begin_decoding(nr)
        samples = []
        while self.scheduler.has_unfinished_requests():
            samples.append(self.step())
        return samples[1:-1]


def null_connector(engine):
    """Does what vLLM demands of any and no more."""
    from vllm.distributed.kv_transfer.kv_connector.v1.base import (
        KVConnectorBase_V1, KVConnectorMetadata, KVConnectorRole, SupportsHMA)

    class Null(KVConnectorBase_V1, SupportsHMA):
        metadata = KVConnectorMetadata()

        def get_num_new_matched_tokens(self, request, num_computed_tokens):
            return 0, False

        def build_connector_meta(self, scheduler_output):
            return self.metadata

        def request_finished_all_groups(self, request, block_ids):
            return False, None

        def nothing(self, *args, **kwargs):
            return None

        update_state_after_alloc = start_load_kv = wait_for_layer_load = save_kv_layer = wait_for_save = nothing

    core = engine.core
    return Null(core.vllm_config, KVConnectorRole.SCHEDULER, core.scheduler.kv_cache_config)


def step_figures(engine):
    ours, figures = engine.core.scheduler.connector, {}
    kinds = {"without": None, "null": null_connector(engine), "with": ours}
    for nr in DECODING:
        samples = {name: [] for name in kinds}
        for _ in range(TURNS):
            for name, connector in kinds.items():
                engine.core.scheduler.connector = connector
                samples[name] += Bench(engine).decode_s(nr)
        figures[f"step_{nr}_decoding_us"] = {name: median_us(samples[name]) for name in kinds}
    engine.core.scheduler.connector = ours
    return figures


def fill(engine, keys):
    """The cache holds what a prompt of all these blocks would have saved."""
    space = engine.worker.groups[0].space
    for at in range(0, len(keys), 16):
        grants = space.grant(16, 5.0)
        space.commit(keys[at:at + 16], grants, keys[at - 1] if at else None)
    space.client.sync()


def match_figures(engine):
    bench = Bench(engine)
    request = bench.request(PROMPT)
    engine.scheduler.may_load = engine.scheduler.may_save = False
    bench.scheduler.add_request(bench.request(PROMPT))
    bench.step()                            # vLLM's own prefix cache has all blocks now
    engine.scheduler.may_load = True
    fill(engine, request.block_hashes[:BLOCKS])
    connector, ours, own = bench.scheduler.connector, [], []
    for _ in range(ROUNDS):
        seconds, (tokens, _) = timed(connector.get_num_new_matched_tokens, request, 0)
        ours.append(seconds)
        seconds, computed = timed(bench.blocks.get_computed_blocks, request)
        own.append(seconds)
    connector.request_finished(request, [])
    return {"match_blocks": tokens // BLOCK, "match_p50_us": median_us(ours), "own_lookup_blocks": computed[1] // BLOCK,
            "own_lookup_p50_us": median_us(own)}


def worker_step(worker, scheduler, orders):
    """All that a step calls on the two halves of an idle connector, layers included."""
    orders = scheduler.build_connector_meta(orders)
    worker.handle_preemptions(orders)
    worker.bind_connector_metadata(orders)
    worker.start_load_kv(None)
    for _ in range(LAYERS):
        worker.wait_for_layer_load("layer")
        worker.save_kv_layer("layer", None, None)
    worker.wait_for_save()
    worker.get_finished(set())
    worker.get_block_ids_with_load_errors()
    worker.build_connector_worker_meta()
    worker.clear_connector_metadata()
    scheduler.take_events()


def idle_figures(engine):
    from vllm.distributed.kv_transfer import get_kv_transfer_group
    from vllm.v1.core.sched.output import SchedulerOutput

    out, worker, scheduler = SchedulerOutput.make_empty(), get_kv_transfer_group(), engine.core.scheduler.connector
    samples = [timed(worker_step, worker, scheduler, out)[0] for _ in range(ROUNDS)]
    return {"idle_calls_p50_us": median_us(samples), "idle_layers": LAYERS}


def main():
    daemon = Daemon("--size", "1G")
    options = dict(max_model_len=TOKENS + 256, hf_overrides={"max_position_embeddings": TOKENS + 256}, max_num_seqs=64,
                   block_size=BLOCK, enable_prefix_caching=True, max_num_batched_tokens=TOKENS + 512, kv_mib=400)
    figures = {"schema": "kvshm-bench-vllm/1", "blocks": BLOCKS, "load_average": os.getloadavg()[0]}
    try:
        with Engine("tiny", connector_config(socket=daemon.socket), **options) as engine:
            figures.update(step_figures(engine))
            figures.update(idle_figures(engine))
            figures.update(match_figures(engine))
    finally:
        daemon.stop()
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
