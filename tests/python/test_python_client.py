#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The package's client: find, pin, read, put, and what wrong use says."""
import errno
import gc
import json
import os
import subprocess
import threading
import unittest

from packagelib import BLOCK, BUILD, TOKENS, WithDaemon, attach, bytes_of, keys_of, kvshm, put, until


class Reading(WithDaemon):
    def test_the_longest_cached_prefix_is_pinned_and_read_in_place(self):
        put(self.ns, 1, 9)
        with self.ns.acquire(keys_of(1, 12)) as pin:
            self.assertTrue(pin)
            self.assertEqual((pin.matched, pin.tokens, len(pin)), (9, 9 * TOKENS, 9))
            for i, block in enumerate(pin):
                self.assertEqual(len(block), BLOCK)
                self.assertEqual(block.tokens, TOKENS)
                self.assertEqual(bytes(block), bytes_of(1, i))
            self.assertRaises(IndexError, lambda: pin[9])

    def test_a_miss_is_an_empty_pin(self):
        with self.ns.acquire(keys_of(2, 5)) as pin:
            self.assertFalse(pin)
            self.assertEqual((pin.matched, len(pin), list(pin)), (0, 0, []))
            self.assertEqual(pin.copy_to(bytearray(BLOCK)), 0)
        self.assertEqual(self.ns.acquire([]).matched, 0)
        self.assertEqual(self.ns.acquire(b"").matched, 0)

    def test_keys_may_be_a_list_a_tuple_or_packed(self):
        put(self.ns, 1, 7)
        keys = keys_of(1, 9)
        packed = b"".join(keys)
        for form in (keys, tuple(keys), packed, bytearray(packed), memoryview(packed)):
            with self.ns.acquire(form) as pin:
                self.assertEqual(len(pin), 7)

    def test_what_is_no_key_is_refused_and_pins_nothing(self):
        put(self.ns, 1, 7)
        for wrong in ([b"short"], ["text" * 8], [None] * 40, b"33 bytes" * 4 + b"x", 5, None, [bytearray(32)]):
            self.assertRaises(TypeError, self.ns.acquire, wrong)
        self.assertRaises(ValueError, self.ns.acquire, bytes(32 * 65537))
        keys = keys_of(1, 7)
        keys[6] = b"short"                 # looked at last
        self.assertRaises(TypeError, self.ns.acquire, keys)
        self.assertFalse(self.pins_held())

    def pins_held(self):
        path = os.path.join(self.daemon.memory, f"pins.{self.client.stats()['slot']}")
        with open(path, "rb") as f:
            return sum(word != bytes(8) for word in iter(lambda: f.read(8), b"")) - 1

    def test_keys_that_were_changed_after_acquire_resolve_to_less(self):
        put(self.ns, 1, 7)
        keys = keys_of(1, 7)
        pin = self.ns.acquire(keys)
        keys[3] = bytes(32)
        self.assertEqual(len(pin), 3)
        pin = self.ns.acquire(keys_of(1, 7))
        keys = keys_of(1, 7)
        pin = self.ns.acquire(keys)
        keys.clear()
        self.assertRaises(ValueError, pin.resolve)

    def test_copies_go_into_one_buffer_or_many(self):
        put(self.ns, 1, 5)
        with self.ns.acquire(keys_of(1, 5)) as pin:
            one = bytearray(5 * BLOCK)
            self.assertEqual(pin.copy_to(one, verify=True), 5)
            self.assertEqual(one, b"".join(bytes_of(1, i) for i in range(5)))
            many = [bytearray(BLOCK) for _ in range(2)]
            self.assertEqual(pin.copy_to(many, first=3), 2)
            self.assertEqual(many[1], bytes_of(1, 4))
            self.assertEqual(pin.copy_to(many, first=99), 0)
            self.assertRaises(ValueError, pin.copy_to, [bytearray(10)])
            self.assertRaises(BufferError, pin.copy_to, bytes(BLOCK))
        self.assertRaises(ValueError, pin.copy_to, one)

    def test_loose_keys_have_a_pin_each(self):
        keys = keys_of(3, 3)
        self.assertTrue(self.ns.put(keys, [bytes_of(3, i) for i in range(3)], loose=True, timeout=5.0))
        self.assertEqual(until(lambda: self.client.poll(timeout=1.0))[0].published, 3)
        pins = self.ns.acquire_loose([keys[2], keys_of(4, 1)[0], keys[0]])
        self.assertEqual([p.matched for p in pins], [1, 0, 1])
        self.assertEqual(bytes(pins[0][0]), bytes_of(3, 2))
        self.assertEqual(bytes(pins[2][0]), bytes_of(3, 0))

    def test_many_pins_of_a_block_are_copied_at_once(self):
        keys = keys_of(3, 3)
        self.assertTrue(self.ns.put(keys, [bytes_of(3, i) for i in range(3)], loose=True, timeout=5.0))
        until(lambda: self.client.poll(timeout=1.0))
        put(self.ns, 1, 2)
        pins = self.ns.acquire_loose([keys[2], keys_of(4, 1)[0], keys[0]]) + [self.ns.acquire(keys_of(1, 2))]
        to = [bytearray(BLOCK) for _ in pins]
        self.assertEqual(kvshm.copy_pins(pins, to, verify=True), [True, False, True, False])
        self.assertEqual(to, [bytes_of(3, 2), bytes(BLOCK), bytes_of(3, 0), bytes(BLOCK)])
        self.assertEqual(kvshm.copy_pins(pins[:1], [bytearray(BLOCK - 1)]), [False])
        self.assertEqual(kvshm.copy_pins([], []), [])
        self.assertRaises(ValueError, kvshm.copy_pins, pins, to[:1])
        self.assertRaises(TypeError, kvshm.copy_pins, ["pin"], to[:1])
        self.assertRaises(TypeError, kvshm.copy_pins, pins[:1] + [attach(self.open()).acquire(keys)], to[:2])
        self.assertRaises(BufferError, kvshm.copy_pins, pins[:1], [bytes(BLOCK)])
        pins[0].release()
        self.assertRaises(ValueError, kvshm.copy_pins, pins, to)

    def test_several_namespaces_are_pinned_as_far_as_all_of_them_go(self):
        other = attach(self.client, b"other")
        put(self.ns, 1, 9)
        put(other, 1, 6)
        keys = keys_of(1, 9)
        a, b = kvshm.acquire_group([(self.ns, keys), (other, b"".join(keys))])
        self.assertEqual((len(a), len(b), a.tokens), (6, 6, 6 * TOKENS))
        a.release()
        b.release()
        third = attach(self.client, b"third")
        pins = kvshm.acquire_group([(self.ns, keys), (other, keys), (third, keys)])
        self.assertEqual([p.matched for p in pins], [0, 0, 0])
        self.assertFalse(self.pins_held())
        self.assertRaises(TypeError, kvshm.acquire_group, [(self.ns, ["x"])])
        self.assertRaises(TypeError, kvshm.acquire_group, [(self.client, keys)])
        self.assertRaises(ValueError, kvshm.acquire_group, [])
        self.assertRaises(ValueError, kvshm.acquire_group, [(self.ns, keys), (attach(self.open()), keys)])


