#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kvshm mrc beside a daemon that was used before: what it had is a hit in its memory, and each use is counted once."""
import json
import os
import signal
import subprocess
import unittest

from packagelib import BUILD, WithDaemon, attach, keys_of, put, until

KVSHM = os.path.join(BUILD, "kvshm")


class Live(WithDaemon):
    options = ("--set", "arena.max_blocks=512")

    def listen(self):
        mrc = subprocess.Popen([KVSHM, "mrc", "--socket", self.daemon.socket, "--seconds", "100", "--json"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(mrc.communicate)
        self.addCleanup(mrc.kill)
        self.assertIn("listening", mrc.stderr.readline())
        return mrc

    def use(self, chain, nr, want):
        """A request as engines make it: find, put what is missing at once."""
        with self.ns.acquire(keys_of(chain, nr)) as pin:
            self.assertEqual(pin.matched, want)
            if want < nr:
                put(self.ns, chain, nr)

    def touches(self):
        done = subprocess.run([KVSHM, "stat", "events", "--socket", self.daemon.socket, "--json"],
                              capture_output=True, text=True, check=True)
        return done.stdout.count('"touched"')

    def spaces(self, mrc, touches):
        """The namespaces, once as many uses have been drained from the touch rings."""
        self.assertTrue(until(lambda: self.touches() >= touches), self.touches())
        mrc.send_signal(signal.SIGTERM)
        out, err = mrc.communicate(timeout=60)
        self.assertEqual(mrc.returncode, 0, err)
        return json.loads(out)["namespaces"]

    def heard(self, mrc, touches):
        (ns,) = self.spaces(mrc, touches)
        self.assertNotIn("shared_block_hit_ratio", ns)
        return ns

    def test_two_namespaces_are_also_told_together(self):
        first, second = self.ns, attach(self.client, b"another")
        mrc = self.listen()
        for self.ns, nr in ((first, 8), (second, 4)):
            self.use(1, nr, 0)
            self.use(1, nr, nr)
        both = self.spaces(mrc, 2)
        self.assertEqual([ns["asked_blocks"] for ns in both], [16, 8])
        for ns in both:
            self.assertAlmostEqual(ns["shared_block_hit_ratio"], 0.5)
            self.assertAlmostEqual(ns["shared_block_hit_ratio_with_more"], 0.5)

    def test_what_the_daemon_had_before_is_a_hit_in_its_memory(self):
        put(self.ns, 1, 8)
        mrc = self.listen()
        self.use(1, 8, 8)
        self.use(2, 4, 0)
        self.use(2, 4, 4)
        ns = self.heard(mrc, 2)
        self.assertEqual((ns["requests"], ns["asked_blocks"]), (3, 16))
        # 64 MiB would hold 1,024 of these blocks; the directory's share of 64 GiB more is as large.
        self.assertEqual((ns["capacity_blocks"], ns["capacity_blocks_with_more"]), (512, 512 * 1025))
        for name in ("heard", "policy"):
            self.assertAlmostEqual(ns[name + "_block_hit_ratio"], 12 / 16)
        self.assertAlmostEqual(ns["block_hit_ratio"], 12 / 16)
        self.assertAlmostEqual(ns["block_hit_ratio_with_more"], 12 / 16)

    def test_a_put_that_is_faster_than_the_touch_before_it_is_the_same_request(self):
        put(self.ns, 1, 8)
        mrc = self.listen()
        self.use(1, 12, 8)
        self.use(1, 14, 12)
        ns = self.heard(mrc, 2)
        self.assertEqual((ns["requests"], ns["asked_blocks"]), (2, 26))
        self.assertAlmostEqual(ns["heard_block_hit_ratio"], 20 / 26)
        self.assertAlmostEqual(ns["block_hit_ratio"], 20 / 26)


if __name__ == "__main__":
    unittest.main()
