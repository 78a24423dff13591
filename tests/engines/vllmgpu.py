# SPDX-License-Identifier: Apache-2.0
"""A real vLLM whose KV lies in the fake driver's device memory, which the CPU's kernels compute on.

The engine's stream is this thread: where the connector has a stream wait for a job, the thread does.  What is copied
when, and what the connector makes of it, is as on a device; that kernels and copies overlap is not.
"""
import ctypes
import os
from types import SimpleNamespace
from unittest import mock

import vllmlib  # noqa: F401: sets up the path
from gpulib import LIBCUDA, FakeCuda

os.environ["KVSHM_LIBCUDA"] = LIBCUDA

import kvshm  # noqa: E402
import torch  # noqa: E402
from kvshm.gpu_layout import Layout  # noqa: E402
from kvshm.vllm.connector import KvshmConnector  # noqa: E402
from vllm.v1.worker import gpu_model_runner, utils  # noqa: E402

WAIT_S = 60.0
cuda = FakeCuda()


class OnDevice:
    """One of the engine's tensors, as it would look on a GPU."""

    def __init__(self, tensor):
        self.tensor, self.shape, self.dtype = tensor, tensor.shape, tensor.dtype
        self.stride, self.data_ptr, self.element_size = tensor.stride, tensor.data_ptr, tensor.element_size
        self.device = SimpleNamespace(type="cuda", index=0)


class Waiting:
    """A kvshm.Gpu or kvshm.Job whose engine streams are this thread."""

    def __init__(self, inner, seen):
        self.inner, self.seen = inner, seen

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def load(self, *args, **how):
        self.seen.append(("load", how["layers_per_step"]))
        return Waiting(self.inner.load(*args, **how), self.seen)

    def save(self, *args, **how):
        self.seen.append(("save", how["tag"]))
        return Waiting(self.inner.save(*args, **how), self.seen)

    def block(self, layer, stream):
        if not self.inner.block(layer, stream):
            return False
        self.seen.append(("block", layer))
        self.inner.wait(layer, timeout=WAIT_S)
        return True


def zeros(*shape, **how):
    """KV memory for allocate_kv_cache()."""
    address = cuda.alloc(shape[0])
    ctypes.memset(address, 0, shape[0])
    return torch.frombuffer((ctypes.c_char * shape[0]).from_address(address), dtype=how["dtype"])


def allocate_kv_cache(*args, make=utils.allocate_kv_cache, **how):
    with mock.patch.object(torch, "zeros", zeros):
        return make(*args, **how)


def register_kv_caches(self, kv_caches, register=KvshmConnector.register_kv_caches):
    register(self, {name: OnDevice(tensor) for name, tensor in kv_caches.items()})


class Device:
    """Engines that are made while it is there have it.  @seen: calls to it, in order."""

    def __init__(self):
        self.seen = []
        open_side = Layout.open
        self.patches = [
            mock.patch.object(gpu_model_runner, "allocate_kv_cache", allocate_kv_cache),
            mock.patch.object(KvshmConnector, "register_kv_caches", register_kv_caches),
            mock.patch("kvshm.vllm.connector.current_stream", lambda device: 0),
            mock.patch.object(Layout, "open", lambda *args, **how: Waiting(open_side(*args, **how), self.seen)),
        ]
        for patch in self.patches:
            patch.start()

    def end(self):
        for patch in self.patches:
            patch.stop()


def everywhere(folder):
    """Environment of an engine all of whose processes have it: a plug-in of vLLM, installed into @folder."""
    here = os.path.dirname(os.path.abspath(__file__))
    info = os.path.join(folder, "vllmgpu-0.dist-info")
    os.mkdir(info)
    for name, text in (("METADATA", "Metadata-Version: 2.1\nName: vllmgpu\nVersion: 0\n"),
                       ("entry_points.txt", "[vllm.general_plugins]\nvllmgpu = vllmgpu:Device\n")):
        with open(os.path.join(info, name), "w", encoding="utf-8") as f:
            f.write(text)
    path = [folder, here, os.path.join(os.path.dirname(here), "python"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path)), "FAKE_CUDA_STATS": os.path.join(folder, "counters")}


def drain(engine):
    """Steps without work, as an engine in a process of its own makes them."""
    while engine.core.scheduler.connector.has_pending_push_work():
        engine.core.step()


__all__ = ["Device", "cuda", "drain", "everywhere", "kvshm"]
