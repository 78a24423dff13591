#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pin files over a SIGKILL of the daemon: those of living clients go on counting, the others go."""
import fcntl
import os
import signal
import struct
import time
import unittest

from daemonlib import MAPPED, READY, WELCOME, Daemon, close_all, hello, leave, plain, receive


def attach(daemon, lock):
    s = daemon.connect()
    s.send(hello())
    kind, data, fds = receive(s)
    assert kind == WELCOME, kind
    if lock:
        fcntl.lockf(fds[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    s.send(plain(MAPPED))
    assert receive(s)[0] == READY
    return s, fds, struct.unpack_from("<I", data, 16)[0]


def until(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Restart(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("-v")

    def tearDown(self):
        self.assertEqual(self.daemon.stop(), 0)

    def child(self, lock):
        """A process with a session; it ends by a signal.  Return: its pid and slot."""
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(w, struct.pack("<I", attach(self.daemon, lock)[2]))
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        os.close(w)
        slot = struct.unpack("<I", os.read(r, 4))[0]
        os.close(r)
        return pid, slot

    def end(self, pid):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def restart(self):
        self.daemon.kill()
        self.daemon.start()
        self.assertIn("warm", self.daemon.said())

    def test_pin_files_of_living_clients_are_kept_locked_or_not(self):
        locked, unlocked = attach(self.daemon, True), attach(self.daemon, False)
        self.restart()
        self.assertEqual(self.daemon.pin_files(), [locked[2], unlocked[2]])
        self.assertIn("2 orphans", self.daemon.said())
        self.assertIn(f"pin file {unlocked[2]} is unlocked but its owner", self.daemon.said())
        fresh = attach(self.daemon, True)
        self.assertNotIn(fresh[2], (locked[2], unlocked[2]))
        for s, fds, slot in (locked, unlocked, fresh):
            leave(s, fds)
        self.assertTrue(until(lambda: not self.daemon.pin_files()), self.daemon.pin_files())

    def test_pin_files_of_clients_that_died_meanwhile_go_at_the_start(self):
        pid, _ = self.child(lock=True)
        self.daemon.kill()
        self.end(pid)
        self.daemon.start()
        self.assertEqual(self.daemon.pin_files(), [])
        self.assertIn("0 orphans", self.daemon.said())

    def test_a_client_that_dies_after_the_restart_is_noticed(self):
        for lock in (True, False):
            pid, slot = self.child(lock)
            self.restart()
            self.assertEqual(self.daemon.pin_files(), [slot])
            self.end(pid)
            self.assertTrue(until(lambda: not self.daemon.pin_files()), self.daemon.pin_files())

    def test_pin_files_survive_two_restarts(self):
        pid, slot = self.child(lock=False)
        self.restart()
        self.restart()
        self.assertEqual(self.daemon.pin_files(), [slot])
        self.end(pid)
        self.assertTrue(until(lambda: not self.daemon.pin_files()))

    def test_a_stopped_client_is_not_dead(self):
        pid, slot = self.child(lock=True)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)         # several ticks of the reaper: time is what is under test
        self.assertEqual(self.daemon.pin_files(), [slot])
        self.end(pid)
        self.assertTrue(until(lambda: not self.daemon.pin_files()))

    def test_a_living_client_that_hung_up_keeps_its_pins_until_it_closes_them(self):
        s, fds, slot = attach(self.daemon, True)
        s.close()
        time.sleep(0.3)         # the same
        self.assertEqual(self.daemon.pin_files(), [slot])
        os.pwrite(fds[1], struct.pack("<I", 0x534F4C43), 0)     # CLOSED
        close_all(fds)
        self.assertTrue(until(lambda: not self.daemon.pin_files()))


if __name__ == "__main__":
    unittest.main()
