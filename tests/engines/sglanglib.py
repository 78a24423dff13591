# SPDX-License-Identifier: Apache-2.0
"""SGLang's storage backends without its engine: a host pool of our own, hashes and configuration of SGLang's."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "python"))
PYTHON = os.path.join(ROOT, "build", "engines", "sglang", "venv", "bin", "python")
STAMP = os.path.join(ROOT, "build", "engines", "sglang", ".stamp")
PAGE_TOKENS = 16


def enter():
    """Go on in SGLang's environment; without one the whole program is a skip."""
    if not os.path.exists(STAMP):
        print("no SGLang here: utils/dist/engines/sglang.sh build/engines")
        sys.exit(77)
    if os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(PYTHON))):
        os.execv(PYTHON, [PYTHON, *sys.argv])


class Pool:
    """K and V of all layers of a page in one run each, half the memory apart: HiCache's layout page_first."""

    layout = "page_first"
    storage_format_tag = None

    def __init__(self, pages=32, layers=4, heads=2, dim=64, dtype="bfloat16", page_size=PAGE_TOKENS, halves=2):
        import torch

        self.page_size, self.layer_num, self.head_num, self.head_dim = page_size, layers, heads, dim
        self.dtype, self.start_layer, self.end_layer = getattr(torch, dtype), 0, layers
        self.size = pages * page_size
        self.kv_buffer = torch.zeros((halves, self.size, layers, heads, dim), dtype=self.dtype)

    def get_page_buffer_meta(self, indices):
        assert len(indices) % self.page_size == 0
        runs = [part[index:index + self.page_size] for index in indices.tolist()[::self.page_size] for part in self.kv_buffer]
        return [run.data_ptr() for run in runs], [run.numel() * run.element_size() for run in runs]

    def get_data_page(self, index, flat=True):
        return self.kv_buffer[:, index:index + self.page_size].flatten()

    def get_dummy_flat_data_page(self):
        import torch

        return torch.zeros(self.page_len // self.kv_buffer.element_size(), dtype=self.dtype)

    def set_from_flat_data_page(self, index, data_page):
        part = self.kv_buffer[:, index:index + self.page_size]
        part.copy_(data_page.view(part.shape))

    # ---- for tests -----------------------------------------------------------------------------------
    @property
    def page_len(self):
        return self.kv_buffer.numel() * self.kv_buffer.element_size() // self.size * self.page_size

    def indices(self, pages):
        import torch

        return torch.cat([torch.arange(p * self.page_size, (p + 1) * self.page_size) for p in pages])

    def bytes_of(self, page):
        import torch

        return self.get_data_page(page * self.page_size).view(torch.uint8).numpy().tobytes()

    def fill(self, keys, pages):
        """Each page with bytes that tell which key they belong to."""
        import torch

        for key, page in zip(keys, pages):
            data = (bytes.fromhex(key) * (self.page_len // 32 + 1))[:self.page_len]
            self.set_from_flat_data_page(page * self.page_size, torch.frombuffer(bytearray(data), dtype=self.dtype))

    def holds(self, keys, pages):
        return [self.bytes_of(page) == (bytes.fromhex(key) * (self.page_len // 32 + 1))[:self.page_len]
                for key, page in zip(keys, pages)]


def own_pool(layout, pages=32, layers=4, heads=2, dim=64):
    """SGLang's own host pool, over a device pool that is CPU memory and has one page."""
    import torch
    from sglang.srt.mem_cache.device_pool_info import KVBufferLayout, KVBuffers, MHABufferInfo
    from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost

    k, v = (tuple(torch.zeros((PAGE_TOKENS, heads, dim), dtype=torch.bfloat16) for _ in range(layers)) for _ in "kv")
    tables = [torch.tensor([t.data_ptr() for t in half], dtype=torch.uint64) for half in (k, v)]
    device = MHABufferInfo(
        buffers=KVBuffers(k=k, v=v, k_data_ptrs=tables[0], v_data_ptrs=tables[1], layout=KVBufferLayout.NHD),
        page_size=PAGE_TOKENS, head_num=heads, head_dim=dim, v_head_dim=dim, dtype=torch.bfloat16, device=torch.device("cpu"))
    return MHATokenToKVPoolHost(device, 2.0, 0, PAGE_TOKENS, layout, pin_memory=False, device="cpu",
                                device_capacity_tokens=PAGE_TOKENS, start_layer=0, end_layer=layers,
                                host_token_capacity=pages * PAGE_TOKENS)


def hashes(chain, nr):
    """Of the pages of a prompt, by SGLang's own function."""
    from sglang.srt.mem_cache.utils import get_storage_hash_str

    return get_storage_hash_str([chain] + list(range(1, nr * PAGE_TOKENS)), None, page_size=PAGE_TOKENS)


def storage_config(extra=None, **other):
    from sglang.srt.mem_cache.hicache_storage import HiCacheStorageConfig

    facts = dict(tp_rank=0, tp_size=1, pp_rank=0, pp_size=1, attn_cp_rank=0, attn_cp_size=1, is_mla_model=False,
                 enable_storage_metrics=True, is_page_first_layout=True, model_name="org/model", extra_config=extra)
    return HiCacheStorageConfig(**{**facts, **other})


def create(pool, socket, sidecars=(), kvshm=None, **config):
    """As SGLang's controller makes and attaches a dynamic backend."""
    from sglang.srt.mem_cache.storage.backend_factory import StorageBackendFactory

    extra = {"backend_name": "kvshm", "module_path": "kvshm.sglang", "class_name": "KvshmHiCache", "interface_v1": 1,
             "kvshm": {"socket": socket, "model_id": "tests", **(kvshm or {})}}
    backend = StorageBackendFactory.create_backend("dynamic", storage_config(extra, **config), pool)
    attach(backend, pool, sidecars)
    return backend


def attach(backend, pool, sidecars):
    backend.register_mem_pool_host(pool)
    for name, sidecar in (("kv", pool), *sidecars):
        backend.register_mem_host_pool_v2(sidecar, name)
    backend.on_host_pools_registered()
