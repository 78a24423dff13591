# SPDX-License-Identifier: Apache-2.0
"""groups.py - the KV cache groups of an engine: layers that share a block table, each with a namespace of its own

A model whose layers all look at the whole context has one.  In others some layers look at a window only: vLLM takes
the pages behind it away from the request and has page 0, which nobody reads, in their place.
"""
from typing import Any, List, Optional

from vllm.v1.kv_cache_interface import iter_layer_specs

WHOLE = "FullAttentionSpec", "MLAAttentionSpec"
WINDOWED = "SlidingWindowSpec", "SlidingWindowMLASpec", "ChunkedLocalAttentionSpec"
NO_PAGE = 0


def kinds_of(group: Any) -> List[str]:
    return sorted({type(spec).__name__ for spec in iter_layer_specs(group.kv_cache_spec)})


def why_not(kv_cache_config: Any, block_tokens: int) -> Optional[str]:
    """What of these groups cannot be served, or None."""
    for group in kv_cache_config.kv_cache_groups:
        for kind in kinds_of(group):
            if kind not in WHOLE + WINDOWED:
                return f"layers of {kind}"      # what a block holds is not the tokens' keys and values alone
        if not (group.enable_kv_transfer and group.kv_cache_spec.prefix_cacheable):
            return "layers that are not cached"
        if group.kv_cache_spec.block_size != block_tokens:
            return f"blocks of {group.kv_cache_spec.block_size} tokens beside those of {block_tokens}"
    return None


def may_resume(kv_cache_config: Any) -> bool:
    """Can a request whose load failed at a block go on from there?  Where pages behind a window were never loaded it
    cannot, and of several groups vLLM takes a failure as one of the whole request only."""
    groups = kv_cache_config.kv_cache_groups
    return len(groups) == 1 and all(kind in WHOLE for kind in kinds_of(groups[0]))


def behind_window(pages: List[int]) -> int:
    """How many of them, from the first on, nobody will read."""
    return next((i for i, page in enumerate(pages) if page != NO_PAGE), len(pages))


def until_gone(pages: List[int]) -> List[int]:
    """As many, from the first on, as the request still has."""
    return pages[:pages.index(NO_PAGE)] if NO_PAGE in pages else pages