class Lifetime(WithDaemon):
    def setUp(self):
        super().setUp()
        put(self.ns, 1, 5)
        self.keys = keys_of(1, 5)

    def pins_held(self):
        return Reading.pins_held(self)

    def test_a_released_pin_raises(self):
        pin = self.ns.acquire(self.keys)
        block = pin[0]
        pin.release()
        pin.release()
        self.assertTrue(pin.released)
        self.assertFalse(pin)
        self.assertEqual(self.pins_held(), 0)
        for use in (pin.resolve, pin.export, lambda: len(pin), lambda: pin[0], lambda: memoryview(block),
                    lambda: block.address, lambda: pin.copy_to(bytearray(BLOCK))):
            self.assertRaises(ValueError, use)

    def test_a_view_keeps_the_pin_until_it_ends(self):
        with self.ns.acquire(self.keys) as pin:
            view = memoryview(pin[3])[100:200].cast("B")
        self.assertEqual(self.pins_held(), 1)
        self.assertEqual(self.ns.drop(), 5)         # nobody finds it any more, the view stays
        put(self.ns, 2, 60)
        self.assertEqual(view, bytes_of(1, 3)[100:200])
        self.assertRaises(ValueError, lambda: pin[3])
        del view
        gc.collect()
        self.assertEqual(self.pins_held(), 0)

    def test_a_block_that_was_viewed_keeps_it_as_long_as_it_lives(self):
        pin = self.ns.acquire(self.keys)
        block = pin[1]
        memoryview(block).release()                 # as torch does: the object is kept, the buffer is not
        pin.release()
        self.assertEqual(self.pins_held(), 1)
        self.assertEqual(bytes(block), bytes_of(1, 1))
        del block
        self.assertEqual(self.pins_held(), 0)

    def test_pins_that_are_forgotten_end(self):
        self.ns.acquire(self.keys)
        gc.collect()
        self.assertEqual(self.pins_held(), 0)

    def test_pinned_blocks_cannot_be_written(self):
        with self.ns.acquire(self.keys) as pin:
            view = memoryview(pin[0])
            self.assertTrue(view.readonly)
            with self.assertRaises(TypeError):
                view[0] = 1
            view.release()

    def test_close_waits_for_the_last_view_and_nothing_works_in_between(self):
        pin = self.ns.acquire(self.keys)
        view = memoryview(pin[2])
        self.client.close()
        self.client.close()
        self.assertTrue(self.client.closed)
        for use in (lambda: self.ns.acquire(self.keys), self.client.stats, self.client.poll, pin.resolve,
                    lambda: self.ns.put(self.keys, bytes(5 * BLOCK)), lambda: attach(self.client)):
            self.assertRaises(ValueError, use)
        self.assertEqual(view, bytes_of(1, 2))
        del view, pin
        gc.collect()
        other = attach(self.open())
        self.assertEqual(len(other.acquire(self.keys)), 5)

    def test_objects_are_made_by_the_client_only(self):
        for kind in (kvshm.Pin, kvshm.Block, kvshm.Namespace, kvshm.Grant):
            self.assertRaises(TypeError, kind)


