#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The package without a daemon: one that is not there yet, that dies, that hangs, that has another ABI."""
import errno
import gc
import os
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time
import unittest

from packagelib import BLOCK, WithDaemon, attach, bytes_of, keys_of, kvshm, put, until


def refused():
    return struct.pack("<IHHiI112s", 0x4D53564B, 10, 128, -errno.EPROTONOSUPPORT, 99, b"other ABI")


class Absent(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="kvshm-test.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.path = os.path.join(self.dir, "kvshm.sock")

    def test_open_says_what_to_do(self):
        with self.assertRaises(kvshm.NoDaemonError) as raised:
            kvshm.open(socket=self.path)
        self.assertIsInstance(raised.exception, OSError)
        self.assertEqual(raised.exception.errno, errno.ENOENT)
        self.assertIn("kvshmd", str(raised.exception))
        self.assertRaises(kvshm.Error, kvshm.open, socket="x" * 200)
        self.assertRaises(TypeError, kvshm.open, socket=5)

    def test_a_client_that_is_not_required_misses(self):
        with kvshm.open(socket=self.path, required=False) as client:
            ns = attach(client)
            self.assertEqual(ns.acquire(keys_of(1, 3)).matched, 0)
            self.assertEqual([p.matched for p in ns.acquire_loose(keys_of(1, 3))], [0, 0, 0])
            self.assertEqual([p.matched for p in kvshm.acquire_group([(ns, keys_of(1, 3))])], [0])
            self.assertFalse(ns.put(keys_of(1, 1), bytes(BLOCK), timeout=1.0))
            self.assertEqual(ns.grant(3), [])
            self.assertEqual(client.poll(timeout=1.0), [])
            self.assertFalse(client.stats()["is_attached"])
            client.set_hint(1)
            self.assertFalse(ns.hold(keys_of(1, 1)) or ns.session_closed(keys_of(1, 1), 1) or client.hold_end(1))
            self.assertRaises(kvshm.StaleError, ns.import_pin, bytes(200))
            for use in (ns.drop, client.sync):
                self.assertRaises(kvshm.NoDaemonError, use)

    def test_a_socket_that_never_answers_costs_a_tenth_of_the_time(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as deaf:
            deaf.bind(self.path)
            deaf.listen(5)
            client = kvshm.open(socket=self.path, timeout=0.2, required=False)
            ns = attach(client)
            began, nr = time.monotonic(), 0
            while nr < 1000:                    # each a miss; the wait comes once, not each time
                self.assertFalse(ns.acquire(keys_of(1, 3)))
                nr += 1
            self.assertLess(time.monotonic() - began, 1000 * 0.2 / 10)
            client.close()

    def test_another_abi_is_no_absence(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.path)
            listener.listen(5)

            def refuse():
                s = listener.accept()[0]
                s.recv(256)
                s.send(refused())
                s.close()
            thread = threading.Thread(target=refuse)
            thread.start()
            with self.assertRaises(kvshm.Error) as raised:
                kvshm.open(socket=self.path, required=False, timeout=10.0)
            thread.join()
            self.assertEqual(raised.exception.errno, errno.EPROTONOSUPPORT)
            self.assertIn("one release", str(raised.exception))


class Late(WithDaemon):
    def test_a_daemon_that_comes_later_is_found(self):
        self.daemon.kill()
        os.unlink(self.daemon.socket)
        late = self.open(required=False)
        ns = attach(late)
        self.assertFalse(ns.acquire(keys_of(1, 3)))
        self.daemon.start()
        self.assertTrue(until(lambda: ns.put(keys_of(1, 2), bytes_of(1, 0) + bytes_of(1, 1), timeout=1.0), 30))
        self.assertEqual(until(lambda: late.poll(timeout=1.0))[0].published, 2)
        with ns.acquire(keys_of(1, 2)) as pin:
            self.assertEqual(bytes(pin[1]), bytes_of(1, 1))

    def test_a_name_that_has_another_layout_is_told_when_the_daemon_comes(self):
        self.daemon.kill()
        os.unlink(self.daemon.socket)
        late = attach(self.open(required=False), block_tokens=99)
        self.assertFalse(late.acquire(keys_of(1, 3)))
        self.daemon.start()

        def told():
            try:
                return late.acquire(keys_of(1, 3)) and False
            except kvshm.LayoutError:
                return True
        self.assertTrue(until(told, 30))


class Death(WithDaemon):
    def test_hits_go_on_and_puts_are_dropped(self):
        put(self.ns, 1, 9)
        pin = self.ns.acquire(keys_of(1, 9))
        view = memoryview(pin[4])
        grants = self.ns.grant(1, timeout=5.0)
        self.daemon.kill()
        self.assertEqual(view, bytes_of(1, 4))
        with self.ns.acquire(keys_of(1, 20)) as again:
            self.assertEqual([bytes(b) for b in again], [bytes_of(1, i) for i in range(9)])
        self.assertTrue(until(lambda: not put(self.ns, 2, 2, wait=False)))
        self.assertEqual(self.client.poll(timeout=1.0), [])
        self.assertFalse(self.ns.commit(keys_of(3, 1), grants))
        self.assertEqual(self.ns.grant(1, timeout=1.0), [])
        self.assertFalse(self.client.stats()["is_attached"])
        self.assertGreater(self.client.stats()["dropped_dead"], 0)
        self.daemon.start()
        self.assertTrue(until(lambda: put(self.ns, 4, 1, wait=False), 30))
        self.assertEqual(view, bytes_of(1, 4))

    def test_a_stopped_daemon_holds_up_nothing(self):
        put(self.ns, 1, 9)
        os.kill(self.daemon.process.pid, signal.SIGSTOP)
        try:
            for _ in range(100):
                with self.ns.acquire(keys_of(1, 9)) as pin:
                    self.assertEqual(bytes(pin[8]), bytes_of(1, 8))
            self.assertEqual(self.client.poll(), [])
        finally:
            os.kill(self.daemon.process.pid, signal.SIGCONT)

    def test_killed_while_threads_copy_and_put(self):
        put(self.ns, 1, 40)
        wrong, stop = [], threading.Event()

        def read():
            one = bytearray(40 * BLOCK)
            while not stop.is_set():
                with self.ns.acquire(keys_of(1, 40)) as pin:
                    n = pin.copy_to(one)
                if one[:n * BLOCK] != b"".join(bytes_of(1, i) for i in range(n)):
                    wrong.append(n)

        def write():
            chain = 100
            while not stop.is_set():
                chain += 1
                put(self.ns, chain, 2, wait=False)
                self.client.poll()
        threads = [threading.Thread(target=work) for work in (read, write)]
        for t in threads:
            t.start()
        try:
            for _ in range(3):
                began = self.client.stats()["commits"]
                self.assertTrue(until(lambda: self.client.stats()["commits"] > began + 5, 30))
                self.daemon.kill()
                self.daemon.start()
        finally:
            stop.set()
            for t in threads:
                t.join()
        self.assertEqual(wrong, [])
        gc.collect()


if __name__ == "__main__":
    unittest.main()
