# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a page lie, in each layout that vLLM knows: held against torch's own indexing."""
import itertools
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python"))
from packagelib import kvshm, need  # noqa: E402

need("torch")
import torch  # noqa: E402

from kvshm.pieces import describe, find_pieces  # noqa: E402

LAYERS, PAGES, HEADS, TOKENS, CONTENT = 3, 5, 2, 4, 8
SHAPE = dict(zip("LBHNC", (LAYERS, PAGES, HEADS, TOKENS, CONTENT)))
LAYOUTS = ["LBHNC", "LBNHC", "LHBNC", "BLHNC", "BLNHC", "BHLNC"]


def caches(layout):
    """As vLLM makes them: one storage, each layer a view [B, H, N, C] of it."""
    flat = torch.arange(LAYERS * PAGES * HEADS * TOKENS * CONTENT, dtype=torch.int32)
    whole = flat.view(*(SHAPE[axis] for axis in layout)).permute(*(layout.index(axis) for axis in "LBHNC"))
    return {f"layer {i}": whole[i] for i in range(LAYERS)}


def page_bytes(tensor, axis, number):
    """Of one layer, in memory order."""
    page = tensor.select(axis, number)
    order = sorted(range(page.dim()), key=lambda i: -page.stride()[i])
    return page.permute(*order).contiguous().view(torch.uint8).numpy().tobytes()


class Layouts(unittest.TestCase):
    def check(self, tensors, axis=0):
        pieces = find_pieces(tensors, PAGES)
        pages = kvshm.Pages(pieces, PAGES, tensors)
        for number in range(PAGES):
            out = bytearray(pages.page_len)
            pages.save([number], out)
            self.assertEqual(bytes(out), b"".join(page_bytes(t, axis, number) for t in tensors.values()))
        return pieces

    def test_all_layouts(self):
        for layout in LAYOUTS:
            with self.subTest(layout=layout):
                self.check(caches(layout))

    def test_a_page_is_one_piece_where_pages_are_outermost(self):
        self.assertEqual([len(find_pieces(caches(layout), PAGES)) for layout in ("BLHNC", "LBHNC", "LHBNC")],
                         [1, LAYERS, LAYERS * HEADS])

    def test_keys_and_values_apart(self):
        tensors = {"a": torch.randn(2, PAGES, TOKENS, HEADS, CONTENT), "b": torch.randn(2, PAGES, TOKENS, HEADS, CONTENT)}
        self.assertEqual(len(self.check(tensors, axis=1)), 4)

    def test_layers_that_share_a_tensor_count_once(self):
        one = torch.randn(PAGES, TOKENS, CONTENT)
        self.assertEqual(len(find_pieces({"a": one, "b": one}, PAGES)), 1)

    def test_no_dimension_of_pages_is_refused(self):
        self.assertRaises(ValueError, find_pieces, {"a": torch.randn(PAGES + 1, 4)}, PAGES)

    def test_what_is_stored_differently_is_described_differently(self):
        described = [str(describe(caches(layout), PAGES)) for layout in ("LBHNC", "LBNHC")]
        self.assertNotEqual(*described)
        for one, other in itertools.combinations(("LBHNC", "BLHNC", "LHBNC"), 2):
            with self.subTest(one=one, other=other):    # the same bytes in the same order
                self.assertEqual(describe(caches(one), PAGES), describe(caches(other), PAGES))


if __name__ == "__main__":
    unittest.main()
