# SPDX-License-Identifier: Apache-2.0
"""backend.py - KvshmHiCache: SGLang's calls, handed to the stores of its host pools

Written for SGLang 0.5.23.  Its threads for queries and loads share a client, that for backups has one of
its own: a client serves one call at a time, and a save waits for its outcome.
"""
import hashlib
import logging
import threading
import time
from typing import Any, Dict, List, Optional, Sequence, Union

import kvshm
import torch
from sglang.srt.mem_cache.hicache_storage import HiCacheStorage, PoolName
from sglang.srt.observability.metrics_collector import StorageMetrics

from ..link import Link
from .hits import fold
from .identity import fingerprint_of, layout_of
from .options import Options
from .store import KEY_LEN, Runs, Store

logger = logging.getLogger("sglang.srt.kvshm")      # below SGLang's own loggers, so that it is shown like them


def pack(keys: Sequence[str]) -> bytes:
    """As a rule SHA-256 in hex; what is not is hashed."""
    try:
        packed = bytes.fromhex("".join(keys))
        if len(packed) == len(keys) * KEY_LEN and all(len(key) == 2 * KEY_LEN for key in keys):
            return packed
    except ValueError:
        pass
    return b"".join(hashlib.sha256(key.encode()).digest() for key in keys)


def parent_of(extra_info: Any) -> Optional[bytes]:
    before = extra_info.prefix_keys if extra_info else None
    return pack(before[-1:]) if before else None


def first_of(nr: int, taken: int) -> List[bool]:
    return [i < taken for i in range(nr)]


def tensor_runs(tensors: Sequence[torch.Tensor]) -> Runs:
    return [t.data_ptr() for t in tensors], [t.numel() * t.element_size() for t in tensors]


class NoBytes:
    """The store of a pool that only counts pages: their bytes lie in others, so here nothing is ever missing."""

    def count(self, keys: bytes) -> int:
        return len(keys) // KEY_LEN

    def present(self, keys: bytes) -> List[bool]:
        return [True] * self.count(keys)

    def runs(self, host_indices: Any) -> Runs:
        return [], []

    def load(self, keys: bytes, runs: Runs) -> int:
        return self.count(keys)

    def save(self, keys: bytes, runs: Runs, parent: Optional[bytes]) -> int:
        return self.count(keys)

    def drop(self) -> bool:
        return True


