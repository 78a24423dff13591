# SPDX-License-Identifier: Apache-2.0
"""What a step with nothing to do costs in vLLM's scheduler, in instructions of the interpreter: these are the same on
a busy machine and on a quiet one.
"""
import random
import sys
import unittest
from types import SimpleNamespace

from bench_vllm import BLOCK, Bench
from enginetest import make, stage

from kvshm.vllm.due import Due

MOST = 150                      # instructions of a step's calls
CALLS = "build_connector_meta", "update_connector_output", "take_events"


def setUpModule():
    from daemonlib import Daemon

    stage.daemon = Daemon("--size", "256M")


def tearDownModule():
    stage.end()


class Counter:
    """Counts instructions while one of the connector's calls is running."""

    def __init__(self, connector):
        self.connector, self.instructions, self.own = connector, 0, {}

    def __enter__(self):
        for name in CALLS:
            call = self.own[name] = getattr(self.connector, name)
            setattr(self.connector, name, lambda *args, call=call: self.run(call, *args))
        return self

    def __exit__(self, *_):
        for name in CALLS:
            delattr(self.connector, name)

    def run(self, call, *args):
        sys.settrace(self.trace)
        try:
            return call(*args)
        finally:
            sys.settrace(None)

    def trace(self, frame, event, arg):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.instructions += event == "opcode"
        return self.trace


class Steps(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = make(block_size=BLOCK, enable_prefix_caching=True, max_num_seqs=64)

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()

    def decoding(self, nr):
        """Instructions of each step while so many requests decode."""
        bench, counts = Bench(self.engine), []
        bench.begin_decoding(nr)
        while bench.scheduler.has_unfinished_requests():
            with Counter(bench.scheduler.connector) as counter:
                bench.step()
            counts.append(counter.instructions)
        return counts[1:-1]     # the last one ends requests

    def test_a_decoding_step_costs_the_same_for_any_number_of_requests(self):
        few, many = self.decoding(1), self.decoding(64)
        self.assertGreater(len(few), 4)
        self.assertEqual(set(few), set(many))
        self.assertLess(max(few), MOST)
        self.assertGreater(min(few), 10)        # they were counted

    def test_workers_are_sent_the_same_empty_orders(self):
        from kvshm.vllm.connector import NO_ORDERS

        connector = self.engine.core.scheduler.connector
        bench = Bench(self.engine)
        bench.begin_decoding(2)
        out = bench.scheduler.schedule()
        self.assertIs(out.kv_connector_metadata, NO_ORDERS)
        self.assertFalse(NO_ORDERS.loads or NO_ORDERS.saves or connector.scheduler.loads)
        ids = list(out.num_scheduled_tokens)
        bench.scheduler.update_from_output(out, bench.output(
            req_ids=ids, req_id_to_index={r: i for i, r in enumerate(ids)}, sampled_token_ids=[[5]] * len(ids)))
        while bench.scheduler.has_unfinished_requests():
            bench.step()


class DueRequests(unittest.TestCase):
    def test_none_is_late(self):
        """Against a look at each request in each step."""
        chance = random.Random(1)
        states, unit, looks, steps = {}, 16, 0, 4000
        due = Due(states)
        for step in range(steps):
            if len(states) < 40 and chance.random() < 0.2:
                state = SimpleNamespace(request=SimpleNamespace(request_id=str(step)), computed=chance.randrange(40), wake=0)
                state.due = state.computed // unit + 1
                states[str(step)] = state
                due.put(state, 0)
            scheduled = {name: chance.choice((1, 1, 1, 1, 7)) for name in states if chance.random() < 0.8}
            looked = due.pass_step(sum(scheduled.values()) - len(scheduled) + 1)
            looks += len(looked)
            for name, state in states.items():
                state.computed += scheduled.get(name, 0)
                if state.computed // unit >= state.due:
                    self.assertIn(state, looked)
            for state in looked:
                state.due = max(state.due, state.computed // unit + 1)
                due.put(state, state.due * unit - state.computed)
            for name in [name for name in states if chance.random() < 0.01]:
                del states[name]
        self.assertLess(looks, steps * 40)
        self.assertLess(len(due.heap), 1000)

    def test_steps_of_one_token_look_at_a_request_once_a_unit(self):
        states = {str(i): SimpleNamespace(request=SimpleNamespace(request_id=str(i)), ticket=i, wake=0) for i in range(64)}
        due = Due(states)
        for state in states.values():
            due.put(state, 128)
        looked = [len(due.pass_step(1)) for _ in range(128)]
        self.assertEqual(looked, [0] * 127 + [64])

    def test_what_has_another_time_or_is_gone_is_not_looked_at(self):
        a, b = (SimpleNamespace(request=SimpleNamespace(request_id=name), wake=0) for name in "ab")
        states = {"a": a, "b": b}
        due = Due(states)
        due.put(a, 3)
        due.put(b, 3)
        due.put(a, 9)
        del states["b"]
        self.assertEqual(list(due.pass_step(5)), [])
        self.assertEqual(list(due.pass_step(4)), [a])
        self.assertEqual(due.heap, [])


if __name__ == "__main__":
    unittest.main()