class Writing(WithDaemon):
    def test_one_buffer_is_cut_into_blocks_and_the_last_may_be_short(self):
        data = bytes_of(1, 0) + bytes_of(1, 1) + b"short end"
        self.assertTrue(self.ns.put(keys_of(1, 3), data, tag=2**64 - 1, timeout=5.0))
        done = until(lambda: self.client.poll(timeout=1.0))
        self.assertEqual(done, [(2**64 - 1, 3, 0, 0, 0)])
        self.assertEqual(done[0].published, 3)
        with self.ns.acquire(keys_of(1, 3)) as pin:
            self.assertEqual(b"".join(bytes(b) for b in pin), data)

    def test_a_chain_goes_on_below_its_parent(self):
        put(self.ns, 1, 3)
        keys = keys_of(1, 5)
        self.assertTrue(self.ns.put(keys[3:], [bytes_of(1, i) for i in (3, 4)], parent=keys[2], timeout=5.0))
        until(lambda: self.client.poll(timeout=1.0))
        self.assertEqual(len(self.ns.acquire(keys)), 5)
        self.assertTrue(self.ns.put(keys_of(9, 1), bytes_of(9, 0), parent=keys_of(8, 1)[0], timeout=5.0))
        done = until(lambda: self.client.poll(timeout=1.0))[0]
        self.assertEqual((done.published, done.dropped), (0, 1))
        self.assertEqual(self.ns.put([], []), True)

    def test_wrong_arguments_are_refused(self):
        keys = keys_of(1, 2)
        self.assertRaises(ValueError, self.ns.put, keys, bytes(BLOCK))
        self.assertRaises(TypeError, self.ns.put, keys, [1, 2])
        self.assertRaises(TypeError, self.ns.put, ["x", "y"], bytes(2 * BLOCK))
        self.assertRaises(TypeError, self.ns.put, keys, bytes(2 * BLOCK), parent=b"short")
        self.assertRaises(kvshm.Error, self.ns.put, keys, [bytes(BLOCK), bytes(BLOCK + 1)])
        self.assertRaises(kvshm.Error, self.ns.put, keys, [bytes(BLOCK), b""])

    def test_granted_blocks_are_filled_in_place_and_committed(self):
        grants = self.ns.grant(3, timeout=5.0)
        self.assertEqual([len(g) for g in grants], [BLOCK] * 3)
        for i, grant in enumerate(grants):
            memoryview(grant)[:] = bytes_of(1, i)
        view = memoryview(grants[0])
        self.assertRaises(BufferError, self.ns.commit, keys_of(1, 3), grants)
        view.release()
        self.assertRaises(ValueError, self.ns.commit, keys_of(1, 2), grants)
        self.assertRaises(ValueError, self.ns.commit, keys_of(1, 2), [grants[0], grants[0]])
        self.assertRaises(TypeError, self.ns.commit, keys_of(1, 1), ["x"])
        self.assertTrue(self.ns.commit(keys_of(1, 3), grants, tag=5))
        self.assertEqual(until(lambda: self.client.poll(timeout=1.0)), [(5, 3, 0, 0, 0)])
        self.assertRaises(ValueError, self.ns.commit, keys_of(1, 3), grants)
        self.assertRaises(ValueError, memoryview, grants[0])
        with self.ns.acquire(keys_of(1, 3)) as pin:
            self.assertEqual(bytes(pin[2]), bytes_of(1, 2))

    def test_an_untrusted_client_puts_through_staging_and_is_told_that_it_has_no_grants(self):
        client = self.open(untrusted=True)
        ns = attach(client)
        self.assertFalse(client.stats()["is_trusted"])
        self.assertEqual(put(ns, 1, 20).published, 20)
        with self.ns.acquire(keys_of(1, 20)) as pin:
            self.assertEqual(bytes(pin[19]), bytes_of(1, 19))
        with self.assertRaises(kvshm.Error) as raised:
            ns.grant(1)
        self.assertEqual(raised.exception.errno, errno.EPERM)
        self.assertIn("put()", str(raised.exception))

    def test_drop_takes_a_block_and_its_descendants_or_all(self):
        put(self.ns, 1, 9)
        self.assertEqual(self.ns.drop(keys_of(1, 9)[6]), 3)
        self.assertEqual(self.ns.acquire(keys_of(1, 9)).matched, 6)
        self.assertEqual(self.ns.drop(), 6)

    def test_threads_may_share_a_client(self):
        put(self.ns, 1, 50)
        failed = []

        def work(n):
            try:
                for i in range(60):
                    with self.ns.acquire(keys_of(1, 50)) as pin:
                        one = bytearray(10 * BLOCK)
                        assert pin.copy_to(one, first=40, verify=True) == 10
                    self.ns.put(keys_of(100 + n, 2), [bytes_of(n, 0), bytes_of(n, 1)], tag=i, timeout=1.0)
                    self.client.poll()
            except Exception as error:      # noqa: BLE001 - whatever it was, the test says so
                failed.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failed, [])


