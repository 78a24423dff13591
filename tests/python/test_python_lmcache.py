#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The L2 plug-in of LMCache as LMCache calls it, without LMCache: its contract with futures and an event fd."""
import os
import select
import unittest

from packagelib import WithDaemon, until
from kvshm.lmcache import KvshmL2, block_keys

MODEL = "org/model@01000100@0@"


def object_key(n, model=MODEL):
    return f"{model}{n:064x}"


def data_of(n, length):
    return bytes((n * 37 + i) % 251 for i in range(256)) * (length // 256) + bytes(length % 256)


class Plugin(WithDaemon):
    length = 300_000

    def setUp(self):
        super().setUp()
        self.l2 = self.plugin()

    def plugin(self, **params):
        l2 = KvshmL2(**{"layout": "test bf16", "socket": self.daemon.socket, **params})
        self.addCleanup(self.close, l2)
        return l2

    def close(self, l2):
        if l2.fd is not None:
            l2.close()
            l2.fd = None

    def wait(self, l2, number):
        """As the demux thread of LMCache: poll, then drain."""
        poller = select.poll()
        poller.register(l2.event_fd(), select.POLLIN)
        self.assertTrue(poller.poll(30000))
        done = l2.drain_completions()
        self.assertEqual([d[0] for d in done], [number])
        self.assertEqual(poller.poll(0), [])            # drained: the thread does not spin
        return done[0][1:]

    def store(self, l2, numbers, **other):
        length = other.get("length", self.length)
        keys = [object_key(n, other.get("model", MODEL)) for n in numbers]
        return self.wait(l2, l2.submit_batch_set(keys, [memoryview(data_of(n, length)) for n in numbers]))

    def fetch(self, l2, numbers, **other):
        buffers = [bytearray(other.get("length", self.length)) for _ in numbers]
        keys = [object_key(n, other.get("model", MODEL)) for n in numbers]
        ok, _, loaded = self.wait(l2, l2.submit_batch_get(keys, [memoryview(b) for b in buffers]))
        self.assertTrue(ok)
        for n, buffer, there in zip(numbers, buffers, loaded):
            if there:
                self.assertEqual(buffer, data_of(n, len(buffer)))
        return loaded

    def exists(self, l2, numbers, **other):
        ok, _, found = self.wait(l2, l2.submit_batch_exists([object_key(n, other.get("model", MODEL)) for n in numbers]))
        self.assertTrue(ok)
        return found

    def test_what_was_set_exists_and_comes_back(self):
        self.assertEqual(self.store(self.l2, range(5)), (True, "", None))
        self.assertEqual(self.exists(self.l2, [3, 9, 0]), [True, False, True])
        self.assertEqual(self.fetch(self.l2, [4, 9, 1]), [True, False, True])
        self.assertEqual(self.store(self.l2, range(5)), (True, "", None))      # again: it is there
        self.assertEqual((self.exists(self.l2, []), self.fetch(self.l2, [])), ([], []))
        self.assertRaises(ValueError, self.plugin, readers=0)

    def test_another_server_and_a_restarted_one_find_it(self):
        self.store(self.l2, range(3))
        self.close(self.l2)
        again = self.plugin(verify=True)
        self.assertEqual(self.exists(again, range(3)), [True] * 3)
        self.assertEqual(self.fetch(again, range(3)), [True] * 3)

    def test_a_block_lost_between_exists_and_get_is_a_miss(self):
        self.store(self.l2, range(3))
        self.assertEqual(self.exists(self.l2, range(3)), [True] * 3)
        self.l2.lookup.of(MODEL).drop(block_keys(object_key(1), 1)[0])
        self.assertEqual(self.fetch(self.l2, range(3)), [True, False, True])

    def test_layouts_models_ranks_and_salts_do_not_mix(self):
        self.store(self.l2, [1])
        self.assertEqual(self.exists(self.plugin(layout="test fp8"), [1]), [False])
        for other in ("org/other@01000100@0@", "org/model@01000101@0@", "org/model@01000100@1@"):
            self.assertEqual(self.exists(self.l2, [1], model=other), [False])
        ok, _, found = self.wait(self.l2, self.l2.submit_batch_exists([object_key(1) + "@salt", object_key(1)]))
        self.assertEqual((ok, found), (True, [False, True]))
        self.assertRaises(ValueError, KvshmL2, layout="")
        self.assertRaises(TypeError, KvshmL2)

    def test_an_object_of_another_length_is_a_miss(self):
        self.store(self.l2, [1])
        self.assertEqual(self.fetch(self.l2, [1], length=self.length - 1), [False])
        self.assertEqual(self.fetch(self.l2, [1], length=self.length + 1), [False])

    def test_delete_takes_it_away_and_says_what_was_there(self):
        self.store(self.l2, range(2))
        keys = [object_key(n) for n in (0, 7)]
        self.assertEqual(self.wait(self.l2, self.l2.submit_batch_delete(keys)), (True, "", [True, False]))
        self.assertEqual(self.exists(self.l2, range(2)), [False, True])

    def test_long_batches_do_not_spend_the_quota(self):
        numbers = list(range(60))                       # 60 x 293 KiB of an arena whose quota is 16 MiB
        self.assertTrue(self.store(self.l2, numbers)[0])
        self.assertEqual(self.exists(self.l2, numbers), [True] * 60)
        self.assertEqual(self.fetch(self.l2, numbers), [True] * 60)

    def test_without_a_daemon_all_is_a_miss_and_it_is_found_again(self):
        self.store(self.l2, [1])
        self.daemon.kill()
        self.assertEqual(self.exists(self.l2, [1]), [True])     # hits go on
        self.assertEqual(self.fetch(self.l2, [1]), [True])
        ok, text, _ = self.store(self.l2, [2])
        self.assertFalse(ok)
        self.assertIn("not kept", text)
        os.unlink(self.daemon.socket)
        with self.assertLogs("kvshm.lmcache", "WARNING") as logs:
            absent = self.plugin()
        self.assertEqual(len(logs.output), 1)
        self.assertEqual(self.exists(absent, [1]), [False])
        self.assertEqual(self.fetch(absent, [1]), [False])
        self.assertFalse(self.store(absent, [3])[0])
        self.daemon.start()
        self.assertTrue(until(lambda: self.exists(absent, [1]) == [True], 30))
        self.assertTrue(until(lambda: self.store(self.l2, [2])[0], 30))


class Parts(Plugin):
    """The same with objects that are longer than a block."""

    def plugin(self, **params):
        return super().plugin(**{"part_bytes": 65536, **params})

    def test_an_object_of_which_a_block_is_gone_does_not_exist(self):
        self.store(self.l2, [1])
        middle = block_keys(object_key(1), 5)[2]
        self.assertEqual(self.l2.lookup.of(MODEL).drop(middle), 3)
        self.assertEqual(self.exists(self.l2, [1]), [False])
        self.assertEqual(self.fetch(self.l2, [1]), [False])


if __name__ == "__main__":
    unittest.main()
