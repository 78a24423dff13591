# SPDX-License-Identifier: Apache-2.0
"""kvshm.vllm - the node's KV cache as a KV connector of vLLM

    --kv-transfer-config '{"kv_connector": "KvshmConnector", "kv_role": "kv_both",
                           "kv_connector_module_path": "kvshm.vllm", "kv_load_failure_policy": "recompute"}'

or, with the package installed, KVSHM=1 in the environment.

  scheduler process                               worker process, one for each rank
    match: acquire, pinned                          load: import the pins, copy into the pages, release
    orders: exports to load, keys to save   ->      save: grants filled in place, committed
    report: pins released, failures healed  <-      report: what was taken, stored, has failed

No pin is held for longer than a load or a save takes, no step waits for the daemon, and whatever
cannot be had is computed as if there were no cache.
"""
from typing import Any

__all__ = ["KvshmConnector"]


def __getattr__(name: str) -> Any:
    # Late: the plug-in's entry point is imported by every process of vLLM, also those without a cache.
    if name == "KvshmConnector":
        from .connector import KvshmConnector

        return KvshmConnector
    raise AttributeError(name)