class Names(WithDaemon):
    def test_another_layout_under_the_same_name_is_refused_with_a_text(self):
        for other in ({"block_len": 2 * BLOCK}, {"block_tokens": 32}, {"layout": b"else"}):
            for client in (self.client, self.open()):
                with self.assertRaises(kvshm.LayoutError) as raised:
                    attach(client, **other)
                self.assertEqual(raised.exception.errno, errno.EMEDIUMTYPE)
                self.assertIn("fingerprint", str(raised.exception))
        self.assertEqual((self.ns.block_len, self.ns.block_tokens), (BLOCK, TOKENS))
        self.assertIs(self.ns.client, self.client)

    def test_names_that_cannot_be_are_refused(self):
        for wrong in ({"fingerprint": b""}, {"fingerprint": bytes(33)}, {"layout": bytes(33)}, {"label": "x" * 32}):
            self.assertRaises(ValueError, attach, self.client, **{"name": b"n", **wrong})
        self.assertRaises(kvshm.Error, attach, self.client, b"n", block_len=1)

    def test_the_counters_are_those_of_the_library(self):
        put(self.ns, 1, 3)
        self.ns.acquire(keys_of(1, 5)).release()
        stats = self.client.stats()
        self.assertEqual((stats["lookups"], stats["hit_blocks"], stats["miss_blocks"]), (1, 3, 2))
        self.assertTrue(stats["is_trusted"] and stats["is_attached"])

    def test_a_hint_word_has_the_fields_of_the_manual(self):
        self.assertEqual(kvshm.hint(), 0)
        self.assertEqual(kvshm.hint(kind=7, stop=3), 7 | 3 << 8)
        self.assertEqual([kvshm.hint(turn=t) >> 12 for t in (1, 2, 3, 4, 5, 9, 10, 99)], [1, 2, 3, 3, 4, 4, 5, 5])
        self.assertEqual([kvshm.hint(gap=g) >> 16 for g in (-1, 0, 0.25, 0.5, 1, 3600)], [1, 2, 2, 3, 4, 15])
        self.assertEqual([kvshm.hint(output_tokens=n) >> 21 for n in (0, 1, 2, 1000)], [1, 2, 3, 11])
        self.assertEqual(kvshm.hint(over=True, tool=True), 3 << 26)
        self.assertRaises(ValueError, kvshm.hint, kind=256)
        self.client.set_hint(kvshm.hint(turn=2))
        self.assertRaises(OverflowError, self.client.set_hint, 2**70)

    def metric(self, name):
        done = subprocess.run([os.path.join(BUILD, "kvshm"), "stat", "--socket", self.daemon.socket, "--json"],
                              capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["metrics"][name]

    def test_holds_are_wishes_that_the_daemon_keeps_and_ends(self):
        put(self.ns, 1, 4)
        self.assertFalse(self.ns.hold(keys_of(2, 4)))                       # nothing of it is cached
        self.assertFalse(self.ns.hold([]))
        self.assertTrue(self.ns.hold(keys_of(1, 9), ticket=7))
        self.assertTrue(self.ns.hold(b"".join(keys_of(1, 4)), "retain", ticket=2**64 - 1, priority=7, ttl=60.0))
        self.client.sync()
        self.assertEqual(until(lambda: self.metric("kvshm_holds") == 2), True)
        self.ns.acquire(keys_of(1, 4)).release()                            # the use that was waited for
        self.assertEqual(until(lambda: self.metric("kvshm_holds") == 1), True)
        self.assertTrue(self.client.hold_end(2**64 - 1))
        self.assertEqual(until(lambda: self.metric("kvshm_holds") == 0), True)
        self.assertTrue(self.ns.session_closed(keys_of(1, 4), 2))
        self.assertFalse(self.ns.session_closed(keys_of(1, 9), 2))          # its own are not cached
        self.client.sync()
        self.assertEqual(self.metric("kvshm_hints_refused_total"), 0)

    def test_a_hold_that_cannot_be_is_an_error(self):
        put(self.ns, 1, 4)
        self.assertRaises(ValueError, self.ns.hold, keys_of(1, 4), "sometime")
        self.assertRaises(TypeError, self.ns.hold, [b"short"])
        self.assertRaises(kvshm.Error, self.ns.hold, keys_of(1, 4), "queued", priority=1)
        self.assertRaises(kvshm.Error, self.ns.session_closed, keys_of(1, 2), 3)
        self.assertRaises(OverflowError, self.client.hold_end, -1)
        self.assertTrue(self.ns.hold(keys_of(1, 4)))

    def test_checksum_is_the_librarys(self):
        put(self.ns, 1, 1)
        client = self.open(untrusted=True)
        put(attach(client), 2, 1)               # staged: the daemon sums
        with self.ns.acquire(keys_of(2, 1)) as pin:
            self.assertEqual(pin[0].checksum, kvshm.checksum(bytes_of(2, 0)))


if __name__ == "__main__":
    unittest.main()
