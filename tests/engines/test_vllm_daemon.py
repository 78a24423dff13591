# SPDX-License-Identifier: Apache-2.0
"""vLLM whose daemon is not there, dies, hangs, comes back, or is another: never an error, never other tokens.

The moments of death are points in the connector, not sleeps.
"""
import errno
import os
import shutil
import signal
import socket
import struct
import tempfile
import threading
import unittest
from unittest import mock

import vllmlib
from daemonlib import ABI, MAGIC, REFUSED, Daemon
from vllmlib import Engine, connector_config, document

PROMPT, CACHED = 2200, 2176


class DaemonTest(unittest.TestCase):
    """A daemon of its own for each test, and an engine for all that is told where it is."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(prefix="kvshm-test.")
        cls.ids = document(PROMPT)
        cls.others = [document(PROMPT, skip=skip) for skip in range(5000, 25000, 5000)]
        with Engine() as engine:
            cls.plain = {id(p): engine.run(p).tokens for p in [cls.ids, *cls.others]}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home)

    def setUp(self):
        self.daemon = Daemon("--size", "512M")

    def tearDown(self):
        if self.daemon.process.poll() is None:
            self.daemon.process.send_signal(signal.SIGCONT)
        else:
            self.daemon.start()
        self.daemon.stop()

    def engine(self, **extra):
        return Engine(connector=connector_config(socket=self.daemon.socket, **extra))

    def run_right(self, engine, prompt):
        answer = engine.run(prompt)
        self.assertEqual((answer.tokens, answer.finish), (self.plain[id(prompt)], "length"))
        return answer.cached

    def run_until_cached(self, engine, prompt):
        """Attempts to find a daemon are a second apart; nothing else is waited for."""
        for _ in range(600):
            if self.run_right(engine, prompt):
                return
        self.fail("never cached")


class Death(DaemonTest):
    def test_between_requests_hits_go_on_and_saves_come_back(self):
        with self.engine() as engine:
            self.run_right(engine, self.ids)
            self.daemon.kill()
            self.assertEqual(self.run_right(engine, self.ids), CACHED)
            self.assertEqual(self.run_right(engine, self.others[0]), 0)
            self.assertEqual(self.run_right(engine, self.others[0]), 0)
            self.daemon.start()
            self.assertEqual(self.run_right(engine, self.ids), CACHED)
            self.run_until_cached(engine, self.others[0])

    def during(self, name, load="auto"):
        """SIGKILL when the worker gets to @name; a hit and a save are under way."""
        with self.engine(load=load) as engine:
            self.run_right(engine, self.ids)
            owner, call = engine.worker, getattr(engine.worker, name)

            def die(*args):
                if self.daemon.process.poll() is None:
                    self.daemon.kill()
                return call(*args)

            with mock.patch.object(owner, name, die):
                prompts = [self.ids, self.others[0], self.others[1]]
                answers = engine.run_many(prompts)
            self.assertIsNotNone(self.daemon.process.poll())
            self.assertEqual([a.tokens for a in answers], [self.plain[id(p)] for p in prompts])
            self.assertEqual(self.run_right(engine, self.ids), CACHED)

    def test_while_a_request_loads(self):
        for load in "sync", "async":
            with self.subTest(load=load):
                self.during("copy_in", load)
                self.daemon.start()

    def test_while_a_request_saves(self):
        self.during("copy_out")

    def test_while_answers_are_waited_for(self):
        self.during("look_for_answers")

    def test_between_grant_and_commit(self):
        with self.engine() as engine:
            group, pages = engine.worker.groups[0], engine.worker.groups[0].pages

            def die(*args):
                if self.daemon.process.poll() is None:
                    self.daemon.kill()
                pages.save(*args)

            with mock.patch.object(group, "pages") as patched:
                patched.save, patched.page_len = die, pages.page_len
                self.assertEqual(self.run_right(engine, self.ids), 0)
            self.daemon.start()
            self.run_until_cached(engine, self.ids)

    def test_again_and_again_while_requests_run(self):
        """Killed and started without end beside the engine: nothing but speed may change."""
        done = threading.Event()

        def storm():
            while not done.is_set():
                self.daemon.kill()
                self.daemon.start()

        with self.engine() as engine:
            killer = threading.Thread(target=storm)
            killer.start()
            try:
                for _ in range(8):
                    prompts = [self.ids, *self.others]
                    answers = engine.run_many(prompts)
                    self.assertEqual([a.tokens for a in answers], [self.plain[id(p)] for p in prompts])
                    self.assertEqual({a.finish for a in answers}, {"length"})
            finally:
                done.set()
                killer.join()
            self.run_until_cached(engine, self.ids)

    def test_content_is_gone(self):
        with self.engine() as engine:
            self.run_right(engine, self.ids)
            self.daemon.kill()
            for name in os.listdir(self.daemon.memory):
                os.unlink(os.path.join(self.daemon.memory, name))
            self.daemon.start()
            self.run_right(engine, self.ids)
            self.run_until_cached(engine, self.others[0])
            self.run_until_cached(engine, self.ids)

    def test_hangs(self):
        with self.engine() as engine:
            self.run_right(engine, self.ids)
            self.daemon.process.send_signal(signal.SIGSTOP)
            self.assertEqual(self.run_right(engine, self.ids), CACHED)
            self.run_right(engine, self.others[0])
            self.daemon.process.send_signal(signal.SIGCONT)
            self.run_until_cached(engine, self.others[1])


class Absence(DaemonTest):
    def test_no_daemon_is_said_once_and_one_that_comes_is_found(self):
        self.daemon.kill()
        os.unlink(self.daemon.socket)
        with self.assertLogs("vllm.kvshm", "INFO") as logs, self.engine() as engine:
            for _ in range(3):
                self.assertEqual(self.run_right(engine, self.ids), 0)
            self.assertEqual(len([r for r in logs.records if "no daemon" in r.getMessage()]), 1)
            self.daemon.start()
            self.run_until_cached(engine, self.ids)
        self.assertEqual([r.getMessage() for r in logs.records if "attached" in r.getMessage()],
                         ["kvshm: attached to the daemon"])

    def test_daemon_of_another_abi(self):
        path = os.path.join(self.home, "other.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
            server.bind(path)
            server.listen()
            thread = threading.Thread(target=self.refuse, args=(server,), daemon=True)
            thread.start()
            with self.assertLogs("vllm.kvshm", "WARNING") as logs:
                engine = Engine(connector=connector_config(socket=path))
            with engine:
                self.assertEqual([self.run_right(engine, self.ids) for _ in range(2)], [0, 0])
        self.assertIn("another ABI", "".join(logs.output))

    @staticmethod
    def refuse(server):
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.recv(256)
                peer.send(struct.pack("<IHHiI112s", MAGIC, REFUSED, 128, -errno.EPROTONOSUPPORT, ABI + 1, b"another"))


if __name__ == "__main__":
    unittest.main()
