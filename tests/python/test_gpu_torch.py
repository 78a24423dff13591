# SPDX-License-Identifier: Apache-2.0
"""kvshm.Gpu against torch's own tensors on a real device: each layout there and back, kernels that wait for layers."""
import ctypes
import os
import sys
import unittest

from packagelib import TOKENS, WithDaemon, keys_of, need, until

try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("no GPU's driver here")
    sys.exit(77)
need("torch")
import torch  # noqa: E402

if not torch.cuda.is_available():
    print("torch finds no GPU here")
    sys.exit(77)
os.environ.pop("KVSHM_LIBCUDA", None)   # the real one

from gpulib import LAYOUTS  # noqa: E402
from kvshm.gpu_layout import Layout  # noqa: E402

SIZES = {"L": 4, "K": 2, "B": 64, "H": 8, "N": TOKENS, "C": 128}
FROM, TO = list(range(40, 8, -1)), list(range(32))
SOON = 10.0


class TorchPool:
    """As gpulib.Pool, of torch's tensors."""

    def __init__(self, storage, view):
        self.flat = torch.zeros(*(SIZES[axis] for axis in storage), dtype=torch.int16, device="cuda")
        order = ["L", *view]
        whole = self.flat.permute(*(storage.index(axis) for axis in order))
        self.tensors = {f"model.layers.{i}.attn": whole[i] for i in range(SIZES["L"])}
        self.axis = view.index("B")

    def fill(self, seed):
        words = torch.arange(self.flat.numel(), dtype=torch.int32, device="cuda")
        self.flat.copy_(((words + seed) * 40503 >> 3).to(torch.int16).view(self.flat.shape))

    def pages(self, numbers):
        """Of each layer a tensor, made by a kernel on the current stream."""
        index = torch.tensor(numbers, device="cuda")
        return [tensor.index_select(self.axis, index) for tensor in self.tensors.values()]


class OnDevice(WithDaemon):
    options = ("--size", "256M")

    def begin(self, name):
        self.pool = TorchPool(*LAYOUTS[name])
        gpu = Layout([self.pool.tensors], SIZES["B"], TOKENS).open(self.client)
        self.addCleanup(gpu.close)
        ns = self.client.attach_ns(name.encode(), b"torch", gpu.block_len(0), TOKENS)
        return gpu, ns

    def equal(self, one, other):
        return all(torch.equal(a, b) for a, b in zip(one, other))

    def test_every_layout_goes_to_the_cache_and_back(self):
        stream = torch.cuda.current_stream().cuda_stream
        for name in LAYOUTS:
            with self.subTest(layout=name):
                gpu, ns = self.begin(name)
                self.pool.fill(7)
                held = self.pool.pages(FROM)
                keys, nr = keys_of(1, len(FROM)), len(FROM)
                grants = until(lambda ns=ns, nr=nr: ns.grant(nr, SOON))
                self.assertEqual(len(grants), nr)
                job = gpu.save([(ns, keys, grants, FROM, None)], stream=stream, after=True)
                self.assertTrue(job.wait(timeout=SOON))
                self.assertTrue(until(lambda ns=ns, keys=keys: ns.acquire(keys).matched == len(keys)))
                self.pool.fill(99)
                self.assertFalse(self.equal(self.pool.pages(TO), held))
                pin = ns.acquire(keys)
                self.assertEqual(len(pin), nr)
                job = gpu.load([(pin, TO)], layers_per_step=1, stream=stream, after=True)
                for layer in range(SIZES["L"]):
                    while not job.block(layer, stream):
                        gpu.poll()
                self.assertTrue(self.equal(self.pool.pages(TO), held))
                self.assertTrue(job.wait(timeout=SOON))
                self.assertFalse(gpu.info()["is_simulated"])
                gpu.close()


if __name__ == "__main__":
    unittest.main()
