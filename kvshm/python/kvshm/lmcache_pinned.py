# SPDX-License-Identifier: Apache-2.0
"""kvshm.lmcache_pinned - kvshm.lmcache, and what a look-up finds stays until LMCache unlocks it (adapter type plugin)

    --l2-adapter '{"type": "plugin", "module_path": "kvshm.lmcache_pinned", "class_name": "KvshmPinnedL2",
                   "adapter_params": {"layout": "meta-llama/Llama-3.1-8B@0e9e39f bf16 page16"}}'

LMCache's locks do not reach a native_plugin.  This is LMCache's own adapter for those, with a client whose
look-ups keep their pins; unlock ends them, or lock_s seconds if it never comes.  An object that may not be
pinned, because the session's quota is spent, is reported as not there.
"""
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, List, Tuple

from lmcache.v1.distributed.l2_adapters.native_connector_l2_adapter import (
    NativeConnectorL2Adapter, _object_key_to_string)

from ._kvshm import Pin
from .lmcache import KvshmL2

LOCK_S = 300.0                      # how long LMCache waits for an answer, at most


class PinningL2(KvshmL2):
    def __init__(self, lock_s: float = LOCK_S, **params: Any) -> None:
        if not lock_s > 0:
            raise ValueError("kvshm: adapter_params: lock_s: more than 0")
        self.lock_s = lock_s
        self.pins: Dict[str, List[Pin]] = {}
        self.until: Deque[Tuple[float, str, Pin]] = deque()
        self.pinning = threading.Lock()
        super().__init__(**params)

    def submit_batch_exists(self, keys: List[str]) -> int:
        now = time.monotonic()
        with self.pinning:
            while self.until and self.until[0][0] <= now:
                _, key, pin = self.until.popleft()
                if not pin.released:
                    self.end(key, pin)
        return super().submit_batch_exists(keys)

    def looked_up(self, key: str, pin: Pin) -> None:
        if pin:
            with self.pinning:
                self.pins.setdefault(key, []).append(pin)
                self.until.append((time.monotonic() + self.lock_s, key, pin))

    def unlock(self, key: str) -> None:
        with self.pinning:
            if key in self.pins:
                self.end(key, self.pins[key][0])

    def end(self, key: str, pin: Pin) -> None:
        pin.release()
        self.pins[key].remove(pin)
        if not self.pins[key]:
            del self.pins[key]


class KvshmPinnedL2(NativeConnectorL2Adapter):  # type: ignore[misc]
    def __init__(self, params: Dict[str, Any], l1_memory_desc: Any = None) -> None:
        self.pinning = PinningL2(**params)
        super().__init__(self.pinning, type_name="kvshm")

    def submit_unlock(self, keys: List[Any]) -> None:
        super().submit_unlock(keys)
        for key in keys:
            self.pinning.unlock(_object_key_to_string(key))
