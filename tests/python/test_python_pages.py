# SPDX-License-Identifier: Apache-2.0
"""Pages: an engine's paged KV against blocks; no byte moves unless all of the call is right."""
import ctypes
import threading
import unittest

from packagelib import BLOCK, WithDaemon, bytes_of, keys_of, kvshm, put

LAYERS, NR_PAGES, PIECE = 4, 8, BLOCK // 4


class Memory:
    """LAYERS runs of NR_PAGES pieces, as vLLM keeps them on the CPU."""

    def __init__(self):
        self.bytes = bytearray(LAYERS * NR_PAGES * PIECE)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        self.pages = kvshm.Pages([(self.base + layer * NR_PAGES * PIECE, PIECE, PIECE) for layer in range(LAYERS)],
                                 NR_PAGES, self.bytes)

    def page(self, number):
        starts = [(layer * NR_PAGES + number) * PIECE for layer in range(LAYERS)]
        return b"".join(bytes(self.bytes[at:at + PIECE]) for at in starts)


class Copies(unittest.TestCase):
    def setUp(self):
        self.memory = Memory()
        self.blocks = [bytes_of(1, i) for i in range(3)]

    def test_load_puts_each_piece_into_its_layer(self):
        self.memory.pages.load([5, 0, 7], self.blocks)
        self.assertEqual([self.memory.page(n) for n in (5, 0, 7)], self.blocks)
        self.assertEqual([self.memory.page(n) for n in (1, 2, 3, 4, 6)], [bytes(BLOCK)] * 5)

    def test_save_is_the_inverse_of_load(self):
        self.memory.pages.load([2, 3, 4], self.blocks)
        out = bytearray(3 * BLOCK)
        self.memory.pages.save([2, 3, 4], out)
        self.assertEqual(bytes(out), b"".join(self.blocks))

    def test_one_buffer_is_cut_into_blocks(self):
        self.memory.pages.load([1, 6], self.blocks[0] + self.blocks[1])
        self.assertEqual([self.memory.page(1), self.memory.page(6)], self.blocks[:2])

    def test_pages_that_go_down_in_memory(self):
        memory = self.memory
        down = kvshm.Pages([(memory.base + (NR_PAGES - 1) * PIECE, -PIECE, PIECE)], NR_PAGES)
        down.load([0], bytes_of(9, 0, PIECE))
        self.assertEqual(bytes(memory.bytes[(NR_PAGES - 1) * PIECE:NR_PAGES * PIECE]), bytes_of(9, 0, PIECE))

    def test_nothing_at_all(self):
        self.memory.pages.load([], [])
        self.assertEqual(bytes(self.memory.bytes), bytes(len(self.memory.bytes)))

    def test_what_is_wrong_is_refused_before_a_byte_moves(self):
        for error, numbers, blocks in (
                (IndexError, [0, NR_PAGES], self.blocks[:2]),
                (IndexError, [0, -1], self.blocks[:2]),
                (ValueError, [0], self.blocks[:2]),
                (ValueError, [0, 1, 2], self.blocks[:2]),
                (ValueError, [0, 1], [self.blocks[0], self.blocks[1][:-1]]),
                (ValueError, [0, 1], [self.blocks[0], self.blocks[1] + b"x"]),
                (ValueError, [0, 1], self.blocks[0] + self.blocks[1][:-1]),
                (TypeError, ["0"], self.blocks[:1]),
                (TypeError, [0], [None])):
            with self.subTest(error=error, numbers=numbers):
                self.assertRaises(error, self.memory.pages.load, numbers, blocks)
                self.assertEqual(bytes(self.memory.bytes), bytes(len(self.memory.bytes)))
        self.assertRaises((TypeError, BufferError), self.memory.pages.save, [0], [self.blocks[0]])

    def test_pieces_that_cannot_be_are_refused(self):
        base = self.memory.base
        for pieces in ([], [(base, 8, 16)], [(base, 16, 0)], [(0, 16, 16)], [(base, 16, -16)], [(base, 1 << 40, 1 << 33)]):
            with self.subTest(pieces=pieces):
                self.assertRaises(ValueError, kvshm.Pages, pieces, NR_PAGES)
        for pieces in ([base], [(base, 16)], 5):
            with self.subTest(pieces=pieces):
                self.assertRaises(TypeError, kvshm.Pages, pieces, NR_PAGES)


class WithCache(WithDaemon):
    def test_from_pinned_blocks_and_into_granted_ones(self):
        put(self.ns, 1, 3)
        memory = Memory()
        with self.ns.acquire(keys_of(1, 3)) as pin:
            memory.pages.load([4, 5, 6], list(pin))
        self.assertEqual([memory.page(n) for n in (4, 5, 6)], [bytes_of(1, i) for i in range(3)])
        grants = self.ns.grant(3, 5.0)
        self.assertEqual(len(grants), 3)
        memory.pages.save([6, 5, 4], grants)
        self.assertTrue(self.ns.commit(keys_of(2, 3), grants))
        self.client.sync()
        with self.ns.acquire(keys_of(2, 3)) as pin:
            self.assertEqual([bytes(block) for block in pin], [bytes_of(1, i) for i in (2, 1, 0)])

    def test_pin_outlives_a_copy_that_runs_beside_its_release(self):
        put(self.ns, 1, 3)
        memory, pin = Memory(), self.ns.acquire(keys_of(1, 3))
        blocks = list(pin)
        thread = threading.Thread(target=memory.pages.load, args=([0, 1, 2], blocks))
        views = [memoryview(block) for block in blocks]
        thread.start()
        pin.release()
        thread.join()
        self.assertEqual([memory.page(n) for n in range(3)], [bytes_of(1, i) for i in range(3)])
        del views


if __name__ == "__main__":
    unittest.main()