class KvshmHiCache(HiCacheStorage):  # type: ignore[misc]
    def __init__(self, storage_config: Any, kwargs: Any = None) -> None:
        self.config = storage_config
        self.options = Options.parse(storage_config.extra_config)
        self.reader, self.writer = (
            kvshm.open(self.options.socket, instance=self.options.instance, label=f"sglang {role} tp{storage_config.tp_rank}",
                       required=False) for role in ("reader", "writer"))
        self.stores: Dict[str, Union[Store, NoBytes]] = {}
        self.link = Link(self.writer, logger)       # which hears of the daemon's end; reading goes on without it
        self.link.look()
        self.saving = threading.Lock()
        self.metrics = StorageMetrics()

    # ---- pools ---------------------------------------------------------------------------------------
    def register_mem_pool_host(self, mem_pool_host: Any) -> None:
        super().register_mem_pool_host(mem_pool_host)
        self.stores[PoolName.KV] = self.store_of(mem_pool_host, PoolName.KV)

    def register_mem_host_pool_v2(self, host_pool: Any, host_pool_name: str) -> None:
        super().register_mem_host_pool_v2(host_pool, host_pool_name)
        if host_pool_name != PoolName.KV:           # that one came before, without its group
            self.stores[host_pool_name] = self.store_of(host_pool, host_pool_name)

    def store_of(self, pool: Any, name: str) -> Union[Store, NoBytes]:
        _, lengths = pool.get_page_buffer_meta(torch.zeros(pool.page_size, dtype=torch.int64)) or ([], [])
        if not lengths:
            return NoBytes()
        layout = layout_of(pool, str(name), lengths)
        fingerprint = fingerprint_of(self.config, pool, str(name), layout, self.options.model_id)
        label = f"sglang {name} {self.options.model_id or self.config.model_name}"[:31]
        reader, writer = (client.attach_ns(fingerprint, layout, sum(lengths), pool.page_size, label)
                          for client in (self.reader, self.writer))
        return Store(reader, writer, pool, sum(lengths), self.link)

    @property
    def kv(self) -> Union[Store, NoBytes]:
        return self.stores[PoolName.KV]

    # ---- one pool ------------------------------------------------------------------------------------
    def batch_exists(self, keys: List[str], extra_info: Any = None) -> int:
        return self.kv.count(pack(keys))

    def batch_get_v1(self, keys: List[str], host_indices: torch.Tensor, extra_info: Any = None) -> List[bool]:
        return self.load(self.kv, keys, host_indices)

    def batch_set_v1(self, keys: List[str], host_indices: torch.Tensor, extra_info: Any = None) -> List[bool]:
        if not self.config.is_storage_writer:
            return [True] * len(keys)               # another rank stores these same bytes
        return self.save(self.kv, keys, host_indices, extra_info)

    def load(self, store: Union[Store, NoBytes], keys: List[str], host_indices: torch.Tensor) -> List[bool]:
        start = time.monotonic()
        taken = store.load(pack(keys), store.runs(host_indices))
        self.note(store, taken, start, self.metrics.prefetch_pgs, self.metrics.prefetch_bandwidth)
        return first_of(len(keys), taken)

    def save(self, store: Union[Store, NoBytes], keys: List[str], host_indices: torch.Tensor,
             extra_info: Any) -> List[bool]:
        start = time.monotonic()
        with self.saving:
            self.link.look()
            kept = store.save(pack(keys), store.runs(host_indices), parent_of(extra_info))
        self.note(store, kept, start, self.metrics.backup_pgs, self.metrics.backup_bandwidth)
        return first_of(len(keys), kept)

    # ---- several pools -------------------------------------------------------------------------------
    def batch_exists_v2(self, keys: List[str], pool_transfers: Any = None, extra_info: Any = None) -> Any:
        kv_pages = self.batch_exists(keys, extra_info)
        packed = pack(keys[:kv_pages])
        return fold(kv_pages, pool_transfers or [], lambda transfer: self.stores[transfer.name].present(packed))

    def batch_get_v2(self, transfers: List[Any], extra_info: Any = None) -> Dict[str, List[bool]]:
        return {t.name: self.load(self.stores[t.name], t.keys, t.host_indices) if self.is_whole(t) else
                [False] * len(t.keys or ()) for t in transfers}

    def batch_set_v2(self, transfers: List[Any], extra_info: Any = None) -> Dict[str, List[bool]]:
        return {t.name: self.save(self.stores[t.name], t.keys, t.host_indices, extra_info) if self.is_whole(t) else
                [False] * len(t.keys or ()) for t in transfers}

    def is_whole(self, transfer: Any) -> bool:
        """Has it a page of the pool for each key?"""
        pool, indices = self.registered_pools[transfer.name], transfer.host_indices
        return bool(transfer.keys) and indices is not None and len(indices) == len(transfer.keys) * pool.page_size

    # ---- pages in tensors: without interface_v1 SGLang copies each page once more ------------------------
    def batch_get(self, keys: List[str], target_locations: Any = None,
                  target_sizes: Any = None) -> List[Optional[torch.Tensor]]:
        taken = self.kv.load(pack(keys), tensor_runs(target_locations))
        return [t if i < taken else None for i, t in enumerate(target_locations)]

    def batch_set(self, keys: List[str], values: Any = None, target_locations: Any = None,
                  target_sizes: Any = None) -> bool:
        pages = [value.contiguous() for value in values]
        with self.saving:
            return self.kv.save(pack(keys), tensor_runs(pages), None) == len(keys)

    def get(self, key: str, target_location: Any = None, target_sizes: Any = None) -> Optional[torch.Tensor]:
        return self.batch_get([key], [target_location])[0]

    def set(self, key: str, value: Any = None, target_location: Any = None, target_sizes: Any = None) -> bool:
        return self.batch_set([key], [value])

    def exists(self, key: str) -> bool:
        return self.batch_exists([key]) == 1

    # ---- all of it -----------------------------------------------------------------------------------
    def clear(self) -> bool:
        return all([store.drop() for store in self.stores.values()])

    def note(self, store: Union[Store, NoBytes], nr: int, start: float, pages: List[int], speeds: List[float]) -> None:
        if self.config.enable_storage_metrics and nr and isinstance(store, Store):
            pages.append(nr)
            speeds.append(nr * store.page_len / 2**30 / max(time.monotonic() - start, 1e-9))

    def get_stats(self) -> StorageMetrics:
        metrics, self.metrics = self.metrics, StorageMetrics()
        return metrics

    def close(self) -> None:
        self.reader.close()
        self.writer.close()
