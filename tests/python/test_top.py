#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kvshm top in a terminal: what it shows, what its keys do, how it ends."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from daemonlib import BUILD, MAPPED, Daemon, hello, leave, plain, receive
from vt100 import Screen

TOOL = os.path.join(BUILD, "kvshm")
DEADLINE_S = 30
UP, DOWN, RIGHT, LEFT = "\x1bOA", "\x1bOB", "\x1bOC", "\x1bOD"
F1, F4, F6, F10, END = "\x1bOP", "\x1bOS", "\x1bOu", "\x1bOx", "G"


class Top:
    """The program in a terminal of its own."""

    def __init__(self, socket, rows=24, columns=80, term="vt100"):
        self.screen = Screen(rows, columns)
        self.pid, self.fd = pty.fork()
        if not self.pid:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
            os.execve(TOOL, [TOOL, "top", "--delay", "0.1", "--socket", socket], dict(env, TERM=term, LC_ALL="C"))

    def keys(self, text):
        os.write(self.fd, text.encode())

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:                 # the other end is closed
            data = b""
        self.screen.feed(data)
        return bool(data)

    def resize(self, rows, columns):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, *texts, gone=()):
        """Until all @texts are on the screen and none of @gone."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            shown = self.screen.text()
            if all(t in shown for t in texts) and not any(t in shown for t in gone):
                return shown
            if time.monotonic() > deadline:
                raise AssertionError(f"waited for {texts} without {gone}, there is:\n{shown}")
            self.read(0.2)

    def end(self):
        """Exit status, after what it still prints."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = None
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                raise AssertionError("it does not end:\n" + self.screen.text())
            if not self.read(0.1):
                time.sleep(0.02)

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.fd)


class TopTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.sessions = []
        for label in (b"engine one", b"engine two"):
            s = self.daemon.connect()
            s.send(hello(label=label))
            self.sessions.append((s, receive(s)[2]))
            s.send(plain(MAPPED))
            receive(s)

    def tearDown(self):
        for s, fds in self.sessions:
            leave(s, fds)
        if self.daemon.process.poll() is None:
            self.daemon.process.send_signal(signal.SIGCONT)
        self.daemon.stop()

    def top(self, **options):
        t = Top(self.daemon.socket, **options)
        self.addCleanup(t.close)
        return t

    def test_it_shows_the_summary_and_every_view_a_tab(self):
        t = self.top()
        shown = t.wait_for("running", "arena   [", "pinned  [", "hits    [", "memory ", "F10 Quit", "64.0 MiB")
        self.assertTrue(shown.startswith("kvshm main  pid "))
        for name, text in (("clients", "engine two"), ("tiers", "dram"), ("namespaces", "PUBLISHED"), ("classes", "CLASS"),
                           ("queues", "TO TAKE"), ("pins", "kvshm_pin_scans_total"), ("gpu", "kvshm_gpu_loaded_bytes_total"),
                           ("numa", "EXTENT"), ("hist", "P99.9"), ("mrc", "miss-ratio curve"),
                           ("events", "events"), ("config", "arena.dir"), ("metrics", "kvshm_arena_capacity_bytes")):
            t.keys("\t")
            t.wait_for(text)
        t.keys("\t")
        t.wait_for("memory ", "evictions ")
        t.keys("2")
        t.wait_for("engine one")
        t.keys(LEFT)
        t.wait_for("protection", gone=["engine one"])
        t.keys(RIGHT)
        t.wait_for("engine one")

    def test_keys_sort_filter_and_scroll(self):
        t = self.top()
        t.wait_for("running")
        t.keys("2")
        t.wait_for("engine one", "engine two")
        t.keys(F4 + "two\r")
        t.wait_for("SLOT", "engine two", "Filter: two", gone=["engine one"])
        t.keys("\x1b")
        t.wait_for("engine one", "engine two", "F6 Sort  c")
        t.keys(F6)
        t.wait_for("F6 Sort: SLOT")
        t.keys(">")
        t.wait_for("F6 Sort: PID")
        t.keys("<<<")
        t.wait_for("F6 Sort: LABEL")
        t.keys("1" + LEFT)              # the last tab, and more lines than 24 rows have room for
        first, last = "kvshm_arena_capacity_bytes", "kvshm_writer_wakeups_total"
        shown = t.wait_for("METRIC", first, gone=[last])
        self.assertRegex(shown.splitlines()[5], "config metrics$")
        t.keys(DOWN)
        t.wait_for("METRIC", gone=[first])
        t.keys(END)
        t.wait_for("METRIC", last)
        t.keys(UP * 200)
        t.wait_for("METRIC", first, gone=[last])

    def test_help_pause_and_clear(self):
        t = self.top()
        t.wait_for("running")
        t.keys(F1)
        t.wait_for("another view", "no counter changes")
        t.keys("?")
        t.wait_for("memory ", gone=["another view"])
        t.keys("Z")
        t.wait_for("(standing still)")
        t.keys(" ")
        t.wait_for("running", gone=["(standing still)"])
        t.keys("c" + END)
        t.wait_for("now ", "hit ratio 0.0 %")

    def test_a_wider_terminal_has_more_columns(self):
        t = self.top()
        t.wait_for("running")
        t.keys("2")
        t.wait_for("engine one", gone=["LOOKUPS"])
        t.resize(50, 200)
        t.wait_for("LOOKUPS", "COMMITS", "engine two", "F10 Quit")

    def test_a_daemon_that_stops_and_dies_is_told(self):
        t = self.top()
        t.wait_for("running")
        self.daemon.process.send_signal(signal.SIGSTOP)
        t.wait_for("stopped  STALE: last values", "64.0 MiB")
        self.daemon.kill()
        t.wait_for("dead  STALE: last values", "64.0 MiB")
        os.remove(os.path.join(self.daemon.dir, "stats"))
        t.wait_for("no daemon  STALE: last values")
        self.daemon.start()
        t.wait_for("running", gone=["STALE"])

    def test_it_ends_by_q_by_f10_and_by_signals(self):
        for how in ("q", F10):
            t = self.top()
            t.wait_for("running")
            t.keys(how)
            self.assertEqual(t.end(), 0)
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            t = self.top()
            t.wait_for("running")
            os.kill(t.pid, sig)
            self.assertEqual(t.end(), 0)

    def test_without_a_terminal_or_a_daemon_it_says_so(self):
        run = subprocess.run([TOOL, "top", "--socket", self.daemon.socket], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stdout), (2, ""))
        self.assertIn("no terminal; kvshm stat --watch goes without", run.stderr)
        t = self.top(term="no-such-terminal")
        self.assertEqual(t.end(), 2)
        self.assertIn("no terminal that is known here", t.screen.text())
        t = Top("/nowhere/kvshm.sock")
        self.addCleanup(t.close)
        self.assertEqual(t.end(), 1)
        self.assertIn("no daemon here", t.screen.text())


if __name__ == "__main__":
    unittest.main()
