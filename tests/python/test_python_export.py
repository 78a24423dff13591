#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pins handed from process to process as plain data: either may die, and no byte is ever a wrong one."""
import os
import random
import signal
import struct
import unittest

from packagelib import BLOCK, WithDaemon, attach, bytes_of, keys_of, kvshm, put, until
from daemonlib import Daemon

NR = 20
HEADER = 96


class Child:
    """A process that runs `work(client, namespace, say)` and then waits to be killed."""

    def __init__(self, test, work):
        self.reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.reader)
                client = kvshm.open(socket=test.daemon.socket, label="child", timeout=10.0)
                work(client, attach(client), lambda data: os.write(writer, struct.pack("<I", len(data)) + data))
                status = 0
                signal.pause()
            finally:
                os._exit(status)
        os.close(writer)
        test.addCleanup(self.end)

    def heard(self):
        """The next thing that it says; b"" when it has ended."""
        head = os.read(self.reader, 4)
        data = b""
        while head and len(data) < struct.unpack("<I", head)[0]:
            more = os.read(self.reader, struct.unpack("<I", head)[0] - len(data))
            if not more:
                return b""
            data += more
        return data

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        return status

    def end(self):
        if self.pid:
            self.kill()
        os.close(self.reader)


class Processes(WithDaemon):
    options = ("--set", "policy.name=leaf-lru")     # others may keep what was used twice

    def evict_all(self):
        """More than the arena holds: what nobody has pinned goes."""
        for chain in range(1000, 1030):
            put(self.ns, chain, 40)

    def check(self, pin, first=0):
        self.assertEqual([bytes(b) for b in pin], [bytes_of(1, first + i) for i in range(len(pin))])

    def slots(self):
        return self.daemon.pin_files()

    def exporter(self):
        def work(client, ns, say):
            put(ns, 1, NR)
            pin = ns.acquire(keys_of(1, NR))
            say(pin.export())
            self.kept = pin
        return Child(self, work)

    def test_an_import_outlives_the_exporter(self):
        child = self.exporter()
        data = child.heard()
        pin = self.ns.import_pin(data)
        slots = self.slots()
        child.kill()
        self.assertTrue(until(lambda: len(self.slots()) < len(slots)))
        self.evict_all()
        self.assertEqual(len(pin), NR)
        self.check(pin)
        pin.release()
        self.evict_all()
        self.assertRaises(kvshm.StaleError, self.ns.import_pin, data)

    def test_an_exporter_outlives_the_importer(self):
        put(self.ns, 1, NR)
        pin = self.ns.acquire(keys_of(1, NR))
        data = pin.export(first=5)

        def work(client, ns, say):
            mine = ns.import_pin(data)
            say(b"".join(bytes(b)[:8] for b in mine))
            self.kept = mine
        child = Child(self, work)
        self.assertEqual(child.heard(), b"".join(bytes_of(1, i)[:8] for i in range(5, NR)))
        slots = self.slots()
        child.kill()
        self.assertTrue(until(lambda: len(self.slots()) < len(slots)))
        self.evict_all()
        self.check(pin)

    def test_what_a_dead_exporter_left_behind_is_stale_once_it_is_evicted(self):
        child = self.exporter()
        data = child.heard()
        slots = self.slots()
        child.kill()
        self.assertTrue(until(lambda: len(self.slots()) < len(slots)))
        self.evict_all()
        with self.assertRaises(kvshm.StaleError) as raised:
            self.ns.import_pin(data)
        self.assertIn("compute", str(raised.exception))

    def test_importers_that_are_killed_while_blocks_come_and_go_saw_no_wrong_byte(self):
        put(self.ns, 1, NR)

        def work(client, ns, say):
            while True:
                data = self.data
                try:
                    pin = ns.import_pin(data)
                except kvshm.StaleError:
                    say(b"stale")
                    return
                say(b"right" if all(bytes(b) == bytes_of(1, i) for i, b in enumerate(pin)) else b"wrong")
                pin.release()
        seen = set()
        for turn in range(12):
            with self.ns.acquire(keys_of(1, NR)) as pin:
                if len(pin) < NR:
                    pin.release()
                    put(self.ns, 1, NR)
                    continue
                self.data = pin.export()
            child = Child(self, work)
            seen.add(child.heard())
            for chain in range(turn * 10, turn * 10 + 10):      # the child goes on meanwhile
                put(self.ns, 2000 + chain, 40)
            child.kill()
            while True:
                said = child.heard()
                if not said:
                    break
                seen.add(said)
        self.assertIn(b"right", seen)
        self.assertNotIn(b"wrong", seen)

    def test_a_daemon_that_is_dead_or_comes_back_warm_changes_nothing(self):
        put(self.ns, 1, NR)
        pin = self.ns.acquire(keys_of(1, NR))
        other = attach(self.open())
        data = pin.export()
        self.daemon.kill()
        self.check(other.import_pin(data))
        self.assertEqual(pin.export(), data)
        self.daemon.start()
        self.assertIn("warm", self.daemon.said())
        self.assertTrue(until(lambda: other.acquire(keys_of(1, 1)) and other.client.stats()["reattaches"]))
        with other.import_pin(data) as mine:
            self.check(mine)

    def test_a_daemon_that_starts_cold_makes_it_stale(self):
        put(self.ns, 1, NR)
        pin = self.ns.acquire(keys_of(1, NR))
        data = pin.export()
        self.daemon.kill()
        self.daemon.options = ("--set", "arena.max_blocks=2048")
        self.daemon.start()
        self.assertIn("cold", self.daemon.said())
        other = attach(self.open())
        put(other, 1, NR)
        self.assertRaises(kvshm.StaleError, other.import_pin, data)
        self.assertTrue(until(lambda: not self.ns.acquire(keys_of(9, 1)) and self.client.stats()["reattaches"]))
        self.assertRaises(kvshm.StaleError, self.ns.import_pin, data)
        self.check(pin)                         # its own pin holds the old bytes

    def test_another_daemon_does_not_know_it(self):
        put(self.ns, 1, NR)
        data = self.ns.acquire(keys_of(1, NR)).export()
        second = Daemon()
        self.addCleanup(second.stop)
        with kvshm.open(socket=second.socket, timeout=10.0) as client:
            ns = attach(client)
            put(ns, 1, NR)
            self.assertRaises(kvshm.StaleError, ns.import_pin, data)

    def test_data_that_was_damaged_is_refused_or_harmless(self):
        put(self.ns, 3, 5)
        put(self.ns, 1, NR)
        pin = self.ns.acquire(keys_of(1, NR))
        data = pin.export()
        rand = random.Random(1)
        refused = 0
        for _ in range(600):
            bad = bytearray(data)
            for _ in range(rand.randint(1, 4)):
                bad[rand.randrange(len(bad) if rand.random() < 0.5 else HEADER)] ^= 1 << rand.randrange(8)
            try:
                with self.ns.import_pin(bad) as mine:
                    self.check(mine)
            except kvshm.Error:
                refused += 1
        self.assertGreater(refused, 400)
        for cut in (0, 1, HEADER - 1, HEADER, HEADER + 15, len(data) - 16, len(data) - 1):
            self.assertRaises(kvshm.Error, self.ns.import_pin, data[:cut])
        self.assertRaises(kvshm.Error, self.ns.import_pin, data + bytes(16))
        self.assertRaises(TypeError, self.ns.import_pin, "text")
        self.assertRaises(kvshm.Error, attach(self.client, b"other").import_pin, data)
        self.assertRaises(ValueError, pin.export, first=NR)
        self.assertEqual(len(self.ns.import_pin(bytearray(data))), NR)


