# SPDX-License-Identifier: Apache-2.0
"""A stand-in for SGLang's kernels on a CPU: the wheel that PyPI has is for CUDA, the one for CPUs is on no index.

SGLang's CPU engine runs a plain model in torch once the names can be imported; a kernel that is called all the same says
so.  Its host cache (HiCache) expects CUDA in two places, which are mended as their modules are imported: host memory need
not be registered, and pages go between the engine's pool and the host's by torch.
"""
import importlib.abc
import importlib.util
import sys
import types

SCALAR_TYPE = "sgl_kernel.scalar_type"


def missing(name):
    def call(*_, **__):
        raise NotImplementedError(f"{name} has no stand-in")

    return call


class Names(types.ModuleType):
    """Has whatever is imported from it."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return missing(f"{self.__name__}.{name}")


class ScalarTypes:
    def __getattr__(self, name):
        return name


# ---- between the pools: the layouts layer_first and page_first_direct, io backend direct ------------------------
def transfer_kv_direct(src_layers, dst_layers, src_indices, dst_indices, page_size):
    for src, dst in zip(src_layers, dst_layers):
        dst[dst_indices] = src[src_indices]


def transfer_kv_all_layer_direct_lf_pf(src_ptrs, dst_ptrs, src_indices, dst_indices, page_size):
    """Layers of K and then of V, to a host pool of K and one of V: page, layer, token."""
    layers, pages = len(src_ptrs) // len(dst_ptrs), dst_indices[::page_size] // page_size
    for i, src in enumerate(src_ptrs):
        rows = src[src_indices]
        dst_ptrs[i // layers][pages, i % layers] = rows.reshape(len(pages), page_size, *rows.shape[1:])


def transfer_kv_per_layer_direct_pf_lf(src_ptrs, dst_ptrs, src_indices, dst_indices, layer_id, page_size):
    pages = src_indices[::page_size] // page_size
    for src, dst in zip(src_ptrs, dst_ptrs):
        dst[dst_indices] = src[pages, layer_id].reshape(len(dst_indices), *dst.shape[1:])


def mend_pool(module):
    for call in transfer_kv_direct, transfer_kv_all_layer_direct_lf_pf, transfer_kv_per_layer_direct_pf_lf:
        setattr(module, call.__name__, call)


def mend_memory(module):
    module._cuda_host_register = lambda *_: None


MENDED = {"sglang.srt.mem_cache.pool_host.mha": mend_pool, "sglang.srt.mem_cache.pool_host.common": mend_memory}


class Mender(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in MENDED:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            MENDED[name](module)

        spec.loader.exec_module = exec_module
        return spec


sys.modules[__name__].__class__ = Names
for submodule in ("flash_attn", "quantization", "mamba", "kvcacheio", "scalar_type"):
    sys.modules[f"sgl_kernel.{submodule}"] = Names(f"sgl_kernel.{submodule}")
sys.modules[SCALAR_TYPE].scalar_types = ScalarTypes()
sys.modules[SCALAR_TYPE].ScalarType = ScalarTypes
sys.meta_path.insert(0, Mender())
