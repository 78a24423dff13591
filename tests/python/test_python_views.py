#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""numpy arrays over pinned blocks, without a copy."""
import gc
import unittest

from packagelib import BLOCK, WithDaemon, bytes_of, keys_of, kvshm, need, put

need("numpy")
import numpy  # noqa: E402


class Views(WithDaemon):
    def setUp(self):
        super().setUp()
        put(self.ns, 1, 4)

    def test_an_array_lies_in_the_arena_and_cannot_be_written(self):
        with self.ns.acquire(keys_of(1, 4)) as pin:
            array = kvshm.numpy_view(pin[2], "float16", (16, -1))
            self.assertEqual(array.shape, (16, BLOCK // 2 // 16))
            self.assertEqual(array.ctypes.data, pin[2].address)
            self.assertEqual(array.tobytes(), bytes_of(1, 2))
            self.assertFalse(array.flags.writeable)
            with self.assertRaises(ValueError):
                array[0, 0] = 1
            with self.assertRaises(ValueError):
                array.flags.writeable = True

    def test_an_array_keeps_its_pin(self):
        with self.ns.acquire(keys_of(1, 4)) as pin:
            part = kvshm.numpy_view(pin[1])[1000:2000][::2]
        self.ns.drop()
        for chain in range(30):
            put(self.ns, 100 + chain, 40)       # more than the arena: what is not pinned goes
        self.assertEqual(part.tobytes(), bytes_of(1, 1)[1000:2000:2])
        self.assertRaises(ValueError, lambda: pin[0])
        del part
        gc.collect()

    def test_a_grant_is_filled_through_an_array(self):
        grant = self.ns.grant(1, timeout=5.0)
        array = kvshm.numpy_view(grant[0], "uint8")
        array[:] = numpy.frombuffer(bytes_of(7, 0), "uint8")
        self.assertRaises(BufferError, self.ns.commit, keys_of(7, 1), grant)
        del array
        gc.collect()
        self.assertTrue(self.ns.commit(keys_of(7, 1), grant))
        self.client.sync()
        self.assertEqual(bytes(self.ns.acquire(keys_of(7, 1))[0]), bytes_of(7, 0))

    def test_keys_and_blocks_may_be_arrays(self):
        keys = numpy.frombuffer(b"".join(keys_of(1, 4)), "uint8").reshape(4, 32)
        self.assertEqual(self.ns.acquire(keys).matched, 4)
        self.assertRaises(TypeError, self.ns.acquire, keys[:, ::2])     # not contiguous
        data = numpy.frombuffer(bytes_of(8, 0) + bytes_of(8, 1), "float32").reshape(2, -1)
        self.assertTrue(self.ns.put(keys_of(8, 2), data, timeout=5.0))
        self.assertTrue(self.ns.put(keys_of(9, 2), list(data), timeout=5.0))
        self.client.sync()
        to = numpy.empty((2, BLOCK // 4), "float32")
        for chain in (8, 9):
            with self.ns.acquire(keys_of(chain, 2)) as pin:
                self.assertEqual(pin.copy_to(to), 2)
            self.assertTrue(numpy.array_equal(to.view("uint8"), data.view("uint8")))


if __name__ == "__main__":
    unittest.main()
