#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""torch tensors over pinned blocks: no copy, and the pin lives as long as the tensor."""
import gc
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python"))
from packagelib import BLOCK, WithDaemon, bytes_of, keys_of, kvshm, need, put  # noqa: E402

need("torch")
import torch  # noqa: E402


class Views(WithDaemon):
    def test_a_tensor_lies_in_the_arena_and_keeps_its_pin(self):
        put(self.ns, 1, 4)
        with self.ns.acquire(keys_of(1, 4)) as pin:
            tensor = kvshm.torch_view(pin[3], torch.bfloat16, (2, -1))
            self.assertEqual(tensor.data_ptr(), pin[3].address)
            self.assertEqual(tuple(tensor.shape), (2, BLOCK // 4))
            part = tensor[1]
        del tensor
        gc.collect()
        self.ns.drop()
        for chain in range(30):
            put(self.ns, 100 + chain, 40)       # more than the arena: what is not pinned goes
        self.assertEqual(part.view(torch.uint8).numpy().tobytes(), bytes_of(1, 3)[BLOCK // 2:])
        self.assertRaises(ValueError, lambda: pin[0])

    def test_blocks_are_put_out_of_tensors_and_copied_into_them(self):
        data = torch.frombuffer(bytearray(bytes_of(2, 0) + bytes_of(2, 1)), dtype=torch.uint8)
        self.assertTrue(self.ns.put(keys_of(2, 2), data.numpy(), timeout=5.0))
        self.client.sync()
        to = torch.zeros(2 * BLOCK, dtype=torch.uint8)
        with self.ns.acquire(keys_of(2, 2)) as pin:
            self.assertEqual(pin.copy_to(to.numpy()), 2)
        self.assertTrue(torch.equal(to, data))


if __name__ == "__main__":
    unittest.main()
