# SPDX-License-Identifier: Apache-2.0
"""events.py - KV events: routers learn which blocks this node has in host memory"""
from typing import Any, List

from vllm.distributed.kv_events import MEDIUM_CPU, AllBlocksCleared, BlockStored, KVCacheEvent
from vllm.v1.core.kv_cache_utils import maybe_convert_block_hash


class Events:
    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self.waiting: List[KVCacheEvent] = []

    def stored(self, request: Any, first: int, end: int) -> None:
        hashes, tokens, lora = request.block_hashes, self.block_tokens, request.lora_request
        self.waiting.append(BlockStored(
            block_hashes=[maybe_convert_block_hash(h) for h in hashes[first:end]],
            parent_block_hash=maybe_convert_block_hash(hashes[first - 1]) if first else None,
            token_ids=list(request.all_token_ids[first * tokens:end * tokens]), block_size=tokens,
            lora_id=lora.lora_int_id if lora else None, medium=MEDIUM_CPU,
            lora_name=lora.lora_name if lora else None))

    def cleared(self) -> None:
        self.waiting.append(AllBlocksCleared())

    def take(self) -> List[KVCacheEvent]:
        waiting, self.waiting = self.waiting, []
        return waiting
