# SPDX-License-Identifier: Apache-2.0
"""load_runs, save_runs: blocks from and to named addresses; no byte moves unless all of the call is right."""
import ctypes
import unittest

from packagelib import BLOCK, WithDaemon, bytes_of, keys_of, kvshm, put

HALF = BLOCK // 2
SIZE = 8 * BLOCK


class Runs(unittest.TestCase):
    """Pages of two halves: the first ones from the start of the memory, the second ones from its middle."""

    def setUp(self):
        self.bytes = bytearray(SIZE)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))

    def runs(self, pages):
        at = [self.base + half * SIZE // 2 + page * HALF for page in pages for half in (0, 1)]
        return at, [HALF] * len(at)

    def page(self, number):
        return b"".join(bytes(self.bytes[half + number * HALF:half + (number + 1) * HALF]) for half in (0, SIZE // 2))

    def test_load_fills_the_runs_of_each_block(self):
        kvshm.load_runs(*self.runs([3, 0]), [bytes_of(1, 0), bytes_of(1, 1)])
        self.assertEqual([self.page(3), self.page(0), self.page(1)], [bytes_of(1, 0), bytes_of(1, 1), bytes(BLOCK)])

    def test_save_is_the_inverse_of_load(self):
        kvshm.load_runs(*self.runs([1, 2]), [bytes_of(1, 0), bytes_of(1, 1)])
        out = [bytearray(BLOCK), bytearray(BLOCK)]
        kvshm.save_runs(*self.runs([2, 1]), out)
        self.assertEqual(out, [bytes_of(1, 1), bytes_of(1, 0)])

    def test_runs_of_any_length(self):
        lengths = [1, BLOCK - 1, 4096, BLOCK - 4096, BLOCK]
        at = [self.base + sum(lengths[:i]) for i in range(len(lengths))]
        kvshm.load_runs(at, lengths, [bytes_of(1, i) for i in range(3)])
        self.assertEqual(bytes(self.bytes[:3 * BLOCK]), b"".join(bytes_of(1, i) for i in range(3)))

    def test_nothing_at_all(self):
        kvshm.load_runs([], [], [])

    def test_what_is_wrong_is_refused_before_a_byte_moves(self):
        at, lengths = self.runs([0, 1])
        blocks = [bytes_of(1, 0), bytes_of(1, 1)]
        for error, *args in (
                (ValueError, at, lengths[:-1], blocks),
                (ValueError, at[:-1], lengths[:-1], blocks),
                (ValueError, at, lengths, blocks[:1]),
                (ValueError, at, lengths, [*blocks, blocks[0]]),
                (ValueError, at, [HALF + 1, HALF - 1, HALF, HALF - 1], blocks),
                (ValueError, at, [HALF, HALF + 1, HALF - 1, HALF], blocks),
                (ValueError, [0, *at[1:]], lengths, blocks),
                (ValueError, at, [0, *lengths[1:]], blocks),
                (ValueError, at, [-HALF, *lengths[1:]], blocks),
                (OverflowError, [-1, *at[1:]], lengths, blocks),
                (TypeError, ["0", *at[1:]], lengths, blocks),
                (TypeError, at, lengths, [None, None])):
            with self.subTest(error=error, args=args):
                self.assertRaises(error, kvshm.load_runs, *args)
                self.assertEqual(bytes(self.bytes), bytes(SIZE))
        self.assertRaises((TypeError, BufferError), kvshm.save_runs, at, lengths, blocks)

    def test_a_buffer_is_no_list_of_blocks(self):
        self.assertRaises(TypeError, kvshm.load_runs, *self.runs([0]), bytes_of(1, 0))


class WithCache(WithDaemon):
    def test_from_pinned_blocks_and_into_granted_ones(self):
        put(self.ns, 1, 3)
        memory = bytearray(2 * BLOCK)
        at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        with self.ns.acquire(keys_of(1, 3)[1:]) as pin:         # a chain's blocks without its root
            kvshm.load_runs([at, at + BLOCK], [BLOCK, BLOCK], list(pin))
        self.assertEqual(bytes(memory), bytes_of(1, 1) + bytes_of(1, 2))
        grants = self.ns.grant(2, 5.0)
        self.assertEqual(len(grants), 2)
        kvshm.save_runs([at + BLOCK, at], [BLOCK, BLOCK], grants)
        self.assertTrue(self.ns.commit(keys_of(2, 2), grants))
        self.client.sync()
        with self.ns.acquire(keys_of(2, 2)) as pin:
            self.assertEqual([bytes(block) for block in pin], [bytes_of(1, 2), bytes_of(1, 1)])


if __name__ == "__main__":
    unittest.main()
