# SPDX-License-Identifier: Apache-2.0
"""kvshm.sglang - the node's KV cache as a storage backend of SGLang's HiCache

    --hicache-storage-backend dynamic --hicache-mem-layout page_first
    --hicache-storage-backend-extra-config '{"backend_name": "kvshm", "module_path": "kvshm.sglang",
        "class_name": "KvshmHiCache", "interface_v1": 1, "hicache_storage_pass_prefix_keys": true,
        "kvshm": {"model_id": "Llama-3.1-8B@0e9e39f"}}'

    SGLang's threads           here                    client
    query    batch_exists ->   Store.count             reader: pin, resolve, release
    prefetch batch_get    ->   Store.load              reader: pin, resolve, copy without the GIL, release
    backup   batch_set    ->   Store.save              writer: grant, copy without the GIL, commit, wait

A page of SGLang's host pool is one block; its hash, which covers all tokens before it, is the key.
"""
from .backend import KvshmHiCache

__all__ = ["KvshmHiCache"]
