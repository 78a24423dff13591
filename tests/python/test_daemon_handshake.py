#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a daemon refuses at its socket, by hand-made messages against a real process.

It must close the session, count it, go on serving others, and keep no descriptor.
"""
import os
import socket
import struct
import time
import unittest

from daemonlib import (ABI, EXTENT_FDS, EXTENTS, MAPPED, READY, REFUSED, STAGING, STAGING_FD, WELCOME, Daemon, close_all,
                       hello, leave, plain, receive)


class Handshake(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "clients.max=4", "--set", "clients.handshake_timeout=300ms")

    @classmethod
    def tearDownClass(cls):
        assert cls.daemon.stop() == 0, "the daemon did not end well"

    def attach(self):
        s = self.daemon.connect()
        s.send(hello())
        kind, data, fds = receive(s)
        self.assertEqual(kind, WELCOME)
        self.assertEqual(len(fds), 4)
        return s, data, fds

    def hung_up(self, s):
        kind, _, fds = receive(s)
        self.assertEqual((kind, fds), (0, []))
        s.close()

    def tearDown(self):
        """After whatever the test did: others are served, and no descriptor is left."""
        s, _, fds = self.attach()
        s.send(plain(MAPPED))
        self.assertEqual(receive(s)[0], READY)
        leave(s, fds)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            names = [n for n in os.listdir(self.daemon.memory) if n.startswith("pins.")]
            if not names:
                return
            time.sleep(0.01)
        self.fail(f"pin files left: {names}")

    def test_welcome_brings_four_descriptors_and_extents_come_on_request(self):
        s, data, fds = self.attach()
        abi, flags, slot, words, extents = struct.unpack_from("<IIIII", data, 8)
        self.assertEqual((abi, words), (ABI, 4096))
        self.assertTrue(flags & 1, "the daemon's own user is trusted")
        self.assertGreater(slot, 0)
        s.send(plain(MAPPED))
        self.assertEqual(receive(s)[0], READY)
        s.send(plain(EXTENTS, 0))
        kind, data, more = receive(s)
        self.assertEqual(kind, EXTENT_FDS)
        self.assertEqual(len(more), struct.unpack_from("<I", data, 12)[0])
        self.assertGreaterEqual(len(more), min(extents, 1))
        s.send(plain(EXTENTS, 100000))
        self.assertEqual(receive(s)[2], [])
        leave(s, fds + more)

    def test_the_segment_is_sealed_before_ready(self):
        s, _, fds = self.attach()
        s.send(plain(MAPPED))
        self.assertEqual(receive(s)[0], READY)
        for action in (lambda: os.ftruncate(fds[2], 4096), lambda: os.write(fds[2], b"x")):
            self.assertRaises(PermissionError, action)
        leave(s, fds)

    def test_the_segment_cannot_be_shrunk_before_the_seal_either(self):
        s, _, fds = self.attach()
        self.assertRaises(PermissionError, os.ftruncate, fds[2], 4096)
        leave(s, fds)

    def test_another_abi_is_refused_with_both_numbers(self):
        s = self.daemon.connect()
        s.send(hello(abi=77))
        kind, data, _ = receive(s)
        self.assertEqual(kind, REFUSED)
        error, abi = struct.unpack_from("<iI", data, 8)
        self.assertEqual((error, abi), (-93, ABI))
        self.assertIn(b"ABI 77", data)
        self.hung_up(s)

    def test_malformed_messages_end_the_session(self):
        bad = (b"x", b"x" * 300, hello(magic=1), hello(length=50), hello()[:-8], hello(flags=0x80),
               hello(resv=1), hello(label=b"x" * 32), plain(MAPPED), plain(EXTENTS), plain(WELCOME), plain(99))
        for m in bad:
            s = self.daemon.connect()
            s.send(m)
            self.hung_up(s)

    def test_a_second_hello_ends_the_session(self):
        s, _, fds = self.attach()
        s.send(hello())
        self.hung_up(s)
        leave(s, fds)

    def test_descriptors_sent_to_the_daemon_are_closed(self):
        before = self.daemon.nr_fds()
        for _ in range(20):
            s = self.daemon.connect()
            r, w = os.pipe()
            socket.send_fds(s, [hello()], [r, w])
            self.hung_up(s)
            close_all([r, w])
        deadline = time.monotonic() + 5
        while self.daemon.nr_fds() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertLessEqual(self.daemon.nr_fds(), before)

    def test_a_half_open_session_ends_after_its_time(self):
        s = self.daemon.connect()
        start = time.monotonic()
        self.hung_up(s)
        self.assertLess(time.monotonic() - start, 2)
        s, _, fds = self.attach()
        self.hung_up(s)
        leave(s, fds)

    def test_a_session_that_says_nothing_for_longer_than_that_lives(self):
        """Silence is no death (R17): it outlives a handshake that began after it and ran out of time."""
        s, _, fds = self.attach()
        s.send(plain(MAPPED))
        self.assertEqual(receive(s)[0], READY)
        for _ in range(2):
            self.hung_up(self.daemon.connect())
        s.send(plain(EXTENTS, 0))
        kind, _, more = receive(s)
        self.assertEqual(kind, EXTENT_FDS)
        close_all(more)
        leave(s, fds)

    def test_connections_that_say_nothing_keep_nobody_out(self):
        silent = []
        for _ in range(20):
            silent.append(self.daemon.connect())
            s, _, fds = self.attach()
            s.send(plain(MAPPED))
            self.assertEqual(receive(s)[0], READY)
            leave(s, fds)
        for s in silent:
            s.close()

    def test_a_full_table_is_refused_and_room_comes_back(self):
        held = []
        for _ in range(4):
            s, _, fds = self.attach()
            s.send(plain(MAPPED))
            self.assertEqual(receive(s)[0], READY)
            held.append((s, fds))
        s = self.daemon.connect()
        kind, data, _ = receive(s)
        self.assertEqual(kind, REFUSED)
        self.assertEqual(struct.unpack_from("<i", data, 8)[0], -11)
        self.assertIn(b"clients.max", data)
        s.close()
        for s, fds in held:
            leave(s, fds)

    def test_a_flood_of_messages_ends_the_session(self):
        s, _, fds = self.attach()
        s.send(plain(MAPPED))
        self.assertEqual(receive(s)[0], READY)
        try:
            for _ in range(1000):
                s.send(plain(EXTENTS, 100000))
                receive(s)
        except OSError:
            pass
        self.hung_up(s)
        leave(s, fds)

    def test_staging_is_made_once(self):
        s, _, fds = self.attach()
        s.send(plain(MAPPED))
        self.assertEqual(receive(s)[0], READY)
        s.send(plain(STAGING))
        kind, _, more = receive(s)
        self.assertEqual((kind, len(more)), (STAGING_FD, 1))
        s.send(plain(MAPPED))
        self.assertEqual(receive(s)[0], READY)
        s.send(plain(STAGING))
        self.hung_up(s)
        leave(s, fds + more)


if __name__ == "__main__":
    unittest.main()