class Forks(WithDaemon):
    def in_child(self, work):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = 0 if work() else 2
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_a_forked_child_is_told_to_open_its_own(self):
        put(self.ns, 1, 3)
        pin = self.ns.acquire(keys_of(1, 3))
        block = pin[0]

        def refused(use):
            try:
                use()
            except kvshm.ForkError as error:
                return "open one in this process" in str(error)
            return False

        def work():
            uses = (lambda: self.ns.acquire(keys_of(1, 3)), pin.resolve, pin.export, self.client.stats,
                    self.client.poll, self.client.sync, lambda: memoryview(block), lambda: block.address,
                    lambda: self.ns.put(keys_of(2, 1), bytes(BLOCK)), lambda: pin.copy_to(bytearray(BLOCK)),
                    lambda: attach(self.client), lambda: self.ns.grant(1), self.ns.drop)
            if not all(refused(use) for use in uses):
                return False
            pin.release()                       # the parent's: nothing happens
            self.client.close()
            mine = attach(kvshm.open(socket=self.daemon.socket))
            return len(mine.acquire(keys_of(1, 3))) == 3
        self.in_child(work)
        self.assertEqual(bytes(block), bytes_of(1, 0))
        with self.ns.acquire(keys_of(1, 3)) as again:
            self.assertEqual(len(again), 3)

    def test_a_child_that_ends_in_python_leaves_the_parents_session_alone(self):
        put(self.ns, 1, 3)
        pin = self.ns.acquire(keys_of(1, 3))
        self.in_child(lambda: self.__dict__.clear() is None)    # the child's copies of all objects end
        self.assertEqual(len(pin), 3)
        self.assertTrue(self.client.stats()["is_attached"])
        self.assertEqual(put(self.ns, 2, 3).published, 3)


if __name__ == "__main__":
    unittest.main()
