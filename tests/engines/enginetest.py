# SPDX-License-Identifier: Apache-2.0
"""enginetest - a daemon, a prompt, what an engine without any cache says to it, and tests that share an engine.

vLLM's own prefix cache is off unless a test is about it, so the second run of a prompt loads what the
first has saved, and the first computes: what it says is what the others are held against.
"""
import unittest
from unittest import mock

import vllmlib  # noqa: F401: sets up the path
from daemonlib import Daemon
from vllmlib import Engine, connector_config, document

PROMPT, CACHED, BLOCK = 2200, 2176, 128     # 17 blocks and 24 tokens more


class Stage:
    """Of the module that runs: begin() in its setUpModule, end() in its tearDownModule."""

    def begin(self, **plain_options):
        self.daemon = Daemon("--size", "512M")
        self.ids = document(PROMPT)
        with Engine(**plain_options) as engine:     # no connector
            self.plain = engine.run(self.ids)

    def end(self):
        self.daemon.stop()


stage = Stage()


def make(policy="recompute", role="kv_both", extra=None, **options):
    """@extra: options of the connector.  On a busy machine the daemon grants late, and what is left out would be a miss."""
    return Engine(connector=connector_config(policy, role, **{"socket": stage.daemon.socket, "save_wait_ms": 5000,
                                                              **(extra or {})}), **options)


class EngineTest(unittest.TestCase):
    """A class's tests share an engine, in which the prompt is saved."""

    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.engine = make(**cls.settings)
        cls.first = cls.engine.run(stage.ids)

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()

    def setUp(self):
        self.engine.set_options(load="auto", async_mib=64)

    def tearDown(self):
        scheduler = self.engine.scheduler
        self.assertEqual((scheduler.states, scheduler.open, scheduler.unsure, scheduler.loads), ({}, {}, {}, []))

    def same(self, answer, cached, want=None):
        self.assertEqual(answer.tokens, (want or stage.plain).tokens)
        self.assertEqual((answer.cached, answer.finish), (cached, "length"))

    def failing(self, at, spoil=False):
        """Loads end before their block @at; @spoil: bytes of another come into the rest."""
        worker, copy_in = self.engine.worker, self.engine.worker.copy_in

        def fail(load):
            nr = min(at, copy_in(load))
            if spoil:
                for group in worker.groups:
                    pages = load.pages[group.index][nr - load.nr:]
                    group.pages.load(pages, bytes(group.pages.page_len * len(pages)))
            return nr

        return mock.patch.object(worker, "copy_in", fail)

    def spoiling(self, group, at=20000, nr=4096):
        """What is loaded for @group of the worker has @nr bytes of another from byte @at of each block."""
        load = group.pages.load

        def spoiled(pages, blocks):
            load(pages, [bytes(b)[:at] + b"A" * nr + bytes(b)[at + nr:] for b in blocks])

        return mock.patch.object(group, "pages", mock.MagicMock(load=spoiled))

    def bytes_are_used(self, groups, cached):
        """The comparison of all other tests can fail, in each of @groups, which are by kind."""
        for kind, group in groups.items():
            with self.subTest(kind=kind), self.spoiling(group):
                answer = self.engine.run(stage.ids)
                self.assertEqual(answer.cached, cached)
                self.assertNotEqual(answer.tokens, stage.plain.tokens)
